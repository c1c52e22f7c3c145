//! Entries of `undo` and `finally`: best effort, each with its own fresh limit, each journalled.

use std::time::Duration;

use tokio::time::Instant;

use super::{
    Halt, Runner, Turn,
    step::{EXPECT_POLL, args_of, prefix, released},
};
use crate::{
    domain::{
        rules::{
            action::{ActionSpec, Call, Done, ErrorKind, Failure, OnResume, Probed},
            expr::{Expr, Value},
            playbook::{
                arguments,
                model::{Entry, Playbook},
            },
        },
        run::{
            apply::{Run, Stage},
            event::{EntryKey, List, Outcome, RunEvent},
            next::At,
        },
    },
    engine::variables::missing,
};

impl Runner {
    /// One entry: `when`, arguments, effect. `in_doubt`: it was started before, ask first.
    pub(super) async fn entry(
        &mut self,
        run: &Run,
        playbook: &Playbook,
        key: EntryKey,
        at: At<'_>,
        entry: &Entry,
        in_doubt: bool,
    ) -> Turn {
        let spec = self.spec(entry.call.action);
        let row = run.entries.get(&key);
        if in_doubt && let Some(row) = row {
            let call = self.call(&spec, args_of(&row.args), Some(row));
            let before = Value::from_json(&row.before).unwrap_or(Value::Null);
            if let Some(done) = self.took_effect(&spec, &call, &before, entry.timeout).await {
                return self.entry_done(key, &spec, &call, &done).await;
            }
        }
        let itself = itself(run, &at);
        let scope = &at.scope;
        if let Some(when) = &entry.when {
            match self.is_needed(run, playbook, &at, when, &itself, entry.timeout).await? {
                Ok(true) => {}
                Ok(false) => return self.entry_skipped(run, key, "`when` is false").await,
                Err(unknown) => return self.entry_unknown(playbook, key, unknown).await,
            }
        }
        let extra = [("self", itself)];
        let filled = self.fill(run, playbook, &prefix(&at), scope, &entry.call.args, &extra).await;
        let args = match filled {
            Ok(args) => args,
            // what the step would have told was never told: there is nothing to clean up after
            Err(_) if extra[0].1.get("output").is_none() && entry.when.is_none() => {
                return self
                    .entry_skipped(run, key, "the step gave no output to clean up after")
                    .await;
            }
            Err(stop) => {
                let failure =
                    Failure::new(ErrorKind::Invalid, format!("{} is not known", missing(&stop)));
                return self.entry_failed(run, playbook, key, failure).await;
            }
        };
        if let Err(wrong) = arguments::check_call(&spec, &args, &run.plan) {
            return self
                .entry_failed(run, playbook, key, Failure::new(ErrorKind::Invalid, wrong))
                .await;
        }
        let call = self.call(&spec, args, row);
        self.perform_entry(run, playbook, key, entry, &spec, &call).await
    }

    /// Whether an entry is needed; what is not known is read again until the entry's limit.
    async fn is_needed(
        &mut self,
        run: &Run,
        playbook: &Playbook,
        at: &At<'_>,
        when: &Expr,
        itself: &Value,
        limit: Duration,
    ) -> Result<Result<bool, Failure>, Halt> {
        let (began, source) = (Instant::now(), when.source().to_owned());
        loop {
            let mut roots =
                self.roots(run, playbook, &prefix(at), &at.scope, &source, Duration::ZERO).await;
            roots.values.insert("self".into(), itself.clone());
            let unknown = match when.truth(&roots) {
                Ok(needed) => return Ok(Ok(needed)),
                Err(stop) => missing(&stop),
            };
            if began.elapsed() >= limit {
                let why = format!("whether it is needed is not known ({unknown}): {source}");
                return Ok(Err(Failure::new(ErrorKind::Invalid, why)));
            }
            if !self.pause_until(self.now().after(EXPECT_POLL)).await {
                return Err(Halt::Again);
            }
        }
    }

    async fn perform_entry(
        &mut self,
        run: &Run,
        playbook: &Playbook,
        key: EntryKey,
        entry: &Entry,
        spec: &ActionSpec,
        call: &Call,
    ) -> Turn {
        let patient = self.context.patient.clone();
        let mut tries = 0;
        loop {
            tries += 1;
            let result = self.within(entry.timeout, patient.before(call)).await;
            let outcome = match result {
                Err(failure) => Err(failure),
                Ok(before) => {
                    let started = RunEvent::EntryStarted {
                        entry: key.clone(),
                        args: Value::map(call.args.iter().map(|(n, v)| (n.as_str(), v.clone())))
                            .to_json(),
                        before: before.to_json(),
                    };
                    self.report(vec![started]).await?;
                    tracing::info!(run.id = %run.id, step = %key.step, action = spec.name, "entry started");
                    self.within(entry.timeout, patient.act(call, &before)).await
                }
            };
            self.readings.forget();
            let failure = match outcome {
                Ok(done) => return self.entry_done(key, spec, call, &done).await,
                Err(failure) => failure,
            };
            let again = entry.retry.on.is_empty() || entry.retry.on.contains(&failure.kind);
            if !again || tries >= entry.retry.attempts {
                return self.entry_failed(run, playbook, key, failure).await;
            }
            if !self.pause_until(self.now().after(entry.retry.delay)).await {
                return Ok(());
            }
        }
    }

    /// Whether an entry that was started took effect; `None`: not, or not to be told: do it again.
    async fn took_effect(
        &mut self,
        spec: &ActionSpec,
        call: &Call,
        before: &Value,
        limit: Duration,
    ) -> Option<Done> {
        if spec.on_resume != OnResume::Probe {
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
        spec: &ActionSpec,
        call: &Call,
        done: &Done,
    ) -> Turn {
        if key.list == List::Undo {
            self.context.metrics.undo("undone");
        }
        let released = released(spec, call);
        self.report(vec![RunEvent::EntryDone { entry: key, changed: done.changed, released }]).await
    }

    async fn entry_skipped(&mut self, run: &Run, key: EntryKey, why: &str) -> Turn {
        self.record(run, vec![RunEvent::EntrySkipped { entry: key, why: why.to_owned() }]).await
    }

    /// A failed entry ends its list, never the others. After the point of no return, and where it
    /// is not known whether a finalizer is needed, a person must look.
    async fn entry_failed(
        &mut self,
        run: &Run,
        playbook: &Playbook,
        key: EntryKey,
        failure: Failure,
    ) -> Turn {
        tracing::warn!(run.id = %run.id, step = %key.step, kind = failure.kind.label(),
            "cleaning up failed: {}", failure.message);
        if key.list == List::Undo {
            self.context.metrics.undo("undo_failed");
        }
        let why = format!("cleaning up after step {} failed: {}", key.step, failure.message);
        self.report(vec![RunEvent::EntryFailed { entry: key.clone(), failure }]).await?;
        if key.list == List::Finally && run.unwind.is_none() {
            return self.park_as_it_is(playbook, &why).await;
        }
        Ok(())
    }

    /// Nobody can tell whether the entry is needed: it is not run, and a person must look. A run
    /// that was given up goes on to its end: somebody has looked already.
    async fn entry_unknown(&mut self, playbook: &Playbook, key: EntryKey, why: Failure) -> Turn {
        tracing::warn!(run.id = %self.context.run, step = %key.step, "not cleaned up: {}", why.message);
        if key.list == List::Undo {
            self.context.metrics.undo("undo_failed");
        }
        let text = format!("what step {} did is not taken back: {}", key.step, why.message);
        self.report(vec![RunEvent::EntryFailed { entry: key, failure: why }]).await?;
        self.park_as_it_is(playbook, &text).await
    }

    /// Parks the run as it stands by now, unless somebody gave it up.
    async fn park_as_it_is(&mut self, playbook: &Playbook, why: &str) -> Turn {
        let Some(run) = self.load().await else { return Ok(()) };
        let given_up = run.unwind.as_ref().is_some_and(|back| back.outcome == Outcome::Parked);
        if given_up { Ok(()) } else { self.park(&run, playbook, why).await }
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
