//! The way to the intake, for who has alerts, orders or questions.

use std::{sync::Arc, time::Duration};

use futures::Stream;
use tokio::sync::{mpsc, oneshot};
use tokio_util::task::TaskTracker;

use super::{
    limits::REQUESTS_MAX,
    orders::Orders,
    recover,
    request::{ObserveError, Receipt, Request},
    table::AlertTable,
    work::{Intake, Parts},
};
use crate::{
    domain::{
        alert::Incoming,
        base::{id::ClusterName, time::Time},
        incident::owners::Owners,
    },
    store::{AlertRow, StoreError},
    targets::AlertState,
};

/// The way to the intake. Clones are the same.
#[derive(Clone, Debug)]
pub struct IntakeHandle {
    requests: mpsc::Sender<Request>,
    orders: Arc<Orders>,
    table: AlertTable,
}

impl IntakeHandle {
    /// Reads the rows back (`Store::alert_rows`) and starts the intake in a task of `tasks`. It hands
    /// out every row that a cluster owns before long.
    pub async fn start(
        parts: Parts,
        rows: impl Stream<Item = Result<Vec<AlertRow>, StoreError>>,
        tasks: &TaskTracker,
    ) -> Result<Self, StoreError> {
        let now = parts.clock.now();
        let table = recover::table(rows, &parts.owners, parts.limits, now).await?;
        let (sender, requests) = mpsc::channel(REQUESTS_MAX);
        let orders = Arc::new(Orders::default());
        tasks.spawn(Intake::new(parts, table.clone(), requests, Arc::clone(&orders)).run());
        Ok(Self { requests: sender, orders, table })
    }

    /// Takes a delivery; answers when all that it changed is durable.
    pub async fn observe(&self, alerts: Vec<Incoming>) -> Result<Receipt, ObserveError> {
        let (reply, answer) = oneshot::channel();
        self.requests.try_send(Request { alerts, reply }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => ObserveError::Full,
            mpsc::error::TrySendError::Closed(_) => ObserveError::Stopped,
        })?;
        answer.await.unwrap_or(Err(ObserveError::Stopped))
    }

    /// Settles what fires and what is suppressed in a cluster by what its Alertmanager listed when it
    /// was asked.
    pub fn reconcile(&self, cluster: ClusterName, asked: Time, listed: Vec<AlertState>) {
        self.orders.give(|orders| orders.lists.insert(cluster, (asked, listed)));
    }

    /// From now on these own the alerts. Every row is handed out again.
    pub fn replace_owners(&self, owners: Arc<Owners>) {
        self.orders.give(|orders| orders.owners = Some(owners));
    }

    /// Hands out every row of a cluster again.
    pub fn hand_out(&self, cluster: ClusterName) {
        self.orders.give(|orders| orders.hand_out.insert(cluster));
    }

    /// Forgets what did not change and was not repeated for so long.
    pub fn sweep(&self, keep: Duration) {
        self.orders.give(|orders| orders.sweep = Some(keep));
    }

    /// Resolves once the intake takes nothing any more: it was stopped, or it broke off.
    pub async fn ended(&self) {
        self.requests.closed().await;
    }

    /// The alerts, to be read.
    pub fn table(&self) -> &AlertTable {
        &self.table
    }
}
