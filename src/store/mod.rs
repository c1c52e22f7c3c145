//! The journal store: what was decided and done, one stream per cluster, and the rows beside it.
//!
//! A store keeps bytes and positions; it does not know what an entry means (only that it reads back),
//! never takes a time from a clock and never retries. The one thing to know: [`Store::commit`] takes
//! its place in line when it is called, not when it is awaited, so the order of calls is the order of
//! commits.
//!
//! # Design
//! Two invariants of the house live here. An alert is acknowledged only after it is durable: the
//! [`Pending`] of a commit answers after the sync, never before. Every append carries a fence: the
//! store refuses a former owner. All backends are held to them by one contract suite.

mod chunks;
#[cfg(test)]
mod contract;
mod embedded;
mod error;
mod memory;
mod position;

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures::{TryStreamExt, future::BoxFuture, stream::BoxStream};
use tokio::sync::oneshot;

use crate::domain::{
    base::{id::ClusterName, time::Time},
    journal::record::{Record, VERSION},
};

#[doc(hidden)]
pub use self::embedded::open_embedded_bounded;
pub use self::{
    embedded::{Inspection, inspect, open_embedded},
    error::{Cause, StoreError},
    memory::{MemoryStore, memory},
};

/// Batches that may wait for the writer. More than every connection and run can have in flight;
/// at 2 ms for a sync it is drained in one, so a full queue means that the disk hangs.
pub const QUEUED_MAX: usize = 4096;

/// An append-only record of streams, with rows beside it that are overwritten.
///
/// # Guarantees
/// A batch is written whole or not at all, and its answer comes after the sync. Batches take effect
/// in the order of the calls. `(stream, n)` is unique, `seq` ascends and is never used twice.
///
/// # Assumptions
/// One process at a time works on a store. Bodies are bounded by who makes them.
///
/// # Errors
/// A commit answers that it is durable, or an error that says that nothing of it is there, or
/// [`StoreError::Unknown`]: then it has to be read back first. After [`StoreError::Failed`] and
/// `Unknown` every commit that was made before [`Store::heal`] fails as well: the caller's memory
/// already holds what did not become durable, and must be rolled back first. Such commits are refused
/// at once and cost nothing. [`StoreError::Conflict`], [`StoreError::Fenced`] and
/// [`StoreError::Unreadable`] fail their own batch alone, also where many share one sync.
/// [`StoreError::Broken`] is for good, see [`Store::fatal`].
pub trait Store: Send + Sync + fmt::Debug {
    /// Takes its place in line at once and answers when the batch is durable. An empty batch is a
    /// barrier: it answers when everything before it is durable, and fails if any of that failed.
    fn commit(&self, batch: Batch) -> Pending;

    /// Makes the caller the owner of a stream: from now on nobody with an earlier fence can append
    /// to it, nor compact it. Takes its place in line like a commit, and is as durable when it
    /// answers; two that claim at once get different fences. The stream itself is read afterwards:
    /// what a former owner appended is there by then, or never will be. Claims that are made
    /// together share one sync.
    fn claim(&self, stream: &StreamName) -> BoxFuture<'static, Result<Fence, StoreError>>;

    /// The entries of a stream from position `from` on, in order. Sees every earlier commit.
    fn read(&self, stream: &StreamName, from: u64)
    -> BoxFuture<'_, Result<Vec<Entry>, StoreError>>;

    /// The entries of a stream at these positions, in order. What is not there is left out.
    fn read_at(
        &self,
        stream: &StreamName,
        ns: Vec<u64>,
    ) -> BoxFuture<'_, Result<Vec<Entry>, StoreError>>;

    /// The entries of all streams that no snapshot stands for, stream by stream and in order, in
    /// chunks of which the next is read while one is worked on. With [`Store::streams`] before it,
    /// for the snapshots, that is all a start has to read of the journal. What is committed
    /// meanwhile may be among them.
    fn read_tails(&self) -> BoxStream<'_, Result<Vec<Entry>, StoreError>>;

    /// Every stream that there is, by name, with its snapshot.
    fn streams(&self) -> BoxFuture<'_, Result<Vec<StreamHead>, StoreError>>;

    /// From now on `snapshot` stands for the entries before `upto`: a start does not read them. They
    /// stay where they are, for who asks for single ones ([`Store::read_at`]), until they are
    /// dropped. Both or neither, in one transaction. Answers [`StoreError::Conflict`] where `upto`
    /// lies beyond the stream's end or before what is compacted already, and [`StoreError::Fenced`]
    /// to a former owner.
    fn compact(
        &self,
        stream: &StreamName,
        upto: u64,
        fence: Fence,
        snapshot: Vec<u8>,
    ) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Drops single entries of what is finished. The numbering keeps its gaps; a number that is not
    /// there is no error.
    fn drop_entries(
        &self,
        stream: &StreamName,
        ns: Vec<u64>,
    ) -> BoxFuture<'_, Result<(), StoreError>>;

    /// All alert rows, by id, in chunks as [`Store::read_tails`]. Their body is always there.
    fn alert_rows(&self) -> BoxStream<'_, Result<Vec<AlertRow>, StoreError>>;

    /// All alert rows at once. What is committed meanwhile may be among them.
    fn alerts(&self) -> BoxFuture<'_, Result<Vec<AlertRow>, StoreError>> {
        Box::pin(self.alert_rows().try_concat())
    }

    /// All observed rows, by cluster.
    fn observed(&self) -> BoxFuture<'_, Result<Vec<ObservedRow>, StoreError>>;

    /// Ends the failed state for every commit made from now on, where something has failed by now;
    /// else it does nothing, so that of many who saw one failure the second changes nothing. What
    /// was in line by now and fails later is a new failure.
    fn heal(&self);

    /// Resolves when the store can go on no more: a sync failed, or its files were deleted or
    /// replaced. What it shows from then on proves nothing, so the process has to end with this
    /// error; the next start reads what is really there.
    fn fatal(&self) -> BoxFuture<'static, StoreError>;

    /// The size on disk in bytes (0 where there is none), as the writer last saw it: never waits.
    fn bytes(&self) -> u64;

    /// The quorate version that wrote last before this store was opened; `None` if it was new. It is
    /// the one to name when an entry's kind or version is not known.
    fn written_by(&self) -> Option<String>;

    /// Makes everything durable that was called before, then refuses with [`StoreError::Closed`].
    /// Waits for a disk that does not answer only so long, then says with [`StoreError::Unknown`]
    /// what may not be durable.
    fn close(&self) -> BoxFuture<'static, Result<(), StoreError>>;
}

/// The name of a stream.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StreamName {
    /// What belongs to no cluster: loads of the configuration, unmatched alerts.
    Process,
    /// Everything about one cluster.
    Cluster(ClusterName),
}

const PROCESS: &str = "process";
const CLUSTER: &str = "cluster/";

impl StreamName {
    /// Reads a name as it is shown.
    pub fn parse(text: &str) -> Option<Self> {
        match text.strip_prefix(CLUSTER) {
            Some(name) => Some(Self::Cluster(name.into())),
            None => (text == PROCESS).then_some(Self::Process),
        }
    }
}

impl fmt::Display for StreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Process => f.write_str(PROCESS),
            Self::Cluster(name) => write!(f, "{CLUSTER}{name}"),
        }
    }
}

impl From<ClusterName> for StreamName {
    fn from(name: ClusterName) -> Self {
        Self::Cluster(name)
    }
}

/// Who owns a stream: of two owners the later one has the higher fence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fence(pub u64);

impl Fence {
    /// The one after it.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Fence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What is written together or not at all. An empty one is a barrier.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// Appends to streams, in order.
    pub appends: Vec<Append>,
    /// Alert rows to write or delete.
    pub alerts: Vec<AlertRow>,
    /// Observed rows to overwrite.
    pub observed: Vec<ObservedRow>,
}

impl Batch {
    /// Whether it is a barrier only.
    pub fn is_empty(&self) -> bool {
        self.appends.is_empty() && self.alerts.is_empty() && self.observed.is_empty()
    }
}

/// New entries at the end of one stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Append {
    /// The stream; it begins with its first append.
    pub stream: StreamName,
    /// The next position as the caller knows it; 0 in a new stream.
    pub expected_n: u64,
    /// The caller's fence: a lower one than the stream's is refused, a higher one takes over.
    pub fence: Fence,
    /// The entries. None at all only checks the position and takes over.
    pub entries: Vec<NewEntry>,
}

/// An entry before it has its place. It is made of a record only, and only of one that was shown to
/// read back: a single entry that cannot be read keeps every later start from the whole journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEntry {
    kind: &'static str,
    ver: u16,
    at: Time,
    body: String,
}

impl NewEntry {
    /// A record that was decided at `at`.
    ///
    /// # Errors
    /// [`StoreError::Unreadable`] where it would not read back as it is.
    pub fn of(record: &Record, at: Time) -> Result<Self, StoreError> {
        let body = record.encode().map_err(|source| StoreError::Unreadable(Arc::new(source)))?;
        Ok(Self { kind: record.kind(), ver: VERSION, at, body })
    }

    /// What no record is: for tests of what must be refused.
    #[cfg(test)]
    pub(crate) fn unchecked(kind: &'static str, ver: u16, at: Time, body: &str) -> Self {
        Self { kind, ver, at, body: body.into() }
    }
}

/// An entry of the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its place among the entries of all streams, from 1 on.
    pub seq: u64,
    /// Its stream.
    pub stream: StreamName,
    /// Its place in the stream, from 0 on.
    pub n: u64,
    /// The fence it was written under.
    pub fence: Fence,
    /// What it records.
    pub kind: String,
    /// The version of its body.
    pub ver: u16,
    /// When it was decided.
    pub at: Time,
    /// JSON.
    pub body: String,
}

/// Where a stream stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamHead {
    /// The stream.
    pub stream: StreamName,
    /// The position of the next entry.
    pub n: u64,
    /// The fence of the last owner that appended.
    pub fence: Fence,
    /// A start does not read the entries before this position.
    pub compacted: u64,
    /// What stands for them.
    pub snapshot: Option<Vec<u8>>,
}

/// An alert as the engine packs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlertRow {
    /// Given by the engine, ascending.
    pub id: i64,
    /// The alert; `None` deletes the row.
    pub body: Option<Vec<u8>>,
}

/// What was last seen of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObservedRow {
    /// The cluster.
    pub cluster: ClusterName,
    /// JSON.
    pub body: String,
}

/// The answer to a durable commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Committed {
    /// The last sequence number in the journal after the batch; 0 while it is empty.
    pub last_seq: u64,
}

/// A commit on its way to the disk. Dropping it does not take the commit back.
#[derive(Debug)]
pub struct Pending(Way);

#[derive(Debug)]
enum Way {
    Known(Option<Result<Committed, StoreError>>),
    Waiting(oneshot::Receiver<Result<Committed, StoreError>>),
}

impl Pending {
    fn known(result: Result<Committed, StoreError>) -> Self {
        Self(Way::Known(Some(result)))
    }

    fn waiting(answer: oneshot::Receiver<Result<Committed, StoreError>>) -> Self {
        Self(Way::Waiting(answer))
    }
}

impl Future for Pending {
    type Output = Result<Committed, StoreError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.get_mut().0 {
            Way::Known(result) => Poll::Ready(result.take().unwrap_or(Err(StoreError::Closed))),
            Way::Waiting(answer) => {
                Pin::new(answer).poll(cx).map(|answer| answer.unwrap_or(Err(StoreError::Closed)))
            }
        }
    }
}
