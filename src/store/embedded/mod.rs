//! The store in one `SQLite` file: the write-ahead log is synced once for all that waits.
//!
//! One thread owns the database; reads go through it as well, so they see every earlier commit and
//! one connection is all there is. It does not retry and does not judge what it stores.
//!
//! # Design
//! Throughput comes from the group: while one sync runs, the next group gathers. With one writer
//! there is nothing to lock, and no answer waits for the log to be copied back, because that is
//! done after the answers. A read waits for the sync before it, which nobody on a hot path does.

mod journal;
mod lock;
mod queue;
mod schema;
#[cfg(test)]
mod tests;

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    thread::{self, JoinHandle},
};

use futures::future::{BoxFuture, FutureExt, ready};
use tokio::sync::oneshot;

use self::{
    journal::Journal,
    lock::Lock,
    queue::{Queue, Request},
};
use super::{
    AlertRow, Batch, Entry, ObservedRow, Pending, Store, StoreError, StreamHead, StreamName,
};

const FILE: &str = "journal.db";
const LOCK: &str = "lock";

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

struct Embedded {
    path: PathBuf,
    queue: Arc<Queue>,
    writer: Mutex<Option<JoinHandle<()>>>,
    written_by: Option<String>,
}

impl Embedded {
    fn open(dir: &Path, version: &str, pages_max: Option<u32>) -> Result<Self, StoreError> {
        let failed =
            |source: io::Error| StoreError::Open { path: dir.into(), source: Arc::new(source) };
        fs::create_dir_all(dir).map_err(failed)?;
        let lock = Lock::take(&dir.join(LOCK))?;
        let path = dir.join(FILE);
        let opened = schema::open(&path, version, pages_max)?;
        sync_names(dir).map_err(failed)?;
        let written_by = opened.written_by.clone();
        let journal = Journal::new(opened, version);
        let queue = Arc::new(Queue::default());
        let line = Arc::clone(&queue);
        let writer = thread::Builder::new().name("store".into());
        let writer = writer.spawn(move || work(&Line(line), journal, lock)).map_err(failed)?;
        Ok(Self { path, queue, writer: Mutex::new(Some(writer)), written_by })
    }

    fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&mut Journal) -> Result<T, StoreError> + Send + 'static,
    ) -> BoxFuture<'static, Result<T, StoreError>> {
        let (answer, asked) = oneshot::channel();
        // who asked may have gone
        let question = Box::new(move |journal: &mut Journal| drop(answer.send(question(journal))));
        match self.queue.ask(question) {
            Ok(()) => asked.map(|answer| answer.unwrap_or(Err(StoreError::Closed))).boxed(),
            Err(error) => ready(Err(error)).boxed(),
        }
    }
}

impl Store for Embedded {
    fn commit(&self, batch: Batch) -> Pending {
        self.queue.commit(batch)
    }

    fn read(
        &self,
        stream: &StreamName,
        from: u64,
    ) -> BoxFuture<'_, Result<Vec<Entry>, StoreError>> {
        let stream = stream.clone();
        self.ask(move |journal| journal.read(&stream, from))
    }

    fn streams(&self) -> BoxFuture<'_, Result<Vec<StreamHead>, StoreError>> {
        self.ask(|journal| journal.streams())
    }

    fn compact(
        &self,
        stream: &StreamName,
        upto: u64,
        snapshot: Option<Vec<u8>>,
    ) -> BoxFuture<'_, Result<(), StoreError>> {
        let stream = stream.clone();
        self.ask(move |journal| journal.compact(&stream, upto, snapshot.as_deref()))
    }

    fn drop_entries(
        &self,
        stream: &StreamName,
        ns: Vec<u64>,
    ) -> BoxFuture<'_, Result<(), StoreError>> {
        let stream = stream.clone();
        self.ask(move |journal| journal.drop_entries(&stream, &ns))
    }

    fn alerts(&self) -> BoxFuture<'_, Result<Vec<AlertRow>, StoreError>> {
        self.ask(|journal| journal.alerts())
    }

    fn observed(&self) -> BoxFuture<'_, Result<Vec<ObservedRow>, StoreError>> {
        self.ask(|journal| journal.observed())
    }

    fn heal(&self) {
        self.queue.heal();
    }

    fn bytes(&self) -> u64 {
        let log = self.path.with_extension("db-wal");
        [&self.path, &log].iter().filter_map(|path| fs::metadata(path).ok()).map(|m| m.len()).sum()
    }

    fn written_by(&self) -> Option<String> {
        self.written_by.clone()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        match self.queue.close() {
            Some(closed) => closed.map(drop).boxed(),
            None => ready(()).boxed(),
        }
    }
}

impl fmt::Debug for Embedded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Embedded").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        drop(self.queue.close());
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        // a panic of the writer was printed when it happened
        drop(writer.map(JoinHandle::join));
    }
}

/// The writer's end of the line. If the writer goes without being asked to, whoever waits hears
/// that the store is closed instead of waiting for ever.
struct Line(Arc<Queue>);

impl Drop for Line {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

/// The life of the writer thread.
fn work(line: &Line, mut journal: Journal, lock: Lock) {
    loop {
        let (mut group, mut answers) = (Vec::new(), Vec::new());
        for request in line.0.take() {
            if let Request::Commit(batch, answer) = request {
                group.push(batch);
                answers.push(answer);
                continue;
            }
            write(&mut journal, &mut group, &mut answers);
            match request {
                Request::Commit(..) => {}
                Request::Ask(question) => question(&mut journal),
                Request::Heal => journal.heal(),
                Request::Close(answer) => {
                    journal.close();
                    drop(lock);
                    answer.send(()).ok();
                    return;
                }
            }
        }
        write(&mut journal, &mut group, &mut answers);
        journal.tidy();
    }
}

/// Writes what has gathered and answers all of it.
fn write(journal: &mut Journal, group: &mut Vec<Batch>, answers: &mut Vec<queue::Answer>) {
    if group.is_empty() {
        return;
    }
    let results = journal.write(group);
    for (answer, result) in answers.drain(..).zip(results) {
        // who asked may have gone; it is durable all the same
        drop(answer.send(result));
    }
    group.clear();
}

/// A file is only there after a power cut if its directory was synced, and so on upwards.
fn sync_names(dir: &Path) -> io::Result<()> {
    let dir = fs::canonicalize(dir)?;
    for dir in dir.ancestors().take(2) {
        fs::File::open(dir)?.sync_all()?;
    }
    Ok(())
}
