//! A possible data loss.

use serde::{Deserialize, Serialize};

use crate::domain::{
    base::{
        id::{ClusterName, LossId, MemberName, RunId},
        time::Time,
    },
    etcd::loss::{LossRecord, LossState},
};

/// What may have been lost.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LossView {
    /// Its id.
    pub id: LossId,
    /// The cluster.
    pub cluster: ClusterName,
    /// The run that recovered it.
    pub run: RunId,
    /// `possible` or `acknowledged`.
    pub state: String,
    /// When it was written down.
    pub at: Time,
    /// The member whose data was kept.
    pub survivor: MemberName,
    /// Its id then.
    pub survivor_id: String,
    /// The revision that was kept.
    pub retained_revision: i64,
    /// The highest revision that was ever seen.
    pub last_seen_revision: Option<i64>,
    /// At least so many revisions are lost.
    pub lower: u64,
    /// At most so many; `None` is unknown.
    pub upper: Option<u64>,
    /// Log entries that etcd discarded.
    pub discarded_entries: Option<u64>,
    /// Raft term of the rebuilt member.
    pub raft_term: u64,
    /// Raft index of the rebuilt member.
    pub raft_index: u64,
    /// Ids of the members that were rebuilt.
    pub rebuilt: Vec<String>,
    /// etcd's version.
    pub version: String,
    /// Who acknowledged it.
    pub acknowledged: Option<Acknowledgement>,
}

/// Who acknowledged a loss.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Acknowledgement {
    /// Who.
    pub by: String,
    /// With which words.
    pub reason: String,
    /// When.
    pub at: Time,
}

impl LossView {
    /// Copies a record.
    pub fn new(loss: &LossRecord) -> Self {
        let acknowledged = match &loss.state {
            LossState::Possible => None,
            LossState::Acknowledged { by, reason, at } => {
                Some(Acknowledgement { by: by.clone(), reason: reason.clone(), at: *at })
            }
        };
        Self {
            id: loss.id,
            cluster: loss.cluster.clone(),
            run: loss.run,
            state: if loss.is_open() { "possible" } else { "acknowledged" }.into(),
            at: loss.at,
            survivor: loss.survivor.clone(),
            survivor_id: loss.survivor_id.to_string(),
            retained_revision: loss.retained_revision,
            last_seen_revision: loss.last_seen_revision,
            lower: loss.lower,
            upper: loss.upper,
            discarded_entries: loss.discarded_entries,
            raft_term: loss.raft_term,
            raft_index: loss.raft_index,
            rebuilt: loss.rebuilt.iter().map(ToString::to_string).collect(),
            version: loss.version.clone(),
            acknowledged,
        }
    }
}
