//! Forward steps: begin, act, and what is in doubt.

use std::{collections::BTreeMap, time::Duration};

use serde_json::Value as Json;

use super::{AGE_MAX, Draft, Moved, POLL, UnderWay, Wait, Waiting};
use crate::domain::{
    base::{
        id::{EtcdId, MemberName, RunId},
        time::Time,
    },
    cell::{
        effect::{Ask, CallKey, CallWanted, Effect, Place},
        variables::missing,
    },
    etcd::evidence::MemberEvidence,
    rules::{
        action::{Call, Done, ErrorKind, Failure, OnResume, Probed},
        expr::Value,
        output::Choice,
        playbook::{
            arguments,
            model::{ActionCall, Entry, StepKind},
            traits::ActionTraits,
        },
    },
    run::{
        event::{EntryKey, List, RunEvent},
        path::Path,
        plan::Plan,
        state::{Run, Stage, StepRun},
        todo::At,
    },
};

impl Draft {
    /// Begins (or tries again) a step, as far as it can be done now.
    pub(super) fn begin(&mut self, run: &Run, at: &At<'_>, again: bool) -> Moved {
        let place = Place::Step(at.path.clone());
        match self.cell.driving.under_way.get(&place).cloned() {
            Some(UnderWay::Ready { call, before, since }) => {
                return self.start(run, at, (&call, &before), since);
            }
            Some(UnderWay::Reading(_) | UnderWay::Acting | UnderWay::Probing(_)) => return false,
            None => {}
        }
        if !again && let Some(failure) = self.out_of_time(run) {
            self.fail_unstarted(run, at, failure);
            return true;
        }
        // what never started was perhaps never wanted: a try that only failed to tell does not count
        let first = run.steps.get(&at.path).is_none_or(|row| !row.started);
        if first && !self.is_waited_for(&place) {
            match self.is_wanted(run, at) {
                Some(true) => {}
                Some(false) => return true,
                None => return false,
            }
        }
        match &at.step.kind {
            StepKind::Action(call) => self.prepare(run, at, call),
            StepKind::Wait { until, hold, timeout, poll } => {
                self.wait(run, at, until, [*hold, *timeout, *poll])
            }
            StepKind::Expect { that, message } => self.expect(run, at, that, message),
            StepKind::RecordLoss { survivor, rebuilt } => {
                self.record_loss(run, at, survivor, rebuilt)
            }
            StepKind::RecordNote(text) => {
                let Some(note) = self.text(run, at, text) else { return false };
                let note = note.unwrap_or_else(|error| Value::str(missing(&error)));
                self.done(run, at, &Value::map([("note", note)]));
                true
            }
            StepKind::Approve(show) => self.approve_step(run, at, show),
            StepKind::Foreach { .. } | StepKind::Call { .. } => false, // never begun as a leaf
        }
    }

    fn is_waited_for(&self, place: &Place) -> bool {
        self.cell.driving.waits.contains_key(&Wait::At(place.clone()))
    }

    /// Evaluates `when`; `Some(false)`: written down as skipped, or failed where it is unknown;
    /// `None`: come again.
    pub(super) fn is_wanted(&mut self, run: &Run, at: &At<'_>) -> Option<bool> {
        let Some(when) = &at.step.when else { return Some(true) };
        let fresh = self.fresh();
        match self.truth(run, Some(at), when, fresh, &[])? {
            Ok(true) => Some(true),
            Ok(false) => {
                self.record(run.id, RunEvent::StepSkipped { step: at.path.clone() });
                Some(false)
            }
            Err(error) => {
                let text = format!("`when` cannot be told: {} is not known", missing(&error));
                self.fail_unstarted(run, at, Failure::new(ErrorKind::Invalid, text));
                Some(false)
            }
        }
    }

    /// A failure before anything was started.
    pub(super) fn fail_unstarted(&mut self, run: &Run, at: &At<'_>, failure: Failure) {
        let event = RunEvent::StepFailed { step: at.path.clone(), failure, last: true };
        self.record(run.id, event);
    }

    /// A result without an effect of its own.
    pub(super) fn done(&mut self, run: &Run, at: &At<'_>, output: &Value) {
        let event = RunEvent::StepDone {
            step: at.path.clone(),
            output: output.to_json(),
            changed: false,
            released: None,
            built: None,
        };
        self.record(run.id, event);
    }

    /// Fills the arguments in, and has what stands there read.
    fn prepare(&mut self, run: &Run, at: &At<'_>, action: &ActionCall) -> Moved {
        let Some(filled) = self.fill(run, at, &action.args, &[]) else { return false };
        let args = match filled {
            Ok(args) => args,
            Err(error) => {
                let text = format!("{} is not known", missing(&error));
                self.fail_unstarted(run, at, Failure::new(ErrorKind::Invalid, text));
                return true;
            }
        };
        if let Err(wrong) = arguments::check_call(&action.action, &action.traits, &args, &run.plan)
        {
            self.fail_unstarted(run, at, Failure::new(ErrorKind::Invalid, wrong));
            return true;
        }
        let row = run.steps.get(&at.path);
        let mut call = self.make_call(run, action, args, row);
        if action.traits.chooses {
            self.add_observed(&mut call);
        }
        let place = Place::Step(at.path.clone());
        // a later try sees its own traces: the first reading counts
        let known = row.filter(|row| row.started).and_then(|row| Value::from_json(&row.before));
        if let Some(before) = known {
            let ready = UnderWay::Ready { call, before, since: self.now };
            self.cell.driving.under_way.insert(place, ready);
            return true;
        }
        self.ask(run.id, place, &call, Ask::Before, at.step.timeout);
        false
    }

    /// What stands there is known, or could not be read.
    pub(super) fn read(
        &mut self,
        run: RunId,
        place: Place,
        call: Call,
        result: Result<Value, Failure>,
    ) {
        match (result, place) {
            (Ok(before), place) => {
                let ready = UnderWay::Ready { call, before, since: self.now };
                self.cell.driving.under_way.insert(place, ready);
            }
            (Err(failure), Place::Step(step)) => self.failed_try(run, &step, failure, true),
            (Err(failure), Place::Entry(entry)) => self.failed_entry(run, &entry, failure, true),
        }
    }

    /// Writes `Started` down and has it done. Right before the point of no return everything is
    /// looked at once more, on evidence that is not older than what was just read.
    fn start(
        &mut self,
        run: &Run,
        at: &At<'_>,
        (call, before): (&Call, &Value),
        since: Time,
    ) -> Moved {
        let StepKind::Action(action) = &at.step.kind else { return false };
        let (place, mut begin_by) = (Place::Step(at.path.clone()), None);
        // a further try of what was started already is beyond asking: it only goes forward
        if at.step.irreversible && run.past_return.as_ref() != Some(&at.path) {
            let Some(look) = self.last_look(since) else { return false };
            if let Err(failure) = self.recheck(run, look.as_deref()) {
                self.cell.driving.under_way.remove(&place);
                self.fail_unstarted(run, at, failure);
                return true;
            }
            // the disk and its turn may take long: what was looked at must not grow old meanwhile
            begin_by = self.cell.driving.look.as_ref().map(|seen| seen.began.after(AGE_MAX));
        }
        let held = if action.traits.holds {
            let Some(held) = self.held_by(run, call) else { return false };
            held
        } else {
            None
        };
        let started = RunEvent::StepStarted {
            step: at.path.clone(),
            attempt: run.steps.get(&at.path).map_or(0, |row| row.attempts) + 1,
            args: args_json(call),
            before: before.to_json(),
            held,
            irreversible: at.step.irreversible,
        };
        self.record(run.id, started);
        let (key, what) = (CallKey { run: run.id, place }, Ask::Act(before.clone()));
        let (call, timeout) = (call.clone(), at.step.timeout);
        self.want(CallWanted { key, call, what, timeout, begin_by });
        true
    }

    /// Has a call asked; its answer comes in later.
    pub(super) fn ask(
        &mut self,
        run: RunId,
        place: Place,
        call: &Call,
        what: Ask,
        timeout: Duration,
    ) {
        let (key, call) = (CallKey { run, place }, call.clone());
        self.want(CallWanted { key, call, what, timeout, begin_by: None });
    }

    fn want(&mut self, wanted: CallWanted) {
        let under_way = match &wanted.what {
            Ask::Before => UnderWay::Reading(wanted.call.clone()),
            Ask::Act(_) => UnderWay::Acting,
            Ask::Probe(_) => UnderWay::Probing(wanted.call.clone()),
        };
        self.cell.driving.under_way.insert(wanted.key.place.clone(), under_way);
        self.effects.push(Effect::Call(Box::new(wanted)));
    }

    /// What was written down as started never began. An entry is done again in any case.
    pub(super) fn unbegun(&mut self, run: RunId, place: Place, why: String) {
        if let Place::Step(step) = place {
            self.record(run, RunEvent::StepDisproved { step, finding: why });
        }
    }

    /// What a call that acted came to. What could not be ended at its limit may go on: it is in doubt,
    /// and neither tried again nor taken back before somebody has looked.
    pub(super) fn acted(&mut self, run: RunId, place: &Place, result: Result<Done, Failure>) {
        match (place, result) {
            (Place::Step(step), Ok(done)) => {
                if let Some((traits, call)) = self.stored_call(run, place) {
                    let event = step_done(step.clone(), &traits, &call, &done);
                    self.record(run, event);
                }
            }
            (Place::Step(step), Err(failure)) if failure.still_running => {
                let (step, why) = (step.clone(), failure.message);
                self.record(run, RunEvent::StepDoubted { step, why });
            }
            (Place::Entry(entry), Err(failure)) if failure.still_running => {
                let (entry, why) = (entry.clone(), failure.message);
                self.record(run, RunEvent::EntryDoubted { entry, why });
            }
            (Place::Step(step), Err(failure)) => self.failed_try(run, step, failure, false),
            (Place::Entry(entry), Ok(done)) => self.entry_done(run, entry, &done),
            (Place::Entry(entry), Err(failure)) => self.failed_entry(run, entry, failure, false),
        }
    }

    /// A failed try; `last` where no other may follow.
    fn failed_try(&mut self, run: RunId, step: &Path, failure: Failure, unstarted: bool) {
        let Some(found) = self.cell.state.runs.get(&run) else { return };
        let Some(row_of) = found.plan.step(step) else { return };
        let row = found.steps.get(step);
        let next = row.map_or(1, StepRun::next_try);
        let tries = if unstarted { next } else { next - 1 };
        // on the way back nothing is tried again
        let last = found.unwind.is_some() || row_of.retry.is_last(tries, &failure);
        let event = RunEvent::StepFailed { step: step.clone(), failure, last };
        self.record(run, event);
    }

    /// A step that was started and has no result: ask reality, never repeat blindly.
    pub(super) fn resolve(&mut self, run: &Run, at: &At<'_>) -> Moved {
        let place = Place::Step(at.path.clone());
        if self.cell.driving.under_way.contains_key(&place) {
            return false;
        }
        let Some(row) = run.steps.get(&at.path) else { return false };
        let StepKind::Action(action) = &at.step.kind else {
            let finding = "it has no effect of its own".to_owned();
            let event = RunEvent::StepDisproved { step: at.path.clone(), finding };
            self.record(run.id, event);
            return true;
        };
        match action.traits.on_resume {
            OnResume::Rerun => {
                // it cleans up after itself: done again, or taken back as if it had been done
                let failure = if let Stage::Failed { failure, .. } = &row.stage {
                    failure.clone() // asked about on the way back: why it failed is known
                } else {
                    let text = "it was cut off before its result was known";
                    Failure::new(ErrorKind::Other, text)
                };
                let last = run.unwind.is_some();
                let event = RunEvent::StepFailed { step: at.path.clone(), failure, last };
                self.record(run.id, event);
                true
            }
            OnResume::Park => {
                let why = "this action is never repeated by itself".to_owned();
                self.record(run.id, RunEvent::StepDoubted { step: at.path.clone(), why });
                true
            }
            OnResume::Probe => {
                let now = self.now;
                let waits = &mut self.cell.driving.waits;
                let wait = waits.entry(Wait::Probe(place.clone()));
                let next = wait.or_insert_with(|| Waiting::from(now)).next;
                if !self.is_time(next) {
                    return false;
                }
                let call = self.make_call(run, action, args_of(&row.args), Some(row));
                let before = Value::from_json(&row.before).unwrap_or(Value::Null);
                self.ask(run.id, place, &call, Ask::Probe(before), at.step.timeout);
                false
            }
        }
    }

    /// What reality says of a call in doubt.
    pub(super) fn probed(&mut self, run: RunId, place: &Place, call: &Call, probed: Probed) {
        let Place::Step(step) = place else {
            self.probed_entry(run, place, call, probed);
            return;
        };
        let Some(found) = self.cell.state.runs.get(&run).cloned() else { return };
        let event = match probed {
            Probed::Done(done) => {
                let Some((traits, call)) = self.stored_call(run, place) else { return };
                step_done(step.clone(), &traits, &call, &done)
            }
            Probed::NotDone { finding } => RunEvent::StepDisproved { step: step.clone(), finding },
            Probed::Unknown(why) if found.unwind.is_some() => {
                // on the way back what cannot be disproved is taken back
                let failure = Failure::new(ErrorKind::Other, why);
                RunEvent::StepFailed { step: step.clone(), failure, last: true }
            }
            Probed::Unknown(why) => match self.untold(&found, step, why) {
                Some(event) => event,
                None => return,
            },
        };
        self.cell.driving.waits.remove(&Wait::Probe(place.clone()));
        self.record(run, event);
    }

    /// What cannot be told yet is asked again until the step's limit: a host that just came up, or a
    /// cluster that has no leader at this moment, says more a little later.
    fn untold(&mut self, run: &Run, step: &Path, why: String) -> Option<RunEvent> {
        let is_forgiven = run.steps.get(step).is_some_and(StepRun::is_forgiven);
        if run.repeats(step) || (is_forgiven && run.starts_again(step)) {
            let failure = Failure::new(ErrorKind::Other, why);
            return Some(RunEvent::StepFailed { step: step.clone(), failure, last: false });
        }
        let (now, wait) = (self.now, Wait::Probe(Place::Step(step.clone())));
        let waiting = self.cell.driving.waits.entry(wait).or_insert_with(|| Waiting::from(now));
        waiting.next = now.after(POLL);
        let late = run.plan.step(step).is_none_or(|of| now >= waiting.began.after(of.timeout));
        late.then(|| RunEvent::StepDoubted { step: step.clone(), why })
    }

    /// The readings of the member a call is about to stop, mask or move, from before this run first
    /// touched it; nothing where the run holds it already. `None`: come again.
    #[expect(
        clippy::option_option,
        reason = "the outer one is about time, the inner about holding"
    )]
    fn held_by(
        &mut self,
        run: &Run,
        call: &Call,
    ) -> Option<Option<(MemberName, Box<MemberEvidence>)>> {
        let Some(member) = call.text("member").map(MemberName::from) else { return Some(None) };
        if run.held.contains_key(&member) {
            return Some(None);
        }
        let fresh = self.fresh();
        let look = self.look_since(run, fresh)?;
        let readings = look.and_then(|look| look.evidence.members.get(&member).cloned());
        Some(readings.map(|readings| (member, Box::new(readings))))
    }

    /// A call of the run.
    pub(super) fn make_call(
        &self,
        run: &Run,
        action: &ActionCall,
        args: BTreeMap<String, Value>,
        row: Option<&StepRun>,
    ) -> Call {
        let started = row.filter(|row| row.started).map(|row| row.started_at);
        let started_at = started.unwrap_or(self.now);
        Call { action: action.action.clone(), args, run: run.id, started_at }
    }

    /// The declarations and the journalled call of what is under way at a place.
    pub(super) fn stored_call(&self, run: RunId, place: &Place) -> Option<(ActionTraits, Call)> {
        let run = self.cell.state.runs.get(&run)?;
        let (action, row) = match place {
            Place::Step(step) => {
                let StepKind::Action(action) = &run.plan.step(step)?.kind else { return None };
                (action, run.steps.get(step)?)
            }
            Place::Entry(key) => (&entry_of(&run.plan, key)?.call, run.entries.get(key)?),
        };
        let call = self.make_call(run, action, args_of(&row.args), Some(row));
        Some((action.traits.clone(), call))
    }

    /// What the cell knows and the choice of a survivor needs: the last revision seen.
    fn add_observed(&self, call: &mut Call) {
        let mut fields = Vec::new();
        let known = self.cell.known();
        if let (Some(loss), Some(observed)) = (known.expect_loss(0, self.now), known.observed) {
            if let Some((at, revision)) = loss.last_seen {
                fields.push(("last_seen_revision", Value::Int(revision)));
                fields.push(("last_seen_at", Value::Time(at.0)));
            }
            // the survivor is not known yet: what may have been written after the last sighting
            let extra = loss.upper.map(|upper| upper.saturating_sub(loss.lower));
            let extra = extra.and_then(|n| i64::try_from(n).ok());
            fields.extend(extra.map(|n| ("loss_upper_extra", Value::Int(n))));
            let voters = observed.voters.voters().map(|(name, _)| Value::str(name.as_str()));
            fields.push(("voters", Value::list(voters.collect())));
            fields.push(("cluster_id", Value::str(observed.epoch.cluster_id.to_string())));
        }
        call.args.insert("observed".into(), Value::map(fields));
    }

    /// What was chosen in this run.
    pub(in crate::domain::cell) fn chosen(run: &Run) -> Option<Choice> {
        let chooses = |row: &&StepRun| row.output().is_some();
        let rows = run.steps.iter().filter(|(_, row)| chooses(row));
        let mut rows = rows.filter(|(path, _)| match run.plan.step(path).map(|step| &step.kind) {
            Some(StepKind::Action(action)) => action.traits.chooses,
            _ => false,
        });
        rows.find_map(|(_, row)| Choice::read(&Value::from_json(row.output()?)?))
    }
}

/// The entry of a plan.
pub(super) fn entry_of<'p>(plan: &'p Plan, key: &EntryKey) -> Option<&'p Entry> {
    let step = plan.step(&key.step)?;
    let entries = match key.list {
        List::Undo => &step.undo,
        List::Finally => &step.finally,
    };
    entries.get(key.index)
}

/// Arguments as they are journalled.
pub(super) fn args_json(call: &Call) -> Json {
    Value::map(call.args.iter().map(|(name, value)| (name.as_str(), value.clone()))).to_json()
}

/// Arguments as they were journalled.
pub(super) fn args_of(args: &Json) -> BTreeMap<String, Value> {
    let value = Value::from_json(args);
    let fields = value.as_ref().and_then(Value::as_map).into_iter().flatten();
    fields.map(|(name, value)| (name.to_string(), value.clone())).collect()
}

fn step_done(step: Path, traits: &ActionTraits, call: &Call, done: &Done) -> RunEvent {
    let built = done.output.get("cluster_id").filter(|_| traits.builds);
    RunEvent::StepDone {
        step,
        output: done.output.to_json(),
        changed: done.changed,
        released: released(traits, call),
        built: built.and_then(|id| EtcdId::parse(id.as_str()?)),
    }
}

/// The member whose hold a successful call ends.
pub(super) fn released(traits: &ActionTraits, call: &Call) -> Option<MemberName> {
    call.text("member").filter(|_| traits.releases).map(MemberName::from)
}
