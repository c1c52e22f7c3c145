//! The fold of a run's records. [`apply`] is the only function that changes a run.
//!
//! It decides nothing and asks nothing: live and replayed records go through the same code, so a
//! resumed run cannot drift from one that was never interrupted. A record that cannot follow on what
//! is there is refused as a whole.

use serde_json::Value as Json;

pub use super::legal::Illegal;
use super::{
    event::{Ask, EntryKey, RunEvent},
    legal,
    path::Path,
    resume,
    state::{Approval, Parked, Run, Stage, StepRun, Unwind},
};
use crate::domain::{
    base::{id::MemberName, time::Time},
    etcd::evidence::MemberEvidence,
    rules::action::Failure,
};

/// Folds one record in, or refuses it and changes nothing.
pub fn apply(run: &mut Run, event: &RunEvent, at: Time) -> Result<(), Illegal> {
    legal::check(run, event)?;
    run.at = at;
    run.version += 1;
    run.fold(event, at);
    Ok(())
}

impl Run {
    fn fold(&mut self, event: &RunEvent, at: Time) {
        match event {
            RunEvent::RunStarted { .. } => {}
            RunEvent::ForeachStarted { step, items } => {
                self.items.insert(step.clone(), items.clone());
            }
            RunEvent::ForeachStopped { step, item } => {
                self.stopped.insert(step.clone(), item.clone());
            }
            RunEvent::CallStarted { step, params } => {
                self.calls.insert(step.clone(), params.clone());
            }
            RunEvent::StepSkipped { step } => self.set(step, Stage::Skipped, at),
            RunEvent::StepStarted { step, attempt, args, before, held, irreversible } => {
                self.begin_step(step, *attempt, (args, before), at);
                self.hold(held.as_ref());
                self.pass_return(step, *irreversible);
            }
            RunEvent::StepDone { step, output, changed, released, built } => {
                self.done(step, output, *changed, at);
                self.built = built.or(self.built);
                self.release(released.as_ref());
            }
            RunEvent::StepFailed { step, failure, last } => {
                self.answered(step, at);
                self.set(step, failed(failure, *last), at);
            }
            RunEvent::StepDisproved { step, .. } => {
                self.set(step, Stage::Disproved, at);
                self.pass_return(step, false);
            }
            RunEvent::StepDoubted { step, why } => self.set(step, doubted(why), at),
            RunEvent::EntryStarted { entry, attempt, args, before } => {
                self.begin_entry(entry, *attempt, (args, before), at);
            }
            RunEvent::EntryDone { entry, changed, released } => {
                let stage = Stage::Done { output: Json::Null, changed: *changed };
                self.set_entry(entry, stage, at);
                self.release(released.as_ref());
            }
            RunEvent::EntrySkipped { entry, .. } => self.set_entry(entry, Stage::Skipped, at),
            RunEvent::EntryFailed { entry, failure, last } => {
                self.set_entry(entry, failed(failure, *last), at);
            }
            RunEvent::EntryDoubted { entry, why } => self.set_entry(entry, doubted(why), at),
            RunEvent::ApprovalAsked { step, ask } => self.ask(step, ask, at),
            RunEvent::Approved { by, reason, digest, max_loss } => {
                self.stop_waiting(at);
                let (by, reason, digest) = (by.clone(), reason.clone(), digest.clone());
                self.approval = Some(Approval { by, reason, digest, max_loss: *max_loss, at });
            }
            RunEvent::Denied { by, reason } => {
                self.stop_waiting(at);
                self.denied = Some((by.clone(), reason.clone()));
            }
            RunEvent::UnwindStarted { outcome, failure, undo } => {
                let (outcome, failure, undo) = (*outcome, failure.clone(), *undo);
                self.go_back(Unwind { outcome, failure, undo }, at);
            }
            RunEvent::RunParked { why, armed } => {
                self.park(Parked { why: why.clone(), armed: armed.clone(), at });
            }
            RunEvent::RunResumed { retry, .. } => self.go_on(retry, at),
            RunEvent::Verified => self.verified = true,
            RunEvent::VerifyFailed { failure } => self.unverified = Some(failure.clone()),
            RunEvent::RunFinished { outcome, failure } => {
                self.finished = Some((*outcome, failure.clone(), at));
                self.held.clear();
            }
        }
    }

    /// A try that found nothing to do after one in doubt found that one's traces, unless it is one
    /// that leaves none.
    fn done(&mut self, step: &Path, output: &Json, changed: bool, at: Time) {
        let in_doubt = self.steps.get(step).is_some_and(|row| row.in_doubt);
        let changed = changed || (in_doubt && !self.only_reads(step));
        self.set(step, Stage::Done { output: output.clone(), changed }, at);
    }

    /// The readings from before the *first* touch are the ones that count.
    fn hold(&mut self, held: Option<&(MemberName, Box<MemberEvidence>)>) {
        if let Some((member, readings)) = held {
            self.held.entry(member.clone()).or_insert_with(|| (**readings).clone());
        }
    }

    fn release(&mut self, member: Option<&MemberName>) {
        if let Some(member) = member {
            self.held.remove(member);
        }
    }

    fn ask(&mut self, step: &Path, ask: &Ask, at: Time) {
        self.ask = Some((step.clone(), ask.clone()));
        (self.approval, self.denied) = (None, None);
        self.asked_at = Some(at);
    }

    /// Nobody can answer while it is parked: resumed, it asks anew.
    fn park(&mut self, parked: Parked) {
        if self.asked_at.is_some() {
            self.ask = None;
        }
        self.stop_waiting(parked.at);
        self.parked = Some(parked);
    }

    /// A step that asked and failed without an answer asks no more.
    fn answered(&mut self, step: &Path, at: Time) {
        if self.ask.as_ref().is_some_and(|(asked, _)| asked == step) {
            self.stop_waiting(at);
        }
    }

    fn stop_waiting(&mut self, at: Time) {
        if let Some(asked) = self.asked_at.take() {
            self.waited += at.since(asked);
        }
    }

    /// Notes whether a step counts as a point of no return that was started. Several may (a step in
    /// a loop): the first one is where going back ends.
    fn pass_return(&mut self, step: &Path, passed: bool) {
        if let Some(row) = self.steps.get_mut(step) {
            row.irreversible = passed;
        }
        let passed = self.steps.iter().filter(|(_, row)| row.irreversible);
        let first = passed.min_by_key(|(_, row)| row.order);
        self.past_return = first.map(|(path, _)| path.clone());
    }

    fn begin_step(&mut self, step: &Path, attempt: u32, read: (&Json, &Json), at: Time) {
        let order = self.next_order;
        let row = self.steps.entry(step.clone()).or_insert_with(|| StepRun::new(at, order));
        row.in_doubt |= row.started && matches!(row.stage, Stage::Failed { .. });
        self.next_order += usize::from(row.begin(attempt, order, read, at));
    }

    fn begin_entry(&mut self, entry: &EntryKey, attempt: u32, read: (&Json, &Json), at: Time) {
        let order = self.entries.len();
        let row = self.entries.entry(entry.clone()).or_insert_with(|| StepRun::new(at, order));
        row.begin(attempt, order, read, at);
    }

    fn set(&mut self, step: &Path, stage: Stage, at: Time) {
        let (order, goes_back) = (self.next_order, self.unwind.is_some());
        let row = self.steps.entry(step.clone()).or_insert_with(|| {
            self.next_order += 1;
            StepRun::new(at, order)
        });
        row.asked |= goes_back;
        row.end(stage, at, goes_back);
    }

    fn set_entry(&mut self, entry: &EntryKey, stage: Stage, at: Time) {
        let order = self.entries.len();
        let row = self.entries.entry(entry.clone()).or_insert_with(|| StepRun::new(at, order));
        row.end(stage, at, false);
    }

    fn go_back(&mut self, unwind: Unwind, at: Time) {
        self.parked = None;
        self.stop_waiting(at);
        self.unwind = Some(unwind);
    }

    /// A parked run goes on, with its whole time limit again.
    fn go_on(&mut self, retry: &[Path], at: Time) {
        self.parked = None;
        self.unverified = None;
        self.waited = at.since(self.started_at);
        for path in retry {
            resume::follow(self, path);
        }
    }
}

fn failed(failure: &Failure, last: bool) -> Stage {
    Stage::Failed { failure: failure.clone(), last }
}

fn doubted(why: &str) -> Stage {
    Stage::Doubted { why: why.to_owned() }
}

impl StepRun {
    /// A try starts; `true` where it is the first one that does.
    fn begin(
        &mut self,
        attempt: u32,
        order: usize,
        (args, before): (&Json, &Json),
        at: Time,
    ) -> bool {
        let is_first = !self.started;
        if is_first {
            self.before = before.clone();
            self.started_at = at;
            self.order = order;
        }
        self.started = true;
        self.attempts = attempt;
        self.args = args.clone();
        self.stage = Stage::Started;
        self.at = at;
        is_first
    }

    /// A try ends. One that failed before it was started is a try all the same.
    fn end(&mut self, stage: Stage, at: Time, is_answer: bool) {
        let unstarted = self.attempts == 0 || self.stage != Stage::Started;
        if matches!(stage, Stage::Failed { .. }) && unstarted && !is_answer {
            self.attempts += 1;
        }
        self.stage = stage;
        self.at = at;
    }
}
