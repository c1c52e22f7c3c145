//! `host.service.*`: a member's process by the commands of the inventory.
//!
//! A stop ends in proof that the process is gone, whatever the stop command said; nothing here
//! sends SIGKILL. A start on an empty data directory is refused unless it joins a cluster: two
//! members started empty form a second, empty, writable cluster under the old id.

use std::{
    collections::BTreeMap,
    path::Path,
    time::{Duration, Instant},
};

use super::{
    files::{self, blocking},
    places::{Places, member},
    process,
    run::run,
    wal,
};
use crate::domain::{
    etcd::evidence::{DataState, Process},
    inventory::{Cluster, Member},
    rules::{
        action::{Call, Done, ErrorKind, Failure, Probed},
        expr::Value,
    },
};

/// Limit of one `status` command.
const STATUS: Duration = Duration::from_secs(10);
/// Limit of a start or stop command: below the limits that a step would have, so that its failure
/// says which command hung.
const COMMAND: Duration = Duration::from_secs(50);
/// How long a process may take to appear after its start command ended.
const APPEAR: Duration = Duration::from_secs(5);
/// How long a process may take to go after its stop command ended.
const SETTLE: Duration = Duration::from_secs(30);
/// How long a process that was told to end before quorate ended may need: etcd ends within a second,
/// and hands its leadership over before.
const TOLD: Duration = Duration::from_secs(3);
/// How long a started process must have lived to count: one that dies of its arguments or its data
/// directory does so within this.
const ALIVE: Duration = Duration::from_millis(300);
const POLL: Duration = Duration::from_millis(50);
/// Before a status command that named an unseen process is asked again: time enough for whoever
/// watches a process that just died to take note.
const AGAIN: Duration = Duration::from_millis(200);

/// What one `status` command says.
enum Says {
    /// Nothing runs.
    Nothing,
    /// It names a process that /proc shows.
    Runs(Process),
    /// It names a process that /proc does not show: it died a moment ago, or it is out of our sight.
    Unseen(u32),
}

/// The member's process, by its `status` command: the pid it prints, checked in /proc. A command
/// that fails is no statement that nothing runs; nor is one that goes on naming a process which we
/// do not see.
pub(crate) async fn status(member: &Member, limit: Duration) -> Result<Option<Process>, Failure> {
    let began = Instant::now();
    let first = match says(member, limit).await? {
        Says::Nothing => return Ok(None),
        Says::Runs(process) => return Ok(Some(process)),
        Says::Unseen(pid) => pid,
    };
    tokio::time::sleep(AGAIN).await;
    // Both together keep the limit, but for what a command needs to answer at all.
    let left = limit.saturating_sub(began.elapsed()).max(AGAIN);
    match says(member, left).await? {
        Says::Nothing => Ok(None),
        Says::Runs(process) => Ok(Some(process)),
        Says::Unseen(pid) => Err(unseen(member, if pid == first { "again" } else { "then" }, pid)),
    }
}

fn unseen(member: &Member, when: &str, pid: u32) -> Failure {
    let message = format!(
        "the status command of {} prints process {pid} {when}, and /proc does not show it: whether the member runs is unknown. \
         Either that process has ended (a stale pid file): let the command print nothing then. \
         Or quorate cannot see it (another pid namespace, /proc mounted with hidepid): run quorate where it can",
        member.name
    );
    Failure::new(ErrorKind::Tool, message)
}

/// Asks the `status` command once.
async fn says(member: &Member, limit: Duration) -> Result<Says, Failure> {
    let argv = &member.service.status;
    let ran = run(argv, limit).await?.succeeded(argv)?;
    let word = ran.stdout.trim();
    if word.is_empty() {
        return Ok(Says::Nothing);
    }
    if let Ok(pid) = word.parse() {
        // 0 is systemd's word for no main process.
        let shown = if pid == 0 { process::Shown::Ended } else { process::shown(pid) };
        return Ok(match shown {
            process::Shown::Runs(process) => Says::Runs(process),
            process::Shown::Ended => Says::Nothing,
            process::Shown::Nothing => Says::Unseen(pid),
        });
    }
    let message = format!(
        "the status command of {} prints {:?}, a pid or nothing is expected",
        member.name,
        first(word)
    );
    Err(Failure::new(ErrorKind::Tool, message))
}

fn first(word: &str) -> String {
    word.chars().take(60).collect()
}

/// Fails unless the member's process is gone, by its status command and by the lock that etcd
/// holds on its database.
pub(crate) async fn must_be_gone(member: &Member) -> Result<(), Failure> {
    if let Some(process) = status(member, STATUS).await? {
        let message = format!(
            "{} still runs (process {}): its data is not touched",
            member.name, process.pid
        );
        return Err(Failure::new(ErrorKind::Conflict, message));
    }
    must_be_unused(member)
}

/// Fails where a process has the member's database open.
fn must_be_unused(member: &Member) -> Result<(), Failure> {
    let database = member.data_dir.join("member/snap/db");
    let file = match std::fs::File::open(&database) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(files::failure("opening", &database, &error)),
    };
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(std::fs::TryLockError::WouldBlock) => {
            let message = format!(
                "a process that the status command of {} does not show has its database open: its data is not touched",
                member.name
            );
            Err(Failure::new(ErrorKind::Conflict, message))
        }
        Err(std::fs::TryLockError::Error(error)) => {
            Err(files::failure("locking", &database, &error))
        }
    }
}

/// The call's own reading of what it is about to change.
pub(crate) async fn before(cluster: &Cluster, call: &Call) -> Result<Value, Failure> {
    let member = member(cluster, call)?;
    match call.action.as_str() {
        "host.service.start" => {
            let process = status(member, STATUS).await?;
            let log = match &process {
                Some(_) => None, // it changes while it is read
                None => log_mark(cluster, member, call).await?,
            };
            let log = log.map(|log| ("log", Value::str(log)));
            Ok(Value::map(seen(process.as_ref()).chain(log)))
        }
        "host.service.stop" => Ok(Value::map(seen(status(member, STATUS).await?.as_ref()))),
        "host.service.set_args" | "host.service.reset_args" => {
            let args = in_force(&Places::new(cluster, member, call.run).args_file())?;
            let args = args.map(|args| {
                (
                    "args",
                    Value::map(args.into_iter().map(|(name, value)| (name, Value::str(value)))),
                )
            });
            Ok(Value::map(args))
        }
        _ => Ok(Value::map::<&str>([])),
    }
}

/// A process as it is journalled before it is started or stopped.
fn seen(process: Option<&Process>) -> impl Iterator<Item = (&'static str, Value)> {
    let pid = process.map(|process| ("pid", Value::Int(process.pid.into())));
    [("running", Value::Bool(process.is_some()))].into_iter().chain(pid)
}

async fn log_mark(
    cluster: &Cluster,
    member: &Member,
    call: &Call,
) -> Result<Option<String>, Failure> {
    let places = Places::new(cluster, member, call.run);
    blocking(move |stop| wal::mark(&places, stop)).await
}

/// Does it.
pub(crate) async fn act(cluster: &Cluster, call: &Call) -> Result<Done, Failure> {
    let member = member(cluster, call)?;
    let places = Places::new(cluster, member, call.run);
    match call.action.as_str() {
        "host.service.start" => start(member, &places).await,
        "host.service.stop" => stop(member).await,
        "host.service.mask" => mask(member.service.mask.as_ref()).await,
        "host.service.unmask" => mask(member.service.unmask.as_ref()).await,
        "host.service.set_args" => set_args(call, &places),
        "host.service.reset_args" => {
            let changed = files::remove_own(&places.args_file())?;
            Ok(Done { output: Value::map::<&str>([]), changed })
        }
        other => Err(Failure::new(ErrorKind::Invalid, format!("no action {other}"))),
    }
}

/// Asks whether an earlier start or stop took effect.
pub(crate) async fn probe(
    cluster: &Cluster,
    call: &Call,
    before: &Value,
) -> Result<Probed, Failure> {
    let member = member(cluster, call)?;
    match call.action.as_str() {
        "host.service.start" => started_before(cluster, member, call, before).await,
        _ => stopped_before(member, before).await,
    }
}

/// A process that does not run now may have run, served and ended with its host: only a log that is
/// still what it was shows that nobody was answered.
async fn started_before(
    cluster: &Cluster,
    member: &Member,
    call: &Call,
    before: &Value,
) -> Result<Probed, Failure> {
    let ran = before.get("running").and_then(Value::as_bool).unwrap_or(false);
    if let Some(process) = status(member, STATUS).await? {
        return Ok(Probed::Done(started(&process, !ran)));
    }
    must_be_unused(member)?;
    let name = &member.name;
    if ran {
        let message = format!("{name} ran before it was to be started, and does not run now");
        return Ok(Probed::Unknown(message));
    }
    let was = before.get("log").and_then(Value::as_str).map(str::to_owned);
    let now = log_mark(cluster, member, call).await?;
    // Arguments in force stand where the data stands: with them there, an absent log is no absent volume.
    let args = in_force(&Places::new(cluster, member, call.run).args_file())?;
    Ok(match (was, now) {
        (Some(was), Some(now)) if was == now => Probed::not_done(format!(
            "the log of {name} is what it was before the start, to the last byte"
        )),
        (None, None) if args.is_some() => {
            Probed::not_done(format!("{name} has no log still, as before the start"))
        }
        (None, None) => Probed::Unknown(format!(
            "{name} does not run now, and whether it has a log cannot be told: it may stand on a volume that is not mounted"
        )),
        (Some(_), None) => Probed::Unknown(format!(
            "{name} does not run now, and its log is not there any more: look for its volume"
        )),
        (_, Some(_)) => Probed::Unknown(format!(
            "{name} does not run now, and its log is not what it was before the start: it may have run and answered clients"
        )),
    })
}

/// A process that runs has not been stopped; one that was told to end may need a moment.
async fn stopped_before(member: &Member, before: &Value) -> Result<Probed, Failure> {
    let pid = before.get("pid").and_then(Value::as_int).and_then(|pid| u32::try_from(pid).ok());
    let deadline = Instant::now() + TOLD;
    let process = loop {
        let process = status(member, STATUS).await?;
        let same = process.as_ref().is_some_and(|process| Some(process.pid) == pid);
        if !same || Instant::now() >= deadline {
            break process;
        }
        tokio::time::sleep(POLL).await;
    };
    if let Some(process) = process {
        return Ok(Probed::not_done(format!("{} runs as process {}", member.name, process.pid)));
    }
    must_be_unused(member)?;
    let ran = before.get("running").and_then(Value::as_bool).unwrap_or(false);
    Ok(Probed::Done(stopped(pid, if ran { "term" } else { "was_gone" })))
}

fn started(process: &Process, changed: bool) -> Done {
    let at = process.started_at.map(|at| ("started_at", Value::Time(at.0)));
    let output = Value::map([("pid", Value::Int(process.pid.into()))].into_iter().chain(at));
    Done { output, changed }
}

fn stopped(pid: Option<u32>, ended_by: &'static str) -> Done {
    let pid = pid.map(|pid| ("pid", Value::Int(pid.into())));
    let output = Value::map([("ended_by", Value::str(ended_by))].into_iter().chain(pid));
    Done { output, changed: ended_by != "was_gone" }
}

async fn start(member: &Member, places: &Places) -> Result<Done, Failure> {
    if let Some(process) = status(member, STATUS).await? {
        return Ok(started(&process, false));
    }
    let args = in_force(&places.args_file())?.unwrap_or_default();
    let joins = args.get("initial-cluster-state").is_some_and(|state| state == "existing");
    if files::data(places)?.state != DataState::Present && !joins {
        let message = format!(
            "{} has no data and initial-cluster-state=existing is not in force: started now it would form an empty cluster of its own. Add it to the cluster first",
            member.name
        );
        return Err(Failure::new(ErrorKind::Invalid, message));
    }
    let mut command = member.service.start.clone();
    command.extend(args.iter().map(|(name, value)| format!("--{name}={value}")));
    run(&command, COMMAND).await?.succeeded(&command)?;
    let process = appeared(member).await?;
    tokio::time::sleep(ALIVE).await;
    match says(member, STATUS).await? {
        Says::Runs(now) if now.pid == process.pid => Ok(started(&now, true)),
        // Also one that is unseen now: /proc showed it a moment ago.
        _ => {
            let message =
                format!("{} ended right after its start: its own log says why", member.name);
            Err(Failure::new(ErrorKind::Tool, message))
        }
    }
}

async fn appeared(member: &Member) -> Result<Process, Failure> {
    let deadline = Instant::now() + APPEAR;
    loop {
        let said = says(member, STATUS).await?;
        if let Says::Runs(process) = said {
            return Ok(process);
        }
        if Instant::now() >= deadline {
            if let Says::Unseen(pid) = said {
                return Err(unseen(member, "after its start", pid));
            }
            let message = format!(
                "the start command of {} ended and its status command shows no process: its own log says why",
                member.name
            );
            return Err(Failure::new(ErrorKind::Tool, message));
        }
        tokio::time::sleep(POLL).await;
    }
}

async fn stop(member: &Member) -> Result<Done, Failure> {
    let Some(process) = status(member, STATUS).await? else { return Ok(stopped(None, "was_gone")) };
    let argv = &member.service.stop;
    let ran = run(argv, COMMAND).await;
    let deadline = Instant::now() + SETTLE;
    loop {
        let said = says(member, STATUS).await?;
        match &said {
            Says::Nothing => break,
            // It was seen before it was stopped: now that it is not, it is gone, whatever is printed.
            Says::Unseen(pid) if *pid == process.pid => break,
            Says::Runs(_) | Says::Unseen(_) => {}
        }
        if let Err(failure) = &ran {
            return Err(failure.clone());
        }
        if Instant::now() >= deadline {
            if let Says::Unseen(pid) = said {
                return Err(unseen(member, "after its stop", pid));
            }
            let message = format!(
                "{} (process {}) still runs after its stop command; it is not killed, for that can lose an acknowledged write. Find out what keeps it",
                member.name, process.pid
            );
            return Err(Failure::new(ErrorKind::Timeout, message));
        }
        tokio::time::sleep(POLL).await;
    }
    let clean = ran.is_ok_and(|ran| ran.code == Some(0));
    Ok(stopped(Some(process.pid), if clean { "term" } else { "crash" }))
}

async fn mask(command: Option<&Vec<String>>) -> Result<Done, Failure> {
    if let Some(argv) = command {
        run(argv, COMMAND).await?.succeeded(argv)?;
    }
    Ok(Done { output: Value::map::<&str>([]), changed: command.is_some() })
}

/// The arguments in force, by name without dashes; `None` where the member's own are.
fn in_force(path: &Path) -> Result<Option<BTreeMap<String, String>>, Failure> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(files::failure("reading", path, &error)),
    };
    let args = text.lines().map(|line| {
        let pair = line.strip_prefix("--").and_then(|line| line.split_once('='));
        pair.map(|(name, value)| (name.to_owned(), value.to_owned())).ok_or_else(|| {
            let message =
                format!("{} holds a line that is no --name=value: reset it", path.display());
            Failure::new(ErrorKind::Invalid, message)
        })
    });
    args.collect::<Result<_, _>>().map(Some)
}

fn set_args(call: &Call, places: &Places) -> Result<Done, Failure> {
    let given = call.args.get("args").and_then(Value::as_map);
    let given = given.ok_or_else(|| Failure::new(ErrorKind::Invalid, "args is no map"))?;
    let mut wanted = BTreeMap::new();
    for (name, value) in given {
        let value = value.to_text().unwrap_or_default();
        check_argument(name, &value)?;
        wanted.insert(name.to_string(), value);
    }
    let path = places.args_file();
    let changed = in_force(&path)?.as_ref() != Some(&wanted);
    if changed {
        let lines: Vec<String> =
            wanted.iter().map(|(name, value)| format!("--{name}={value}")).collect();
        files::write_atomic(&path, &(lines.join("\n") + "\n"))?;
    }
    let residue = Value::list(vec![Value::str(path.to_string_lossy())]);
    Ok(Done { output: Value::map([("residue", residue)]), changed })
}

fn check_argument(name: &str, value: &str) -> Result<(), Failure> {
    let plain = !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte == b'-' || byte.is_ascii_digit());
    if !plain || value.contains(['\n', '\r', '\0']) {
        return Err(Failure::new(
            ErrorKind::Invalid,
            format!(
                "{name:?} is no argument for a member's start, or its value has more than one line"
            ),
        ));
    }
    if name == "force-new-cluster" {
        // Left in force it expels every member that was added since, at the next restart.
        return Err(Failure::new(
            ErrorKind::Invalid,
            "force-new-cluster is never put in force for a member",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
