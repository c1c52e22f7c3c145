//! What is kept in memory and in snapshots of a run that is over: all that its line in a list tells.
//!
//! Its plan's steps and what became of them stay in the journal, where whoever asks for the run finds
//! them. It is a run like any other, only without these.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    event::{Ask, ModeWord, Outcome},
    path::Path,
    plan::Plan,
    state::{Approval, Parked, Run},
};
use crate::domain::{
    base::{
        id::{ClusterName, EtcdId, IncidentId, PlaybookName, RunId},
        time::{self, Time},
    },
    rules::{action::Failure, playbook::model::Destroys},
};

/// A run that is over, in brief.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    id: RunId,
    places: Vec<u64>,
    incident: Option<IncidentId>,
    playbook: PlaybookName,
    cluster: ClusterName,
    digest: String,
    destroys: Destroys,
    mode: ModeWord,
    by: String,
    started_at: Time,
    at: Time,
    version: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ask: Option<(Path, Ask)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    approval: Option<Approval>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    denied: Option<(String, String)>,
    #[serde(with = "time::duration")]
    waited: Duration,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    built: Option<EtcdId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    past_return: Option<Path>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    parked: Option<Parked>,
    verified: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    unverified: Option<Failure>,
    finished: Option<(Outcome, Option<Failure>, Time)>,
}

impl Summary {
    /// The run's id.
    pub fn id(&self) -> RunId {
        self.id
    }
}

impl From<&Run> for Summary {
    fn from(run: &Run) -> Self {
        Self {
            id: run.id,
            places: run.places.clone(),
            incident: run.incident,
            playbook: run.plan.playbook.clone(),
            cluster: run.plan.cluster.clone(),
            digest: run.plan.digest.clone(),
            destroys: run.plan.destroys,
            mode: run.mode,
            by: run.by.clone(),
            started_at: run.started_at,
            at: run.at,
            version: run.version,
            ask: run.ask.clone(),
            approval: run.approval.clone(),
            denied: run.denied.clone(),
            waited: run.waited,
            built: run.built,
            past_return: run.past_return.clone(),
            parked: run.parked.clone(),
            verified: run.verified,
            unverified: run.unverified.clone(),
            finished: run.finished.clone(),
        }
    }
}

impl From<Summary> for Run {
    fn from(brief: Summary) -> Self {
        let plan = Plan {
            playbook: brief.playbook,
            cluster: brief.cluster,
            digest: brief.digest,
            destroys: brief.destroys,
            text: String::new(),
            timeout: Duration::ZERO,
            params: BTreeMap::new(),
            members: Vec::new(),
            hosts: Vec::new(),
            steps: Vec::new(),
            verify: None,
        };
        Self {
            places: brief.places,
            version: brief.version,
            at: brief.at,
            ask: brief.ask,
            approval: brief.approval,
            denied: brief.denied,
            waited: brief.waited,
            built: brief.built,
            past_return: brief.past_return,
            parked: brief.parked,
            verified: brief.verified,
            unverified: brief.unverified,
            finished: brief.finished,
            ..Self::new(
                brief.id,
                (brief.incident, Arc::new(plan), brief.mode, brief.by),
                brief.started_at,
            )
        }
    }
}

impl Run {
    /// Whether it is in brief: without its plan's steps and what became of them. No plan is without
    /// a step.
    pub fn is_summary(&self) -> bool {
        self.plan.steps.is_empty()
    }

    /// The same in brief.
    #[must_use]
    pub fn in_brief(&self) -> Self {
        Summary::from(self).into()
    }
}
