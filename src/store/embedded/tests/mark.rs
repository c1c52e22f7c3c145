//! Commits that vanish without a word from `SQLite`: they are missed at the next start.

use tempfile::TempDir;

use super::*;
use crate::store::embedded::{
    folder::Folder, folder::MARK, mark, mark::State, schema, upkeep::COPY_EVERY, write::Write,
};

const LOG: &str = "journal.db-wal";

/// A store that no writer thread looks after, so that all stays in its log.
fn journal(dir: &Path) -> Journal {
    let mut folder = Folder::open(dir).unwrap();
    let opened = schema::open(&folder.file(FILE), "1.0.0", None, None).unwrap();
    let mark = Mark::open(&folder.file(MARK), opened.state).unwrap();
    folder.watch().unwrap();
    Journal::new(opened, folder, mark, "1.0.0")
}

/// Two hundred alerts and a pause, acknowledged; then the second ends. On a slow disk some have ended
/// before, so the last state is not always the first.
fn filled(dir: &Path) -> Journal {
    let mut journal = journal(dir);
    for id in 0..200 {
        let mut answers = journal.write(&[Write::Batch(batch().alert(id, "fires"))]).unwrap();
        answers.remove(0).unwrap();
    }
    let pause = Write::Batch(batch().append(&prod(), 0, 0, &["pause"]));
    journal.write(&[pause]).unwrap().remove(0).unwrap();
    let made = journal.transact(|journal| journal.state());
    journal.made(made.ok());
    journal.mark.write().unwrap();
    journal
}

/// As it lies there after kill -9, save what `change` did to it.
fn crashed(dir: &Path, change: impl FnOnce(&Path)) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    for name in [FILE, LOG, MARK] {
        fs::copy(dir.join(name), copy.path().join(name)).unwrap();
    }
    change(copy.path());
    copy
}

fn flip(dir: &Path) {
    let mut log = fs::read(dir.join(LOG)).unwrap();
    let page = 8192;
    log[32 + 5 * (page + 24) + 1000] ^= 4;
    fs::write(dir.join(LOG), log).unwrap();
}

async fn alerts(dir: &Path) -> usize {
    open_embedded(dir, "1.0.0").unwrap().alerts().await.unwrap().len()
}

/// What the side record of `journal` knows is missed in a folder that it was copied to.
#[track_caller]
fn assert_missed(dir: &Path, journal: &Journal) {
    let error = open_embedded(dir, "1.0.0").unwrap_err();
    let said = error.to_string();
    let StoreError::Shorter { known, known_seq, found, .. } = error else { panic!("{said}") };
    assert_eq!(State { number: known, seq: known_seq }, journal.mark.state, "{said}");
    assert!(found < known && known_seq == 1, "{said}");
    assert!(said.contains("quorate store check") && said.contains(MARK), "{said}");
}

/// Rows: E22. Once 200 of 200 alerts and a pause vanished so, without a warning.
#[tokio::test]
async fn commits_that_vanish_with_their_log_are_missed() {
    let dir = tempfile::tempdir().unwrap();
    let journal = filled(dir.path());
    assert_eq!(alerts(crashed(dir.path(), |_| {}).path()).await, 200);
    assert_missed(
        crashed(dir.path(), |dir| fs::remove_file(dir.join(LOG)).unwrap()).path(),
        &journal,
    );
    assert_missed(crashed(dir.path(), flip).path(), &journal);
    assert_missed(
        crashed(dir.path(), |dir| fs::remove_file(dir.join(FILE)).unwrap()).path(),
        &journal,
    );
    drop(journal);
}

#[tokio::test]
async fn a_journal_that_is_refused_stays_as_it_was_found() {
    let dir = tempfile::tempdir().unwrap();
    let journal = filled(dir.path());
    let hurt = crashed(dir.path(), flip);
    assert_missed(hurt.path(), &journal);
    assert_missed(hurt.path(), &journal);
    // whoever knows which bit it was has lost nothing
    flip(hurt.path());
    assert_eq!(alerts(hurt.path()).await, 200);
    drop(journal);
}

#[tokio::test]
async fn a_loss_is_accepted_by_deleting_the_side_record() {
    let dir = tempfile::tempdir().unwrap();
    let journal = filled(dir.path());
    let hurt = crashed(dir.path(), flip);
    assert_missed(hurt.path(), &journal);
    fs::remove_file(hurt.path().join(MARK)).unwrap();
    assert!(alerts(hurt.path()).await < 10);
    assert!(alerts(hurt.path()).await < 10, "it counts on from what is there");
    drop(journal);
}

#[tokio::test]
async fn an_older_database_in_its_place_is_missed() {
    let dir = tempfile::tempdir().unwrap();
    drop(open_embedded(dir.path(), "1.0.0").unwrap());
    let older = fs::read(dir.path().join(FILE)).unwrap();
    let store = open_embedded(dir.path(), "1.0.0").unwrap();
    store.commit(batch().append(&prod(), 0, 0, &["pause"])).await.unwrap();
    drop(store);
    fs::write(dir.path().join(FILE), older).unwrap();
    let error = open_embedded(dir.path(), "1.0.0").unwrap_err();
    assert!(matches!(error, StoreError::Shorter { found_seq: 0, known_seq: 1, .. }), "{error}");
}

/// What stands in the log alone is gone with it, so an idle store leaves nothing there.
#[tokio::test]
async fn an_idle_store_needs_its_log_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_embedded(dir.path(), "1.0.0").unwrap();
    for id in 0..200 {
        store.commit(batch().alert(id, "fires")).await.unwrap();
    }
    store.commit(batch().append(&prod(), 0, 0, &["pause"])).await.unwrap();
    let until = Instant::now() + Duration::from_mins(1);
    while mark::read(&dir.path().join(MARK)).unwrap().is_none_or(|state| state.seq == 0) {
        assert!(Instant::now() < until, "it never rested");
        store.commit(batch()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let without = crashed(dir.path(), |dir| fs::remove_file(dir.join(LOG)).unwrap());
    assert_eq!(alerts(without.path()).await, 200);
    drop(store);
    // and one that has stopped has none
    assert_eq!(fs::metadata(dir.path().join(LOG)).map_or(0, |log| log.len()), 0);
}

/// A trickle of commits is never idle.
#[test]
fn what_stands_in_the_log_for_long_is_copied_back() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = filled(dir.path());
    journal.tidy();
    assert!(journal.alone_since.is_some());
    journal.alone_since = Instant::now().checked_sub(COPY_EVERY);
    journal.tidy();
    assert!(journal.alone_since.is_none());
}
