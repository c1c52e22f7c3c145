//! A plan for people: what would be done, to what, at which cost.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::{ClusterView, DecisionView};
use crate::{
    domain::{
        base::{
            id::{ClusterName, PlaybookName},
            time::Time,
        },
        etcd::loss::Loss,
        incident::decision::Action,
        rules::playbook::model::Destroys,
    },
    engine::{commands::Preview, state::State},
};

/// A plan. Nothing is changed by asking for it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PlanView {
    /// The playbook.
    pub playbook: PlaybookName,
    /// What it is for.
    pub description: String,
    /// `nothing`, `member` or `data`.
    pub destroys: String,
    /// The cluster.
    pub cluster: ClusterName,
    /// SHA-256 of the playbook's text.
    pub digest: String,
    /// The parameters.
    pub params: BTreeMap<String, Json>,
    /// What was last seen of the cluster.
    pub evidence: Option<ClusterView>,
    /// Who would be gone on with.
    pub survivor: Option<String>,
    /// What that would lose.
    pub loss: Option<ExpectedLoss>,
    /// Every command, in order.
    pub commands: Vec<String>,
    /// What the guards say.
    pub decision: DecisionView,
}

/// What going on with a survivor is expected to lose, in revisions.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ExpectedLoss {
    /// At least.
    pub lower: u64,
    /// At most; `None` is unknown.
    pub upper: Option<u64>,
    /// When a leader was last seen.
    pub last_seen_at: Option<Time>,
    /// The highest revision seen.
    pub last_seen_revision: Option<i64>,
    /// Writes per second before that.
    pub write_rate_per_s: f64,
}

impl From<&Loss> for ExpectedLoss {
    fn from(loss: &Loss) -> Self {
        Self {
            lower: loss.lower,
            upper: loss.upper,
            last_seen_at: loss.last_seen.map(|(at, _)| at),
            last_seen_revision: loss.last_seen.map(|(_, revision)| revision),
            write_rate_per_s: loss.write_rate_per_s,
        }
    }
}

impl PlanView {
    /// Copies a preview.
    pub fn new(state: &State, preview: &Preview) -> Self {
        let destroys = match preview.playbook.destroys {
            Destroys::Nothing => "nothing",
            Destroys::Member => "member",
            Destroys::Data => "data",
        };
        let look = preview.look.as_deref();
        let until = match preview.decision.action {
            Action::Wait(until) => Some(until),
            Action::Run | Action::Skip | Action::Ask | Action::Escalate => None,
        };
        let params = preview.plan.params.iter();
        Self {
            playbook: preview.plan.playbook.clone(),
            description: preview.playbook.description.clone(),
            destroys: destroys.into(),
            cluster: preview.plan.cluster.clone(),
            digest: preview.plan.digest.clone(),
            params: params.map(|(name, value)| (name.clone(), value.to_json())).collect(),
            evidence: Some(ClusterView::whole(state, &preview.cell)),
            survivor: look.and_then(|look| look.survivor.as_ref().map(ToString::to_string)),
            loss: look.and_then(|look| look.loss.as_ref()).map(ExpectedLoss::from),
            commands: preview.commands.clone(),
            decision: DecisionView {
                action: preview.decision.action.label().into(),
                reason: preview.decision.reason.map(|reason| reason.label().into()),
                text: preview.decision.text.clone(),
                at: None,
                until,
            },
        }
    }
}
