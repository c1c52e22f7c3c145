//! The whole chain behind an alert, an incident, a run or a loss, in the order it happened.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{AlertView, ClusterView, ExpectedLoss, IncidentView, LossView, RunView, advice};
use crate::{
    domain::{
        alert::Alert,
        base::{
            id::{IncidentId, LossId, PlaybookName, ResponseName, RunId},
            time::{Time, format_duration},
        },
        cell::Cell,
        incident::Incident,
        rules::response::Response,
        run::state::Run,
    },
    engine::state::State,
};

/// How many alerts of an incident are shown: one tells the story, thousands hide it.
const ALERTS_MAX: usize = 20;

/// The chain.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WhyView {
    /// What was asked for.
    pub id: String,
    /// The whole answer in one sentence.
    pub summary: String,
    /// The alerts.
    pub alerts: Vec<AlertView>,
    /// How many there are, where not all are shown.
    pub alerts_total: usize,
    /// Which matcher of which response took the alerts; empty where none did.
    pub matched: Vec<Match>,
    /// The response of the incident.
    pub response: Option<ResponseView>,
    /// The incident.
    pub incident: Option<IncidentView>,
    /// Where the window stands in which the verdict must hold.
    pub window: Option<Window>,
    /// What is known of the cluster now.
    pub evidence: Option<ClusterView>,
    /// Who would be gone on with.
    pub survivor: Option<String>,
    /// What that would lose.
    pub expected_loss: Option<ExpectedLoss>,
    /// The runs, oldest first.
    pub runs: Vec<RunView>,
    /// What may have been lost.
    pub losses: Vec<LossView>,
    /// What a person can do next.
    pub next: Vec<String>,
}

/// A matcher that took alerts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Match {
    /// The response.
    pub response: ResponseName,
    /// Its signal.
    pub signal: String,
    /// The matcher.
    pub matcher: String,
}

/// What a response says, for people.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ResponseView {
    /// Its name.
    pub name: ResponseName,
    /// One line.
    pub description: String,
    /// What opens an incident.
    pub when: String,
    /// What must hold in every sample.
    pub confirm: String,
    /// What is tried, in order.
    pub ladder: Vec<PlaybookName>,
}

/// The window.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Window {
    /// How long the verdict must hold.
    pub hold: String,
    /// In at least so many samples.
    pub samples: u32,
    /// No two of them further apart.
    pub max_gap: String,
    /// Whether it held that long.
    pub complete: bool,
    /// Whether it was confirmed, and when.
    pub confirmed_at: Option<Time>,
    /// When the running streak would be long enough.
    pub due: Option<Time>,
}

/// What `why` is asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// An incident.
    Incident(IncidentId),
    /// A run.
    Run(RunId),
    /// A loss.
    Loss(LossId),
    /// An alert's fingerprint.
    Alert(u64),
}

impl Question {
    /// Reads an id or a fingerprint.
    pub fn parse(text: &str) -> Option<Self> {
        let incident = IncidentId::parse(text).map(Self::Incident);
        let run = || RunId::parse(text).map(Self::Run);
        let loss = || LossId::parse(text).map(Self::Loss);
        let is_print = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let print = || is_print.then(|| u64::from_str_radix(text, 16).ok()).flatten();
        incident.or_else(run).or_else(loss).or_else(|| print().map(Self::Alert))
    }
}

impl Question {
    /// Where the answer is known, and what has to be known as a whole for it.
    pub fn about(&self, state: &State) -> AskedAbout {
        let cell = match self {
            Self::Incident(incident) => state.cell_of_incident(*incident),
            Self::Run(run) => state.cell_of_run(*run),
            Self::Loss(loss) => state.cell_of_loss(*loss),
            Self::Alert(print) => {
                let alerts = state.alerts.by_fingerprint(*print);
                let shown = alerts.first().map(|alert| AlertView::new(state, alert));
                let cluster = shown.and_then(|alert| alert.cluster);
                let cell = cluster.and_then(|cluster| state.cell(cluster.as_str()));
                let incident = cell.as_ref().zip(alerts.first()).and_then(|(c, a)| newest(c, a));
                return AskedAbout { cell, incident, run: None };
            }
        };
        let run = match (self, &cell) {
            (Self::Run(run), _) => Some(*run),
            (Self::Loss(loss), Some(cell)) => cell.state.losses.get(loss).map(|loss| loss.run),
            (Self::Loss(_) | Self::Incident(_) | Self::Alert(_), _) => None,
        };
        let known = cell.as_ref().zip(run).and_then(|(cell, run)| cell.state.runs.get(&run));
        let incident = match self {
            Self::Incident(incident) => Some(*incident),
            Self::Run(_) | Self::Loss(_) | Self::Alert(_) => known.and_then(|run| run.incident),
        };
        AskedAbout { cell, incident, run }
    }
}

/// The newest incident that an alert belongs to.
fn newest(cell: &Cell, alert: &Alert) -> Option<IncidentId> {
    let is_of = |incident: &&Incident| {
        let alerts = cell.signals.alerts_of(&incident.subject);
        incident.alert == alert.labels || alerts.iter().any(|other| other.id == alert.id)
    };
    cell.state.incidents.values().rev().find(is_of).map(|incident| incident.id)
}

/// What a question is about.
#[derive(Clone, Debug)]
pub struct AskedAbout {
    /// The cluster, if one is known.
    pub cell: Option<Arc<Cell>>,
    /// The incident that is told.
    pub incident: Option<IncidentId>,
    /// The run that is told.
    pub run: Option<RunId>,
}

impl WhyView {
    /// The chain; `None` where there is no such thing.
    pub fn new(state: &State, id: &str, question: &Question, about: &AskedAbout) -> Option<Self> {
        let cell = about.cell.as_deref();
        let mut view = match question {
            Question::Alert(print) => Self::of_alerts(state, id, *print, about)?,
            Question::Incident(incident) => {
                Self::of_incident(state, id, cell?, cell?.state.incidents.get(incident)?)
            }
            Question::Run(run) => Self::of_run(state, id, cell?, cell?.state.runs.get(run)?),
            Question::Loss(loss) => {
                let record = cell?.state.losses.get(loss)?;
                match cell?.state.runs.get(&record.run) {
                    Some(run) => Self::of_run(state, id, cell?, run),
                    None => Self {
                        losses: vec![LossView::new(record)],
                        ..Self::of_cluster(state, id, cell?)
                    },
                }
            }
        };
        view.next = advice::next(&view);
        view.summary = advice::summary(&view);
        Some(view)
    }

    fn empty(id: &str) -> Self {
        Self {
            id: id.into(),
            summary: String::new(),
            alerts: Vec::new(),
            alerts_total: 0,
            matched: Vec::new(),
            response: None,
            incident: None,
            window: None,
            evidence: None,
            survivor: None,
            expected_loss: None,
            runs: Vec::new(),
            losses: Vec::new(),
            next: Vec::new(),
        }
    }

    fn of_cluster(state: &State, id: &str, cell: &Cell) -> Self {
        let look = cell.look();
        Self {
            evidence: Some(ClusterView::whole(state, cell)),
            survivor: look.and_then(|look| look.survivor.as_ref().map(ToString::to_string)),
            expected_loss: look.and_then(|look| look.loss.as_ref()).map(ExpectedLoss::from),
            ..Self::empty(id)
        }
    }

    fn of_incident(state: &State, id: &str, cell: &Cell, incident: &Incident) -> Self {
        let mut view = Self::of_cluster(state, id, cell);
        let alerts = cell.signals.alerts_of(&incident.subject);
        let mut alerts: Vec<Arc<Alert>> = alerts.into_iter().cloned().collect();
        if alerts.is_empty() {
            // a subject with labels that is over is not indexed; the alert that opened it is kept
            alerts.extend(state.alerts.find(&incident.alert));
        }
        alerts.sort_by_key(|alert| (!alert.firing, alert.starts_at));
        view.alerts_total = alerts.len();
        alerts.truncate(ALERTS_MAX);
        if let Some(response) = cell.response(incident.subject.response.as_str()) {
            for alert in &alerts {
                add_matches(response, alert, &mut view.matched);
            }
            view.window = Some(Window::new(state.now(), cell, incident, response));
            view.response = Some(ResponseView::new(response));
        }
        view.alerts = alerts.iter().map(|alert| AlertView::new(state, alert)).collect();
        view.incident = Some(IncidentView::whole(state.now(), cell, incident));
        let runs = incident.runs.iter().filter_map(|(run, ..)| cell.state.runs.get(run));
        let now = state.now();
        view.runs = runs.map(|run| RunView::whole(cell, run, now)).collect();
        let of_these = |run: RunId| incident.runs.iter().any(|(id, ..)| *id == run);
        let losses = cell.state.losses.values().filter(|loss| of_these(loss.run));
        view.losses = losses.map(LossView::new).collect();
        view
    }

    fn of_run(state: &State, id: &str, cell: &Cell, run: &Run) -> Self {
        let incident = run.incident.and_then(|id| cell.state.incidents.get(&id));
        if let Some(incident) = incident {
            let mut view = Self::of_incident(state, id, cell, incident);
            view.runs.retain(|other| other.id == run.id);
            view.losses.retain(|loss| loss.run == run.id);
            return view;
        }
        let mut view = Self::of_cluster(state, id, cell);
        view.runs = vec![RunView::whole(cell, run, state.now())];
        let losses = cell.state.losses.values().filter(|loss| loss.run == run.id);
        view.losses = losses.map(LossView::new).collect();
        view
    }

    /// From an alert to the newest incident it belongs to.
    fn of_alerts(state: &State, id: &str, print: u64, about: &AskedAbout) -> Option<Self> {
        let alerts: Vec<Arc<Alert>> = state.alerts.by_fingerprint(print);
        let first = alerts.first()?;
        let shown: Vec<_> = alerts.iter().map(|alert| AlertView::new(state, alert)).collect();
        let mut view = match about.cell.as_deref() {
            None => Self::empty(id),
            Some(cell) => {
                let incident = about.incident.and_then(|id| cell.state.incidents.get(&id));
                match incident {
                    Some(incident) => Self::of_incident(state, id, cell, incident),
                    None => Self::of_cluster(state, id, cell),
                }
            }
        };
        view.matched.clear();
        for response in state.settings().rules.responses.values() {
            add_matches(response, first, &mut view.matched);
        }
        (view.alerts_total, view.alerts) = (shown.len(), shown);
        Some(view)
    }
}

fn add_matches(response: &Response, alert: &Alert, to: &mut Vec<Match>) {
    for (signal, matchers) in &response.signals {
        for matcher in matchers.iter().filter(|matcher| matcher.matches(&alert.labels)) {
            let hit = Match {
                response: response.name.clone(),
                signal: signal.clone(),
                matcher: matcher.to_string(),
            };
            if !to.contains(&hit) {
                to.push(hit);
            }
        }
    }
}

impl ResponseView {
    fn new(response: &Response) -> Self {
        Self {
            name: response.name.clone(),
            description: response.description.clone(),
            when: response.when.source().into(),
            confirm: response.confirm.source().into(),
            ladder: response.ladder.iter().map(|rung| rung.playbook.clone()).collect(),
        }
    }
}

impl Window {
    fn new(now: Time, cell: &Cell, incident: &Incident, response: &Response) -> Self {
        let (grace, streaks) = (&response.grace, cell.streaks_of(incident.id));
        Self {
            hold: format_duration(grace.hold),
            samples: grace.samples,
            max_gap: format_duration(grace.max_gap),
            complete: streaks.confirming.is_complete(now, grace),
            confirmed_at: incident.confirmed_at,
            due: streaks.confirming.due(grace),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Question;

    #[test]
    fn ids_and_fingerprints_are_told_apart() {
        let uuid = "018f6b7e-7c1a-7000-8000-000000000001";
        let parse = |text: &str| Question::parse(text);
        assert!(matches!(parse(&format!("inc_{uuid}")), Some(Question::Incident(_))));
        assert!(matches!(parse(&format!("run_{uuid}")), Some(Question::Run(_))));
        assert!(matches!(parse(&format!("loss_{uuid}")), Some(Question::Loss(_))));
        assert_eq!(parse("cc75720f9ec8dfe8"), Some(Question::Alert(0xcc75_720f_9ec8_dfe8)));
        for text in ["", "cc75720f9ec8dfe", "inc_", "+c75720f9ec8dfe8", "run_../../etc"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
