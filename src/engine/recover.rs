//! A start is a replay: the journal is folded by the same code that folds live records.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    Settings,
    clock::Clock,
    intake::number,
    state::{Positions, State, Watched},
};
use crate::{
    domain::{
        alert::{Alert, Alerts, Bounds},
        base::{id::ClusterName, time::Time},
        etcd::evidence::Observed,
        incident::{correlation::Correlation, owners::Owners},
        inventory::Cluster,
        journal::{
            cluster::ClusterState,
            record::{DecodeError, Record},
        },
    },
    store::{AlertRow, Store, StoreError, StreamName},
    targets::Target,
};

/// Why the engine cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store cannot be read.
    #[error("the store cannot be read")]
    Store(#[from] StoreError),
    /// A record cannot be read.
    #[error("the journal of {stream} cannot be read at {n}; last written by quorate {written_by}")]
    Journal {
        /// The stream.
        stream: StreamName,
        /// The position.
        n: u64,
        /// The version that wrote last.
        written_by: String,
        /// What is wrong.
        #[source]
        source: DecodeError,
    },
}

/// Everything as the store has it, and the fence of this process.
pub(super) async fn state(
    settings: Settings,
    clusters: Vec<(Arc<Cluster>, Arc<dyn Target>)>,
    owners: &Owners,
    store: &Arc<dyn Store>,
    clock: Clock,
) -> Result<(State, u64), StartError> {
    let now = clock.now();
    let heads = store.streams().await?;
    let fence = heads.iter().map(|head| head.fence).max().unwrap_or(0) + 1;
    let mut observed: BTreeMap<ClusterName, Observed> = BTreeMap::new();
    for row in store.observed().await? {
        match serde_json::from_str(&row.body) {
            Ok(seen) => drop(observed.insert(row.cluster, seen)),
            Err(error) => tracing::warn!(cluster = %row.cluster, error = %error,
                "what was observed cannot be read; the cluster counts as forming until it is seen healthy"),
        }
    }
    let mut all = BTreeMap::new();
    for (inventory, patient) in clusters {
        let stream = StreamName::Cluster(inventory.name.clone());
        let mut folded = ClusterState::default();
        let mut positions = Positions::default();
        for entry in store.read(&stream, 0).await? {
            let record = Record::decode(&entry.kind, entry.ver, &entry.body);
            let record = record.map_err(|source| StartError::Journal {
                stream: stream.clone(),
                n: entry.n,
                written_by: store.written_by().unwrap_or_else(|| "of unknown version".into()),
                source,
            })?;
            positions.note(&record, entry.n);
            folded.apply(&record, entry.at);
        }
        let next_n = heads.iter().find(|head| head.stream == stream).map_or(0, |head| head.n);
        let name = inventory.name.clone();
        let watched = Watched {
            observed: observed.remove(&name),
            state: folded,
            next_n,
            positions,
            inventory,
            patient,
            look: None,
            prometheus_max: None,
            is_proving: false,
            waiting: Vec::new(),
            is_looking: false,
            look_began: now,
            look_due: now,
            full_due: now,
            reconcile_due: now,
            well_again: 0,
            tools: None,
            foreign: BTreeMap::new(),
        };
        all.insert(name, watched);
    }
    let state = State {
        alerts: alerts(store.alerts().await?, owners, now),
        correlation: Correlation::default(),
        clusters: all,
        runners: BTreeMap::new(),
        last_alert_at: None,
        started_at: now,
        settings: Arc::new(settings),
        clock,
    };
    Ok((state, fence))
}

/// Alerts from their rows; one that cannot be read is named and left out: its sender repeats it.
pub(super) fn alerts(rows: Vec<AlertRow>, owners: &Owners, now: Time) -> Alerts {
    let read = rows.into_iter().filter_map(|row| {
        let body = row.body?;
        match Alert::from_row(row.id, &body, now) {
            Ok(alert) => Some(alert),
            Err(error) => {
                tracing::warn!(row = row.id, error = %error, "an alert's row cannot be read");
                None
            }
        }
    });
    let filed = read.map(|alert| {
        let owner = number(owners, &alert.labels);
        alert.filed(owner)
    });
    Alerts::load(filed, Bounds::default())
}
