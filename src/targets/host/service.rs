//! Whether a member's process runs, by the commands of the inventory and by what it holds.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use super::{child::Bond, files, process, run::run};
use crate::domain::{
    base::id::MemberName,
    etcd::evidence::Process,
    inventory::Member,
    rules::{
        action::{ErrorKind, Failure},
        expr::Value,
    },
};

/// Limit of one `status` command.
pub(super) const STATUS: Duration = Duration::from_secs(10);
/// Limit of a start or stop command: below the limits that a step would have, so that its failure
/// says which command hung.
pub(super) const COMMAND: Duration = Duration::from_secs(50);
/// Between two looks at a process that comes or goes.
pub(super) const POLL: Duration = Duration::from_millis(50);
/// Before a status command that named an unseen process is asked again: time enough for whoever
/// watches a process that just died to take note.
const AGAIN: Duration = Duration::from_millis(200);

/// What one `status` command says.
pub(super) enum Says {
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

/// What to do about a process that is named and never shown.
pub(super) fn unseen(member: &Member, when: &str, pid: u32) -> Failure {
    let message = format!(
        "the status command of {} prints process {pid} {when}, and /proc does not show it: whether the member runs is unknown. \
         Either that process has ended (a stale pid file): let the command print nothing then. \
         Or quorate cannot see it (another pid namespace, /proc mounted with hidepid): run quorate where it can",
        member.name
    );
    Failure::new(ErrorKind::Tool, message)
}

/// Asks the `status` command once.
pub(super) async fn says(member: &Member, limit: Duration) -> Result<Says, Failure> {
    let argv = &member.service.status;
    let ran = run(argv, Bond::Read, limit).await?.succeeded(argv)?;
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
    must_be_unused(member).await
}

/// Fails where a process has the member's database open.
pub(super) async fn must_be_unused(member: &Member) -> Result<(), Failure> {
    let (name, database) = (member.name.clone(), member.data_dir.join("member/snap/db"));
    files::blocking(move |_| unused(&name, &database)).await
}

fn unused(name: &MemberName, database: &Path) -> Result<(), Failure> {
    let file = match std::fs::File::open(database) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(files::failure("opening", database, &error)),
    };
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(std::fs::TryLockError::WouldBlock) => {
            let message = format!(
                "a process that the status command of {name} does not show has its database open: its data is not touched"
            );
            Err(Failure::new(ErrorKind::Conflict, message))
        }
        Err(std::fs::TryLockError::Error(error)) => {
            Err(files::failure("locking", database, &error))
        }
    }
}

/// A process as it is journalled before it is started or stopped.
pub(super) fn seen(process: Option<&Process>) -> impl Iterator<Item = (&'static str, Value)> {
    let pid = process.map(|process| ("pid", Value::Int(process.pid.into())));
    [("running", Value::Bool(process.is_some()))].into_iter().chain(pid)
}
