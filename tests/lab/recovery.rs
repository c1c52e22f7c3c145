//! A majority that is gone for good: rebuilt from what was kept, with proof.

use std::{fs, os::unix::fs::symlink};

use serde_json::{Value, json};

use crate::{
    harness::{Etcd, GENEROUS, Layout, Quorate, Tools, eventually},
    story::{
        CLUSTER, alert, assert_new_cluster, assert_rebuilt, attempts, attest, automatic,
        await_closed, await_member_at, await_reason, await_revision, await_run, await_seen, cli,
        failing, identities, output, runs, script, steps,
    },
};

/// Where a member that is silent on its client port is looked at: the probe waits for its whole
/// limit, so the looks lie further apart.
const PATIENT_GRACE: &str = "{for: 4s, samples: 3, max_gap: 4s}";

/// Rows: B5, B8, B14, B15, B16, B17, B18, E3, E6, E7, E17.
#[test]
fn a_majority_that_is_gone_for_good_is_rebuilt_with_every_key_that_could_be_kept() {
    let etcd = Layout::of(3).start();
    let revision = etcd.put_many("m1", "k", 300);
    let quorate = automatic(&etcd).start();
    await_seen(&quorate, revision);
    let before = identities(&etcd);
    etcd.destroy("m2");
    etcd.destroy("m3");
    alert(&quorate);
    let run = await_run(&quorate, &["succeeded"]);
    assert_rebuilt(&etcd, &quorate, 300);
    assert_new_cluster(&etcd, &before);
    assert_proven(&run);
    for step in ["fence[m2].fence_data", "restore", "start", "loss", "rejoin[m3].promote"] {
        assert!(steps(&run).contains(&(step.into(), "done".into())), "{step}: {run:#}");
    }
    let loss = only_loss(&quorate);
    assert_eq!((&loss["retained_revision"], &loss["lower"]), (&json!(revision), &json!(0)));
    assert_eq!(Some(attempts(&quorate, "succeeded")), Some(1.0));
    assert_eq!(quorate.metric("quorate_data_loss_possible", &[("cluster", CLUSTER)]), Some(1.0));
    assert_eq!(runs(&quorate).len(), 1);
}

/// The first of the list is alive and lacks the newest writes; the best data lies on a member that
/// does not even run.
/// Rows: B8, E1, E2.
#[test]
fn the_member_that_holds_most_is_kept_wherever_it_stands_and_whether_it_runs() {
    let etcd = Layout::of(3).start();
    let quorate = automatic(&etcd).grace(PATIENT_GRACE).set("/watch/timeout", json!("1s")).start();
    let old = etcd.put_many("m1", "k", 100);
    await_seen(&quorate, old);
    await_member_at(&etcd, "m1", old);
    let before = identities(&etcd);
    etcd.stop("m1");
    let newest = etcd.put_many("m2", "knew", 100);
    await_member_at(&etcd, "m3", newest);
    await_revision(&quorate, newest);
    etcd.destroy("m2");
    etcd.stop("m3");
    etcd.start("m1");
    alert(&quorate);
    await_reason(&quorate, "permanence");
    attest(&quorate, &["m3"]);
    let run = await_run(&quorate, &["succeeded"]);
    assert_rebuilt(&etcd, &quorate, 200);
    assert_new_cluster(&etcd, &before);
    assert_proven(&run);
    let chosen = output(&run, "choose");
    assert_eq!((&chosen["member"], &chosen["revision"]), (&json!("m3"), &json!(newest)));
    assert_eq!(output(&run, "save[m1].snapshot")["revision"], json!(old), "{run:#}");
    let loss = only_loss(&quorate);
    assert_eq!((&loss["survivor"], &loss["lower"]), (&json!("m3"), &json!(0)));
    assert_eq!(runs(&quorate).len(), 1);
}

/// What was written while the only survivor was away is lost, and counted exactly.
/// Rows: B14, B15, B17, E1, E2.
#[test]
fn a_survivor_that_was_restarted_and_is_silent_is_read_by_copy_and_its_loss_is_counted() {
    let etcd = Layout::of(3).start();
    let quorate = automatic(&etcd).grace(PATIENT_GRACE).set("/watch/timeout", json!("1s")).start();
    let kept = etcd.put_many("m1", "k", 100);
    await_seen(&quorate, kept);
    await_member_at(&etcd, "m3", kept);
    let before = identities(&etcd);
    etcd.stop("m3");
    let newest = etcd.put_many("m1", "lost", 40);
    await_revision(&quorate, newest);
    etcd.destroy("m1");
    etcd.destroy("m2");
    etcd.start("m3");
    alert(&quorate);
    let run = await_run(&quorate, &["succeeded"]);
    assert_rebuilt(&etcd, &quorate, 100);
    assert_new_cluster(&etcd, &before);
    assert_proven(&run);
    let took = |path: &str| steps(&run).contains(&(path.into(), "done".into()));
    assert!(took("save[m3].quiet_stop") && took("save[m3].scratch"), "{run:#}");
    assert_eq!(etcd.count_keys("m1", "lost"), Some(0));
    let loss = only_loss(&quorate);
    assert_eq!(loss["survivor"], "m3");
    assert_eq!(loss["retained_revision"], kept);
    assert_eq!(loss["last_seen_revision"], newest);
    assert_eq!(loss["lower"], 40, "{loss:#}");
    assert!(loss["upper"].as_u64() >= Some(40), "{loss:#}");
    let metric = |name: &str, labels: &[(&str, &str)]| {
        let labels = [&[("cluster", CLUSTER)], labels].concat();
        quorate.metric(name, &labels)
    };
    assert_eq!(metric("quorate_data_loss_revisions", &[("bound", "lower")]), Some(40.0));
    assert_eq!(
        metric("quorate_data_loss_revisions", &[("bound", "upper")]),
        loss["upper"].as_f64()
    );
    assert_eq!(metric("quorate_data_loss_events_total", &[]), Some(1.0));
    assert_eq!(runs(&quorate).len(), 1);
}

/// An older etcdutl cannot raise the revision; somebody accepted that. What is rebuilt then lies
/// below what was last seen, and is still known to be what this run built.
/// Rows: E1, E17.
#[test]
fn a_restore_without_a_bump_is_believed_although_its_revision_goes_back() {
    let etcd = Layout::of(3).start();
    let setup = automatic(&etcd).grace(PATIENT_GRACE).set("/watch/timeout", json!("1s"));
    let body = format!(
        "[ \"$1\" = version ] && echo 'etcdutl version: 3.5.9' && exit\nexec '{}' \"$@\"",
        Tools::find().etcdutl.display()
    );
    let etcdutl = script(setup.dir(), "etcdutl", &body);
    let quorate = setup
        .set("/clusters/0/etcd/tools/etcdutl", json!(etcdutl))
        .set("/clusters/0/etcd/allow", json!(["restore_without_bump"]))
        .start();
    let kept = etcd.put_many("m1", "k", 100);
    await_seen(&quorate, kept);
    await_member_at(&etcd, "m3", kept);
    etcd.stop("m3");
    let newest = etcd.put_many("m1", "lost", 40);
    await_revision(&quorate, newest);
    etcd.destroy("m1");
    etcd.destroy("m2");
    etcd.start("m3");
    alert(&quorate);
    let run = await_run(&quorate, &["succeeded"]);
    assert_eq!(output(&run, "restore")["revision"], json!(kept), "{run:#}");
    assert_rebuilt(&etcd, &quorate, 100);
    assert_proven(&run);
    assert_eq!(only_loss(&quorate)["lower"], 40);
}

/// The host of `m3` answers nothing, and a person says that it will not come back.
/// Rows: E5, E6.
#[test]
fn a_member_whose_host_does_not_answer_is_left_out_and_reported() {
    let etcd = Layout::of(3).start();
    let revision = etcd.put_many("m1", "k", 100);
    let setup = automatic(&etcd);
    let down = setup.dir().join("down");
    let status = failing(setup.dir(), "status", "m3", &down, "no route to host");
    let argv = json!([status, Etcd::service_script(), etcd.dir(), "status", "${member}"]);
    let quorate = setup.set("/clusters/0/etcd/service/command/status", argv).start();
    await_seen(&quorate, revision);
    etcd.destroy("m2");
    etcd.kill9("m3");
    fs::write(&down, "").unwrap();
    let data = &etcd.member("m3").data;
    fs::rename(data, etcd.dir().join("unreadable")).unwrap();
    symlink(data, data).unwrap(); // a directory that nobody can look at
    alert(&quorate);
    await_reason(&quorate, "unknown");
    attest(&quorate, &["m3"]);
    let run = await_run(&quorate, &["succeeded"]);
    assert_proven(&run);
    assert!(!steps(&run).iter().any(|(path, _)| path.starts_with("fence[m3]")), "{run:#}");
    let page = cli(&quorate, &["runs", run["id"].as_str().unwrap()]);
    assert!(page.contains("m3 is left out: its host"), "{page}");
    let listed = etcd.member_list("m1").unwrap();
    assert!(listed.len() == 2 && listed.iter().all(|member| !member.learner), "{listed:?}");
    assert_eq!(etcd.count_keys("m2", "k"), Some(100));
    assert_eq!(await_closed(&quorate, "etcd-quorum-lost"), "recovered");
    assert_eq!(runs(&quorate).len(), 1);
}

/// Rows: E16.
#[test]
fn a_survivor_behind_client_certificates_is_kept() {
    let etcd = Layout::of(3).with_tls().start();
    let revision = etcd.put_many("m1", "k", 100);
    let quorate = automatic(&etcd).start();
    await_seen(&quorate, revision);
    let before = identities(&etcd);
    etcd.destroy("m1");
    etcd.destroy("m3");
    alert(&quorate);
    let run = await_run(&quorate, &["succeeded"]);
    assert_rebuilt(&etcd, &quorate, 100);
    assert_new_cluster(&etcd, &before);
    assert_proven(&run);
    assert_eq!(output(&run, "choose")["member"], "m2");
    assert_eq!(runs(&quorate).len(), 1);
}

/// Two of five live: the serving one holds more than the silent one before it in the list, which is
/// fenced like the dead and comes back with the others.
/// Rows: E1, E2, E20.
#[test]
fn of_two_survivors_the_better_one_is_kept_and_the_other_one_is_fenced() {
    let etcd = Layout::of(5).start();
    let quorate = automatic(&etcd).grace(PATIENT_GRACE).set("/watch/timeout", json!("1s")).start();
    let old = etcd.put_many("m1", "k", 50);
    await_seen(&quorate, old);
    await_member_at(&etcd, "m1", old);
    let before = identities(&etcd);
    etcd.stop("m1");
    let newest = etcd.put_many("m2", "knew", 50);
    await_member_at(&etcd, "m4", newest);
    await_revision(&quorate, newest);
    for name in ["m2", "m3", "m5"] {
        etcd.destroy(name);
    }
    etcd.start("m1");
    alert(&quorate);
    let run = await_run(&quorate, &["succeeded"]);
    assert_rebuilt(&etcd, &quorate, 100);
    assert_new_cluster(&etcd, &before);
    assert_proven(&run);
    assert_eq!(output(&run, "choose")["member"], "m4");
    assert!(steps(&run).contains(&("fence[m1].fence_data".into(), "done".into())), "{run:#}");
    assert_fresh(&etcd, "m1");
}

/// The run itself compared all members, and a re-added one answered by itself.
#[track_caller]
fn assert_proven(run: &Value) {
    let compared = output(run, "compare");
    assert_eq!(compared["equal"], true, "{run:#}");
    assert_eq!(compared["sentinel_read"], true, "{run:#}");
}

/// A laggard came back on an empty directory, its old data beside it.
#[track_caller]
fn assert_fresh(etcd: &Etcd, name: &str) {
    let kept = etcd.member(name).data.join(".quorate");
    let runs: Vec<_> = fs::read_dir(kept).unwrap().flatten().collect();
    assert!(runs.iter().any(|run| run.path().join("old/member/wal").is_dir()), "{runs:?}");
}

#[track_caller]
fn only_loss(quorate: &Quorate) -> Value {
    let mut losses = Value::Null;
    eventually(GENEROUS, "a loss is recorded", || {
        losses = quorate.get("losses").json()["items"].clone();
        losses.as_array().is_some_and(|items| !items.is_empty())
    });
    assert_eq!(losses.as_array().map(Vec::len), Some(1), "{losses:#}");
    losses[0].clone()
}
