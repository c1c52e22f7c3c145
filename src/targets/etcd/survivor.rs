//! `etcd.choose_survivor` and `etcd.restore`.
//!
//! Candidates are compared by the hash of all their keys at the lowest of their revisions. Whoever
//! stands at that revision had it taken with the snapshot; one that serves is asked; of one that
//! does not, the snapshot itself is started on loopback and asked.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use super::{
    choose::{self, Candidate, HashAt},
    client::{Api, RAFT},
    scratch,
    tool::{self, Restore},
};
use crate::{
    domain::{
        base::id::{EtcdId, MemberName},
        inventory::{Cluster, Member},
        rules::{
            action::{Call, Done, ErrorKind, Failure},
            expr::Value,
        },
    },
    targets::{
        effect,
        host::{
            files::{self, blocking, exists, failure},
            places::{Places, member, place},
            service::must_be_gone,
        },
    },
};

/// Chooses.
pub(crate) async fn choose(cluster: &Arc<Cluster>, call: &Call) -> Result<Done, Failure> {
    let order: Vec<MemberName> =
        cluster.etcd.members.iter().map(|member| member.name.clone()).collect();
    let among = call.args.get("among").unwrap_or(&Value::Null);
    let seen = choose::Seen::read(call.args.get("observed"));
    let mut all = choose::candidates(among, &order)?;
    choose::exclude(&mut all, &seen)?;
    if let Some(at) = choose::common_revision(&all)? {
        let mut hashes = BTreeMap::new();
        for one in choose::standing(&all) {
            hashes.insert(one.member.clone(), hash_at(cluster, call, one, at).await?);
        }
        choose::one_history(at, &hashes)?;
    }
    Ok(Done { output: choose::output(&all, &order, &seen)?, changed: false })
}

async fn hash_at(
    cluster: &Arc<Cluster>,
    call: &Call,
    one: &Candidate,
    at: i64,
) -> Result<HashAt, Failure> {
    if one.revision == at {
        return Ok(HashAt { hash: one.hash_kv, compact_revision: one.compact_revision });
    }
    let Some(member) = cluster.member(one.member.as_str()) else {
        return Err(Failure::new(ErrorKind::Invalid, format!("no member {}", one.member)));
    };
    if !one.scratch
        && let Ok(mut api) = Api::connect(&cluster.etcd, &member.client, false, RAFT).await
        && let Ok((hash, compact_revision)) = api.hash_kv(at).await
    {
        return Ok(HashAt { hash, compact_revision });
    }
    hash_of_snapshot(cluster, call, member, Path::new(&one.snapshot), at).await
}

/// Restores a snapshot to a throw-away directory and asks a process on it.
async fn hash_of_snapshot(
    cluster: &Arc<Cluster>,
    call: &Call,
    member: &Member,
    snapshot: &Path,
    at: i64,
) -> Result<HashAt, Failure> {
    let places = Places::new(cluster, member, call.run);
    own_snapshot(&places, snapshot)?;
    let dir = places.backups().join("hash");
    let copy = scratch::hashing(&dir, member.name.as_str());
    copy.end().await?;
    let lock = copy.lock().await?;
    effect::hold(lock.try_clone().map_err(|error| failure("locking", &copy.lock, &error))?);
    let stale = dir.clone();
    blocking(move |_| {
        files::remove_own(&stale)?;
        files::make_dir(&stale)
    })
    .await?;
    let asked = async {
        let restore = Restore {
            snapshot,
            name: member.name.as_str(),
            // A name only: the copy listens where its own arguments say.
            peer: &member.peer,
            token: "hash",
            data: &copy.data,
            wal: None,
            bump: None,
        };
        tool::restore(cluster, &restore).await?;
        let (_, endpoint, _) = copy.start(cluster, lock).await?;
        let what = format!("hashing the snapshot of {}", member.name);
        let mut api = Api::connect(&cluster.etcd, &endpoint, true, RAFT)
            .await
            .map_err(|trouble| trouble.failure(&what))?;
        api.hash_kv(at).await.map_err(|trouble| trouble.failure(&what))
    };
    let asked = asked.await;
    copy.end().await?;
    blocking(move |_| files::remove_own(&dir)).await?;
    asked.map(|(hash, compact_revision)| HashAt { hash, compact_revision })
}

/// Only what this run took on this member is ever restored, whatever an argument says.
fn own_snapshot(places: &Places, snapshot: &Path) -> Result<(), Failure> {
    if snapshot != places.snapshot() {
        let message = format!(
            "{} is not the snapshot that this run took, {}",
            snapshot.display(),
            places.snapshot().display()
        );
        return Err(Failure::new(ErrorKind::Invalid, message));
    }
    if exists(snapshot)? {
        Ok(())
    } else {
        Err(Failure::new(ErrorKind::NotFound, format!("{} is not there", snapshot.display())))
    }
}

/// Restores beside the data. The old directory of this place is removed first: it can only be
/// what an earlier try of this run restored and nobody ever started.
pub(crate) async fn restore(cluster: &Arc<Cluster>, call: &Call) -> Result<Done, Failure> {
    let member = member(cluster, call)?;
    let to = place(call, "to", &["new"])?;
    let places = Places::new(cluster, member, call.run);
    let snapshot = Path::new(call.text("snapshot").unwrap_or_default()).to_owned();
    let bump = call.int("bump").filter(|bump| *bump >= 0);
    let bump =
        bump.ok_or_else(|| Failure::new(ErrorKind::Invalid, "bump is no number of revisions"))?;
    must_be_gone(member).await?;
    own_snapshot(&places, &snapshot)?;
    let bump = tool::bumps(cluster).await?.then_some(bump).filter(|bump| *bump > 0);
    let held = tool::snapshot_status(cluster, &snapshot).await?;

    let (dir, wal) = (places.beside(to), places.wal_beside(to));
    if !exists(&places.data_dir.join("member"))? && exists(&dir.join("member"))? {
        // Restored before, and the member's own data moved out since: it may have been started.
        let message = format!(
            "{} holds the only data of {}: it is not made anew",
            dir.display(),
            member.name
        );
        return Err(Failure::new(ErrorKind::Conflict, message));
    }
    let (clean, clean_wal) = (dir.clone(), wal.clone());
    blocking(move |_| {
        files::remove_own(&clean)?;
        clean_wal.as_deref().map_or(Ok(false), files::remove_own)?;
        for parent in
            [Some(&clean), clean_wal.as_ref()].into_iter().flatten().filter_map(|dir| dir.parent())
        {
            files::make_dir(parent)?;
        }
        Ok(())
    })
    .await?;
    let token = call.run.to_string();
    let restore = Restore {
        snapshot: &snapshot,
        name: member.name.as_str(),
        peer: &member.peer,
        token: &token,
        data: &dir,
        wal: wal.as_deref(),
        bump,
    };
    let (member_id, cluster_id) = tool::restore(cluster, &restore).await?;
    let (made, made_wal, home, note) =
        (dir.clone(), wal, places.data_dir.clone(), cluster_note(&places));
    blocking(move |stop| {
        for path in std::iter::once(&made).chain(&made_wal) {
            files::own_all(path, &home)?;
            files::sync_all(path, stop)?;
        }
        files::write_atomic(&note, &format!("{cluster_id}\n"))
    })
    .await?;
    let fields = [
        ("path", Value::str(dir.to_string_lossy())),
        ("member_id", Value::str(member_id.to_string())),
        ("cluster_id", Value::str(cluster_id.to_string())),
        ("revision", Value::Int(held.revision.saturating_add(bump.unwrap_or(0)))),
    ];
    Ok(Done { output: Value::map(fields), changed: true })
}

/// Where a run notes the id of the cluster it built.
fn cluster_note(places: &Places) -> std::path::PathBuf {
    places.beside("cluster_id")
}

/// The id of the cluster that this run built, if it built one: membership changes of the run go to
/// that cluster and no other, also when the old one came back at the same addresses.
pub(crate) fn built(cluster: &Cluster, call: &Call) -> Option<EtcdId> {
    cluster.etcd.members.iter().find_map(|member| {
        let note = cluster_note(&Places::new(cluster, member, call.run));
        EtcdId::parse(std::fs::read_to_string(note).ok()?.trim())
    })
}
