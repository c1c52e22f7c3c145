//! Where a test stops the world: right after the n-th commit to the journal, as a kill would.
//!
//! From then on nothing becomes durable and no effect begins; the test then drops the engine and
//! starts another one on what is left.

use std::{
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use futures::{future::BoxFuture, stream::BoxStream};
use tokio::sync::Notify;

use crate::{
    domain::{
        base::time::Time,
        etcd::evidence::Evidence,
        rules::{
            action::{Call, Done, Failure, Probed},
            expr::Value,
        },
    },
    sim::FakeTarget,
    store::{
        AlertRow, Append, Batch, Entry, Fence, MemoryStore, ObservedRow, Pending, Store,
        StoreError, StreamHead, StreamName,
    },
    targets::{AlertState, Deadline, Depth, Target, Toolset},
};

/// When the world stops.
#[derive(Debug, Default)]
pub(super) struct Gate {
    seen: AtomicUsize,
    last: AtomicUsize,
    effects_too: AtomicBool,
    last_effect: Mutex<Option<(FakeTarget, &'static str)>>,
    shut: AtomicBool,
    bell: Notify,
    trouble: Mutex<Option<(usize, Outcome)>>,
    sizes: Mutex<Vec<usize>>,
    reconciled: AtomicUsize,
    /// What the next question to the Alertmanager meets.
    pub(super) next_question: Mutex<Option<Breaks>>,
    /// Whether a step that lists commands breaks off.
    pub(super) breaks_steps: AtomicBool,
    /// Whether the intake breaks off at its next commit.
    pub(super) breaks_intake: AtomicBool,
    /// Whether the journal cannot be read.
    pub(super) unreadable: AtomicBool,
}

/// What a commit comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    NotDurable,
    UnknownAndThere,
    UnknownAndNotThere,
}

/// How a question breaks off.
#[derive(Clone, Copy, Debug)]
pub(super) enum Breaks {
    Panics,
    Hangs,
}

impl Gate {
    /// Shuts after this many more commits to the journal; `effects_too`: what these allowed to
    /// begin does not begin any more.
    pub(super) fn shut_after(&self, commits: usize, effects_too: bool) {
        self.effects_too.store(effects_too, Ordering::SeqCst);
        self.last.store(self.seen() + commits, Ordering::SeqCst);
    }

    /// Shuts after the first commit that follows an effect of this action; what was allowed to begin
    /// by then does.
    pub(super) fn shut_after_effect(&self, patient: &FakeTarget, action: &'static str) {
        *self.last_effect.lock().unwrap() = Some((patient.clone(), action));
    }

    /// Whether the commit that was just made is the last one.
    fn is_last(&self, seen: usize) -> bool {
        let last_effect = self.last_effect.lock().unwrap();
        let took_effect =
            |(patient, action): &(FakeTarget, &'static str)| patient.effects_of(action) > 0;
        seen == self.last.load(Ordering::SeqCst) || last_effect.as_ref().is_some_and(took_effect)
    }

    /// The `nth` commit from now on comes to this.
    pub(super) fn trouble(&self, nth: usize, outcome: Outcome) {
        *self.trouble.lock().unwrap() = Some((self.seen() + nth, outcome));
    }

    /// Questions to the Alertmanager so far.
    pub(super) fn reconciled(&self) -> usize {
        self.reconciled.load(Ordering::SeqCst)
    }

    fn hurt(&self, store: &MemoryStore) {
        let trouble = *self.trouble.lock().unwrap();
        let Some((_, outcome)) = trouble.filter(|(at, _)| *at == self.seen() + 1) else { return };
        match outcome {
            Outcome::NotDurable => store.fail_next(1),
            Outcome::UnknownAndThere => store.unknown_next(true),
            Outcome::UnknownAndNotThere => store.unknown_next(false),
        }
    }

    /// Commits to the journal so far.
    pub(super) fn seen(&self) -> usize {
        self.seen.load(Ordering::SeqCst)
    }

    /// How many records each of them had about the first cluster. One that was hurt counts twice.
    pub(super) fn sizes(&self) -> Vec<usize> {
        self.sizes.lock().unwrap().clone()
    }

    fn note(&self, batch: &Batch) {
        let of_first = |append: &&Append| append.stream == StreamName::Cluster("c1".into());
        let entries = batch.appends.iter().filter(of_first).map(|append| append.entries.len());
        self.sizes.lock().unwrap().push(entries.sum());
    }

    /// Whether it is shut.
    pub(super) fn is_shut(&self) -> bool {
        self.shut.load(Ordering::SeqCst)
    }

    /// Waits until it shuts.
    pub(super) async fn shuts(&self) {
        while !self.is_shut() {
            self.bell.notified().await;
        }
    }

    async fn pass(&self) {
        if self.is_shut() && self.effects_too.load(Ordering::SeqCst) {
            futures::future::pending::<()>().await;
        }
    }
}

/// A store that stops at the gate.
#[derive(Debug)]
pub(super) struct GatedStore(pub(super) Arc<MemoryStore>, pub(super) Arc<Gate>);

impl Store for GatedStore {
    fn commit(&self, batch: Batch) -> Pending {
        let breaks = !batch.alerts.is_empty() && self.1.breaks_intake.load(Ordering::SeqCst);
        assert!(!breaks, "the intake breaks off for the test");
        let counts = !batch.appends.is_empty();
        if counts {
            self.1.hurt(&self.0);
            self.1.note(&batch);
        }
        let pending = self.0.commit(batch);
        if counts && !self.1.is_shut() {
            let seen = self.1.seen.fetch_add(1, Ordering::SeqCst) + 1;
            if self.1.is_last(seen) {
                self.0.hold();
                self.1.shut.store(true, Ordering::SeqCst);
                self.1.bell.notify_one();
            }
        }
        pending
    }

    fn read(&self, stream: &StreamName, n: u64) -> BoxFuture<'_, Result<Vec<Entry>, StoreError>> {
        if self.1.unreadable.load(Ordering::SeqCst) {
            let source = Arc::new(std::io::Error::other("no read, for the test"));
            return Box::pin(async { Err(StoreError::Read { source }) });
        }
        self.0.read(stream, n)
    }

    fn claim(&self, stream: &StreamName) -> BoxFuture<'static, Result<Fence, StoreError>> {
        self.0.claim(stream)
    }

    fn read_at(
        &self,
        stream: &StreamName,
        ns: Vec<u64>,
    ) -> BoxFuture<'_, Result<Vec<Entry>, StoreError>> {
        self.0.read_at(stream, ns)
    }

    fn read_tails(&self) -> BoxStream<'_, Result<Vec<Entry>, StoreError>> {
        self.0.read_tails()
    }

    fn streams(&self) -> BoxFuture<'_, Result<Vec<StreamHead>, StoreError>> {
        self.0.streams()
    }

    fn compact(
        &self,
        stream: &StreamName,
        upto: u64,
        fence: Fence,
        snapshot: Vec<u8>,
    ) -> BoxFuture<'_, Result<(), StoreError>> {
        self.0.compact(stream, upto, fence, snapshot)
    }

    fn drop_entries(
        &self,
        stream: &StreamName,
        ns: Vec<u64>,
    ) -> BoxFuture<'_, Result<(), StoreError>> {
        self.0.drop_entries(stream, ns)
    }

    fn alert_rows(&self) -> BoxStream<'_, Result<Vec<AlertRow>, StoreError>> {
        self.0.alert_rows()
    }

    fn observed(&self) -> BoxFuture<'_, Result<Vec<ObservedRow>, StoreError>> {
        self.0.observed()
    }

    fn heal(&self) {
        self.0.heal();
    }

    fn bytes(&self) -> u64 {
        self.0.bytes()
    }

    fn written_by(&self) -> Option<String> {
        self.0.written_by()
    }

    fn fatal(&self) -> BoxFuture<'static, StoreError> {
        self.0.fatal()
    }

    fn close(&self) -> BoxFuture<'static, Result<(), StoreError>> {
        self.0.close()
    }
}

/// A patient whose effects stop at the gate.
#[derive(Clone)]
pub(super) struct GatedPatient(pub(super) FakeTarget, pub(super) Arc<Gate>);

impl fmt::Debug for GatedPatient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GatedPatient").finish_non_exhaustive()
    }
}

impl Target for GatedPatient {
    fn assess<'a>(
        &'a self,
        depth: Depth,
        now: &'a (dyn Fn() -> Time + Send + Sync),
    ) -> BoxFuture<'a, Evidence> {
        self.0.assess(depth, now)
    }

    fn before<'a>(&'a self, call: &'a Call) -> BoxFuture<'a, Result<Value, Failure>> {
        self.0.before(call)
    }

    fn act<'a>(
        &'a self,
        call: &'a Call,
        before: &'a Value,
        deadline: &'a Deadline,
    ) -> BoxFuture<'a, Result<Done, Failure>> {
        Box::pin(async move {
            self.1.pass().await;
            self.0.act(call, before, deadline).await
        })
    }

    fn probe<'a>(&'a self, call: &'a Call, before: &'a Value) -> BoxFuture<'a, Probed> {
        self.0.probe(call, before)
    }

    fn commands(&self, call: &Call) -> Vec<String> {
        assert!(!self.1.breaks_steps.load(Ordering::SeqCst), "a step breaks off for the test");
        self.0.commands(call)
    }

    fn revision_max(&self, from: Time, until: Time) -> BoxFuture<'_, Option<i64>> {
        self.0.revision_max(from, until)
    }

    fn tools(&self) -> BoxFuture<'_, Result<Toolset, String>> {
        self.0.tools()
    }

    fn alerts(&self) -> BoxFuture<'_, Option<Result<Vec<AlertState>, Failure>>> {
        self.1.reconciled.fetch_add(1, Ordering::SeqCst);
        let breaks = self.1.next_question.lock().unwrap().take();
        match breaks {
            None => self.0.alerts(),
            Some(Breaks::Panics) => Box::pin(async { panic!("it panics for the test") }),
            Some(Breaks::Hangs) => Box::pin(futures::future::pending()),
        }
    }
}
