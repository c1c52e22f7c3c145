//! Reloads: what goes on, what begins anew, and what is closed.

use std::{sync::Arc, time::Duration};

use super::bed::{Bed, QUORUM, Setup, said, shipped, three};
use crate::{
    domain::{
        incident::Closed,
        inventory::{Cluster, Mode},
        run::event::Outcome,
    },
    engine::commands::Command,
    sim::{Ask, FakeTarget, Fault, State, Wrong},
};

const HOUR: Duration = Duration::from_hours(1);

type Files = Vec<(String, String)>;

/// The shipped rules with one text exchanged in one of them.
#[track_caller]
fn edited(file: &str, from: &str, to: &str) -> Files {
    let mut files = shipped();
    let text = files.iter_mut().find(|(name, _)| name.ends_with(file)).map(|(_, text)| text);
    let text = text.unwrap();
    assert!(text.contains(from), "{file} has no {from:?}");
    *text = text.replace(from, to);
    files
}

/// Seconds from a reload 45 s into the grace to the run.
async fn waits_on(files: &Files) -> i64 {
    let bed = Bed::start(three(), Mode::Auto, 1000).await;
    bed.pass(30).await;
    bed.lose_majority().await;
    bed.pass(45).await;
    bed.reload_rules(files).await;
    let began = bed.now();
    bed.until(120, "a run", async |bed| !bed.runs().await.is_empty()).await;
    let waited = bed.now().since(began).as_secs();
    bed.stop().await;
    i64::try_from(waited).unwrap()
}

/// Rows: B(j).
#[tokio::test(start_paused = true)]
async fn only_incidents_whose_grace_changed_begin_theirs_anew() {
    let same = waits_on(&shipped()).await;
    assert!(same <= 30, "{same}");
    let other = edited("node-not-ready.yaml", "for: 2m", "for: 3m");
    let other = waits_on(&other).await;
    assert!(other <= 30, "another response's grace: {other}");
    let changed = edited("etcd-quorum-lost.yaml", "for: 60s", "for: 61s");
    let changed = waits_on(&changed).await;
    assert!(changed >= 55, "{changed}");
}

/// A run that asks, in mode `propose`.
async fn asking() -> Bed {
    let bed = Bed::start(three(), Mode::Propose, 1000).await;
    bed.pass(30).await;
    bed.lose_majority().await;
    bed.until_asked().await;
    bed
}

#[tokio::test(start_paused = true)]
async fn a_run_keeps_its_plan_when_its_playbook_is_edited() {
    let bed = asking().await;
    let before = bed.runs().await.swap_remove(0);
    bed.reload_rules(&edited("etcd-rebuild-hosts.yaml", "\n  timeout: ", "\n  timeout: 1")).await;
    bed.approve(&before, None).await.unwrap();
    let run = bed.until_rest(1200).await;
    assert_eq!(run.plan.timeout, before.plan.timeout);
    assert!(matches!(run.finished, Some((Outcome::Succeeded, ..))), "{:?}", run.finished);
}

#[tokio::test(start_paused = true)]
async fn a_run_goes_on_when_its_response_and_playbook_are_removed() {
    let bed = asking().await;
    let before = bed.runs().await.swap_remove(0);
    let mut files = shipped();
    files.retain(|(name, _)| name.ends_with("node-not-ready.yaml"));
    bed.reload_rules(&files).await;
    assert_eq!(bed.closed().await, Some(Closed::Abandoned));
    let told = bed.incidents().await.swap_remove(0).timeline;
    assert!(told.iter().any(|(_, line)| line.contains("is not loaded any more")), "{told:?}");
    bed.approve(&before, None).await.unwrap();
    let run = bed.until_rest(1200).await;
    assert!(matches!(run.finished, Some((Outcome::Succeeded, ..))), "{:?}", run.finished);
}

/// The first act of `c1` never ends; `c2` acts once there is a permit left.
async fn second_acts(permits: usize, later: usize) -> bool {
    let first = three().fault(Fault::new(Ask::Act, "host.service.stop", Wrong::Lags(HOUR)));
    let other = FakeTarget::new(["m1", "m2", "m3"]).named("c2").revision(100);
    let setup = Setup { others: vec![other.clone()], ..Setup::new(Mode::Auto) };
    let setup = Setup { runs_concurrent: permits, ..setup };
    let bed = Bed::with(first, setup).await;
    bed.pass(30).await;
    bed.lose_majority().await;
    let is_stuck =
        async |bed: &Bed| bed.patient.calls().iter().any(|(call, _)| call == "host.service.stop");
    bed.until(300, "c1 is stuck", is_stuck).await;
    bed.reload_limits(later).await;
    other.set("m2", State::Gone);
    other.set("m3", State::Gone);
    bed.alert_of("c2", QUORUM, &[], true).await;
    bed.pass(80).await;
    assert!(!bed.runs_of("c2").await.is_empty(), "its run began");
    !other.effects().is_empty()
}

#[tokio::test(start_paused = true)]
async fn other_limits_are_in_force_from_the_reload_on() {
    assert!(!second_acts(1, 1).await, "one permit is one too few");
    assert!(second_acts(1, 2).await, "one more was given");
    assert!(!second_acts(2, 1).await, "the one that was left was taken away");
}

/// Its inventory entry is new, its journal is not.
#[tokio::test(start_paused = true)]
async fn a_cluster_that_goes_parks_its_run_and_one_that_comes_back_goes_on() {
    let bed = asking().await;
    bed.reload_clusters(Vec::new()).await;
    let run = bed.runs().await.swap_remove(0);
    let why = run.parked.as_ref().map(|parked| parked.why.clone()).unwrap();
    assert!(why.contains("is not in the inventory any more"), "{why}");
    assert_eq!(bed.closed().await, Some(Closed::Abandoned));
    bed.pass(300).await;
    let back = bed
        .clusters
        .iter()
        .map(|(cluster, target)| (Arc::new(Cluster::clone(cluster)), target.clone()));
    bed.reload_clusters(back.collect()).await;
    bed.pass(15).await;
    assert!(bed.handle.state().cell("c1").unwrap().look().is_some(), "it is looked at");
    bed.alert(QUORUM, &[("again", "yes")], true).await;
    bed.until(60, "an incident", async |bed| bed.incidents().await.len() == 2).await;
    bed.command(Command::Resume(run.id, said())).await.unwrap();
    bed.until_asked().await;
}
