//! Files that are deleted, replaced, linked, or open to others.

use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, symlink};

use futures::FutureExt;

use super::*;
use crate::store::embedded::folder::Gone;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

fn cause(error: &StoreError) -> String {
    std::error::Error::source(error).unwrap().to_string()
}

/// Deletes every file in a folder.
fn empty(dir: &Path) {
    for entry in fs::read_dir(dir).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
    }
}

/// Rows: E21, for two responders on one store. Once there was a lock file, and this let a second in.
#[tokio::test]
async fn no_deleted_file_lets_a_second_server_in() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_embedded(dir.path(), "1.0.0").unwrap();
    empty(dir.path());
    let held = open_embedded(dir.path(), "1.0.0").unwrap_err();
    assert!(matches!(held, StoreError::Held { pid } if pid == Some(std::process::id())), "{held}");
    drop(store);
}

/// Also where the folder is another one, as behind a mount: the database has a lock of its own.
#[tokio::test]
async fn a_database_is_locked_by_whatever_folder_it_is_reached() {
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let store = open_embedded(dirs[0].path(), "1.0.0").unwrap();
    let [first, second] = [&dirs[0], &dirs[1]].map(|dir| dir.path().join(FILE));
    fs::hard_link(first, second).unwrap();
    let held = open_embedded(dirs[1].path(), "1.0.0").unwrap_err();
    assert!(matches!(held, StoreError::Held { pid: Some(_) }), "{held}");
    drop(store);
}

#[tokio::test]
async fn what_is_written_to_a_deleted_store_is_not_acknowledged() {
    for name in [FILE, "journal.db-wal", "journal.db-shm"] {
        let dir = tempfile::tempdir().unwrap();
        let store = open_embedded(dir.path(), "1.0.0").unwrap();
        store.commit(batch().alert(1, "a")).await.unwrap();
        fs::remove_file(dir.path().join(name)).unwrap();
        let error = store.commit(batch().alert(2, "b")).await.unwrap_err();
        assert!(cause(&error).contains(&format!("{name} was deleted")), "{}", cause(&error));
        let error = store.fatal().await;
        assert!(matches!(error, StoreError::Broken { .. }), "{error}");
        store.heal();
        assert!(matches!(store.commit(batch()).await, Err(StoreError::Broken { .. })));
    }
}

/// Nothing has to be written for it.
#[tokio::test]
async fn an_idle_store_notices_that_its_files_were_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_embedded(dir.path(), "1.0.0").unwrap();
    let path = dir.path().join(FILE);
    assert!(store.fatal().now_or_never().is_none());
    fs::copy(&path, dir.path().join("copy")).unwrap();
    fs::rename(dir.path().join("copy"), &path).unwrap();
    let error = tokio::time::timeout(Duration::from_mins(1), store.fatal()).await.unwrap();
    let path = path.canonicalize().unwrap();
    assert_eq!(cause(&error), Gone::Replaced(path).to_string());
}

#[test]
fn a_link_in_place_of_a_file_is_refused() {
    for name in [FILE, "journal.db-wal", "journal.db-shm"] {
        let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let target = other.path().join("target");
        fs::write(&target, "").unwrap();
        symlink(&target, dir.path().join(name)).unwrap();
        let error = open_embedded(dir.path(), "1.0.0").unwrap_err();
        assert!(matches!(error, StoreError::Open { .. }), "{error}");
        assert!(cause(&error).contains("link"), "{}", cause(&error));
        assert_eq!(fs::read(&target).unwrap(), b"", "it was written through");
    }
}

#[test]
fn what_it_makes_is_for_its_owner_alone() {
    let above = tempfile::tempdir().unwrap();
    let dir = above.path().join("a/b");
    let store = open_embedded(&dir, "1.0.0").unwrap();
    futures::executor::block_on(store.commit(batch().alert(1, "a"))).unwrap();
    assert_eq!(mode(&dir), 0o700);
    for entry in fs::read_dir(&dir).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
    drop(store);

    // a folder that is open may be meant to be; a file in it is not
    let open = above.path().join("open");
    fs::DirBuilder::new().mode(0o750).create(&open).unwrap();
    fs::write(open.join(FILE), "").unwrap();
    fs::set_permissions(open.join(FILE), fs::Permissions::from_mode(0o644)).unwrap();
    drop(open_embedded(&open, "1.0.0").unwrap());
    assert_eq!((mode(&open), mode(&open.join(FILE))), (0o750, 0o600));
}
