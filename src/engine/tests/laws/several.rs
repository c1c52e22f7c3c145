//! Several clusters lose their majority at once: each is repaired as if it were alone.

use std::collections::BTreeMap;

use super::{CASES, Hurt, Life, effects, is_whole, outcome};
use crate::{
    domain::run::event::Outcome,
    engine::tests::bed::{QUORUM, three},
    sim::{FakeTarget, State},
};

const OTHERS: [&str; 2] = ["c2", "c3"];

fn other(name: &str) -> FakeTarget {
    FakeTarget::new(["m1", "m2", "m3"]).named(name).revision(100)
}

/// Three clusters, all of which were lost; the kill comes after so many commits.
async fn begin(kill: usize) -> (Life, Vec<FakeTarget>) {
    let others: Vec<FakeTarget> = OTHERS.iter().map(|name| other(name)).collect();
    let life = CASES[0].begin_among(three(), others.clone()).await;
    life.alert().await;
    for (name, other) in OTHERS.iter().zip(&others) {
        other.set("m2", State::Gone);
        other.set("m3", State::Gone);
        life.bed.alert_of(name, QUORUM, &[], true).await;
    }
    life.bed.gate.shut_after(kill, false);
    (life, others)
}

/// All three are whole, and did what one does.
async fn assert_all_end(
    life: Life,
    others: &[FakeTarget],
    expected: &BTreeMap<(String, String), usize>,
    what: &str,
) {
    let (life, run) = life.until_end().await;
    life.assert_ended_well(&run, what).await;
    for name in OTHERS {
        let ended = async |bed: &super::Bed| {
            let run = bed.runs_of(name).await.into_iter().next();
            run.is_some_and(|run| outcome(&run) == Some(Outcome::Succeeded))
        };
        life.bed.until(1200, &format!("{name} is repaired, {what}"), ended).await;
    }
    for target in others.iter().chain([&life.bed.patient]) {
        assert!(is_whole(target), "{what}");
        assert_eq!(&effects(target), expected, "{what}");
    }
    life.bed.stop().await;
}

/// Rows: B12, E22.
#[tokio::test(start_paused = true)]
async fn a_kill_after_any_record_of_any_of_several_clusters_changes_nothing_about_their_ends() {
    let (life, run) = CASES[0].live(three(), &[], Hurt::None).await;
    let (expected, commits) = (effects(&life.bed.patient), life.kinds().await.len());
    assert_eq!(outcome(&run), Some(Outcome::Succeeded));
    life.bed.stop().await;
    // three times as many are made in all; of each stretch of eleven one is tried
    for n in (1..commits * 3).step_by(11) {
        let (life, others) = begin(n).await;
        let (life, run) = life.until_gate().await;
        let what = format!("killed after commit {n}");
        assert_all_end(life, &others, &expected, &what).await;
        if run.is_some() {
            break;
        }
    }
}
