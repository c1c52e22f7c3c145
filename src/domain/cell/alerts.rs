//! Alerts come in: filed under their subjects, and the incidents they call for are opened.
//!
//! What was filed is looked at again at every look, not only when an alert arrives: a `when` may
//! become true with time, and an alert that was durable before a crash opens its incident after it.

use std::sync::Arc;

use super::{
    Draft,
    effect::Note,
    variables::{response_bindings, signals},
};
use crate::domain::{
    alert::{Alert, labels::Labels},
    base::{
        id::{IncidentId, ResponseName},
        time::Time,
    },
    incident::{
        IncidentEvent, IncidentRecord,
        bounds::{INCIDENTS_MAX, SUBJECTS_MAX, is_bounded},
        ledger::Subject,
    },
    journal::record::Record,
};

impl Draft {
    pub(super) fn take_alerts(&mut self, alerts: &[Arc<Alert>], forgotten: &[i64], arrived: Time) {
        self.cell.signals.remove(forgotten);
        let mut touched = Vec::new();
        for alert in alerts {
            let subjects = self.file(alert);
            touched.extend(subjects.into_iter().filter(|_| alert.firing));
        }
        touched.sort();
        touched.dedup();
        for subject in touched {
            self.maybe_open(&subject, Some(arrived));
        }
    }

    /// Files one alert under its subjects; forgets what is over where there is no room.
    fn file(&mut self, alert: &Arc<Alert>) -> Vec<Subject> {
        let (setup, now) = (self.cell.setup.clone(), self.now);
        let (name, responses) = (&setup.cluster.name, &setup.rules.responses);
        let mut filed = self.cell.signals.observe(name, responses, alert, now);
        if !filed.refused.is_empty() && self.cell.signals.is_forget_due(now) {
            self.forget_alerts();
            filed = self.cell.signals.observe(name, responses, alert, now);
        }
        for subject in filed.refused {
            let is_first = self.cell.subjects_limit.refuse(&subject.response);
            let alert = alert.labels.clone();
            self.notes.push(Note::SubjectRefused { subject, alert, is_first });
        }
        filed.touched
    }

    /// Forgets subjects whose alerts are over, and says where there is room again.
    pub(super) fn forget_alerts(&mut self) {
        let setup = self.cell.setup.clone();
        self.cell.signals.forget(&setup.rules.responses, self.now);
        let full: Vec<ResponseName> = self.cell.subjects_limit.full().cloned().collect();
        for response in full {
            let held = self.cell.signals.bounded(&response);
            if self.cell.subjects_limit.has_room(&response, held, SUBJECTS_MAX) {
                self.notes.push(Note::Room { response, incidents: false, held });
            }
        }
    }

    /// Opens what is to be open and is not: what fires and was never answered by an incident, and
    /// what fires on and is contradicted by the last look.
    pub(super) fn open_due(&mut self) {
        let is_closed = |subject: &&Subject| self.cell.state.incident_of(subject).is_none();
        let subjects: Vec<Subject> =
            self.cell.signals.subjects().filter(is_closed).cloned().collect();
        for subject in subjects {
            self.maybe_open(&subject, None);
        }
    }

    /// Opens an incident where `when` holds, unless its alerts are the ones that the last incident
    /// answered and nothing says that the subject is ill again.
    fn maybe_open(&mut self, subject: &Subject, arrived: Option<Time>) {
        let Some(response) = self.cell.response(subject.response.as_str()).cloned() else { return };
        if self.cell.state.incident_of(subject).is_some() || self.cell.setup.is_retired {
            return;
        }
        let began = self.cell.signals.began(subject);
        let answered = self.cell.state.closed_at(subject);
        let is_answered = answered.is_some_and(|closed| began.is_none_or(|began| began <= closed));
        let is_ill = self.cell.is_well(&response, subject) == Some(false);
        if is_answered && !is_ill {
            return;
        }
        let signals = signals(&self.cell, subject, &response, self.now);
        let bindings = response_bindings(&self.cell, subject, &signals, self.now);
        if response.when.truth(&bindings) != Ok(true) {
            return;
        }
        if self.is_crowded(subject) {
            // counted once for each arrival, not for each look
            if arrived.is_some() {
                self.refuse_incident(subject);
            }
            return;
        }
        let first = signals.iter().find(|signal| signal.firing > 0);
        let alert = first.map(|signal| signal.labels.iter()).into_iter().flatten();
        let alert = Labels::new(alert);
        let incident = IncidentId(self.cell.ids.make(self.now));
        let event = IncidentEvent::IncidentOpened { subject: subject.clone(), alert };
        self.write(Record::Incident(IncidentRecord { incident, event }));
        self.look_soon();
        self.decide(incident, arrived);
    }

    /// Whether the response has too many open incidents for one more.
    fn is_crowded(&mut self, subject: &Subject) -> bool {
        if !is_bounded(subject) {
            return false;
        }
        let response = &subject.response;
        let open = self.cell.state.open_with_labels(response);
        if open < INCIDENTS_MAX && self.cell.incidents_limit.has_room(response, open, INCIDENTS_MAX)
        {
            let response = response.clone();
            self.notes.push(Note::Room { response, incidents: true, held: open });
        }
        open >= INCIDENTS_MAX
    }

    fn refuse_incident(&mut self, subject: &Subject) {
        let is_first = self.cell.incidents_limit.refuse(&subject.response);
        self.notes.push(Note::IncidentRefused { subject: subject.clone(), is_first });
    }
}
