//! Laws that every playbook keeps on the model: it succeeds; a failure is taken back or parks; a
//! kill after any record changes nothing about either.

use std::{collections::BTreeMap, time::Duration};

use super::bed::{Bed, Setup, let_pass, said, three};
use crate::{
    domain::{
        inventory::Mode,
        rules::action::ErrorKind,
        run::{event::Outcome, state::Run},
    },
    engine::commands::Command,
    sim::{FakeTarget, State},
};

/// One playbook and a world that calls for it.
#[derive(Clone, Copy)]
struct Case {
    playbook: &'static str,
    /// Whether the survivor was restarted and is silent, so that it is read by a scratch copy.
    silent: bool,
    mode: Mode,
}

const CASES: [Case; 3] = [
    Case { playbook: "etcd-rebuild-hosts", silent: false, mode: Mode::Auto },
    Case { playbook: "etcd-rebuild-hosts", silent: true, mode: Mode::Auto },
    Case { playbook: "etcd-rebuild-hosts", silent: false, mode: Mode::Propose },
];

/// Actions that do the same work again when they are run again: they clean up after themselves.
const REPEATABLE: [&str; 5] =
    ["etcd.snapshot", "etcd.restore", "etcd.data_copy", "etcd.scratch_start", "etcd.scratch_stop"];

/// Whether it runs, its data, and whether a run left something behind.
type Machine = (bool, Option<(String, i64)>, bool);

/// What must be the same again after an undo: what runs on which data, and what is left of a run.
fn picture(patient: &FakeTarget) -> Vec<Machine> {
    ["m1", "m2", "m3"].map(|m| (patient.runs(m), patient.data(m), patient.residue(m))).into()
}

impl Case {
    /// An engine whose cluster just lost its majority, with the alert that says so.
    async fn begin(self, patient: FakeTarget) -> Bed {
        let bed = Bed::with(patient, Setup::new(self.mode)).await;
        bed.pass(30).await;
        bed.patient.set("m2", State::Gone);
        bed.patient.set("m3", State::Gone);
        if self.silent {
            bed.patient.set("m1", State::Silent);
        }
        bed.alert("etcdInsufficientMembers", &[], true).await;
        bed.until(120, "a run", async |bed| !bed.runs().await.is_empty()).await;
        let runs = bed.runs().await;
        assert_eq!(runs[0].plan.playbook.as_str(), self.playbook);
        bed
    }
}

/// Lets the first run go on, with a yes where it asks, until it has ended or is parked.
async fn finish(bed: &Bed) -> Run {
    for _ in 0..6000 {
        let Some(run) = bed.runs().await.into_iter().next() else { continue };
        if run.finished.is_some() || run.parked.is_some() || bed.gate.is_shut() {
            return run;
        }
        if run.is_asking() {
            approve(bed, &run).await;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    bed.show().await;
    panic!("the run neither ends nor parks");
}

async fn approve(bed: &Bed, run: &Run) {
    drop(bed.approve(run, None).await);
}

fn outcome(run: &Run) -> Option<Outcome> {
    run.finished.as_ref().map(|(outcome, ..)| *outcome)
}

/// Effects by action and subject, without those that may be repeated.
fn effects(patient: &FakeTarget) -> BTreeMap<(String, String), usize> {
    let mut counts = BTreeMap::new();
    for (action, subject) in patient.effects() {
        if !REPEATABLE.contains(&action.as_str()) {
            // ids differ from run to run
            let subject = if subject.len() == 16 { "id".into() } else { subject };
            *counts.entry((action, subject)).or_default() += 1;
        }
    }
    counts
}

fn is_whole(patient: &FakeTarget) -> bool {
    let residue = ["m1", "m2", "m3"].iter().any(|m| patient.residue(m));
    let runs = ["m1", "m2", "m3"].iter().all(|m| patient.runs(m));
    runs && !residue && patient.voters().len() == 3 && patient.data("m1").unwrap().1 >= 100
}

/// Rows: B5, B8, B15.
#[tokio::test(start_paused = true)]
async fn every_playbook_succeeds_on_the_model_and_leaves_nothing_behind() {
    for case in CASES {
        let bed = case.begin(three()).await;
        let run = finish(&bed).await;
        assert_eq!(outcome(&run), Some(Outcome::Succeeded), "silent: {}", case.silent);
        assert!(is_whole(&bed.patient));
        bed.stop().await;
    }
}

/// Rows: A1, A2, A3, A6, E23.
#[tokio::test(start_paused = true)]
async fn a_failure_at_any_call_is_taken_back_or_parks_with_a_way_on() {
    for case in [CASES[0], CASES[1]] {
        let bed = case.begin(three()).await;
        finish(&bed).await;
        let calls = bed.patient.calls();
        bed.stop().await;
        let mut nth = BTreeMap::<String, u32>::new();
        for (action, subject) in calls {
            let n = nth.entry(action.clone()).or_default();
            *n += 1;
            for after in [false, true].into_iter().take(if case.silent { 1 } else { 2 }) {
                let what = format!("{action} {n} ({subject}), after its effect: {after}");
                let patient = if after {
                    three().fail_after(&action, *n, ErrorKind::Tool)
                } else {
                    three().fail(&action, *n, ErrorKind::Tool)
                };
                a_failure_is_taken_back_or_parks(case, patient, &what).await;
            }
        }
    }
}

async fn a_failure_is_taken_back_or_parks(case: Case, patient: FakeTarget, what: &str) {
    let bed = Bed::with(patient, Setup::new(case.mode)).await;
    bed.pass(30).await;
    bed.patient.set("m2", State::Gone);
    bed.patient.set("m3", State::Gone);
    if case.silent {
        bed.patient.set("m1", State::Silent);
    }
    let before = picture(&bed.patient);
    bed.alert("etcdInsufficientMembers", &[], true).await;
    bed.until(120, "a run", async |bed| !bed.runs().await.is_empty()).await;
    let run = finish(&bed).await;
    if run.past_return.is_some() {
        let survivor = bed.patient.data("m1").unwrap();
        assert!(survivor.1 >= 100, "{what}: the survivor's data is worse");
        match &run.parked {
            Some(parked) => {
                assert!(parked.why.contains("quorate resume"), "{what}: {}", parked.why);
                // what failed once goes on: no second look finds it in the way
                bed.command(Command::Resume(run.id, said())).await.unwrap();
                bed.pass(1).await;
                let resumed = finish(&bed).await;
                assert_eq!(
                    outcome(&resumed),
                    Some(Outcome::Succeeded),
                    "{what}: {:?}",
                    resumed.parked
                );
            }
            None => assert_eq!(outcome(&run), Some(Outcome::Succeeded), "{what}"),
        }
    } else if run.parked.is_some() {
        // a failed finalizer: the next try goes on
        bed.command(Command::Resume(run.id, said())).await.unwrap();
        bed.pass(1).await;
        assert_eq!(outcome(&finish(&bed).await), Some(Outcome::Succeeded), "{what}");
    } else if outcome(&run) == Some(Outcome::Undone) {
        if picture(&bed.patient) != before {
            bed.show().await;
        }
        assert_eq!(picture(&bed.patient), before, "{what}");
    } else {
        bed.show().await;
        panic!("{what}: {:?} {:?}", run.finished, run.parked);
    }
    bed.stop().await;
}

/// How many commits the run makes, and what it does, when nobody disturbs it.
async fn undisturbed(case: Case) -> (usize, BTreeMap<(String, String), usize>) {
    let bed = case.begin(three()).await;
    let before = bed.gate.seen();
    finish(&bed).await;
    let found = (bed.gate.seen() - before, effects(&bed.patient));
    bed.stop().await;
    found
}

/// Rows: B12, E22.
#[tokio::test(start_paused = true)]
async fn a_kill_after_any_record_changes_nothing_about_the_end() {
    any_kill(CASES[0], &[false, true]).await;
}

/// Rows: B12, E2, E22.
#[tokio::test(start_paused = true)]
async fn a_kill_after_any_record_changes_nothing_where_the_survivor_is_silent() {
    any_kill(CASES[1], &[false]).await;
}

/// Rows: B12, E22, E25.
#[tokio::test(start_paused = true)]
async fn a_kill_after_any_record_changes_nothing_where_a_person_is_asked() {
    any_kill(CASES[2], &[true]).await;
}

async fn any_kill(case: Case, variants: &[bool]) {
    let (commits, expected) = undisturbed(case).await;
    for n in 1..=commits {
        for &effects_too in variants {
            let bed = case.begin(three()).await;
            bed.gate.shut_after(n, effects_too);
            let (bed, _) = killed_at_the_gate(bed).await;
            let what = format!("killed after commit {n}, effects too: {effects_too}");
            let run = finish(&bed).await;
            if outcome(&run) != Some(Outcome::Succeeded) {
                bed.show().await;
            }
            assert_eq!(outcome(&run), Some(Outcome::Succeeded), "{what}");
            assert_eq!(effects(&bed.patient), expected, "{what}");
            assert!(is_whole(&bed.patient), "{what}");
            bed.stop().await;
        }
    }
}

/// Rows: B12, E22.
#[tokio::test(start_paused = true)]
async fn kills_without_end_change_nothing_about_the_end() {
    for case in CASES {
        let (_, expected) = undisturbed(case).await;
        let mut bed = case.begin(three()).await;
        for kills in 0.. {
            assert!(kills < 400, "no end in sight");
            bed.gate.shut_after(3, false); // ask, start again, done: less would never go on
            let (next, run) = killed_at_the_gate(bed).await;
            bed = next;
            if let Some(run) = run {
                assert_eq!(outcome(&run), Some(Outcome::Succeeded));
                break;
            }
        }
        assert_eq!(effects(&bed.patient), expected);
        assert!(is_whole(&bed.patient));
    }
}

/// Rows: A6, E22.
#[tokio::test(start_paused = true)]
async fn a_kill_after_any_record_of_an_undo_changes_nothing_about_the_end() {
    let case = CASES[0];

    let last_look = || three().fail("etcd.data_in", 1, ErrorKind::Tool);

    let bed = case.begin(last_look()).await;
    let before = bed.gate.seen();
    let run = finish(&bed).await;
    assert_eq!(outcome(&run), Some(Outcome::Undone));
    let commits = bed.gate.seen() - before;
    let expected = effects(&bed.patient);
    let end = picture(&bed.patient);
    bed.stop().await;
    for n in 1..=commits {
        for effects_too in [false, true] {
            let bed = case.begin(last_look()).await;
            bed.gate.shut_after(n, effects_too);
            let (bed, _) = killed_at_the_gate(bed).await;
            let run = finish(&bed).await;
            let what = format!("killed after commit {n}, effects too: {effects_too}");
            if outcome(&run) != Some(Outcome::Undone) || picture(&bed.patient) != end {
                bed.show().await;
            }
            assert_eq!(outcome(&run), Some(Outcome::Undone), "{what}");
            assert_eq!(picture(&bed.patient), end, "{what}");
            assert_eq!(effects(&bed.patient), expected, "{what}");
            bed.stop().await;
        }
    }
}

/// Waits for the gate or the end of the run; at the gate lets the last record have its effect, then
/// kills.
async fn killed_at_the_gate(bed: Bed) -> (Bed, Option<Run>) {
    let ended = tokio::select! {
        biased;
        () = bed.gate.shuts() => None,
        run = finish(&bed) => Some(run),
    };
    if ended.is_some() {
        return (bed, ended);
    }
    let_pass(Duration::from_secs(1)).await;
    (bed.crash().await, None)
}
