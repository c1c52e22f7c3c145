//! What happens when the journal fails, and what is kept for how long.

use std::{collections::BTreeSet, time::Duration};

use super::bed::{Bed, QUORUM, Setup, said, three};
use crate::{
    domain::{
        alert::{Incoming, labels::Labels},
        etcd::evidence::Observed,
        incident::ledger::Ledger,
        inventory::Mode,
        run::event::Outcome,
    },
    engine::{commands::Command, handle::ObserveError},
    sim::State,
    store::Store as _,
};

#[tokio::test(start_paused = true)]
async fn an_alert_that_is_not_durable_is_refused_and_its_repeat_is_written() {
    let bed = Bed::start(three(), Mode::Propose, 0).await;
    bed.pass(30).await;
    let alert = || Incoming {
        labels: Labels::new([("alertname", QUORUM), ("cluster", "c1")]),
        firing: true,
        starts_at: bed.now(),
        ends_at: None,
        silenced: None,
    };
    bed.store.fail_next(1);
    let refused = bed.handle.observe(vec![alert()]).await;
    assert!(matches!(refused, Err(ObserveError::NotDurable(_))));
    bed.pass(5).await;
    bed.handle.observe(vec![alert()]).await.unwrap();
    let bed = bed.crash().await;
    let alerts = bed.handle.read(|state| state.alerts.counts().firing);
    assert_eq!(alerts.await, Some(1));
}

/// Rows: E22, B(h).
#[tokio::test(start_paused = true)]
async fn what_cannot_be_journalled_is_not_done() {
    let bed = Bed::start(three(), Mode::Auto, 1000).await;
    bed.pass(30).await;
    bed.lose_majority().await;
    bed.pass(30).await;
    bed.store.fail_next(u32::MAX);
    bed.pass(120).await;
    assert!(bed.runs().await.is_empty());
    assert_eq!(bed.patient.effects(), []);
    bed.store.fail_next(0);
    let run = bed.until_rest(900).await;
    assert_eq!(run.finished.map(|(outcome, ..)| outcome), Some(Outcome::Succeeded));
    assert_eq!(bed.patient.effects_of("etcd.restore"), 1);
}

/// Rows: E22.
#[tokio::test(start_paused = true)]
async fn a_run_stands_still_while_the_journal_fails_and_goes_on_afterwards() {
    let bed = Bed::start(three(), Mode::Auto, 1000).await;
    bed.pass(30).await;
    bed.lose_majority().await;
    bed.until(120, "a run", async |bed| !bed.runs().await.is_empty()).await;
    bed.store.fail_next(u32::MAX);
    bed.pass(120).await;
    let effects = bed.patient.effects().len();
    bed.pass(120).await;
    assert_eq!(bed.patient.effects().len(), effects);
    bed.store.fail_next(0);
    let run = bed.until_rest(900).await;
    assert_eq!(run.finished.map(|(outcome, ..)| outcome), Some(Outcome::Succeeded));
}

/// Rows: B14, B18.
#[tokio::test(start_paused = true)]
async fn what_is_over_is_dropped_and_the_ledger_and_losses_never_are() {
    let setup = Setup { retention: Duration::from_hours(1), ..Setup::new(Mode::Auto) };
    let bed = Bed::with(three(), setup).await;
    bed.pass(30).await;
    bed.lose_majority().await;
    bed.until_rest(900).await;
    bed.until(300, "it closes", async |bed| bed.closed().await.is_some()).await;
    bed.alert(QUORUM, &[], false).await;
    bed.pass(3 * 3600).await;
    assert!(bed.runs().await.is_empty() && bed.incidents().await.is_empty());
    let bed = bed.crash().await;
    assert!(bed.runs().await.is_empty() && bed.incidents().await.is_empty());
    let kept = bed.known(|state| {
        let attempts = state.ledgers.values().map(Ledger::attempts).sum::<u64>();
        (attempts, state.losses.size(), state.watches.len())
    });
    assert_eq!(kept.await, (1, 1, 1));
}

/// Rows: B18. An order was once stored as a time that no later start could read.
#[tokio::test(start_paused = true)]
async fn no_order_however_long_it_lasts_keeps_the_next_start_from_the_journal() {
    let bed = Bed::start(three(), Mode::Propose, 0).await;
    bed.pass(30).await;
    let lasts = Some(Duration::MAX);
    bed.command(Command::Pause { cluster: "c1".into(), said: said(), lasts }).await.unwrap();
    bed.stop_majority(u64::MAX).await;
    let bed = bed.crash().await;
    assert!(bed.known(|state| state.paused.is_some() && state.attested.len() == 2).await);
}

/// A row for each look would be a thousand a second with 10,000 clusters.
#[tokio::test(start_paused = true)]
async fn what_is_seen_is_written_once_a_minute_and_news_at_once() {
    let bed = Bed::start(three(), Mode::Propose, 0).await;
    let kept = async |bed: &Bed| {
        let rows = bed.store.observed().await.unwrap();
        serde_json::from_str::<Observed>(&rows[0].body).unwrap()
    };
    bed.pass(31).await;
    assert!(kept(&bed).await.recent.len() >= 2, "two sightings tell how fast it is written to");
    let mut seen = BTreeSet::new();
    for _ in 0..60 {
        bed.pass(10).await;
        assert!(bed.patient.write(1));
        seen.insert(kept(&bed).await.at);
    }
    assert!((9..=11).contains(&seen.len()), "{seen:?}");
    let last = bed.handle.state().cell("c1").unwrap().sight.observed.clone().unwrap();
    bed.patient.set("m2", State::Stopped);
    bed.patient.set("m3", State::Stopped);
    bed.pass(11).await;
    let row = kept(&bed).await;
    assert!(row.no_leader_since.is_some());
    assert!(row.at >= last.at && row.recent.len() >= last.recent.len(), "with the last sighting");
}
