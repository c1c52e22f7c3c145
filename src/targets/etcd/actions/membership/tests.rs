//! Quorum arithmetic, what a joining member is told, and what a list tells of a change.

use std::path::Path;

use super::*;
use crate::targets::testing::{
    Says::{self, Done, NotDone, Unknown},
    mk_cluster, no_tools,
};

#[test]
fn a_removal_needs_a_quorum_before_and_after() {
    let cases = [
        ((3, 3, true), true),
        ((3, 2, false), true),
        ((3, 2, true), false),
        ((2, 1, false), false),
        ((2, 2, true), true),
        ((1, 1, true), false),
        ((5, 3, false), true),
        ((5, 3, true), false),
        ((4, 3, false), true),
        ((4, 2, false), false),
    ];
    for ((voters, live, removed_lives), may) in cases {
        assert_eq!(may_remove(voters, live, removed_lives), may, "{voters} voters, {live} live");
    }
}

#[test]
fn the_initial_cluster_names_every_member_of_the_answer() {
    let cluster = mk_cluster(Path::new("/x"), &[1, 2, 3, 4, 5, 6], no_tools());
    let listed = |id, name: &str, port, learner| ListedMember {
        id: EtcdId(id),
        name: name.into(),
        peer_urls: vec![format!("http://127.0.0.1:{port}")],
        client_urls: Vec::new(),
        learner,
    };
    let done =
        added(&cluster, EtcdId(2), &[listed(1, "m1", 2, false), listed(2, "", 5, true)], true);
    let text = done.output.get("initial_cluster").and_then(Value::as_str).unwrap();
    assert_eq!(text, "m1=http://127.0.0.1:2,m2=http://127.0.0.1:5");
}

const CLUSTER: EtcdId = EtcdId(7);
const M2: EtcdId = EtcdId(2);

/// What is asked of a list.
type Change = fn(&Cluster, &Value, &List) -> Probed;

fn listed(cluster: &Cluster, member: usize, id: u64, learner: bool) -> ListedMember {
    let member = &cluster.etcd.members[member];
    ListedMember {
        id: EtcdId(id),
        name: member.name.to_string(),
        peer_urls: vec![member.peer.clone()],
        client_urls: Vec::new(),
        learner,
    }
}

/// Rows: E4, E22, A20.
#[test]
fn a_probe_of_a_membership_disproves_only_by_the_list_of_the_cluster_it_was_put_to() {
    let cluster = mk_cluster(Path::new("/x"), &[1, 2, 3, 4, 5, 6], no_tools());
    let m1 = listed(&cluster, 0, 1, false);
    let learner = listed(&cluster, 1, 2, true);
    let voter = listed(&cluster, 1, 2, false);
    let (add, promote, remove): (Change, Change, Change) = (
        |cluster, before, list| added_before(cluster, &cluster.etcd.members[1], before, list),
        |_, before, list| promoted_before(M2, before, list),
        |_, before, list| removed_before(M2, before, list),
    );
    let rows = [
        (add, CLUSTER, vec![&m1, &learner], Done),
        (add, CLUSTER, vec![&m1], NotDone),
        (add, CLUSTER, vec![&m1, &voter], Unknown),
        (add, EtcdId(8), vec![&m1], Unknown),
        (promote, CLUSTER, vec![&m1, &voter], Done),
        (promote, CLUSTER, vec![&m1, &learner], NotDone),
        (promote, CLUSTER, vec![&m1], Unknown),
        (promote, EtcdId(8), vec![&m1, &learner], Unknown),
        (remove, CLUSTER, vec![&m1], Done),
        (remove, CLUSTER, vec![&m1, &learner], NotDone),
        (remove, EtcdId(8), vec![&m1], Unknown),
    ];
    for (row, (change, asked, members, expected)) in rows.into_iter().enumerate() {
        let before = Value::map([("cluster_id", Value::str(CLUSTER.to_string()))]);
        let members: Vec<ListedMember> = members.into_iter().cloned().collect();
        let list = List { cluster_id: asked, members };
        let probed = list.of_change(&before, || change(&cluster, &before, &list));
        assert_eq!(Says::of(&probed), expected, "row {row}: {probed:?}");
    }
}
