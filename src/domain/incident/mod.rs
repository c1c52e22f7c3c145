//! Incidents: the open set of correlated alerts for one subject and response.
//!
//! An incident is the fold of its records ([`Incident::apply`]); what lives in memory only is the
//! streak of samples, so that a restart of the responder is a gap like any other. Alerts open an
//! incident; only samples of the verdict confirm or close it.

pub mod bounds;
pub mod correlation;
pub mod decision;
pub mod grace;
pub mod guard;
pub mod ledger;
pub mod owners;
pub mod reason;

use serde::{Deserialize, Serialize};

use self::{grace::Streak, ledger::Subject};
use super::{
    alert::labels::Labels,
    base::{
        id::{IncidentId, PlaybookName, RunId},
        kinds,
        time::Time,
    },
    rules::response::Grace,
    run::event::Outcome,
};

/// How an incident ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Closed {
    /// A run repaired it.
    Recovered,
    /// It got well before anything was done, or while it was taken back.
    RecoveredByItself,
    /// It was never confirmed.
    NotConfirmed,
    /// Quorate could not help, and it got well by somebody's hand.
    Escalated,
    /// A person gave it up, or nothing could answer it any more.
    Abandoned,
}

impl Closed {
    /// Every outcome.
    pub const ALL: [Self; 5] = [
        Self::Recovered,
        Self::RecoveredByItself,
        Self::NotConfirmed,
        Self::Escalated,
        Self::Abandoned,
    ];

    /// The word in labels and JSON.
    pub fn label(self) -> &'static str {
        match self {
            Self::Recovered => "recovered",
            Self::RecoveredByItself => "recovered_by_itself",
            Self::NotConfirmed => "not_confirmed",
            Self::Escalated => "escalated",
            Self::Abandoned => "abandoned",
        }
    }
}

/// What can happen to an incident.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum IncidentEvent {
    /// An alert opened it.
    IncidentOpened {
        /// What it is about.
        subject: Subject,
        /// The alert that opened it.
        alert: Labels,
    },
    /// The verdict held for the whole grace.
    IncidentConfirmed {
        /// The verdict.
        verdict: String,
        /// What it rests on.
        text: String,
    },
    /// The verdict was contradicted after it had been confirmed.
    IncidentContradicted {
        /// The verdict now.
        verdict: String,
    },
    /// The decision changed.
    Decided {
        /// `run`, `wait`, `skip`, `ask` or `escalate`.
        action: String,
        /// Why not to act.
        reason: Option<String>,
        /// What a person reads.
        text: String,
        /// When it is decided anew, of `wait`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until: Option<Time>,
    },
    /// A playbook was dispatched.
    Dispatched {
        /// Its run.
        run: RunId,
        /// Its name.
        playbook: PlaybookName,
        /// Which rung of the ladder, from 0.
        rung: usize,
    },
    /// A dispatched run ended.
    RungEnded {
        /// The run.
        run: RunId,
        /// How.
        outcome: Outcome,
        /// Whether that was the attempt's last rung: the next attempt begins at the first.
        is_last: bool,
    },
    /// The end.
    IncidentClosed {
        /// How.
        outcome: Closed,
        /// Why, where the outcome alone does not say it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        why: Option<String>,
    },
}

kinds! { IncidentEvent {
    Self::IncidentOpened { .. } => "incident_opened",
    Self::IncidentConfirmed { .. } => "incident_confirmed",
    Self::IncidentContradicted { .. } => "incident_contradicted",
    Self::Decided { .. } => "decided",
    Self::Dispatched { .. } => "dispatched",
    Self::RungEnded { .. } => "rung_ended",
    Self::IncidentClosed { .. } => "incident_closed",
} }

/// A record about an incident, with the incident it is about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct IncidentRecord {
    /// The incident.
    pub incident: IncidentId,
    /// What happened.
    #[serde(flatten)]
    pub event: IncidentEvent,
}

/// A decision as it stands in the journal.
#[derive(Clone, Debug, PartialEq)]
pub struct Standing {
    /// `run`, `wait`, `skip`, `ask` or `escalate`.
    pub action: String,
    /// Why not to act.
    pub reason: Option<String>,
    /// What a person reads.
    pub text: String,
    /// When it is decided anew, of `wait`.
    pub until: Option<Time>,
    /// Since when.
    pub at: Time,
}

/// One incident.
#[derive(Clone, Debug, PartialEq)]
pub struct Incident {
    /// Its id.
    pub id: IncidentId,
    /// What it is about.
    pub subject: Subject,
    /// The alert that opened it.
    pub alert: Labels,
    /// When.
    pub opened_at: Time,
    /// When it was last confirmed, while it is.
    pub confirmed_at: Option<Time>,
    /// Whether it was ever confirmed.
    pub was_confirmed: bool,
    /// The decision in force.
    pub standing: Option<Standing>,
    /// The runs that answered it, oldest first.
    pub runs: Vec<(RunId, PlaybookName, Option<Outcome>)>,
    /// The rung that is next.
    pub rung: usize,
    /// The end.
    pub closed: Option<(Closed, Time)>,
    /// What happened, oldest first; bounded by [`TIMELINE_MAX`].
    pub timeline: Vec<(Time, String)>,
}

/// What the looks said of an incident's subject; in memory only, so that a restart of the responder
/// is a gap like any other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Streaks {
    /// Samples for which `confirm` held.
    pub confirming: Streak,
    /// Samples for which the verdict was healthy.
    pub healthy: Streak,
    /// Since when its verdict can be read: the first sample after a start.
    pub first_sample: Option<Time>,
}

impl Streaks {
    /// Takes a sample: whether `confirm` holds and whether the subject is healthy, each three-valued.
    pub fn sample(
        &mut self,
        confirms: Option<bool>,
        healthy: Option<bool>,
        now: Time,
        rule: &Grace,
    ) {
        self.first_sample.get_or_insert(now);
        self.confirming.sample(confirms, now, rule);
        self.healthy.sample(healthy, now, rule);
    }
}

/// Entries of a timeline; an incident that flaps for days does not grow without end.
pub const TIMELINE_MAX: usize = 200;

impl Incident {
    /// A new incident from its first record; `None` if that is none.
    pub fn open(id: IncidentId, event: &IncidentEvent, at: Time) -> Option<Self> {
        let IncidentEvent::IncidentOpened { subject, alert } = event else { return None };
        Some(Self {
            id,
            subject: subject.clone(),
            alert: alert.clone(),
            opened_at: at,
            confirmed_at: None,
            was_confirmed: false,
            standing: None,
            runs: Vec::new(),
            rung: 0,
            closed: None,
            timeline: vec![(at, format!("opened by {alert}"))],
        })
    }

    /// Folds one record in.
    pub fn apply(&mut self, event: &IncidentEvent, at: Time) {
        let line = match event {
            IncidentEvent::IncidentOpened { .. } => return,
            IncidentEvent::IncidentConfirmed { verdict, text } => {
                self.confirmed_at = Some(at);
                self.was_confirmed = true;
                format!("confirmed: {verdict}: {text}")
            }
            IncidentEvent::IncidentContradicted { verdict } => {
                self.confirmed_at = None;
                format!("no longer confirmed: {verdict}")
            }
            IncidentEvent::Decided { action, reason, text, until } => {
                let (action, reason) = (action.clone(), reason.clone());
                let line = match &reason {
                    Some(reason) => format!("{action} ({reason}): {text}"),
                    None => format!("{action}: {text}"),
                };
                let text = text.clone();
                self.standing = Some(Standing { action, reason, text, until: *until, at });
                line
            }
            IncidentEvent::Dispatched { run, playbook, rung } => {
                self.runs.push((*run, playbook.clone(), None));
                self.rung = rung + 1;
                format!("{run} started: {playbook}")
            }
            IncidentEvent::RungEnded { run, outcome, is_last } => {
                if *is_last {
                    self.rung = 0;
                }
                let hit = self.runs.iter_mut().filter(|(id, ..)| id == run);
                hit.for_each(|(.., ended)| *ended = Some(*outcome));
                format!("{run} {}", outcome.label())
            }
            IncidentEvent::IncidentClosed { outcome, why } => {
                self.closed = Some((*outcome, at));
                let why = why.as_ref().map_or(String::new(), |why| format!(": {why}"));
                format!("closed: {}{why}", outcome.label())
            }
        };
        if self.timeline.len() == TIMELINE_MAX {
            self.timeline.remove(1); // the opening stays
        }
        self.timeline.push((at, line));
    }

    /// The phase's word in the closed list.
    pub fn phase(&self) -> &'static str {
        match (&self.closed, self.runs.last(), self.confirmed_at) {
            (Some(_), ..) => "closed",
            (None, Some((.., None)), _) => "repairing",
            (None, _, Some(_)) => "confirmed",
            (None, _, None) => "pending",
        }
    }

    /// Whether one of its runs has not ended.
    pub fn is_repairing(&self) -> bool {
        self.runs.last().is_some_and(|(.., outcome)| outcome.is_none())
    }

    /// What it is called when it closes healthy.
    pub fn outcome(&self) -> Closed {
        let repaired = self.runs.iter().any(|(.., outcome)| *outcome == Some(Outcome::Succeeded));
        let escalated =
            self.standing.as_ref().is_some_and(|standing| standing.action == "escalate");
        match (repaired, self.was_confirmed) {
            (true, _) => Closed::Recovered,
            (false, true) if escalated => Closed::Escalated,
            (false, true) => Closed::RecoveredByItself,
            (false, false) => Closed::NotConfirmed,
        }
    }
}
