//! What is over for long enough is dropped; the ledger and losses never are.

use super::{Engine, SWEEP_EVERY, chain};
use crate::{
    domain::base::{
        id::{ClusterName, IncidentId, RunId},
        time::Time,
    },
    store::{AlertRow, Batch, StreamName},
};

/// Entries dropped in one go, so that the store's writer is never held up for long.
const CHUNK: usize = 1_000;

impl Engine {
    /// Drops resolved alerts, ended incidents and ended runs that are past their retention.
    pub(super) async fn sweep(&mut self) {
        let now = self.state.now();
        if now < self.sweep_due {
            return;
        }
        self.sweep_due = now.after(SWEEP_EVERY);
        let keep = self.state.settings.retention;
        let (gone, _) = self.state.alerts.expired(None, usize::MAX, now, keep);
        for id in &gone {
            self.state.alerts.forget(*id);
        }
        let rows = gone.iter().map(|id| AlertRow { id: *id, body: None }).collect();
        let done = self.store.commit(Batch { alerts: rows, ..Batch::default() }).await;
        self.handle.note_commit(&done);
        if let Err(error) = done {
            tracing::warn!(error = %chain(&error), "resolved alerts were not dropped");
            self.roll_back().await;
        }
        let responses = &self.state.settings.rules.responses;
        self.state.correlation.forget(&self.state.alerts, responses, now);
        self.note_room();
        let names: Vec<ClusterName> = self.state.clusters.keys().cloned().collect();
        for name in names {
            self.sweep_cluster(&name, now).await;
        }
    }

    async fn sweep_cluster(&mut self, name: &ClusterName, now: Time) {
        let keep = self.state.settings.retention;
        let Some(watched) = self.state.clusters.get_mut(name) else { return };
        let is_old = |at: Time| now.since(at) > keep;
        let incidents = watched
            .state
            .incidents
            .values()
            .filter(|incident| incident.closed.as_ref().is_some_and(|(_, at)| is_old(*at)));
        let incidents: Vec<IncidentId> = incidents.map(|incident| incident.id).collect();
        let runs = watched
            .state
            .runs
            .values()
            .filter(|run| run.finished.as_ref().is_some_and(|(.., at)| is_old(*at)));
        let runs: Vec<RunId> = runs.map(|run| run.id).collect();
        let mut places = Vec::new();
        for id in &incidents {
            watched.state.incidents.remove(id);
            places.extend(watched.positions.incidents.remove(id).unwrap_or_default());
        }
        for id in &runs {
            watched.state.runs.remove(id);
            places.extend(watched.positions.runs.remove(id).unwrap_or_default());
        }
        let stream = StreamName::Cluster(name.clone());
        for chunk in places.chunks(CHUNK) {
            if let Err(error) = self.store.drop_entries(&stream, chunk.to_vec()).await {
                // what stays is read back at the next start and dropped then
                tracing::warn!(cluster = %name, error = %chain(&error), "ended runs were not dropped");
            }
        }
    }
}
