//! What readers see, and that they are no burden.

use super::{
    table::{Belongs, Filter},
    *,
};
use crate::domain::{alert::Key, incident::owners::Owner};

/// The names on all pages of so many.
async fn pages(bed: &Bed, limit: usize, filter: &Filter) -> Vec<String> {
    let (mut names, mut after): (Vec<String>, Option<Key>) = (Vec::new(), None);
    loop {
        let page = bed.intake.table().page(after, limit, filter).await;
        assert!(page.alerts.len() <= limit);
        let of = page.alerts.iter().map(|(_, alert)| alert.labels.get("alertname").to_owned());
        names.extend(of);
        after = page.next;
        if after.is_none() {
            names.sort();
            return names;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn pages_show_each_alert_once_by_cluster_and_state() {
    let bed = Bed::start().await;
    let mut all = Vec::new();
    for number in 100..400 {
        let cluster = ["c1", "c2", ""][number % 3];
        let alert = if number % 2 == 0 { fires } else { resolves };
        all.push(alert(cluster, &format!("a{number}")));
    }
    bed.intake.observe(all).await.unwrap();
    let numbers = |wanted: &dyn Fn(usize) -> bool| {
        (100..400).filter(|n| wanted(*n)).map(|n| format!("a{n}")).collect::<Vec<_>>()
    };
    let owner = |belongs| Filter { owner: Some(belongs), ..Filter::default() };
    let firing = |firing| Filter { firing: Some(firing), ..Filter::default() };
    let one = owner(Belongs::To("c1".into()));
    for limit in [1, 7, 64, 150, 300, 1000] {
        assert_eq!(pages(&bed, limit, &Filter::default()).await, numbers(&|_| true));
        assert_eq!(pages(&bed, limit, &one).await, numbers(&|n| n % 3 == 0));
        let none = owner(Belongs::ToNobody);
        assert_eq!(pages(&bed, limit, &none).await, numbers(&|n| n % 3 == 2));
        assert_eq!(pages(&bed, limit, &firing(false)).await, numbers(&|n| n % 2 == 1));
        let both = Filter { firing: Some(true), ..one.clone() };
        assert_eq!(pages(&bed, limit, &both).await, numbers(&|n| n % 6 == 0));
    }
    assert!(pages(&bed, 10, &owner(Belongs::To("c9".into()))).await.is_empty());
    bed.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_alert_is_found_by_number_labels_and_fingerprint_with_its_owner() {
    let bed = Bed::start().await;
    bed.intake.observe(vec![fires("c2", "a"), fires("", "b")]).await.unwrap();
    let table = bed.intake.table();
    let alert = table.get(1).unwrap();
    assert_eq!(table.find(&labels("c2", "a")).unwrap(), alert);
    assert_eq!(table.by_fingerprint(alert.fingerprint()), std::slice::from_ref(&alert));
    assert_eq!(table.owner(&alert), Owner::Cluster("c2".into()));
    assert_eq!(table.owner(&table.get(2).unwrap()), Owner::Unmatched);
    assert_eq!(table.last_arrival(), Some(bed.clock.now()));
    bed.stop().await;
}

/// While a reader walks, others have their turn: no page holds the lock or the thread for long.
#[tokio::test(start_paused = true)]
async fn a_page_that_looks_at_everything_lets_deliveries_through() {
    let bed = Bed::start().await;
    let many = (0..5_000).map(|number| fires("c1", &format!("a{number}")));
    bed.intake.observe(many.collect()).await.unwrap();
    let table = bed.intake.table().clone();
    let walk = tokio::spawn(async move {
        table.page(None, 10, &Filter { firing: Some(false), ..Filter::default() }).await
    });
    tokio::task::yield_now().await;
    bed.intake.observe(vec![fires("c1", "new")]).await.unwrap();
    assert!(!walk.is_finished());
    assert!(walk.await.unwrap().alerts.is_empty());
    bed.stop().await;
}
