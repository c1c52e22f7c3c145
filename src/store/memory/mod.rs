//! A store that forgets at exit: for tests and for simulation, where a sync would only cost time.
//!
//! It keeps the contract of the others and adds what a test needs to hurt the engine: failing
//! writes, answers that do not know, a sync that fails, a disk that hangs, and a restart that loses
//! what was not answered.

mod data;
#[cfg(test)]
mod tests;

use std::{
    io, mem,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use futures::{
    future::{BoxFuture, FutureExt, ready},
    stream::BoxStream,
};
use tokio::sync::{oneshot, watch};

use self::data::{Data, Trouble, Waiting};
use super::{
    AlertRow, Batch, Entry, Fence, ObservedRow, Pending, QUEUED_MAX, Store, StoreError, StreamHead,
    StreamName, chunks::chunks,
};

/// A store in memory. Clones of its `Arc` are the same store; [`MemoryStore::restart`] opens it anew.
#[derive(Debug)]
pub struct MemoryStore {
    data: Arc<Mutex<Data>>,
    closed: AtomicBool,
    fatal: watch::Sender<Option<StoreError>>,
}

/// A new, empty store in memory.
pub fn memory() -> Arc<MemoryStore> {
    Arc::new(MemoryStore::on(Arc::default()))
}

impl MemoryStore {
    fn on(data: Arc<Mutex<Data>>) -> Self {
        Self { data, closed: AtomicBool::new(false), fatal: watch::Sender::new(None) }
    }

    /// The next `count` batches that have something to write meet a broken disk. As on a real one,
    /// the first of them fails all others up to [`Store::heal`]; those do not count.
    pub fn fail_next(&self, count: u32) {
        self.data().failing = count;
    }

    /// The next batch that has something to write is answered [`StoreError::Unknown`], whether it
    /// became `durable` or not.
    pub fn unknown_next(&self, durable: bool) {
        self.data().trouble = Some(Trouble::Unknown { durable });
    }

    /// The sync of the next batch that has something to write fails: the store is broken up to
    /// [`MemoryStore::restart`], which finds the batch only if it became `durable`.
    pub fn fail_sync_next(&self, durable: bool) {
        self.data().trouble = Some(Trouble::Sync { durable });
    }

    /// From now on commits wait, as on a slow disk, until [`MemoryStore::release`].
    pub fn hold(&self) {
        self.data().held.get_or_insert_default();
    }

    /// As [`MemoryStore::hold`], and a close does not wait for it: the disk does not answer.
    pub fn hang(&self) {
        self.hold();
        self.data().hangs = true;
    }

    /// Lets the commits that wait become durable, in order, and later ones at once.
    pub fn release(&self) {
        let mut data = self.data();
        data.hangs = false;
        for waiting in data.held.take().unwrap_or_default() {
            match waiting {
                // who asked may have gone; the commit counts all the same
                Waiting::Commit(batch, answer) => drop(answer.send(data.commit(batch))),
                Waiting::Claim(stream, answer) => drop(answer.send(data.claim(&stream))),
                Waiting::Heal(number) => data.healed(number),
            }
        }
        self.tell(&data);
    }

    /// Opens the same data anew, as after kill -9 and a start: what was held back is lost, a failed
    /// or broken state is over, and the handle at hand refuses from now on.
    pub fn restart(&self) -> Arc<Self> {
        self.closed.store(true, Ordering::SeqCst);
        self.data().reopen();
        Arc::new(Self::on(Arc::clone(&self.data)))
    }

    fn data(&self) -> MutexGuard<'_, Data> {
        // a test that panicked while it held the lock has failed already
        self.data.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&mut Data) -> Result<T, StoreError>,
    ) -> BoxFuture<'static, Result<T, StoreError>> {
        let mut data = self.data();
        let end = data.broken.clone();
        let end = end.or_else(|| self.closed.load(Ordering::SeqCst).then_some(StoreError::Closed));
        ready(end.map_or_else(|| question(&mut data), Err)).boxed()
    }

    fn tell(&self, data: &Data) {
        if data.broken.is_some() {
            self.fatal.send_replace(data.broken.clone());
        }
    }
}

impl Store for MemoryStore {
    fn commit(&self, batch: Batch) -> Pending {
        let data = &mut *self.data();
        let closed = self.closed.load(Ordering::SeqCst).then_some(StoreError::Closed);
        if let Some(error) = closed.or_else(|| data.refusal()) {
            return Pending::known(Err(error));
        }
        let Some(held) = &mut data.held else {
            let answer = data.commit(batch);
            self.tell(data);
            return Pending::known(answer);
        };
        if held.len() >= QUEUED_MAX {
            return Pending::known(Err(data.overflow()));
        }
        let (answer, pending) = oneshot::channel();
        held.push(Waiting::Commit(batch, answer));
        Pending::waiting(pending)
    }

    fn claim(&self, stream: &StreamName) -> BoxFuture<'static, Result<Fence, StoreError>> {
        let data = &mut *self.data();
        let closed = self.closed.load(Ordering::SeqCst).then_some(StoreError::Closed);
        if let Some(error) = closed.or_else(|| data.refusal()) {
            return ready(Err(error)).boxed();
        }
        let Some(held) = &mut data.held else { return ready(data.claim(stream)).boxed() };
        if held.len() >= QUEUED_MAX {
            return ready(Err(data.overflow())).boxed();
        }
        let (answer, claimed) = oneshot::channel();
        held.push(Waiting::Claim(stream.clone(), answer));
        claimed.map(|answer| answer.unwrap_or(Err(StoreError::Closed))).boxed()
    }

    fn read(
        &self,
        stream: &StreamName,
        from: u64,
    ) -> BoxFuture<'_, Result<Vec<Entry>, StoreError>> {
        self.ask(|data| Ok(data.read(stream, from)))
    }

    fn read_at(
        &self,
        stream: &StreamName,
        ns: Vec<u64>,
    ) -> BoxFuture<'_, Result<Vec<Entry>, StoreError>> {
        self.ask(|data| Ok(data.read_at(stream, &ns)))
    }

    fn read_tails(&self) -> BoxStream<'_, Result<Vec<Entry>, StoreError>> {
        let ask = |after: Option<(StreamName, u64)>| {
            self.ask(move |data| Ok(data.read_tails(after.as_ref())))
        };
        chunks(ask, |entry| (entry.stream.clone(), entry.n))
    }

    fn streams(&self) -> BoxFuture<'_, Result<Vec<StreamHead>, StoreError>> {
        self.ask(|data| Ok(data.streams()))
    }

    fn compact(
        &self,
        stream: &StreamName,
        upto: u64,
        fence: Fence,
        snapshot: Vec<u8>,
    ) -> BoxFuture<'_, Result<(), StoreError>> {
        self.ask(|data| data.compact(stream, upto, fence, snapshot))
    }

    fn drop_entries(
        &self,
        stream: &StreamName,
        ns: Vec<u64>,
    ) -> BoxFuture<'_, Result<(), StoreError>> {
        self.ask(|data| data.drop_entries(stream, &ns))
    }

    fn alert_rows(&self) -> BoxStream<'_, Result<Vec<AlertRow>, StoreError>> {
        chunks(move |id| self.ask(|data| Ok(data.alerts_after(id))), |row: &AlertRow| row.id)
    }

    fn observed(&self) -> BoxFuture<'_, Result<Vec<ObservedRow>, StoreError>> {
        self.ask(|data| Ok(data.observed()))
    }

    fn heal(&self) {
        self.data().heal();
    }

    fn fatal(&self) -> BoxFuture<'static, StoreError> {
        let mut fatal = self.fatal.subscribe();
        async move {
            let error = fatal.wait_for(Option::is_some).await.ok().and_then(|error| error.clone());
            match error {
                Some(error) => error,
                // the store is gone, and was not broken
                None => futures::future::pending().await,
            }
        }
        .boxed()
    }

    fn bytes(&self) -> u64 {
        0
    }

    fn written_by(&self) -> Option<String> {
        None
    }

    fn close(&self) -> BoxFuture<'static, Result<(), StoreError>> {
        let hangs = self.data().hangs;
        if !hangs {
            self.release();
        }
        self.closed.store(true, Ordering::SeqCst);
        // what still waits hears that it never will be written
        let waiting = mem::take(&mut self.data().held).unwrap_or_default().len();
        let source = || io::Error::other(format!("the disk hangs, {waiting} commits wait for it"));
        let hung = || Err(StoreError::Unknown { source: Arc::new(source()) });
        ready(if hangs { hung() } else { Ok(()) }).boxed()
    }
}
