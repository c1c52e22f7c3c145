//! The three outcomes of a cell's commit: durable, not durable, and nobody knows which of the two.

use super::{
    bed::{Bed, three},
    gate::Outcome as Commit,
};
use crate::domain::{inventory::Mode, run::event::Outcome};

/// A whole repair, one of whose commits comes to something else: what took effect, and whether the
/// commit was reached.
async fn repair(trouble: Option<(usize, Commit)>) -> (Vec<(String, String)>, bool) {
    let bed = Bed::start(three(), Mode::Auto, 1000).await;
    bed.pass(30).await;
    let before = bed.gate.seen();
    if let Some((nth, outcome)) = trouble {
        bed.gate.trouble(nth, outcome);
    }
    bed.lose_majority().await;
    let run = bed.until_rest(1200).await;
    let ended = run.finished.map(|end| end.0);
    assert_eq!(ended, Some(Outcome::Succeeded), "{trouble:?}: {:?}", run.parked);
    let reached = trouble.is_some_and(|(nth, _)| bed.gate.seen() - before >= nth);
    (bed.patient.effects(), reached)
}

/// Rows: E22.
#[tokio::test(start_paused = true)]
async fn whatever_a_commit_comes_to_the_run_goes_on_and_nothing_is_done_twice() {
    let (expected, _) = repair(None).await;
    let outcomes = [Commit::NotDurable, Commit::UnknownAndThere, Commit::UnknownAndNotThere];
    let mut commits = 0;
    for nth in 1.. {
        let outcome = outcomes[nth % 3];
        let (effects, reached) = repair(Some((nth, outcome))).await;
        assert_eq!(effects, expected, "commit {nth} came to {outcome:?}");
        if !reached {
            break;
        }
        commits = nth;
    }
    assert!(commits > 40, "only {commits} commits");
}
