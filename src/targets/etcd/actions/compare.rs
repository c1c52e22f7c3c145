//! `etcd.compare`: the proof that all members hold the same.
//!
//! One hash of all keys at one revision on every member, one cluster id, the expected members, and
//! one key that a re-added member answers from its own store. The key and its value never leave
//! this module: what a client stored is none of a journal's business.

use std::collections::BTreeSet;

use etcd_client::{GetOptions, KeyValue, SortOrder, SortTarget};
use futures::future::join_all;

use crate::{
    domain::{
        base::id::{EtcdId, MemberName},
        etcd::evidence::{ListedMember, Status},
        inventory::Cluster,
        rules::{
            action::{ActionSpec, ArgType, Call, Changes, Done, ErrorKind, Failure, OnResume},
            expr::{Type, Value},
        },
    },
    targets::{
        action::{Action, Doing, ID, On, optional},
        etcd::{
            client::{Api, RAFT, Trouble, within},
            probe::name_of,
            voice::voice,
        },
        host::run::BULK,
    },
};

/// The largest database of which the newest key is looked for: etcd loads every key to sort them.
/// Beyond it the first key serves.
const SORTED_MAX: i64 = 512 * 1024 * 1024;

/// What one member answered.
struct Held {
    name: MemberName,
    status: Status,
    hash: i64,
    compact_revision: i64,
}

/// `etcd.compare`.
#[derive(Debug)]
pub(super) struct Compare(ActionSpec);

impl Compare {
    pub(super) fn new() -> Self {
        Self(ActionSpec {
            args: vec![
                optional("cluster_id", ArgType::Id, "The cluster id that all must have."),
                optional(
                    "ids",
                    ArgType::List(Box::new(ArgType::Id)),
                    "The voters' ids, all of them.",
                ),
                optional(
                    "members",
                    ArgType::List(Box::new(ArgType::Member)),
                    "The members to compare; all voters where it is not given.",
                ),
                optional(
                    "sentinel_on",
                    ArgType::Member,
                    "The member that must answer by itself; every voter but the leader where it is not given.",
                ),
            ],
            output: Type::record([
                ("equal", Type::Bool),
                ("revision", Type::Int),
                ("hashes", Type::map(Type::Int)),
                ("cluster_ids", Type::list(ID)),
                ("ids", Type::list(ID)),
                ("sentinel_read", Type::Bool),
            ]),
            proves: true,
            timeout: BULK,
            ..ActionSpec::new(
                "etcd.compare",
                Changes::Nothing,
                OnResume::Rerun,
                "Compares the hash of all members' keys at one revision, their ids, and one key read node-locally.",
            )
        })
    }
}

impl Action for Compare {
    fn spec(&self) -> &ActionSpec {
        &self.0
    }

    fn act<'a>(&'a self, on: On<'a>, _before: &'a Value) -> Doing<'a, Done> {
        Box::pin(compare(on))
    }
}

async fn compare(on: On<'_>) -> Result<Done, Failure> {
    let On { cluster, call } = on;
    let mut voice = voice(cluster, call).await?;
    let failed = |trouble: Trouble| trouble.failure("comparing the members");
    let revision = voice.api.linearize().await.map_err(failed)?;
    let listed = voice.api.members().await.map_err(failed)?;
    let voters: Vec<(MemberName, ListedMember)> = listed
        .into_iter()
        .filter(|one| !one.learner)
        .map(|one| (name_of(cluster, &one), one))
        .collect();
    let wanted = names(call);
    let compared = voters
        .iter()
        .filter(|(name, _)| wanted.as_ref().is_none_or(|names| names.contains(name.as_str())));
    let answers = join_all(compared.map(|(name, one)| held(cluster, name, one, revision))).await;
    let all = answers.into_iter().collect::<Result<Vec<Held>, Failure>>()?;
    if let Some(missing) =
        wanted.iter().flatten().find(|name| all.iter().all(|held| held.name.as_str() != **name))
    {
        return Err(Failure::new(
            ErrorKind::NotFound,
            format!("{missing} is no voter, so it was not compared"),
        ));
    }
    if all.windows(2).any(|pair| pair[0].compact_revision != pair[1].compact_revision) {
        return Err(Failure::new(
            ErrorKind::Moved,
            "the members were compacted while they were compared",
        ));
    }
    let sentinel_read =
        sentinel(cluster, call, &mut voice.api, &voice.status, &all, revision).await?;
    Ok(Done { output: output(call, &voters, &all, revision, sentinel_read), changed: false })
}

fn names(call: &Call) -> Option<BTreeSet<&str>> {
    let list = call.args.get("members").and_then(Value::as_list)?;
    Some(list.iter().filter_map(Value::as_str).collect())
}

async fn held(
    cluster: &Cluster,
    name: &MemberName,
    listed: &ListedMember,
    revision: i64,
) -> Result<Held, Failure> {
    let url = url(cluster, name, listed)?;
    let failed = |trouble: Trouble| trouble.failure(&format!("comparing {name}"));
    let mut api = Api::connect(&cluster.etcd, &url, true, RAFT).await.map_err(failed)?;
    let status = api.status().await.map_err(failed)?;
    let (hash, compact_revision) = api.hash_kv(revision, &status).await.map_err(failed)?;
    Ok(Held { name: name.clone(), status, hash, compact_revision })
}

fn url(cluster: &Cluster, name: &MemberName, listed: &ListedMember) -> Result<String, Failure> {
    let known = cluster.member(name.as_str()).map(|member| member.client.clone());
    known.or_else(|| listed.client_urls.first().cloned()).ok_or_else(|| {
        Failure::new(
            ErrorKind::Unavailable,
            format!("{name} has never started, it has no client URL"),
        )
    })
}

fn output(
    call: &Call,
    voters: &[(MemberName, ListedMember)],
    all: &[Held],
    revision: i64,
    sentinel_read: bool,
) -> Value {
    let cluster_ids: BTreeSet<EtcdId> = all.iter().map(|held| held.status.cluster_id).collect();
    let ids: BTreeSet<EtcdId> = voters.iter().map(|(_, listed)| listed.id).collect();
    let parse = |value: &Value| value.as_str().and_then(EtcdId::parse);
    let expected_cluster = call.args.get("cluster_id").map(parse);
    let expected_ids = call.args.get("ids").and_then(Value::as_list);
    let expected_ids =
        expected_ids.map(|list| list.iter().map(parse).collect::<Option<BTreeSet<EtcdId>>>());
    let equal = !all.is_empty()
        && all.windows(2).all(|pair| pair[0].hash == pair[1].hash)
        && cluster_ids.len() == 1
        && all.iter().all(|held| ids.contains(&held.status.member_id))
        && expected_cluster.is_none_or(|id| id.is_some_and(|id| cluster_ids.contains(&id)))
        && expected_ids.is_none_or(|list| list.is_some_and(|list| list == ids));
    let shown = |ids: BTreeSet<EtcdId>| {
        Value::list(ids.iter().map(|id| Value::str(id.to_string())).collect())
    };
    Value::map([
        ("equal", Value::Bool(equal)),
        ("revision", Value::Int(revision)),
        ("hashes", Value::map(all.iter().map(|held| (held.name.as_str(), Value::Int(held.hash))))),
        ("cluster_ids", shown(cluster_ids)),
        ("ids", shown(ids)),
        ("sentinel_read", Value::Bool(sentinel_read)),
    ])
}

/// Whether every member that must answer by itself gives the newest key as the leader has it, all
/// at one revision: who writes meanwhile changes nothing. In a store without any key all must have
/// none.
async fn sentinel(
    cluster: &Cluster,
    call: &Call,
    leader: &mut Api,
    leading: &Status,
    all: &[Held],
    revision: i64,
) -> Result<bool, Failure> {
    let options = GetOptions::new().with_all_keys().with_limit(1).with_revision(revision);
    let newest = if leading.db_size <= SORTED_MAX {
        options.with_sort(SortTarget::Mod, SortOrder::Descend)
    } else {
        options
    };
    let newest = within(RAFT, leader.client().get("", Some(newest))).await.map_err(moved)?;
    let there = newest.kvs().first();
    let at = GetOptions::new().with_serializable().with_revision(revision);
    let (key, options) = match there {
        Some(found) => (found.key().to_vec(), at),
        None => (Vec::new(), at.with_all_keys().with_limit(1)),
    };
    let only = call.text("sentinel_on");
    let readers = all.iter().filter(|held| match only {
        Some(name) => held.name.as_str() == name,
        None => all.len() == 1 || Some(held.status.member_id) != leading.leader,
    });
    let mut read_somewhere = false;
    for held in readers {
        let Some(member) = cluster.member(held.name.as_str()) else { continue };
        let mut api =
            Api::connect(&cluster.etcd, &member.client, true, RAFT).await.map_err(moved)?;
        let own = within(RAFT, api.client().get(key.clone(), Some(options.clone()))).await;
        let own = own.map_err(moved)?;
        if !same(there, own.kvs().first()) {
            return Ok(false);
        }
        read_somewhere = true;
    }
    Ok(read_somewhere)
}

/// A member that has not come to the revision yet, or has compacted it, is asked again.
fn moved(mut trouble: Trouble) -> Failure {
    let moves = ["future revision", "has been compacted"];
    if moves.iter().any(|text| trouble.detail.contains(text)) {
        trouble.kind = ErrorKind::Moved;
    }
    trouble.failure("reading a key to compare")
}

fn same(a: Option<&KeyValue>, b: Option<&KeyValue>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => a.mod_revision() == b.mod_revision() && a.value() == b.value(),
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    }
}
