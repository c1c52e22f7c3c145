//! SIGKILL of quorate while a tool of its own works on the patient's data: nothing of it stays.

use std::{fs, path::Path};

use serde_json::{Value, json};

use crate::{
    harness::{Etcd, GENEROUS, Layout, Quorate, TestDir, Tools, eventually},
    story::{
        REPAIR, alert, assert_rebuilt, automatic, await_member_at, await_run, await_seen, runs,
        script,
    },
};

/// An `etcdutl` that stops at one of its verbs the first time, and says where it stands.
fn stuck_etcdutl(dir: &TestDir, verb: &str) -> Value {
    fs::write(dir.join("trap"), "").unwrap();
    let (at, real) = (dir.path().display(), Tools::find().etcdutl.display());
    let body = format!(
        "if [ \"$1-$2\" = {verb} ] && mv {at}/trap {at}/met 2>/dev/null; then\n  \
         echo $$ >{at}/pid; exec sleep 1000\nfi\nexec '{real}' \"$@\""
    );
    json!(script(dir.path(), "etcdutl", &body))
}

/// Whether a process is there and runs.
fn is_there(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z'))
}

/// The processes that were started on a copy below the backups.
fn copies(etcd: &Etcd) -> Vec<String> {
    let argument = format!("--data-dir={}/backups", etcd.dir().display());
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let runs_on_copy = |pid: &String| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).split('\0').any(|word| word.starts_with(&argument))
    };
    pids.filter(runs_on_copy).collect()
}

/// Waits until its etcdutl is stuck; the process.
fn await_stuck(dir: &TestDir) -> String {
    let pid = || fs::read_to_string(dir.join("pid")).unwrap_or_default().trim().to_owned();
    eventually(REPAIR, "etcdutl is stuck", || !pid().is_empty());
    assert!(is_there(&pid()));
    pid()
}

fn assert_ends_with(quorate: &mut Quorate, pid: &str) {
    quorate.kill9();
    eventually(GENEROUS, "etcdutl has ended with quorate", || !is_there(pid));
}

fn backups_of(etcd: &Etcd) -> Value {
    let dir: &Path = etcd.dir();
    json!({"dir": dir.join("backups")})
}

/// Rows: E22, B12.
#[test]
fn a_restore_ends_with_quorate_and_is_made_anew_by_the_resumed_run() {
    let etcd = Layout::of(3).start();
    let revision = etcd.put_many("m1", "k", 100);
    let dir = TestDir::new("stuck");
    let mut quorate = automatic(&etcd)
        .set("/clusters/0/etcd/tools/etcdutl", stuck_etcdutl(&dir, "snapshot-restore"))
        .start();
    await_seen(&quorate, revision);
    etcd.destroy("m2");
    etcd.destroy("m3");
    alert(&quorate);
    let pid = await_stuck(&dir);
    assert_ends_with(&mut quorate, &pid);
    quorate.start();
    await_run(&quorate, &["succeeded"]);
    assert_rebuilt(&etcd, &quorate, 100);
    assert_eq!(runs(&quorate).len(), 1);
}

/// Rows: E2, E22, B12.
#[test]
fn a_scratch_copy_ends_with_quorate_and_is_started_again_by_the_resumed_run() {
    let etcd = Layout::of(3).start();
    let dir = TestDir::new("stuck");
    let mut quorate = automatic(&etcd)
        .grace("{for: 4s, samples: 3, max_gap: 4s}")
        .set("/watch/timeout", json!("1s"))
        .set("/clusters/0/etcd/backups", backups_of(&etcd))
        .set("/clusters/0/etcd/tools/etcdutl", stuck_etcdutl(&dir, "snapshot-status"))
        .start();
    let kept = etcd.put_many("m1", "k", 100);
    await_seen(&quorate, kept);
    await_member_at(&etcd, "m3", kept);
    etcd.stop("m3");
    etcd.destroy("m1");
    etcd.destroy("m2");
    etcd.start("m3");
    alert(&quorate);
    let pid = await_stuck(&dir);
    assert!(!copies(&etcd).is_empty());
    assert_ends_with(&mut quorate, &pid);
    eventually(GENEROUS, "the copy has ended with quorate", || copies(&etcd).is_empty());
    quorate.start();
    await_run(&quorate, &["succeeded"]);
    assert_rebuilt(&etcd, &quorate, 100);
    assert_eq!(runs(&quorate).len(), 1);
    assert_eq!(copies(&etcd), Vec::<String>::new());
}
