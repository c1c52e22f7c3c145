//! The alerts as readers see them. The intake alone writes.
//!
//! The lock is held for some tens of microseconds and never over an await: a page that has to look
//! at a million alerts looks at some, lets go, and goes on. A page is therefore no picture of one
//! moment; an alert that stays is on exactly one page. What is shown may not be durable yet.

use std::sync::{
    Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
    atomic::{AtomicI64, Ordering},
};

use super::{limits::PIECE, roll::Roll};
use crate::domain::{
    alert::{Alert, Alerts, Counts, Key, OwnerId, labels::Labels},
    base::{id::ClusterName, time::Time},
    incident::owners::{Owner, Owners},
};

/// The alerts, to be read. Clones are the same table.
#[derive(Clone, Debug)]
pub struct AlertTable {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    alerts: RwLock<Alerts>,
    roll: RwLock<Arc<Roll>>,
    /// When the last delivery came; `NEVER` before the first.
    last_at: AtomicI64,
}

const NEVER: i64 = i64::MIN;

/// Which alerts are wanted.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Those of one cluster, or of none.
    pub owner: Option<Belongs>,
    /// Those that fire, or those that are resolved.
    pub firing: Option<bool>,
}

/// Whose alerts are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Belongs {
    /// This cluster's.
    To(ClusterName),
    /// Those that no cluster, or several, match.
    ToNobody,
}

/// Some alerts of a list.
#[derive(Clone, Debug)]
pub struct Page {
    /// The alerts, in the order of all.
    pub alerts: Vec<(Key, Arc<Alert>)>,
    /// What to go on behind; `None` at the end.
    pub next: Option<Key>,
}

impl AlertTable {
    pub(super) fn new(alerts: Alerts, roll: Arc<Roll>) -> Self {
        let (alerts, roll) = (RwLock::new(alerts), RwLock::new(roll));
        let last_at = AtomicI64::new(NEVER);
        Self { shared: Arc::new(Shared { alerts, roll, last_at }) }
    }

    /// At most `limit` alerts behind `after`. Other tasks get their turn while it looks.
    pub async fn page(&self, after: Option<Key>, limit: usize, filter: &Filter) -> Page {
        let (mut alerts, mut at) = (Vec::new(), after);
        let owner = match &filter.owner {
            None => None,
            Some(Belongs::ToNobody) => Some(OwnerId::NONE),
            Some(Belongs::To(cluster)) => match self.roll().of(cluster) {
                None => return Page { alerts, next: None },
                known => known,
            },
        };
        let wants = |alert: &Alert| filter.firing.is_none_or(|firing| alert.firing == firing);
        // one more than wanted, to know whether there is a next page
        while alerts.len() <= limit {
            let piece = self.piece(owner, at);
            let Some((last, _)) = piece.last() else { break };
            at = Some(*last);
            alerts.extend(piece.into_iter().filter(|(_, alert)| wants(alert)));
            tokio::task::yield_now().await;
        }
        let more = alerts.len() > limit;
        alerts.truncate(limit);
        let next = alerts.last().map(|(key, _)| *key).filter(|_| more);
        Page { alerts, next }
    }

    /// Some alerts of an owner, or of all, behind this one.
    pub(super) fn piece(
        &self,
        owner: Option<OwnerId>,
        after: Option<Key>,
    ) -> Vec<(Key, Arc<Alert>)> {
        let alerts = self.read();
        let copy = |(key, alert): (Key, &Arc<Alert>)| (key, Arc::clone(alert));
        match owner {
            None => alerts.after(after).take(PIECE).map(copy).collect(),
            Some(owner) => alerts.owned_by(owner, after).take(PIECE).map(copy).collect(),
        }
    }

    /// The alert of a row.
    pub fn get(&self, id: i64) -> Option<Arc<Alert>> {
        self.read().get(id).cloned()
    }

    /// The alert with these labels.
    pub fn find(&self, labels: &Labels) -> Option<Arc<Alert>> {
        self.read().find(labels).cloned()
    }

    /// The alerts with this fingerprint: one, save for label sets that share it.
    pub fn by_fingerprint(&self, print: u64) -> Vec<Arc<Alert>> {
        self.read().by_fingerprint(print).cloned().collect()
    }

    /// How many there are.
    pub fn counts(&self) -> Counts {
        self.read().counts()
    }

    /// Whose alert it is.
    pub fn owner(&self, alert: &Alert) -> Owner {
        match self.roll().name(alert.owner()) {
            Some(cluster) => Owner::Cluster(cluster.clone()),
            None => self.owners().owner(&alert.labels),
        }
    }

    /// Who owns alerts at present.
    pub fn owners(&self) -> Arc<Owners> {
        Arc::clone(&self.roll().owners)
    }

    /// When the last delivery with an alert came in.
    pub fn last_arrival(&self) -> Option<Time> {
        Some(self.shared.last_at.load(Ordering::Relaxed)).filter(|at| *at != NEVER).map(Time)
    }

    pub(super) fn arrived(&self, now: Time) {
        self.shared.last_at.store(now.0, Ordering::Relaxed);
    }

    pub(super) fn roll(&self) -> Arc<Roll> {
        // it is replaced as a whole, so a panic elsewhere leaves it sound
        Arc::clone(&self.shared.roll.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn replace_roll(&self, roll: Roll) {
        *self.shared.roll.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(roll);
    }

    pub(super) fn read(&self) -> RwLockReadGuard<'_, Alerts> {
        // if the intake panicked, it takes nothing any more; what there was is shown
        self.shared.alerts.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn write(&self) -> RwLockWriteGuard<'_, Alerts> {
        self.shared.alerts.write().unwrap_or_else(PoisonError::into_inner)
    }
}
