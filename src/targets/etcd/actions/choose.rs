//! `etcd.choose_survivor`.
//!
//! Candidates are compared by the hash of all their keys at the lowest of their revisions. Whoever
//! stands at that revision had it taken with the snapshot; one that serves is asked; of one that
//! does not, the snapshot itself is started on loopback and asked.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use super::restore;
use crate::{
    domain::{
        base::id::MemberName,
        inventory::{Cluster, Member},
        rules::{
            action::{ActionSpec, ArgType, Call, Changes, Done, ErrorKind, Failure, OnResume},
            expr::{Type, Value},
        },
    },
    targets::{
        action::{Action, Doing, ID, On, arg},
        effect,
        etcd::{
            choose::{self, Candidate, HashAt},
            client::{Api, RAFT},
            scratch,
            tool::{self, Restore},
        },
        host::{
            files::{self, blocking, failure},
            places::Places,
            run::BULK,
        },
    },
};

/// `etcd.choose_survivor`.
#[derive(Debug)]
pub(super) struct ChooseSurvivor(ActionSpec);

impl ChooseSurvivor {
    pub(super) fn new() -> Self {
        Self(ActionSpec {
            args: vec![arg(
                "among",
                ArgType::Any,
                "Per member, the outputs of its etcd.snapshot and, where it was read by a copy, etcd.scratch_start.",
            )],
            output: output(),
            chooses: true,
            timeout: BULK,
            ..ActionSpec::new(
                "etcd.choose_survivor",
                Changes::Nothing,
                OnResume::Rerun,
                "Chooses the member whose data a recovery starts from: one history, then the highest revision.",
            )
        })
    }
}

impl Action for ChooseSurvivor {
    fn spec(&self) -> &ActionSpec {
        &self.0
    }

    fn act<'a>(&'a self, on: On<'a>, _before: &'a Value) -> Doing<'a, Done> {
        Box::pin(choose(on))
    }
}

fn output() -> Type {
    Type::record([
        ("member", Type::Str),
        ("id", ID),
        ("cluster_id", ID),
        ("revision", Type::Int),
        ("index", Type::Int),
        ("term", Type::Int),
        ("version", Type::Str),
        ("discarded", Type::Int),
        ("snapshot", Type::Str),
        ("others", Type::list(Type::Str)),
        (
            "candidates",
            Type::list(Type::record([
                ("member", Type::Str),
                ("revision", Type::Int),
                ("index", Type::Int),
                ("why_not", Type::Str),
            ])),
        ),
        ("last_seen", Type::record([("revision", Type::Int), ("at", Type::Time)])),
        ("loss", Type::record([("lower", Type::Int), ("upper", Type::Int)])),
    ])
}

async fn choose(on: On<'_>) -> Result<Done, Failure> {
    let On { cluster, call } = on;
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
        if !choose::are_comparable(&hashes) {
            // One told from memory what it hashed at a compaction: a restored snapshot knows no such.
            for one in choose::standing(&all) {
                let member = named(cluster, one)?;
                let snapshot = Path::new(&one.snapshot);
                let hash = hash_of_snapshot(cluster, call, member, snapshot, at).await?;
                hashes.insert(one.member.clone(), hash);
            }
        }
        choose::one_history(at, &hashes)?;
    }
    Ok(Done { output: choose::output(&all, &order, &seen)?, changed: false })
}

fn named<'c>(cluster: &'c Cluster, one: &Candidate) -> Result<&'c Member, Failure> {
    let found = cluster.member(one.member.as_str());
    found.ok_or_else(|| Failure::new(ErrorKind::Invalid, format!("no member {}", one.member)))
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
    let member = named(cluster, one)?;
    if !one.scratch
        && let Ok(mut api) = Api::connect(&cluster.etcd, &member.client, false, RAFT).await
        && let Ok(status) = api.status().await
        && let Ok((hash, compact_revision)) = api.hash_kv(at, &status).await
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
    restore::own_snapshot(&places, snapshot)?;
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
        let (_, endpoint, status) = copy.start(cluster, lock).await?;
        let what = format!("hashing the snapshot of {}", member.name);
        let mut api = Api::connect(&cluster.etcd, &endpoint, true, RAFT)
            .await
            .map_err(|trouble| trouble.failure(&what))?;
        api.hash_kv(at, &status).await.map_err(|trouble| trouble.failure(&what))
    };
    let asked = asked.await;
    copy.end().await?;
    blocking(move |_| files::remove_own(&dir)).await?;
    asked.map(|(hash, compact_revision)| HashAt { hash, compact_revision })
}
