//! A store that forgets at exit: for tests and for simulation, where a sync would only cost time.
//!
//! It keeps the contract of the others and adds what a test needs to hurt the engine: failing
//! writes, answers held back, and a restart that loses what was not answered.

use std::{
    collections::BTreeMap,
    io, mem,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use futures::future::{BoxFuture, FutureExt, ready};
use tokio::sync::oneshot;

use super::{
    AlertRow, Append, Batch, Cause, Committed, Entry, ObservedRow, Pending, QUEUED_MAX, Store,
    StoreError, StreamHead, StreamName,
};
use crate::domain::base::id::ClusterName;

/// A store in memory. Clones of its `Arc` are the same store; [`MemoryStore::restart`] opens it anew.
#[derive(Debug)]
pub struct MemoryStore {
    data: Arc<Mutex<Data>>,
    closed: AtomicBool,
}

/// A new, empty store in memory.
pub fn memory() -> Arc<MemoryStore> {
    Arc::new(MemoryStore { data: Arc::default(), closed: AtomicBool::new(false) })
}

#[derive(Debug, Default)]
struct Data {
    seq: u64,
    streams: BTreeMap<StreamName, Stream>,
    alerts: BTreeMap<i64, Vec<u8>>,
    observed: BTreeMap<ClusterName, String>,
    /// Writes that are still to meet a broken disk.
    failing: u32,
    failed: Option<Cause>,
    /// `Some` while answers are held back.
    held: Option<Vec<Waiting>>,
    /// A commit found no room since the last heal, so none behind it may succeed.
    overflowed: bool,
}

#[derive(Debug, Default)]
struct Stream {
    next: u64,
    fence: u64,
    compacted: u64,
    snapshot: Option<Vec<u8>>,
    entries: BTreeMap<u64, Entry>,
}

#[derive(Debug)]
enum Waiting {
    Commit(Batch, oneshot::Sender<Result<Committed, StoreError>>),
    Heal,
}

impl MemoryStore {
    /// The next `count` batches that have something to write meet a broken disk. As on a real one,
    /// the first of them fails all others up to [`Store::heal`]; those do not count.
    pub fn fail_next(&self, count: u32) {
        self.data().failing = count;
    }

    /// From now on commits wait, as on a slow disk, until [`MemoryStore::release`].
    pub fn hold(&self) {
        self.data().held.get_or_insert_default();
    }

    /// Lets the commits that wait become durable, in order, and later ones at once.
    pub fn release(&self) {
        let mut data = self.data();
        for waiting in data.held.take().unwrap_or_default() {
            match waiting {
                // who asked may have gone; the commit counts all the same
                Waiting::Commit(batch, answer) => drop(answer.send(data.commit(batch))),
                Waiting::Heal => data.failed = None,
            }
        }
    }

    /// Opens the same data anew, as after kill -9 and a start: what was held back is lost, a failed
    /// state is over, and the handle at hand refuses from now on.
    pub fn restart(&self) -> Arc<Self> {
        self.closed.store(true, Ordering::SeqCst);
        let mut data = self.data();
        data.failed = None;
        data.overflowed = false;
        drop(mem::take(&mut data.held));
        Arc::new(Self { data: Arc::clone(&self.data), closed: AtomicBool::new(false) })
    }

    fn data(&self) -> MutexGuard<'_, Data> {
        // a test that panicked while it held the lock has failed already
        self.data.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&mut Data) -> Result<T, StoreError>,
    ) -> BoxFuture<'static, Result<T, StoreError>> {
        let closed = self.closed.load(Ordering::SeqCst);
        let answer = if closed { Err(StoreError::Closed) } else { question(&mut self.data()) };
        ready(answer).boxed()
    }
}

impl Store for MemoryStore {
    fn commit(&self, batch: Batch) -> Pending {
        if self.closed.load(Ordering::SeqCst) {
            return Pending::known(Err(StoreError::Closed));
        }
        let data = &mut *self.data();
        let Some(held) = &mut data.held else { return Pending::known(data.commit(batch)) };
        if data.overflowed || held.len() >= QUEUED_MAX {
            data.overflowed = true;
            let source: Cause = Arc::new(io::Error::other("the queue is full"));
            return Pending::known(Err(StoreError::Failed { source }));
        }
        let (answer, pending) = oneshot::channel();
        held.push(Waiting::Commit(batch, answer));
        Pending::waiting(pending)
    }

    fn read(
        &self,
        stream: &StreamName,
        from: u64,
    ) -> BoxFuture<'_, Result<Vec<Entry>, StoreError>> {
        self.ask(|data| {
            let stream = data.streams.get(stream);
            let entries = stream.into_iter().flat_map(|stream| stream.entries.range(from..));
            Ok(entries.map(|(_, entry)| entry.clone()).collect())
        })
    }

    fn streams(&self) -> BoxFuture<'_, Result<Vec<StreamHead>, StoreError>> {
        self.ask(|data| Ok(data.streams.iter().map(|(name, stream)| stream.head(name)).collect()))
    }

    fn compact(
        &self,
        stream: &StreamName,
        upto: u64,
        snapshot: Option<Vec<u8>>,
    ) -> BoxFuture<'_, Result<(), StoreError>> {
        self.ask(|data| data.compact(stream, upto, snapshot))
    }

    fn drop_entries(
        &self,
        stream: &StreamName,
        ns: Vec<u64>,
    ) -> BoxFuture<'_, Result<(), StoreError>> {
        self.ask(|data| {
            data.writable()?;
            if let Some(stream) = data.streams.get_mut(stream) {
                stream.entries.retain(|n, _| !ns.contains(n));
            }
            Ok(())
        })
    }

    fn alerts(&self) -> BoxFuture<'_, Result<Vec<AlertRow>, StoreError>> {
        self.ask(|data| {
            let rows = data.alerts.iter();
            Ok(rows.map(|(id, body)| AlertRow { id: *id, body: Some(body.clone()) }).collect())
        })
    }

    fn observed(&self) -> BoxFuture<'_, Result<Vec<ObservedRow>, StoreError>> {
        self.ask(|data| {
            let rows = data.observed.iter().map(|(cluster, body)| (cluster.clone(), body.clone()));
            Ok(rows.map(|(cluster, body)| ObservedRow { cluster, body }).collect())
        })
    }

    fn heal(&self) {
        let mut data = self.data();
        data.overflowed = false;
        match &mut data.held {
            Some(held) => held.push(Waiting::Heal),
            None => data.failed = None,
        }
    }

    fn bytes(&self) -> u64 {
        0
    }

    fn written_by(&self) -> Option<String> {
        None
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.release();
        self.closed.store(true, Ordering::SeqCst);
        ready(()).boxed()
    }
}

impl Data {
    fn writable(&self) -> Result<(), StoreError> {
        self.failed.clone().map_or(Ok(()), |source| Err(StoreError::Failed { source }))
    }

    fn commit(&mut self, batch: Batch) -> Result<Committed, StoreError> {
        self.writable()?;
        if self.failing > 0 && !batch.is_empty() {
            self.failing -= 1;
            self.failed = Some(Arc::new(io::Error::other("a failure that the test asked for")));
            self.writable()?;
        }
        self.check(&batch.appends)?;
        batch.appends.into_iter().for_each(|append| self.append(append));
        for row in batch.alerts {
            match row.body {
                Some(body) => self.alerts.insert(row.id, body),
                None => self.alerts.remove(&row.id),
            };
        }
        self.observed.extend(batch.observed.into_iter().map(|row| (row.cluster, row.body)));
        Ok(Committed { last_seq: self.seq })
    }

    /// All appends are judged before any is written, each after those before it.
    fn check(&self, appends: &[Append]) -> Result<(), StoreError> {
        let mut heads = BTreeMap::new();
        for Append { stream, expected_n: expected, fence, entries } in appends {
            let stored = self.streams.get(stream).map_or((0, 0), |s| (s.next, s.fence));
            let (next, owner) = heads.entry(stream).or_insert(stored);
            judge(stream, (*expected, *fence), (*next, *owner))?;
            *next += entries.len() as u64;
            *owner = *fence;
        }
        Ok(())
    }

    fn append(&mut self, append: Append) {
        let Append { stream: name, fence, entries, .. } = append;
        let stream = self.streams.entry(name.clone()).or_default();
        stream.fence = fence;
        for new in entries {
            self.seq += 1;
            let (seq, n, kind) = (self.seq, stream.next, new.kind.into());
            let (ver, at, body) = (new.ver, new.at, new.body);
            let entry = Entry { seq, stream: name.clone(), n, fence, kind, ver, at, body };
            stream.entries.insert(n, entry);
            stream.next += 1;
        }
    }

    fn compact(
        &mut self,
        name: &StreamName,
        upto: u64,
        snapshot: Option<Vec<u8>>,
    ) -> Result<(), StoreError> {
        self.writable()?;
        let (next, compacted) =
            self.streams.get(name).map_or((0, 0), |stream| (stream.next, stream.compacted));
        within(name, upto, (compacted, next))?;
        let stream = self.streams.entry(name.clone()).or_default();
        stream.entries = stream.entries.split_off(&upto);
        stream.compacted = upto;
        stream.snapshot = snapshot.or(stream.snapshot.take());
        Ok(())
    }
}

impl Stream {
    fn head(&self, name: &StreamName) -> StreamHead {
        StreamHead {
            stream: name.clone(),
            n: self.next,
            fence: self.fence,
            compacted: self.compacted,
            snapshot: self.snapshot.clone(),
        }
    }
}

/// Whether an append at `(position, fence)` may follow what is stored. A former owner hears that it
/// is one, whatever its position: that is the reason for its wrong position.
pub(super) fn judge(
    stream: &StreamName,
    (expected, fence): (u64, u64),
    (next, owner): (u64, u64),
) -> Result<(), StoreError> {
    if fence < owner {
        return Err(StoreError::Fenced { stream: stream.clone(), fence, found: owner });
    }
    if expected != next {
        return Err(StoreError::Conflict { stream: stream.clone(), expected, found: next });
    }
    Ok(())
}

/// Whether a stream may be compacted up to a position.
pub(super) fn within(
    stream: &StreamName,
    upto: u64,
    (compacted, next): (u64, u64),
) -> Result<(), StoreError> {
    let found = upto.clamp(compacted, next);
    if found == upto {
        return Ok(());
    }
    Err(StoreError::Conflict { stream: stream.clone(), expected: upto, found })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::contract::{batch, prod};

    #[tokio::test]
    async fn what_is_held_back_is_answered_after_release_and_lost_at_restart() {
        let store = memory();
        store.hold();
        let first = store.commit(batch().append(&prod(), 0, 0, &["a"]));
        assert_eq!(store.read(&prod(), 0).await.unwrap(), []);
        store.release();
        assert_eq!(first.await.unwrap().last_seq, 1);
        store.hold();
        let lost = store.commit(batch().append(&prod(), 1, 0, &["b"]));
        let restarted = store.restart();
        assert!(matches!(lost.await, Err(StoreError::Closed)));
        assert!(matches!(store.commit(batch()).await, Err(StoreError::Closed)));
        assert_eq!(restarted.read(&prod(), 0).await.unwrap().len(), 1);
        restarted.commit(batch().append(&prod(), 1, 0, &["c"])).await.unwrap();
    }
}
