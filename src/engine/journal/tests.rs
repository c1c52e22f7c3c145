//! What one failed commit does to all others, and how it ends.

use super::*;
use crate::store::{AlertRow, Append, Fence, MemoryStore, StreamName, memory};

fn journal() -> (Journal, Arc<MemoryStore>) {
    let store = memory();
    (Journal::new(store.clone()), store)
}

/// A batch that has something to write.
fn row(id: i64) -> Batch {
    Batch { alerts: vec![AlertRow { id, body: Some(b"{}".to_vec()) }], ..Batch::default() }
}

fn is_not_durable(result: &Result<Committed, CommitError>) -> bool {
    matches!(result, Err(CommitError::NotDurable(_)))
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_healed_once_and_only_when_every_guard_is_gone() {
    let (journal, store) = journal();
    store.hold();
    let mut first = journal.commit(row(1));
    let mut second = journal.commit(row(2));
    store.fail_next(1);
    store.release();
    assert!(is_not_durable(&(&mut first).await) && is_not_durable(&(&mut second).await));
    drop(first);
    assert!(is_not_durable(&journal.commit(row(3)).await), "the second still holds its memory");
    assert!(!journal.is_healthy());
    drop(second);
    journal.commit(row(4)).await.unwrap();
    assert_eq!(store.alerts().await.unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn while_it_keeps_failing_it_is_healed_at_most_once_a_second() {
    let (journal, store) = journal();
    store.fail_next(2);
    assert!(is_not_durable(&journal.commit(row(1)).await));
    assert!(is_not_durable(&journal.commit(row(1)).await), "healed at once, and failed again");
    for _ in 0..1000 {
        // the disk is well again, but nobody asks it
        assert!(is_not_durable(&journal.commit(row(1)).await));
    }
    tokio::time::advance(HEAL_AGAIN).await;
    journal.commit(row(1)).await.unwrap();
    store.fail_next(1);
    assert!(is_not_durable(&journal.commit(row(2)).await));
    journal.commit(row(2)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn it_is_well_again_once_something_is_durable_or_nobody_has_tried_for_a_while() {
    let (journal, store) = journal();
    assert!(journal.is_healthy());
    store.fail_next(2);
    assert!(is_not_durable(&journal.commit(row(1)).await));
    assert!(!journal.is_healthy(), "healed, but nothing is proven");
    journal.commit(Batch::default()).await.unwrap();
    assert!(!journal.is_healthy(), "a barrier writes nothing");
    assert!(is_not_durable(&journal.commit(row(1)).await));
    tokio::time::advance(HEAL_AGAIN).await;
    assert!(!journal.is_healthy());
    tokio::time::advance(TRUSTED_AFTER).await;
    assert!(journal.is_healthy());
    store.fail_next(1);
    assert!(is_not_durable(&journal.commit(row(1)).await));
    assert!(!journal.is_healthy());
    tokio::time::advance(HEAL_AGAIN).await;
    journal.commit(row(1)).await.unwrap();
    assert!(journal.is_healthy());
}

/// Rows: B(h).
#[tokio::test(start_paused = true)]
async fn a_stream_that_is_refused_harms_no_other() {
    let (journal, _store) = journal();
    let append = |expected_n| Append {
        stream: StreamName::Process,
        expected_n,
        fence: Fence(1),
        entries: Vec::new(),
    };
    let wrong = Batch { appends: vec![append(7)], ..Batch::default() };
    assert!(matches!(journal.commit(wrong).await, Err(CommitError::Refused(_))));
    journal.commit(row(1)).await.unwrap();
    assert!(journal.is_healthy());
}

#[tokio::test(start_paused = true)]
async fn nothing_heals_a_store_that_has_ended() {
    let (journal, store) = journal();
    store.close().await.unwrap();
    for _ in 0..2 {
        assert!(matches!(journal.commit(row(1)).await, Err(CommitError::Ended(_))));
        tokio::time::advance(HEAL_AGAIN).await;
    }
    assert!(!journal.is_healthy());
}
