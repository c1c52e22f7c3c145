//! Children of an effect end with it, and hold its lock until they have.

use std::{fs, path::Path, time::Instant};

use super::*;
use crate::{
    domain::rules::action::{ErrorKind, Failure},
    targets::{
        effect::{self, Deadline, whole},
        host::{files::blocking, lock, process, run::run},
    },
};

fn argv(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn runs(pid_file: &Path) -> bool {
    let pid = fs::read_to_string(pid_file).unwrap_or_default();
    pid.trim().parse().is_ok_and(|pid| process::read(pid).is_some())
}

const BRIEF: Duration = Duration::from_millis(300);

/// Rows: E22.
#[tokio::test]
async fn a_tool_that_is_cut_off_is_reaped_with_what_it_started_before_anybody_hears_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let (own, other) = (dir.path().join("own"), dir.path().join("other"));
    let script =
        format!("echo $$ >{}; sleep 1000 & echo $! >{}; wait", own.display(), other.display());
    let tool = argv(&["sh", "-c", &script]);
    let deadline = Deadline::after(BRIEF);
    let cut_off = whole(&deadline, run(&tool, Bond::Ours, Duration::from_secs(100))).await;
    let failure = cut_off.unwrap_err();
    assert_eq!((failure.kind, failure.still_running), (ErrorKind::Timeout, false), "{failure}");
    assert!(!runs(&own), "it is reaped");
    let began = Instant::now();
    while runs(&other) {
        assert!(began.elapsed() < Duration::from_secs(10), "what it started is ended too");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn the_lock_of_an_effect_is_held_until_its_last_child_has_ended() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lock");
    let brief = Duration::from_millis(10);
    let work = async {
        effect::hold(lock::take(&path, brief).await?);
        let start = Start {
            argv: argv(&["sleep", "1000"]),
            bond: Bond::Ours,
            limit: BRIEF,
            logs: None,
            lock: None,
            bare: false,
        };
        let child = Child::start(start).await.map_err(|error| {
            Failure::new(ErrorKind::Tool, format!("sleep cannot be started: {error}"))
        })?;
        let pid = child.process.pid;
        child.leave();
        Ok(pid)
    };
    let pid = whole(&Deadline::after(Duration::from_secs(10)), work).await.unwrap();
    assert!(lock::take(&path, brief).await.unwrap_err().still_running);
    kill_process(pid, Signal::KILL).unwrap();
    lock::take(&path, Duration::from_secs(10)).await.unwrap();
}

/// Rows: E22.
#[tokio::test]
async fn a_thread_that_is_cut_off_is_waited_for_and_one_that_hears_nothing_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lock");
    let (release, held) = std::sync::mpsc::channel::<()>();
    let work = async {
        effect::hold(lock::take(&path, BRIEF).await?);
        blocking(move |_| {
            held.recv().ok(); // deaf, as in a write to a disk that hangs
            Ok(())
        })
        .await
    };
    let cut_off = effect::whole_within(&Deadline::after(BRIEF), BRIEF, work).await;
    let failure = cut_off.unwrap_err();
    assert!(failure.still_running && failure.message.contains("work on files"), "{failure}");
    assert!(lock::take(&path, BRIEF).await.is_err(), "nobody touches the same until it is over");
    release.send(()).unwrap();
    lock::take(&path, Duration::from_secs(10)).await.unwrap();

    let work = blocking(|stop| {
        while !stop.load(std::sync::atomic::Ordering::Relaxed) {
            std::thread::yield_now();
        }
        Ok(())
    });
    let failure = whole(&Deadline::after(BRIEF), work).await.unwrap_err();
    assert!(!failure.still_running, "{failure}");
}
