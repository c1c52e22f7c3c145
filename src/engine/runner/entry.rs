//! Entries of `undo` and `finally`: best effort, each with its own fresh limit, each journalled.

use std::time::Duration;

use tokio::time::Instant;

use super::{
    Halt, Runner, Turn,
    step::{EXPECT_POLL, args_of, released},
};
use crate::{
    domain::{
        rules::{
            action::{Call, Done, ErrorKind, Failure, OnResume, Probed},
            expr::{Expr, Value},
            playbook::{
                arguments,
                model::{ActionCall, Entry},
            },
        },
        run::{
            event::{EntryKey, List, RunEvent},
            next::At,
            state::{Run, Stage, StepRun},
        },
    },
    engine::variables::missing,
};

impl Runner {
    /// One entry: `when`, arguments, effect. `in_doubt`: it was started before, ask first.
    pub(super) async fn entry(
        &mut self,
        run: &Run,
        key: EntryKey,
        at: At<'_>,
        entry: &Entry,
        in_doubt: bool,
    ) -> Turn {
        let action = &entry.call;
        let row = run.entries.get(&key);
        if in_doubt && let Some(row) = row {
            let call = self.call(&action.action, args_of(&row.args), Some(row));
            let before = Value::from_json(&row.before).unwrap_or(Value::Null);
            if let Some(done) = self.took_effect(action, &call, &before, entry.timeout).await {
                return self.entry_done(key, action, &call, &done).await;
            }
        }
        let itself = itself(run, &at);
        if let Some(when) = &entry.when {
            match self.is_needed(run, &at, when, &itself, entry.timeout).await? {
                Ok(true) => {}
                Ok(false) => return self.entry_skipped(run, key, "`when` is false").await,
                Err(unknown) => return self.entry_doubted(run, key, unknown).await,
            }
        }
        let filled = self.fill(run, &at.scope(), &action.args, &[("self", itself.clone())]).await;
        let args = match filled {
            Ok(args) => args,
            // it had no effect, and so no output to clean up after
            Err(_) if has_no_effect(run, &at) && itself.get("output").is_none() => {
                return self.entry_skipped(run, key, "the step had no effect").await;
            }
            Err(stop) => {
                let why = format!("{} is not known, which {} needs", missing(&stop), action.action);
                return self.entry_doubted(run, key, why).await;
            }
        };
        if let Err(wrong) = arguments::check_call(&action.action, &action.traits, &args, &run.plan)
        {
            let failure = Failure::new(ErrorKind::Invalid, wrong);
            return self.entry_failed(key, failure, true).await;
        }
        let call = self.call(&action.action, args, row);
        self.perform_entry(run, key, entry, &call).await
    }

    /// Whether an entry is needed; what is not known is read again until the entry's limit.
    async fn is_needed(
        &mut self,
        run: &Run,
        at: &At<'_>,
        when: &Expr,
        itself: &Value,
        limit: Duration,
    ) -> Result<Result<bool, String>, Halt> {
        let (began, source) = (Instant::now(), when.source().to_owned());
        loop {
            let mut roots = self.roots(run, &at.scope(), &source, Duration::ZERO).await;
            roots.values.insert("self".into(), itself.clone());
            let unknown = match when.truth(&roots) {
                Ok(needed) => return Ok(Ok(needed)),
                Err(stop) => missing(&stop),
            };
            if began.elapsed() >= limit {
                return Ok(Err(format!("whether it is needed is not known ({unknown}): {source}")));
            }
            if !self.pause_until(self.now().after(EXPECT_POLL)).await {
                return Err(Halt::Again);
            }
        }
    }

    /// One try: append, act, append. What fails before it is started is a try, too.
    async fn perform_entry(
        &mut self,
        run: &Run,
        key: EntryKey,
        entry: &Entry,
        call: &Call,
    ) -> Turn {
        let patient = self.context.patient.clone();
        let row = run.entries.get(&key);
        let tries = row.map_or(1, StepRun::next_try);
        let before = match self.within(entry.timeout, patient.before(call)).await {
            Ok(before) => before,
            Err(failure) => {
                let last = entry.retry.is_last(tries, &failure);
                return self.entry_failed(key, failure, last).await;
            }
        };
        let started = RunEvent::EntryStarted {
            entry: key.clone(),
            attempt: row.map_or(0, |row| row.attempts) + 1,
            args: Value::map(call.args.iter().map(|(n, v)| (n.as_str(), v.clone()))).to_json(),
            before: before.to_json(),
        };
        self.record(run, vec![started]).await?;
        tracing::info!(run.id = %run.id, step = %key.step, action = call.action, "entry started");
        let result = self.within(entry.timeout, patient.act(call, &before)).await;
        self.readings.forget();
        match result {
            Ok(done) => self.entry_done(key, &entry.call, call, &done).await,
            Err(failure) => {
                let last = entry.retry.is_last(tries, &failure);
                self.entry_failed(key, failure, last).await
            }
        }
    }

    /// Whether an entry that was started took effect; `None`: not, or not to be told: do it again.
    async fn took_effect(
        &mut self,
        action: &ActionCall,
        call: &Call,
        before: &Value,
        limit: Duration,
    ) -> Option<Done> {
        if action.traits.on_resume != OnResume::Probe {
            return None;
        }
        let patient = self.context.patient.clone();
        let asked = self.within(limit, async { Ok(patient.probe(call, before).await) });
        match asked.await {
            Ok(Probed::Done(done)) => Some(done),
            Ok(Probed::NotDone { .. } | Probed::Unknown(_)) | Err(_) => None,
        }
    }

    async fn entry_done(
        &mut self,
        key: EntryKey,
        action: &ActionCall,
        call: &Call,
        done: &Done,
    ) -> Turn {
        if key.list == List::Undo {
            self.context.metrics.undo("undone");
        }
        let released = released(action, call);
        self.report(vec![RunEvent::EntryDone { entry: key, changed: done.changed, released }]).await
    }

    async fn entry_skipped(&mut self, run: &Run, key: EntryKey, why: &str) -> Turn {
        self.record(run, vec![RunEvent::EntrySkipped { entry: key, why: why.to_owned() }]).await
    }

    /// Journals a failed try; after the last one the rest of its list is left out.
    async fn entry_failed(&mut self, key: EntryKey, failure: Failure, last: bool) -> Turn {
        if last {
            tracing::warn!(run.id = %self.context.run, step = %key.step,
                kind = failure.kind.label(), "cleaning up failed: {}", failure.message);
            self.not_undone(&key);
        }
        self.report(vec![RunEvent::EntryFailed { entry: key, failure, last }]).await
    }

    /// Nobody can tell whether the entry is needed, or with which arguments: it is not run.
    async fn entry_doubted(&mut self, run: &Run, key: EntryKey, why: String) -> Turn {
        tracing::warn!(run.id = %run.id, step = %key.step, "not cleaned up: {why}");
        self.not_undone(&key);
        self.record(run, vec![RunEvent::EntryDoubted { entry: key, why }]).await
    }

    fn not_undone(&self, key: &EntryKey) {
        if key.list == List::Undo {
            self.context.metrics.undo("undo_failed");
        }
    }
}

/// Whether it was shown that the step never took effect.
fn has_no_effect(run: &Run, at: &At<'_>) -> bool {
    run.steps.get(&at.path).is_some_and(|row| row.stage == Stage::Disproved)
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
