//! What every backend has to keep, run on each of them.
//!
//! It knows a backend only by how it is opened again and how its disk is broken.

use std::{future::Future, sync::Arc};

use futures::{FutureExt, TryStreamExt, future::join_all};

use super::{
    AlertRow, Append, Batch, Entry, Fence, NewEntry, ObservedRow, Pending, Store, StoreError,
    StreamName, chunks::CHUNK, memory, open_embedded_bounded,
};
use crate::domain::base::time::Time;

type Break = Box<dyn Fn(&dyn Store) -> Pending>;

/// A backend under test.
struct House {
    store: Arc<dyn Store>,
    reopen: Box<dyn Fn() -> Arc<dyn Store>>,
    /// A commit that meets a broken disk.
    break_disk: Break,
}

impl House {
    fn memory() -> Self {
        let first = memory();
        let (reopened, broken) = (Arc::clone(&first), Arc::clone(&first));
        Self {
            store: first,
            reopen: Box::new(move || reopened.restart()),
            break_disk: Box::new(move |store| {
                broken.fail_next(1);
                store.commit(batch().alert(-1, "lost"))
            }),
        }
    }

    fn embedded() -> Self {
        let dir = tempfile::tempdir().unwrap();
        // 400 pages of 8 KiB: a row of 8 MiB does not fit
        let open = move || open_embedded_bounded(dir.path(), "1.0.0", 400).unwrap();
        Self {
            store: open(),
            reopen: Box::new(open),
            break_disk: Box::new(|store| store.commit(batch().alert(-1, &"x".repeat(8 << 20)))),
        }
    }

    /// As after the process ended and was started again.
    fn restart(self) -> Self {
        let Self { store, reopen, break_disk } = self;
        drop(store);
        Self { store: reopen(), reopen, break_disk }
    }

    async fn read(&self, stream: &StreamName) -> Vec<Entry> {
        self.store.read(stream, 0).await.unwrap()
    }
}

pub(super) fn batch() -> Batch {
    Batch::default()
}

impl Batch {
    /// Appends entries with these bodies.
    pub(super) fn append(mut self, to: &StreamName, n: u64, fence: u64, bodies: &[&str]) -> Self {
        let entry = |body: &&str| NewEntry::unchecked("alert", 1, Time(1_700_000_000_123), body);
        let entries = bodies.iter().map(entry).collect();
        self.appends.push(Append {
            stream: to.clone(),
            expected_n: n,
            fence: Fence(fence),
            entries,
        });
        self
    }

    pub(super) fn alert(mut self, id: i64, body: &str) -> Self {
        self.alerts.push(AlertRow { id, body: Some(body.into()) });
        self
    }

    fn no_alert(mut self, id: i64) -> Self {
        self.alerts.push(AlertRow { id, body: None });
        self
    }

    fn observed(mut self, cluster: &str, body: &str) -> Self {
        self.observed.push(ObservedRow { cluster: cluster.into(), body: body.into() });
        self
    }
}

pub(super) fn prod() -> StreamName {
    StreamName::Cluster("prod".into())
}

fn bodies(entries: &[Entry]) -> Vec<&str> {
    entries.iter().map(|entry| entry.body.as_str()).collect()
}

fn places(entries: &[Entry]) -> Vec<(u64, u64)> {
    entries.iter().map(|entry| (entry.seq, entry.n)).collect()
}

macro_rules! contract {
    ($($(#[$doc:meta])* $name:ident;)*) => {
        mod on_memory {
            $($(#[$doc])* #[tokio::test] async fn $name() { super::$name(super::House::memory()).await; })*
        }
        mod on_embedded {
            $($(#[$doc])* #[tokio::test] async fn $name() { super::$name(super::House::embedded()).await; })*
        }
    };
}

contract! {
    /// Rows: E22, B18. What was acknowledged is there after a restart, at its place.
    what_was_acknowledged_survives_a_restart;
    a_batch_is_written_whole_or_not_at_all;
    /// Invariant 4: the store refuses a former owner.
    a_former_owner_cannot_append;
    a_refused_batch_fails_alone_among_those_that_share_its_sync;
    /// Invariant 4: of two that claim a stream only the later one can append.
    a_claim_shuts_out_everybody_before_it;
    what_no_snapshot_stands_for_is_read_in_one_pass_and_in_order;
    the_order_of_calls_is_the_order_of_commits;
    an_empty_batch_answers_after_everything_before_it;
    /// Invariant 2: what is not durable is not acknowledged, nor what builds on it.
    after_a_failure_nothing_is_accepted_until_healed;
    a_snapshot_stands_for_compacted_entries;
    dropped_entries_leave_their_numbers_unused;
    rows_are_overwritten_and_deleted;
    a_closed_store_keeps_what_was_called_before_and_refuses_the_rest;
}

async fn what_was_acknowledged_survives_a_restart(house: House) {
    let (prod, process) = (prod(), StreamName::Process);
    house.store.commit(batch().append(&prod, 0, 3, &["a", "b"])).await.unwrap();
    let mixed = batch().append(&process, 0, 0, &["c"]).append(&prod, 2, 3, &["d"]);
    let committed = house.store.commit(mixed.alert(1, "one").observed("prod", "{}")).await.unwrap();
    assert_eq!(committed.last_seq, 4);

    let house = house.restart();
    let entries = house.read(&prod).await;
    assert_eq!(bodies(&entries), ["a", "b", "d"]);
    assert_eq!(places(&entries), [(1, 0), (2, 1), (4, 2)]);
    assert_eq!(house.store.read(&prod, 2).await.unwrap(), entries[2..]);
    assert_eq!(house.store.read(&prod, u64::MAX).await.unwrap(), []);
    let expected = Entry {
        seq: 3,
        stream: process.clone(),
        n: 0,
        fence: Fence(0),
        kind: "alert".into(),
        ver: 1,
        at: Time(1_700_000_000_123),
        body: "c".into(),
    };
    assert_eq!(house.read(&process).await, [expected]);
    let heads = house.store.streams().await.unwrap();
    let heads: Vec<_> = heads.iter().map(|head| (&head.stream, head.n, head.fence.0)).collect();
    assert_eq!(heads, [(&process, 1, 0), (&prod, 3, 3)]);
    assert_eq!(house.store.alerts().await.unwrap().len(), 1);
    assert_eq!(house.store.observed().await.unwrap().len(), 1);
    let committed = house.store.commit(batch().append(&prod, 3, 3, &["e"])).await.unwrap();
    assert_eq!(committed.last_seq, 5);
}

async fn a_batch_is_written_whole_or_not_at_all(house: House) {
    let prod = prod();
    let before = house.store.commit(batch().append(&prod, 0, 1, &["a"]));
    let torn = batch().append(&prod, 1, 1, &["x"]).append(&StreamName::Process, 7, 1, &["x"]);
    let torn = house.store.commit(torn.alert(1, "x").observed("prod", "x"));
    let after = house.store.commit(batch().append(&prod, 1, 1, &["b"]));
    before.await.unwrap();
    let error = torn.await.unwrap_err();
    assert!(matches!(error, StoreError::Conflict { expected: 7, found: 0, .. }), "{error}");
    assert_eq!(after.await.unwrap().last_seq, 2);
    assert_eq!(places(&house.read(&prod).await), [(1, 0), (2, 1)]);
    assert_eq!(house.store.alerts().await.unwrap(), []);
    assert_eq!(house.store.observed().await.unwrap(), []);
}

async fn a_former_owner_cannot_append(house: House) {
    let prod = prod();
    house.store.commit(batch().append(&prod, 0, 1, &["a"])).await.unwrap();
    house.store.commit(batch().append(&prod, 1, 2, &[])).await.unwrap();
    let house = house.restart();
    // the right position or a wrong one: it hears that it is no owner any more
    for n in [1, 9] {
        let error = house.store.commit(batch().append(&prod, n, 1, &["x"])).await.unwrap_err();
        assert!(
            matches!(error, StoreError::Fenced { fence: Fence(1), found: Fence(2), .. }),
            "{error}"
        );
        assert!(!error.retryable());
    }
    house.store.commit(batch().append(&prod, 1, 2, &["b"])).await.unwrap();
    assert_eq!(bodies(&house.read(&prod).await), ["a", "b"]);
}

async fn a_refused_batch_fails_alone_among_those_that_share_its_sync(house: House) {
    let stream = |n: u64| StreamName::Cluster(format!("c{n}").as_str().into());
    house.store.commit(batch().append(&stream(0), 0, 9, &["a"])).await.unwrap();
    // all at once: a former owner of the first stream, a wrong position in the second
    let (fenced, wrong) = (batch().append(&stream(0), 1, 8, &["x"]), 7);
    let mut pending = vec![house.store.commit(fenced.alert(0, "x"))];
    for n in 1..40 {
        let at = if n == 1 { wrong } else { 0 };
        let one = batch().append(&stream(n), at, 0, &["a"]).alert(n.cast_signed(), "a");
        pending.push(house.store.commit(one));
    }
    let answers = join_all(pending).await;
    assert!(matches!(answers[0], Err(StoreError::Fenced { .. })));
    assert!(matches!(answers[1], Err(StoreError::Conflict { .. })));
    assert!(answers[2..].iter().all(Result::is_ok));
    let house = house.restart();
    assert_eq!(house.store.alerts().await.unwrap().len(), 38);
    assert_eq!(house.store.streams().await.unwrap().len(), 39);
}

async fn a_claim_shuts_out_everybody_before_it(house: House) {
    let (prod, store) = (prod(), &house.store);
    store.commit(batch().append(&prod, 0, 7, &["a"])).await.unwrap();
    // in line behind a commit of the owner, and before another: that one is too late
    let before = store.commit(batch().append(&prod, 1, 7, &["b"]));
    let claims = [&prod, &prod, &StreamName::Process].map(|stream| store.claim(stream));
    let late = store.commit(batch().append(&prod, 2, 7, &["x"]));
    before.await.unwrap();
    let claimed = join_all(claims).await.into_iter().map(Result::unwrap);
    assert!(claimed.eq([Fence(8), Fence(9), Fence(1)]));
    assert!(matches!(late.await, Err(StoreError::Fenced { found: Fence(9), .. })));
    let compact = store.compact(&prod, 1, Fence(8), Vec::new()).await;
    assert!(matches!(compact, Err(StoreError::Fenced { .. })), "nor can it compact");
    let house = house.restart();
    let earlier = house.store.commit(batch().append(&prod, 2, 8, &["x"])).await;
    assert!(matches!(earlier, Err(StoreError::Fenced { .. })), "a claim is durable");
    house.store.commit(batch().append(&prod, 2, 9, &["c"])).await.unwrap();
    house.store.commit(batch().append(&StreamName::Process, 0, 1, &["p"])).await.unwrap();
    assert_eq!(bodies(&house.read(&prod).await), ["a", "b", "c"]);
}

async fn what_no_snapshot_stands_for_is_read_in_one_pass_and_in_order(house: House) {
    let stream = |n: u64| StreamName::Cluster(format!("c{n}").as_str().into());
    let store = &house.store;
    for n in 0..10 {
        // more than one chunk
        let pending = (0..50_u64).map(|cluster| {
            let ids = (0..10).map(|i| (n * 500 + cluster * 10 + i).cast_signed());
            let body = |id: i64| AlertRow { id, body: Some(b"x".to_vec()) };
            let mut one = batch().append(&stream(cluster), n * 10, 0, &["x"; 10]);
            one.alerts.extend(ids.map(body));
            store.commit(one)
        });
        assert!(join_all(pending).await.iter().all(Result::is_ok));
    }
    store.compact(&stream(7), 30, Fence(0), b"30".to_vec()).await.unwrap();
    store.drop_entries(&stream(8), vec![0, 1]).await.unwrap();
    let house = house.restart();
    let chunks: Vec<Vec<Entry>> = house.store.read_tails().try_collect().await.unwrap();
    assert!(chunks.len() > 2 && chunks.iter().all(|chunk| chunk.len() <= CHUNK as usize));
    let all: Vec<Entry> = chunks.into_iter().flatten().collect();
    assert_eq!(all.len(), 5_000 - 32);
    for (n, from) in [(7, 30), (8, 0), (9, 0)] {
        let ours: Vec<Entry> = all.iter().filter(|e| e.stream == stream(n)).cloned().collect();
        assert_eq!(ours, house.store.read(&stream(n), from).await.unwrap());
    }
    let rows: Vec<Vec<AlertRow>> = house.store.alert_rows().try_collect().await.unwrap();
    assert!(rows.len() > 2);
    assert!(rows.into_iter().flatten().map(|row| row.id).eq(0..5_000));
}

async fn the_order_of_calls_is_the_order_of_commits(house: House) {
    let prod = prod();
    let commit = |n: u64| house.store.commit(batch().append(&prod, n, 0, &[&n.to_string()]));
    let mut pending: Vec<_> = (0..300).map(commit).collect();
    pending.reverse();
    let last: Vec<_> = join_all(pending).await.into_iter().map(|c| c.unwrap().last_seq).collect();
    assert!(last.into_iter().eq((1..=300).rev()));
}

async fn an_empty_batch_answers_after_everything_before_it(house: House) {
    let prod = prod();
    let commit = |n: u64| house.store.commit(batch().append(&prod, n, 0, &["x"]));
    let pending: Vec<_> = (0..50).map(commit).collect();
    let barrier = house.store.commit(batch());
    assert_eq!(barrier.await.unwrap().last_seq, 50);
    assert!(pending.into_iter().all(|commit| matches!(commit.now_or_never(), Some(Ok(_)))));
}

async fn after_a_failure_nothing_is_accepted_until_healed(house: House) {
    let prod = prod();
    house.store.commit(batch().append(&prod, 0, 0, &["a"])).await.unwrap();
    let broken = (house.break_disk)(&*house.store);
    let behind = house.store.commit(batch().append(&prod, 1, 0, &["x"]).alert(1, "x"));
    let barrier = house.store.commit(batch());
    for pending in [broken, behind, barrier] {
        let error = pending.await.unwrap_err();
        assert!(matches!(error, StoreError::Failed { .. }) && error.retryable(), "{error}");
    }
    let late = house.store.commit(batch().append(&prod, 1, 0, &["x"]));
    let compact = house.store.compact(&prod, 1, Fence(0), Vec::new()).await;
    assert!(matches!(compact, Err(StoreError::Failed { .. })));
    assert_eq!(bodies(&house.read(&prod).await), ["a"], "reading goes on");
    house.store.heal();
    let healed = house.store.commit(batch().append(&prod, 1, 0, &["b"]));
    assert!(matches!(late.await, Err(StoreError::Failed { .. })));
    assert_eq!(healed.await.unwrap().last_seq, 2);
    let house = house.restart();
    assert_eq!(bodies(&house.read(&prod).await), ["a", "b"]);
    assert_eq!(house.store.alerts().await.unwrap(), []);
}

async fn a_snapshot_stands_for_compacted_entries(house: House) {
    let (prod, store) = (prod(), &house.store);
    store.commit(batch().append(&prod, 0, 5, &["a", "b", "c"])).await.unwrap();
    store.compact(&prod, 2, Fence(5), b"ab".to_vec()).await.unwrap();
    for upto in [4, 1] {
        let refused = store.compact(&prod, upto, Fence(5), b"wrong".to_vec()).await;
        assert!(matches!(refused, Err(StoreError::Conflict { .. })), "{upto}");
    }
    store.compact(&prod, 2, Fence(6), b"AB".to_vec()).await.unwrap();
    let house = house.restart();
    let heads = house.store.streams().await.unwrap();
    let head = &heads[0];
    assert_eq!((head.n, head.fence, head.compacted), (3, Fence(5), 2));
    assert_eq!(head.snapshot.as_deref(), Some(&b"AB"[..]));
    let tails: Vec<Vec<Entry>> = house.store.read_tails().try_collect().await.unwrap();
    assert_eq!(bodies(&tails.concat()), ["c"]);
    // what it stands for is there for who asks
    assert_eq!(bodies(&house.read(&prod).await), ["a", "b", "c"]);
    assert_eq!(bodies(&house.store.read_at(&prod, vec![0, 2, 9]).await.unwrap()), ["a", "c"]);
    assert_eq!(house.store.read_at(&StreamName::Process, vec![0]).await.unwrap(), []);
    house.store.compact(&prod, 3, Fence(5), b"abc".to_vec()).await.unwrap();
    let tails: Vec<Vec<Entry>> = house.store.read_tails().try_collect().await.unwrap();
    assert!(tails.concat().is_empty());
    let committed = house.store.commit(batch().append(&prod, 3, 5, &["d"])).await.unwrap();
    assert_eq!(committed.last_seq, 4);
    let tails: Vec<Vec<Entry>> = house.store.read_tails().try_collect().await.unwrap();
    assert_eq!(places(&tails.concat()), [(4, 3)]);
}

async fn dropped_entries_leave_their_numbers_unused(house: House) {
    let (prod, store) = (prod(), &house.store);
    store.commit(batch().append(&prod, 0, 0, &["a", "b", "c", "d"])).await.unwrap();
    store.drop_entries(&prod, vec![1, 3, 99]).await.unwrap();
    store.drop_entries(&StreamName::Process, vec![0]).await.unwrap();
    assert_eq!(places(&house.read(&prod).await), [(1, 0), (3, 2)]);
    let house = house.restart();
    house.store.commit(batch().append(&prod, 4, 0, &["e"])).await.unwrap();
    assert_eq!(places(&house.read(&prod).await), [(1, 0), (3, 2), (5, 4)]);
}

async fn rows_are_overwritten_and_deleted(house: House) {
    let store = &house.store;
    store
        .commit(batch().alert(2, "b").alert(1, "a").alert(3, "c").observed("y", "1"))
        .await
        .unwrap();
    let change =
        batch().alert(1, "A").no_alert(2).no_alert(99).observed("x", "2").observed("y", "3");
    store.commit(change).await.unwrap();
    let house = house.restart();
    let row = |id, body: &str| AlertRow { id, body: Some(body.into()) };
    assert_eq!(house.store.alerts().await.unwrap(), [row(1, "A"), row(3, "c")]);
    let observed = house.store.observed().await.unwrap();
    let observed: Vec<_> = observed.iter().map(|o| (o.cluster.as_str(), o.body.as_str())).collect();
    assert_eq!(observed, [("x", "2"), ("y", "3")]);
}

async fn a_closed_store_keeps_what_was_called_before_and_refuses_the_rest(house: House) {
    let (prod, store) = (prod(), &house.store);
    let before = store.commit(batch().append(&prod, 0, 0, &["a"]));
    store.close().await.unwrap();
    store.close().await.unwrap();
    before.await.unwrap();
    let refused = async |what: &mut (dyn Future<Output = Result<(), StoreError>> + Unpin)| {
        assert!(matches!(what.await, Err(StoreError::Closed)));
    };
    refused(&mut store.commit(batch()).map(|c| c.map(drop))).await;
    refused(&mut store.read(&prod, 0).map(|r| r.map(drop))).await;
    refused(&mut store.drop_entries(&prod, vec![0])).await;
    store.heal();
    let house = house.restart();
    assert_eq!(bodies(&house.read(&prod).await), ["a"]);
}
