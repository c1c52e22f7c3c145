//! An ordered stop, a disk that hangs or cannot be read, and what ends the process.

use std::{sync::atomic::Ordering, time::Duration};

use super::{
    bed::{Bed, handed_over, three},
    gate::Outcome,
};
use crate::{
    domain::{
        alert::{Incoming, labels::Labels},
        inventory::Mode,
    },
    engine::Reload,
    sim::{FakeTarget, Moment},
};

async fn lost(patient: FakeTarget) -> Bed {
    let bed = Bed::start(patient, Mode::Auto, 1000).await;
    bed.pass(30).await;
    bed.lose_majority().await;
    bed
}

fn any_alert(bed: &Bed) -> Incoming {
    let labels = Labels::new([("alertname", "X"), ("cluster", "c1")]);
    let starts_at = bed.now();
    Incoming { labels, firing: true, starts_at, ends_at: None, silenced: None }
}

/// Sends an alert without waiting for its answer.
async fn send(bed: &Bed) {
    let (handle, alert) = (bed.handle.clone(), any_alert(bed));
    tokio::spawn(async move { handle.observe(vec![alert]).await });
    handed_over().await;
}

/// Rows: E22.
#[tokio::test(start_paused = true)]
async fn an_ordered_stop_ends_on_a_disk_that_hangs() {
    let mut bed = Bed::start(three(), Mode::Propose, 0).await;
    bed.pass(30).await;
    bed.store.hang();
    send(&bed).await;
    bed.cancel.cancel();
    let ended = bed.ended().await;
    assert!(ended.is_err_and(|error| error.to_string().contains("cannot tell")));
}

/// Nothing of it would be known to be durable.
/// Rows: E22.
#[tokio::test(start_paused = true)]
async fn a_sync_that_fails_during_an_ordered_stop_ends_it() {
    let patient = three().halt("etcd.restore", 1, Moment::Before);
    let mut bed = lost(patient.clone()).await;
    patient.halted().await;
    bed.cancel.cancel();
    handed_over().await;
    bed.store.fail_sync_next(false);
    send(&bed).await;
    let ended = bed.ended().await;
    assert!(ended.is_err_and(|error| error.to_string().contains("broken")));
}

/// The commit was answered that nobody knows, and then nothing can be read.
/// Rows: E22.
#[tokio::test(start_paused = true)]
async fn a_cell_whose_sync_failed_ends_the_process() {
    let mut bed = Bed::start(three(), Mode::Auto, 1000).await;
    bed.pass(30).await;
    bed.lose_majority().await;
    bed.store.fail_sync_next(true);
    let ended = bed.ended().await;
    assert!(ended.is_err_and(|error| error.to_string().contains("broken")));
}

/// Rows: E9, E22.
#[tokio::test(start_paused = true)]
async fn a_commit_that_cannot_be_read_back_holds_up_its_own_cell_alone() {
    for (outcome, stops) in [
        (Outcome::UnknownAndThere, false),
        (Outcome::UnknownAndNotThere, false),
        (Outcome::UnknownAndThere, true),
    ] {
        let bed = Bed::start(three(), Mode::Auto, 1000).await;
        bed.pass(30).await;
        bed.gate.unreadable.store(true, Ordering::SeqCst);
        bed.gate.trouble(1, outcome);
        bed.lose_majority().await;
        bed.pass(60).await;
        let reload = Reload { settings: bed.settings.clone(), clusters: bed.clusters.clone() };
        let told = tokio::time::timeout(Duration::from_mins(1), bed.handle.reload(reload)).await;
        told.expect("the loop goes on").unwrap();
        if stops {
            let mut bed = bed;
            bed.cancel.cancel();
            bed.ended().await.unwrap();
            continue;
        }
        bed.gate.unreadable.store(false, Ordering::SeqCst);
        let confirmed = async |bed: &Bed| bed.incidents().await.iter().any(|one| one.was_confirmed);
        bed.until(300, "its cell goes on", confirmed).await;
        assert_eq!(bed.incidents().await.len(), 1, "{outcome:?}");
    }
}
