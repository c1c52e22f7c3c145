//! What only the store in memory has: ways to hurt who uses it.

use futures::FutureExt;

use super::*;
use crate::store::contract::{batch, prod};

#[tokio::test]
async fn what_is_held_back_is_answered_after_release_and_lost_at_restart() {
    let store = memory();
    store.hold();
    let first = store.commit(batch().append(&prod(), 0, 0, &["a"]));
    assert_eq!(store.read(&prod(), 0).await.unwrap(), []);
    store.release();
    assert_eq!(first.await.unwrap().last_seq, 1);
    store.hold();
    let lost = store.commit(batch().append(&prod(), 1, 0, &["b"]));
    let restarted = store.restart();
    assert!(matches!(lost.await, Err(StoreError::Closed)));
    assert!(matches!(store.commit(batch()).await, Err(StoreError::Closed)));
    assert_eq!(restarted.read(&prod(), 0).await.unwrap().len(), 1);
    restarted.commit(batch().append(&prod(), 1, 0, &["c"])).await.unwrap();
}

#[tokio::test]
async fn an_answer_that_does_not_know_hides_either_truth() {
    for durable in [true, false] {
        let store = memory();
        store.unknown_next(durable);
        let error = store.commit(batch().append(&prod(), 0, 0, &["a"])).await.unwrap_err();
        assert!(error.may_be_durable() && error.retryable(), "{error}");
        let behind = store.commit(batch().append(&prod(), 1, 0, &["b"])).await.unwrap_err();
        assert!(matches!(behind, StoreError::Failed { .. }), "{behind}");
        assert_eq!(store.read(&prod(), 0).await.unwrap().len(), usize::from(durable));
        store.heal();
        let next = u64::from(durable);
        store.commit(batch().append(&prod(), next, 0, &["c"])).await.unwrap();
    }
}

#[tokio::test]
async fn a_failed_sync_breaks_it_up_to_a_restart() {
    let store = memory();
    let mut fatal = store.fatal();
    assert!((&mut fatal).now_or_never().is_none());
    store.fail_sync_next(true);
    let error = store.commit(batch().append(&prod(), 0, 0, &["a"])).await.unwrap_err();
    assert!(error.may_be_durable());
    assert!(matches!(fatal.await, StoreError::Broken { .. }));
    store.heal();
    assert!(matches!(store.commit(batch()).await, Err(StoreError::Broken { .. })));
    assert!(matches!(store.read(&prod(), 0).await, Err(StoreError::Broken { .. })));
    assert_eq!(store.restart().read(&prod(), 0).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_disk_that_hangs_does_not_hold_a_close_up() {
    let store = memory();
    store.hang();
    let waits = store.commit(batch().append(&prod(), 0, 0, &["a"]));
    assert!(store.close().await.unwrap_err().may_be_durable());
    assert!(waits.await.is_err());
}
