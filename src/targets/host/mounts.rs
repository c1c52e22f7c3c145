//! Whether a member's data can be renamed away, asked before a run touches anything.
//!
//! A repair only ever renames data. What is a mount point, or lies on another device than the
//! directory it would go to, cannot be renamed; found in the middle of a run that costs the whole
//! attempt. Only a positive finding refuses: what is not there, or cannot be looked at, is for the
//! look at the data to tell.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use futures::future::join_all;
use rustix::fs::{AtFlags, CWD, StatxFlags, statx};

use super::{files::looked, places::Places};
use crate::domain::{
    base::id::RunId,
    inventory::{Cluster, Member},
};

/// Where a path lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Lies {
    /// Its mount; `None` where the kernel does not tell (before Linux 5.8).
    mount: Option<u64>,
    device: (u32, u32),
}

/// Where a path lies; a link at its end is followed where that is asked for.
type Look<'l> = &'l dyn Fn(&Path, bool) -> Option<Lies>;

/// `Err` names every member whose data cannot be renamed, why, and what to do.
pub(crate) async fn movable(cluster: &Arc<Cluster>) -> Result<(), String> {
    let found = cluster.etcd.members.iter().map(|one| {
        let (cluster, member) = (cluster.clone(), one.clone());
        let limit = cluster.probe_timeout;
        looked(&one.data_dir, limit, move |_| Ok(obstacles(&cluster, &member, &lies)))
    });
    let found = join_all(found).await.into_iter().flat_map(Result::unwrap_or_default);
    let found: Vec<String> = found.collect();
    if found.is_empty() { Ok(()) } else { Err(found.join("; ")) }
}

fn lies(path: &Path, follow: bool) -> Option<Lies> {
    let flags = if follow { AtFlags::empty() } else { AtFlags::SYMLINK_NOFOLLOW };
    let wanted = StatxFlags::BASIC_STATS | StatxFlags::MNT_ID;
    let stat = statx(CWD, path, flags, wanted).ok()?;
    let told = stat.stx_mask & StatxFlags::MNT_ID.bits() != 0;
    Some(Lies {
        mount: told.then_some(stat.stx_mnt_id),
        device: (stat.stx_dev_major, stat.stx_dev_minor),
    })
}

fn obstacles(cluster: &Cluster, member: &Member, look: Look<'_>) -> Vec<String> {
    // Places of no run: only where the data stands is asked.
    let places = Places::new(cluster, member, RunId(uuid::Uuid::nil()));
    let homes = places.parts("old").into_iter().map(|part| part.home);
    homes.filter_map(|home| obstacle(member, &places, &home, look)).collect()
}

/// Why a rename out of the member's way would fail: `home` goes to `.quorate` beside it.
fn obstacle(member: &Member, places: &Places, home: &Path, look: Look<'_>) -> Option<String> {
    let (here, parent) = (look(home, false)?, home.parent()?);
    let around = look(parent, true)?;
    let beside = parent.join(".quorate");
    let (path, name) = (home.display(), &member.name);
    let is_wal = places.wal_dir.as_deref() == Some(home);
    let why = if differ(here.mount, around.mount) {
        "is a mount point of its own".to_owned()
    } else if here.device != around.device {
        format!("lies on another device than {}", parent.display())
    } else if look(&beside, true).is_some_and(|there| there != here) {
        return Some(format!(
            "{name}: {} lies on another file system than {path}, so a repair cannot rename {path} into it: take that mount or link away",
            beside.display()
        ));
    } else {
        return None;
    };
    let instead = if is_wal {
        let inner: PathBuf = home.join("wal");
        format!(
            "stop {name}, move its log into a subdirectory, as {}, and name that as its --wal-dir and as `wal_dir` here",
            inner.display()
        )
    } else {
        format!("stop {name} and mount that file system at {} instead", parent.display())
    };
    Some(format!(
        "{name}: {path} {why}, so a repair cannot rename it into {}: {instead}",
        beside.display()
    ))
}

fn differ(a: Option<u64>, b: Option<u64>) -> bool {
    a.zip(b).is_some_and(|(a, b)| a != b)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::targets::testing::{mk_cluster, no_tools};

    fn at(mount: u64, device: u32) -> Lies {
        Lies { mount: Some(mount), device: (8, device) }
    }

    /// What is said of m2, whose WAL is `/log/m2`, where these paths lie elsewhere than the rest.
    fn said(elsewhere: &[(&str, Lies)]) -> Vec<String> {
        let mut cluster = mk_cluster(Path::new("/x"), &[1, 2, 3, 4, 5, 6], no_tools());
        cluster.etcd.members[1].wal_dir = Some("/log/m2".into());
        let look = |path: &Path, _: bool| {
            let found = elsewhere.iter().find(|(one, _)| path == Path::new(one));
            let plain = (!path.ends_with(".quorate")).then_some(at(1, 1));
            found.map(|(_, lies)| *lies).or(plain)
        };
        cluster.etcd.members.iter().flat_map(|one| obstacles(&cluster, one, &look)).collect()
    }

    /// Rows: E15.
    #[test]
    fn data_that_cannot_be_renamed_is_named_with_the_reason_and_the_way_out() {
        assert_eq!(said(&[]), [] as [String; 0]);
        let cases = [
            ("/log/m2", at(2, 1), "/log/m2 is a mount point of its own"),
            ("/log/m2", Lies { mount: None, ..at(0, 2) }, "lies on another device than /log"),
            ("/log/.quorate", at(3, 1), "/log/.quorate lies on another file system"),
            ("/x/m2/data/member", at(2, 2), "/x/m2/data/member is a mount point of its own"),
        ];
        for (path, lies, told) in cases {
            let said = said(&[(path, lies)]);
            assert_eq!(said.len(), 1, "{said:?}");
            assert!(said[0].starts_with("m2: ") && said[0].contains(told), "{said:?}");
        }
        let wal = &said(&[("/log/m2", at(2, 2))])[0];
        assert!(wal.contains("/log/m2/wal") && wal.contains("`wal_dir`"), "{wal}");
        let member = &said(&[("/x/m2/data/member", at(2, 2))])[0];
        assert!(member.contains("mount that file system at /x/m2/data instead"), "{member}");
    }

    #[tokio::test]
    async fn plain_directories_and_links_and_absent_ones_can_be_renamed() {
        let dir = tempfile::tempdir().unwrap();
        let mut cluster = mk_cluster(dir.path(), &[1, 2, 3, 4, 5, 6], no_tools());
        fs::create_dir_all(dir.path().join("m1/data/member")).unwrap();
        fs::create_dir_all(dir.path().join("m1/data/.quorate/run_x/old")).unwrap();
        // A link to another file system is itself renamed.
        std::os::unix::fs::symlink("/proc", dir.path().join("log")).unwrap();
        cluster.etcd.members[0].wal_dir = Some(dir.path().join("log"));
        let asked = |cluster: &Cluster| Arc::new(cluster.clone());
        assert_eq!(movable(&asked(&cluster)).await, Ok(()));
        // The file system of processes is another one than the root's.
        cluster.etcd.members[0].wal_dir = Some("/proc".into());
        let refused = movable(&asked(&cluster)).await.unwrap_err();
        assert!(refused.contains("m1: /proc is a mount point of its own"), "{refused}");
    }
}
