//! One cluster's work stops for a reason of quorate's own: it alone, in plain sight, until a restart.

use std::fs;

use serde_json::json;

use crate::{
    harness::{Etcd, GENEROUS, Layout, Setup, eventually, store},
    story::{
        CLUSTER, alert, assert_rebuilt, automatic, await_reached, await_run, await_seen, cluster,
        holding, runs,
    },
};

/// Another cluster, of which nobody is there: it is looked at all the same.
const OTHER: &str = "other";

fn with_another(setup: Setup) -> Setup {
    setup.and_another(OTHER, |other| {
        other["mode"] = json!("propose");
        other["etcd"]["data_dir"] = json!("/nonexistent/${member}");
        for (n, member) in other["etcd"]["members"].as_array_mut().unwrap().iter_mut().enumerate() {
            for (m, of) in ["client", "peer", "metrics"].into_iter().enumerate() {
                member[of] = json!(format!("http://127.0.0.1:{}", 1 + n * 3 + m));
            }
        }
    })
}

/// Somebody else becomes the owner of its journal in the middle of a run.
/// Rows: B12, E21, E22.
#[test]
fn a_cluster_whose_journal_is_refused_is_left_alone_in_plain_sight_until_the_restart() {
    let etcd = Layout::of(3).start();
    let revision = etcd.put_many("m1", "k", 100);
    let setup = automatic(&etcd);
    let hold = setup.dir().join("hold");
    let stop = holding(setup.dir(), "stop", &hold, "[ \"$4\" = m1 ]");
    let argv = json!([stop, Etcd::service_script(), etcd.dir(), "stop", "${member}"]);
    fs::write(&hold, "").unwrap();
    let setup = setup.set("/clusters/0/etcd/service/command/stop", argv);
    let mut quorate = with_another(setup).start();
    await_seen(&quorate, revision);
    etcd.destroy("m2");
    etcd.destroy("m3");
    alert(&quorate);
    await_reached(&hold);
    store::claim(&quorate.path("data"), CLUSTER);
    fs::remove_file(&hold).unwrap();

    eventually(GENEROUS, "it stops", || !cluster(&quorate)["stopped"].is_null());
    let stopped = |name: &str| quorate.metric("quorate_cluster_stopped", &[("cluster", name)]);
    assert_eq!((stopped(CLUSTER), stopped(OTHER)), (Some(1.0), Some(0.0)));
    let refused = quorate.cli(&["pause", CLUSTER, "--reason", "what is going on?"]);
    assert_ne!(refused.code, 0, "{}", refused.stdout);
    assert!(refused.stderr.contains("restart quorate"), "{}", refused.stderr);
    let page = quorate.cli(&["clusters", CLUSTER]).stdout;
    assert!(page.contains("not worked on any more"), "{page}");
    let journal = store::kinds(&quorate.path("data"));

    // the other one is looked at; of this one nothing is written and nothing is done
    let looked = || quorate.get(&format!("clusters/{OTHER}")).json()["looked_at"].clone();
    let before = looked();
    eventually(GENEROUS, "the other one is looked at", || looked() != before);
    assert_eq!(store::kinds(&quorate.path("data")), journal);
    assert!(!etcd.dir().join("m1/masked").exists(), "the next step was not taken");

    assert_eq!(quorate.sigterm().code(), Some(0), "{}", quorate.log());
    quorate.start();
    await_run(&quorate, &["succeeded"]);
    assert_rebuilt(&etcd, &quorate, 100);
    assert_eq!(runs(&quorate).len(), 1);
}
