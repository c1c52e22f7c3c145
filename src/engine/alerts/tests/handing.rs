//! What the cells get, in which order, and what happens while they take nothing.

use super::*;

#[tokio::test(start_paused = true)]
async fn versions_of_an_alert_are_handed_over_in_the_order_they_were_delivered() {
    let mut bed = Bed::start().await;
    let mut deliveries = Vec::new();
    for round in 0..50 {
        let starts_at = Time(EPOCH.0 + 2 * round);
        let fires = Incoming { starts_at, ..fires("c1", "a") };
        let ends_at = Some(Time(starts_at.0 + 1));
        let resolves = Incoming { starts_at, ends_at, ..resolves("c1", "a") };
        for alert in [fires, resolves] {
            let intake = bed.intake.clone();
            deliveries.push(tokio::spawn(async move { intake.observe(vec![alert]).await }));
        }
    }
    tokio::time::advance(Duration::from_secs(10)).await;
    for delivery in deliveries {
        delivery.await.unwrap().unwrap();
    }
    let mut firing = false;
    for _ in 0..100 {
        let alert = bed.next().await.alerts.remove(0);
        assert_eq!(alert.firing, !firing);
        firing = alert.firing;
    }
    bed.stop().await;
}

#[tokio::test(start_paused = true)]
async fn while_the_cells_take_nothing_senders_hear_503_and_nothing_is_lost_or_changes_places() {
    let mut bed = Bed::with(memory(), Limits::default(), 1).await;
    let (mut taken, mut refused, mut waiting) = (Vec::new(), 0, Vec::new());
    for number in 0..5000_usize {
        let (intake, name) = (bed.intake.clone(), format!("a{number}"));
        let delivery = tokio::spawn(async move { intake.observe(vec![fires("c1", &name)]).await });
        settle().await;
        if !delivery.is_finished() {
            waiting.push((number, delivery));
            continue;
        }
        match delivery.await.unwrap() {
            Ok(_) => taken.push(number),
            Err(ObserveError::Full) => refused += 1,
            Err(error) => panic!("{error}"),
        }
    }
    assert!(taken.len() <= limits::BACKLOG_MAX + 2, "{} were taken", taken.len());
    assert_eq!(waiting.len(), limits::REQUESTS_MAX);
    assert_eq!(taken.len() + waiting.len() + refused, 5000);
    taken.extend(waiting.iter().map(|(number, _)| *number));
    for number in &taken {
        assert_eq!(bed.words().await, format!("c1 +a{number}"));
    }
    for (_, delivery) in waiting {
        delivery.await.unwrap().unwrap();
    }
    assert!(bed.is_quiet().await);
    assert_eq!(bed.rows().await.len(), taken.len());
    bed.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_cell_that_asks_for_its_rows_gets_them_behind_what_is_under_way() {
    let mut bed = Bed::start().await;
    bed.intake.observe(vec![fires("c1", "a"), fires("c2", "b")]).await.unwrap();
    while bed.handed.try_recv().is_ok() {}
    bed.store.hold();
    let intake = bed.intake.clone();
    let delivery = tokio::spawn(async move { intake.observe(vec![resolves("c1", "a")]).await });
    settle().await;
    bed.intake.hand_out("c1".into());
    bed.intake.hand_out("nobody".into());
    assert!(bed.is_quiet().await, "what is not durable is handed to nobody");
    bed.store.release();
    delivery.await.unwrap().unwrap();
    assert_eq!((bed.words().await, bed.words().await), ("c1 -a".into(), "c1 -a".into()));
    assert!(bed.is_quiet().await);
    bed.stop().await;
}

#[tokio::test(start_paused = true)]
async fn many_rows_are_handed_out_in_messages_that_a_cell_can_take_in() {
    let mut bed = Bed::with(memory(), Limits::default(), 10_000).await;
    let many = (0..2_500).map(|number| fires("c1", &format!("a{number}")));
    bed.intake.observe(many.collect()).await.unwrap();
    let mut sizes = Vec::new();
    for _ in 0..3 {
        sizes.push(bed.next().await.alerts.len());
    }
    assert_eq!(sizes, [limits::HANDED_MAX, limits::HANDED_MAX, 500]);
    bed.intake.hand_out("c1".into());
    let mut seen = std::collections::BTreeSet::new();
    while seen.len() < 2_500 {
        let handed = bed.next().await;
        assert!(handed.alerts.len() <= limits::HANDED_MAX);
        seen.extend(handed.alerts.iter().map(|alert| alert.id));
    }
    assert!(bed.is_quiet().await);
    bed.stop().await;
}

#[tokio::test(start_paused = true)]
async fn with_other_owners_alerts_move_and_every_row_is_handed_out_again() {
    let mut bed = Bed::start().await;
    let all = [fires("c1", "a"), fires("c2", "b"), fires("c3", "c")];
    bed.intake.observe(all.into()).await.unwrap();
    while bed.handed.try_recv().is_ok() {}
    let matches = [("c1", r#"{cluster="c1"}"#), ("c4", r#"{cluster=~"c2|c3"}"#)];
    let matches = matches.map(|(name, text)| (name.into(), Matchers::parse(text).unwrap()));
    bed.intake.replace_owners(Arc::new(Owners::new(matches)));
    assert_eq!(bed.words().await, "c2 x2");
    let mut words = [bed.words().await, bed.words().await];
    words.sort();
    assert!(words == ["c1 +a", "c4 +b +c"] || words == ["c1 +a", "c4 +c +b"], "{words:?}");
    assert!(bed.is_quiet().await);
    assert_eq!(bed.intake.table().counts().unmatched, 0);
    bed.intake.observe(vec![resolves("c2", "b")]).await.unwrap();
    assert_eq!(bed.words().await, "c4 -b");
    bed.stop().await;
}

/// A version from before a failure is filed under who owns it now.
#[tokio::test(start_paused = true)]
async fn other_owners_hold_also_for_what_is_rolled_back_later() {
    let bed = Bed::start().await;
    bed.intake.observe(vec![fires("c1", "a")]).await.unwrap();
    bed.store.hold();
    let intake = bed.intake.clone();
    let delivery = tokio::spawn(async move { intake.observe(vec![resolves("c1", "a")]).await });
    settle().await;
    bed.intake.replace_owners(owners(&["c2"]));
    settle().await;
    bed.store.fail_next(1);
    bed.store.release();
    assert!(delivery.await.unwrap().is_err());
    let counts = bed.intake.table().counts();
    assert_eq!((counts.firing, counts.unmatched), (1, 1));
    bed.stop().await;
}

#[tokio::test(start_paused = true)]
async fn when_it_stops_what_is_under_way_is_answered_and_nothing_more_is_taken() {
    let bed = Bed::start().await;
    bed.store.hold();
    let intake = bed.intake.clone();
    let delivery = tokio::spawn(async move { intake.observe(vec![fires("c1", "a")]).await });
    settle().await;
    bed.cancel.cancel();
    settle().await;
    assert!(!delivery.is_finished());
    let late = bed.intake.observe(vec![fires("c1", "b")]).await;
    assert!(matches!(late, Err(ObserveError::Stopped)));
    bed.store.release();
    delivery.await.unwrap().unwrap();
    bed.stop().await;
}
