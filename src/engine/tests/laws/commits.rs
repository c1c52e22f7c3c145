//! Commits that are not what they seem: not durable, or nobody knows whether they are.

use super::{CASES, Case, Hurt, effects, outcome};
use crate::{
    domain::rules::action::ErrorKind,
    engine::tests::{bed::three, gate::Outcome as Commit},
    sim::FakeTarget,
};

/// What a commit may come to, beside durable and told.
const OUTCOMES: [Commit; 3] =
    [Commit::NotDurable, Commit::UnknownAndThere, Commit::UnknownAndNotThere];

/// Each commit of a life from the first record of this kind on comes to each of these, one at a
/// time: nothing else is done, and it ends the same.
async fn any_commit(
    kind: &str,
    outcomes: &[Commit],
    case: Case,
    world: impl Fn() -> FakeTarget,
    mends: &[&str],
) {
    let mends: Vec<String> = mends.iter().map(|action| (*action).to_owned()).collect();
    let (life, run) = case.live(world(), &mends, Hurt::None).await;
    life.assert_ended_well(&run, &format!("{case:?}, {mends:?}")).await;
    let (from, until) = life.commits_from(kind).await;
    let (expected, ended) = (effects(&life.bed.patient), outcome(&run));
    life.bed.stop().await;
    assert!(until > from + 2, "only commits {from} to {until}");
    for nth in from..=until {
        for commit in outcomes {
            let hurt = Hurt::Commit(nth, *commit);
            let (life, run) = case.live(world(), &mends, hurt).await;
            let what = format!("{case:?}, {mends:?}: {hurt:?}");
            life.assert_ended_well(&run, &what).await;
            assert_eq!(outcome(&run), ended, "{what}");
            assert_eq!(effects(&life.bed.patient), expected, "{what}");
            life.bed.stop().await;
        }
    }
}

/// Rows: E22, B(h).
#[tokio::test(start_paused = true)]
async fn a_commit_that_did_not_become_durable_changes_nothing_about_the_end() {
    any_commit("incident_opened", &OUTCOMES[..1], CASES[0], three, &[]).await;
}

/// Rows: E22, B(h).
#[tokio::test(start_paused = true)]
async fn a_commit_that_became_durable_and_was_not_told_changes_nothing_about_the_end() {
    any_commit("incident_opened", &OUTCOMES[1..2], CASES[0], three, &[]).await;
}

/// Rows: E22, B(h).
#[tokio::test(start_paused = true)]
async fn a_commit_of_which_nobody_knows_that_it_is_lost_changes_nothing_about_the_end() {
    any_commit("incident_opened", &OUTCOMES[2..], CASES[0], three, &[]).await;
}

/// Rows: A6, E22, B(h).
#[tokio::test(start_paused = true)]
async fn whatever_a_commit_of_an_undo_comes_to_it_ends_the_same() {
    let world = || three().fail_from("etcd.restore", 1, ErrorKind::Tool);
    any_commit("unwind_started", &OUTCOMES, CASES[0], world, &[]).await;
}

/// Rows: A6, E8, E22, B(h).
#[tokio::test(start_paused = true)]
async fn whatever_a_commit_around_a_finalizer_that_fails_comes_to_it_ends_the_same() {
    let action = "host.service.reset_args";
    let world = || three().fail_from(action, 1, ErrorKind::Tool);
    any_commit("finalizer_failed", &OUTCOMES, CASES[0], world, &[action]).await;
}

/// Rows: B12, E22, E23, B(h).
#[tokio::test(start_paused = true)]
async fn whatever_a_commit_around_parking_and_resuming_comes_to_it_ends_the_same() {
    let action = "etcd.compare";
    let world = || three().fail_from(action, 1, ErrorKind::Tool);
    any_commit("step_failed", &OUTCOMES, CASES[0], world, &[action]).await;
}
