//! What expressions of a playbook see of the run itself: `steps`, registered names, loop variables.
//!
//! Readings of the patient are not here (`world`): those are taken anew, these never change.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    apply::{Run, Stage},
    next::Scope,
};
use crate::domain::rules::{
    expr::Value,
    playbook::model::{Playbook, Step, StepKind},
};

/// The names a step at `prefix` sees: `run`, `params`, `steps`, registers, loop variables.
pub fn names(
    run: &Run,
    playbook: &Playbook,
    prefix: &str,
    scope: &Scope,
) -> BTreeMap<String, Value> {
    let mut steps = BTreeMap::new();
    let mut out = BTreeMap::new();
    // an inner step's name hides an outer one's: outer first, inner last
    for level in levels(prefix) {
        if let Some(list) = steps_at(&playbook.steps, &level) {
            for step in list {
                let path = format!("{level}{}", step.name);
                let Some(value) = step_value(run, step, &path) else { continue };
                if let (Some(register), Some(output)) = (&step.register, value.get("output")) {
                    out.insert(register.clone(), output.clone());
                }
                steps.insert(Arc::from(step.name.as_str()), value);
            }
        }
    }
    out.insert("steps".into(), Value::Map(Arc::new(steps)));
    out.insert("run".into(), Value::map([("id", Value::str(run.id.to_string()))]));
    let params = run.plan.params.iter().map(|(name, value)| (name.as_str(), value.clone()));
    out.insert("params".into(), Value::map(params));
    out.extend(scope.iter().map(|(name, item)| (name.clone(), Value::str(item.as_str()))));
    out
}

/// `""`, then every enclosing iteration: `rejoin[m2].`.
fn levels(prefix: &str) -> Vec<String> {
    let ends = prefix.match_indices("].").map(|(at, _)| prefix[..at + 2].to_owned());
    std::iter::once(String::new()).chain(ends).collect()
}

/// The steps whose paths begin with `prefix`.
fn steps_at<'p>(steps: &'p [Step], prefix: &str) -> Option<&'p [Step]> {
    let Some((name, rest)) = prefix.split_once('[') else { return Some(steps) };
    let (_, rest) = rest.split_once("].")?;
    let step = steps.iter().find(|step| step.name == name)?;
    match &step.kind {
        StepKind::Foreach { steps, .. } => steps_at(steps, rest),
        StepKind::Action(_)
        | StepKind::Wait { .. }
        | StepKind::Expect { .. }
        | StepKind::RecordLoss { .. }
        | StepKind::RecordNote(_)
        | StepKind::Approve(_) => None,
    }
}

/// `{output}` of a finished step, `{output, failed}` of a loop; `None` where there is nothing yet.
fn step_value(run: &Run, step: &Step, path: &str) -> Option<Value> {
    let StepKind::Foreach { steps, .. } = &step.kind else {
        let output = Value::from_json(run.steps.get(path)?.output()?);
        return Some(Value::map([("output", output.unwrap_or_else(empty))]));
    };
    let mut finished: BTreeMap<Arc<str>, Value> = BTreeMap::new();
    let mut failed = Vec::new();
    for item in run.items.get(path)? {
        let prefix = format!("{path}[{item}].");
        if failed_in(run, steps, &prefix) {
            failed.push(Value::str(item.as_str()));
        } else if let Some(value) = iteration(run, steps, &prefix) {
            finished.insert(item.as_str().into(), value);
        }
    }
    let output = Value::Map(Arc::new(finished));
    Some(Value::map([("output", output), ("failed", Value::list(failed))]))
}

/// The outputs of one iteration by step; `None` unless every step of it is done or skipped.
fn iteration(run: &Run, steps: &[Step], prefix: &str) -> Option<Value> {
    let mut out: BTreeMap<Arc<str>, Value> = BTreeMap::new();
    for step in steps {
        let path = format!("{prefix}{}", step.name);
        if matches!(run.steps.get(&path).map(|row| &row.stage), Some(Stage::Skipped)) {
            continue;
        }
        let value = step_value(run, step, &path)?;
        out.insert(step.name.as_str().into(), value.get("output").cloned()?);
    }
    Some(Value::Map(Arc::new(out)))
}

fn failed_in(run: &Run, steps: &[Step], prefix: &str) -> bool {
    steps.iter().any(|step| {
        let row = run.steps.get(&format!("{prefix}{}", step.name));
        matches!(row.map(|row| &row.stage), Some(Stage::Failed { last: true, .. }))
    })
}

fn empty() -> Value {
    Value::Map(Arc::default())
}
