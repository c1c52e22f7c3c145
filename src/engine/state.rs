//! What the engine's loop owns: alerts, and per cluster what is known, last seen and under way.
//!
//! Nobody else changes it. Readers (`http`) see it through [`super::Handle::read`].

use std::{collections::BTreeMap, sync::Arc};

use tokio::sync::Notify;

use super::{Settings, clock::Clock};
use crate::{
    domain::{
        alert::Alerts,
        base::{
            id::{ClusterName, EtcdId, IncidentId, PlaybookName, ResponseName, RunId},
            time::Time,
        },
        etcd::{
            evidence::{Evidence, Held, Observed},
            loss::Loss,
            verdict::Judgement,
        },
        incident::correlation::Correlation,
        inventory::Cluster,
        journal::{cluster::ClusterState, record::Record},
        rules::{playbook::model::Playbook, response::Response},
    },
    targets::{Target, Toolset},
};

/// One look at a cluster and what it says.
#[derive(Clone, Debug)]
pub struct Look {
    /// The readings.
    pub evidence: Evidence,
    /// What they say.
    pub judgement: Judgement,
    /// The best survivor among members whose revision is known, where quorum is lost.
    pub survivor: Option<String>,
    /// What a rebuild from it would lose.
    pub loss: Option<Loss>,
}

/// One cluster under watch.
#[derive(Debug)]
pub struct Watched {
    /// Its inventory entry.
    pub inventory: Arc<Cluster>,
    /// Its systems.
    pub patient: Arc<dyn Target>,
    /// The fold of its journal.
    pub state: ClusterState,
    /// The next position in its stream.
    pub next_n: u64,
    /// What was seen while it had a leader.
    pub observed: Option<Observed>,
    /// Where in the stream the entries of what can be dropped stand.
    pub positions: Positions,
    /// The last look.
    pub look: Option<Arc<Look>>,
    /// The highest revision that Prometheus holds from before the outage.
    pub prometheus_max: Option<i64>,
    /// Whether a repeated proof is under way.
    pub is_proving: bool,
    /// Who waits for the next full look.
    pub waiting: Vec<tokio::sync::oneshot::Sender<()>>,
    /// Whether a look is under way: a poll still running is not started twice.
    pub is_looking: bool,
    /// When the last look began.
    pub look_began: Time,
    /// When the next look is due.
    pub look_due: Time,
    /// When the next look must be a full one, healthy or not.
    pub full_due: Time,
    /// When the next reconciliation with its Alertmanager is due.
    pub reconcile_due: Time,
    /// Looks in a row that found quorum back while a run has not passed the point of no return.
    pub well_again: u32,
    /// Its tools or why they cannot be used, as last asked; `None` until asked.
    pub tools: Option<Result<Toolset, String>>,
    /// Members that answer under a cluster id that is not the cluster's.
    pub foreign: BTreeMap<String, String>,
}

/// What the loop owns.
#[derive(Debug)]
pub struct State {
    /// What it was started with.
    pub settings: Arc<Settings>,
    /// Its clock.
    pub clock: Clock,
    /// Every alert that is known.
    pub alerts: Alerts,
    /// Which alerts belong to which subject.
    pub correlation: Correlation,
    /// The clusters of the inventory.
    pub clusters: BTreeMap<ClusterName, Watched>,
    /// Wakes the runner of a run when somebody else changed it.
    pub runners: BTreeMap<RunId, Arc<Notify>>,
    /// When the last webhook with an alert arrived.
    pub last_alert_at: Option<Time>,
    /// When the loop came up.
    pub started_at: Time,
}

impl State {
    /// Now.
    pub fn now(&self) -> Time {
        self.clock.now()
    }

    /// A loaded response.
    pub fn response(&self, name: &ResponseName) -> Option<Arc<Response>> {
        self.settings.rules.responses.get(name).cloned()
    }

    /// A loaded playbook.
    pub fn playbook(&self, name: &PlaybookName) -> Option<Arc<Playbook>> {
        self.settings.rules.playbooks.get(name).cloned()
    }

    /// The cluster a run belongs to.
    pub fn cluster_of_run(&self, run: RunId) -> Option<&Watched> {
        self.clusters.values().find(|cluster| cluster.state.runs.contains_key(&run))
    }

    /// The cluster an incident belongs to.
    pub fn cluster_of_incident(&self, incident: IncidentId) -> Option<&Watched> {
        self.clusters.values().find(|cluster| cluster.state.incidents.contains_key(&incident))
    }
}

impl Watched {
    /// What a rebuild from a survivor at this revision is expected to lose; `None` where nothing
    /// was ever seen.
    pub fn expect_loss(&self, revision: i64, now: Time) -> Option<Loss> {
        let row = self.observed.as_ref()?;
        Some(Loss::expected(Some(row), self.prometheus_max, row.epoch, revision, now))
    }

    /// The cluster that the open run built anew.
    pub fn built(&self) -> Option<EtcdId> {
        self.state.open_run().and_then(|run| run.built)
    }

    /// What the open run holds.
    pub fn held(&self) -> Held {
        self.state.open_run().map(|run| run.held.clone()).unwrap_or_default()
    }
}

/// Journal positions of incidents and runs: what is dropped once they are over for long enough.
#[derive(Debug, Default)]
pub struct Positions {
    /// Per incident.
    pub incidents: BTreeMap<IncidentId, Vec<u64>>,
    /// Per run.
    pub runs: BTreeMap<RunId, Vec<u64>>,
}

impl Positions {
    /// Notes where a record stands.
    pub fn note(&mut self, record: &Record, n: u64) {
        match record {
            Record::Incident(record) => self.incidents.entry(record.incident).or_default().push(n),
            Record::Run(record) => self.runs.entry(record.run).or_default().push(n),
            // ledger, losses, attestations, pauses and look-outs are kept for ever
            Record::AttemptEnded(_)
            | Record::LossRecorded(_)
            | Record::LossAcknowledged(_)
            | Record::Attested(_)
            | Record::Paused(_)
            | Record::Unpaused(_)
            | Record::WatchSet(_)
            | Record::WatchReported(_) => {}
        }
    }
}
