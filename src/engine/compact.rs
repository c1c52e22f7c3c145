//! Snapshots of streams that have grown, so that a start need not read them from their beginning.
//!
//! They are made from what was last durable, off the loop and one at a time; the cluster goes on
//! meanwhile. Where one fails nothing is lost: it is tried again at the next sweep. The one thing to
//! know: a snapshot drops nothing, the entries before it stay for who asks about what is over.

use std::sync::Arc;

use super::{
    chain,
    event::{Compacted, Event},
    shell::Engine,
    slot::Slot,
};
use crate::{
    domain::{
        base::{id::ClusterName, time::Time},
        cell::{Cell, input::Input},
        journal::snapshot::{Snapshot, SnapshotError},
    },
    store::{Fence, Store, StreamName},
};

/// Entries that are not worth a snapshot at a sweep: with 10,000 clusters, half a second of a start.
const FEW: u64 = 16;

/// Entries after which a snapshot does not wait for the sweep: some milliseconds of a start.
const MANY: u64 = 1_000;

/// A snapshot is written whole, so one of a long history is due less often: when as many entries
/// have come as this share of what it tells of.
const SHARE: u64 = 8;

/// Incidents and runs of which a snapshot takes less than a millisecond: not worth another thread.
const SMALL: usize = 100;

fn known(cell: &Cell) -> usize {
    cell.state.incidents.size() + cell.state.runs.size()
}

impl Slot {
    fn is_due(&self, least: u64) -> bool {
        self.has_dropped || self.tail >= least.max(known(&self.cell) as u64 / SHARE)
    }
}

impl Engine {
    /// Takes a snapshot where much has come since the last one.
    pub(super) fn compact_if_long(&mut self, name: &ClusterName) {
        self.compact(name, MANY);
    }

    /// Takes a snapshot at the next chance: the last one tells of what is dropped.
    pub(super) fn compact_after_drop(&mut self, name: &ClusterName) {
        if let Some(slot) = self.slots.get_mut(name) {
            slot.has_dropped = true;
        }
    }

    /// Takes a snapshot where anything much has come since the last one.
    pub(super) fn compact_if_any(&mut self, name: &ClusterName) {
        self.compact(name, FEW);
    }

    fn compact(&mut self, name: &ClusterName, least: u64) {
        let Some(slot) = self.slots.get_mut(name) else { return };
        if slot.is_compacting || slot.stopped.is_some() || !slot.is_due(least) {
            return;
        }
        (slot.is_compacting, slot.has_dropped) = (true, false);
        let (cell, last_at, fence) = (slot.cell.clone(), slot.last_at, slot.fence);
        let (store, name) = (self.store.clone(), name.clone());
        self.performer.aside(async move {
            let done = take(store, cell, last_at, fence).await;
            if let Err(why) = &done {
                tracing::warn!(cluster = %name, error = %why,
                    "no snapshot was taken; it is tried again within the hour");
            }
            Event::Compacted(name, done.ok())
        });
    }

    /// A snapshot was taken, or not.
    pub(super) fn compacted(&mut self, name: &ClusterName, done: Option<Compacted>) {
        let Some(slot) = self.slots.get_mut(name) else { return };
        slot.is_compacting = false;
        let Some(Compacted { upto, rested }) = done else { return };
        slot.tail = slot.cell.state.next - upto;
        self.give(name, Input::Compacted(rested));
        self.compact_if_long(name);
    }
}

async fn take(
    store: Arc<dyn Store>,
    cell: Arc<Cell>,
    last_at: Time,
    fence: Fence,
) -> Result<Compacted, String> {
    let stream = StreamName::Cluster(cell.name().clone());
    let upto = cell.state.next;
    let is_small = known(&cell) < SMALL;
    let snapshot = move || {
        let snapshot = Snapshot::of(&cell.state, last_at);
        Ok::<_, SnapshotError>((snapshot.encode()?, snapshot.rested(&cell.state)))
    };
    let taken = if is_small {
        snapshot()
    } else {
        let taken = tokio::task::spawn_blocking(snapshot).await;
        taken.map_err(|_| "it broke off: a bug of quorate's".to_owned())?
    };
    let (bytes, rested) = taken.map_err(|error| chain(&error))?;
    store.compact(&stream, upto, fence, bytes).await.map_err(|error| chain(&error))?;
    Ok(Compacted { upto, rested })
}
