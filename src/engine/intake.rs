//! Alerts: merged in memory, one row each for what changed, durable before they are acknowledged.
//!
//! Memory runs ahead of the disk between the call and the sync. If the sync fails, memory is read
//! back from the disk (`roll_back`) before the store takes anything again, so that
//! a repeat can never be taken for known while it is not durable.

use std::collections::BTreeSet;

use super::Engine;
use crate::{
    domain::{
        alert::{Alert, Delivery, Incoming, OwnerId, Seen, labels::Labels},
        base::{id::ClusterName, time::Time},
        incident::{
            bounds::{Pair, SUBJECTS_MAX},
            ledger::Subject,
            owners::{Owner, Owners},
        },
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
        let mut again = Vec::new();
        let (all, mut firing) = (alerts.len(), 0);
        let mut delivery = Delivery::at(now);
        for incoming in alerts {
            firing += usize::from(incoming.firing);
            let owner = |labels: &Labels| number(&self.owners, labels);
            let fold = self.state.alerts.observe(&mut delivery, incoming, owner);
            let Ok(seen) = fold.map(|fold| fold.seen) else { continue };
            if let Seen::OldNews(id) = seen {
                self.note_old_news(id);
            }
            if seen.is_to_write() {
                changed.push(seen.id());
            } else if self.is_unmatched(seen.id()) {
                unmatched += 1;
            } else if self.refuses() {
                again.push(seen.id());
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
        for id in again {
            // it may have been refused, and there may be room by now
            self.correlate(id);
        }
        Receipt { unmatched, durable }
    }

    /// Held back, but not silently: if its sender repeats it, it counts.
    fn note_old_news(&self, id: i64) {
        self.metrics.alerts_old_news(1);
        if let Some(alert) = self.state.alerts.get(id) {
            tracing::debug!(alert = %alert.labels, "old news: this delivery speaks of what is over");
        }
    }

    fn is_unmatched(&self, id: i64) -> bool {
        let alert = self.state.alerts.get(id);
        alert.is_some_and(|alert| !matches!(self.owners.owner(&alert.labels), Owner::Cluster(_)))
    }

    /// Files one changed alert and opens the incidents it calls for. `false`: no one cluster.
    fn correlate(&mut self, id: i64) -> bool {
        let Some(alert) = self.state.alerts.get(id).cloned() else { return true };
        let cluster = match self.owners.owner(&alert.labels) {
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
        let subjects = self.file(&cluster, &alert);
        self.touched.extend(subjects.into_iter().map(|subject| (subject, alert.firing)));
        true
    }

    /// Files one alert under its subjects; forgets what is over where there is no room.
    fn file(&mut self, cluster: &ClusterName, alert: &Alert) -> Vec<Subject> {
        let now = self.state.now();
        let responses = &self.state.settings.rules.responses;
        let index = &mut self.state.correlation;
        let mut filed = index.observe(cluster, responses, alert, now);
        if !filed.refused.is_empty() && index.is_forget_due(now) {
            index.forget(&self.state.alerts, responses, now);
            filed = index.observe(cluster, responses, alert, now);
            self.note_room();
        }
        for subject in filed.refused {
            self.metrics.subject_refused(&subject.cluster, &subject.response);
            if self.too_many_subjects.refuse(&subject) {
                tracing::error!(cluster = %subject.cluster, response = %subject.response,
                    alert = %alert.labels, max = SUBJECTS_MAX,
                    "{}", too_many("subjects", "are not followed"));
            }
        }
        filed.touched
    }

    /// Says where there is room for subjects again.
    pub(super) fn note_room(&mut self) {
        let full: Vec<Pair> = self.too_many_subjects.full().cloned().collect();
        for pair in full {
            let held = self.state.correlation.bounded(&pair);
            if self.too_many_subjects.has_room(&pair, held, SUBJECTS_MAX) {
                tracing::warn!(cluster = %pair.0, response = %pair.1, held,
                    "there is room for subjects again; alerts that were refused are taken with \
                     their next repeat");
            }
        }
    }

    /// Whether any subject or incident was refused and there is no room yet.
    fn refuses(&self) -> bool {
        self.too_many_subjects.is_any() || self.too_many_incidents.is_any()
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
        let mut delivery = Delivery::at(now);
        let (mut listed, mut changed) = (BTreeSet::new(), Vec::new());
        for incoming in firing {
            let owner = |labels: &Labels| number(&self.owners, labels);
            let fold = self.state.alerts.list(&mut delivery, incoming, owner, asked);
            let Ok(seen) = fold.map(|fold| fold.seen) else { continue };
            listed.insert(seen.id());
            changed.extend(Some(seen.id()).filter(|_| seen.is_to_write()));
        }
        let ours =
            self.owners.names().position(|name| name == cluster).map_or(OwnerId::NONE, id_of);
        let missing = self.state.alerts.owned_by(ours, None).map(|(key, _)| key.id);
        let missing: Vec<i64> = missing.filter(|id| !listed.contains(id)).collect();
        for id in missing {
            changed.extend(self.state.alerts.vanish(id, asked, now).map(|fold| fold.seen.id()));
        }
        if changed.is_empty() {
            return;
        }
        let rows = changed.iter().filter_map(|id| {
            Some(AlertRow { id: *id, body: Some(self.state.alerts.get(*id)?.to_row()) })
        });
        let pending = self.store.commit(Batch { alerts: rows.collect(), ..Batch::default() });
        let handle = self.handle.clone();
        self.tasks.spawn(async move {
            let done = pending.await;
            handle.note_commit(&done);
            if let Err(error) = done {
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
        for id in ids {
            let Some(alert) = self.state.alerts.get(id).cloned() else { continue };
            if let Owner::Cluster(cluster) = self.owners.owner(&alert.labels) {
                self.file(&cluster, &alert);
            }
        }
    }
}

/// What is said once, when a bound is reached.
pub(super) fn too_many(what: &str, effect: &str) -> String {
    format!(
        "the response has too many {what} in this cluster: further alerts {effect} until some \
         resolve, only those about the cluster as a whole are; look for a label that takes ever new \
         values in what this response's `signals` match"
    )
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

/// The number that an alert with these labels is filed under.
pub(super) fn number(owners: &Owners, labels: &Labels) -> OwnerId {
    owners.place(labels).map_or(OwnerId::NONE, id_of)
}

fn id_of(place: usize) -> OwnerId {
    u32::try_from(place).map_or(OwnerId::NONE, OwnerId)
}
