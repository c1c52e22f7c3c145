//! Alerts: merged in memory, one row each for what changed, durable before they are acknowledged.
//!
//! Memory runs ahead of the disk between the call and the sync. If the sync fails, memory is read
//! back from the disk (`roll_back`) before the store takes anything again, so that
//! a repeat can never be taken for known while it is not durable.

use std::sync::Arc;

use super::Engine;
use crate::{
    domain::{
        alert::{Incoming, Seen},
        id::ClusterName,
        incident::correlation::{Owner, owner},
        inventory::Cluster,
        time::Time,
    },
    store::{AlertRow, Batch, Pending},
    targets::AlertState,
};

/// The answer to a webhook's alerts.
#[derive(Debug)]
pub struct Receipt {
    /// Alerts that no cluster matches, or several.
    pub unmatched: usize,
    /// Resolves when all of them are durable.
    pub durable: Pending,
}

impl Engine {
    /// Takes alerts from a webhook.
    pub(super) fn take_alerts(&mut self, alerts: Vec<Incoming>) -> Receipt {
        let now = self.state.now();
        self.state.last_alert_at = Some(now);
        let mut batch = Batch::default();
        let mut unmatched = 0;
        let mut changed = Vec::new();
        let (all, mut firing) = (alerts.len(), 0);
        for incoming in alerts {
            firing += usize::from(incoming.firing);
            let seen = self.state.alerts.observe(incoming, now);
            if seen.is_to_write() {
                changed.push(seen.id());
            } else if self.is_unmatched(seen.id()) {
                unmatched += 1;
            }
        }
        self.metrics.alerts_received("firing", firing as u64);
        self.metrics.alerts_received("resolved", (all - firing) as u64);
        self.metrics.alerts_deduplicated((all - changed.len()) as u64);
        for id in &changed {
            let Some(alert) = self.state.alerts.get(*id) else { continue };
            batch.alerts.push(AlertRow { id: *id, body: Some(alert.to_row()) });
        }
        let durable = self.store.commit(batch);
        for id in changed {
            unmatched += usize::from(!self.correlate(id));
        }
        Receipt { unmatched, durable }
    }

    fn is_unmatched(&self, id: i64) -> bool {
        let alert = self.state.alerts.get(id);
        alert.is_some_and(|alert| {
            !matches!(owner(&self.inventory, &alert.labels), Owner::Cluster(_))
        })
    }

    /// Files one changed alert and opens the incidents it calls for. `false`: no one cluster.
    fn correlate(&mut self, id: i64) -> bool {
        let Some(alert) = self.state.alerts.get(id).cloned() else { return true };
        let cluster = match owner(&self.inventory, &alert.labels) {
            Owner::Cluster(cluster) => cluster,
            Owner::Unmatched => {
                self.metrics.alerts_unmatched(1);
                return false;
            }
            Owner::Ambiguous(names) => {
                let names: Vec<_> = names.iter().map(ClusterName::as_str).collect();
                tracing::warn!(alert = %alert.labels, clusters = names.join(", "),
                    "alert refused: it matches several clusters; make their `match` disjoint");
                self.metrics.alerts_unmatched(1);
                return false;
            }
        };
        let responses = &self.state.settings.rules.responses;
        let subjects = self.state.correlation.observe(&cluster, responses, &alert);
        self.touched.extend(subjects.into_iter().map(|subject| (subject, alert.firing)));
        true
    }

    /// Settles what fires and what is silenced with what the cluster's Alertmanager has.
    pub(super) fn reconcile(
        &mut self,
        cluster: &ClusterName,
        states: Vec<AlertState>,
        asked: Time,
    ) {
        let now = self.state.now();
        let Some(inventory) = self.state.clusters.get(cluster).map(|c| c.inventory.clone()) else {
            return;
        };
        let ours = states.into_iter().filter(|state| inventory.matches.matches(&state.labels));
        let firing = ours.map(|state| Incoming {
            labels: state.labels,
            firing: true,
            starts_at: state.starts_at,
            ends_at: None,
            silenced: Some(state.silenced),
        });
        let only = |alert: &crate::domain::alert::Alert| inventory.matches.matches(&alert.labels);
        let changed = self.state.alerts.reconcile(firing, only, asked, now);
        let changed: Vec<i64> = changed.into_iter().map(Seen::id).collect();
        if changed.is_empty() {
            return;
        }
        let rows = changed.iter().filter_map(|id| {
            Some(AlertRow { id: *id, body: Some(self.state.alerts.get(*id)?.to_row()) })
        });
        let pending = self.store.commit(Batch { alerts: rows.collect(), ..Batch::default() });
        let handle = self.handle.clone();
        self.tasks.spawn(async move {
            if let Err(error) = pending.await {
                tracing::warn!(error = %chain(&error), "reconciled alerts are not durable");
                handle.send(super::event::Event::StoreFailed).await;
            }
        });
        for id in changed {
            self.correlate(id);
        }
    }

    /// Index of one alert again, after a start or a roll-back.
    pub(super) fn index_alerts(&mut self) {
        let ids: Vec<i64> = self.state.alerts.iter().map(|alert| alert.id).collect();
        let responses = self.state.settings.rules.responses.clone();
        for id in ids {
            let Some(alert) = self.state.alerts.get(id) else { continue };
            if let Owner::Cluster(cluster) = owner(&self.inventory, &alert.labels) {
                self.state.correlation.observe(&cluster, &responses, alert);
            }
        }
    }
}

/// An error with all its causes, for a log line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// The clusters of an inventory, for matching.
pub(super) type Inventory = Vec<Arc<Cluster>>;
