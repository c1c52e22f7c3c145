//! What the intake is asked to do beside taking deliveries.
//!
//! One place for each kind of order: a later one replaces an earlier one that was not begun, so this
//! is as large as the inventory at most, and giving an order never waits.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::Notify;

use crate::{
    domain::{
        base::{id::ClusterName, time::Time},
        incident::owners::Owners,
    },
    targets::AlertState,
};

/// Orders that were not begun.
#[derive(Debug, Default)]
pub(super) struct Orders {
    given: Mutex<Given>,
    wake: Notify,
}

/// See [`Orders`].
#[derive(Debug, Default)]
pub(super) struct Given {
    /// What Alertmanagers listed, and when they were asked.
    pub(super) lists: BTreeMap<ClusterName, (Time, Vec<AlertState>)>,
    pub(super) owners: Option<Arc<Owners>>,
    pub(super) hand_out: BTreeSet<ClusterName>,
    pub(super) sweep: Option<Duration>,
}

impl Orders {
    /// Gives an order.
    pub(super) fn give<T>(&self, order: impl FnOnce(&mut Given) -> T) {
        order(&mut self.given());
        self.wake.notify_one();
    }

    /// Waits until there are any.
    pub(super) async fn any(&self) {
        self.wake.notified().await;
    }

    /// Takes all of them.
    pub(super) fn take(&self) -> Given {
        mem::take(&mut self.given())
    }

    fn given(&self) -> MutexGuard<'_, Given> {
        // nothing under the lock can panic half way through a change
        self.given.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
