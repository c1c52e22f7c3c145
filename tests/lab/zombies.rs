//! The old majority comes back after the rebuild: with its old data, on the same network.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    harness::{Etcd, GENEROUS, Layout, eventually},
    story::{
        alert, assert_new_cluster, assert_rebuilt, automatic, await_run, await_seen, await_verdict,
        cluster, identities, runs,
    },
};

/// `m3` is rolled back to its old disk at its old address, `m2` comes back elsewhere: together they
/// are two of the old three, elect a leader and answer. The rebuilt cluster goes on without them.
/// Rows: E4, E5, E6.
#[test]
fn an_old_majority_that_comes_back_is_rejected_reported_and_harms_nothing() {
    let etcd = Layout::of(3).start();
    let revision = etcd.put_many("m1", "k", 100);
    let quorate = automatic(&etcd).start();
    await_seen(&quorate, revision);
    let before = identities(&etcd);
    let old = ["m2", "m3"].map(|name| {
        etcd.kill9(name);
        let kept = keep(&etcd, name);
        etcd.wipe(name);
        kept
    });
    alert(&quorate);
    await_run(&quorate, &["succeeded"]);
    assert_rebuilt(&etcd, &quorate, 100);
    assert_new_cluster(&etcd, &before);
    let rebuilt = identities(&etcd);

    etcd.stop("m3");
    let place = &etcd.member("m3").data;
    fs::rename(place, etcd.dir().join("new-m3")).unwrap();
    fs::rename(&old[1], place).unwrap();
    etcd.start("m3");
    let mut second = etcd.revive("m2", &old[0]);
    eventually(GENEROUS, "the old two have a leader of their own", || {
        assert!(second.daemon.is_running(), "{}", second.daemon.log());
        etcd.status("m3").is_some_and(|status| status.leader.is_some())
    });
    let back = identities(&etcd);
    assert_eq!(back["m3"], before["m3"], "it is the old member of the old cluster");

    // Reported: what it is, and that it is not ours.
    let finding = format!("{:x}", before["m3"].1);
    eventually(GENEROUS, "the old member is reported", || {
        let findings = cluster(&quorate)["findings"].clone();
        let mut texts =
            findings.as_array().into_iter().flatten().map(|one| one["text"].to_string());
        texts.any(|text| text.contains("m3") && text.contains(&finding))
    });
    assert!(quorate.log().contains("an old member is back with its old data"));

    // Rejected, and nothing harmed: ids, keys and writes.
    eventually(GENEROUS, "the new members refuse the old one", || {
        etcd.log("m1").contains("cluster ID mismatch")
    });
    for name in ["m1", "m2"] {
        assert_eq!(back[name], rebuilt[name]);
        assert_eq!(etcd.count_keys(name, "k"), Some(100));
        assert_eq!(etcd.member_list(name).map(|list| list.len()), Some(3));
    }
    let written = etcd.put("m1", "k-new", "after the return").unwrap();
    eventually(GENEROUS, "m2 has the new write", || {
        etcd.status("m2").is_some_and(|status| status.revision >= written)
    });
    await_verdict(&quorate, "degraded");
    assert_eq!(runs(&quorate).len(), 1, "nothing is repaired: a person takes the old data away");

    // And back to three, as the report says.
    second.daemon.kill9();
    etcd.stop("m3");
    fs::rename(place, etcd.dir().join("old-m3-again")).unwrap();
    fs::rename(etcd.dir().join("new-m3"), place).unwrap();
    etcd.start("m3");
    assert_rebuilt(&etcd, &quorate, 101);
    assert_eq!(identities(&etcd), rebuilt);
}

/// A copy of a stopped member's disk.
#[track_caller]
fn keep(etcd: &Etcd, name: &str) -> PathBuf {
    let from: &Path = &etcd.member(name).data;
    let to = etcd.dir().join(format!("old-{name}"));
    let done = Command::new("cp").arg("-a").args([from, &to]).status().unwrap();
    assert!(done.success());
    to
}
