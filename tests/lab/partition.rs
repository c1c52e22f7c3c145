//! Members that cannot hear each other, or that we cannot hear: alive is never forced.
//!
//! In network namespaces, as root.

use std::net::{Ipv4Addr, TcpListener};

use serde_json::json;

use crate::{
    harness::{GENEROUS, Hosts, Layout, eventually},
    story::{
        alert, assert_left_alone, assert_new_cluster, assert_rebuilt, automatic, await_closed,
        await_reason, await_run, await_seen, await_verdict, cluster, identities, incidents, pids,
        runs, skips, step,
    },
};

/// Probes that wait for their whole limit lie further apart.
const PATIENT_GRACE: &str = "{for: 4s, samples: 3, max_gap: 4s}";

/// Rows: E10.
#[test]
fn three_members_that_live_without_a_leader_are_never_forced() {
    let test = "partition::three_members_that_live_without_a_leader_are_never_forced";
    Hosts::with(3, test, |hosts| {
        let etcd = Layout::of(3).on(hosts).start();
        let revision = etcd.put_many("m1", "k", 20);
        let quorate = automatic(&etcd).start();
        await_seen(&quorate, revision);
        let before = pids(&etcd);
        (1..=3).for_each(|n| hosts.cut_peer_port(n));
        await_verdict(&quorate, "leaderless_alive");
        alert(&quorate);
        await_reason(&quorate, "not_confirmed");
        let incident = incidents(&quorate, "etcd-quorum-lost").pop().unwrap();
        let said = incident["decision"]["text"].as_str().unwrap();
        assert!(said.contains("peer"), "it says where to look: {said}");
        assert!(skips(&quorate, "not_confirmed") >= 1.0);
        assert_left_alone(&etcd, &quorate);
        hosts.heal();
        etcd.wait_leader();
        assert_eq!(await_closed(&quorate, "etcd-quorum-lost"), "not_confirmed");
        assert_eq!(pids(&etcd), before);
        assert_eq!(etcd.count_keys("m3", "k"), Some(20));
    });
}

/// The network to all members is gone, ours only; what stands elsewhere answers us.
/// Rows: E9.
#[test]
fn three_members_that_only_we_cannot_reach_are_never_forced() {
    let test = "partition::three_members_that_only_we_cannot_reach_are_never_forced";
    Hosts::with(3, test, |hosts| {
        let etcd = Layout::of(3).on(hosts).start();
        let revision = etcd.put_many("m1", "k", 20);
        let elsewhere = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let quorate = automatic(&etcd)
            .grace(PATIENT_GRACE)
            .set("/watch/timeout", json!("1s"))
            .set("/control_targets", json!([elsewhere.local_addr().unwrap().to_string()]))
            .start();
        await_seen(&quorate, revision);
        (1..=3).for_each(|n| hosts.cut_from_control(n));
        alert(&quorate);
        eventually(GENEROUS, "the network tells nothing any more", || {
            cluster(&quorate)["verdict"] != "healthy"
        });
        assert_left_alone(&etcd, &quorate);
        let view = cluster(&quorate);
        assert_eq!(view["blind"], json!(null), "the control target answers");
        assert_ne!(view["verdict"], "lost", "{view:#}");
        hosts.heal();
        await_verdict(&quorate, "healthy");
        assert_eq!(etcd.count_keys("m3", "k"), Some(20));
    });
}

/// The survivor lives; a second member came back on an empty directory and cannot reach it. Its
/// process runs, and it is no vote.
/// Rows: E7, E19.
#[test]
fn a_member_that_came_back_on_an_empty_directory_does_not_make_a_majority() {
    let test = "partition::a_member_that_came_back_on_an_empty_directory_does_not_make_a_majority";
    Hosts::with(3, test, |hosts| {
        let etcd = Layout::of(3).on(hosts).start();
        let revision = etcd.put_many("m1", "k", 50);
        let quorate =
            automatic(&etcd).grace(PATIENT_GRACE).set("/watch/timeout", json!("1s")).start();
        await_seen(&quorate, revision);
        let before = identities(&etcd);
        etcd.destroy("m2");
        etcd.destroy("m3");
        hosts.cut_peer_port(2);
        etcd.start("m2");
        alert(&quorate);
        await_verdict(&quorate, "lost");
        let blank = cluster(&quorate)["members"][1].clone();
        assert_eq!(
            (&blank["state"], &blank["data"]),
            (&json!("gone"), &json!("empty")),
            "{blank:#}"
        );
        eventually(GENEROUS, "the blank member is fenced", || {
            let run = runs(&quorate).pop();
            run.is_some_and(|run| step(&run, "fence[m2].fence_data") == "done")
        });
        hosts.heal();
        await_run(&quorate, &["succeeded"]);
        assert_rebuilt(&etcd, &quorate, 50);
        assert_new_cluster(&etcd, &before);
    });
}
