//! Decides what to do about an incident, writes the decision down where it changed, and dispatches.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    Draft,
    effect::Note,
    guards,
    variables::{missing, response_bindings, signals},
};
use crate::domain::{
    base::{
        id::{IncidentId, RunId},
        time::Time,
    },
    incident::{
        Incident, IncidentEvent, Standing,
        decision::{Action, Decision, Reason},
        ledger::{Attempt, Subject},
    },
    journal::record::{AttemptRecord, Record},
    rules::{
        bindings::Bindings,
        expr::Value,
        playbook::model::Destroys,
        response::{Response, Rung},
    },
    run::{
        event::{Outcome, RunEvent, RunRecord},
        plan::Plan,
        state::{Run, Unwind},
    },
};

impl Draft {
    /// Decides about every open incident.
    pub(super) fn decide_all(&mut self) {
        for id in self.open_ids() {
            self.decide(id, None);
        }
    }

    /// Decides about the incidents whose wait is over. Where no look was taken since they opened,
    /// the one under way decides.
    pub(super) fn decide_due(&mut self) {
        let is_due = |incident: &&Incident| {
            let until = incident.standing.as_ref().and_then(|standing| standing.until);
            let is_seen = self.cell.streaks_of(incident.id).first_sample.is_some();
            until.is_some_and(|until| until <= self.now)
                && (is_seen || self.cell.sight.failed.is_some())
        };
        let due = self.cell.state.open_incidents().filter(is_due).map(|incident| incident.id);
        for id in due.collect::<Vec<_>>() {
            self.decide(id, None);
        }
    }

    /// Decides about one incident. `arrived`: when the alert came that asks for it.
    pub(super) fn decide(&mut self, id: IncidentId, arrived: Option<Time>) {
        let Some(incident) = self.incident(id) else { return };
        if incident.closed.is_some() || incident.is_repairing() {
            return;
        }
        let response = incident.subject.response.clone();
        let Some(response) = self.cell.response(response.as_str()).cloned() else { return };
        let (mut rung, mut decision) = self.decision_for(id, &response);
        if decision.reason == Some(Reason::NoPlaybook) && self.end_attempt(id) {
            // no further rung applies: the attempt is over, the next one begins at the first
            (rung, decision) = self.decision_for(id, &response);
        }
        let chosen = rung.filter(|_| decision.action == Action::Run);
        let planned = chosen.map(|(index, rung)| (index, self.plan(id, &response, &rung), rung));
        if let Some((_, Err(wrong), rung)) = &planned {
            decision = no_plan(rung, wrong);
        }
        if let Action::Wait(until) = decision.action {
            self.wake_at(until);
        }
        self.note_decision(id, &decision, arrived);
        if let Some((index, Ok(plan), rung)) = planned {
            self.dispatch(id, &response, (index, &rung), plan);
        }
    }

    /// The decision for an incident, with the rung it is about.
    pub(super) fn decision_for(
        &self,
        id: IncidentId,
        response: &Response,
    ) -> (Option<(usize, Rung)>, Decision) {
        guards::decision_for(&self.cell, id, response, self.now)
    }

    /// Writes a decision down where it changed.
    pub(super) fn note_decision(
        &mut self,
        id: IncidentId,
        decision: &Decision,
        arrived: Option<Time>,
    ) {
        let Some(incident) = self.incident(id) else { return };
        let reason = decision.reason.map(|reason| reason.label().to_owned());
        let same = incident.standing.as_ref().filter(|standing| {
            standing.action == decision.action.label() && standing.reason == reason
        });
        if same.is_some_and(|standing| !is_news(decision, standing, self.now)) {
            return;
        }
        if same.is_none() {
            let response = incident.subject.response.clone();
            let latency = latency(incident.standing.as_ref(), arrived, self.now);
            self.notes.extend(latency.map(Note::DecisionLatency));
            let skipped = decision.reason.map(|reason| Note::Skipped { response, reason });
            self.notes.extend(skipped);
        }
        let event = IncidentEvent::Decided {
            action: decision.action.label().into(),
            reason,
            text: decision.text.clone(),
            until: match decision.action {
                Action::Wait(until) => Some(until),
                Action::Run | Action::Skip | Action::Ask | Action::Escalate => None,
            },
        };
        self.write_incident(id, event);
    }

    /// The plan that a rung comes to; `Err` says why there is none.
    fn plan(&self, id: IncidentId, response: &Response, rung: &Rung) -> Result<Plan, String> {
        let incident = self.incident(id).ok_or("its incident is gone")?;
        let rules = &self.cell.setup.rules;
        let playbook = rules.playbooks.get(&rung.playbook).ok_or("it is not loaded")?;
        let subject = &incident.subject;
        let signals = signals(&self.cell, subject, response, self.now);
        let bindings = response_bindings(&self.cell, subject, &signals, self.now);
        let given = params(rung, &bindings)?;
        Plan::new(playbook, given, self.cell.inventory()).map_err(|wrong| wrong.join("; "))
    }

    /// Writes the plan down; the run begins in the same step.
    fn dispatch(
        &mut self,
        id: IncidentId,
        response: &Response,
        (index, rung): (usize, &Rung),
        plan: Plan,
    ) {
        let run = RunId(self.cell.ids.make(self.now));
        let playbook = rung.playbook.clone();
        self.write_incident(id, IncidentEvent::Dispatched { run, playbook, rung: index });
        let event = RunEvent::RunStarted {
            incident: Some(id),
            plan: Arc::new(plan),
            mode: self.cell.inventory().mode.into(),
            by: format!("response {}", response.name),
        };
        self.write(Record::Run(RunRecord { run, event }));
    }

    /// Ends an attempt whose next rung will not come: none applies, or the incident ends. `true`:
    /// there was one.
    pub(super) fn end_attempt(&mut self, id: IncidentId) -> bool {
        let incident = self.incident(id).filter(|incident| incident.rung > 0);
        let Some(incident) = incident else { return false };
        let Some((run, _, Some(outcome))) = incident.runs.last().cloned() else { return false };
        let Some(attempt) = self.attempt(&incident.subject, run, outcome) else { return false };
        self.write_incident(id, IncidentEvent::RungEnded { run, outcome, is_last: true });
        self.write(attempt);
        true
    }

    /// What else is written down when a run ends.
    pub(super) fn run_ended(&mut self, run: RunId, outcome: Outcome) {
        let Some(ended) = self.cell.state.runs.get(&run) else { return };
        let Some(incident) = ended.incident.and_then(|id| self.incident(id)) else { return };
        let response = self.cell.response(incident.subject.response.as_str());
        let has_next = response.is_some_and(|response| incident.rung < response.ladder.len());
        // what a person gave up does not go on by itself, nor what destroyed something
        let is_over =
            ended.unwind.as_ref().is_some_and(Unwind::is_given_up) || is_destructive(ended);
        let is_last = is_over || !has_next || !matches!(outcome, Outcome::Failed | Outcome::Undone);
        let (id, subject) = (incident.id, incident.subject.clone());
        let attempt = if is_last { self.attempt(&subject, run, outcome) } else { None };
        self.write_incident(id, IncidentEvent::RungEnded { run, outcome, is_last });
        if let Some(attempt) = attempt {
            self.write(attempt);
        }
    }

    /// One attempt of a subject, by its last run.
    fn attempt(&self, subject: &Subject, run: RunId, outcome: Outcome) -> Option<Record> {
        let run = self.cell.state.runs.get(&run)?;
        let attempt = Attempt {
            run: run.id,
            playbook: run.plan.playbook.clone(),
            outcome,
            at: self.now,
            approved: run.approval.is_some(),
            destructive: is_destructive(run),
            // nobody's silence uses the limit up either; backoff spaces the questions
            denied: run.ask.is_some() && run.approval.is_none(),
        };
        Some(Record::AttemptEnded(AttemptRecord { subject: subject.clone(), attempt }))
    }
}

/// Whether a run destroyed data, or may have.
pub(super) fn is_destructive(run: &Run) -> bool {
    run.plan.destroys == Destroys::Data && run.past_return.is_some()
}

/// From the alert's arrival, or from the end of the wait that stood.
fn latency(
    before: Option<&Standing>,
    arrived: Option<Time>,
    now: Time,
) -> Option<std::time::Duration> {
    let since = arrived.or_else(|| before.and_then(|standing| standing.until));
    since.map(|since| now.since(since))
}

/// A playbook that cannot be fixed to this cluster is as good as none: it is counted, and told.
fn no_plan(rung: &Rung, wrong: &str) -> Decision {
    let text = format!(
        "playbook {} cannot be planned for this incident: {wrong}; correct `with` of the ladder",
        rung.playbook
    );
    Decision { action: Action::Escalate, reason: Some(Reason::NoPlaybook), text }
}

/// Whether a decision that stands for the same reason rests on another verdict, or waits for another
/// time than one that is over: what people read must not name the old one.
fn is_news(decision: &Decision, before: &Standing, now: Time) -> bool {
    let verdict = |text: &str| text.split([':', ';']).next().map(str::to_owned);
    let is_over = before.until.is_some_and(|until| until <= now);
    match decision.action {
        Action::Wait(until) => is_over && until > now,
        Action::Run | Action::Skip | Action::Ask | Action::Escalate => {
            matches!(decision.reason, Some(Reason::NotConfirmed | Reason::Unknown))
                && verdict(&decision.text) != verdict(&before.text)
        }
    }
}

/// The parameters a rung gives its playbook.
fn params(rung: &Rung, bindings: &Bindings) -> Result<BTreeMap<String, Value>, String> {
    let filled = rung.with.iter().map(|(name, arg)| {
        let value = arg.fill(bindings);
        let value = value.map_err(|error| format!("`{name}`: {} is not known", missing(&error)));
        Ok((name.clone(), value?))
    });
    filled.collect()
}
