//! Current counts, asked for at scrape and filled up with the zeros that have to be there.
//!
//! The engine names only what is not zero; which series exist is known from the declaration.

use std::{
    fmt,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use prometheus_client::{collector::Collector, encoding::DescriptorEncoder};

use super::{
    labels,
    lists::{ATTEMPT_OUTCOMES, BOUNDS, PHASES, RUN_STATES, VERDICTS, WATCHES},
    table::{Labels, Scraped, Series},
};
use crate::domain::base::{
    id::{ClusterName, PlaybookName, ResponseName},
    time::Time,
};

/// What the engine counts right now. Series that are not named are 0.
#[derive(Clone, Debug, Default)]
pub struct Scrape {
    /// Alerts that fire, matched or not.
    pub alerts_active: u64,
    /// Open incidents by response and phase.
    pub incidents_open: Vec<(ResponseName, &'static str, u64)>,
    /// Attempts by cluster, playbook and outcome, as the ledger has them.
    pub repair_attempts: Vec<(ClusterName, PlaybookName, &'static str, u64)>,
    /// Until when the next repair is held back.
    pub backoff_until: Vec<(ClusterName, ResponseName, Time)>,
    /// Clusters with a loss that nobody has acknowledged.
    pub data_loss_possible: Vec<ClusterName>,
    /// Revisions of such losses, by bound (`lower`, `upper`); `None` is unknown, printed as `+Inf`.
    pub data_loss_revisions: Vec<(ClusterName, &'static str, Option<u64>)>,
    /// Losses that were ever recorded.
    pub data_loss_events: Vec<(ClusterName, u64)>,
    /// What look-outs found that is not well, by kind (`proof`, `zombies`).
    pub watch_findings: Vec<(ClusterName, &'static str, u64)>,
    /// Clusters that are not worked on any more.
    pub cluster_stopped: Vec<ClusterName>,
    /// What given-up repairs left to be done by hand.
    pub repair_leftovers: Vec<(ClusterName, u64)>,
    /// The verdict that holds, by cluster and subject (`etcd`, `api`).
    pub cluster_verdict: Vec<(ClusterName, &'static str, &'static str)>,
    /// Stored runs by state.
    pub runs_in_state: Vec<(&'static str, u64)>,
    /// What is left of a grace.
    pub grace_remaining: Vec<(ClusterName, ResponseName, Duration)>,
    /// When the last alert came in; nothing is printed where none ever did.
    pub last_alert: Option<Time>,
    /// The store's size.
    pub store_bytes: u64,
    /// Clusters that this process owns.
    pub store_owned_clusters: u64,
}

/// Where the counts come from.
pub(super) type Source = Box<dyn Fn() -> Scrape + Send + Sync>;

/// What exists from the start.
#[derive(Clone, Debug, Default)]
pub(super) struct Declared {
    pub(super) clusters: Vec<ClusterName>,
    pub(super) responses: Vec<(ResponseName, Vec<PlaybookName>)>,
}

/// The collector of the engine's counts.
#[derive(Default)]
pub(super) struct Counts {
    pub(super) source: RwLock<Option<Source>>,
    pub(super) declared: RwLock<Declared>,
    pub(super) build: RwLock<Labels>,
}

impl Collector for Counts {
    fn encode(&self, mut to: DescriptorEncoder<'_>) -> fmt::Result {
        let mut scraped = Scraped::default();
        let build = self.build.read().unwrap_or_else(PoisonError::into_inner).clone();
        scraped.build_info.insert(build, 1.0);
        let source = self.source.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(source) = &*source {
            zeros(&mut scraped, &self.declared.read().unwrap_or_else(PoisonError::into_inner));
            fill(&mut scraped, source());
        }
        scraped.encode(&mut to)
    }
}

impl fmt::Debug for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Counts").field("declared", &self.declared).finish_non_exhaustive()
    }
}

fn zeros(to: &mut Scraped, declared: &Declared) {
    for state in RUN_STATES {
        zero(&mut to.runs_in_state, labels!(state: *state));
    }
    for (response, _) in &declared.responses {
        for phase in PHASES {
            zero(&mut to.incidents_open, labels!(response: response, phase: *phase));
        }
    }
    for cluster in &declared.clusters {
        zero(&mut to.data_loss_possible, labels!(cluster: cluster));
        zero(&mut to.cluster_stopped, labels!(cluster: cluster));
        zero(&mut to.repair_leftovers, labels!(cluster: cluster));
        zero(&mut to.data_loss_events, labels!(cluster: cluster));
        for bound in BOUNDS {
            zero(&mut to.data_loss_revisions, labels!(cluster: cluster, bound: *bound));
        }
        for kind in WATCHES {
            zero(&mut to.watch_findings, labels!(cluster: cluster, kind: *kind));
        }
        for (subject, verdicts) in VERDICTS {
            for verdict in *verdicts {
                let labels = labels!(cluster: cluster, subject: *subject, verdict: *verdict);
                zero(&mut to.cluster_verdict, labels);
            }
        }
        for (response, playbooks) in &declared.responses {
            let of = || labels!(cluster: cluster, response: response);
            zero(&mut to.repair_backoff_until_timestamp_seconds, of());
            zero(&mut to.grace_remaining_seconds, of());
            for (playbook, outcome) in
                playbooks.iter().flat_map(|p| ATTEMPT_OUTCOMES.iter().map(move |o| (p, *o)))
            {
                let labels = labels!(cluster: cluster, playbook: playbook, outcome: outcome);
                zero(&mut to.repair_attempts, labels);
            }
        }
    }
}

fn zero(series: &mut Series, labels: Labels) {
    series.insert(labels, 0.0);
}

fn fill(to: &mut Scraped, from: Scrape) {
    to.alerts_active.insert(Vec::new(), number(from.alerts_active));
    for (response, phase, count) in from.incidents_open {
        to.incidents_open.insert(labels!(response: response, phase: phase), number(count));
    }
    for (cluster, playbook, outcome, count) in from.repair_attempts {
        let labels = labels!(cluster: cluster, playbook: playbook, outcome: outcome);
        to.repair_attempts.insert(labels, number(count));
    }
    for (cluster, response, until) in from.backoff_until {
        let labels = labels!(cluster: cluster, response: response);
        to.repair_backoff_until_timestamp_seconds.insert(labels, seconds(until));
    }
    for cluster in from.data_loss_possible {
        to.data_loss_possible.insert(labels!(cluster: cluster), 1.0);
    }
    for (cluster, bound, revisions) in from.data_loss_revisions {
        let labels = labels!(cluster: cluster, bound: bound);
        to.data_loss_revisions.insert(labels, revisions.map_or(f64::INFINITY, number));
    }
    for (cluster, count) in from.data_loss_events {
        to.data_loss_events.insert(labels!(cluster: cluster), number(count));
    }
    for (cluster, kind, count) in from.watch_findings {
        to.watch_findings.insert(labels!(cluster: cluster, kind: kind), number(count));
    }
    for cluster in from.cluster_stopped {
        to.cluster_stopped.insert(labels!(cluster: cluster), 1.0);
    }
    for (cluster, count) in from.repair_leftovers {
        to.repair_leftovers.insert(labels!(cluster: cluster), number(count));
    }
    for (cluster, subject, verdict) in from.cluster_verdict {
        let labels = labels!(cluster: cluster, subject: subject, verdict: verdict);
        to.cluster_verdict.insert(labels, 1.0);
    }
    for (state, count) in from.runs_in_state {
        to.runs_in_state.insert(labels!(state: state), number(count));
    }
    for (cluster, response, left) in from.grace_remaining {
        let labels = labels!(cluster: cluster, response: response);
        to.grace_remaining_seconds.insert(labels, left.as_secs_f64());
    }
    if let Some(at) = from.last_alert {
        to.last_alert_timestamp_seconds.insert(Vec::new(), seconds(at));
    }
    to.store_bytes.insert(Vec::new(), number(from.store_bytes));
    to.store_owned_clusters.insert(Vec::new(), number(from.store_owned_clusters));
}

#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
fn number(count: u64) -> f64 {
    count as f64
}

#[expect(clippy::cast_precision_loss, reason = "milliseconds stay below 2^53 for 285,000 years")]
fn seconds(at: Time) -> f64 {
    at.0 as f64 / 1000.0
}

/// An arc of the collector, since the registry owns what it is given.
pub(super) type Shared = Arc<Counts>;
