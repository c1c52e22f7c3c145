//! Calls that fail, once or until somebody mends them: taken back, or parked with a way to the end.

use super::{CASES, Case, Hurt, Life, calls, outcome};
use crate::{
    domain::{rules::action::ErrorKind, run::event::Outcome},
    engine::tests::bed::three,
    sim::{Ask, FakeTarget, Fault, Wrong},
};

/// How a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    /// What stands there cannot be read.
    Before,
    /// Without an effect.
    Act,
    /// After its effect.
    After,
    /// Without an effect, as every later call of this action, until it is mended.
    Until,
}

const HOW: [How; 4] = [How::Before, How::Act, How::After, How::Until];

impl How {
    fn world(self, action: &str, nth: u32) -> FakeTarget {
        let fails = Wrong::Fails(ErrorKind::Tool);
        match self {
            Self::Before => three().fault(Fault::new(Ask::Before, action, fails).nth(nth)),
            Self::Act => three().fail(action, nth, ErrorKind::Tool),
            Self::After => three().fail_after(action, nth, ErrorKind::Tool),
            Self::Until => three().fail_from(action, nth, ErrorKind::Tool),
        }
    }
}

/// A life in which a call fails. Where it fails until it is mended, the same call of an undo may too.
async fn fails(case: Case, (action, nth): &(String, u32), how: How) -> (Life, Option<Outcome>) {
    let world = how.world(action, *nth);
    let (life, run) = case.live(world, std::slice::from_ref(action), Hurt::None).await;
    let what = format!("{case:?}: {action} {nth} fails: {how:?}");
    life.assert_ended_well(&run, &what).await;
    let ended = outcome(&run);
    assert!(how == How::Until || ended != Some(Outcome::Failed), "{what}");
    (life, ended)
}

/// The calls of the rebuild that only a silent survivor needs: to read its data.
const TO_READ: [&str; 4] =
    ["host.service.stop", "etcd.data_copy", "etcd.scratch_start", "etcd.snapshot"];

/// Every one of these calls fails in each way; how many lives were undone, and how many parked.
async fn all_fail(case: Case, calls: &[(String, u32)]) -> (usize, usize) {
    let (mut undone, mut parked) = (0, 0);
    for call in calls {
        for how in HOW {
            let (life, ended) = fails(case, call, how).await;
            undone += usize::from(ended == Some(Outcome::Undone));
            parked += usize::from(life.parks > 0);
            life.bed.stop().await;
        }
    }
    (undone, parked)
}

/// Rows: A1, A2, A3, A6, E23.
#[tokio::test(start_paused = true)]
async fn a_failure_at_any_call_is_taken_back_or_parks_with_a_way_until_end() {
    let (undone, parked) = all_fail(CASES[0], &calls(CASES[0]).await).await;
    assert!(undone > 30 && parked > 20, "{undone} were undone, {parked} parked");
}

/// Rows: A1, A2, A3, A6, E2.
#[tokio::test(start_paused = true)]
async fn a_failure_at_any_call_that_reads_a_silent_survivor_is_taken_back() {
    let mut calls = calls(CASES[1]).await;
    calls.retain(|(action, nth)| TO_READ.contains(&action.as_str()) && *nth == 1);
    calls.push(("etcd.scratch_stop".into(), 1));
    let (undone, parked) = all_fail(CASES[1], &calls).await;
    assert!(undone > 8 && parked > 0, "{undone} were undone, {parked} parked");
}
