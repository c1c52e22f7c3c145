//! Samples of the last look: incidents are confirmed, contradicted, closed and opened again by them.

use super::{
    Draft,
    fault::domain_of,
    variables::{missing, response_bindings, signals},
};
use crate::domain::{
    base::{id::IncidentId, time::Time},
    incident::{Closed, IncidentEvent, IncidentRecord, decision::Reason, ledger::Subject},
    journal::record::Record,
    rules::response::Response,
};

impl Draft {
    /// Takes the last look as one sample of each open incident, then decides. The look was asked for
    /// at `began`.
    pub(super) fn sample(&mut self, began: Time) {
        self.cancel_if_back();
        self.open_due();
        for id in self.open_ids() {
            let Some(subject) = self.incident(id).map(|incident| incident.subject.clone()) else {
                continue;
            };
            let Some(response) = self.cell.response(subject.response.as_str()).cloned() else {
                continue;
            };
            let (confirms, healthy) = self.sample_of(&subject, &response);
            let mut streaks = self.cell.streaks_of(id);
            streaks.sample(confirms.ok(), healthy, self.now, &response.grace);
            self.cell.streaks.insert_mut(id, streaks);
            self.settle(id, &response);
        }
        self.look_again_for_incidents(began);
    }

    /// The ids of the open incidents.
    pub(super) fn open_ids(&self) -> Vec<IncidentId> {
        self.cell.state.open_incidents().map(|incident| incident.id).collect()
    }

    /// What the last look says about one subject: whether `confirm` holds (or what was missing),
    /// and whether the subject is well.
    fn sample_of(
        &self,
        subject: &Subject,
        response: &Response,
    ) -> (Result<bool, String>, Option<bool>) {
        let signals = signals(&self.cell, subject, response, self.now);
        let bindings = response_bindings(&self.cell, subject, &signals, self.now);
        let confirms = response.confirm.truth(&bindings).map_err(|error| missing(&error));
        (confirms, self.cell.is_well(response, subject))
    }

    /// Confirms, contradicts, decides or closes after a sample.
    fn settle(&mut self, id: IncidentId, response: &Response) {
        let Some(incident) = self.incident(id) else { return };
        let complete = self.cell.streaks_of(id).confirming.is_complete(self.now, &response.grace);
        let (verdict, text) = domain_of(response.about).verdict(&self.cell);
        if complete && incident.confirmed_at.is_none() {
            let event = IncidentEvent::IncidentConfirmed { verdict, text };
            self.write_incident(id, event);
        } else if !complete && incident.confirmed_at.is_some() && !incident.is_repairing() {
            self.write_incident(id, IncidentEvent::IncidentContradicted { verdict });
        }
        if !self.close_if_over(id, response) {
            self.decide(id, None);
        }
    }

    fn close_if_over(&mut self, id: IncidentId, response: &Response) -> bool {
        let Some(incident) = self.incident(id) else { return true };
        if incident.is_repairing() {
            return false;
        }
        let is_well = self.cell.streaks_of(id).healthy.is_complete(self.now, &response.grace);
        let has_no_signals = self.has_no_signals(&incident.subject, response);
        if !is_well && !has_no_signals {
            return false;
        }
        let outcome = if is_well { incident.outcome() } else { Closed::NotConfirmed };
        if !incident.was_confirmed {
            // The end of the grace is the end of the incident: why nothing was done is told before.
            let (_, decision) = self.decision_for(id, response);
            if decision.reason == Some(Reason::NotConfirmed) {
                self.note_decision(id, &decision, None);
            }
        }
        self.close(id, outcome, None);
        true
    }

    /// Closes an incident; an attempt that waited for a further rung is over with it.
    pub(super) fn close(&mut self, id: IncidentId, outcome: Closed, why: Option<String>) {
        self.end_attempt(id);
        self.write_incident(id, IncidentEvent::IncidentClosed { outcome, why });
        self.cell.streaks.remove_mut(&id);
    }

    /// Whether nothing speaks any more: no alert fires or is remembered, and nothing could ever say
    /// that the subject is well.
    fn has_no_signals(&self, subject: &Subject, response: &Response) -> bool {
        let signals = signals(&self.cell, subject, response, self.now);
        let silent = signals.iter().all(|s| s.firing + s.silenced + s.resolved == 0);
        silent && !domain_of(response.about).has_readings(&self.cell, subject)
    }

    /// Adds a record about an incident.
    pub(super) fn write_incident(&mut self, incident: IncidentId, event: IncidentEvent) {
        self.write(Record::Incident(IncidentRecord { incident, event }));
    }
}
