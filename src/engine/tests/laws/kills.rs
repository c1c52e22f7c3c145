//! Kills after every record: on the way, on the way back, around finalizers, parking and resuming.

use std::collections::BTreeMap;

use super::{CASES, Case, Hurt, effects, is_whole, outcome};
use crate::{
    domain::{rules::action::ErrorKind, run::event::Outcome},
    engine::tests::bed::three,
    sim::{Ask, FakeTarget, Fault, Wrong},
};

/// How many commits a life makes, and what it does, when nobody disturbs it.
async fn undisturbed(case: Case) -> (usize, BTreeMap<(String, String), usize>) {
    let (life, _) = case.live(three(), &[], Hurt::None).await;
    let found = (life.kinds().await.len(), effects(&life.bed.patient));
    life.bed.stop().await;
    found
}

/// What the kills of a law leave of the last effect that was allowed to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Last {
    /// It is tried both with it and without.
    Both,
    /// In turns: the laws beside this one try the others.
    InTurns,
}

impl Last {
    fn variants(self, commits: usize) -> &'static [bool] {
        match self {
            Self::Both => &[false, true],
            Self::InTurns if commits.is_multiple_of(2) => &[false],
            Self::InTurns => &[true],
        }
    }
}

async fn any_kill(case: Case, last: Last) {
    let (commits, expected) = undisturbed(case).await;
    assert!(commits > 80, "only {commits} commits");
    for commits in 1..=commits {
        for &effects_too in last.variants(commits) {
            let kill = Hurt::Kill { commits, effects_too };
            let (life, run) = case.live(three(), &[], kill).await;
            life.assert_ended_well(&run, &format!("{case:?}: {kill:?}")).await;
            assert_eq!((outcome(&run), life.parks), (Some(Outcome::Succeeded), 0), "{kill:?}");
            assert_eq!(effects(&life.bed.patient), expected, "{case:?}: {kill:?}");
            life.bed.stop().await;
        }
    }
}

/// Rows: B12, E22.
#[tokio::test(start_paused = true)]
async fn a_kill_after_any_record_changes_nothing_about_the_end() {
    any_kill(CASES[0], Last::Both).await;
}

/// Rows: B12, E2, E22.
#[tokio::test(start_paused = true)]
async fn a_kill_after_any_record_changes_nothing_where_the_survivor_is_silent() {
    any_kill(CASES[1], Last::InTurns).await;
}

/// Rows: B12, E22, E25.
#[tokio::test(start_paused = true)]
async fn a_kill_after_any_record_changes_nothing_where_a_person_is_asked() {
    any_kill(CASES[2], Last::InTurns).await;
}

/// Rows: B12, E22.
#[tokio::test(start_paused = true)]
async fn kills_without_end_change_nothing_about_the_end() {
    for case in CASES {
        let (_, expected) = undisturbed(case).await;
        let mut life = case.begin(three()).await;
        life.alert().await;
        for kills in 0.. {
            assert!(kills < 400, "no end in sight");
            life.bed.gate.shut_after(3, false); // ask, start again, done: less would never go on
            let (next, run) = life.until_gate().await;
            life = next;
            if let Some(run) = run {
                assert_eq!(outcome(&run), Some(Outcome::Succeeded));
                break;
            }
        }
        assert_eq!(effects(&life.bed.patient), expected);
        assert!(is_whole(&life.bed.patient));
    }
}

/// Every kill from the first record of this kind on, where something of an action fails until it is
/// mended: the run ends well, by itself or once a person let it go on.
async fn any_kill_from(kind: &str, case: Case, world: impl Fn() -> FakeTarget, mends: &[&str]) {
    let mends: Vec<String> = mends.iter().map(|action| (*action).to_owned()).collect();
    let (life, run) = case.live(world(), &mends, Hurt::None).await;
    life.assert_ended_well(&run, &format!("{case:?}, {mends:?}")).await;
    let (from, until) = life.commits_from(kind).await;
    let expected = outcome(&run);
    life.bed.stop().await;
    assert!(until > from + 2, "{mends:?}: only commits {from} to {until}");
    for commits in from - 1..=until {
        for &effects_too in Last::InTurns.variants(commits) {
            let kill = Hurt::Kill { commits, effects_too };
            let (life, run) = case.live(world(), &mends, kill).await;
            let what = format!("{case:?}, {mends:?}: {kill:?} of {from} to {until}");
            life.assert_ended_well(&run, &what).await;
            assert_eq!(outcome(&run), expected, "{what}");
            life.bed.stop().await;
        }
    }
}

/// A step before the point of no return that fails, the further back the more is to be taken back.
const TAKEN_BACK: [(Case, &str); 4] = [
    (CASES[0], "host.service.mask"),
    (CASES[0], "etcd.restore"),
    (CASES[1], "etcd.restore"),
    (CASES[0], "etcd.data_in"),
];

/// Rows: A6, E22.
#[tokio::test(start_paused = true)]
async fn a_kill_between_any_two_records_of_an_undo_changes_nothing_about_the_end() {
    for (case, action) in TAKEN_BACK {
        let world = || three().fail_from(action, 1, ErrorKind::Tool);
        // where the same call is needed on the way back, a person mends it
        any_kill_from("unwind_started", case, world, &[action]).await;
    }
}

/// Entries of undo that fail, where the restore failed first.
const UNDO_FAILS: [&str; 2] = ["host.service.unmask", "host.service.start"];

/// Rows: A5, A6, E22.
#[tokio::test(start_paused = true)]
async fn a_kill_around_an_undo_that_fails_never_calls_it_done() {
    for entry in UNDO_FAILS {
        let world = || {
            let world = three().fail_from("etcd.restore", 1, ErrorKind::Tool);
            world.fail_from(entry, 1, ErrorKind::Tool)
        };
        any_kill_from("unwind_started", CASES[0], world, &[entry]).await;
    }
}

/// A call: its action, and its place among the calls of that action.
type Nth = (&'static str, u32);

/// Finalizers that fail until they are mended: in which case, what fails first if anything does, and
/// from which call of its action on.
const FINALIZERS: [(Case, Option<Nth>, Nth); 5] = [
    (CASES[0], None, ("host.service.reset_args", 1)),
    (CASES[1], None, ("etcd.scratch_stop", 1)),
    (CASES[0], Some(("host.service.start", 2)), ("etcd.member_remove", 1)),
    (CASES[0], Some(("host.service.start", 2)), ("host.service.mask", 4)),
    (CASES[0], Some(("etcd.member_promote", 1)), ("host.service.stop", 5)),
];

/// Rows: A6, E8, E22.
#[tokio::test(start_paused = true)]
async fn a_kill_around_a_finalizer_that_fails_leaves_nothing_behind() {
    for (case, step, (entry, nth)) in FINALIZERS {
        let world = || {
            let world = three().fail_from(entry, nth, ErrorKind::Tool);
            step.into_iter()
                .fold(world, |world, (step, nth)| world.fail(step, nth, ErrorKind::Tool))
        };
        any_kill_from("finalizer_failed", case, world, &[entry]).await;
    }
}

/// Steps after the point of no return that fail until they are mended, and from which call on.
const PARKED: [Nth; 3] =
    [("etcd.member_add_learner", 1), ("etcd.member_promote", 2), ("etcd.compare", 1)];

/// Rows: B12, E22, E23.
#[tokio::test(start_paused = true)]
async fn a_kill_around_parking_and_resuming_changes_nothing_about_the_end() {
    for (action, nth) in PARKED {
        let world = || three().fail_from(action, nth, ErrorKind::Tool);
        any_kill_from("step_failed", CASES[0], world, &[action]).await;
    }
}

/// The first question after the kill is answered by nobody: it is asked again.
/// Rows: E22, E23.
#[tokio::test(start_paused = true)]
async fn a_kill_after_which_no_probe_can_tell_ends_well_all_the_same() {
    let fails = Wrong::Fails(ErrorKind::Unavailable);
    let unknown =
        || three().fault(Fault { action: None, ..Fault::new(Ask::Probe, "", fails.clone()) });
    let (commits, expected) = undisturbed(CASES[0]).await;
    let mut met = 0;
    for commits in 1..=commits {
        for &effects_too in Last::InTurns.variants(commits) {
            let kill = Hurt::Kill { commits, effects_too };
            let (life, run) = CASES[0].live(unknown(), &[], kill).await;
            life.assert_ended_well(&run, &format!("{kill:?}")).await;
            if outcome(&run) == Some(Outcome::Succeeded) {
                assert_eq!(effects(&life.bed.patient), expected, "{kill:?}");
            }
            met += usize::from(life.bed.patient.met(&fails));
            life.bed.stop().await;
        }
    }
    assert!(met > 5, "only {met} lives met a doubt");
}
