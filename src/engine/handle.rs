//! The cheap way into the engine: what `http` holds.

use std::sync::Arc;

use tokio::sync::{Mutex, mpsc, oneshot};

pub use super::alerts::{ObserveError, Receipt};
use super::{
    alerts::IntakeHandle,
    commands::{Command, CommandError},
    event::Event,
    state::State,
};
use crate::{
    domain::{
        alert::Incoming,
        base::id::ClusterName,
        cell::order::{Order, Reply},
    },
    store::Store,
};

/// Events that may wait for the loop: more than all effects and people together can have under way;
/// a full queue means that the loop hangs, and senders wait.
pub const EVENTS_MAX: usize = 4096;
/// Deliveries that may wait for the cells: the intake waits, and then refuses.
pub const HANDED_MAX: usize = 1024;

/// A way into the engine.
#[derive(Clone, Debug)]
pub struct Handle {
    pub(super) events: mpsc::Sender<Event>,
    /// Only to be read: what a reload adds, and what is over.
    pub(super) store: Arc<dyn Store>,
    /// Held by the one reload that is under way.
    pub(super) reloading: Arc<Mutex<()>>,
    intake: IntakeHandle,
    state: Arc<State>,
}

impl Handle {
    pub(super) fn new(
        events: mpsc::Sender<Event>,
        intake: IntakeHandle,
        state: Arc<State>,
        store: Arc<dyn Store>,
    ) -> Self {
        Self { events, store, reloading: Arc::default(), intake, state }
    }

    /// Takes alerts; answers only once all that changed are durable.
    pub async fn observe(&self, alerts: Vec<Incoming>) -> Result<Receipt, ObserveError> {
        self.intake.observe(alerts).await
    }

    /// Has every vantage of a cluster asked and waits for the answers; an unknown cluster is not
    /// waited for.
    pub async fn look_now(&self, cluster: ClusterName) {
        drop(self.order(cluster, Order::Look).await);
    }

    /// Looks into what readers see; `None` when the engine has stopped. It never reaches the loop.
    #[expect(clippy::unused_async, reason = "many replicas will have to ask for what is elsewhere")]
    pub async fn read<T>(&self, look: impl FnOnce(&State) -> T) -> Option<T> {
        self.is_running().then(|| look(&self.state))
    }

    /// Whether what is sent now can be expected to become durable.
    pub fn is_durable(&self) -> bool {
        self.state.is_journal_healthy()
    }

    /// What readers see.
    pub fn state(&self) -> &Arc<State> {
        &self.state
    }

    /// Whether the loop still runs.
    pub fn is_running(&self) -> bool {
        !self.events.is_closed()
    }

    /// Does what a person wants.
    pub async fn command(&self, command: Command) -> Result<Reply, CommandError> {
        let (cluster, order) = command.order(&self.state)?;
        self.order(cluster, order).await
    }

    async fn order(&self, cluster: ClusterName, order: Order) -> Result<Reply, CommandError> {
        let (reply, answer) = oneshot::channel();
        let event = Event::Order(cluster, order, reply);
        self.events.send(event).await.map_err(|_| CommandError::Stopped)?;
        answer.await.unwrap_or(Err(CommandError::Stopped))
    }
}
