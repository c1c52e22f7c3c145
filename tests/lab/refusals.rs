//! What quorate does not do, and the reason it gives: on real members that are down, blank or well.

use std::{
    net::{Ipv4Addr, TcpListener},
    time::{Duration, Instant},
};

use serde_json::json;

use crate::{
    harness::{GENEROUS, Layout, Quorate, Webhook, eventually},
    story::{
        CLUSTER, GRACE, alert, assert_left_alone, assert_new_cluster, assert_rebuilt, attest,
        automatic, await_closed, await_reason, await_run, await_seen, await_verdict, cli, cluster,
        identities, incidents, pids, resolve, runs, skips,
    },
};

/// Long enough that something can happen within it.
const LONG_GRACE: &str = "{for: 8s, samples: 4, max_gap: 3s}";

/// Rows: B11, B22.
#[test]
fn a_majority_that_is_back_within_the_grace_is_left_alone_and_the_incident_closes() {
    let etcd = Layout::of(3).start();
    let revision = etcd.put_many("m1", "k", 20);
    let quorate = automatic(&etcd).grace(LONG_GRACE).start();
    await_seen(&quorate, revision);
    etcd.kill9("m2");
    etcd.kill9("m3");
    alert(&quorate);
    await_verdict(&quorate, "lost");
    await_reason(&quorate, "grace");
    etcd.start("m2");
    etcd.start("m3");
    resolve(&quorate);
    assert_eq!(await_closed(&quorate, "etcd-quorum-lost"), "not_confirmed");
    assert!(skips(&quorate, "grace") >= 1.0);
    let labels = [("response", "etcd-quorum-lost"), ("outcome", "not_confirmed")];
    assert_eq!(quorate.metric("quorate_incidents_closed_total", &labels), Some(1.0));
    assert_left_alone(&etcd, &quorate);
    assert_eq!(etcd.count_keys("m3", "k"), Some(20));
}

/// Rows: B5, C9.
#[test]
fn alerts_about_a_healthy_cluster_are_not_confirmed() {
    let etcd = Layout::of(3).start();
    let revision = etcd.put("m1", "k", "v").unwrap();
    let quorate = automatic(&etcd).start();
    await_seen(&quorate, revision);
    alert(&quorate);
    assert_eq!(await_closed(&quorate, "etcd-quorum-lost"), "not_confirmed");
    assert!(skips(&quorate, "not_confirmed") >= 1.0, "{}", quorate.log());
    assert_left_alone(&etcd, &quorate);
}

/// Rows: B5.
#[test]
fn one_member_down_leads_to_nothing_destructive() {
    let etcd = Layout::of(3).start();
    let revision = etcd.put("m1", "k", "v").unwrap();
    let quorate = automatic(&etcd).start();
    await_seen(&quorate, revision);
    etcd.destroy("m2");
    alert(&quorate);
    await_reason(&quorate, "not_confirmed");
    assert_eq!(cluster(&quorate)["verdict"], "degraded");
    assert_left_alone(&etcd, &quorate);
    assert!(etcd.put("m1", "k", "still writable").is_ok());
}

/// Rows: B8, E7.
#[test]
fn without_a_survivor_nothing_is_invented() {
    let etcd = Layout::of(3).start();
    let revision = etcd.put("m1", "k", "v").unwrap();
    let quorate = automatic(&etcd).start();
    await_seen(&quorate, revision);
    for name in ["m1", "m2", "m3"] {
        etcd.destroy(name);
    }
    alert(&quorate);
    await_reason(&quorate, "no_survivor");
    let incident = incidents(&quorate, "etcd-quorum-lost").pop().unwrap();
    assert_eq!(incident["decision"]["action"], "escalate");
    let text = incident["decision"]["text"].as_str().unwrap();
    assert!(text.contains("backup"), "{text}");
    assert_left_alone(&etcd, &quorate);
    for name in ["m1", "m2", "m3"] {
        assert!(!etcd.member(name).data.exists(), "{name} was given a directory");
    }
}

/// Rows: B8, E5.
#[test]
fn members_that_may_return_are_asked_about_and_a_persons_word_settles_it() {
    let etcd = Layout::of(3).start();
    let revision = etcd.put_many("m1", "k", 20);
    let quorate = automatic(&etcd).start();
    await_seen(&quorate, revision);
    etcd.kill9("m2");
    etcd.kill9("m3");
    alert(&quorate);
    await_reason(&quorate, "permanence");
    assert_left_alone(&etcd, &quorate);
    let said = quorate.cli(&["attest", CLUSTER, "m1", "--gone", "--reason", "wrong one"]);
    assert_eq!(said.code, 1, "a living member was attested gone: {}", said.stdout);
    attest(&quorate, &["m2"]);
    assert_left_alone(&etcd, &quorate);
    attest(&quorate, &["m3"]);
    await_run(&quorate, &["succeeded"]);
    assert_rebuilt(&etcd, &quorate, 20);
    assert_eq!(runs(&quorate).len(), 1);
}

/// The dangerous kind of amnesia: two blank members under the old ids elect a leader and answer. They
/// are no majority; the data of the stopped survivor is.
/// Rows: E4, E7, E19.
#[test]
fn members_that_came_back_on_empty_directories_count_as_gone() {
    let etcd = Layout::of(3).start();
    let revision = etcd.put_many("m1", "k", 100);
    let quorate = automatic(&etcd).start();
    await_seen(&quorate, revision);
    let before = identities(&etcd);
    etcd.stop("m1");
    etcd.destroy("m2");
    etcd.destroy("m3");
    etcd.start("m2");
    etcd.start("m3");
    etcd.wait_leader();
    let blank = identities(&etcd);
    assert_eq!(blank["m2"], before["m2"], "the blank member took the old ids");
    alert(&quorate);
    await_verdict(&quorate, "lost");
    await_reason(&quorate, "permanence");
    let members = cluster(&quorate)["members"].clone();
    for member in &members.as_array().unwrap()[1..] {
        assert_eq!(
            (&member["state"], &member["data"]),
            (&json!("gone"), &json!("empty")),
            "{members:#}"
        );
    }
    attest(&quorate, &["m1"]);
    await_run(&quorate, &["succeeded"]);
    assert_rebuilt(&etcd, &quorate, 100);
    assert_new_cluster(&etcd, &before);
}

/// Rows: E9.
#[test]
fn a_responder_that_is_cut_off_itself_trusts_nothing() {
    let etcd = Layout::of(3).start();
    let revision = etcd.put("m1", "k", "v").unwrap();
    let gateway = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    // The hosts have no address: nothing stands on them that could be a control target.
    let host = json!({"transport": "local"});
    let quorate = automatic(&etcd)
        .set("/control_targets", json!([gateway.local_addr().unwrap().to_string()]))
        .set("/clusters/0/hosts", json!({"h1": host, "h2": host, "h3": host}))
        .start();
    await_seen(&quorate, revision);
    drop(gateway);
    etcd.destroy("m2");
    etcd.destroy("m3");
    alert(&quorate);
    await_reason(&quorate, "blind");
    assert_left_alone(&etcd, &quorate);
    let view = cluster(&quorate);
    assert_eq!(view["verdict"], "unknown");
    assert!(view["blind"].is_string(), "{view:#}");
}

/// Rows: B20.
#[test]
fn a_cluster_that_was_never_seen_healthy_is_never_acted_on() {
    let etcd = Layout::of(3).start();
    etcd.put("m1", "k", "v").unwrap();
    etcd.destroy("m2");
    etcd.destroy("m3");
    etcd.wait_leaderless("m1");
    let quorate = automatic(&etcd).start();
    alert(&quorate);
    await_reason(&quorate, "forming");
    assert_left_alone(&etcd, &quorate);
    assert_eq!(cluster(&quorate)["last_seen"], json!(null));
}

/// Rows: C3, E24.
#[test]
fn node_alerts_of_a_cluster_without_quorum_are_held_back_and_the_reason_is_told() {
    let etcd = Layout::of(3).start();
    let revision = etcd.put("m1", "k", "v").unwrap();
    let quorate = automatic(&etcd).start();
    await_seen(&quorate, revision);
    etcd.kill9("m2");
    etcd.kill9("m3");
    alert(&quorate);
    await_verdict(&quorate, "lost");
    let node = Webhook::firing("KubeNodeNotReady", "2026-11-21T03:34:12Z");
    let answer = quorate.receive(&node.label("cluster", CLUSTER).label("node", "node-2"));
    assert_eq!(answer.code, 200, "{}", answer.text);
    let held = || incidents(&quorate, "node-not-ready").pop();
    eventually(GENEROUS, "the node's incident is held back", || {
        held().is_some_and(|incident| incident["decision"]["reason"] == "inhibited")
    });
    let labels = [("cluster", CLUSTER), ("response", "node-not-ready"), ("reason", "inhibited")];
    assert_eq!(quorate.metric("quorate_repair_skips_total", &labels), Some(1.0));
    let told = cli(&quorate, &["why", held().unwrap()["id"].as_str().unwrap()]);
    assert!(told.contains("inhibited") && told.contains("etcd-quorum-lost"), "{told}");
    // Context, too: the quorum incident knows of the node.
    let quorum = incidents(&quorate, "etcd-quorum-lost").pop().unwrap();
    let nodes = quorum["signals"].as_array().unwrap().iter().find(|one| one["name"] == "nodes");
    assert_eq!(nodes.unwrap()["firing"], 1, "{quorum:#}");
}

/// Rows: B12, E22.
#[test]
fn a_responder_that_is_restarted_within_the_grace_begins_it_anew() {
    let etcd = Layout::of(3).start();
    let revision = etcd.put("m1", "k", "v").unwrap();
    let mut quorate = automatic(&etcd).grace(LONG_GRACE).start();
    await_seen(&quorate, revision);
    etcd.destroy("m2");
    etcd.destroy("m3");
    alert(&quorate);
    eventually(GENEROUS, "most of the grace is over", || {
        let remaining = remaining(&quorate);
        remaining > 0.0 && remaining < 4.0
    });
    assert!(runs(&quorate).is_empty());
    let before = pids(&etcd);
    quorate.kill9();
    let restarted = Instant::now();
    quorate.start();
    eventually(GENEROUS, "a run begins", || !runs(&quorate).is_empty());
    let after = restarted.elapsed();
    assert!(after >= Duration::from_secs(8), "a run began {after:?} after the restart");
    assert_eq!(incidents(&quorate, "etcd-quorum-lost").len(), 1);
    assert_eq!(pids(&etcd)["m1"], before["m1"], "the survivor was touched before its snapshot");
}

/// Rows: E21.
#[test]
fn a_paused_cluster_is_left_alone_until_the_pause_ends() {
    let etcd = Layout::of(3).start();
    let revision = etcd.put("m1", "k", "v").unwrap();
    let quorate = automatic(&etcd).grace(GRACE).start();
    await_seen(&quorate, revision);
    cli(&quorate, &["pause", CLUSTER, "--reason", "the network is rebuilt"]);
    etcd.destroy("m2");
    etcd.destroy("m3");
    alert(&quorate);
    await_verdict(&quorate, "lost");
    await_reason(&quorate, "paused");
    assert_left_alone(&etcd, &quorate);
    let incident = incidents(&quorate, "etcd-quorum-lost").pop().unwrap();
    let text = incident["decision"]["text"].as_str().unwrap();
    assert!(text.contains("the network is rebuilt"), "{text}");
    cli(&quorate, &["unpause", CLUSTER, "--reason", "done"]);
    eventually(GENEROUS, "a run begins", || !runs(&quorate).is_empty());
}

/// Seconds of the grace that are left.
fn remaining(quorate: &Quorate) -> f64 {
    let labels = [("cluster", CLUSTER), ("response", "etcd-quorum-lost")];
    quorate.metric("quorate_grace_remaining_seconds", &labels).unwrap_or(0.0)
}
