//! Whom to ask what raft agreed on, and to put a change to: one member of the one cluster that can be
//! meant, which is the one this run built, else the only one that answers.

use std::collections::BTreeSet;

use futures::{StreamExt as _, stream::FuturesUnordered};

use super::{
    built::built,
    client::{Api, RAFT},
    probe::status,
};
use crate::domain::{
    base::id::EtcdId,
    etcd::evidence::{ListedMember, Status},
    inventory::{Cluster, Member},
    rules::action::{Call, ErrorKind, Failure},
};

/// A member that can put a change to raft.
pub(crate) struct Voice {
    pub(crate) api: Api,
    pub(crate) status: Status,
    pub(crate) name: String,
}

/// Whom to ask: the leader, else a voter that names one.
pub(crate) async fn voice(cluster: &Cluster, call: &Call) -> Result<Voice, Failure> {
    let built = built(cluster, call).await?;
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

impl Voice {
    /// The members as raft agreed on them.
    pub(crate) async fn members(&mut self) -> Result<Vec<ListedMember>, Failure> {
        let what = format!("reading the member list of {}", self.name);
        self.api.linearizable_members().await.map_err(|trouble| trouble.failure(&what))
    }
}
