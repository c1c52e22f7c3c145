//! A changed configuration and SIGHUP while real members are watched and repaired.

use std::fs;

use serde_json::{Value, json};

use crate::{
    harness::{Etcd, GENEROUS, Layout, Quorate, eventually, store},
    story::{
        CLUSTER, alert, assert_rebuilt, automatic, await_reached, await_run, await_seen, cli,
        holding, pids, runs, step,
    },
};

/// Takes the cluster out of the configuration; its entry.
fn take_out(quorate: &Quorate) -> Value {
    let mut entry = Value::Null;
    quorate.edit(|config| entry = config["clusters"].as_array_mut().unwrap().remove(0));
    entry
}

fn put_back(quorate: &Quorate, entry: &Value) {
    quorate.edit(|config| config["clusters"] = json!([entry]));
}

/// Rows: B12, E22, B(j).
#[test]
fn a_cluster_that_is_taken_out_while_it_is_repaired_is_let_alone_until_it_is_back() {
    let etcd = Layout::of(3).start();
    let revision = etcd.put_many("m1", "k", 100);
    let setup = automatic(&etcd);
    let hold = setup.dir().join("hold");
    let stop = holding(setup.dir(), "stop", &hold, "[ \"$4\" = m1 ]");
    let argv = json!([stop, Etcd::service_script(), etcd.dir(), "stop", "${member}"]);
    fs::write(&hold, "").unwrap();
    let mut quorate = setup.set("/clusters/0/etcd/service/command/stop", argv).write();
    let entry = take_out(&quorate);
    quorate.start();
    put_back(&quorate, &entry);
    quorate.hang_up(&format!("cluster {CLUSTER} added"));
    await_seen(&quorate, revision);
    etcd.destroy("m2");
    etcd.destroy("m3");
    alert(&quorate);
    await_reached(&hold);
    let entry = take_out(&quorate);
    quorate.hang_up(&format!("cluster {CLUSTER} removed"));
    let run = await_run(&quorate, &["parked"]);
    let why = run["parked"]["why"].as_str().unwrap();
    assert!(why.contains("is not in the inventory any more"), "{why}");
    // the command that was under way comes to its end, and nothing follows
    fs::remove_file(&hold).unwrap();
    eventually(GENEROUS, "the survivor is stopped", || etcd.pid("m1").is_none());
    put_back(&quorate, &entry);
    quorate.hang_up(&format!("cluster {CLUSTER} added"));
    let looked = || quorate.get(&format!("clusters/{CLUSTER}")).json()["verdict"] == "lost";
    eventually(GENEROUS, "it is looked at again", looked);
    let before = pids(&etcd);
    assert_eq!(step(&runs(&quorate)[0], "hold"), "pending", "nothing is done unasked");
    assert_eq!(pids(&etcd), before);
    cli(&quorate, &["resume", run["id"].as_str().unwrap(), "--reason", "it is back"]);
    await_run(&quorate, &["succeeded"]);
    assert_rebuilt(&etcd, &quorate, 100);
    assert_eq!(runs(&quorate).len(), 1);
    assert_rested(&quorate);
    // the files are looked at too: what was taken over by SIGHUP is no news to that
    let reloads = quorate.log().matches("the configuration was reloaded").count();
    assert_eq!(reloads, 3, "{}", quorate.log());
}

/// No effect began between the parking and the word of the person who let it go on.
#[track_caller]
fn assert_rested(quorate: &Quorate) {
    let kinds = store::kinds(&quorate.path("data"));
    let at = |kind: &str| kinds.iter().position(|found| found == kind).unwrap();
    let rest = &kinds[at("run_parked")..at("run_resumed")];
    assert!(!rest.iter().any(|kind| kind.ends_with("_started")), "{rest:?}");
}
