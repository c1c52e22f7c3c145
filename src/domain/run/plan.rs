//! A playbook resolved for one run and stored with it: the tree of steps, with every expression read
//! and typed, every default in place, and what the run must know of each action.
//!
//! Editing YAML never changes a run in flight, and neither does an upgrade: nothing is parsed,
//! defaulted or looked up in a catalogue again. The text stands beside it for people.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

use super::path::Path;
use crate::domain::{
    base::{
        id::{ClusterName, HostName, MemberName, PlaybookName},
        time,
    },
    inventory::Cluster,
    rules::{
        expr::{Expr, Value, stored::exact_map},
        playbook::{
            model::{Destroys, Playbook, Step, StepKind},
            params::{Param, ParamType},
        },
    },
};

/// Most items of one loop: far more than a person who approves can read. Each is walked over for
/// every record of the run (1 ms for 200 in a debug build), and each of its steps is journalled.
pub const ITEMS_MAX: usize = 500;

/// What a run is going to do, fixed at dispatch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The playbook's name.
    pub playbook: PlaybookName,
    /// The cluster it repairs.
    pub cluster: ClusterName,
    /// The playbook's document, and those of the playbooks it calls.
    pub text: String,
    /// SHA-256 of [`Plan::text`], hex.
    pub digest: String,
    /// What it may destroy.
    pub destroys: Destroys,
    /// Limit of the whole run; waiting for approval, undo and finalizers excluded.
    #[serde(with = "time::duration")]
    pub timeout: Duration,
    /// Parameters by name; those without a value are missing.
    #[serde(with = "exact_map")]
    pub params: BTreeMap<String, Value>,
    /// The members a hole may name, in inventory order.
    pub members: Vec<MemberName>,
    /// The hosts a hole may name, by name.
    pub hosts: Vec<HostName>,
    /// What is done.
    pub steps: Vec<Step>,
    /// Must come true after the last step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verify: Option<Expr>,
}

impl Plan {
    /// Fixes a playbook for a cluster. The errors are for people, one per wrong parameter.
    pub fn new(
        playbook: &Playbook,
        given: BTreeMap<String, Value>,
        inventory: &Cluster,
    ) -> Result<Self, Vec<String>> {
        let mut plan = Self {
            playbook: playbook.name.clone(),
            cluster: inventory.name.clone(),
            text: playbook.text.clone(),
            digest: playbook.digest.clone(),
            destroys: playbook.destroys,
            timeout: playbook.timeout,
            params: BTreeMap::new(),
            members: inventory.etcd.members.iter().map(|member| member.name.clone()).collect(),
            hosts: inventory.hosts.keys().cloned().collect(),
            steps: playbook.steps.clone(),
            verify: playbook.verify.clone(),
        };
        plan.params = plan.accept(&playbook.name, &playbook.params, given)?;
        Ok(plan)
    }

    /// What is given for these parameters, with the defaults of what is not, held against the plan's
    /// lists. The errors are for people.
    pub fn accept(
        &self,
        playbook: &PlaybookName,
        params: &[Param],
        mut given: BTreeMap<String, Value>,
    ) -> Result<BTreeMap<String, Value>, Vec<String>> {
        let mut accepted = BTreeMap::new();
        let mut wrong = Vec::new();
        for param in params {
            match self.accept_one(param, given.remove(&param.name)) {
                Ok(Some(value)) => drop(accepted.insert(param.name.clone(), value)),
                Ok(None) => {}
                Err(why) => wrong.push(why),
            }
        }
        wrong.extend(given.keys().map(|name| format!("{playbook} has no parameter `{name}`")));
        if wrong.is_empty() { Ok(accepted) } else { Err(wrong) }
    }

    fn accept_one(&self, param: &Param, given: Option<Value>) -> Result<Option<Value>, String> {
        let Some(value) = given else {
            if param.required {
                return Err(format!("`{}` must be given", param.name));
            }
            return Ok(param.default.clone());
        };
        let value = param.accept(value)?;
        let known = value.as_str().is_none_or(|name| match param.ty {
            ParamType::Member => self.members.iter().any(|member| member.as_str() == name),
            ParamType::Host => self.hosts.iter().any(|host| host.as_str() == name),
            // The inventory of hosts knows no nodes.
            ParamType::Node => false,
            ParamType::String
            | ParamType::Int
            | ParamType::Bool
            | ParamType::Duration
            | ParamType::List => true,
        });
        if known {
            return Ok(Some(value));
        }
        let name = value.as_str().unwrap_or_default();
        Err(format!("`{}`: {} has no {} {name:?}", param.name, self.cluster, param.ty.label()))
    }

    /// The step at a path; the loop for one of its iterations.
    pub fn step(&self, path: &Path) -> Option<&Step> {
        let (last, around) = path.segs().split_last()?;
        let mut steps = self.steps.as_slice();
        for seg in around {
            let step = steps.iter().find(|step| *step.name == *seg.name)?;
            let is_loop = matches!(step.kind, StepKind::Foreach { .. });
            steps = inside(step).filter(|_| is_loop == seg.item.is_some())?;
        }
        let step = steps.iter().find(|step| *step.name == *last.name)?;
        let fits = last.item.is_none() || matches!(step.kind, StepKind::Foreach { .. });
        fits.then_some(step)
    }
}

/// The steps inside a loop or a call.
pub fn inside(step: &Step) -> Option<&[Step]> {
    match &step.kind {
        StepKind::Foreach { steps, .. } | StepKind::Call { steps, .. } => Some(steps),
        StepKind::Action(_)
        | StepKind::Wait { .. }
        | StepKind::Expect { .. }
        | StepKind::RecordLoss { .. }
        | StepKind::RecordNote(_)
        | StepKind::Approve(_) => None,
    }
}
