//! The point of no return is never undone unless it is seen not to have taken effect.

use std::time::Duration;

use super::bed::{Bed, QUORUM, let_pass, said, three};
use crate::{
    domain::{
        inventory::Mode,
        run::{
            event::Outcome,
            state::{Run, StepRun},
        },
    },
    engine::commands::Command,
    sim::{Ask, Fault, State, Wrong},
};

/// How long a person's word counts here: shorter than the outage of quorate, so that the last look
/// before a start that is tried again refuses.
const WORD: u64 = 600;

/// A rebuild that was approved, stopped before anything after its `n`-th commit becomes durable.
async fn cut_off_after(n: usize, effects_too: bool) -> Bed {
    let bed = Bed::start(three(), Mode::Propose, 0).await;
    bed.pass(30).await;
    bed.stop_majority(WORD).await;
    bed.alert(QUORUM, &[], true).await;
    let run = bed.until_asked().await;
    bed.gate.shut_after(n, effects_too);
    bed.approve(&run, None).await.unwrap();
    bed.gate.shuts().await;
    let_pass(Duration::from_secs(1)).await;
    bed
}

/// How many commits after the approval the start of the restored member is journalled.
async fn commits_until_the_start() -> usize {
    for n in 1.. {
        let bed = cut_off_after(n, true).await.crash().await;
        let runs = bed.runs().await;
        if runs[0].past_return.is_some() {
            return n;
        }
        assert!(runs[0].finished.is_none(), "the start was never journalled");
    }
    unreachable!("the run ends")
}

fn outcome(run: &Run) -> Option<Outcome> {
    run.finished.as_ref().map(|(outcome, ..)| *outcome)
}

async fn resumed(bed: Bed) -> (Bed, Run) {
    let bed = bed.crash_for(WORD + 100).await;
    let run = bed.until_rest(WORD).await;
    (bed, run)
}

/// Rows: E22, E23. The new cluster took a write; then the host went down, and quorate with it.
#[tokio::test(start_paused = true)]
async fn a_start_that_took_effect_is_not_undone_although_nothing_runs_now() {
    let bed = cut_off_after(commits_until_the_start().await, false).await;
    assert!(bed.patient.write(7), "the restored member serves");
    let data = bed.patient.data("m1");
    bed.patient.set("m1", State::Stopped);
    let (bed, run) = resumed(bed).await;
    assert_eq!(bed.patient.data("m1"), data, "what was acknowledged is there");
    let parked = run.parked.expect("a person must look");
    assert!(parked.why.contains("log"), "{}", parked.why);
    assert!(parked.why.contains("starts it again"), "{}", parked.why);
    assert!(run.past_return.is_some());
    bed.command(Command::Resume(run.id, said())).await.unwrap();
    bed.until(900, "it ends", async |bed| bed.runs().await[0].finished.is_some()).await;
    assert_eq!(outcome(&bed.runs().await[0]), Some(Outcome::Succeeded), "nobody else starts it");
    assert!(bed.patient.data("m1") >= data, "what was acknowledged is there");
}

/// The host came up again, quorate a few seconds before its member.
/// Rows: E22, E23.
#[tokio::test(start_paused = true)]
async fn a_start_that_is_seen_a_moment_later_is_in_doubt_no_more() {
    let bed = cut_off_after(commits_until_the_start().await, false).await;
    bed.patient.set("m1", State::Stopped);
    let bed = bed.crash_for(WORD + 100).await;
    bed.pass(5).await;
    assert!(bed.runs().await[0].parked.is_none(), "it is asked about again");
    bed.patient.set("m1", State::Up);
    let run = bed.until_rest(WORD).await;
    assert_eq!(outcome(&run), Some(Outcome::Succeeded), "{:?}", run.parked);
}

/// Rows: E22, E23. The restored directory is what it was: nobody can have been answered from it.
#[tokio::test(start_paused = true)]
async fn a_start_that_never_took_effect_is_undone() {
    let bed = cut_off_after(commits_until_the_start().await, true).await;
    let (bed, run) = resumed(bed).await;
    assert_eq!(outcome(&run), Some(Outcome::Undone));
    assert_eq!(bed.patient.data("m1").map(|(_, revision)| revision), Some(100));
    assert!(bed.patient.runs("m1"));
}

/// A rebuild whose start of the restored member was decided, and is on its way to a disk that does not
/// answer. The old majority is out of reach, and known to be gone by a person's word.
async fn about_to_start() -> Bed {
    let bed = Bed::start(three(), Mode::Propose, 0).await;
    bed.pass(30).await;
    for member in ["m2", "m3"] {
        bed.patient.set(member, State::Unreachable);
    }
    bed.pass(11).await;
    for member in ["m2", "m3"] {
        bed.attest(member, 7200).await.unwrap();
    }
    bed.alert(QUORUM, &[], true).await;
    let run = bed.until_asked().await;
    bed.gate.shut_after_effect(&bed.patient, "host.service.unmask");
    bed.approve(&run, None).await.unwrap();
    bed.gate.shuts().await;
    bed
}

/// The step that starts the restored member, once the disk has answered and the run has gone on.
async fn start_of(bed: &Bed) -> StepRun {
    let runs = bed.runs().await;
    let row = runs[0].steps.iter().find(|(path, _)| path.to_string() == "start");
    row.expect("it was written down as started").1.clone()
}

/// What allowed the point of no return to be passed was seen ten minutes ago: the disk took so long.
/// Rows: B5, E22.
#[tokio::test(start_paused = true)]
async fn a_majority_that_is_back_before_a_start_that_came_late_is_left_alone() {
    let bed = about_to_start().await;
    bed.pass(300).await;
    for member in ["m2", "m3"] {
        bed.patient.set(member, State::Up);
    }
    bed.pass(300).await;
    bed.store.release();
    let run = bed.until_rest(1200).await;
    assert!(start_of(&bed).await.started);
    let ended = run.finished.as_ref().map(|(outcome, ..)| *outcome);
    assert!(matches!(ended, Some(Outcome::Undone | Outcome::Cancelled)), "{ended:?}");
    assert_eq!(bed.patient.data("m1").map(|(_, revision)| revision), Some(100), "the old data");
    assert_eq!(bed.patient.voters().len(), 3, "the old cluster");
}

/// Nothing came in between: it is looked at anew, and started.
/// Rows: E22.
#[tokio::test(start_paused = true)]
async fn a_start_that_came_late_is_made_after_another_look() {
    let bed = about_to_start().await;
    let calls = bed.patient.effects_of("host.service.start");
    bed.pass(600).await;
    bed.store.release();
    let started = async |bed: &Bed| bed.patient.effects_of("host.service.start") > calls;
    bed.until(300, "it is started", started).await;
    assert_eq!(start_of(&bed).await.attempts, 2, "the first try never began");
    assert!(bed.runs().await[0].past_return.is_some());
}

/// Rows: E22. What was cut off and could not be ended is met by no other try and by no undo.
#[tokio::test(start_paused = true)]
async fn a_step_that_is_still_at_work_parks_the_run_and_nothing_is_touched() {
    let lags = Wrong::Lags(Duration::from_hours(1));
    let patient = three().fault(Fault::new(Ask::Act, "etcd.restore", lags));
    let bed = Bed::start(patient, Mode::Auto, 1000).await;
    bed.pass(30).await;
    bed.lose_majority().await;
    let run = bed.until_rest(1200).await;
    let parked = run.parked.expect("a person must look");
    assert!(parked.why.contains("still runs"), "{}", parked.why);
    assert!(run.unwind.is_none());
    assert_eq!(bed.patient.effects_of("host.service.start"), 0);
    bed.pass(3600).await;
    assert_eq!(bed.patient.effects_of("etcd.restore"), 1, "it took effect in the end");
}
