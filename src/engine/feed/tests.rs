//! What a follower gets, and when it is told to read everything anew.

use super::*;
use crate::domain::journal::record::Attribution;

const AT: Time = Time(1_000);

fn unpaused() -> Record {
    Record::Unpaused(Attribution { by: "ann".into(), reason: "done".into() })
}

/// Tells `count` records of which the last is at this place.
fn tell(feed: &Feed, count: usize, last_seq: u64) {
    feed.records(&"c1".into(), &vec![unpaused(); count], AT, last_seq);
}

async fn seqs(follower: &mut Follower) -> Vec<u64> {
    match follower.next().await {
        Next::Entries(entries) => entries.iter().filter_map(|told| told.seq).collect(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn who_comes_without_a_place_reads_everything_first_and_then_what_comes() {
    let feed = Arc::new(Feed::default());
    tell(&feed, 2, 8);
    let mut follower = feed.follow(None);
    assert_eq!(follower.next().await, Next::Resync(8));
    tell(&feed, 3, 11);
    assert_eq!(seqs(&mut follower).await, [9, 10, 11]);
}

#[tokio::test]
async fn who_comes_back_gets_what_came_meanwhile_and_nothing_twice() {
    let feed = Arc::new(Feed::default());
    tell(&feed, 2, 2);
    // commits of two clusters land in another order than they were made
    tell(&feed, 1, 4);
    tell(&feed, 1, 3);
    tell(&feed, 1, 5);
    assert_eq!(seqs(&mut feed.follow(Some(4))).await, [3, 5]);
    assert_eq!(seqs(&mut feed.follow(Some(1))).await, [2, 4, 3, 5]);
    let mut at_the_end = feed.follow(Some(5));
    tell(&feed, 1, 6);
    assert_eq!(seqs(&mut at_the_end).await, [6]);
}

#[tokio::test]
async fn who_was_away_too_long_or_fell_behind_is_told_so() {
    let feed = Arc::new(Feed::default());
    tell(&feed, 1, 1);
    let mut slow = feed.follow(Some(1));
    tell(&feed, KEPT_MAX, 1 + KEPT_MAX as u64);
    assert_eq!(slow.next().await, Next::Entries(feed.kept().entries.iter().cloned().collect()));
    tell(&feed, KEPT_MAX + 1, 2 + 2 * KEPT_MAX as u64);
    assert_eq!(slow.next().await, Next::Resync(2 + 2 * KEPT_MAX as u64));
    for gone in [1, 7_777_777] {
        let again = feed.follow(Some(gone)).next().await;
        assert_eq!(again, Next::Resync(2 + 2 * KEPT_MAX as u64));
    }
    assert_eq!(feed.kept().entries.len(), KEPT_MAX, "what is kept is bounded");
}

#[tokio::test]
async fn a_feed_that_is_closed_ends_its_followers_and_stays_closed() {
    let feed = Arc::new(Feed::default());
    tell(&feed, 1, 1);
    let mut waits = feed.follow(Some(1));
    let waiting = tokio::spawn(async move { waits.next().await });
    tokio::task::yield_now().await;
    feed.close();
    assert_eq!(waiting.await.unwrap(), Next::Ended);
    tell(&feed, 1, 2);
    assert_eq!(feed.follow(None).next().await, Next::Ended);
}
