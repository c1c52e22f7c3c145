//! A child process with a log file that ends with its owner.

use std::{
    fs::{File, OpenOptions},
    io::Read,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};

use super::{GENEROUS, eventually_some};

/// A program that can be ended and started again with the same arguments.
#[derive(Debug)]
pub(crate) struct Daemon {
    argv: Vec<String>,
    envs: Vec<(String, String)>,
    dir: PathBuf,
    log: PathBuf,
    child: Option<Child>,
}

impl Daemon {
    /// Names the program; `start` runs it in `dir`, with its output appended to `log`.
    pub(crate) fn new(argv: Vec<String>, dir: &Path, log: &Path) -> Self {
        Self { argv, envs: Vec::new(), dir: dir.to_owned(), log: log.to_owned(), child: None }
    }

    /// Runs the program under another one, such as `strace -D -f -o FILE`, which has to leave it the
    /// child that gets the signals (without `-D`, killing strace would let the program go on).
    pub(crate) fn wrapped_in(&mut self, wrapper: &[&str]) {
        let mut argv: Vec<String> = wrapper.iter().map(ToString::to_string).collect();
        argv.append(&mut self.argv);
        self.argv = argv;
    }

    /// Sets a variable for the next start.
    pub(crate) fn env(&mut self, name: &str, value: &str) {
        self.envs.push((name.to_owned(), value.to_owned()));
    }

    /// Starts it.
    pub(crate) fn start(&mut self) {
        assert!(!self.is_running(), "{} runs already", self.argv[0]);
        let log =
            || -> File { OpenOptions::new().create(true).append(true).open(&self.log).unwrap() };
        let child = Command::new(&self.argv[0])
            .args(&self.argv[1..])
            .envs(self.envs.iter().cloned())
            .current_dir(&self.dir)
            .stdin(Stdio::null())
            .stdout(log())
            .stderr(log())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {}: {error}", self.argv[0]));
        self.child = Some(child);
    }

    /// Whether it runs now.
    pub(crate) fn is_running(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| child.try_wait().unwrap().is_none())
    }

    /// Its process id, while it runs.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Sends a signal, if it runs.
    pub(crate) fn signal(&mut self, signal: Signal) {
        if self.is_running() {
            let pid = i32::try_from(self.pid().unwrap()).unwrap();
            kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
        }
    }

    /// Waits until it has ended.
    #[track_caller]
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let name = self.argv[0].clone();
        let mut child = self.child.take().expect("was started");
        eventually_some(GENEROUS, &format!("{name} ends"), || child.try_wait().unwrap())
    }

    /// SIGKILL, then waits.
    pub(crate) fn kill9(&mut self) {
        if self.child.is_some() {
            self.signal(Signal::KILL);
            self.wait();
        }
    }

    /// SIGTERM, then waits.
    #[track_caller]
    pub(crate) fn sigterm(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait()
    }

    /// Everything it has printed.
    pub(crate) fn log(&self) -> String {
        let mut text = Vec::new();
        if let Ok(mut file) = File::open(&self.log) {
            file.read_to_end(&mut text).unwrap();
        }
        String::from_utf8_lossy(&text).into_owned()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Already gone is as good.
            drop(child.kill());
            drop(child.wait());
        }
    }
}
