//! quorate is told to stop, or ended, in the middle of something: it goes on where it was.
//!
//! Kills between a step and its record are in `crash`. Here: the ordered stop, what is kept for ever,
//! and a grace that no restart and no clock shortens.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime},
};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::{
    crash::assert_joined_once,
    harness::{GENEROUS, Layout, Quorate, Tools, Webhook, eventually, store},
    story::{
        CLUSTER, REPAIR, alert, assert_rebuilt, attempts, automatic, await_run, await_seen,
        cluster, incidents, reason, runs,
    },
};

/// `etcdutl` that waits in a restore until the file `go` is there, and notes each restore.
fn held_etcdutl(dir: &Path) -> PathBuf {
    let (path, real) = (dir.join("etcdutl"), Tools::find().etcdutl.display());
    let text = format!(
        "#!/bin/bash\nif [ \"$2\" = restore ]; then\n    echo >>'{dir}/restores'\n    \
         while [ ! -e '{dir}/go' ]; do sleep 0.05; done\nfi\nexec {real} \"$@\"\n",
        dir = dir.display()
    );
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

/// Rows: E22, B12, B14, B15.
#[test]
fn told_to_stop_during_a_run_it_ends_the_step_and_goes_on_after_the_restart() {
    let etcd = Layout::of(3).start();
    let revision = etcd.put_many("m1", "k", 200);
    let setup = automatic(&etcd);
    let dir = setup.dir().to_owned();
    let tool = held_etcdutl(&dir);
    let mut quorate = setup.set("/clusters/0/etcd/tools/etcdutl", json!(tool)).start();
    await_seen(&quorate, revision);
    etcd.destroy("m2");
    etcd.destroy("m3");
    alert(&quorate);
    eventually(REPAIR, "the restore is under way", || dir.join("restores").exists());
    quorate.daemon().signal(Signal::TERM);
    let late = Webhook::firing("TooLate", "2026-11-21T03:33:52.24Z");
    eventually(GENEROUS, "intake has stopped", || quorate.receive(&late).code == 0);
    assert!(quorate.daemon().is_running(), "the step under way was left alone");
    fs::write(dir.join("go"), "").unwrap();
    assert_eq!(quorate.daemon().wait().code(), Some(0), "{}", quorate.log());
    let journal = store::rows(&quorate.path("data")).journal;
    let is_done = |row: &&String| row.contains("step_done") && row.contains("\"step\":\"restore\"");
    assert_eq!(journal.iter().filter(is_done).count(), 1, "the step reached the journal");
    assert!(
        !journal.iter().any(|row| row.contains("\"step\":\"start\"")),
        "and nothing more began"
    );
    quorate.start();
    await_run(&quorate, &["succeeded"]);
    assert_rebuilt(&etcd, &quorate, 200);
    assert_joined_once(&etcd);
    assert_eq!(fs::read_to_string(dir.join("restores")).unwrap().len(), 1, "restored once");

    // What is kept for ever is there after the next restart, unchanged.
    eventually(GENEROUS, "the incident is closed", || {
        incidents(&quorate, "etcd-quorum-lost")[0]["phase"] == "closed"
    });
    let kept = |quorate: &Quorate| -> Value {
        json!({
            "runs": runs(quorate), "losses": quorate.get("losses").json(),
            "incidents": incidents(quorate, "etcd-quorum-lost"),
            "attempts": attempts(quorate, "succeeded"),
            "open": quorate.metric("quorate_data_loss_possible", &[("cluster", CLUSTER)]),
        })
    };
    let before = kept(&quorate);
    assert_eq!(before["attempts"], 1.0);
    quorate.kill9();
    quorate.start();
    assert_eq!(before, kept(&quorate));
}

/// Rows: E13, E21. Ten minutes after a rebuild all members are compared once more.
#[test]
fn the_proof_is_repeated_ten_minutes_later_on_the_cluster_that_was_built() {
    let etcd = Layout::of(3).start();
    let revision = etcd.put_many("m1", "k", 50);
    let setup = automatic(&etcd);
    let clock = setup.dir().join("offset");
    let mut quorate = setup.write();
    on_clock(&mut quorate, &clock);
    quorate.start();
    await_seen(&quorate, revision);
    etcd.destroy("m2");
    etcd.destroy("m3");
    alert(&quorate);
    await_run(&quorate, &["succeeded"]);
    let proofs = |quorate: &Quorate| -> Vec<String> {
        let journal = store::rows(&quorate.path("data")).journal;
        let is_proof =
            |row: &String| row.contains("watch_reported") && row.contains("\"kind\":\"proof\"");
        journal.into_iter().filter(is_proof).collect()
    };
    assert_eq!(proofs(&quorate), Vec::<String>::new(), "it is not due yet");
    quorate.kill9();
    step_clock(&clock, Duration::from_mins(11));
    quorate.start();
    eventually(GENEROUS, "the proof is repeated", || !proofs(&quorate).is_empty());
    let found = proofs(&quorate);
    assert!(found.len() == 1 && found[0].contains("\"is_well\":true"), "{found:?}");
}

/// quorate reads its wall clock off this file, an offset to the real one.
fn on_clock(quorate: &mut Quorate, clock: &Path) {
    step_clock(clock, Duration::ZERO);
    for (name, value) in [
        ("LD_PRELOAD", libfaketime().to_str().unwrap()),
        ("FAKETIME_TIMESTAMP_FILE", clock.to_str().unwrap()),
        ("FAKETIME_NO_CACHE", "1"),
        ("DONT_FAKE_MONOTONIC", "1"),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
    ] {
        quorate.daemon().env(name, value);
    }
}

/// Renamed into place: it is read at any moment.
fn step_clock(clock: &Path, forward: Duration) {
    let new = clock.with_extension("new");
    fs::write(&new, format!("+{:.1}", forward.as_secs_f64())).unwrap();
    fs::rename(new, clock).unwrap();
}

/// The library that gives a process another wall clock.
fn libfaketime() -> PathBuf {
    let folders = fs::read_dir("/usr/lib").unwrap().flatten();
    let found = folders.map(|entry| entry.path().join("faketime/libfaketime.so.1"));
    found.into_iter().find(|path| path.exists()).expect("libfaketime is installed: run tests/run")
}

/// Rows: B12. Neither a clock that is put forward nor a restart shortens the grace.
#[test]
fn a_wall_clock_that_is_stepped_during_the_grace_brings_no_early_repair() {
    const FOR: Duration = Duration::from_secs(12);
    let etcd = Layout::of(3).start();
    let revision = etcd.put_many("m1", "k", 50);
    let setup = automatic(&etcd).grace("{for: 12s, samples: 4, max_gap: 6s}");
    let clock = setup.dir().join("offset");
    let forward = |by| step_clock(&clock, by);
    let mut quorate = setup.write();
    on_clock(&mut quorate, &clock);
    quorate.start();
    await_seen(&quorate, revision);
    etcd.destroy("m2");
    etcd.destroy("m3");
    alert(&quorate);
    eventually(GENEROUS, "the first sample", || cluster(&quorate)["verdict"] == "lost");
    assert_eq!(reason(&quorate), "grace");
    // One big step would break the chain of samples; many small ones would not be noticed in it.
    let began = Instant::now();
    eventually(GENEROUS, "most of the grace", || {
        forward(2 * began.elapsed());
        assert!(runs(&quorate).is_empty(), "{:?} of {FOR:?}", began.elapsed());
        began.elapsed() > FOR * 3 / 4
    });
    // A restart reads the new time, an hour later than what is kept.
    forward(Duration::from_hours(1));
    let restarted = Instant::now();
    quorate.kill9();
    quorate.start();
    let ahead = last_line_at(&quorate.log()).duration_since(SystemTime::now()).unwrap();
    assert!(ahead > Duration::from_mins(59), "the clock was not stepped: {ahead:?}");
    eventually(GENEROUS, "a run begins in its own time", || {
        let began = !runs(&quorate).is_empty();
        assert!(!began || restarted.elapsed() >= FOR, "{:?} of {FOR:?}", restarted.elapsed());
        began
    });
}

/// The time at the head of a log's last line that has one.
fn last_line_at(log: &str) -> SystemTime {
    let mut times = log.lines().rev().filter_map(|line| line.split_once(' ')?.0.parse().ok());
    let last: jiff::Timestamp = times.next().expect("a line with a time");
    last.into()
}
