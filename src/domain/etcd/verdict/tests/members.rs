//! One member: liveness, permanence, attestations, lost memory and what a run holds.

use super::{check, degraded, healthy, lost};
use crate::domain::{
    base::{
        id::{EtcdId, MemberName},
        time::Time,
    },
    etcd::{
        evidence::{DataState, MemberEvidence, Permanence},
        reading::{Cause, Reading},
        verdict::{MemberState, Quorum, fixtures::*},
    },
};

fn m3(readings: Readings) -> MemberState {
    healthy().member("m3", readings).judge().members[&MemberName::from("m3")].clone()
}

#[track_caller]
fn alive(readings: Readings, expected: Option<bool>) {
    let state = m3(readings);
    assert_eq!(state.alive, expected, "{}", state.why);
}

/// Rows: E2, E10. Refusals and timeouts are never down by themselves, TLS failures never at all.
#[test]
fn silence_becomes_unreachable_only_with_a_second_group() {
    alive(nothing().client(Cause::Refused), None);
    alive(nothing().client(Cause::Refused).scraped(false), Some(false));
    alive(nothing().client(Cause::Tls).scraped(false), None);
    alive(nothing().client(Cause::Auth).scraped(false), None);
    alive(nothing().scraped(true), None);
    let mut blank = nothing();
    (blank.0.client, blank.0.metrics) =
        (unknown(Cause::NotConfigured), unknown(Cause::NotConfigured));
    alive(blank.no_host().scraped(false), None);
}

/// Rows: E2.
#[test]
fn a_lone_restarted_member_is_alive_by_its_process_and_data() {
    alive(silent(), Some(true));
    let case = evidence().member("m1", silent()).members(&["m2", "m3"], &stopped());
    let judgement = check(&case, &lost(&["m1"], false));
    assert!(!judgement.members["m1"].serving);
    let mut unread = silent();
    unread.0.data = unknown(Cause::Timeout);
    alive(unread, None);
}

/// The metrics listener knows the member's id and revision while the client port is silent.
#[test]
fn the_metrics_listener_speaks_for_a_silent_member() {
    let state = m3(nothing().metrics(id("m3"), 99, false));
    assert_eq!((state.alive, state.revision, state.serving), (Some(true), Some(99), false));
    assert_eq!(m3(nothing().metrics(id("m3"), 0, false)).revision, None);
    alive(nothing().metrics(EtcdId(77), 99, true), None);
}

/// Positive statements that exclude each other are unknown: a wrong unit name is no death.
#[test]
fn a_statement_of_death_is_unknown_while_something_answers() {
    alive(stopped(), Some(false));
    alive(stopped().scraped(true), None);
    alive(stopped().metrics(EtcdId(77), 99, true), None);
    let mut wrong_path = up(100).leader("m1").data(DataState::Missing);
    alive(wrong_path.clone(), Some(true));
    assert_eq!(m3(wrong_path.clone()).permanence, None);
    wrong_path.0.process = Reading::known(None, NOW, 1);
    alive(wrong_path, Some(true));
}

/// Rows: E4.
#[test]
fn another_member_in_its_place_is_neither_alive_nor_dead() {
    alive(up(100).with_id(EtcdId(77)).leader("m1"), None);
    alive(up(1).of_cluster(EtcdId(0xbad)).leader("m1"), None);
    let case = evidence().member("m1", stopped());
    let other = up(900).of_cluster(EtcdId(0xbad)).leader("m2");
    let judgement = check(&case.members(&["m2", "m3"], &other), &Quorum::Unknown);
    assert_eq!(judgement.leader, None);
}

/// A person's word is about the whole member; the data directory decides where nobody said any.
/// Of a host that does not answer only the word is enough to leave the member out.
#[test]
fn permanence_comes_from_the_data_or_from_a_person() {
    let later = Time(NOW.0 + 1);
    assert_eq!(m3(stopped()).permanence, None);
    assert_eq!(m3(gone(DataState::Empty)).permanence, Some(Permanence::DataGone));
    assert_eq!(m3(gone(DataState::Missing)).permanence, Some(Permanence::DiskGone));
    let word = |readings: Readings, until| {
        let case = healthy().member("m3", readings).attested("m3", until);
        let state = case.judge().members[&MemberName::from("m3")].clone();
        (state.alive, state.permanence)
    };
    assert_eq!(word(stopped(), later), (Some(false), Some(Permanence::Attested)));
    assert_eq!(word(unreachable(), later), (Some(false), Some(Permanence::Attested)));
    assert_eq!(word(gone(DataState::Empty), later), (Some(false), Some(Permanence::Attested)));
    assert_eq!(word(gone(DataState::Empty), NOW), (Some(false), Some(Permanence::DataGone)));
    assert_eq!(word(stopped(), NOW), (Some(false), None));
    assert_eq!(word(up(100).leader("m1"), later), (Some(true), None));
    assert_eq!(word(nothing(), later), (Some(false), Some(Permanence::Attested)));
    assert_eq!(word(nothing().scraped(true), later), (None, None));
    assert_eq!(word(nothing(), NOW), (None, None));
}

/// Rows: E7, E19. A process on an empty or missing directory is gone.
#[test]
fn a_process_on_an_empty_directory_is_gone() {
    for state in [DataState::Empty, DataState::Missing] {
        alive(silent().data(state), Some(false));
        assert!(m3(silent().data(state)).gone);
    }
}

/// Rows: E19. Two blank members under their old ids outvote the survivor and acknowledge writes;
/// they count as lost all the same.
#[test]
fn members_that_lost_their_memory_are_gone_whatever_they_say() {
    let blank = up(3).leader("m2").mark("new");
    let fork = evidence().member("m1", up(100)).members(&["m2", "m3"], &blank);
    let judgement = check(&fork, &lost(&["m1"], true));
    assert_eq!(judgement.members["m2"].data, Some(DataState::Empty));
    assert_eq!(judgement.members["m2"].permanence, Some(Permanence::DataGone));
    let read = fork.reads(voters(&["m1", "m2", "m3"], 3));
    let judgement = check(&read, &lost(&["m1"], true));
    assert!(!judgement.voters_current);
    assert!(judgement.reason.contains("another history"), "{}", judgement.reason);
    assert!(judgement.remembered(&read.evidence).marks.is_empty());

    let no_mark = up(1).leader("m2").no_host();
    let fork = evidence().member("m1", up(100)).members(&["m2", "m3"], &no_mark);
    check(&fork, &lost(&["m1"], true));
    let silent = silent().mark("new");
    check(&evidence().member("m1", up(100)).members(&["m2", "m3"], &silent), &lost(&["m1"], true));
}

/// Rows: E19. While quorum holds, a blank member is one that is down.
#[test]
fn a_blank_member_beside_a_quorum_is_down() {
    check(&healthy().member("m3", up(1).leader("m1")), &degraded(&["m3"], 0));
    check(&healthy().member("m3", silent().metrics(id("m3"), 1, true)), &degraded(&["m3"], 0));
}

/// A directory that was moved holds all that was acknowledged; a stopped one may hold a copy; a new
/// id rightly stands on a new directory; a cluster at revision 1 has nothing to forget.
#[test]
fn another_directory_is_not_always_lost_memory() {
    let marked = |revision| up(revision).leader("m1").mark("new");
    alive(marked(100), Some(true));
    alive(marked(99), Some(false));
    alive(up(99).leader("m1").mark("wal-m3"), Some(true));
    let state = m3(stopped().mark("new"));
    assert_eq!((state.data, state.permanence), (Some(DataState::Present), None));

    let mut set = voters(&["m1", "m2", "m3"], 100);
    set.members.get_mut("m3").unwrap().id = EtcdId(33);
    let renewed = healthy().member("m3", marked(60).with_id(EtcdId(33))).reads(set);
    let judgement = check(&renewed, &Quorum::Healthy);
    assert_eq!(judgement.remembered(&renewed.evidence).marks[&MemberName::from("m3")], "new");

    let young = evidence().seen(&["m1", "m2", "m3"], 1);
    check(&young.members(&["m1", "m2", "m3"], &up(1).leader("m1")), &Quorum::Healthy);
}

/// Rows: E12, E25. What a run stopped, moved and fenced itself neither kills nor proves anything.
#[test]
fn held_members_keep_their_readings_from_before() {
    let before = evidence().member("m1", up(100)).members(&["m2", "m3"], &stopped());
    let expected = check(&before, &lost(&["m1"], false));
    let during = evidence()
        .member("m1", gone(DataState::Missing))
        .members(&["m2", "m3"], &gone(DataState::Empty))
        .held("m1", up(100))
        .held("m2", stopped())
        .held("m3", stopped());
    let judgement = check(&during, &lost(&["m1"], false));
    let m1 = &judgement.members["m1"];
    assert!(m1.held && m1.serving);
    assert_eq!((m1.alive, m1.revision, m1.data), (Some(true), Some(100), Some(DataState::Present)));
    for (name, member) in &judgement.members {
        let plain = MemberState { held: false, ..member.clone() };
        assert_eq!(plain, expected.members[name]);
    }
}

/// Rows: E5. A held member that runs by another hand contradicts the verdict.
#[test]
fn a_held_member_that_runs_by_another_hand_is_alive() {
    let held =
        || evidence().member("m1", up(100)).held("m2", stopped()).held("m3", silent().pid(100));
    let back = held().member("m2", silent()).member("m3", gone(DataState::Empty));
    let judgement = check(&back, &Quorum::LeaderlessAlive);
    assert!(judgement.members["m2"].why.contains("another hand"));
    let emptied = held().member("m2", silent().data(DataState::Missing));
    check(&emptied.member("m3", gone(DataState::Empty)), &Quorum::LeaderlessAlive);
    let led = held().members(&["m2", "m3"], &up(100).leader("m2").pid(9));
    check(&led, &degraded(&[], 0));
}

/// The process that is about to be stopped is not another hand, and a claim from before is no claim.
#[test]
fn the_process_from_before_is_no_contradiction() {
    let before = up(100).leader("m1");
    let case = healthy().member("m3", silent()).held("m3", before.clone());
    let judgement = case.judge();
    assert_eq!(judgement.members["m3"].why, "it answers");
    check(&case, &Quorum::Healthy);
    let stale = evidence().member("m1", up(100)).member("m2", stopped());
    check(&stale.member("m3", stopped()).held("m3", before), &Quorum::LeaderlessAlive);
}

/// What a stopped voter cannot do, it cannot do, whoever stopped it.
#[test]
fn a_held_voter_is_no_spare() {
    let five = ["m1", "m2", "m3", "m4", "m5"];
    let up = up(100).leader("m1");
    let case = evidence().seen(&five, 100).members(&five[..3], &up).member("m4", stopped());
    let case = case.member("m5", stopped()).held("m4", up);
    check(&case, &degraded(&["m5"], 0));
}

/// A look without any reading of a held member is judged by what was read before.
#[test]
fn readings_of_held_members_survive_silence() {
    let case = healthy().member("m3", nothing()).held("m3", gone(DataState::Empty));
    let state: &MemberEvidence = &case.held["m3"];
    assert!(state.client.value().is_none());
    check(&case, &degraded(&["m3"], 0));
}

/// Members that lost their memory answer below what was seen; so may a cluster that a run restored
/// without raising its revision, and that one is believed by its id.
/// Rows: E7, E17, E19.
#[test]
fn a_list_from_below_what_was_seen_is_believed_only_of_the_cluster_that_a_run_built() {
    let answers = || healthy().reads(voters(&["m1", "m2"], 40));
    let judgement = answers().judge();
    assert!(!judgement.voters_current && judgement.reason.contains("not believed"));
    assert_eq!(judgement.voters.len(), 3);
    let cluster = voters(&["m1"], 1).cluster_id;
    assert!(!answers().built(EtcdId(cluster.0 + 1)).judge().voters_current);
    let judgement = answers().built(cluster).judge();
    assert!(judgement.voters_current);
    assert_eq!(judgement.voters.len(), 2);
}

/// After a change of the membership the list from before it is no ground to act on.
/// Rows: A22, E6.
#[test]
fn an_old_list_can_be_left_out_and_a_current_one_stays() {
    let mut old = evidence().seen(&["m1", "m2", "+m3"], 100).member("m1", up(100)).judge();
    assert_eq!(old.members["m3"].learner, Some(true));
    old.trust_only_a_current_list();
    assert!(old.voters.is_empty() && old.members.values().all(|m| m.learner.is_none()));
    let mut current = healthy().reads(voters(&["m1", "m2", "m3"], 101)).judge();
    let before = current.clone();
    current.trust_only_a_current_list();
    assert_eq!(current, before);
}
