//! Processes of this host, as /proc shows them.
//!
//! A zombie is no process: it holds neither files nor ports. Signals go by pid, and only to a
//! process whose arguments were just read.

use std::{
    fs,
    sync::OnceLock,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::domain::{
    base::time::Time,
    etcd::evidence::Process,
    rules::action::{ErrorKind, Failure},
};

/// Clock ticks per second in /proc: fixed at 100 for user space on every Linux architecture.
const TICKS: u64 = 100;

/// What /proc shows of a pid.
pub(crate) enum Shown {
    /// A running process.
    Runs(Process),
    /// A zombie: it is known to have ended.
    Ended,
    /// Nothing: it ended, or it is out of our sight.
    Nothing,
}

/// A running process; `None` where there is none of this pid, or only a zombie.
pub(crate) fn read(pid: u32) -> Option<Process> {
    match shown(pid) {
        Shown::Runs(process) => Some(process),
        Shown::Ended | Shown::Nothing => None,
    }
}

/// What /proc shows of a pid.
pub(crate) fn shown(pid: u32) -> Shown {
    match stat(pid) {
        None => Shown::Nothing,
        Some((state, _)) if matches!(state.as_str(), "Z" | "X" | "x") => Shown::Ended,
        Some((_, ticks)) => {
            Shown::Runs(Process { pid, started_at: ticks.and_then(started), argv: argv(pid) })
        }
    }
}

/// When a process started, in ticks since boot: together with its pid no other one's.
pub(crate) fn ticks(pid: u32) -> Option<u64> {
    stat(pid)?.1
}

/// The state of a process, and when it started.
fn stat(pid: u32) -> Option<(String, Option<u64>)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may itself hold blanks and parentheses.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace();
    let state = fields.next().unwrap_or_default().to_owned();
    Some((state, fields.nth(18).and_then(|ticks| ticks.parse().ok())))
}

fn argv(pid: u32) -> Vec<String> {
    let raw = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words = raw.split(|byte| *byte == 0).filter(|word| !word.is_empty());
    words.map(|word| String::from_utf8_lossy(word).into_owned()).collect()
}

/// The wall-clock time of a start given in ticks since boot. The time of the boot is measured
/// once: /proc/uptime has hundredths only, and a process must not seem to start anew at each look.
fn started(ticks: u64) -> Option<Time> {
    static BOOT: OnceLock<Option<Time>> = OnceLock::new();
    let boot = (*BOOT.get_or_init(booted))?;
    Some(boot.after(Duration::from_millis(ticks * 1000 / TICKS)))
}

fn booted() -> Option<Time> {
    let uptime = fs::read_to_string("/proc/uptime").ok()?;
    let uptime: f64 = uptime.split_whitespace().next()?.parse().ok()?;
    let at = SystemTime::now().checked_sub(Duration::try_from_secs_f64(uptime).ok()?)?;
    i64::try_from(at.duration_since(UNIX_EPOCH).ok()?.as_millis()).ok().map(Time)
}

/// The processes one of whose arguments is exactly this.
pub(crate) fn with_argument(argument: &str) -> Vec<Process> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| argv(*pid).iter().any(|word| word == argument)).filter_map(read).collect()
}

/// Sends a signal.
pub(crate) fn signal(pid: u32, signal: Signal) -> Result<(), Failure> {
    let Some(target) = i32::try_from(pid).ok().and_then(Pid::from_raw) else {
        return Err(Failure::new(ErrorKind::Invalid, format!("{pid} is no pid")));
    };
    match kill_process(target, signal) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(error) => Err(Failure::new(
            ErrorKind::Denied,
            format!("process {pid} takes no signal from us: {error}"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_process_is_read_with_its_start_and_arguments() {
        let own = read(std::process::id()).unwrap();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
        let age = i64::try_from(now).unwrap() - own.started_at.unwrap().0;
        assert!((-1000..600_000).contains(&age), "{age} ms old");
        assert!(!own.argv.is_empty());
        assert!(with_argument(&own.argv[0]).iter().any(|found| found.pid == own.pid));
    }

    #[test]
    fn a_process_that_ended_is_none() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = child.id();
        // Not waited for yet: a zombie at the latest when it is reaped below.
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        while read(pid).is_some() {
            assert!(std::time::Instant::now() < deadline);
            std::thread::yield_now();
        }
        child.wait().unwrap();
        assert!(read(pid).is_none());
    }
}
