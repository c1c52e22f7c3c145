//! Mode `propose`: what a person is shown, what waits for the answer, and what an answer is worth
//! when the evidence changes.

use std::{fs, path::Path, process::Command};

use serde_json::{Value, json};

use crate::{
    harness::{Etcd, GENEROUS, Layout, Quorate, Setup, Tools, eventually},
    story::{
        CLUSTER, GRACE, alert, assert_intact, assert_rebuilt, attest, await_closed, await_reached,
        await_reason, await_run, await_seen, await_verdict, cli, cluster, holding, output,
        own_revision, pids, runs, step,
    },
};

fn proposing(etcd: &Etcd) -> Setup {
    Setup::of(etcd, CLUSTER).grace(GRACE)
}

/// Rows: E2, E25.
#[test]
fn a_proposed_repair_waits_while_the_survivor_serves_and_goes_on_when_approved() {
    let etcd = Layout::of(3).start();
    let revision = etcd.put_many("m1", "k", 100);
    let quorate = proposing(&etcd).start();
    await_seen(&quorate, revision);
    etcd.destroy("m2");
    etcd.destroy("m3");
    let before = pids(&etcd);
    alert(&quorate);
    let run = await_run(&quorate, &["awaiting_approval"]);
    assert_eq!(pids(&etcd), before);
    assert_eq!(
        etcd.count_keys("m1", "k"),
        Some(100),
        "the survivor serves while it is asked about"
    );
    assert!(!etcd.dir().join("m2/masked").exists(), "fenced before the answer");
    assert_eq!(step(&run, "fence"), "pending");
    let id = id(&run);
    let page = cli(&quorate, &["runs", id]);
    let digest = run["ask"]["digest"].as_str().unwrap();
    let stop = format!("{} stop m1", etcd.dir().display());
    for shown in ["survivor", "m1", "loss", "snapshot restore", digest, &stop, "m2", "quorate deny"]
    {
        assert!(page.contains(shown), "{shown} is not shown:\n{page}");
    }
    let said = quorate.cli(&["approve", id, "--digest", &"0".repeat(64), "--reason", "stale"]);
    assert_eq!(said.code, 1, "another digest was taken: {}", said.stdout);
    assert_eq!(pids(&etcd), before);
    cli(&quorate, &["approve", id, "--digest", digest, "--reason", "both disks are gone"]);
    let run = await_run(&quorate, &["succeeded"]);
    assert_eq!(run["approval"]["reason"], "both disks are gone");
    assert_rebuilt(&etcd, &quorate, 100);
    assert_eq!(runs(&quorate).len(), 1);
}

/// Rows: E25.
#[test]
fn a_denied_repair_changes_nothing_on_the_patient() {
    let etcd = Layout::of(3).start();
    let revision = etcd.put_many("m1", "k", 20);
    let quorate = proposing(&etcd).start();
    await_seen(&quorate, revision);
    etcd.destroy("m2");
    etcd.destroy("m3");
    let before = pids(&etcd);
    alert(&quorate);
    let run = await_run(&quorate, &["awaiting_approval"]);
    let plan = quorate.cli(&["plan", "etcd-rebuild-hosts", "--cluster", CLUSTER]).stdout;
    let stop = format!("{} stop m1", etcd.dir().display());
    assert!(plan.contains("snapshot restore") && plan.contains(&stop), "{plan}");
    assert_eq!(pids(&etcd), before, "a plan changes nothing");
    cli(&quorate, &["deny", id(&run), "--reason", "the disks can be saved"]);
    let run = await_run(&quorate, &["failed"]);
    assert_eq!((&run["outcome"], &run["failure"]["kind"]), (&json!("undone"), &json!("denied")));
    assert_eq!(run["denied"]["reason"], "the disks can be saved");
    assert_eq!(pids(&etcd), before);
    assert_eq!(etcd.count_keys("m1", "k"), Some(20));
    for name in ["m1", "m2", "m3"] {
        let home = etcd.dir().join(name);
        let left = |path: &str| home.join(path).exists();
        assert!(!left("masked") && !left("data/.quorate"), "something is left on {name}");
    }
    await_reason(&quorate, "backoff");
}

/// Rows: B11, E5.
#[test]
fn a_majority_that_returns_while_a_person_is_asked_cancels_the_run() {
    let etcd = Layout::of(3).start();
    let revision = etcd.put_many("m1", "k", 20);
    let quorate = proposing(&etcd).start();
    await_seen(&quorate, revision);
    etcd.kill9("m2");
    etcd.kill9("m3");
    alert(&quorate);
    await_reason(&quorate, "permanence");
    attest(&quorate, &["m2", "m3"]);
    let run = await_run(&quorate, &["awaiting_approval"]);
    etcd.start("m2");
    etcd.start("m3");
    let after = pids(&etcd);
    await_run(&quorate, &["cancelled"]);
    assert_eq!(await_closed(&quorate, "etcd-quorum-lost"), "recovered_by_itself");
    assert_eq!(pids(&etcd), after, "a member was restarted");
    let said = quorate.cli(&["approve", id(&run), "--reason", "too late"]);
    assert_eq!(said.code, 1, "{}", said.stdout);
    assert_all_well(&etcd, &quorate, 20);
    assert_eq!(runs(&quorate).len(), 1);
}

/// The run is held in its fence; the members that it fences come back.
/// Rows: B11, E5.
#[test]
fn a_majority_that_returns_after_the_approval_cancels_the_run_and_all_is_put_back() {
    let etcd = Layout::of(3).start();
    let revision = etcd.put_many("m1", "k", 50);
    let setup = proposing(&etcd);
    let hold = setup.dir().join("hold");
    let mask = holding(setup.dir(), "mask", &hold, "[ \"$4\" = m2 ]");
    let argv = json!([mask, Etcd::service_script(), etcd.dir(), "mask", "${member}"]);
    let quorate = setup.set("/clusters/0/etcd/service/command/mask", argv).start();
    await_seen(&quorate, revision);
    await_approval(&etcd, &quorate);
    fs::write(&hold, "").unwrap();
    cli(&quorate, &["approve", id(&runs(&quorate)[0]), "--reason", "burnt down"]);
    await_reached(&hold);
    etcd.start("m2");
    etcd.start("m3");
    etcd.wait_leader();
    eventually(GENEROUS, "the run is cancelled", || runs(&quorate)[0]["state"] == "undoing");
    fs::remove_file(&hold).unwrap();
    let run = await_run(&quorate, &["cancelled"]);
    assert_eq!(run["past_return"], json!(null));
    assert_all_well(&etcd, &quorate, 50);
    assert_eq!(await_closed(&quorate, "etcd-quorum-lost"), "recovered_by_itself");
    assert_eq!(runs(&quorate).len(), 1);
}

/// The last moment: the survivor is stopped and its new directory is being made when somebody takes
/// the fence down by hand and starts the two others.
/// Rows: E5, E22.
#[test]
fn a_majority_that_somebody_brings_back_behind_the_fence_cancels_the_run() {
    let etcd = Layout::of(3).start();
    let revision = etcd.put_many("m1", "k", 50);
    let setup = proposing(&etcd);
    let hold = setup.dir().join("hold");
    let gate = holding(setup.dir(), "gate", &hold, "[ \"$3\" = restore ]");
    let etcdutl = crate::story::script(
        setup.dir(),
        "etcdutl",
        &format!("exec '{}' '{}' \"$@\"", gate.display(), Tools::find().etcdutl.display()),
    );
    let quorate = setup.set("/clusters/0/etcd/tools/etcdutl", json!(etcdutl)).start();
    await_seen(&quorate, revision);
    await_approval(&etcd, &quorate);
    fs::write(&hold, "").unwrap();
    let run = runs(&quorate).remove(0);
    cli(&quorate, &["approve", id(&run), "--reason", "burnt down"]);
    await_reached(&hold);
    for name in ["m2", "m3"] {
        let service = Command::new(Etcd::service_script())
            .arg(etcd.dir())
            .args(["unmask", name])
            .status()
            .unwrap();
        assert!(service.success());
        let data = &etcd.member(name).data;
        let old = data.join(".quorate").join(id(&run)).join("old/member");
        fs::rename(old, data.join("member")).unwrap();
        etcd.start(name);
    }
    etcd.wait_leader();
    let newest = etcd.put("m2", "k-after", "written by the majority").unwrap();
    eventually(GENEROUS, "the run is cancelled", || runs(&quorate)[0]["state"] == "undoing");
    fs::remove_file(&hold).unwrap();
    let run = await_run(&quorate, &["cancelled"]);
    assert_eq!(run["past_return"], json!(null));
    eventually(GENEROUS, "m1 has caught up", || own_revision(&etcd, "m1") == Some(newest));
    assert_all_well(&etcd, &quorate, 51);
}

/// The approval rests on two lost disks; then the disk of `m3` is found again, before the answer.
/// Rows: E25.
#[test]
fn an_approval_of_what_is_not_there_any_more_touches_no_member() {
    let etcd = Layout::of(3).start();
    let revision = etcd.put_many("m1", "k", 50);
    let quorate = proposing(&etcd).start();
    await_seen(&quorate, revision);
    etcd.destroy("m2");
    etcd.kill9("m3");
    let (disk, found) = (&etcd.member("m3").data, etcd.dir().join("found"));
    fs::rename(disk, &found).unwrap();
    alert(&quorate);
    let run = await_run(&quorate, &["awaiting_approval"]);
    let pid = etcd.pid("m1");
    fs::rename(&found, disk).unwrap();
    cli(&quorate, &["approve", id(&run), "--reason", "both disks are gone"]);
    let run = await_run(&quorate, &["failed"]);
    assert_eq!((&run["outcome"], &run["past_return"]), (&json!("undone"), &json!(null)), "{run:#}");
    let message = run["failure"]["message"].as_str().unwrap();
    assert!(message.contains("approve anew"), "{message}");
    assert_eq!(run["failure"]["kind"], "refused_by_guard");
    assert_eq!(step(&run, "fence"), "pending", "{run:#}");
    assert_eq!(etcd.pid("m1"), pid, "the survivor was stopped");
    assert_eq!(etcd.count_keys("m1", "k"), Some(50));
}

/// It rests on a person's word, which lapses while the survivor is being stopped.
/// Rows: E25.
#[test]
fn an_approval_is_void_at_the_last_moment_too_and_everything_is_put_back() {
    let etcd = Layout::of(3).start();
    let revision = etcd.put_many("m1", "k", 50);
    let setup = proposing(&etcd);
    let hold = setup.dir().join("hold");
    let stop = holding(setup.dir(), "stop", &hold, "[ \"$4\" = m1 ]");
    let argv = json!([stop, Etcd::service_script(), etcd.dir(), "stop", "${member}"]);
    fs::write(&hold, "").unwrap();
    let quorate = setup.set("/clusters/0/etcd/service/command/stop", argv).start();
    await_seen(&quorate, revision);
    etcd.kill9("m2");
    etcd.kill9("m3");
    alert(&quorate);
    await_reason(&quorate, "permanence");
    for (member, lasts) in [("m2", "1h"), ("m3", "40s")] {
        let why = ["--gone", "--for", lasts, "--reason", "its host burnt down"];
        cli(&quorate, &[&["attest", CLUSTER, member], &why[..]].concat());
    }
    let run = await_run(&quorate, &["awaiting_approval"]);
    cli(&quorate, &["approve", id(&run), "--reason", "both burnt down"]);
    await_reached(&hold);
    eventually(GENEROUS, "the word about m3 has lapsed", || {
        let members = cluster(&quorate)["members"].clone();
        let m3 = members.as_array().unwrap().iter().find(|member| member["name"] == "m3");
        m3.unwrap()["permanence"].is_null()
    });
    fs::remove_file(&hold).unwrap();
    let run = await_run(&quorate, &["failed"]);
    assert_eq!((&run["outcome"], &run["past_return"]), (&json!("undone"), &json!(null)), "{run:#}");
    assert_eq!(run["failure"]["kind"], "refused_by_guard");
    let message = run["failure"]["message"].as_str().unwrap();
    assert!(message.contains("approve anew"), "{message}");
    assert_ne!(output(&run, "restore"), Value::Null, "refused before the last moment");
    for name in ["m1", "m2", "m3"] {
        assert!(!etcd.dir().join(name).join("masked").exists(), "{name} is left masked");
    }
    assert_eq!(step(&run, "swap_in"), "undone", "{run:#}");
    drop(quorate);
    let back = etcd.member("m3").data.join("member/wal");
    assert!(back.is_dir(), "the data of m3 is not back");
    assert_intact(&etcd, "m1", revision, 50);
}

/// Two members killed and attested gone, up to the question.
#[track_caller]
fn await_approval(etcd: &Etcd, quorate: &Quorate) {
    etcd.kill9("m2");
    etcd.kill9("m3");
    alert(quorate);
    await_reason(quorate, "permanence");
    attest(quorate, &["m2", "m3"]);
    await_run(quorate, &["awaiting_approval"]);
}

/// All three serve everything under one leader, and nothing is left of the run.
#[track_caller]
fn assert_all_well(etcd: &Etcd, quorate: &Quorate, keys: i64) {
    await_verdict(quorate, "healthy");
    for name in ["m1", "m2", "m3"] {
        eventually(GENEROUS, &format!("{name} has every key"), || {
            etcd.count_keys(name, "k") == Some(keys)
        });
        let home: &Path = &etcd.dir().join(name);
        assert!(!home.join("masked").exists(), "{name} is left masked");
        assert!(!home.join("data/.quorate/args").exists(), "{name} is left with arguments");
    }
    assert!(etcd.put("m2", "writable", "again").is_ok());
    assert_eq!(cluster(quorate)["open_loss"], json!(null), "a loss was recorded");
}

#[track_caller]
fn id(run: &Value) -> &str {
    run["id"].as_str().unwrap()
}
