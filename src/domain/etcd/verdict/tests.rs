//! The table of verdicts row by row, the cases of the reference system, and its bugs.

use super::{Judgement, Quorum, fixtures::*};
use crate::domain::{
    base::{id::MemberName, time::Time},
    etcd::{
        evidence::{DataState, Permanence},
        reading::Cause,
    },
};

mod members;

fn names(list: &[&str]) -> Vec<MemberName> {
    list.iter().map(|name| MemberName::from(*name)).collect()
}

fn lost(survivors: &[&str], permanent: bool) -> Quorum {
    Quorum::Lost { survivors: names(survivors), permanent }
}

fn degraded(down: &[&str], can_lose: usize) -> Quorum {
    Quorum::Degraded { down: names(down), can_lose }
}

/// Every verdict has a reason and a word of the closed list. Rows: B9.
#[track_caller]
fn check(case: &Case, expected: &Quorum) -> Judgement {
    let judgement = case.judge();
    assert_eq!(judgement.quorum, *expected, "{}", judgement.reason);
    assert!(!judgement.reason.is_empty());
    assert!(judgement.members.values().all(|member| !member.why.is_empty()));
    judgement
}

fn healthy() -> Case {
    evidence().members(&["m1", "m2", "m3"], &up(100).leader("m1"))
}

/// Rows: B1, B2, B3.
#[test]
fn healthy_3_is_healthy() {
    let judgement = check(&healthy(), &Quorum::Healthy);
    assert_eq!(judgement.reason, "all 3 voters follow leader m1");
    assert_eq!(judgement.leader, Some(MemberName::from("m1")));
    assert_eq!(judgement.members["m1"].leader, Some(true));
    assert_eq!(judgement.members["m2"].leader, Some(false));
    assert!(!judgement.voters_current);
    assert!(
        check(&healthy().reads(voters(&["m1", "m2", "m3"], 101)), &Quorum::Healthy).voters_current
    );
}

/// Rows: B3.
#[test]
fn one_of_3_down_is_degraded() {
    let judgement = check(&healthy().member("m3", stopped()), &degraded(&["m3"], 0));
    assert_eq!(
        judgement.reason,
        "leader m1 has a quorum, down: m3 (no etcd process runs on h3); 0 more may fail"
    );
}

/// Rows: B8.
#[test]
fn two_of_3_down_is_lost() {
    let case = evidence().member("m1", up(100)).members(&["m2", "m3"], &stopped());
    let judgement = check(&case, &lost(&["m1"], false));
    assert!(
        judgement.reason.contains("2 of 3 voters are down and 2 are needed"),
        "{}",
        judgement.reason
    );
    let case = evidence().member("m1", up(100)).members(&["m2", "m3"], &unreachable());
    let judgement = check(&case, &lost(&["m1"], false));
    assert!(!judgement.members["m2"].gone);
    let case = evidence().member("m1", up(100)).members(&["m2", "m3"], &gone(DataState::Missing));
    let judgement = check(&case, &lost(&["m1"], true));
    assert_eq!(judgement.members["m2"].permanence, Some(Permanence::DiskGone));
}

/// Rows: B8, E9.
#[test]
fn total_outage_with_list_error_is_unknown_if_blind_else_lost_without_survivor() {
    let outage = || evidence().members(&["m1", "m2", "m3"], &unreachable());
    check(&outage(), &lost(&[], false));
    let judgement = check(&outage().control(&[false, false]), &Quorum::Unknown);
    assert!(judgement.blind.unwrap().contains("only 0 of 2 control targets"));
}

/// Rows: B6, E10. Not bug B(b): live members without a leader are diagnosed, never rebuilt.
#[test]
fn leaderless_2_of_3_is_leaderless_alive() {
    let case = evidence().members(&["m1", "m2"], &up(100)).member("m3", stopped());
    let judgement = check(&case, &Quorum::LeaderlessAlive);
    assert!(judgement.reason.contains("peer certificates"));
    check(&evidence().members(&["m1", "m2", "m3"], &up(100)), &Quorum::LeaderlessAlive);
    check(&evidence().members(&["m1", "m2", "m3"], &silent()), &Quorum::LeaderlessAlive);
}

/// Rows: B4.
#[test]
fn size_1_down_is_single() {
    check(&evidence().seen(&["m1"], 100).member("m1", stopped()), &Quorum::Single);
}

/// Rows: B4.
#[test]
fn size_1_total_outage_is_single() {
    let case = evidence().seen(&["m1"], 100).member("m1", gone(DataState::Missing));
    check(&case, &Quorum::Single);
}

const FIVE: [&str; 5] = ["m1", "m2", "m3", "m4", "m5"];

/// Rows: B3, B8.
#[test]
fn three_of_5_down_is_lost() {
    let case =
        evidence().seen(&FIVE, 100).members(&FIVE[..2], &up(100)).members(&FIVE[2..], &stopped());
    check(&case, &lost(&["m1", "m2"], false));
}

/// Rows: B3.
#[test]
fn two_of_5_down_is_degraded() {
    let case = evidence().seen(&FIVE, 100).members(&FIVE[..3], &up(100).leader("m3"));
    check(&case.members(&FIVE[3..], &stopped()), &degraded(&["m4", "m5"], 0));
    let case = evidence().seen(&FIVE, 100).members(&FIVE, &up(100).leader("m3"));
    check(&case.member("m5", stopped()), &degraded(&["m5"], 1));
}

/// Rows: B5. A lone claim counts once a second voter or a linearizable read confirms it.
#[test]
fn stale_leader_is_unknown_until_confirmed() {
    let stale = || {
        let case = evidence().member("m1", up(100).leader("m2"));
        case.members(&["m2", "m3"], &stopped())
    };
    let judgement = check(&stale(), &Quorum::Unknown);
    assert!(judgement.reason.contains("only m1 says"), "{}", judgement.reason);
    check(&stale().member("m1", up(100).leader("m1")), &Quorum::Unknown);
    check(&stale().member("m1", up(100)), &lost(&["m1"], false));
    check(&stale().member("m2", up(100).leader("m2")), &degraded(&["m3"], 0));
    let read = evidence()
        .member("m1", up(100).leader("m1"))
        .members(&["m2", "m3"], &nothing())
        .reads(voters(&["m1", "m2", "m3"], 100));
    check(&read, &degraded(&[], 0));
}

/// A metrics listener that says "there is a leader" is a lone claim, too, and agrees with a named one.
#[test]
fn the_metrics_listener_confirms_its_own_leadership() {
    let lone = || {
        let case = evidence().member("m1", silent().metrics(id("m1"), 100, true));
        case.members(&["m2", "m3"], &stopped())
    };
    check(&lone(), &Quorum::Unknown);
    check(&lone().member("m2", up(100).leader("m1")), &degraded(&["m3"], 0));
}

/// Rows: B1, B8, B21. A learner neither votes nor counts as alive; what it claims is nothing.
#[test]
fn voter_and_learner_left_of_3_is_lost() {
    let case = evidence()
        .seen(&["m1", "m2", "m3", "+m4"], 100)
        .member("m1", up(100))
        .members(&["m2", "m3"], &stopped())
        .member("m4", up(100).learner().leader("m2"));
    let judgement = check(&case, &lost(&["m1"], false));
    assert_eq!(judgement.voters, names(&["m1", "m2", "m3"]));
    let fourth = &judgement.members["m4"];
    assert_eq!((fourth.learner, fourth.voter), (Some(true), false));
    let case = evidence().seen(&["m1", "m2", "+m3"], 100).member("m1", up(100));
    let case = case.member("m2", stopped()).member("m3", up(100).learner().leader("m2"));
    check(&case, &lost(&["m1"], false));
}

/// Rows: B7. "rpc not supported for learner" says nothing of the voters, plain or wrapped.
#[test]
fn a_rejection_by_a_learner_leads_to_no_verdict() {
    for cause in [Cause::Unsupported, Cause::Conflicting] {
        let case = evidence()
            .seen(&["m1", "m2", "m3", "+m4"], 100)
            .members(&["m1", "m2", "m3"], &nothing())
            .member("m4", nothing().client(cause));
        check(&case, &Quorum::Unknown);
    }
}

/// Rows: B20.
#[test]
fn a_cluster_that_was_never_seen_is_forming_whatever_is_down() {
    let case = evidence().never_seen().members(&["m1", "m2", "m3"], &gone(DataState::Missing));
    check(&case.control(&[false]), &Quorum::Forming);
    let first = healthy().never_seen().reads(voters(&["m1", "m2", "m3"], 1));
    check(&first, &Quorum::Healthy);
}

/// Rows: E9. Not bug B(c): a responder that is cut off says so.
#[test]
fn less_than_half_of_the_control_targets_is_blind() {
    let outage = || evidence().member("m1", up(100)).members(&["m2", "m3"], &stopped());
    for (control, blind) in [
        (&[true, false, false][..], true),
        (&[false][..], true),
        (&[true, false][..], false),
        (&[true][..], false),
        (&[][..], false),
    ] {
        let judgement = outage().control(control).judge();
        assert_eq!(judgement.blind.is_some(), blind, "{control:?}");
        let expected = if blind { "unknown" } else { "lost" };
        assert_eq!(judgement.quorum.label(), expected);
    }
    assert_eq!(healthy().control(&[false]).judge().quorum, Quorum::Unknown);
}

/// Rows: E9. Not bug B(c): silence of our own network is never lost.
#[test]
fn silence_alone_is_unknown() {
    let judgement = check(&evidence().members(&["m1", "m2", "m3"], &nothing()), &Quorum::Unknown);
    assert_eq!(judgement.members["m1"].alive, None);
    let case = evidence().member("m1", up(100)).members(&["m2", "m3"], &nothing());
    check(&case, &Quorum::Unknown);
}

/// Rows: E9.
#[test]
fn one_vantage_group_never_leads_to_lost() {
    let network = || nothing().no_host().no_prometheus().client(Cause::Refused);
    let up = up(100).no_host().no_prometheus();
    check(&evidence().member("m1", up).members(&["m2", "m3"], &network()), &Quorum::Unknown);
    let mut host = gone(DataState::Missing).no_prometheus().client(Cause::NotConfigured);
    host.0.metrics = unknown(Cause::NotConfigured);
    let judgement = check(&evidence().members(&["m1", "m2", "m3"], &host), &Quorum::Unknown);
    assert!(judgement.reason.contains("one way only"), "{}", judgement.reason);
}

/// Rows: E9.
#[test]
fn prometheus_or_the_host_suffices_as_second_group() {
    let case = evidence().member("m1", up(100).no_host());
    check(&case.members(&["m2", "m3"], &unreachable().no_host()), &lost(&["m1"], false));
    let case = evidence().member("m1", up(100).no_prometheus());
    check(&case.members(&["m2", "m3"], &stopped().no_prometheus()), &lost(&["m1"], false));
    let stale = nothing().no_host();
    check(&evidence().members(&["m1", "m2", "m3"], &stale), &Quorum::Unknown);
}

/// Rows: E20.
#[test]
fn even_sizes_need_a_majority_of_all() {
    let two = evidence().seen(&["m1", "m2"], 100).member("m1", up(100)).member("m2", stopped());
    check(&two, &lost(&["m1"], false));
    let four = ["m1", "m2", "m3", "m4"];
    let case = evidence().seen(&four, 100).members(&four[..2], &up(100));
    check(&case.members(&four[2..], &stopped()), &lost(&["m1", "m2"], false));
    let case = evidence().seen(&four, 100).members(&four[..3], &up(100).leader("m1"));
    check(&case.member("m4", stopped()), &degraded(&["m4"], 0));
}

/// Rows: E11. The set of this look counts, not the one that was seen before, nor a size.
#[test]
fn votes_are_counted_over_the_last_linearizable_set() {
    let grown = healthy().members(&["m4", "m5"], &up(100).leader("m1"));
    assert_eq!(check(&grown, &Quorum::Healthy).voters, names(&["m1", "m2", "m3"]));
    let grown = grown.reads(voters(&FIVE, 101));
    assert_eq!(check(&grown, &Quorum::Healthy).voters, names(&FIVE));
    let case = evidence().seen(&FIVE, 100).members(&["m1", "m2", "m3"], &up(100));
    check(&case, &Quorum::LeaderlessAlive);
}

/// Rows: E11. A set that grew after it was last read still has its leader.
#[test]
fn two_claims_count_although_the_set_is_older() {
    let case = evidence().members(&["m1", "m2"], &stopped());
    let case = case.members(&["m3", "m4", "m5"], &up(100).leader("m4"));
    let judgement = check(&case, &degraded(&["m1", "m2"], 0));
    assert_eq!(judgement.leader, Some(MemberName::from("m4")));
}

/// Rows: E11. A voter that nobody can be asked about is unknown: neither dead nor alive.
#[test]
fn a_voter_that_the_inventory_does_not_know_is_unknown() {
    let url = "https://10.9.9.9:2380";
    let case = evidence().seen(&["m1", "m2", url], 100).member("m1", up(100));
    let judgement = check(&case.member("m2", stopped()), &Quorum::Unknown);
    assert_eq!(judgement.members[url].alive, None);
    assert!(judgement.reason.contains("the inventory does not know it"), "{}", judgement.reason);
}

/// Rows: E12. A member that was removed has no vote, even if it is the only one that answers.
#[test]
fn a_removed_member_is_no_survivor() {
    let case = evidence().seen(&["m2", "m3", "m4"], 100).member("m1", up(100));
    let judgement = check(&case.members(&["m2", "m3", "m4"], &stopped()), &lost(&[], false));
    assert!(!judgement.members["m1"].voter);
}

/// A leader and one voter of whom nothing is known: not healthy, and nobody is called down.
#[test]
fn an_unknown_voter_is_neither_healthy_nor_down() {
    let judgement = check(&healthy().member("m3", nothing()), &degraded(&[], 0));
    assert!(judgement.reason.contains("not known to follow: m3"), "{}", judgement.reason);
    check(&healthy().member("m3", silent()), &degraded(&[], 0));
    check(&healthy().member("m3", silent().metrics(id("m3"), 100, true)), &Quorum::Healthy);
}

/// Not bug B(j): two looks 61 s apart are two samples, and each is judged by itself.
#[test]
fn one_look_has_no_memory_of_another() {
    let outage = evidence().member("m1", up(100)).members(&["m2", "m3"], &stopped());
    let mut late = evidence().member("m1", up(100)).members(&["m2", "m3"], &stopped());
    late.evidence.at = Time(NOW.0 + 61_000);
    assert_eq!(outage.judge(), late.judge());
    check(&healthy(), &Quorum::Healthy);
}

/// The words of the contract.
#[test]
fn labels_are_the_closed_list() {
    let all = [
        Quorum::Forming,
        Quorum::Single,
        Quorum::Healthy,
        degraded(&[], 0),
        Quorum::LeaderlessAlive,
        lost(&[], false),
        Quorum::Unknown,
    ];
    let words: Vec<_> = all.iter().map(Quorum::label).collect();
    assert_eq!(words.join(" "), "forming single healthy degraded leaderless_alive lost unknown");
    assert!(all.iter().all(|quorum| quorum.to_string() == quorum.label()));
}
