//! What no store in memory answers: a commit of which nothing is known.

use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::{
    super::{
        recover,
        tests::{EPOCH, fires, owners, resolves},
    },
    *,
};
use crate::{
    domain::alert::Incoming,
    engine::{clock::Clock, journal::Journal},
    store::{MemoryStore, Store, StoreError, memory},
    telemetry::metrics::Metrics,
};

async fn intake(store: &Arc<MemoryStore>) -> Intake {
    let parts = Parts {
        journal: Journal::new(store.clone()),
        owners: owners(&["c1"]),
        clock: Clock::at(EPOCH),
        limits: Limits::default(),
        handed: mpsc::channel(10).0,
        metrics: Arc::new(Metrics::new("test", "test")),
        cancel: CancellationToken::new(),
    };
    let rows = futures::stream::empty();
    let table = recover::table(rows, &parts.owners, parts.limits, EPOCH).await.unwrap();
    Intake::new(parts, table, mpsc::channel(1).1, Arc::default())
}

fn deliver(
    intake: &mut Intake,
    alerts: Vec<Incoming>,
) -> oneshot::Receiver<Result<Receipt, ObserveError>> {
    let (reply, answer) = oneshot::channel();
    intake.deliver(Request { alerts, reply });
    answer
}

async fn answer(intake: &mut Intake) {
    let result = intake.line.first().await;
    intake.take_answer(result);
}

/// Whether each row fires, by number.
async fn rows(store: &Arc<MemoryStore>) -> Vec<(i64, bool)> {
    let rows = store.alerts().await.unwrap();
    let read = |row: &AlertRow| Alert::from_row(row.id, row.body.as_ref().unwrap(), EPOCH).unwrap();
    rows.iter().map(read).map(|alert| (alert.id, alert.firing)).collect()
}

/// Nothing that builds on it is acknowledged before it is written again.
#[tokio::test(start_paused = true)]
async fn what_may_be_on_the_disk_or_not_is_written_again() {
    let store = memory();
    let mut intake = intake(&store).await;
    let first = deliver(&mut intake, vec![fires("c1", "a")]);
    answer(&mut intake).await;
    first.await.unwrap().unwrap();
    let second = deliver(&mut intake, vec![resolves("c1", "a"), fires("c1", "b")]);
    // it is on the disk, but no answer comes
    intake.take_answer(Err(CommitError::Unknown(StoreError::Closed)));
    assert!(matches!(second.await.unwrap(), Err(ObserveError::NotDurable(_))));
    assert_eq!(rows(&store).await, [(1, false), (2, true)]);
    let repeat = deliver(&mut intake, vec![fires("c1", "a")]);
    assert!(!intake.line.is_empty(), "a repeat of it is no mere repeat");
    answer(&mut intake).await;
    repeat.await.unwrap().unwrap();
    assert_eq!(rows(&store).await, [(1, true)], "as memory has it");
    let again = deliver(&mut intake, vec![fires("c1", "a")]);
    assert!(intake.line.is_empty() && intake.uncertain.is_empty());
    again.await.unwrap().unwrap();
}
