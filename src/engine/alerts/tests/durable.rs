//! What is acknowledged is durable; what is not durable leaves no trace.

use proptest::prelude::*;

use super::*;

#[tokio::test(start_paused = true)]
async fn a_delivery_is_answered_and_handed_over_only_once_it_is_durable() {
    let mut bed = Bed::start().await;
    bed.store.hold();
    let intake = bed.intake.clone();
    let delivery = tokio::spawn(async move {
        intake.observe(vec![fires("c1", "a"), fires("c2", "b"), fires("", "lost")]).await
    });
    assert!(bed.is_quiet().await && !delivery.is_finished());
    bed.store.release();
    let receipt = delivery.await.unwrap().unwrap();
    assert_eq!(receipt, Receipt { accepted: 3, unmatched: 1, refused: 0 });
    assert_eq!((bed.words().await, bed.words().await), ("c1 +a".into(), "c2 +b".into()));
    assert_eq!(bed.rows().await.len(), 3);
    assert!(bed.is_quiet().await);
    bed.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_repeat_writes_nothing_and_is_handed_over_all_the_same() {
    let mut bed = Bed::start().await;
    bed.intake.observe(vec![fires("c1", "a")]).await.unwrap();
    let first = bed.next().await.alerts.remove(0);
    tokio::time::advance(Duration::from_mins(1)).await;
    bed.store.hold(); // nothing that has to be written comes back
    assert_eq!(bed.intake.observe(vec![fires("c1", "a")]).await.unwrap(), accepted(1));
    let repeat = bed.next().await.alerts.remove(0);
    assert_eq!(repeat.seen_at, first.seen_at.after(Duration::from_mins(1)));
    assert_eq!(repeat.to_row(), first.to_row());
    assert_eq!(bed.metric("alerts_deduplicated"), 1);
    bed.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_repeat_of_what_is_not_durable_yet_waits_for_it_and_fails_with_it() {
    let mut bed = Bed::start().await;
    bed.store.hold();
    let sends = |intake: &IntakeHandle| {
        let intake = intake.clone();
        tokio::spawn(async move { intake.observe(vec![fires("c1", "a")]).await })
    };
    let (first, repeat) = (sends(&bed.intake), sends(&bed.intake));
    assert!(bed.is_quiet().await && !repeat.is_finished());
    bed.store.fail_next(1);
    bed.store.release();
    for delivery in [first, repeat] {
        assert!(matches!(delivery.await.unwrap(), Err(ObserveError::NotDurable(_))));
    }
    assert!(bed.is_quiet().await && bed.intake.table().find(&labels("c1", "a")).is_none());
    bed.intake.observe(vec![fires("c1", "a")]).await.unwrap();
    assert_eq!(bed.rows().await.len(), 1);
    bed.stop().await;
}

/// One failed commit with a thousand deliveries behind it is one failure.
#[tokio::test(start_paused = true)]
async fn a_thousand_deliveries_under_way_and_one_failure_hold_the_next_one_up_for_no_time() {
    let bed = Bed::start().await;
    bed.store.hold();
    let mut deliveries = Vec::new();
    for number in 0..1000 {
        let intake = bed.intake.clone();
        let name = format!("a{number}");
        deliveries
            .push(tokio::spawn(async move { intake.observe(vec![fires("c1", &name)]).await }));
    }
    settle().await;
    bed.store.fail_next(1);
    bed.store.release();
    let began = tokio::time::Instant::now();
    for delivery in deliveries {
        assert!(matches!(delivery.await.unwrap(), Err(ObserveError::NotDurable(_))));
    }
    bed.intake.observe(vec![fires("c1", "next")]).await.unwrap();
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert_eq!(bed.rows().await.len(), 1);
    bed.stop().await;
}

/// Rows: E22.
#[tokio::test(start_paused = true)]
async fn a_full_disk_refuses_what_is_new_and_takes_what_is_known() {
    let mut bed = Bed::start().await;
    bed.intake.observe(vec![fires("c1", "known")]).await.unwrap();
    bed.store.fail_next(u32::MAX);
    for _ in 0..20 {
        let new = bed.intake.observe(vec![fires("c1", "new")]).await;
        assert!(matches!(new, Err(ObserveError::NotDurable(_))));
        bed.intake.observe(vec![fires("c1", "known")]).await.unwrap();
        tokio::time::advance(Duration::from_millis(300)).await;
    }
    bed.store.fail_next(0);
    tokio::time::advance(Duration::from_secs(1)).await;
    while bed.handed.try_recv().is_ok() {}
    bed.intake.observe(vec![fires("c1", "new")]).await.unwrap();
    assert_eq!(bed.words().await, "c1 +new");
    assert_eq!(bed.words().await, "c1 +new +known", "every row is handed out again");
    assert_eq!(bed.rows().await, [(1, true), (bed.rows().await[1].0, true)]);
    bed.stop().await;
}

#[tokio::test(start_paused = true)]
async fn after_a_restart_every_row_that_a_cluster_owns_is_handed_out() {
    let bed = Bed::start().await;
    let all = [fires("c1", "a"), fires("c2", "b"), resolves("c1", "c"), fires("", "lost")];
    bed.intake.observe(all.into()).await.unwrap();
    let store = bed.store.restart();
    bed.stop().await;
    let mut bed = Bed::with(store, Limits::default(), 10).await;
    assert_eq!((bed.words().await, bed.words().await), ("c1 -c +a".into(), "c2 +b".into()));
    assert!(bed.is_quiet().await);
    let counts = bed.intake.table().counts();
    assert_eq!((counts.firing, counts.resolved, counts.unmatched), (3, 1, 1));
    bed.stop().await;
}

/// What there is to do to an intake, in any order.
#[derive(Clone, Debug)]
enum Act {
    Deliver(Vec<(usize, bool, i64)>),
    Hold,
    Release,
    Fail,
    Pause,
}

fn act() -> impl Strategy<Value = Act> {
    let one = (0..6_usize, any::<bool>(), 0..50_i64);
    prop_oneof![
        6 => prop::collection::vec(one, 1..5).prop_map(Act::Deliver),
        1 => Just(Act::Hold),
        2 => Just(Act::Release),
        1 => Just(Act::Fail),
        1 => Just(Act::Pause),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever fails and whenever, once all is answered memory and disk have the same.
    #[test]
    fn memory_and_disk_have_the_same_whatever_fails(acts in prop::collection::vec(act(), 1..40)) {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_all().start_paused(true).build().unwrap();
        runtime.block_on(async move {
            let limits = Limits { alerts_max: 5, ..Limits::default() };
            let bed = Bed::with(memory(), limits, 10_000).await;
            let mut under_way = Vec::new();
            for act in acts {
                match act {
                    Act::Deliver(alerts) => {
                        let incoming = alerts.into_iter().map(|(name, firing, later)| {
                            let base = fires(if name % 2 == 0 { "c1" } else { "" }, &format!("a{name}"));
                            let starts_at = Time(EPOCH.0 + later);
                            let ends_at = (!firing).then_some(Time(EPOCH.0 + later + 5));
                            Incoming { firing, starts_at, ends_at, ..base }
                        });
                        let (incoming, intake) = (incoming.collect(), bed.intake.clone());
                        under_way.push(tokio::spawn(async move { intake.observe(incoming).await }));
                    }
                    Act::Hold => bed.store.hold(),
                    Act::Release => bed.store.release(),
                    Act::Fail => bed.store.fail_next(1),
                    Act::Pause => tokio::time::advance(Duration::from_secs(1)).await,
                }
                tokio::task::yield_now().await;
            }
            bed.store.release();
            for delivery in under_way {
                drop(delivery.await.unwrap());
            }
            settle().await;
            // all but the earliest start, which is not written for its own sake
            let kept = |alert: &Alert| {
                let &Alert { id, firing, ends_at, changed_at, delivered, .. } = alert;
                (id, alert.labels.to_string(), firing, ends_at, changed_at, delivered)
            };
            let table = bed.intake.table().read().clone();
            let mut memory: Vec<_> = table.iter().map(|alert| kept(alert)).collect();
            memory.sort();
            let rows = bed.store.alerts().await.unwrap();
            let (body, now) = (|row: &AlertRow| row.body.clone().unwrap(), bed.clock.now());
            let read = |row: &AlertRow| Alert::from_row(row.id, &body(row), now);
            let disk: Vec<_> = rows.iter().map(|row| kept(&read(row).unwrap())).collect();
            assert_eq!(memory, disk);
            bed.stop().await;
        });
    }
}

/// A firing alert is held back once behind its resolve, and then fires; the cells get both.
/// Rows: A5.
#[tokio::test(start_paused = true)]
async fn an_alert_that_its_sender_goes_on_repeating_fires_again_after_a_resolve() {
    let mut bed = Bed::start().await;
    bed.intake.observe(vec![fires("c1", "a")]).await.unwrap();
    bed.intake.observe(vec![resolves("c1", "a")]).await.unwrap();
    assert_eq!((bed.words().await, bed.words().await), ("c1 +a".into(), "c1 -a".into()));
    bed.intake.observe(vec![fires("c1", "a"), fires("c1", "a")]).await.unwrap();
    assert!(bed.is_quiet().await);
    assert_eq!(bed.metric("alerts_old_news"), 2);
    bed.intake.observe(vec![fires("c1", "a")]).await.unwrap();
    assert_eq!(bed.words().await, "c1 +a");
    assert_eq!(bed.rows().await, [(1, true)]);
    bed.stop().await;
}
