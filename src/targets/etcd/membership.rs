//! `etcd.member_*`: learners in, voters up, members out.
//!
//! Every change goes to a member that names a leader, of the one cluster that can be meant: the
//! one this run built, else the only one that answers. What raft agreed on is always read
//! linearizably. Waiting and retrying is the playbook's job: errors come back with their kind.

use std::{collections::BTreeSet, sync::Arc};

use etcd_client::MemberAddOptions;
use futures::{StreamExt as _, future::join_all, stream::FuturesUnordered};

use super::{
    client::{Api, NOT_LEARNER, RAFT, Trouble, listed, within},
    probe::{name_of, status},
    survivor::built,
};
use crate::{
    domain::{
        base::id::EtcdId,
        etcd::evidence::{ListedMember, Status},
        inventory::{Cluster, Member},
        rules::{
            action::{Call, Done, ErrorKind, Failure, Probed},
            expr::Value,
        },
    },
    targets::host::places::member,
};

/// A member that can put a change to raft.
pub(crate) struct Voice {
    pub(crate) api: Api,
    pub(crate) status: Status,
    pub(crate) name: String,
}

/// Whom to ask: the leader, else a voter that names one.
pub(crate) async fn voice(cluster: &Cluster, call: &Call) -> Result<Voice, Failure> {
    let built = built(cluster, call);
    let (member, status) = speaker(cluster, built).await?;
    let what = format!("asking {}", member.name);
    let api = Api::connect(&cluster.etcd, &member.client, true, RAFT)
        .await
        .map_err(|trouble| trouble.failure(&what))?;
    Ok(Voice { api, status, name: member.name.to_string() })
}

async fn speaker(cluster: &Cluster, built: Option<EtcdId>) -> Result<(&Member, Status), Failure> {
    let mut asked: FuturesUnordered<_> = cluster
        .etcd
        .members
        .iter()
        .map(async |member| (member, status(cluster, &member.client, cluster.probe_timeout).await))
        .collect();
    let mut speakers: Vec<(&Member, Status)> = Vec::new();
    while let Some((member, status)) = asked.next().await {
        let Ok(status) = status else { continue };
        let meant = built.is_none_or(|id| id == status.cluster_id);
        if !meant || status.learner || status.leader.is_none() {
            continue;
        }
        // A silent member delays nobody where it is known which cluster is meant.
        if built.is_some() && status.leader == Some(status.member_id) {
            return Ok((member, status));
        }
        speakers.push((member, status));
    }
    let clusters: BTreeSet<EtcdId> = speakers.iter().map(|(_, status)| status.cluster_id).collect();
    if clusters.len() > 1 {
        let ids: Vec<String> = clusters.iter().map(ToString::to_string).collect();
        let message = format!(
            "members of two clusters name leaders ({}): stop the wrong one",
            ids.join(", ")
        );
        return Err(Failure::new(ErrorKind::Conflict, message));
    }
    speakers.sort_by_key(|(_, status)| status.leader != Some(status.member_id));
    speakers.into_iter().next().ok_or_else(|| {
        Failure::new(ErrorKind::Unavailable, "no member that is meant names a leader")
    })
}

async fn members(voice: &mut Voice) -> Result<Vec<ListedMember>, Failure> {
    let what = format!("reading the member list of {}", voice.name);
    voice.api.linearizable_members().await.map_err(|trouble| trouble.failure(&what))
}

/// The call's own reading of what it is about to change.
pub(crate) async fn before(cluster: &Arc<Cluster>, call: &Call) -> Result<Value, Failure> {
    let mut voice = voice(cluster, call).await?;
    let members = members(&mut voice).await?;
    let found = if call.action == "etcd.member_add_learner" {
        let own = member(cluster, call)?;
        members.into_iter().find(|listed| name_of(cluster, listed) == own.name)
    } else {
        let id = id(call)?;
        members.into_iter().find(|listed| listed.id == id)
    };
    let there = [
        ("present", Value::Bool(found.is_some())),
        ("cluster_id", Value::str(voice.status.cluster_id.to_string())),
    ];
    let more = found.map(|listed| {
        [("learner", Value::Bool(listed.learner)), ("id", Value::str(listed.id.to_string()))]
    });
    Ok(Value::map(there.into_iter().chain(more.into_iter().flatten())))
}

/// Does it.
pub(crate) async fn act(
    cluster: &Arc<Cluster>,
    call: &Call,
    before: &Value,
) -> Result<Done, Failure> {
    let mut voice = voice(cluster, call).await?;
    match call.action.as_str() {
        "etcd.member_add_learner" => add_learner(cluster, call, &mut voice).await,
        "etcd.member_promote" => promote(call, before, &mut voice).await,
        "etcd.member_remove" => remove(cluster, call, &mut voice).await,
        other => Err(Failure::new(ErrorKind::Invalid, format!("no action {other}"))),
    }
}

/// Asks whether an earlier change took effect.
pub(crate) async fn probe(
    cluster: &Arc<Cluster>,
    call: &Call,
    before: &Value,
) -> Result<Probed, Failure> {
    let mut voice = voice(cluster, call).await?;
    let members = members(&mut voice).await?;
    told_by(cluster, call, before, voice.status.cluster_id, &members)
}

/// What a linearizable list of one cluster tells. Another cluster than the one the change was put to
/// tells nothing about it.
pub(crate) fn told_by(
    cluster: &Cluster,
    call: &Call,
    before: &Value,
    asked: EtcdId,
    members: &[ListedMember],
) -> Result<Probed, Failure> {
    let meant = before.get("cluster_id").and_then(Value::as_str).and_then(EtcdId::parse);
    if let Some(meant) = meant.filter(|meant| *meant != asked) {
        let message = format!("cluster {asked} answers, and the change was put to {meant}");
        return Ok(Probed::Unknown(message));
    }
    let was_there = before.get("present").and_then(Value::as_bool).unwrap_or(false);
    if call.action == "etcd.member_add_learner" {
        let own = member(cluster, call)?;
        let found = members.iter().find(|listed| name_of(cluster, listed) == own.name);
        return Ok(match found {
            Some(found) if found.learner => {
                let changed = !was_there || found.name.is_empty();
                Probed::Done(added(cluster, found.id, members, changed))
            }
            Some(found) => {
                Probed::Unknown(format!("{} is a voter by now, as {}", own.name, found.id))
            }
            None => Probed::not_done(format!("{asked} lists no member at {}", own.peer)),
        });
    }
    let id = id(call)?;
    let found = members.iter().find(|listed| listed.id == id);
    Ok(match (call.action == "etcd.member_promote", found) {
        (true, Some(found)) if found.learner => {
            Probed::not_done(format!("{asked} lists {id} as a learner"))
        }
        (true, Some(_)) => {
            let was_learner = before.get("learner").and_then(Value::as_bool).unwrap_or(true);
            Probed::Done(nothing(was_learner))
        }
        (true, None) => Probed::Unknown(format!("{asked} does not list {id} any more")),
        (false, Some(_)) => Probed::not_done(format!("{asked} lists {id}")),
        (false, None) => Probed::Done(nothing(was_there)),
    })
}

fn id(call: &Call) -> Result<EtcdId, Failure> {
    let given = call.text("id").unwrap_or_default();
    EtcdId::parse(given).ok_or_else(|| {
        Failure::new(ErrorKind::Invalid, format!("{given:?} is no id of 16 hex digits"))
    })
}

fn nothing(changed: bool) -> Done {
    Done { output: Value::map::<&str>([]), changed }
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

async fn add_learner(
    cluster: &Arc<Cluster>,
    call: &Call,
    voice: &mut Voice,
) -> Result<Done, Failure> {
    let own = member(cluster, call)?;
    let there = members(voice).await?;
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

async fn promote(call: &Call, before: &Value, voice: &mut Voice) -> Result<Done, Failure> {
    let id = id(call)?;
    let what = format!("promoting {id}");
    match within(RAFT, voice.api.client().member_promote(id.0)).await {
        Ok(_) => Ok(nothing(true)),
        Err(trouble)
            if trouble.kind == ErrorKind::Conflict && trouble.detail.contains(NOT_LEARNER) =>
        {
            // A try that was answered too late did it: true only if raft's own list says so.
            let voter =
                members(voice).await?.iter().any(|listed| listed.id == id && !listed.learner);
            let was_learner = before.get("learner").and_then(Value::as_bool).unwrap_or(false);
            if voter { Ok(nothing(was_learner)) } else { Err(trouble.failure(&what)) }
        }
        Err(trouble) => Err(trouble.failure(&what)),
    }
}

async fn remove(cluster: &Arc<Cluster>, call: &Call, voice: &mut Voice) -> Result<Done, Failure> {
    let id = id(call)?;
    let what = format!("removing {id}");
    let there = members(voice).await?;
    let Some(found) = there.iter().find(|listed| listed.id == id) else {
        return Ok(nothing(false));
    };
    if !found.learner {
        let live = live_voters(cluster, voice, &there).await;
        let voters = there.iter().filter(|listed| !listed.learner).count();
        if !may_remove(voters, live.len(), live.contains(&id)) {
            let message =
                format!("{what} would break quorum: {} of {voters} voters live", live.len());
            return Err(Failure::new(ErrorKind::RefusedByGuard, message));
        }
    }
    match within(RAFT, voice.api.client().member_remove(id.0)).await {
        Ok(_) => Ok(nothing(true)),
        Err(Trouble { kind: ErrorKind::NotFound, .. }) => Ok(nothing(false)),
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
mod tests {
    use super::*;
    use crate::targets::testing::{mk_cluster, no_tools};

    #[test]
    fn a_removal_needs_a_quorum_before_and_after() {
        let cases = [
            ((3, 3, true), true),
            ((3, 2, false), true),
            ((3, 2, true), false),
            ((2, 1, false), false),
            ((2, 2, true), true),
            ((1, 1, true), false),
            ((5, 3, false), true),
            ((5, 3, true), false),
            ((4, 3, false), true),
            ((4, 2, false), false),
        ];
        for ((voters, live, removed_lives), may) in cases {
            assert_eq!(
                may_remove(voters, live, removed_lives),
                may,
                "{voters} voters, {live} live"
            );
        }
    }

    #[test]
    fn the_initial_cluster_names_every_member_of_the_answer() {
        let cluster = mk_cluster(std::path::Path::new("/x"), &[1, 2, 3, 4, 5, 6], no_tools());
        let listed = |id, name: &str, port, learner| ListedMember {
            id: EtcdId(id),
            name: name.into(),
            peer_urls: vec![format!("http://127.0.0.1:{port}")],
            client_urls: Vec::new(),
            learner,
        };
        let done =
            added(&cluster, EtcdId(2), &[listed(1, "m1", 2, false), listed(2, "", 5, true)], true);
        let text = done.output.get("initial_cluster").and_then(Value::as_str).unwrap();
        assert_eq!(text, "m1=http://127.0.0.1:2,m2=http://127.0.0.1:5");
    }
}
