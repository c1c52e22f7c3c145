//! An intake on a store in memory, and what its cells would get.

mod durable;
mod handing;
mod reading;
mod settling;

use std::{sync::Arc, time::Duration};

use tokio::sync::mpsc;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{limits::Limits, *};
use crate::{
    domain::{
        alert::{
            Alert, Incoming,
            labels::{Labels, Matchers},
        },
        base::time::Time,
        incident::owners::Owners,
    },
    engine::{clock::Clock, journal::Journal},
    store::{AlertRow, MemoryStore, Store, memory},
    targets::AlertState,
    telemetry::metrics::Metrics,
};

/// The start of most alerts, and of the clock.
pub(super) const EPOCH: Time = Time(1_000_000);

/// An intake and the other end of its queue.
struct Bed {
    store: Arc<MemoryStore>,
    intake: IntakeHandle,
    handed: mpsc::Receiver<Handed>,
    metrics: Arc<Metrics>,
    clock: Clock,
    cancel: CancellationToken,
    tasks: TaskTracker,
}

pub(super) fn owners(clusters: &[&str]) -> Arc<Owners> {
    let matches = |name: &str| Matchers::parse(&format!("{{cluster=\"{name}\"}}")).unwrap();
    Arc::new(Owners::new(clusters.iter().map(|name| ((*name).into(), matches(name)))))
}

impl Bed {
    async fn start() -> Self {
        Self::with(memory(), Limits::default(), 1000).await
    }

    /// On this store, with a queue of so many messages. Its clusters are c1 and c2.
    async fn with(store: Arc<MemoryStore>, limits: Limits, queue: usize) -> Self {
        let (sender, handed) = mpsc::channel(queue);
        let (clock, metrics) = (Clock::at(EPOCH), Arc::new(Metrics::new("test", "test")));
        let (cancel, tasks) = (CancellationToken::new(), TaskTracker::new());
        let parts = Parts {
            journal: Journal::new(store.clone()),
            owners: owners(&["c1", "c2"]),
            clock: clock.clone(),
            limits,
            handed: sender,
            metrics: Arc::clone(&metrics),
            cancel: cancel.clone(),
        };
        let intake = IntakeHandle::start(parts, store.alert_rows(), &tasks).await.unwrap();
        Self { store, intake, handed, metrics, clock, cancel, tasks }
    }

    /// What is handed over next.
    async fn next(&mut self) -> Handed {
        let next = tokio::time::timeout(Duration::from_mins(1), self.handed.recv());
        next.await.expect("nothing was handed over").expect("the intake has stopped")
    }

    /// What is handed over next: the cluster, and the names that fire and are resolved.
    async fn words(&mut self) -> String {
        let handed = self.next().await;
        let word = |alert: &Arc<Alert>| {
            let sign = if alert.firing { "+" } else { "-" };
            format!("{sign}{}", alert.labels.get("alertname"))
        };
        let alerts = handed.alerts.iter().map(word);
        let gone = handed.forgotten.iter().map(|id| format!("x{id}"));
        let words = [handed.cluster.to_string()].into_iter().chain(alerts).chain(gone);
        words.collect::<Vec<_>>().join(" ")
    }

    /// Whether nothing waits to be handed over, once everybody has had their turn.
    async fn is_quiet(&mut self) -> bool {
        settle().await;
        self.handed.try_recv().is_err()
    }

    /// Whether a row fires, by number, as the disk has it.
    async fn rows(&self) -> Vec<(i64, bool)> {
        let rows = self.store.alerts().await.unwrap();
        let read = |row: &AlertRow| Alert::from_row(row.id, row.body.as_ref().unwrap(), EPOCH);
        rows.iter().map(|row| (row.id, read(row).unwrap().firing)).collect()
    }

    /// The value of a metric without labels.
    fn metric(&self, name: &str) -> u64 {
        let page = self.metrics.render();
        let line =
            page.lines().find_map(|line| line.strip_prefix(&format!("quorate_{name}_total ")));
        line.unwrap_or_else(|| panic!("no {name} in\n{page}")).parse().unwrap()
    }

    async fn stop(self) {
        self.cancel.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// Gives every task its turn, often.
async fn settle() {
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
}

fn labels(cluster: &str, name: &str) -> Labels {
    Labels::new([("alertname", name), ("cluster", cluster)])
}

pub(super) fn fires(cluster: &str, name: &str) -> Incoming {
    let labels = labels(cluster, name);
    Incoming { labels, firing: true, starts_at: EPOCH, ends_at: None, silenced: None }
}

pub(super) fn resolves(cluster: &str, name: &str) -> Incoming {
    Incoming { firing: false, ends_at: Some(Time(EPOCH.0 + 1)), ..fires(cluster, name) }
}

fn accepted(accepted: usize) -> Receipt {
    Receipt { accepted, ..Receipt::default() }
}
