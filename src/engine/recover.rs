//! A start is a replay: the journal is folded by the same code that folds live records.

mod fold;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use futures::{StreamExt as _, TryStreamExt as _, stream};

use self::fold::Folded;
use super::{Settings, clock::Clock, leash::Leash, slot::Slot};
use crate::{
    domain::{
        base::{id::ClusterName, time::Time},
        cell::{Cell, Commands, Setup},
        etcd::evidence::Observed,
        incident::owners::Owners,
        inventory::Cluster,
        journal::record::DecodeError,
        rules::action::Call,
        run::apply::Illegal,
    },
    store::{Fence, QUEUED_MAX, Store, StoreError, StreamHead, StreamName},
    targets::Target,
};

/// Claims under way at once: half of what may wait for the disk.
const CLAIMS_MAX: usize = QUEUED_MAX / 2;

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
    /// A record says what cannot have happened.
    #[error("the journal of {stream} contradicts itself at {n}; `quorate store check` tells more")]
    Illegal {
        /// The stream.
        stream: StreamName,
        /// The position.
        n: u64,
        /// What is wrong.
        #[source]
        source: Illegal,
    },
}

/// What a target says of commands, for a cell.
#[derive(Debug)]
struct Described(Arc<dyn Target>);

impl Commands for Described {
    fn commands(&self, call: &Call) -> Vec<String> {
        self.0.commands(call)
    }
}

/// One cell as its journal has it.
#[derive(Debug)]
pub(super) struct Recovered {
    cell: Cell,
    target: Arc<dyn Target>,
    last_at: Time,
    tail: u64,
    fence: Fence,
}

impl Recovered {
    fn new(
        setup: Setup,
        target: Arc<dyn Target>,
        folded: Folded,
        observed: Option<Observed>,
        clock: &Clock,
    ) -> Self {
        let Folded { state, last_at, tail } = folded;
        let now = clock.now().max(last_at);
        let cell = Cell::new(Arc::new(setup), state, observed, rand_seed(), now);
        Self { cell, target, last_at, tail, fence: Fence::default() }
    }

    /// The cell in the shell, with what ends its effects.
    pub(super) fn into_slot(self, leash: Leash) -> Slot {
        Slot {
            cell: Arc::new(self.cell),
            target: self.target,
            fence: self.fence,
            last_at: self.last_at,
            tail: self.tail,
            has_dropped: false,
            is_compacting: false,
            inbox: VecDeque::new(),
            committing: None,
            not_before: None,
            timer: None,
            stopped: None,
            leash,
        }
    }

    /// The cell.
    pub(super) fn cell(&self) -> &Cell {
        &self.cell
    }
}

/// Everything as the store has it.
#[derive(Debug)]
pub(super) struct Everything {
    pub(super) cells: Vec<Recovered>,
    pub(super) last_at: Time,
}

/// Reads the store: the clusters of the inventory, and those that it no longer names but that left
/// something open.
pub(super) async fn everything(
    settings: &Settings,
    clusters: Vec<(Arc<Cluster>, Arc<dyn Target>)>,
    store: &Arc<dyn Store>,
    clock: &Clock,
) -> Result<Everything, StartError> {
    let mut folded = fold::all(store).await?;
    let mut observed = observed(store).await?;
    let mut cells = Vec::with_capacity(clusters.len());
    for (cluster, target) in clusters {
        let row = observed.remove(&cluster.name);
        let folded = folded.remove(&cluster.name).unwrap_or_default();
        let setup = setup(settings, cluster, &target);
        cells.push(Recovered::new(setup, target, folded, row, clock));
    }
    for (name, folded) in folded {
        let row = observed.remove(&name);
        let recovered = retired(settings, &name, folded, row, clock);
        let state = &recovered.cell.state;
        if state.open_run().is_some() || state.open_incidents().next().is_some() {
            tracing::warn!(cluster = %name, "the inventory does not name this cluster any more; \
                what it left open is closed, and its run is shown");
            cells.push(recovered);
        }
    }
    claim(&mut cells, store).await?;
    let last_at = cells.iter().map(|cell| cell.last_at).max().unwrap_or_default();
    Ok(Everything { cells, last_at })
}

async fn observed(store: &Arc<dyn Store>) -> Result<BTreeMap<ClusterName, Observed>, StartError> {
    let mut observed = BTreeMap::new();
    for row in store.observed().await? {
        match serde_json::from_str(&row.body) {
            Ok(seen) => drop(observed.insert(row.cluster, seen)),
            Err(error) => tracing::warn!(cluster = %row.cluster, error = %error,
                "what was observed cannot be read; the cluster counts as forming until it is seen healthy"),
        }
    }
    Ok(observed)
}

/// Clusters that came with a reload; each may have been here before.
pub(super) async fn more(
    settings: &Settings,
    clusters: Vec<(Arc<Cluster>, Arc<dyn Target>)>,
    store: &Arc<dyn Store>,
    clock: &Clock,
) -> Result<Vec<Recovered>, StartError> {
    if clusters.is_empty() {
        return Ok(Vec::new());
    }
    let mut observed = observed(store).await?;
    let heads = store.streams().await?.into_iter();
    let heads: BTreeMap<StreamName, StreamHead> =
        heads.map(|head| (head.stream.clone(), head)).collect();
    let streams = clusters.iter().map(|(cluster, _)| StreamName::Cluster(cluster.name.clone()));
    let fences = claim_all(streams.collect(), store).await?;
    let mut cells = Vec::with_capacity(clusters.len());
    for ((cluster, target), fence) in clusters.into_iter().zip(fences) {
        let stream = StreamName::Cluster(cluster.name.clone());
        let folded = match heads.get(&stream) {
            Some(head) => fold::one(head, store).await?,
            None => Folded::default(),
        };
        let row = observed.remove(&cluster.name);
        let setup = setup(settings, cluster, &target);
        let recovered = Recovered::new(setup, target, folded, row, clock);
        cells.push(Recovered { fence, ..recovered });
    }
    Ok(cells)
}

/// A cluster that the inventory no longer names.
fn retired(
    settings: &Settings,
    name: &ClusterName,
    folded: Folded,
    observed: Option<Observed>,
    clock: &Clock,
) -> Recovered {
    let cluster = Arc::new(Cluster::retired(name.clone()));
    let target = crate::targets::cluster::target(cluster.clone());
    let setup = Setup { is_retired: true, ..setup(settings, cluster, &target) };
    Recovered::new(setup, target, folded, observed, clock)
}

/// Makes this process the owner of all streams.
async fn claim(cells: &mut [Recovered], store: &Arc<dyn Store>) -> Result<(), StartError> {
    let names = cells.iter().map(|cell| StreamName::Cluster(cell.cell.name().clone()));
    let fences = claim_all(names.collect(), store).await?;
    for (cell, fence) in cells.iter_mut().zip(fences) {
        cell.fence = fence;
    }
    Ok(())
}

/// Claims streams, in order; those that are made together share one sync.
async fn claim_all(
    names: Vec<StreamName>,
    store: &Arc<dyn Store>,
) -> Result<Vec<Fence>, StoreError> {
    let claims = names.into_iter().map(|name| store.claim(&name));
    stream::iter(claims).buffered(CLAIMS_MAX).try_collect().await
}

/// What a cell of this cluster works by.
pub(super) fn setup(settings: &Settings, cluster: Arc<Cluster>, target: &Arc<dyn Target>) -> Setup {
    Setup {
        cluster,
        rules: settings.rules.clone(),
        catalogue: settings.catalogue.clone(),
        commands: Arc::new(Described(target.clone())),
        look_every: settings.watch_every,
        store_on_target: settings.store_on_target,
        is_retired: false,
    }
}

/// The alerts' owners: the clusters of the inventory.
pub(super) fn owners<'a>(cells: impl Iterator<Item = &'a Cell>) -> Arc<Owners> {
    let named = cells.filter(|cell| !cell.setup.is_retired);
    Arc::new(Owners::new(named.map(|cell| (cell.name().clone(), cell.inventory().matches.clone()))))
}

/// A seed for the ids of one cell: ids of two processes must not meet.
fn rand_seed() -> u64 {
    let id = uuid::Uuid::now_v7().as_u128();
    let half = |bits: u128| u64::try_from(bits & u128::from(u64::MAX)).unwrap_or_default();
    half(id >> 64) ^ half(id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::memory;

    /// Once no start succeeded with more clusters than the store's line is long.
    #[tokio::test]
    async fn more_streams_are_claimed_than_may_wait_for_the_disk() {
        let slow = memory();
        slow.hold();
        let store: Arc<dyn Store> = slow.clone();
        let names = (0..=QUEUED_MAX).map(|n| StreamName::Cluster(format!("c{n}").into()));
        let mut claims = Box::pin(claim_all(names.collect(), &store));
        assert!(futures::poll!(&mut claims).is_pending());
        slow.release();
        assert_eq!(claims.await.unwrap().len(), QUEUED_MAX + 1);
    }
}
