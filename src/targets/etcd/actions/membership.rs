//! `etcd.member_*`: learners in, voters up, members out.
//!
//! What raft agreed on is always read linearizably. Waiting and retrying is the playbook's job: errors come back with their kind.

use std::collections::BTreeSet;

use etcd_client::MemberAddOptions;
use futures::future::join_all;

use crate::{
    domain::{
        base::id::EtcdId,
        etcd::evidence::ListedMember,
        inventory::{Cluster, Member},
        rules::{
            action::{
                ActionSpec, ArgType, Call, Changes, Done, ErrorKind, Failure, OnResume, Probed,
            },
            expr::{Type, Value},
        },
    },
    targets::{
        action::{Action, Doing, ID, On, arg, done, member},
        etcd::{
            client::{NOT_LEARNER, RAFT, Trouble, listed, within},
            probe::{name_of, status},
            voice::{Voice, voice},
        },
    },
};

/// `etcd.member_add_learner`.
#[derive(Debug)]
pub(super) struct AddLearner(ActionSpec);

impl AddLearner {
    pub(super) fn new() -> Self {
        Self(ActionSpec {
            args: vec![member()],
            output: Type::record([("id", ID), ("initial_cluster", Type::Str)]),
            undo: Some("etcd.member_remove"),
            ..ActionSpec::new(
                "etcd.member_add_learner",
                Changes::Membership,
                OnResume::Probe,
                "Adds the member to the cluster as a learner; it votes only once it is promoted.",
            )
        })
    }
}

impl Action for AddLearner {
    fn spec(&self) -> &ActionSpec {
        &self.0
    }

    fn before<'a>(&'a self, on: On<'a>) -> Doing<'a, Value> {
        Box::pin(async move {
            let own = on.member()?;
            listed_before(on, |listed| name_of(on.cluster, listed) == own.name).await
        })
    }

    fn act<'a>(&'a self, on: On<'a>, _before: &'a Value) -> Doing<'a, Done> {
        Box::pin(add_learner(on))
    }

    fn probe<'a>(&'a self, on: On<'a>, before: &'a Value) -> Doing<'a, Probed> {
        Box::pin(async move {
            let own = on.member()?;
            let list = List::of(on).await?;
            Ok(list.of_change(before, || added_before(on.cluster, own, before, &list)))
        })
    }

    fn commands(&self, on: On<'_>) -> Vec<String> {
        let Ok(member) = on.member() else { return Vec::new() };
        vec![format!("etcdctl member add {} --learner --peer-urls={}", member.name, member.peer)]
    }
}

fn id_argument() -> Vec<crate::domain::rules::action::ArgSpec> {
    vec![arg("id", ArgType::Id, "The member's id.")]
}

/// `etcd.member_promote`.
#[derive(Debug)]
pub(super) struct Promote(ActionSpec);

impl Promote {
    pub(super) fn new() -> Self {
        Self(ActionSpec {
            args: id_argument(),
            undo: Some("etcd.member_remove"),
            ..ActionSpec::new(
                "etcd.member_promote",
                Changes::Membership,
                OnResume::Probe,
                "Makes a learner a voter.",
            )
        })
    }
}

impl Action for Promote {
    fn spec(&self) -> &ActionSpec {
        &self.0
    }

    fn before<'a>(&'a self, on: On<'a>) -> Doing<'a, Value> {
        Box::pin(async move {
            let id = id(on.call)?;
            listed_before(on, |listed| listed.id == id).await
        })
    }

    fn act<'a>(&'a self, on: On<'a>, before: &'a Value) -> Doing<'a, Done> {
        Box::pin(promote(on, before))
    }

    fn probe<'a>(&'a self, on: On<'a>, before: &'a Value) -> Doing<'a, Probed> {
        Box::pin(async move {
            let id = id(on.call)?;
            let list = List::of(on).await?;
            Ok(list.of_change(before, || promoted_before(id, before, &list)))
        })
    }

    fn commands(&self, on: On<'_>) -> Vec<String> {
        vec![format!("etcdctl member promote {}", on.call.text("id").unwrap_or("<id>"))]
    }
}

/// `etcd.member_remove`.
#[derive(Debug)]
pub(super) struct Remove(ActionSpec);

impl Remove {
    pub(super) fn new() -> Self {
        Self(ActionSpec {
            args: id_argument(),
            is_final: true,
            ..ActionSpec::new(
                "etcd.member_remove",
                Changes::Membership,
                OnResume::Probe,
                "Removes a member by id; refuses a voter whose removal would break quorum.",
            )
        })
    }
}

impl Action for Remove {
    fn spec(&self) -> &ActionSpec {
        &self.0
    }

    fn before<'a>(&'a self, on: On<'a>) -> Doing<'a, Value> {
        Box::pin(async move {
            let id = id(on.call)?;
            listed_before(on, |listed| listed.id == id).await
        })
    }

    fn act<'a>(&'a self, on: On<'a>, _before: &'a Value) -> Doing<'a, Done> {
        Box::pin(remove(on))
    }

    fn probe<'a>(&'a self, on: On<'a>, before: &'a Value) -> Doing<'a, Probed> {
        Box::pin(async move {
            let id = id(on.call)?;
            let list = List::of(on).await?;
            Ok(list.of_change(before, || removed_before(id, before, &list)))
        })
    }

    fn commands(&self, on: On<'_>) -> Vec<String> {
        vec![format!("etcdctl member remove {}", on.call.text("id").unwrap_or("<id>"))]
    }
}

/// The row of the list that a change is about, and whose list it is.
async fn listed_before(
    on: On<'_>,
    is_meant: impl Fn(&ListedMember) -> bool,
) -> Result<Value, Failure> {
    let list = List::of(on).await?;
    let found = list.members.into_iter().find(is_meant);
    let there = [
        ("present", Value::Bool(found.is_some())),
        ("cluster_id", Value::str(list.cluster_id.to_string())),
    ];
    let more = found.map(|listed| {
        [("learner", Value::Bool(listed.learner)), ("id", Value::str(listed.id.to_string()))]
    });
    Ok(Value::map(there.into_iter().chain(more.into_iter().flatten())))
}

/// A linearizable list of one cluster.
#[derive(Clone, Debug)]
struct List {
    cluster_id: EtcdId,
    members: Vec<ListedMember>,
}

impl List {
    async fn of(on: On<'_>) -> Result<Self, Failure> {
        let mut voice = voice(on.cluster, on.call).await?;
        let members = voice.members().await?;
        Ok(Self { cluster_id: voice.status.cluster_id, members })
    }

    fn by_id(&self, id: EtcdId) -> Option<&ListedMember> {
        self.members.iter().find(|listed| listed.id == id)
    }

    /// What it tells of a change. Another cluster than the one the change was put to tells nothing.
    fn of_change(&self, before: &Value, told: impl FnOnce() -> Probed) -> Probed {
        let meant = before.get("cluster_id").and_then(Value::as_str).and_then(EtcdId::parse);
        match meant.filter(|meant| *meant != self.cluster_id) {
            Some(meant) => Probed::Unknown(format!(
                "cluster {} answers, and the change was put to {meant}",
                self.cluster_id
            )),
            None => told(),
        }
    }
}

fn was_there(before: &Value) -> bool {
    before.get("present").and_then(Value::as_bool).unwrap_or(false)
}

fn added_before(cluster: &Cluster, own: &Member, before: &Value, list: &List) -> Probed {
    let found = list.members.iter().find(|listed| name_of(cluster, listed) == own.name);
    match found {
        Some(found) if found.learner => {
            let changed = !was_there(before) || found.name.is_empty();
            Probed::Done(added(cluster, found.id, &list.members, changed))
        }
        Some(found) => Probed::Unknown(format!("{} is a voter by now, as {}", own.name, found.id)),
        None => Probed::not_done(format!("{} lists no member at {}", list.cluster_id, own.peer)),
    }
}

fn promoted_before(id: EtcdId, before: &Value, list: &List) -> Probed {
    match list.by_id(id) {
        Some(found) if found.learner => {
            Probed::not_done(format!("{} lists {id} as a learner", list.cluster_id))
        }
        Some(_) => {
            let was_learner = before.get("learner").and_then(Value::as_bool).unwrap_or(true);
            Probed::Done(done(was_learner))
        }
        None => Probed::Unknown(format!("{} does not list {id} any more", list.cluster_id)),
    }
}

fn removed_before(id: EtcdId, before: &Value, list: &List) -> Probed {
    match list.by_id(id) {
        Some(_) => Probed::not_done(format!("{} lists {id}", list.cluster_id)),
        None => Probed::Done(done(was_there(before))),
    }
}

fn id(call: &Call) -> Result<EtcdId, Failure> {
    let given = call.text("id").unwrap_or_default();
    EtcdId::parse(given).ok_or_else(|| {
        Failure::new(ErrorKind::Invalid, format!("{given:?} is no id of 16 hex digits"))
    })
}

/// `--initial-cluster` exactly as etcd's own client makes it of the answer: every member with every
/// peer URL. A joining member is refused unless it names as many members as there are.
fn added(cluster: &Cluster, id: EtcdId, members: &[ListedMember], changed: bool) -> Done {
    let mut pairs: Vec<String> = Vec::new();
    for listed in members {
        let name = if listed.name.is_empty() {
            name_of(cluster, listed).to_string()
        } else {
            listed.name.clone()
        };
        pairs.extend(listed.peer_urls.iter().map(|url| format!("{name}={url}")));
    }
    let fields =
        [("id", Value::str(id.to_string())), ("initial_cluster", Value::str(pairs.join(",")))];
    Done { output: Value::map(fields), changed }
}

async fn add_learner(on: On<'_>) -> Result<Done, Failure> {
    let On { cluster, call } = on;
    let own = on.member()?;
    let mut voice = voice(cluster, call).await?;
    let there = voice.members().await?;
    if let Some(found) = there.iter().find(|listed| name_of(cluster, listed) == own.name) {
        if !found.learner {
            let message =
                format!("{} is a voter already (id {}): remove it first", own.name, found.id);
            return Err(Failure::new(ErrorKind::Conflict, message));
        }
        // One that never started blocks every later add: whoever added it, it is ours to take out.
        return Ok(added(cluster, found.id, &there, found.name.is_empty()));
    }
    let what = format!("adding {} as a learner", own.name);
    let options = Some(MemberAddOptions::new().with_is_learner());
    let answer = within(RAFT, voice.api.client().member_add([own.peer.as_str()], options)).await;
    let answer = answer.map_err(|trouble| trouble.failure(&what))?;
    let id = answer.member().map(|member| EtcdId(member.id()));
    let id = id.ok_or_else(|| {
        Failure::new(ErrorKind::Other, format!("{what}: the answer names no member"))
    })?;
    let members: Vec<ListedMember> = answer.member_list().iter().map(listed).collect();
    Ok(added(cluster, id, &members, true))
}

async fn promote(on: On<'_>, before: &Value) -> Result<Done, Failure> {
    let id = id(on.call)?;
    let mut voice = voice(on.cluster, on.call).await?;
    let what = format!("promoting {id}");
    match within(RAFT, voice.api.client().member_promote(id.0)).await {
        Ok(_) => Ok(done(true)),
        Err(trouble)
            if trouble.kind == ErrorKind::Conflict && trouble.detail.contains(NOT_LEARNER) =>
        {
            // A try that was answered too late did it: true only if raft's own list says so.
            let voter =
                voice.members().await?.iter().any(|listed| listed.id == id && !listed.learner);
            let was_learner = before.get("learner").and_then(Value::as_bool).unwrap_or(false);
            if voter { Ok(done(was_learner)) } else { Err(trouble.failure(&what)) }
        }
        Err(trouble) => Err(trouble.failure(&what)),
    }
}

async fn remove(on: On<'_>) -> Result<Done, Failure> {
    let On { cluster, call } = on;
    let id = id(call)?;
    let what = format!("removing {id}");
    let mut voice = voice(cluster, call).await?;
    let there = voice.members().await?;
    let Some(found) = there.iter().find(|listed| listed.id == id) else {
        return Ok(done(false));
    };
    if !found.learner {
        let live = live_voters(cluster, &voice, &there).await;
        let voters = there.iter().filter(|listed| !listed.learner).count();
        if !may_remove(voters, live.len(), live.contains(&id)) {
            let message =
                format!("{what} would break quorum: {} of {voters} voters live", live.len());
            return Err(Failure::new(ErrorKind::RefusedByGuard, message));
        }
    }
    match within(RAFT, voice.api.client().member_remove(id.0)).await {
        Ok(_) => Ok(done(true)),
        Err(Trouble { kind: ErrorKind::NotFound, .. }) => Ok(done(false)),
        Err(trouble) => Err(trouble.failure(&what)),
    }
}

/// A removal commits under the current voters and must leave a majority of the rest.
fn may_remove(voters: usize, live: usize, removed_lives: bool) -> bool {
    let quorum = |voters: usize| voters / 2 + 1;
    let left = live - usize::from(removed_lives);
    voters > 1 && live >= quorum(voters) && left >= quorum(voters - 1)
}

/// The voters that answer as members of this cluster and see its leader.
async fn live_voters(cluster: &Cluster, voice: &Voice, there: &[ListedMember]) -> BTreeSet<EtcdId> {
    let asked = there.iter().filter(|listed| !listed.learner).map(async |listed| {
        let known =
            cluster.member(name_of(cluster, listed).as_str()).map(|member| member.client.clone());
        let url = known.or_else(|| listed.client_urls.first().cloned())?;
        let status = status(cluster, &url, cluster.probe_timeout).await.ok()?;
        let same = status.cluster_id == voice.status.cluster_id && status.member_id == listed.id;
        (same && status.leader.is_some()).then_some(listed.id)
    });
    join_all(asked).await.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests;
