//! Repairs that fail: taken back or parked, with a message that says what to do, and the survivor's
//! data never worse than before.

use std::{
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::{Value, json};

use crate::{
    harness::{Etcd, GENEROUS, Layout, Quorate, Tools, eventually},
    story::{
        alert, assert_intact, assert_left_alone, assert_rebuilt, attempts, automatic,
        await_reached, await_reason, await_run, await_seen, cli, failing, holding, incidents,
        own_revision, pids, runs, script, step,
    },
};

/// Rows: E14, E16.
#[test]
fn without_etcdutl_nothing_is_touched_and_the_missing_tool_is_named() {
    let etcd = Layout::of(3).start();
    let revision = etcd.put_many("m1", "k", 20);
    let missing = etcd.dir().join("etcdutl-is-not-here");
    let quorate = automatic(&etcd).set("/clusters/0/etcd/tools/etcdutl", json!(missing)).start();
    lose_majority(&etcd, &quorate, revision);
    await_reason(&quorate, "capability");
    let incident = incidents(&quorate, "etcd-quorum-lost").pop().unwrap();
    let text = incident["decision"]["text"].as_str().unwrap();
    assert!(text.contains("etcdutl-is-not-here"), "{text}");
    assert_left_alone(&etcd, &quorate);
    assert_eq!(etcd.count_keys("m1", "k"), Some(20));
}

/// Rows: E14.
#[test]
fn a_tool_of_another_minor_is_named_and_nothing_is_touched() {
    let etcd = Layout::of(3).start();
    let revision = etcd.put_many("m1", "k", 20);
    let setup = automatic(&etcd);
    let newer = script(setup.dir(), "etcd", "echo 'etcd Version: 3.99.0'");
    let quorate = setup.set("/clusters/0/etcd/tools/etcd", json!(newer)).start();
    lose_majority(&etcd, &quorate, revision);
    await_reason(&quorate, "version");
    let incident = incidents(&quorate, "etcd-quorum-lost").pop().unwrap();
    let text = incident["decision"]["text"].as_str().unwrap();
    for told in ["etcd.tools.etcd", newer.to_str().unwrap(), "3.99.0", "m1 ("] {
        assert!(text.contains(told), "{told}: {text}");
    }
    assert_left_alone(&etcd, &quorate);
}

/// A real mount in a lost member's way, in place while etcd runs. Rows: E6, E15.
#[test]
fn data_that_is_a_mount_point_is_noticed_before_anything_is_touched() {
    let etcd = Layout::of(3).start();
    let revision = etcd.put_many("m1", "k", 20);
    let home = etcd.dir().join("m1/data/member");
    let bound = Bound::mount(&home);
    let quorate = automatic(&etcd).start();
    lose_majority(&etcd, &quorate, revision);
    await_reason(&quorate, "capability");
    let incident = incidents(&quorate, "etcd-quorum-lost").pop().unwrap();
    let text = incident["decision"]["text"].as_str().unwrap();
    let path = format!("m1: {} is a mount point of its own", home.display());
    assert!(text.contains(&path) && text.contains("instead"), "{text}");
    assert_left_alone(&etcd, &quorate);
    assert_eq!(etcd.count_keys("m1", "k"), Some(20));
    // With the mount out of the way the repair goes on by itself.
    drop(bound);
    await_run(&quorate, &["succeeded"]);
    assert_rebuilt(&etcd, &quorate, 20);
}

/// The survivor has been stopped by then, so the second attempt finds it silent and reads a copy.
/// Rows: B18, E2, E22.
#[test]
fn a_restore_that_fails_is_taken_back_and_the_next_attempt_loses_nothing() {
    let etcd = Layout::of(3).start();
    let revision = etcd.put_many("m1", "k", 100);
    let setup = automatic(&etcd).grace("{for: 4s, samples: 3, max_gap: 4s}");
    let broken = setup.dir().join("broken");
    let body = format!(
        "if [ \"$2\" = restore ] && [ -e '{}' ]; then echo 'the moon is full' >&2; exit 1; fi\n\
         exec '{}' \"$@\"",
        broken.display(),
        Tools::find().etcdutl.display()
    );
    let etcdutl = script(setup.dir(), "etcdutl", &body);
    fs::write(&broken, "").unwrap();
    let quorate = setup
        .set("/clusters/0/etcd/tools/etcdutl", json!(etcdutl))
        .set("/watch/timeout", json!("1s"))
        .edit_rules("responses", |text| text.replace("initial: 1m", "initial: 8s"))
        .start();
    lose_majority(&etcd, &quorate, revision);
    let run = await_run(&quorate, &["failed"]);
    assert_undone(&run, "tool", "the moon is full");
    assert_put_back(&etcd, &run);
    eventually(GENEROUS, "the survivor runs on its own data again", || {
        own_revision(&etcd, "m1") == Some(revision)
    });
    fs::remove_file(&broken).unwrap();
    eventually(GENEROUS, "a second attempt begins", || runs(&quorate).len() == 2);
    let run = await_run(&quorate, &["succeeded"]);
    assert_eq!(step(&run, "save[m1].scratch"), "done", "{run:#}");
    assert_rebuilt(&etcd, &quorate, 100);
    assert_eq!(Some(attempts(&quorate, "succeeded")), Some(1.0));
    assert_eq!(Some(attempts(&quorate, "undone")), Some(1.0));
}

/// Rows: E15.
#[test]
fn a_disk_without_room_for_the_copy_is_noticed_before_anything_is_touched() {
    let etcd = Layout::of(3).start();
    let revision = etcd.put_many("m1", "k", 20);
    let small = SmallDisk::mount(&etcd.dir().join("small"), "8m");
    let quorate = automatic(&etcd).set("/clusters/0/etcd/backups/dir", json!(small.dir)).start();
    await_seen(&quorate, revision);
    etcd.destroy("m2");
    etcd.destroy("m3");
    let before = pids(&etcd);
    alert(&quorate);
    let run = await_run(&quorate, &["failed"]);
    assert_undone(&run, "refused_by_guard", "lacks room");
    assert_eq!(step(&run, "fence"), "pending");
    assert_eq!(pids(&etcd), before);
    assert_eq!(etcd.count_keys("m1", "k"), Some(20));
}

/// There was room when it was looked at; the run is held at the survivor's stop while it goes.
/// Rows: E3, E15.
#[test]
fn a_disk_that_fills_up_before_the_copy_takes_the_repair_back() {
    let etcd = Layout::of(3).start();
    let revision = etcd.put_many("m1", "k", 50);
    let small = SmallDisk::mount(&etcd.dir().join("small"), "300m");
    let backups = json!({"dir": small.dir, "min_free": "1x"});
    let setup = automatic(&etcd);
    let hold = setup.dir().join("hold");
    let stop = holding(setup.dir(), "stop", &hold, "[ \"$4\" = m1 ]");
    let argv = json!([stop, Etcd::service_script(), etcd.dir(), "stop", "${member}"]);
    fs::write(&hold, "").unwrap();
    let quorate = setup
        .set("/clusters/0/etcd/backups", backups)
        .set("/clusters/0/etcd/service/command/stop", argv)
        .start();
    lose_majority(&etcd, &quorate, revision);
    await_reached(&hold);
    small.fill();
    fs::remove_file(&hold).unwrap();
    let run = await_run(&quorate, &["failed"]);
    assert_undone(&run, "disk_full", "make room");
    assert_eq!(step(&run, "copy"), "failed");
    assert_put_back(&etcd, &run);
    drop(quorate);
    assert_intact(&etcd, "m1", revision, 50);
}

/// The restored member itself: the point of no return is passed, and nothing runs.
/// Rows: E22, E23.
#[test]
fn a_restored_member_that_does_not_start_parks_the_run_and_it_goes_on_when_that_is_mended() {
    let etcd = Layout::of(3).start();
    let revision = etcd.put_many("m1", "k", 50);
    let setup = automatic(&etcd);
    let broken = setup.dir().join("broken");
    let gate = failing(setup.dir(), "start", "m1", &broken, "port 2380 is taken");
    let argv = json!([gate, Etcd::service_script(), etcd.dir(), "start", "${member}"]);
    fs::write(&broken, "").unwrap();
    let quorate = setup.set("/clusters/0/etcd/service/command/start", argv).start();
    lose_majority(&etcd, &quorate, revision);
    let run = await_run(&quorate, &["parked"]);
    let id = run["id"].as_str().unwrap();
    assert_eq!(run["past_return"], "start", "{run:#}");
    let page = cli(&quorate, &["runs", id]);
    assert!(page.contains("port 2380 is taken") && page.contains("quorate resume"), "{page}");
    fs::remove_file(&broken).unwrap();
    cli(&quorate, &["resume", id, "--reason", "the port is free again"]);
    await_run(&quorate, &["succeeded"]);
    assert_rebuilt(&etcd, &quorate, 50);
    assert_eq!(runs(&quorate).len(), 1);
}

/// Rows: E6, E20, E22.
#[test]
fn a_member_that_does_not_start_parks_the_run_and_it_goes_on_when_that_is_mended() {
    let etcd = Layout::of(3).start();
    let revision = etcd.put_many("m1", "k", 100);
    let setup = automatic(&etcd);
    let broken = setup.dir().join("broken");
    let gate = failing(setup.dir(), "start", "m3", &broken, "the disk of m3 is read-only");
    let argv = json!([gate, Etcd::service_script(), etcd.dir(), "start", "${member}"]);
    fs::write(&broken, "").unwrap();
    let quorate = setup.set("/clusters/0/etcd/service/command/start", argv).start();
    lose_majority(&etcd, &quorate, revision);
    let run = await_run(&quorate, &["parked"]);
    let id = run["id"].as_str().unwrap();
    let page = cli(&quorate, &["runs", id]);
    for told in ["the disk of m3 is read-only", "quorate resume", "quorate abandon"] {
        assert!(page.contains(told), "{told} is not told:\n{page}");
    }
    // What could be rebuilt works meanwhile: two voters, no orphan learner that blocks the next add.
    assert_eq!(etcd.count_keys("m2", "k"), Some(100));
    assert!(etcd.put("m2", "meanwhile", "v").is_ok());
    let listed = etcd.member_list("m1").unwrap();
    assert!(listed.len() == 2 && listed.iter().all(|member| !member.learner), "{listed:?}");
    fs::remove_file(&broken).unwrap();
    cli(&quorate, &["resume", id, "--reason", "the disk was mounted again"]);
    let run = await_run(&quorate, &["succeeded"]);
    assert_rebuilt(&etcd, &quorate, 100);
    let at = |path: &str| {
        let mut steps = run["steps"].as_array().unwrap().iter();
        steps.find(|step| step["path"] == path).unwrap()["at"].as_str().unwrap().to_owned()
    };
    assert!(
        at("compare") > at("rejoin[m3].promote"),
        "the last member was never compared: {run:#}"
    );
    assert_eq!(runs(&quorate).len(), 1);
}

#[track_caller]
fn lose_majority(etcd: &Etcd, quorate: &Quorate, revision: i64) {
    await_seen(quorate, revision);
    etcd.destroy("m2");
    etcd.destroy("m3");
    alert(quorate);
}

/// The run was taken back before the point of no return, and says why.
#[track_caller]
fn assert_undone(run: &Value, kind: &str, told: &str) {
    assert_eq!(run["outcome"], "undone", "{run:#}");
    assert_eq!(run["past_return"], json!(null));
    assert_eq!(run["failure"]["kind"], kind, "{run:#}");
    let message = run["failure"]["message"].as_str().unwrap();
    assert!(message.contains(told), "{message}");
}

/// No mask, no arguments, no half-made directory is left where the member looks, and it runs.
#[track_caller]
fn assert_put_back(etcd: &Etcd, run: &Value) {
    assert!(etcd.pid("m1").is_some(), "the survivor does not run: {run:#}");
    for name in ["m1", "m2", "m3"] {
        let left = |path: &str| etcd.dir().join(name).join(path).exists();
        assert!(!left("masked") && !left("data/.quorate/args"), "something is left on {name}");
    }
}

/// A file system of its own, much smaller than a disk; a write-ahead log alone takes 128 MB. Needs root.
struct SmallDisk {
    dir: PathBuf,
}

impl SmallDisk {
    #[track_caller]
    fn mount(dir: &Path, size: &str) -> Self {
        fs::create_dir(dir).unwrap();
        let mut mount = Command::new("mount");
        let done = mount
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])
            .arg(dir)
            .output()
            .unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        Self { dir: dir.to_owned() }
    }

    /// Leaves a few kilobytes.
    fn fill(&self) {
        let mut file = File::create(self.dir.join("filler")).unwrap();
        while file.write_all(&[7; 16 << 10]).is_ok() {}
    }
}

/// A directory that is mounted on itself: the same files, and no rename. Needs root.
struct Bound(PathBuf);

impl Bound {
    #[track_caller]
    fn mount(dir: &Path) -> Self {
        let done = Command::new("mount").arg("--bind").args([dir, dir]).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        Self(dir.to_owned())
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("-l").arg(&self.0).status());
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: what still writes there is ended by the drops that follow.
        drop(Command::new("umount").arg("-l").arg(&self.dir).status());
    }
}
