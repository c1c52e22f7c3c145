//! `etcdutl`: its version gate, `snapshot status` and `snapshot restore`.
//!
//! It only ever reads finished snapshots: on a live database `status` blocks for ever. Every call
//! has a limit.

use std::{path::Path, time::Duration};

use serde_json::Value as Json;

use crate::{
    domain::{
        base::id::EtcdId,
        inventory::Cluster,
        rules::action::{ErrorKind, Failure},
    },
    targets::{
        Tool, Toolset,
        host::{
            child::Bond,
            run::{Ran, run},
        },
    },
};

/// Limit of a call that reads or writes a whole database.
const BULK: Duration = Duration::from_mins(8);

/// The first etcdutl that can raise the revision of what it restores.
const BUMPS_FROM: (u32, u32, u32) = (3, 5, 10);
/// The risk an operator accepts to use an older one.
const WITHOUT_BUMP: &str = "restore_without_bump";

async fn etcdutl(cluster: &Cluster, words: Vec<String>, limit: Duration) -> Result<Ran, Failure> {
    let mut argv = vec![cluster.etcd.tools.etcdutl.to_string_lossy().into_owned()];
    argv.extend(words);
    run(&argv, Bond::Ours, limit).await?.succeeded(&argv)
}

/// Limit of a call that only tells a version.
const BRIEF: Duration = Duration::from_secs(10);

/// The tools with their versions; refused where a restore could not raise the revision and nobody
/// accepted that.
pub(crate) async fn toolset(cluster: &Cluster) -> Result<Toolset, Failure> {
    let paths = &cluster.etcd.tools;
    let argv = [paths.etcd.to_string_lossy().into_owned(), "--version".to_owned()];
    let ran = run(&argv, Bond::Ours, BRIEF).await?.succeeded(&argv)?;
    let version = told(&ran.stdout, "etcd Version:");
    if parse_version(&version).is_none() {
        return Err(unreadable(&paths.etcd, &version));
    }
    let etcd = Tool { path: paths.etcd.clone(), version };
    let version = etcdutl_version(cluster).await?;
    raises(cluster, &version)?;
    Ok(Toolset { etcd, etcdutl: Tool { path: paths.etcdutl.clone(), version } })
}

/// Whether a restore raises the revision; refused where it could not and nobody accepted that.
pub(crate) async fn bumps(cluster: &Cluster) -> Result<bool, Failure> {
    raises(cluster, &etcdutl_version(cluster).await?)
}

async fn etcdutl_version(cluster: &Cluster) -> Result<String, Failure> {
    let ran = etcdutl(cluster, vec!["version".into()], BRIEF).await?;
    Ok(told(&ran.stdout, "etcdutl version:"))
}

/// The version that stands behind `label` in what a tool prints.
fn told(printed: &str, label: &str) -> String {
    let version = printed.lines().find_map(|line| line.strip_prefix(label));
    version.map(str::trim).unwrap_or_default().to_owned()
}

fn unreadable(path: &Path, version: &str) -> Failure {
    let message = format!("{} names its version as {version:?}", path.display());
    Failure::new(ErrorKind::Tool, message)
}

fn raises(cluster: &Cluster, version: &str) -> Result<bool, Failure> {
    let Some(parsed) = parse_version(version) else {
        return Err(unreadable(&cluster.etcd.tools.etcdutl, version));
    };
    if parsed >= BUMPS_FROM {
        return Ok(true);
    }
    if cluster.etcd.allow.iter().any(|risk| risk == WITHOUT_BUMP) {
        return Ok(false);
    }
    let message = format!(
        "etcdutl {version} cannot raise the revision of what it restores, so clients' caches would be ahead of the store: install 3.5.10 or newer, or accept it with etcd.allow: [{WITHOUT_BUMP}]"
    );
    Err(Failure::new(ErrorKind::RefusedByGuard, message))
}

/// `3.5.16`, `3.6.0-rc.1`.
fn parse_version(text: &str) -> Option<(u32, u32, u32)> {
    let mut numbers = text.trim_start_matches('v').splitn(3, '.');
    let major = numbers.next()?.parse().ok()?;
    let minor = numbers.next()?.parse().ok()?;
    let patch = numbers.next()?;
    let digits = patch.find(|c: char| !c.is_ascii_digit()).unwrap_or(patch.len());
    Some((major, minor, patch[..digits].parse().ok()?))
}

/// What a snapshot file holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SnapshotStatus {
    pub(crate) hash: String,
    pub(crate) revision: i64,
    pub(crate) keys: i64,
}

/// Reads a finished snapshot.
pub(crate) async fn snapshot_status(
    cluster: &Cluster,
    path: &Path,
) -> Result<SnapshotStatus, Failure> {
    let words = ["snapshot", "status", &path.to_string_lossy(), "-w", "json"].map(str::to_owned);
    let ran = etcdutl(cluster, words.to_vec(), BULK).await?;
    let found: Json = serde_json::from_str(ran.stdout.trim()).unwrap_or_default();
    let number = |field: &str| {
        found.get(field).and_then(Json::as_i64).ok_or_else(|| {
            Failure::new(
                ErrorKind::Tool,
                format!("etcdutl snapshot status of {} names no {field}", path.display()),
            )
        })
    };
    Ok(SnapshotStatus {
        hash: format!("{:08x}", number("hash")?),
        revision: number("revision")?,
        keys: number("totalKey")?,
    })
}

/// What is restored, and where to.
#[derive(Debug)]
pub(crate) struct Restore<'a> {
    pub(crate) snapshot: &'a Path,
    pub(crate) name: &'a str,
    pub(crate) peer: &'a str,
    pub(crate) token: &'a str,
    pub(crate) data: &'a Path,
    pub(crate) wal: Option<&'a Path>,
    pub(crate) bump: Option<i64>,
}

impl Restore<'_> {
    /// The arguments of etcdutl.
    pub(crate) fn words(&self) -> Vec<String> {
        let mut words = vec![
            "snapshot".into(),
            "restore".into(),
            self.snapshot.to_string_lossy().into_owned(),
            format!("--name={}", self.name),
            format!("--initial-cluster={}={}", self.name, self.peer),
            format!("--initial-advertise-peer-urls={}", self.peer),
            format!("--initial-cluster-token={}", self.token),
            format!("--data-dir={}", self.data.display()),
        ];
        words.extend(self.wal.map(|wal| format!("--wal-dir={}", wal.display())));
        if let Some(bump) = self.bump {
            words.extend([format!("--bump-revision={bump}"), "--mark-compacted".into()]);
        }
        words
    }
}

/// Restores; the member's and the cluster's new ids.
pub(crate) async fn restore(
    cluster: &Cluster,
    restore: &Restore<'_>,
) -> Result<(EtcdId, EtcdId), Failure> {
    let ran = etcdutl(cluster, restore.words(), BULK).await?;
    let said = format!("{}\n{}", ran.stderr, ran.stdout);
    let id = |field: &str| {
        id_in(&said, field).ok_or_else(|| {
            Failure::new(ErrorKind::Tool, format!("etcdutl snapshot restore names no {field}"))
        })
    };
    Ok((id("added-peer-id")?, id("cluster-id")?))
}

/// The id of a field in etcd's log, whether it is written as JSON or for a console.
fn id_in(log: &str, field: &str) -> Option<EtcdId> {
    let (_, rest) = log.split_once(&format!("\"{field}\":"))?;
    EtcdId::parse(rest.trim_start().strip_prefix('"')?.split('"').next()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_by_number() {
        assert!(parse_version("3.5.9").unwrap() < BUMPS_FROM);
        assert!(parse_version("3.5.10").unwrap() >= BUMPS_FROM);
        assert!(parse_version("3.6.0-rc.1").unwrap() >= BUMPS_FROM);
        assert_eq!(parse_version("unknown"), None);
    }

    #[test]
    fn a_tool_s_version_stands_behind_its_label() {
        assert_eq!(told("etcd Version: 3.5.16\nGit SHA: 1.2\n", "etcd Version:"), "3.5.16");
        assert_eq!(
            told("etcdutl version: 3.6.0-rc.1\nAPI version: 3.6", "etcdutl version:"),
            "3.6.0-rc.1"
        );
        assert_eq!(told("usage: …", "etcd Version:"), "");
    }

    #[test]
    fn ids_are_read_from_either_log_format() {
        for log in [
            "info\tmembership/cluster.go:421\tadded member\t{\"cluster-id\": \"81238c818de1b3de\", \"local-member-id\": \"0\", \"added-peer-id\": \"854aeda7ca0c43cd\"}",
            r#"{"msg":"added member","cluster-id":"81238c818de1b3de","local-member-id":"0","added-peer-id":"854aeda7ca0c43cd"}"#,
        ] {
            assert_eq!(id_in(log, "cluster-id"), EtcdId::parse("81238c818de1b3de"));
            assert_eq!(id_in(log, "added-peer-id"), EtcdId::parse("854aeda7ca0c43cd"));
        }
        assert_eq!(id_in("nothing", "cluster-id"), None);
    }
}
