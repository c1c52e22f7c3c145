//! The mark of a member's log: what it held at one moment, to tell later whether it is still that.
//!
//! A member acknowledges nothing before it stands in its log, so a log that did not change since a
//! moment proves that the member served nobody since. The content is read, not the times: etcd syncs
//! its log without its times, and a host that lost power shows the old time beside the new entries.

use std::{path::Path, sync::atomic::AtomicBool};

use sha2::{Digest, Sha256};

use super::{
    copy::{hex, sha256_file},
    files::{entries, exists, failure},
    places::Places,
};
use crate::domain::rules::action::Failure;

/// The mark of the log where the member looks for it.
pub(crate) fn mark(places: &Places, stop: &AtomicBool) -> Result<Option<String>, Failure> {
    mark_in(&places.wal(), stop)
}

/// Names and lengths of all files of the log, and the content of the newest one: entries are only
/// ever added to that one. `None` where there is no log.
pub(crate) fn mark_in(dir: &Path, stop: &AtomicBool) -> Result<Option<String>, Failure> {
    if !exists(dir)? {
        return Ok(None);
    }
    let mut mark = Sha256::new();
    let mut newest = None;
    for path in entries(dir)? {
        let length = std::fs::symlink_metadata(&path)
            .map_err(|error| failure("looking at", &path, &error))?
            .len();
        mark.update(format!("{} {length}\n", name(&path)));
        if path.extension().is_some_and(|extension| extension == "wal") {
            newest = Some(path);
        }
    }
    let Some(newest) = newest else { return Ok(None) };
    mark.update(sha256_file(&newest, stop)?.0);
    Ok(Some(hex(&mark.finalize())))
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::{
        domain::base::id::RunId,
        targets::testing::{mk_cluster, no_tools},
    };

    #[test]
    fn the_mark_changes_with_what_a_member_writes_and_with_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let cluster = mk_cluster(dir.path(), &[1, 2, 3], no_tools());
        let places = Places::new(&cluster, &cluster.etcd.members[0], RunId(uuid::Uuid::nil()));
        let mark = || mark(&places, &AtomicBool::new(false)).unwrap();
        assert_eq!(mark(), None);
        let wal = places.wal();
        fs::create_dir_all(&wal).unwrap();
        assert_eq!(mark(), None, "a directory without a log");
        fs::write(wal.join("0-0.wal"), [0; 64]).unwrap();
        let first = mark();
        assert!(first.is_some());
        fs::write(wal.join("../db"), "x").unwrap();
        let file = fs::File::options().write(true).open(wal.join("0-0.wal")).unwrap();
        file.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
        assert_eq!(mark(), first, "times tell nothing");
        std::os::unix::fs::FileExt::write_all_at(&file, &[1], 40).unwrap();
        let written = mark();
        assert_ne!(written, first, "an entry inside the room that was there");
        fs::write(wal.join("1.tmp"), [0; 64]).unwrap();
        assert_ne!(mark(), written, "room for later, made by a start");
    }
}
