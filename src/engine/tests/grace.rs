//! Timelines up to a decision: what an alert alone never does, and what must hold for how long.

use std::time::Duration;

use super::bed::{Bed, QUORUM, Setup, three};
use crate::{
    domain::{incident::Closed, inventory::Mode},
    sim::State,
};

const RESPONSE: &str = "etcd-quorum-lost";

async fn auto() -> Bed {
    let bed = Bed::start(three(), Mode::Auto, 1000).await;
    bed.pass(30).await;
    bed
}

async fn nothing_was_done(bed: &Bed) {
    assert!(bed.runs().await.is_empty());
    assert_eq!(bed.patient.effects(), []);
}

/// Rows: B11, B22.
#[tokio::test(start_paused = true)]
async fn a_majority_that_is_back_within_the_grace_is_left_alone() {
    let bed = auto().await;
    bed.patient.set("m2", State::Stopped);
    bed.patient.set("m3", State::Stopped);
    bed.alert(QUORUM, &[], true).await;
    bed.pass(20).await;
    assert_eq!(bed.reason(RESPONSE).await, "grace");
    bed.patient.set("m2", State::Up);
    bed.patient.set("m3", State::Up);
    bed.until(120, "it closes", async |bed| bed.closed().await.is_some()).await;
    assert_eq!(bed.closed().await, Some(Closed::NotConfirmed));
    assert!(bed.metrics.render().contains("reason=\"grace\""));
    nothing_was_done(&bed).await;
}

/// Rows: B(j).
#[tokio::test(start_paused = true)]
async fn a_contradiction_begins_the_grace_anew() {
    let bed = auto().await;
    bed.stop_majority(3600).await;
    bed.alert(QUORUM, &[], true).await;
    bed.pass(45).await;
    bed.patient.set("m2", State::Up);
    bed.patient.set("m3", State::Up);
    bed.pass(12).await;
    bed.patient.set("m2", State::Stopped);
    bed.patient.set("m3", State::Stopped);
    bed.pass(58).await;
    nothing_was_done(&bed).await;
    bed.until(60, "a run", async |bed| !bed.runs().await.is_empty()).await;
}

/// Rows: B(c), E9.
#[tokio::test(start_paused = true)]
async fn samples_without_an_answer_make_a_gap_and_never_a_verdict() {
    let bed = auto().await;
    bed.lose_majority().await;
    bed.pass(45).await;
    bed.patient.set_blind(true);
    bed.until_reason(15, "blind").await;
    bed.pass(300).await;
    nothing_was_done(&bed).await;
    bed.patient.set_blind(false);
    bed.pass(58).await;
    nothing_was_done(&bed).await;
    bed.until(60, "a run", async |bed| !bed.runs().await.is_empty()).await;
}

/// Rows: B(j), B12.
#[tokio::test(start_paused = true)]
async fn a_restart_of_the_responder_is_a_gap_like_any_other() {
    let bed = auto().await;
    bed.lose_majority().await;
    bed.pass(55).await;
    let bed = bed.crash().await;
    bed.pass(58).await;
    nothing_was_done(&bed).await;
    assert_eq!(bed.incidents().await.len(), 1);
    bed.until(60, "a run", async |bed| !bed.runs().await.is_empty()).await;
}

/// Rows: B(j).
#[tokio::test(start_paused = true)]
async fn two_alerts_61_s_apart_without_samples_do_nothing() {
    let bed = auto().await;
    bed.patient.set_blind(true);
    bed.lose_majority().await;
    bed.pass(61).await;
    bed.alert("etcdNoLeader", &[("instance", "m1")], true).await;
    bed.patient.set_blind(false);
    bed.pass(55).await;
    nothing_was_done(&bed).await;
}

/// Rows: B5, B6, B(b), E10.
#[tokio::test(start_paused = true)]
async fn members_that_live_are_never_touched_whatever_the_alert_says() {
    for (what, reason) in
        [("one", "not_confirmed"), ("cut", "not_confirmed"), ("", "not_confirmed")]
    {
        let bed = auto().await;
        match what {
            "one" => bed.patient.set("m3", State::Gone),
            "cut" => bed.patient.set_partitioned(true),
            _ => {}
        }
        bed.alert(QUORUM, &[], true).await;
        bed.pass(50).await;
        if what.is_empty() {
            bed.until(60, "it closes", async |bed| bed.closed().await.is_some()).await;
            assert_eq!(bed.closed().await, Some(Closed::NotConfirmed));
        } else {
            bed.until_reason(60, reason).await;
            bed.pass(600).await;
            assert_eq!(bed.reason(RESPONSE).await, reason);
        }
        nothing_was_done(&bed).await;
    }
}

/// Rows: B20, B21.
#[tokio::test(start_paused = true)]
async fn a_cluster_that_was_never_seen_whole_is_still_forming() {
    let bed = Bed::start(three().gone("m2").gone("m3"), Mode::Auto, 1000).await;
    bed.alert(QUORUM, &[], true).await;
    bed.until_reason(60, "forming").await;
    bed.pass(600).await;
    assert_eq!(bed.reason(RESPONSE).await, "forming");
    nothing_was_done(&bed).await;
}

/// Rows: E19.
#[tokio::test(start_paused = true)]
async fn a_member_on_an_emptied_directory_counts_as_gone() {
    let bed = auto().await;
    bed.patient.set("m2", State::Amnesiac);
    bed.patient.set("m3", State::Gone);
    bed.alert(QUORUM, &[], true).await;
    bed.until(120, "a run", async |bed| !bed.runs().await.is_empty()).await;
}

/// Rows: E7.
#[tokio::test(start_paused = true)]
async fn without_a_survivor_a_person_is_called() {
    let bed = auto().await;
    bed.patient.set("m1", State::Gone);
    bed.lose_majority().await;
    bed.until_reason(120, "no_survivor").await;
    let incidents = bed.incidents().await;
    assert_eq!(incidents[0].standing.as_ref().unwrap().action, "escalate");
    nothing_was_done(&bed).await;
}

/// Rows: C4.
#[tokio::test(start_paused = true)]
async fn a_resolved_alert_starts_nothing_and_a_silenced_one_is_context_only() {
    let bed = auto().await;
    bed.alert(QUORUM, &[], false).await;
    bed.pass(120).await;
    assert!(bed.incidents().await.is_empty());
    let setup = Setup { alertmanager: true, ..Setup::new(Mode::Auto) };
    let bed = Bed::with(three(), setup).await;
    bed.pass(30).await;
    bed.lose_majority().await;
    bed.pass(5).await;
    bed.patient.set_alerts(Some(vec![bed.listed(QUORUM, true)]));
    bed.until_reason(120, "silenced").await;
    bed.pass(300).await;
    nothing_was_done(&bed).await;
}

/// It may be routed to somebody else, or muted by an Alertmanager that does not say so. A delivery
/// that failed is tried again, so nothing is missed.
/// Rows: C4.
#[tokio::test(start_paused = true)]
async fn what_no_webhook_delivered_opens_nothing_by_the_list_alone() {
    let setup = Setup { alertmanager: true, ..Setup::new(Mode::Auto) };
    let bed = Bed::with(three(), setup).await;
    bed.pass(30).await;
    bed.patient.set_alerts(Some(vec![bed.listed(QUORUM, false)]));
    bed.patient.set("m2", State::Gone);
    bed.patient.set("m3", State::Gone);
    bed.pass(600).await;
    assert!(bed.incidents().await.is_empty());
    nothing_was_done(&bed).await;
    bed.alert(QUORUM, &[], true).await;
    bed.until(120, "a run", async |bed| !bed.runs().await.is_empty()).await;
}

#[tokio::test(start_paused = true)]
async fn reconciliation_settles_what_fires_again_and_what_resolved() {
    let setup = Setup { alertmanager: true, ..Setup::new(Mode::Propose) };
    let bed = Bed::with(three(), setup).await;
    bed.patient.set("m3", State::Gone);
    bed.alert(QUORUM, &[], true).await;
    bed.until(120, "an incident", async |bed| !bed.incidents().await.is_empty()).await;
    bed.patient.set_alerts(Some(Vec::new()));
    bed.pass(130).await;
    let firing = bed.handle.read(|state| state.alerts.counts().firing);
    assert_eq!(firing.await, Some(0));
}

/// With everything as shipped a silent member makes each look as long as the probes' limit.
/// Rows: B(j), E2.
#[tokio::test(start_paused = true)]
async fn looks_that_wait_for_a_silent_member_are_close_enough_for_the_shipped_grace() {
    let bed = auto().await;
    bed.patient.set_slow(Duration::from_millis(8_200));
    bed.lose_majority().await;
    bed.until(120, "a run", async |bed| !bed.runs().await.is_empty()).await;
    // and the run, whose looks are as long, gets on
    let run = bed.until_rest(3600).await;
    assert_eq!(run.state(), "succeeded", "{run:?}");
}

/// Who waits for a look does not wait for ever where there is none.
#[tokio::test(start_paused = true)]
async fn who_asks_for_a_look_that_brings_nothing_is_answered() {
    let bed = auto().await;
    bed.patient.set_slow(Duration::from_hours(1));
    let asked = bed.handle.look_now("c1".into());
    tokio::time::timeout(Duration::from_mins(5), asked).await.expect("an answer");
}

/// Who asks for a look is answered by a full one that began after it, also where another is under way.
#[tokio::test(start_paused = true)]
async fn a_look_that_is_asked_for_during_another_one_comes_at_once() {
    let bed = auto().await;
    bed.patient.set_slow(Duration::from_secs(4));
    let asked = async |after: u64| {
        bed.pass(after).await;
        tokio::time::timeout(Duration::from_secs(20), bed.handle.look_now("c1".into())).await
    };
    let (first, second) = tokio::join!(asked(0), asked(1));
    first.expect("a look of its own");
    second.expect("a look after the one that was under way");
}
