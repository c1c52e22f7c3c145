//! Steps: `when`, arguments, guards at the point of no return, effect, result.

use std::{collections::BTreeMap, time::Duration};

use serde_json::Value as Json;
use tokio::time::Instant;

use super::{Halt, Runner, Turn, readings::AGE_MAX};
use crate::{
    domain::{
        base::id::{EtcdId, MemberName},
        etcd::evidence::MemberEvidence,
        rules::{
            action::{ActionSpec, Call, Done, ErrorKind, Failure, OnResume, Probed},
            expr::{Expr, Template, Value},
            playbook::{
                arguments,
                model::{ActionCall, Playbook, StepKind},
            },
        },
        run::{
            apply::{Run, StepRun},
            event::RunEvent,
            next::At,
            plan::Plan,
        },
    },
    engine::variables::missing,
};

/// Between two reads of what is not known yet.
pub(super) const EXPECT_POLL: Duration = Duration::from_millis(500);

impl Runner {
    /// Begins (or tries again) a step.
    pub(super) async fn start(&mut self, run: &Run, playbook: &Playbook, at: At<'_>) -> Turn {
        let first = run.steps.get(&at.path).is_none_or(|row| row.attempts == 0);
        if first && !self.is_wanted(run, playbook, &at).await? {
            return Ok(());
        }
        match &at.step.kind {
            StepKind::Action(call) => self.act(run, playbook, &at, call).await,
            StepKind::Wait { until, hold, timeout, poll } => {
                self.wait(run, playbook, &at, until, [*hold, *timeout, *poll]).await
            }
            StepKind::Expect { that, message } => {
                self.expect(run, playbook, &at, that, message).await
            }
            StepKind::RecordLoss { survivor, rebuilt } => {
                self.record_loss(run, playbook, &at, survivor, rebuilt).await
            }
            StepKind::RecordNote(text) => {
                let note = self.text(run, playbook, &prefix(&at), &at.scope, text).await;
                let note = note.unwrap_or_else(|stop| Value::str(missing(&stop)));
                tracing::warn!(run.id = %run.id, step = %at.path, "{}", note.as_str().unwrap_or_default());
                self.done(run, &at, Value::map([("note", note)])).await
            }
            StepKind::Approve(show) => self.approve(run, playbook, &at, show).await,
            StepKind::Foreach { .. } => Ok(()), // expanded, never started
        }
    }

    /// Evaluates `when`; `false`: journalled as skipped, or failed where it is unknown.
    async fn is_wanted(
        &mut self,
        run: &Run,
        playbook: &Playbook,
        at: &At<'_>,
    ) -> Result<bool, Halt> {
        let Some(when) = &at.step.when else { return Ok(true) };
        match self.truth(run, playbook, &prefix(at), &at.scope, when, AGE_MAX).await {
            Ok(true) => Ok(true),
            Ok(false) => {
                self.record(run, vec![RunEvent::StepSkipped { step: at.path.clone() }]).await?;
                Ok(false)
            }
            Err(stop) => {
                let message = format!("`when` cannot be told: {} is not known", missing(&stop));
                self.fail_unstarted(run, at, Failure::new(ErrorKind::Invalid, message)).await?;
                Ok(false)
            }
        }
    }

    /// A failure before anything was started.
    pub(super) async fn fail_unstarted(
        &mut self,
        run: &Run,
        at: &At<'_>,
        failure: Failure,
    ) -> Turn {
        let event = RunEvent::StepFailed { step: at.path.clone(), failure, last: true };
        self.record(run, vec![event]).await
    }

    /// A result without an effect of its own.
    pub(super) async fn done(&mut self, run: &Run, at: &At<'_>, output: Value) -> Turn {
        let event = RunEvent::StepDone {
            step: at.path.clone(),
            output: output.to_json(),
            changed: false,
            released: None,
            built: None,
        };
        self.record(run, vec![event]).await
    }

    async fn act(
        &mut self,
        run: &Run,
        playbook: &Playbook,
        at: &At<'_>,
        call: &ActionCall,
    ) -> Turn {
        let spec = self.spec(call.action);
        let filled = self.fill(run, playbook, &prefix(at), &at.scope, &call.args, &[]).await;
        let args = match filled {
            Ok(args) => args,
            Err(stop) => {
                let message = format!("{} is not known", missing(&stop));
                return self
                    .fail_unstarted(run, at, Failure::new(ErrorKind::Invalid, message))
                    .await;
            }
        };
        if let Err(wrong) = arguments::check_call(&spec, &args, &run.plan) {
            return self.fail_unstarted(run, at, Failure::new(ErrorKind::Invalid, wrong)).await;
        }
        // a further try of what was started already is beyond asking: it only goes forward
        if at.step.irreversible
            && run.past_return.as_ref() != Some(&at.path)
            && let Err(failure) = self.recheck(run, playbook).await
        {
            return self.fail_unstarted(run, at, failure).await;
        }
        let row = run.steps.get(&at.path);
        let mut call = self.call(&spec, args, row);
        self.inject(&mut call).await;
        self.perform(run, at, &spec, &call, row).await
    }

    /// Append, act, append.
    async fn perform(
        &mut self,
        run: &Run,
        at: &At<'_>,
        spec: &ActionSpec,
        call: &Call,
        row: Option<&StepRun>,
    ) -> Turn {
        let attempt = row.map_or(0, |row| row.attempts) + 1;
        let patient = self.context.patient.clone();
        let known =
            row.filter(|row| row.attempts > 0).and_then(|row| Value::from_json(&row.before));
        let before = match known {
            Some(before) => before, // a later try sees its own traces: the first reading counts
            None => match self.within(at.step.timeout, patient.before(call)).await {
                Ok(before) => before,
                Err(failure) => return self.failed_try(run, at, failure, attempt, true).await,
            },
        };
        let started = RunEvent::StepStarted {
            step: at.path.clone(),
            attempt,
            args: Value::map(call.args.iter().map(|(n, v)| (n.as_str(), v.clone()))).to_json(),
            before: before.to_json(),
            held: if spec.holds { self.held_by(run, call).await } else { None },
            irreversible: at.step.irreversible,
        };
        self.record(run, vec![started]).await?;
        tracing::info!(run.id = %run.id, step = %at.path, action = spec.name, attempt, "step started");
        let clock = Instant::now();
        let result = self.within(at.step.timeout, patient.act(call, &before)).await;
        self.readings.forget();
        match result {
            Ok(done) => {
                self.context.metrics.step(spec.name, "done", clock.elapsed());
                tracing::info!(run.id = %run.id, step = %at.path, changed = done.changed, "step done");
                self.report(vec![step_done(at, spec, call, &done)]).await
            }
            Err(failure) => {
                self.context.metrics.step(spec.name, "failed", clock.elapsed());
                self.failed_try(run, at, failure, attempt, false).await
            }
        }
    }

    /// Journals a failed try; `last` where no other try may follow.
    async fn failed_try(
        &mut self,
        run: &Run,
        at: &At<'_>,
        failure: Failure,
        attempt: u32,
        unstarted: bool,
    ) -> Turn {
        let retry = &at.step.retry;
        let again = retry.on.is_empty() || retry.on.contains(&failure.kind);
        let forgiven = run.steps.get(&at.path).map_or(0, |row| row.forgiven);
        let last = unstarted || !again || attempt - forgiven >= retry.attempts;
        if last {
            tracing::warn!(run.id = %run.id, step = %at.path, kind = failure.kind.label(),
                "step failed: {}", failure.message);
        }
        self.report(vec![RunEvent::StepFailed { step: at.path.clone(), failure, last }]).await
    }

    /// A step that was started and has no result: ask reality, never repeat blindly.
    pub(super) async fn resolve(&mut self, run: &Run, playbook: &Playbook, at: At<'_>) -> Turn {
        let StepKind::Action(action) = &at.step.kind else {
            return self.record(run, vec![RunEvent::StepDisproved { step: at.path.clone() }]).await;
        };
        let Some(row) = run.steps.get(&at.path) else { return Ok(()) };
        let spec = self.spec(action.action);
        let call = self.call(&spec, args_of(&row.args), Some(row));
        let before = Value::from_json(&row.before).unwrap_or(Value::Null);
        let patient = self.context.patient.clone();
        let probed = match spec.on_resume {
            OnResume::Rerun => return self.again(run, &at).await,
            OnResume::Park => Probed::Unknown("this action is never repeated by itself".into()),
            OnResume::Probe => {
                let asked =
                    self.within(at.step.timeout, async { Ok(patient.probe(&call, &before).await) });
                asked.await.unwrap_or_else(|failure| Probed::Unknown(failure.message))
            }
        };
        self.readings.forget();
        match probed {
            Probed::Done(done) => {
                tracing::info!(run.id = %run.id, step = %at.path, "step was in doubt; it had taken effect");
                self.report(vec![step_done(&at, &spec, &call, &done)]).await
            }
            Probed::NotDone { finding } => {
                tracing::info!(run.id = %run.id, step = %at.path, "step was in doubt; it had not taken effect: {finding}");
                self.record(run, vec![RunEvent::StepDisproved { step: at.path.clone() }]).await
            }
            Probed::Unknown(why) if run.unwind.is_some() => {
                // on the way back what cannot be disproved is taken back
                let failure = Failure::new(ErrorKind::Other, why);
                let event = RunEvent::StepFailed { step: at.path.clone(), failure, last: true };
                self.record(run, vec![event]).await
            }
            Probed::Unknown(why) => {
                let why = format!(
                    "step {} was started and nobody knows whether it took effect: {why}",
                    at.path
                );
                self.park(run, playbook, &why).await
            }
        }
    }

    /// An action that cleans up after itself is not asked for: it is done again, or taken back as
    /// if it had been done. What it finds then may be its own traces (`StepRun::in_doubt`).
    async fn again(&mut self, run: &Run, at: &At<'_>) -> Turn {
        let failure = Failure::new(ErrorKind::Other, "it was cut off before its result was known");
        let last = run.unwind.is_some();
        let event = RunEvent::StepFailed { step: at.path.clone(), failure, last };
        self.record(run, vec![event]).await
    }

    pub(super) async fn expand(&mut self, run: &Run, playbook: &Playbook, at: At<'_>) -> Turn {
        let StepKind::Foreach { items, .. } = &at.step.kind else { return Ok(()) };
        if !self.is_wanted(run, playbook, &at).await? {
            return Ok(());
        }
        let source = items.source().to_owned();
        let roots = self.roots(run, playbook, &prefix(&at), &at.scope, &source, AGE_MAX).await;
        match items.eval(&roots) {
            Ok(value) => {
                let names = value.as_list().into_iter().flatten().filter_map(Value::as_str);
                let items = in_order(names.map(str::to_owned).collect(), &run.plan);
                self.record(run, vec![RunEvent::ForeachStarted { step: at.path, items }]).await
            }
            Err(stop) => {
                let message = format!("`in` cannot be told: {} is not known", missing(&stop));
                self.fail_unstarted(run, &at, Failure::new(ErrorKind::Invalid, message)).await
            }
        }
    }

    pub(super) async fn until(
        &mut self,
        run: &Run,
        playbook: &Playbook,
        at: At<'_>,
        until: &Expr,
        item: String,
    ) -> Turn {
        if self.truth(run, playbook, &prefix(&at), &at.scope, until, AGE_MAX).await == Ok(true) {
            let event = RunEvent::ForeachStopped { step: at.path, item };
            return self.record(run, vec![event]).await;
        }
        self.checked_until = Some(format!("{}[{item}].", at.path));
        Ok(())
    }

    async fn wait(
        &mut self,
        run: &Run,
        playbook: &Playbook,
        at: &At<'_>,
        until: &Expr,
        [hold, timeout, poll]: [Duration; 3],
    ) -> Turn {
        let began = Instant::now();
        let mut since: Option<Instant> = None;
        let mut missed = String::new();
        loop {
            match self.truth(run, playbook, &prefix(at), &at.scope, until, Duration::ZERO).await {
                Ok(true) => {
                    let since = *since.get_or_insert_with(Instant::now);
                    if since.elapsed() >= hold {
                        return self.done(run, at, Value::map([] as [(&str, Value); 0])).await;
                    }
                }
                Ok(false) => (since, missed) = (None, "it is false".to_owned()),
                Err(stop) => (since, missed) = (None, format!("{} is not known", missing(&stop))),
            }
            if began.elapsed() >= timeout {
                let message = format!("did not come true in time ({missed}): {}", until.source());
                return self
                    .fail_unstarted(run, at, Failure::new(ErrorKind::Timeout, message))
                    .await;
            }
            if !self.pause_until(self.now().after(poll)).await {
                return Err(Halt::Again);
            }
        }
    }

    async fn expect(
        &mut self,
        run: &Run,
        playbook: &Playbook,
        at: &At<'_>,
        that: &Expr,
        message: &Template,
    ) -> Turn {
        let began = Instant::now();
        loop {
            let missed = match self
                .truth(run, playbook, &prefix(at), &at.scope, that, Duration::ZERO)
                .await
            {
                Ok(true) => return self.done(run, at, Value::map([] as [(&str, Value); 0])).await,
                Ok(false) => {
                    let text = self.text(run, playbook, &prefix(at), &at.scope, message).await;
                    let text = text.ok().and_then(|text| text.as_str().map(str::to_owned));
                    let text = text.unwrap_or_else(|| format!("does not hold: {}", that.source()));
                    return self
                        .fail_unstarted(run, at, Failure::new(ErrorKind::RefusedByGuard, text))
                        .await;
                }
                Err(stop) => missing(&stop),
            };
            if began.elapsed() >= at.step.timeout {
                let message = format!("{missed} is not known: {}", that.source());
                return self
                    .fail_unstarted(run, at, Failure::new(ErrorKind::Timeout, message))
                    .await;
            }
            if !self.pause_until(self.now().after(EXPECT_POLL)).await {
                return Err(Halt::Again);
            }
        }
    }

    /// The readings of the member a call is about to stop, mask or move, from before this run first
    /// touched it; nothing where the run holds it already.
    async fn held_by(
        &mut self,
        run: &Run,
        call: &Call,
    ) -> Option<(MemberName, Box<MemberEvidence>)> {
        let member = MemberName::from(call.text("member")?);
        if run.held.contains_key(&member) {
            return None;
        }
        let look = self.look(run, AGE_MAX).await?;
        let readings = look.evidence.members.get(&member)?.clone();
        Some((member, Box::new(readings)))
    }

    pub(super) fn spec(&self, action: &str) -> ActionSpec {
        let found = self.context.settings.catalogue.get(action);
        found.expect("the playbook was checked against this catalogue").clone()
    }

    pub(super) fn call(
        &self,
        spec: &ActionSpec,
        args: BTreeMap<String, Value>,
        row: Option<&StepRun>,
    ) -> Call {
        let started_at =
            row.filter(|row| row.attempts > 0).map_or_else(|| self.now(), |row| row.started_at);
        Call { action: spec.name.to_owned(), args, run: self.context.run, started_at }
    }

    /// An effect under its time limit. What is cut off may still have taken effect: the kind says so.
    pub(super) async fn within<T>(
        &self,
        limit: Duration,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        if let Ok(result) = tokio::time::timeout(limit, work).await {
            result
        } else {
            let limit = crate::domain::base::time::format_duration(limit);
            Err(Failure::new(ErrorKind::Timeout, format!("no result within {limit}")))
        }
    }
}

/// The prefix of a step's siblings.
pub(super) fn prefix(at: &At<'_>) -> String {
    at.path.strip_suffix(at.step.name.as_str()).unwrap_or("").to_owned()
}

/// Arguments as they were journalled.
pub(super) fn args_of(args: &Json) -> BTreeMap<String, Value> {
    let value = Value::from_json(args);
    let fields = value.as_ref().and_then(Value::as_map).into_iter().flatten();
    fields.map(|(name, value)| (name.to_string(), value.clone())).collect()
}

fn step_done(at: &At<'_>, spec: &ActionSpec, call: &Call, done: &Done) -> RunEvent {
    RunEvent::StepDone {
        step: at.path.clone(),
        output: done.output.to_json(),
        changed: done.changed,
        released: released(spec, call),
        built: done
            .output
            .get("cluster_id")
            .filter(|_| spec.builds)
            .and_then(|id| EtcdId::parse(id.as_str()?)),
    }
}

/// The member whose hold a successful call ends.
pub(super) fn released(spec: &ActionSpec, call: &Call) -> Option<MemberName> {
    call.text("member").filter(|_| spec.releases).map(MemberName::from)
}

/// Items in the order of the inventory, names it does not know sorted behind; each once.
fn in_order(mut items: Vec<String>, plan: &Plan) -> Vec<String> {
    items.sort();
    items.dedup();
    let place = |item: &String| plan.members.iter().position(|name| name.as_str() == item);
    items.sort_by_key(|item| place(item).unwrap_or(usize::MAX));
    items
}
