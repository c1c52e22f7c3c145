//! Entries of `undo` and `finally`: best effort, each with its own fresh limit, each written down.

use std::time::Duration;

use super::{
    Draft, Moved, UnderWay,
    step::{args_json, entry_of, released},
};
use crate::domain::{
    base::id::RunId,
    cell::{
        effect::{Ask, Place},
        variables::missing,
    },
    rules::{
        action::{Call, Done, Failure, OnResume, Probed},
        expr::Value,
        playbook::{arguments, model::Entry},
    },
    run::{
        event::{EntryKey, RunEvent},
        state::{Run, Stage, StepRun},
        todo::At,
    },
};

impl Draft {
    /// One entry, as far as it can be done now: `when`, arguments, what stands there, effect.
    pub(super) fn entry(&mut self, run: &Run, key: EntryKey, at: &At<'_>, entry: &Entry) -> Moved {
        let place = Place::Entry(key.clone());
        match self.cell.driving.under_way.get(&place).cloned() {
            Some(UnderWay::Ready { call, before, .. }) => {
                let started = RunEvent::EntryStarted {
                    attempt: run.entries.get(&key).map_or(0, |row| row.attempts) + 1,
                    entry: key,
                    args: args_json(&call),
                    before: before.to_json(),
                };
                self.record(run.id, started);
                self.ask(run.id, place, &call, Ask::Act(before), entry.timeout);
                return true;
            }
            Some(UnderWay::Reading(_) | UnderWay::Acting | UnderWay::Probing(_)) => return false,
            None => {}
        }
        let itself = itself(run, at);
        if let Some(when) = &entry.when {
            match self.is_needed(run, at, &place, (when, &itself), entry.timeout) {
                None => return false,
                Some(Ok(true)) => {}
                Some(Ok(false)) => {
                    let why = "`when` is false".to_owned();
                    self.record(run.id, RunEvent::EntrySkipped { entry: key, why });
                    return true;
                }
                Some(Err(unknown)) => {
                    self.doubt(run, key, unknown.message);
                    return true;
                }
            }
        }
        let Some(filled) = self.fill(run, at, &entry.call.args, &[("self", itself)]) else {
            return false;
        };
        let args = match filled {
            Ok(args) => args,
            Err(error) => {
                self.doubt(run, key, format!("{} is not known", missing(&error)));
                return true;
            }
        };
        let (action, traits) = (&entry.call.action, &entry.call.traits);
        if let Err(wrong) = arguments::check_call(action, traits, &args, &run.plan) {
            self.doubt(run, key, wrong);
            return true;
        }
        let call = self.make_call(run, &entry.call, args, run.entries.get(&key));
        self.ask(run.id, place, &call, Ask::Before, entry.timeout);
        false
    }

    /// An entry that was started and has no result: done again, unless reality says that it took
    /// effect.
    pub(super) fn resolve_entry(
        &mut self,
        run: &Run,
        key: EntryKey,
        at: &At<'_>,
        entry: &Entry,
    ) -> Moved {
        let place = Place::Entry(key.clone());
        if self.cell.driving.under_way.contains_key(&place) {
            return self.is_ready(&place) && self.entry(run, key, at, entry);
        }
        if entry.call.traits.on_resume != OnResume::Probe {
            return self.entry(run, key, at, entry);
        }
        let Some(row) = run.entries.get(&key) else { return false };
        let Some((_, call)) = self.stored_call(run.id, &place) else { return false };
        let before = Value::from_json(&row.before).unwrap_or(Value::Null);
        self.ask(run.id, place, &call, Ask::Probe(before), entry.timeout);
        false
    }

    fn is_ready(&self, place: &Place) -> bool {
        matches!(self.cell.driving.under_way.get(place), Some(UnderWay::Ready { .. }))
    }

    /// What reality says of an entry in doubt: entries can be done again, so all but a positive
    /// answer means that.
    pub(super) fn probed_entry(&mut self, run: RunId, place: &Place, call: &Call, probed: Probed) {
        let Place::Entry(key) = place else { return };
        match probed {
            Probed::Done(done) => self.entry_done(run, key, &done),
            Probed::NotDone { .. } | Probed::Unknown(_) => {
                let Some(timeout) = self.entry_timeout(run, key) else { return };
                self.ask(run, place.clone(), call, Ask::Before, timeout);
            }
        }
    }

    fn entry_timeout(&self, run: RunId, key: &EntryKey) -> Option<Duration> {
        Some(entry_of(&self.cell.state.runs.get(&run)?.plan, key)?.timeout)
    }

    pub(super) fn entry_done(&mut self, run: RunId, key: &EntryKey, done: &Done) {
        let stored = self.stored_call(run, &Place::Entry(key.clone()));
        let Some((traits, call)) = stored else { return };
        let released = released(&traits, &call);
        let event = RunEvent::EntryDone { entry: key.clone(), changed: done.changed, released };
        self.record(run, event);
    }

    /// A failed try of an entry; `last` where no other may follow.
    pub(super) fn failed_entry(
        &mut self,
        run: RunId,
        key: &EntryKey,
        failure: Failure,
        unstarted: bool,
    ) {
        let Some(found) = self.cell.state.runs.get(&run) else { return };
        let Some(entry) = entry_of(&found.plan, key) else { return };
        let next = found.entries.get(key).map_or(1, StepRun::next_try);
        let tries = if unstarted { next } else { next - 1 };
        let last = entry.retry.is_last(tries, &failure);
        let event = RunEvent::EntryFailed { entry: key.clone(), failure, last };
        self.record(run, event);
    }

    /// Nobody can tell whether or how the entry is to be done: it is not, and a person must look.
    fn doubt(&mut self, run: &Run, key: EntryKey, why: String) {
        self.record(run.id, RunEvent::EntryDoubted { entry: key, why });
    }
}

/// `self`: the output of the entry's own step, and whether it changed anything.
fn itself(run: &Run, at: &At<'_>) -> Value {
    let mut fields = Vec::new();
    if let Some(Stage::Done { output, changed }) = run.steps.get(&at.path).map(|row| &row.stage) {
        fields.extend(Value::from_json(output).map(|output| ("output", output)));
        fields.push(("changed", Value::Bool(*changed)));
    }
    Value::map(fields)
}
