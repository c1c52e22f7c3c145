//! Lists of Alertmanagers, sweeps, and bounds.

use super::*;

fn listed(cluster: &str, name: &str, silenced: bool) -> AlertState {
    AlertState { labels: labels(cluster, name), starts_at: EPOCH, silenced }
}

#[tokio::test(start_paused = true)]
async fn a_list_settles_what_fires_in_its_cluster_and_in_no_other() {
    let mut bed = Bed::start().await;
    let all = ["gone", "stays", "over"].map(|name| fires("c1", name));
    bed.intake.observe(all.into()).await.unwrap();
    bed.intake.observe(vec![fires("c2", "other"), resolves("c1", "over")]).await.unwrap();
    while bed.handed.try_recv().is_ok() {}
    tokio::time::advance(Duration::from_mins(1)).await;
    let asked = bed.clock.now();
    tokio::time::advance(Duration::from_secs(1)).await;
    bed.intake.observe(vec![fires("c1", "fresh")]).await.unwrap();
    assert_eq!(bed.words().await, "c1 +fresh");
    let list = vec![
        listed("c1", "stays", true),
        listed("c1", "lacking", false),
        listed("c2", "not c1's to say", false),
    ];
    bed.intake.reconcile("c1".into(), asked, list);
    assert_eq!(bed.words().await, "c1 +stays +lacking");
    assert_eq!(bed.words().await, "c1 -gone");
    assert!(bed.is_quiet().await);
    let table = bed.intake.table();
    let find = |name| table.find(&labels("c1", name)).unwrap();
    assert!(find("stays").is_context() && find("lacking").is_context());
    assert!(find("fresh").firing && !find("fresh").is_context());
    assert_eq!(bed.rows().await.len(), 6);
    bed.intake.reconcile("nobody".into(), asked, vec![listed("c1", "stays", false)]);
    assert!(bed.is_quiet().await);
    bed.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_list_of_hundreds_is_settled_piece_by_piece() {
    let mut bed = Bed::start().await;
    let names: Vec<String> = (0..500).map(|number| format!("a{number}")).collect();
    bed.intake.observe(names.iter().map(|name| fires("c1", name)).collect()).await.unwrap();
    tokio::time::advance(Duration::from_mins(1)).await;
    let asked = bed.clock.now();
    let still = names.iter().take(200).map(|name| listed("c1", name, false));
    bed.intake.reconcile("c1".into(), asked, still.collect());
    settle().await;
    let counts = bed.intake.table().counts();
    assert_eq!((counts.firing, counts.resolved), (200, 300));
    assert_eq!(bed.rows().await.iter().filter(|(_, firing)| *firing).count(), 200);
    while bed.handed.try_recv().is_ok() {}
    bed.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_list_that_cannot_be_made_durable_changes_nothing() {
    let mut bed = Bed::start().await;
    bed.intake.observe(vec![fires("c1", "a")]).await.unwrap();
    while bed.handed.try_recv().is_ok() {}
    tokio::time::advance(Duration::from_mins(1)).await;
    bed.store.fail_next(1);
    bed.intake.reconcile("c1".into(), bed.clock.now(), Vec::new());
    assert!(bed.is_quiet().await);
    assert!(bed.intake.table().find(&labels("c1", "a")).unwrap().firing);
    bed.intake.reconcile("c1".into(), bed.clock.now(), Vec::new());
    assert_eq!(bed.words().await, "c1 -a");
    bed.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_over_for_long_is_forgotten_and_the_cells_hear_of_it() {
    let mut bed = Bed::start().await;
    let all = [fires("c1", "old"), resolves("c1", "over"), fires("", "lost")];
    bed.intake.observe(all.into()).await.unwrap();
    tokio::time::advance(Duration::from_hours(2)).await;
    bed.intake.observe(vec![fires("c1", "old"), fires("c2", "new")]).await.unwrap();
    while bed.handed.try_recv().is_ok() {}
    bed.intake.sweep(Duration::from_hours(1));
    assert_eq!(bed.words().await, "c1 x2");
    assert!(bed.is_quiet().await);
    assert_eq!(bed.rows().await, [(1, true), (4, true)]);
    assert_eq!(bed.intake.table().counts().unmatched, 0);
    bed.stop().await;
}

#[tokio::test(start_paused = true)]
async fn beyond_the_bounds_the_oldest_resolved_go_first_and_then_it_is_refused_and_counted() {
    let limits = Limits { alerts_max: 4, ..Limits::default() };
    let mut bed = Bed::with(memory(), limits, 100).await;
    let garbage = (0..4).map(|number| fires("", &format!("g{number}")));
    let receipt = bed.intake.observe(garbage.collect()).await.unwrap();
    assert_eq!(receipt, Receipt { accepted: 3, unmatched: 3, refused: 1 });
    assert_eq!(bed.metric("alerts_refused"), 1);
    assert_eq!(bed.intake.observe(vec![fires("c1", "a")]).await.unwrap(), accepted(1));
    let full = bed.intake.observe(vec![fires("c1", "b"), resolves("c1", "a")]).await.unwrap();
    assert_eq!(full, Receipt { accepted: 1, unmatched: 0, refused: 1 });
    assert_eq!(bed.intake.observe(vec![fires("c1", "b")]).await.unwrap(), accepted(1));
    assert_eq!((bed.words().await, bed.words().await), ("c1 +a".into(), "c1 -a".into()));
    assert_eq!(bed.words().await, "c1 +b x4");
    assert_eq!(bed.rows().await.len(), 4);
    assert!(bed.intake.table().get(4).is_none());
    bed.stop().await;
}

/// What was forgotten for a delivery that is not durable is there again.
#[tokio::test(start_paused = true)]
async fn room_is_made_only_for_what_is_durable() {
    let limits = Limits { alerts_max: 1, ..Limits::default() };
    let bed = Bed::with(memory(), limits, 100).await;
    bed.intake.observe(vec![resolves("c1", "a")]).await.unwrap();
    bed.store.fail_next(1);
    assert!(bed.intake.observe(vec![fires("c1", "b")]).await.is_err());
    assert!(bed.intake.table().get(1).is_some());
    assert_eq!(bed.rows().await, [(1, false)]);
    bed.stop().await;
}
