//! A repair that is given up past its point of no return: what is left is told until it is done.

use std::{fs, process::Command};

use serde_json::json;

use crate::{
    harness::{Etcd, GENEROUS, Layout, Prometheus, Quorate, Tools, eventually},
    story::{CLUSTER, alert, assert_rebuilt, automatic, await_run, await_seen, cli, failing, runs},
};

fn left(quorate: &Quorate) -> Option<f64> {
    quorate.metric("quorate_repair_leftovers", &[("cluster", CLUSTER)])
}

/// Rows: E19, E21, E6.
#[test]
fn what_a_given_up_repair_left_is_an_alert_until_the_cluster_is_whole() {
    let etcd = Layout::of(3).start();
    let revision = etcd.put_many("m1", "k", 100);
    let setup = automatic(&etcd);
    let broken = setup.dir().join("broken");
    let gate = failing(setup.dir(), "start", "m3", &broken, "the disk of m3 is read-only");
    let argv = json!([gate, Etcd::service_script(), etcd.dir(), "start", "${member}"]);
    fs::write(&broken, "").unwrap();
    let mut quorate = setup.set("/clusters/0/etcd/service/command/start", argv).start();
    let urls = [quorate.url().to_owned()];
    let prometheus =
        Prometheus::wanted().scrape("quorate", &urls, None).shipped_rules("1s").start();
    let fires = || prometheus.firing().contains(&"QuorateRepairLeftovers".to_owned());
    await_seen(&quorate, revision);
    etcd.destroy("m2");
    etcd.destroy("m3");
    alert(&quorate);
    let run = await_run(&quorate, &["parked"]);
    let id = run["id"].as_str().unwrap();
    assert!(!fires());
    cli(&quorate, &["abandon", id, "--reason", "m3 follows later"]);
    await_run(&quorate, &["failed"]);
    eventually(GENEROUS, "the alert fires", fires);
    let why = cli(&quorate, &["why", id]);
    for told in ["by hand: m3", "etcdctl member add m3 --learner", "etcdctl member promote"] {
        assert!(why.contains(told), "{told} is not told:\n{why}");
    }
    quorate.kill9();
    quorate.start();
    eventually(GENEROUS, "it is known after the restart", || left(&quorate) == Some(1.0));
    fs::remove_file(&broken).unwrap();
    add_by_hand(&etcd, "m3");
    eventually(GENEROUS, "nothing is left", || left(&quorate) == Some(0.0));
    eventually(GENEROUS, "the alert ends", || !fires());
    assert!(!cli(&quorate, &["why", id]).contains("by hand"));
    assert_rebuilt(&etcd, &quorate, 100);
    assert_eq!(runs(&quorate).len(), 1);
}

/// What `why` says: add, unmask, start, promote.
fn add_by_hand(etcd: &Etcd, name: &str) {
    let peers = format!("--peer-urls={}", etcd.member(name).peer);
    etcdctl(etcd, &["member", "add", name, "--learner", &peers]).unwrap();
    let script = |verb: &str, flags: &[&str]| {
        let mut command = Command::new(Etcd::service_script());
        command.arg(etcd.dir()).args([verb, name]).args(flags);
        assert!(command.status().unwrap().success(), "{verb} {name}");
    };
    script("unmask", &[]);
    script("start", &["--initial-cluster-state=existing"]);
    let learner = etcd.member_list("m1").unwrap().into_iter().find(|member| member.learner);
    let id = format!("{:x}", learner.unwrap().id);
    eventually(GENEROUS, "it is promoted", || etcdctl(etcd, &["member", "promote", &id]).is_ok());
}

fn etcdctl(etcd: &Etcd, args: &[&str]) -> Result<(), String> {
    let mut command = Command::new(&Tools::find().etcdctl);
    command.arg(format!("--endpoints={}", etcd.member("m1").client)).args(args);
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() { Ok(()) } else { Err(said) }
}
