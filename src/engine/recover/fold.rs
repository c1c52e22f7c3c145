//! The journal as a start reads it: each stream from its snapshot on.
//!
//! A snapshot is a short cut only. One that cannot be read is told, and the entries that it stands
//! for are folded instead: they are all there, and the next snapshot replaces it.

use std::{collections::BTreeMap, sync::Arc};

use futures::{StreamExt as _, TryStreamExt as _, stream};

use super::StartError;
use crate::{
    domain::{
        base::{id::ClusterName, time::Time},
        journal::{cluster::ClusterState, record::Record, snapshot::Snapshot},
    },
    engine::chain,
    store::{Entry, Store, StreamHead, StreamName},
};

/// Snapshots that are read at once: enough for all processors, and for the store to have the next
/// entries ready.
const AT_ONCE: usize = 16;

/// Bytes of a snapshot that is read in less than a millisecond: not worth another thread.
const SMALL: usize = 100_000;

/// One stream as far as it is read.
#[derive(Debug, Default)]
pub(super) struct Folded {
    pub(super) state: ClusterState,
    pub(super) last_at: Time,
    /// Entries that no snapshot stands for.
    pub(super) tail: u64,
}

impl Folded {
    /// Folds an entry in.
    fn take(&mut self, entry: &Entry, store: &Arc<dyn Store>) -> Result<(), StartError> {
        let (stream, n) = (entry.stream.clone(), entry.n);
        let record = Record::decode(&entry.kind, entry.ver, &entry.body);
        let record = record.map_err(|source| StartError::Journal {
            stream: stream.clone(),
            n,
            written_by: store.written_by().unwrap_or_else(|| "of unknown version".into()),
            source,
        })?;
        self.state.next = n;
        let legal = self.state.apply(&record, entry.at);
        legal.map_err(|source| StartError::Illegal { stream, n, source })?;
        self.last_at = self.last_at.max(entry.at);
        self.tail += 1;
        Ok(())
    }

    fn take_all(&mut self, entries: &[Entry], store: &Arc<dyn Store>) -> Result<(), StartError> {
        entries.iter().try_for_each(|entry| self.take(entry, store))
    }

    /// What stands before a stream's tail.
    async fn begin(head: &StreamHead, store: &Arc<dyn Store>) -> Result<Self, StartError> {
        let Some(bytes) = head.snapshot.clone() else { return Ok(Self::default()) };
        let snapshot = if bytes.len() < SMALL {
            Snapshot::decode(&bytes)
        } else {
            let read = tokio::task::spawn_blocking(move || Snapshot::decode(&bytes)).await;
            read.expect("nothing in it panics")
        };
        let upto = head.compacted;
        let mut folded = Self::default();
        match snapshot {
            Ok(snapshot) => {
                let open = store.read_at(&head.stream, snapshot.open.clone()).await?;
                folded.take_all(&open, store)?;
                let last_at = snapshot.at;
                let state = snapshot.restore(folded.state, upto);
                Ok(Self { state, last_at, tail: 0 })
            }
            Err(error) => {
                tracing::warn!(stream = %head.stream, error = %chain(&error),
                    "the snapshot of this stream cannot be read; all of its entries are read \
                     instead, and another one is made");
                let mut before = store.read(&head.stream, 0).await?;
                before.retain(|entry| entry.n < upto);
                folded.take_all(&before, store)?;
                Ok(folded)
            }
        }
    }

    /// What a stream's head tells beyond its last entry was dropped.
    fn end(&mut self, head: &StreamHead) {
        self.state.next = head.n;
    }
}

/// One stream, as a reload reads it.
pub(super) async fn one(head: &StreamHead, store: &Arc<dyn Store>) -> Result<Folded, StartError> {
    let mut folded = Folded::begin(head, store).await?;
    folded.take_all(&store.read(&head.stream, head.compacted).await?, store)?;
    folded.end(head);
    Ok(folded)
}

/// The streams of all clusters, in one pass.
pub(super) async fn all(
    store: &Arc<dyn Store>,
) -> Result<BTreeMap<ClusterName, Folded>, StartError> {
    let heads = store.streams().await?;
    let begun = heads.iter().filter_map(|head| match &head.stream {
        StreamName::Cluster(name) => Some((name.clone(), head)),
        StreamName::Process => None,
    });
    let begun = stream::iter(begun).map(|(name, head)| async move {
        Ok::<_, StartError>((name, Folded::begin(head, store).await?))
    });
    let begun: Vec<_> = begun.buffered(AT_ONCE).try_collect().await?;
    let mut folded: BTreeMap<ClusterName, Folded> = begun.into_iter().collect();
    let mut chunks = store.read_tails();
    while let Some(chunk) = chunks.next().await {
        for entry in chunk? {
            let StreamName::Cluster(name) = &entry.stream else { continue };
            if let Some(folded) = folded.get_mut(name) {
                folded.take(&entry, store)?;
            }
        }
    }
    for head in &heads {
        if let StreamName::Cluster(name) = &head.stream
            && let Some(folded) = folded.get_mut(name)
        {
            folded.end(head);
        }
    }
    Ok(folded)
}
