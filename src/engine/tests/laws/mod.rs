//! Laws that every playbook keeps on the model: it succeeds; a failure is taken back or parks, and a
//! person who looked brings it to its end; a kill after any record, or a commit that nobody knows of,
//! changes nothing about either.
//!
//! A law is checked over lives ([`Case`], [`Hurt`]); a life has one run, and people in it who say yes,
//! who mend what is broken, and who let a parked run go on.

mod commits;

mod failures;
mod kills;
mod several;

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use super::{
    bed::{Bed, Setup, let_pass, said, shipped, three},
    gate,
};
use crate::{
    domain::{
        inventory::Mode,
        run::{
            event::{List, Outcome},
            state::Run,
        },
    },
    engine::commands::Command,
    sim::{FakeTarget, State},
    store::{Store, StreamName},
};

/// One playbook and a world that calls for it.
#[derive(Clone, Copy, Debug)]
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

/// How often a run may park in one life: each fault may park it once, and each kill leave one doubt.
const PARKS_MAX: usize = 6;

/// Between two looks of the people at the run.
const POLL: Duration = Duration::from_secs(1);

/// What happens to a life from outside of its world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hurt {
    /// Nothing.
    None,
    /// Killed so many commits after the alert. `effects_too`: what the last one allowed to begin
    /// does not begin.
    Kill { commits: usize, effects_too: bool },
    /// That commit after the alert comes to something else.
    Commit(usize, gate::Outcome),
}

/// Whether it runs, its data, and whether a run left something behind.
type Machine = (bool, Option<(String, i64)>, bool);

/// What must be the same again after an undo: what runs on which data, and what is left of a run.
fn picture(patient: &FakeTarget) -> Vec<Machine> {
    ["m1", "m2", "m3"].map(|m| (patient.runs(m), patient.data(m), patient.residue(m))).into()
}

/// One life so far.
struct Life {
    bed: Bed,
    /// The picture when the majority was gone.
    before: Vec<Machine>,
    /// Commits before the alert.
    commits: usize,
    /// How often it parked.
    parks: usize,
    /// Whether somebody mends what is broken before a parked run goes on.
    mends: Vec<String>,
}

impl Case {
    /// An engine whose cluster just lost its majority; nothing says so yet.
    async fn begin(self, patient: FakeTarget) -> Life {
        self.begin_among(patient, Vec::new()).await
    }

    /// The same, with further clusters.
    async fn begin_among(self, patient: FakeTarget, others: Vec<FakeTarget>) -> Life {
        let setup = Setup { others, ..Setup::new(self.mode) };
        let bed = Bed::with(patient, setup).await;
        bed.pass(30).await;
        bed.patient.set("m2", State::Gone);
        bed.patient.set("m3", State::Gone);
        if self.silent {
            bed.patient.set("m1", State::Silent);
        }
        let before = picture(&bed.patient);
        Life { before, commits: bed.gate.seen(), bed, parks: 0, mends: Vec::new() }
    }

    /// A whole life.
    async fn live(self, patient: FakeTarget, mends: &[String], hurt: Hurt) -> (Life, Run) {
        let mut life = self.begin(patient).await;
        life.mends = mends.to_vec();
        match hurt {
            Hurt::None => {}
            Hurt::Kill { commits, effects_too } => life.bed.gate.shut_after(commits, effects_too),
            Hurt::Commit(nth, outcome) => life.bed.gate.trouble(nth, outcome),
        }
        life.alert().await;
        let (life, run) = life.until_gate().await;
        match run {
            Some(run) => (life, run),
            None => life.until_end().await,
        }
    }
}

impl Life {
    /// The alert that says so. Until the next breath all that needs no time is done: a life is hurt
    /// before.
    async fn alert(&self) {
        self.bed.alert("etcdInsufficientMembers", &[], true).await;
    }

    /// Waits for the gate or for the end of the run; at the gate lets the last record have its effect,
    /// then kills.
    async fn until_gate(mut self) -> (Self, Option<Run>) {
        let ended = tokio::select! {
            biased;
            () = self.bed.gate.shuts() => None,
            run = finish(&self.bed, &mut self.parks, &self.mends) => Some(run),
        };
        if ended.is_none() {
            let_pass(Duration::from_secs(1)).await;
            self.bed = self.bed.crash().await;
        }
        (self, ended)
    }

    async fn until_end(mut self) -> (Self, Run) {
        let run = finish(&self.bed, &mut self.parks, &self.mends).await;
        (self, run)
    }

    /// What every life comes to: a whole cluster, or what was there before. Nothing in between, but
    /// where an undo itself failed: then it is not called undone.
    async fn assert_ended_well(&self, run: &Run, what: &str) {
        let ends_well = match outcome(run) {
            Some(Outcome::Succeeded) => is_whole(&self.bed.patient),
            Some(Outcome::Undone) => {
                run.past_return.is_none() && picture(&self.bed.patient) == self.before
            }
            Some(Outcome::Failed) => run.past_return.is_none() && undo_is_broken(run),
            _ => false,
        };
        if !ends_well {
            self.bed.show().await;
            let (now, before) = (picture(&self.bed.patient), &self.before);
            panic!("{what}: {:?}\nnow {now:?}\nbefore {before:?}", run.finished);
        }
    }

    /// The kinds of the records of each commit after the alert, in order.
    async fn kinds(&self) -> Vec<Vec<String>> {
        let stream = StreamName::Cluster("c1".into());
        let entries = self.bed.store.read(&stream, 0).await.unwrap();
        let mut kinds = entries.into_iter().map(|entry| entry.kind);
        let sizes = self.bed.gate.sizes();
        let commits: Vec<Vec<String>> =
            sizes.into_iter().map(|size| kinds.by_ref().take(size).collect()).collect();
        commits[self.commits..].to_vec()
    }

    /// The first commit with a record of this kind, from 1, and how many there are.
    async fn commits_from(&self, kind: &str) -> (usize, usize) {
        let kinds = self.kinds().await;
        let first = kinds.iter().position(|commit| commit.iter().any(|found| found == kind));
        (first.unwrap_or_else(|| panic!("no {kind} in {kinds:?}")) + 1, kinds.len())
    }
}

/// Lets the first run go on until it has ended, with a yes where it asks; where it parks, what is
/// broken is mended and a person lets it go on.
async fn finish(bed: &Bed, parks: &mut usize, mends: &[String]) -> Run {
    for _ in 0..12_000 {
        let Some(run) = bed.runs().await.into_iter().next() else {
            tokio::time::sleep(POLL).await;
            continue;
        };
        assert!(CASES.iter().any(|case| run.plan.playbook.as_str() == case.playbook));
        if run.finished.is_some() {
            return run;
        }
        if let Some(parked) = &run.parked {
            assert!(parked.why.contains("quorate resume"), "{}", parked.why);
            *parks += 1;
            if *parks > PARKS_MAX {
                bed.show().await;
                panic!("it parks again and again: {}", parked.why);
            }
            for action in mends {
                bed.patient.heal(action);
            }
            // who is not heard says it again
            bed.command(Command::Resume(run.id, said())).await.ok();
        } else if run.is_asking() {
            bed.approve(&run, None).await.ok();
        }
        tokio::time::sleep(POLL).await;
    }
    bed.show().await;
    panic!("the run neither ends nor parks");
}

fn undo_is_broken(run: &Run) -> bool {
    let mut entries = run.entries.iter();
    entries.any(|(key, row)| key.list == List::Undo && row.stage.is_broken())
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

/// The calls of an undisturbed life, each with its place among those of its action.
async fn calls(case: Case) -> Vec<(String, u32)> {
    let (life, run) = case.live(three(), &[], Hurt::None).await;
    life.assert_ended_well(&run, "undisturbed").await;
    let mut nth = BTreeMap::<String, u32>::new();
    let mut count = |action: String| {
        let n = nth.entry(action.clone()).or_default();
        *n += 1;
        (action, *n)
    };
    let calls = life.bed.patient.calls().into_iter().map(|(action, _)| count(action)).collect();
    life.bed.stop().await;
    calls
}

/// Nothing is shipped that these laws are not about.
#[test]
fn every_shipped_file_is_loaded_here_and_every_playbook_has_its_cases() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("rules");
    let loaded: Vec<String> = shipped().into_iter().map(|(name, _)| name).collect();
    for kind in ["responses", "playbooks"] {
        for entry in std::fs::read_dir(root.join(kind)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            assert!(loaded.contains(&format!("{kind}/{name}")), "{name} is not in these tests");
            let is_of = |case: &Case| name == format!("{}.yaml", case.playbook);
            assert!(kind != "playbooks" || CASES.iter().any(is_of), "no case of {name}");
        }
    }
}

/// Rows: B5, B8, B15.
#[tokio::test(start_paused = true)]
async fn every_playbook_succeeds_on_the_model_and_leaves_nothing_behind() {
    for case in CASES {
        let (life, run) = case.live(three(), &[], Hurt::None).await;
        assert_eq!((outcome(&run), life.parks), (Some(Outcome::Succeeded), 0), "{case:?}");
        assert!(is_whole(&life.bed.patient));
        life.bed.stop().await;
    }
}
