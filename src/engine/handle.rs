//! The cheap way into the loop: what `http` and the runners hold.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

use super::{
    commands::{Command, CommandError, Reply},
    event::{AppendError, AppendRequest, Event},
    intake::Receipt,
    state::State,
};
use crate::domain::{
    alert::Incoming,
    base::id::{ClusterName, RunId},
    journal::record::Record,
};

/// Events that may wait for the loop: more than all webhook connections and runners together can
/// have under way; a full queue means the loop hangs, and senders wait or answer 503.
pub const EVENTS_MAX: usize = 4096;

/// How long a failed commit speaks of the store where nothing was committed since: a server that is
/// not asked for being not ready could never show that it is again.
const FAILED_COUNTS_FOR: Duration = Duration::from_secs(30);

/// A way into the loop.
#[derive(Clone, Debug)]
pub struct Handle {
    events: mpsc::Sender<Event>,
    /// When a commit failed, with none that succeeded since.
    failed: Arc<Mutex<Option<Instant>>>,
}

/// Why alerts were not taken: answer 503, the sender tries again.
#[derive(Debug, thiserror::Error)]
pub enum ObserveError {
    /// The queue is full.
    #[error("too many alerts wait already")]
    Full,
    /// It could not be made durable.
    #[error("the alerts could not be made durable")]
    NotDurable(#[source] crate::store::StoreError),
    /// The engine has stopped.
    #[error("the engine has stopped")]
    Stopped,
}

impl Handle {
    pub(super) fn new(events: mpsc::Sender<Event>) -> Self {
        Self { events, failed: Arc::default() }
    }

    /// Whether what is sent now can be expected to become durable.
    pub fn is_durable(&self) -> bool {
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        failed.is_none_or(|at| at.elapsed() >= FAILED_COUNTS_FOR)
    }

    /// Notes how a commit ended; every commit of the engine is.
    pub(super) fn note_commit<T, E>(&self, result: &Result<T, E>) {
        let failed = result.is_err().then(Instant::now);
        *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = failed;
    }

    /// Takes alerts; answers the number that no cluster matches, only once all are durable.
    pub async fn observe(&self, alerts: Vec<Incoming>) -> Result<usize, ObserveError> {
        let (reply, answer) = oneshot::channel::<Receipt>();
        self.events.try_send(Event::Alerts(alerts, reply)).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => ObserveError::Full,
            mpsc::error::TrySendError::Closed(_) => ObserveError::Stopped,
        })?;
        let receipt = answer.await.map_err(|_| ObserveError::Stopped)?;
        let durable = receipt.durable.await;
        self.note_commit(&durable);
        if let Err(error) = durable {
            self.send(Event::StoreFailed).await;
            return Err(ObserveError::NotDurable(error));
        }
        Ok(receipt.unmatched)
    }

    /// Has every vantage of a cluster asked and waits for the answers; an unknown cluster is not
    /// waited for.
    pub async fn look_now(&self, cluster: ClusterName) {
        let (reply, answer) = oneshot::channel();
        self.send(Event::LookNow(cluster, reply)).await;
        drop(answer.await);
    }

    /// Looks into the state; `None` when the engine has stopped.
    pub async fn read<T: Send + 'static>(
        &self,
        look: impl FnOnce(&State) -> T + Send + 'static,
    ) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        let read = Box::new(move |state: &State| drop(reply.send(look(state))));
        self.send(Event::Read(read)).await;
        answer.await.ok()
    }

    /// Does what a person wants.
    pub async fn command(&self, command: Command) -> Result<Reply, CommandError> {
        let (reply, answer) = oneshot::channel();
        self.send(Event::Command(command, reply)).await;
        answer.await.unwrap_or(Err(CommandError::Stopped))
    }

    pub(super) async fn append(
        &self,
        cluster: &ClusterName,
        run: RunId,
        version: Option<u64>,
        records: Vec<Record>,
    ) -> Result<(), AppendError> {
        let (reply, answer) = oneshot::channel();
        let cluster = cluster.clone();
        self.send(Event::Append(AppendRequest { cluster, run, version, records, reply })).await;
        answer.await.unwrap_or(Err(AppendError::Stopped))
    }

    /// Waits for a place in the queue; a stopped engine is noticed by the missing answer.
    pub(super) async fn send(&self, event: Event) {
        if self.events.send(event).await.is_err() {
            tracing::debug!("the engine has stopped");
        }
    }
}
