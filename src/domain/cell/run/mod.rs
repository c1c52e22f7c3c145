//! Drives a run: does what its frontier ([`next`]) asks for, as far as it can be done now.
//!
//! What needs a call or a look asks for it and goes on when the answer comes in as an input; what
//! needs time asks to be woken. Order of one step: `Started` durable, act, result durable. It keeps
//! only what is under way; everything else is read from the run, so a run that somebody else changed
//! is noticed at the next turn, and a resumed one takes the same turns as one that was never
//! interrupted. That a run parks is decided by its frontier, never here.

mod approve;
mod control;
mod entry;
pub mod listing;
mod loss;
mod readings;
mod step;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

pub use self::approve::evidence_lines;
use super::{
    Draft,
    decide::is_destructive,
    effect::{CallKey, Place},
    follow_ups,
    input::{Answer, Answered},
    variables::{response_bindings, signals},
};
use crate::domain::{
    base::{
        id::RunId,
        time::{Time, format_duration},
    },
    etcd::observation::Observation,
    journal::record::{Record, WatchKind},
    rules::{
        action::{Call, ErrorKind, Failure},
        expr::Value,
        playbook::model::Destroys,
    },
    run::{
        event::{Outcome, RunEvent, RunRecord},
        next, parking,
        path::Path,
        state::{Run, Stage, StepRun, Unwind},
        todo::Todo,
    },
};

/// Oldest reading an expression outside of a `wait` may see, and the oldest evidence on which the
/// point of no return is passed.
const AGE_MAX: Duration = Duration::from_secs(5);
/// Between two reads of what is not known yet.
const POLL: Duration = Duration::from_millis(500);
/// Turns of one step of the cell: what is left is done in the next ones, so that a long loop without
/// effects keeps no other cluster waiting.
const TURNS_AT_ONCE: usize = 8;
/// Turns without a rest: far more than any playbook has to do without waiting. A run that takes more
/// never rests, which is a bug of ours and stops the cell, visibly.
const TURNS_MAX: usize = 1_000_000;

/// What a cell's run has under way. In memory only: after a crash it is asked for again.
#[derive(Clone, Debug, Default)]
pub struct Driving {
    run: Option<RunId>,
    /// Turns since it last had nothing to do.
    turns: usize,
    under_way: BTreeMap<Place, UnderWay>,
    waits: BTreeMap<Wait, Waiting>,
    /// Iterations for which `until` was just found false.
    checked: BTreeSet<Path>,
    /// The last look for this run; it may have brought nothing.
    look: Option<Seen>,
    /// When the look that is under way was asked for.
    looking: Option<Time>,
    /// Nothing that was read before this time counts: an effect came since.
    floor: Time,
}

/// A look of a run.
#[derive(Clone, Debug)]
struct Seen {
    began: Time,
    /// When it came in.
    at: Time,
    look: Option<Arc<Observation>>,
}

/// A call at one place.
#[derive(Clone, Debug)]
enum UnderWay {
    /// What stands there is read.
    Reading(Call),
    /// What stands there is known; it is about to start.
    Ready {
        call: Call,
        before: Value,
        /// Evidence for the point of no return must not be older.
        since: Time,
    },
    /// It acts.
    Acting,
    /// Reality is asked about an earlier call.
    Probing(Call),
}

/// What may be waited for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Wait {
    /// A condition at a place.
    At(Place),
    /// `verify`.
    Verify,
    /// What a probe finds at a place.
    Probe(Place),
}

/// A condition that is read again and again.
#[derive(Clone, Debug)]
struct Waiting {
    began: Time,
    /// Since when it holds.
    holds: Option<Time>,
    /// When it is read next.
    next: Time,
    /// Why it did not hold the last time.
    missed: String,
}

/// Whether a call of this run may have changed anything.
fn has_changed(run: &Run) -> bool {
    let changed = |row: &StepRun| match &row.stage {
        Stage::Done { changed, .. } => *changed,
        Stage::Started | Stage::Failed { .. } | Stage::Doubted { .. } => row.started,
        Stage::Skipped | Stage::Disproved => false,
    };
    run.steps.values().any(changed)
}

/// Whether a turn changed anything, so that the frontier is another.
type Moved = bool;

impl Draft {
    /// Does what the open run can do now. Where quorate stops that is nothing: what was written down
    /// as started and then not begun would be in doubt after the restart.
    pub(super) fn drive(&mut self) {
        if self.cell.is_stopping {
            return;
        }
        for _ in 0..TURNS_AT_ONCE {
            let run = self.cell.state.open_run().filter(|run| run.is_active()).cloned();
            let Some(run) = run else {
                self.cell.driving = Driving::default();
                return;
            };
            if self.cell.driving.run != Some(run.id) {
                self.cell.driving = Driving { run: Some(run.id), ..Driving::default() };
            }
            if !self.turn(&run) {
                self.cell.driving.turns = 0;
                return;
            }
            self.cell.driving.turns += 1;
        }
        let Driving { turns, run, .. } = &self.cell.driving;
        assert!(*turns < TURNS_MAX, "the run {run:?} never rests");
        self.wake_at(self.now);
    }

    fn turn(&mut self, run: &Run) -> Moved {
        // what a person gave up comes to its end: its calls fail, where nobody is there to take them
        let is_given_up = run.unwind.as_ref().is_some_and(Unwind::is_given_up);
        if self.cell.setup.is_retired && !is_given_up {
            let why = format!(
                "cluster {} is not in the inventory any more: nothing more is done to it; put it back, \
                 then resume or abandon the run",
                self.cell.name()
            );
            let armed = parking::armed(run);
            self.record(run.id, RunEvent::RunParked { why, armed });
            return true;
        }
        let checked = self.cell.driving.checked.clone();
        let todos = next::next(run, &checked);
        todos.into_iter().any(|todo| self.one(run, todo))
    }

    fn one(&mut self, run: &Run, todo: Todo<'_>) -> Moved {
        match todo {
            Todo::Begin(at) => self.begin(run, &at, false),
            Todo::Retry(at, not_before) => self.is_time(not_before) && self.begin(run, &at, true),
            Todo::Resolve(at) => self.resolve(run, &at),
            Todo::Expand(at) => self.expand(run, &at),
            Todo::Until(at, until, item) => self.until(run, &at, until, &item),
            Todo::Await(at, until) => self.await_answer(run, &at, until),
            Todo::Entry(key, at, entry) => self.entry(run, key, &at, entry),
            Todo::RetryEntry(key, at, entry, not_before) => {
                self.is_time(not_before) && self.entry(run, key, &at, entry)
            }
            Todo::ResolveEntry(key, at, entry) => self.resolve_entry(run, key, &at, entry),
            Todo::Unwind(outcome, failure) => self.unwind(run, outcome, failure),
            Todo::Park(parking) => {
                let (why, armed) = (parking.why, parking.armed);
                self.record(run.id, RunEvent::RunParked { why, armed });
                true
            }
            Todo::Verify(verify) => self.verify(run, verify),
            Todo::Finish(outcome, failure) => {
                self.end(run, outcome, failure);
                true
            }
        }
    }

    /// Whether a time has come; else it is waited for.
    fn is_time(&mut self, at: Time) -> bool {
        if self.now < at {
            self.wake_at(at);
        }
        self.now >= at
    }

    /// Adds an event of a run.
    fn record(&mut self, run: RunId, event: RunEvent) {
        self.write(Record::Run(RunRecord { run, event }));
    }

    /// The run's own limit; after the point of no return it only ends what has not begun.
    fn out_of_time(&self, run: &Run) -> Option<Failure> {
        let limit = run.plan.timeout;
        (run.worked(self.now) > limit).then(|| {
            let text = format!("the run worked for longer than {}", format_duration(limit));
            Failure::new(ErrorKind::Timeout, text)
        })
    }

    /// Goes back. Where the subject is well again, the failure is only how that was noticed.
    fn unwind(&mut self, run: &Run, outcome: Outcome, failure: Failure) -> Moved {
        let mut outcome = outcome;
        if outcome == Outcome::Undone && failure.kind != ErrorKind::Denied {
            let fresh = self.fresh();
            let Some(look) = self.look_since(run, fresh) else { return false };
            if look.is_some_and(|look| readings::has_quorum(&look)) {
                outcome = Outcome::Cancelled;
            }
        }
        self.record(run.id, RunEvent::UnwindStarted { outcome, failure, undo: true });
        true
    }

    fn end(&mut self, run: &Run, outcome: Outcome, failure: Option<Failure>) {
        if is_destructive(run) && outcome == Outcome::Succeeded {
            let watch = follow_ups::after(run, WatchKind::Proof, self.now);
            if let Some(watch) = watch {
                self.write(watch);
            }
        }
        self.look_out_for_leftovers(run);
        self.record(run.id, RunEvent::RunFinished { outcome, failure });
        self.run_ended(run.id, outcome);
        self.look_soon();
    }

    /// Before the point of no return a run is cancelled once its subject is back in two looks in a
    /// row.
    pub(super) fn cancel_if_back(&mut self) {
        let Some(run) = self.cell.state.open_run() else {
            self.cell.sight.well_again = 0;
            return;
        };
        // what is parked waits for a person, whatever the cluster does meanwhile; and what destroys
        // nothing and has begun to change something may be why the cluster is back
        let has_begun = run.plan.destroys == Destroys::Nothing && has_changed(run);
        let is_open =
            run.is_active() && run.past_return.is_none() && run.unwind.is_none() && !has_begun;
        let id = run.id;
        let is_back = self.domain_of_run(id).is_back(&self.cell) && !self.is_confirmed(id);
        let well_again = &mut self.cell.sight.well_again;
        *well_again = if is_back && is_open { *well_again + 1 } else { 0 };
        if *well_again < 2 {
            return;
        }
        let reason = "quorum is back: the cluster got well by itself";
        let failure = Failure::new(ErrorKind::RefusedByGuard, reason);
        let outcome = Outcome::Cancelled;
        self.record(id, RunEvent::UnwindStarted { outcome, failure, undo: true });
    }

    /// Whether what the run answers still holds, as its response confirms it.
    fn is_confirmed(&self, run: RunId) -> bool {
        let incident = self.cell.state.runs.get(&run).and_then(|run| run.incident);
        let Some(incident) = incident.and_then(|id| self.incident(id)) else { return false };
        let response = self.cell.response(incident.subject.response.as_str());
        response.is_some_and(|response| {
            let subject = &incident.subject;
            let signals = signals(&self.cell, subject, response, self.now);
            let bindings = response_bindings(&self.cell, subject, &signals, self.now);
            response.confirm.truth(&bindings) == Ok(true)
        })
    }

    /// An answer of a call.
    pub(super) fn take_answer(&mut self, answer: &Answer) {
        let Answer { key: CallKey { run, place }, result } = answer.clone();
        if self.cell.driving.run != Some(run) {
            return; // of a run that is over, or from before a restart: it is asked for again
        }
        let Some(under_way) = self.cell.driving.under_way.remove(&place) else { return };
        if matches!(under_way, UnderWay::Reading(_)) && !self.is_next(run, &place) {
            return; // the run went another way since it was read
        }
        match (under_way, result) {
            (UnderWay::Reading(call), Answered::Before(result)) => {
                self.read(run, place, call, result);
            }
            (UnderWay::Acting, Answered::Acted(result)) => {
                self.forget_readings();
                self.acted(run, &place, result);
            }
            (UnderWay::Acting, Answered::Unbegun(why)) => {
                self.forget_readings();
                self.unbegun(run, place, why);
            }
            (UnderWay::Probing(call), Answered::Probed(probed)) => {
                self.forget_readings();
                self.probed(run, &place, &call, probed);
            }
            // an answer to what was not asked: the place is asked for again
            (
                UnderWay::Reading(_)
                | UnderWay::Acting
                | UnderWay::Probing(_)
                | UnderWay::Ready { .. },
                _,
            ) => {}
        }
    }

    /// Whether the frontier still asks for what is done at this place.
    fn is_next(&self, run: RunId, place: &Place) -> bool {
        let Some(run) = self.cell.state.runs.get(&run) else { return false };
        next::next(run, &self.cell.driving.checked).iter().any(|todo| match place {
            Place::Step(step) => todo.begins() == Some(step),
            Place::Entry(entry) => todo.entry() == Some(entry),
        })
    }

    /// After an effect nothing that was read before counts.
    pub(super) fn forget_readings(&mut self) {
        self.cell.driving.look = None;
        self.cell.driving.floor = self.now;
    }
}
