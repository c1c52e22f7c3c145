//! Facts about the real parts that quorate and the other tests rely on, checked on the parts alone.

use std::{fs, time::Duration};

use serde_json::{Value, json};

use crate::harness::{
    Alertmanager, GENEROUS, Generation, Hosts, Layout, Prometheus, Quorate, Relay, Setup,
    eventually, eventually_some, http,
};

/// What a survivor can be asked without a quorum.
#[test]
fn a_lone_survivor_is_leaderless_and_still_reads_its_own_disk() {
    let etcd = Layout::of(3).start();
    let written = etcd.put_many("m1", "k", 50);
    eventually(GENEROUS, "m2 has it all", || etcd.count_keys("m2", "k") == Some(50));
    etcd.destroy("m1");
    etcd.destroy("m3");
    let status = etcd.wait_leaderless("m2");
    assert_eq!(status.revision, written);
    assert_eq!(etcd.get_serializable("m2", "k00049").unwrap(), "v".repeat(64));
    assert_eq!(etcd.member_list("m2").unwrap().len(), 3);
    assert_eq!(etcd.hashkv("m2", 0).unwrap().revision, written);
    assert!(etcd.put("m2", "k", "v").is_err());
    assert!(etcd.status("m1").is_none());
}

/// The same, over mutual TLS, and back again.
#[test]
fn a_majority_that_returns_with_its_data_elects_a_leader() {
    let etcd = Layout::of(3).with_tls().start();
    let written = etcd.put("m3", "k", "v").unwrap();
    etcd.kill9("m1");
    etcd.kill9("m2");
    etcd.wait_leaderless("m3");
    etcd.start("m1");
    etcd.wait_leader();
    assert_eq!(etcd.status("m1").unwrap().revision, written);
}

/// What quorate's `command` service manager rests on.
#[test]
fn the_service_script_stops_a_member_only_by_its_end() {
    let etcd = Layout::of(1).start();
    let pid = etcd.pid("m1").unwrap();
    etcd.stop("m1");
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    assert!(line.is_empty(), "pid {pid} still is {}", String::from_utf8_lossy(&line));
    assert!(etcd.status("m1").is_none());
    etcd.stop("m1");
    // The flag given last wins: that is how quorate changes one start.
    etcd.start_with("m1", &["--initial-cluster-state=existing", "--name=renamed"]);
    etcd.wait_leader();
    eventually(GENEROUS, "the member has its new name", || {
        etcd.member_list("m1").is_some_and(|members| members[0].name == "renamed")
    });
}

/// A member that cannot start says why.
#[test]
fn the_service_script_says_why_a_start_failed() {
    let etcd = Layout::of(1).start();
    etcd.stop("m1");
    let said = etcd.try_start("m1", &["--no-such-flag"]).unwrap_err();
    assert!(said.contains("flag provided but not defined: -no-such-flag"), "{said}");
}

/// What the old majority does after a rebuild is tried with this.
#[test]
fn a_member_revived_on_its_old_data_finds_its_cluster_again() {
    let etcd = Layout::of(3).start();
    etcd.stop("m3");
    let old = etcd.dir().join("old-m3");
    fs::rename(&etcd.member("m3").data, &old).unwrap();
    let written = etcd.put("m1", "k", "v").unwrap();
    let mut revived = etcd.revive("m3", &old);
    eventually(GENEROUS, "it has the leader's data", || {
        assert!(revived.daemon.is_running(), "{}", revived.daemon.log());
        let metrics = http::get(&format!("{}/metrics", revived.metrics)).text;
        let name = "etcd_debugging_mvcc_current_revision";
        http::series(&metrics, name, &[])
            .is_some_and(|revision| revision >= f64::from(i32::try_from(written).unwrap()))
    });
}

/// What `leaderless_alive` looks like.
#[test]
fn members_whose_peer_ports_are_blocked_live_on_without_a_leader() {
    let test = "parts::members_whose_peer_ports_are_blocked_live_on_without_a_leader";
    Hosts::with(3, test, |hosts| {
        let etcd = Layout::of(3).on(hosts).start();
        (1..=3).for_each(|n| hosts.cut_peer_port(n));
        for name in ["m1", "m2", "m3"] {
            etcd.wait_leaderless(name);
            assert!(etcd.pid(name).is_some());
        }
        hosts.heal();
        etcd.wait_leader();
    });
}

/// The whole way of an alert up to the webhook, in both generations.
#[test]
fn a_lost_quorum_reaches_the_webhook() {
    let etcd = Layout::of(3).start();
    let relays = [Generation::Debian, Generation::Newer].map(|generation| {
        let relay = Relay::start();
        let alertmanager = Alertmanager::posting_to(&relay.url()).generation(generation).start();
        (relay, alertmanager)
    });
    let [(_, old), (_, new)] = &relays;
    let prometheus = Prometheus::wanted()
        .scrape_etcd(&etcd, "lab")
        .shipped_rules("1s")
        .alert_to(old)
        .alert_to(new)
        .start();
    eventually(GENEROUS, "all three are scraped", || {
        prometheus.query("sum(up{job=\"etcd\"})") == Some(3.0)
    });
    etcd.destroy("m1");
    etcd.destroy("m2");
    for (relay, _) in &relays {
        let alert = eventually_some(GENEROUS, "etcdInsufficientMembers arrives", || {
            let bodies = relay.seen().into_iter().map(|seen| seen.body);
            bodies
                .flat_map(|body| body["alerts"].as_array().cloned().unwrap())
                .find(|alert| alert["labels"]["alertname"] == "etcdInsufficientMembers")
        });
        assert_eq!(alert["status"], "firing");
        assert_eq!(alert["labels"]["cluster"], "lab");
        assert_eq!(alert["labels"]["instance"], json!(null));
    }
}

/// Why 503 is safe to answer while nothing can be made durable.
#[test]
fn alertmanager_sends_again_what_was_answered_503_and_survives_a_restart() {
    let relay = Relay::start();
    relay.answer(503);
    let mut alertmanager = Alertmanager::posting_to(&relay.url()).start();
    alertmanager.fire(&json!({"alertname": "etcdNoLeader", "cluster": "lab"}));
    eventually(GENEROUS, "two refused attempts", || relay.seen().len() >= 2);
    alertmanager.stop();
    relay.answer(200);
    alertmanager.start_again();
    alertmanager.fire(&json!({"alertname": "etcdNoLeader", "cluster": "lab"}));
    eventually(Duration::from_secs(30), "delivered", || {
        relay.seen().last().is_some_and(|seen| seen.code == 200)
    });
}

/// What every test of the server starts from.
#[test]
fn a_setup_writes_the_configuration_of_its_cluster() {
    let etcd = Layout::of(1).start();
    let quorate: Quorate =
        Setup::of(&etcd, "lab").auto(7).set("/watch/timeout", json!("2s")).write();
    let text = fs::read_to_string(quorate.path("quorate.yaml")).unwrap();
    let config: Value = serde_yaml::from_str(&text).unwrap();
    assert_eq!(config["clusters"][0]["mode"], "auto");
    assert_eq!(config["clusters"][0]["loss_budget"]["revisions"], 7);
    assert_eq!(config["clusters"][0]["etcd"]["members"][0]["name"], "m1");
    assert_eq!(config["watch"], json!({"every": "1s", "timeout": "2s"}));
}
