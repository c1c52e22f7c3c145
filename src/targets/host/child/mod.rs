//! A child process that never does more than it was allowed to: ended when nobody waits for it,
//! always reaped, and bound to us beyond our own end.
//!
//! # Design
//!
//! What SIGKILL of quorate leaves behind must not go on beside a resumed run. Two bonds see to that,
//! both made by our own program, which is started in the child's place (`verb`): [`Bond::Ours`] dies
//! with us; [`Bond::Command`] goes on to its end, for half a start of a service is worse than a whole
//! one, but somebody of ours stays to hold the lock until then. The lock of the effect is the
//! child's standard input, so that it is held exactly as long as the child lives.
//!
//! The kernel ends a bound child when the *thread* that started it ends, not the process. Each child
//! therefore has a thread of its own, which starts it, waits for it and reaps it.

mod refusal;
pub mod verb;

use std::{
    fs::File,
    io,
    os::unix::process::CommandExt as _,
    path::PathBuf,
    process::{ChildStderr, ChildStdout, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, kill_process, kill_process_group, waitid,
};
use tokio::sync::oneshot;

pub(crate) use self::refusal::refusal;
use crate::targets::effect::{UnderWay, held, under_way};

/// The program that is started in a bound child's place.
static PROGRAM: OnceLock<PathBuf> = OnceLock::new();

/// From now on bound children are started by this program's verb `child`. Without it they are
/// started as they are, and what ends us by force leaves them running.
pub fn bind_children_by(program: PathBuf) {
    // The first one stays: the children that are there were bound by it.
    drop(PROGRAM.set(program));
}

/// How a child is bound to us. All are ended when nobody waits for them any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bond {
    /// It changes nothing.
    Read,
    /// It ends with us.
    Ours,
    /// It goes on to its end without us, for as long as it may take.
    Command,
}

/// What is started.
pub(crate) struct Start {
    pub(crate) argv: Vec<String>,
    pub(crate) bond: Bond,
    /// How long a command may take without us.
    pub(crate) limit: Duration,
    /// Where its output and its errors go; to pipes where there are none.
    pub(crate) logs: Option<[File; 2]>,
    /// What it holds while it lives; the lock of the effect where there is none.
    pub(crate) lock: Option<File>,
    /// Whether it gets nothing of our own environment.
    pub(crate) bare: bool,
}

/// A child that runs.
pub(crate) struct Child {
    process: Arc<Process>,
    ended: oneshot::Receiver<io::Result<ExitStatus>>,
    stdout: Option<ChildStdout>,
    stderr: Option<ChildStderr>,
    /// Whether it is ended together with this value.
    owned: bool,
}

/// What the thread of a child and its owner share.
struct Process {
    pid: Pid,
    bond: Bond,
    state: Mutex<State>,
}

struct State {
    /// From here on the pid may be another's.
    reaped: bool,
    under_way: Option<UnderWay>,
}

impl Process {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends it: our own tools with what they started; of a service's command never what it started.
    fn end(&self) {
        if self.state().reaped {
            return;
        }
        // One that just ended is what was wanted; whoever waits sees whether it has.
        match self.bond {
            Bond::Ours => kill_process_group(self.pid, Signal::KILL),
            Bond::Command if is_bound() => kill_process(self.pid, Signal::TERM),
            Bond::Command | Bond::Read => kill_process(self.pid, Signal::KILL),
        }
        .ok();
    }
}

fn is_bound() -> bool {
    PROGRAM.get().is_some()
}

impl Child {
    /// Starts it. The error is about its program.
    pub(crate) async fn start(mut start: Start) -> io::Result<Self> {
        start.lock = start.lock.or_else(held); // its own thread is in no effect
        let guard = under_way(start.argv.first().map_or("", String::as_str));
        let (started, starts) = oneshot::channel();
        let (end, ended) = oneshot::channel();
        std::thread::Builder::new().name("child".into()).spawn(move || {
            let bond = start.bond;
            let mut child = match command(start).spawn() {
                Ok(child) => child,
                Err(error) => {
                    drop(started.send(Err(error)));
                    return;
                }
            };
            let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) else { return };
            let state = Mutex::new(State { reaped: false, under_way: guard });
            let process = Arc::new(Process { pid, bond, state });
            let pipes = (child.stdout.take(), child.stderr.take());
            if started.send(Ok((process.clone(), pipes))).is_err() {
                process.end(); // nobody waits for it any more
            }
            // It is waited for without being reaped: until then its pid is no other's.
            let waited = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
            while matches!(waitid(WaitId::Pid(pid), waited), Err(rustix::io::Errno::INTR)) {}
            let mut state = process.state();
            drop(end.send(child.wait()));
            state.reaped = true;
            state.under_way = None;
        })?;
        let started = starts.await.unwrap_or_else(|_| Err(io::Error::other("it has no pid")));
        let (process, (stdout, stderr)) = started?;
        Ok(Self { process, ended, stdout, stderr, owned: true })
    }

    /// Its output, once.
    pub(crate) fn outputs(&mut self) -> (Option<ChildStdout>, Option<ChildStderr>) {
        (self.stdout.take(), self.stderr.take())
    }

    /// Waits for its end.
    pub(crate) async fn wait(&mut self) -> io::Result<ExitStatus> {
        (&mut self.ended).await.unwrap_or_else(|_| Err(io::Error::other("it was not waited for")))
    }

    /// Whether it has ended.
    pub(crate) fn has_ended(&self) -> bool {
        self.process.state().reaped
    }

    /// Leaves it running when the effect is over: it is bound to our process alone from now on.
    pub(crate) fn leave(mut self) {
        self.owned = false;
        self.process.state().under_way = None;
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if self.owned {
            self.process.end();
        }
    }
}

fn command(start: Start) -> Command {
    let Start { argv, bond, limit, logs, lock, bare } = start;
    let own = std::process::id().to_string();
    let prefix: Vec<String> = match (bond, PROGRAM.get()) {
        (Bond::Ours, Some(_)) => vec!["child".into(), "--end-with".into(), own],
        (Bond::Command, Some(_)) => {
            vec!["child".into(), "--for".into(), limit.as_secs().to_string()]
        }
        (Bond::Read, _) | (_, None) => Vec::new(),
    };
    let bound_by = PROGRAM.get().filter(|_| !prefix.is_empty());
    let mut command = match (bound_by, argv.first()) {
        (Some(program), _) => Command::new(program),
        (None, program) => Command::new(program.map_or("", String::as_str)),
    };
    if bound_by.is_some() {
        command.arg0("quorate").args(prefix).arg("--").args(argv);
    } else {
        command.args(argv.iter().skip(1));
    }
    if bare {
        command.env_clear();
    }
    // Started as it is it may leave a daemon behind, which would hold the lock for ever.
    let holds = bond == Bond::Ours || is_bound();
    let lock = lock.filter(|_| holds && bond != Bond::Read);
    command.stdin(lock.map_or_else(Stdio::null, Stdio::from));
    match logs {
        Some([output, errors]) => command.stdout(output).stderr(errors),
        None => command.stdout(Stdio::piped()).stderr(Stdio::piped()),
    };
    // Of its own group: a Ctrl-C meant for us must not reach a member that it starts.
    command.process_group(0);
    command
}

#[cfg(test)]
mod tests;
