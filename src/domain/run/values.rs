//! What expressions of a playbook see of the run itself: `steps`, registered names, loop variables.
//!
//! Readings of the patient are not here (`world`): those are taken anew, these never change. A
//! called playbook sees its own names only: its parameters and its steps, nothing of its caller.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    path::Path,
    plan::inside,
    state::{Run, Stage},
};
use crate::domain::rules::{
    expr::Value,
    playbook::model::{OnError, Step, StepKind},
};

/// The names that the steps of a scope see: `run`, `params`, `steps`, registers, loop variables.
pub fn names(run: &Run, scope: &Path) -> BTreeMap<String, Value> {
    let mut seen = Names::new(&run.plan.params);
    let mut at = Path::root();
    let mut steps = run.plan.steps.as_slice();
    seen.level(run, steps, &at);
    for seg in scope.segs() {
        let Some(step) = steps.iter().find(|step| *step.name == *seg.name) else { break };
        at = at.step(Arc::clone(&seg.name));
        if let (StepKind::Foreach { item: name, .. }, Some(item)) = (&step.kind, &seg.item) {
            at = at.iteration(Arc::clone(item));
            seen.out.insert(name.clone(), Value::Str(Arc::clone(item)));
        } else if let Some(params) = run.calls.get(&at) {
            seen = Names::new(params);
        }
        steps = inside(step).unwrap_or_default();
        // an inner step's name hides an outer one's: outer first, inner last
        seen.level(run, steps, &at);
    }
    seen.finish(run)
}

struct Names<'r> {
    params: &'r BTreeMap<String, Value>,
    steps: BTreeMap<Arc<str>, Value>,
    out: BTreeMap<String, Value>,
}

impl<'r> Names<'r> {
    fn new(params: &'r BTreeMap<String, Value>) -> Self {
        Self { params, steps: BTreeMap::new(), out: BTreeMap::new() }
    }

    fn level(&mut self, run: &Run, steps: &[Step], scope: &Path) {
        for step in steps {
            let path = scope.step(step.name.as_str());
            let Some(value) = step_value(run, step, &path) else { continue };
            if let (Some(register), Some(output)) = (&step.register, value.get("output")) {
                self.out.insert(register.clone(), output.clone());
            }
            self.steps.insert(step.name.as_str().into(), value);
        }
    }

    fn finish(mut self, run: &Run) -> BTreeMap<String, Value> {
        self.out.insert("steps".into(), Value::Map(Arc::new(self.steps)));
        self.out.insert("run".into(), Value::map([("id", Value::str(run.id.to_string()))]));
        let params = self.params.iter().map(|(name, value)| (name.as_str(), value.clone()));
        self.out.insert("params".into(), Value::map(params));
        self.out
    }
}

/// `{output}` of a finished step or call, `{output, failed}` of a loop; `None` where there is
/// nothing yet.
fn step_value(run: &Run, step: &Step, path: &Path) -> Option<Value> {
    match &step.kind {
        StepKind::Foreach { steps, .. } => {
            let mut finished: BTreeMap<Arc<str>, Value> = BTreeMap::new();
            let mut failed = Vec::new();
            for item in run.items.get(path)? {
                let scope = path.iteration(Arc::clone(item));
                match stands(run, steps, &scope) {
                    Stands::Failed => failed.push(Value::Str(Arc::clone(item))),
                    Stands::Open => {}
                    Stands::Over => {
                        finished.insert(Arc::clone(item), outputs(run, steps, &scope));
                    }
                }
            }
            let output = Value::Map(Arc::new(finished));
            Some(Value::map([("output", output), ("failed", Value::list(failed))]))
        }
        StepKind::Call { steps, .. } => {
            run.calls.get(path)?;
            let over = stands(run, steps, path) == Stands::Over;
            over.then(|| Value::map([("output", outputs(run, steps, path))]))
        }
        StepKind::Action(_)
        | StepKind::Wait { .. }
        | StepKind::Expect { .. }
        | StepKind::RecordLoss { .. }
        | StepKind::RecordNote(_)
        | StepKind::Approve(_) => {
            let output = Value::from_json(run.steps.get(path)?.output()?);
            Some(Value::map([("output", output.unwrap_or_else(empty))]))
        }
    }
}

/// The outputs of the steps of a scope that is over, by step.
fn outputs(run: &Run, steps: &[Step], scope: &Path) -> Value {
    let outputs = steps.iter().filter_map(|step| {
        let value = step_value(run, step, &scope.step(step.name.as_str()))?;
        Some((step.name.as_str(), value.get("output")?.clone()))
    });
    Value::map(outputs)
}

/// Where a scope stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stands {
    Open,
    Over,
    Failed,
}

fn stands(run: &Run, steps: &[Step], scope: &Path) -> Stands {
    for step in steps {
        let stands = step_stands(run, step, &scope.step(step.name.as_str()));
        if stands != Stands::Over {
            return stands;
        }
    }
    Stands::Over
}

fn step_stands(run: &Run, step: &Step, path: &Path) -> Stands {
    let goes_on = step.on_error == OnError::Continue;
    let failed = if goes_on { Stands::Over } else { Stands::Failed };
    match run.steps.get(path).map(|row| &row.stage) {
        Some(Stage::Done { .. } | Stage::Skipped) => return Stands::Over,
        Some(Stage::Failed { last: true, .. }) => return failed,
        Some(Stage::Started | Stage::Failed { .. } | Stage::Disproved | Stage::Doubted { .. })
        | None => {}
    }
    let (Some(steps), Some(scopes)) = (inside(step), scopes(run, path)) else {
        return Stands::Open;
    };
    let mut found = Stands::Over;
    for scope in scopes {
        match stands(run, steps, &scope) {
            Stands::Failed if !goes_on => return Stands::Failed,
            Stands::Open => found = Stands::Open,
            Stands::Failed | Stands::Over => {}
        }
    }
    found
}

/// The iterations of a loop, or the scope of a call; `None` where it has not begun.
fn scopes(run: &Run, path: &Path) -> Option<Vec<Path>> {
    if run.calls.contains_key(path) {
        return Some(vec![path.clone()]);
    }
    run.items.get(path)?;
    Some(run.items_of(path).map(|item| path.iteration(Arc::clone(item))).collect())
}

fn empty() -> Value {
    Value::Map(Arc::default())
}
