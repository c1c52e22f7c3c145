//! The store in one `SQLite` file: the write-ahead log is synced once for all that waits.
//!
//! One thread owns the database; reads go through it as well, so they see every earlier commit and
//! one connection is all there is. It does not retry and does not judge what it stores.
//!
//! # Design
//! Throughput comes from the group: while one sync runs, the next group gathers. With one writer
//! there is nothing to lock, and no answer waits for the log to be copied back, because that is
//! done after the answers. A read waits for the sync before it, which nobody on a hot path does.

mod folder;
mod inspect;
mod journal;
mod mark;
mod queue;
mod read;
mod schema;
#[cfg(test)]
mod tests;
mod upkeep;
mod write;
mod writer;

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use futures::{
    future::{BoxFuture, FutureExt, pending, ready},
    stream::BoxStream,
};
use tokio::sync::{oneshot, watch};

pub use self::inspect::{Inspection, inspect};
use self::{
    folder::{FILE, Folder, MARK},
    journal::Journal,
    mark::Mark,
    queue::Queue,
    writer::Writer,
};
use super::{
    AlertRow, Batch, Entry, Fence, ObservedRow, Pending, Store, StoreError, StreamHead, StreamName,
    chunks::chunks,
};

/// Opens the store in a directory, which is made where it is missing. `version` is this program's:
/// it is kept, so that an older program can name who wrote what it does not know.
///
/// Blocks for some milliseconds. Dropping the store blocks until it is closed in order.
pub fn open_embedded(dir: &Path, version: &str) -> Result<Arc<dyn Store>, StoreError> {
    Ok(Arc::new(Embedded::open(dir, version, None)?))
}

/// As [`open_embedded`], but the file may not grow beyond so many pages: a disk that fills up.
#[doc(hidden)]
pub fn open_embedded_bounded(
    dir: &Path,
    version: &str,
    pages_max: u32,
) -> Result<Arc<dyn Store>, StoreError> {
    Ok(Arc::new(Embedded::open(dir, version, Some(pages_max))?))
}

/// How long a stop waits for a disk that does not answer. A full line is written in far less; what
/// ends services (systemd, Kubernetes) waits longer, so that the log still says what is not durable.
const CLOSE_WITHIN: Duration = Duration::from_secs(10);

struct Embedded {
    path: PathBuf,
    queue: Arc<Queue>,
    writer: Mutex<Option<JoinHandle<()>>>,
    bytes: Arc<AtomicU64>,
    close_within: Duration,
    written_by: Option<String>,
}

impl Embedded {
    fn open(dir: &Path, version: &str, pages_max: Option<u32>) -> Result<Self, StoreError> {
        let failed =
            |source: io::Error| StoreError::Open { path: dir.into(), source: Arc::new(source) };
        let mut folder = Folder::open(dir)?;
        let path = folder.file(FILE);
        let side = folder.file(MARK);
        let known = mark::read(&side).map_err(failed)?;
        let opened = schema::open(&path, version, pages_max, known)?;
        let mark = Mark::open(&side, opened.state).map_err(failed)?;
        folder.sync_names().map_err(failed)?;
        folder.watch().map_err(failed)?;
        let written_by = opened.written_by.clone();
        let bytes = Arc::new(AtomicU64::new(folder.bytes()));
        let journal = Journal::new(opened, folder, mark, version);
        let queue = Arc::new(Queue::new());
        let writer = Writer::new(Arc::clone(&queue), journal, Arc::clone(&bytes));
        let thread = thread::Builder::new().name("store".into());
        let thread = thread.spawn(move || writer.work()).map_err(failed)?;
        let writer = Mutex::new(Some(thread));
        Ok(Self { path, queue, writer, bytes, close_within: CLOSE_WITHIN, written_by })
    }

    fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&mut Journal) -> Result<T, StoreError> + Send + 'static,
    ) -> BoxFuture<'static, Result<T, StoreError>> {
        let (answer, asked) = oneshot::channel();
        // who asked may have gone
        let question = Box::new(move |journal: &mut Journal| drop(answer.send(question(journal))));
        if let Err(error) = self.queue.ask(question) {
            return ready(Err(error)).boxed();
        }
        let mut fatal = self.queue.fatal();
        async move {
            tokio::select! {
                biased;
                answer = asked => answer.unwrap_or(Err(StoreError::Closed)),
                error = broken(&mut fatal) => Err(error),
            }
        }
        .boxed()
    }
}

/// Resolves once the store is broken.
async fn broken(fatal: &mut watch::Receiver<Option<StoreError>>) -> StoreError {
    let error = fatal.wait_for(Option::is_some).await.ok().and_then(|error| error.clone());
    match error {
        Some(error) => error,
        // the store is gone, and was not broken
        None => pending().await,
    }
}

impl Store for Embedded {
    fn commit(&self, batch: Batch) -> Pending {
        self.queue.commit(batch)
    }

    fn claim(&self, stream: &StreamName) -> BoxFuture<'static, Result<Fence, StoreError>> {
        match self.queue.claim(stream.clone()) {
            Ok(fence) => fence.map(|fence| fence.unwrap_or(Err(StoreError::Closed))).boxed(),
            Err(error) => ready(Err(error)).boxed(),
        }
    }

    fn read(
        &self,
        stream: &StreamName,
        from: u64,
    ) -> BoxFuture<'_, Result<Vec<Entry>, StoreError>> {
        let stream = stream.clone();
        self.ask(move |journal| journal.read(&stream, from))
    }

    fn read_at(
        &self,
        stream: &StreamName,
        ns: Vec<u64>,
    ) -> BoxFuture<'_, Result<Vec<Entry>, StoreError>> {
        let stream = stream.clone();
        self.ask(move |journal| journal.read_at(&stream, &ns))
    }

    fn read_tails(&self) -> BoxStream<'_, Result<Vec<Entry>, StoreError>> {
        let after = |place: Option<(StreamName, u64)>| {
            self.ask(move |journal| journal.read_tails(place.as_ref()))
        };
        chunks(after, |entry| (entry.stream.clone(), entry.n))
    }

    fn streams(&self) -> BoxFuture<'_, Result<Vec<StreamHead>, StoreError>> {
        self.ask(|journal| journal.streams())
    }

    fn compact(
        &self,
        stream: &StreamName,
        upto: u64,
        fence: Fence,
        snapshot: Vec<u8>,
    ) -> BoxFuture<'_, Result<(), StoreError>> {
        let stream = stream.clone();
        self.ask(move |journal| journal.compact(&stream, upto, fence, &snapshot))
    }

    fn drop_entries(
        &self,
        stream: &StreamName,
        ns: Vec<u64>,
    ) -> BoxFuture<'_, Result<(), StoreError>> {
        let stream = stream.clone();
        self.ask(move |journal| journal.drop_entries(&stream, &ns))
    }

    fn alert_rows(&self) -> BoxStream<'_, Result<Vec<AlertRow>, StoreError>> {
        let after = |id: Option<i64>| self.ask(move |journal| journal.alerts_after(id));
        chunks(after, |row| row.id)
    }

    fn observed(&self) -> BoxFuture<'_, Result<Vec<ObservedRow>, StoreError>> {
        self.ask(|journal| journal.observed())
    }

    fn heal(&self) {
        self.queue.heal();
    }

    fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    fn written_by(&self) -> Option<String> {
        self.written_by.clone()
    }

    fn fatal(&self) -> BoxFuture<'static, StoreError> {
        let mut fatal = self.queue.fatal();
        async move { broken(&mut fatal).await }.boxed()
    }

    fn close(&self) -> BoxFuture<'static, Result<(), StoreError>> {
        self.queue.close();
        if self.queue.has_ended() {
            return ready(Ok(())).boxed();
        }
        let (queue, within) = (Arc::clone(&self.queue), self.close_within);
        let (answer, ended) = oneshot::channel();
        // a thread, because a hanging disk must not take a worker of the runtime with it
        let thread = thread::Builder::new().name("store-close".into());
        let waits = thread.spawn(move || drop(answer.send(queue.await_end(within))));
        async move {
            let unknown = |error: io::Error| StoreError::Unknown { source: Arc::new(error) };
            drop(waits.map_err(unknown)?);
            ended.await.unwrap_or(Ok(()))
        }
        .boxed()
    }
}

impl fmt::Debug for Embedded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Embedded").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        self.queue.close();
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if self.queue.await_end(self.close_within).is_ok() {
            // a panic of the writer was printed when it happened
            drop(writer.map(JoinHandle::join));
        }
    }
}
