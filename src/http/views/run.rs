//! A run: where it stands, what every step did, what it asks.
//!
//! Steps come from the plan that is stored with the run, so that those are there too that have not
//! begun.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::domain::{
    base::{
        id::{ClusterName, IncidentId, MemberName, PlaybookName, RunId},
        time::Time,
    },
    cell::{Cell, Leftover},
    inventory::Mode,
    rules::{
        action::{Changes, Failure},
        playbook::model::{ActionCall, Entry, Show, Step, StepKind},
    },
    run::{
        event::{EntryKey, List},
        path::Path,
        state::{Run, Stage, StepRun},
    },
};

/// A run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RunView {
    /// Its id.
    pub id: RunId,
    /// The cluster.
    pub cluster: ClusterName,
    /// Its playbook.
    pub playbook: PlaybookName,
    /// The incident it answers.
    pub incident: Option<IncidentId>,
    /// A word of the closed list of run states.
    pub state: String,
    /// `propose` or `auto`.
    pub mode: String,
    /// Who or what dispatched it.
    pub by: String,
    /// When it began.
    pub started_at: Time,
    /// When its last record was made.
    pub updated_at: Time,
    /// When it ended.
    pub finished_at: Option<Time>,
    /// How it ended.
    pub outcome: Option<String>,
    /// Its first error.
    pub failure: Option<FailureView>,
    /// The step that was its point of no return, where that was passed.
    pub past_return: Option<String>,
    /// What it asks; also once it is answered.
    pub ask: Option<AskView>,
    /// The answer, where it was yes.
    pub approval: Option<ApprovalView>,
    /// The answer, where it was no.
    pub denied: Option<ApprovalView>,
    /// Why it is parked.
    pub parked: Option<ParkedView>,
    /// What it left to be done by hand, where it was given up past its point of no return.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub leftovers: Vec<LeftoverView>,
    /// Its steps; only where one run is asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<StepView>,
    /// Its parameters.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub params: BTreeMap<String, Json>,
}

/// Something that is left to do by hand.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LeftoverView {
    /// What it is.
    pub what: String,
    /// The commands that end it.
    pub commands: Vec<String>,
}

/// An error.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FailureView {
    /// A word of the closed list of error kinds.
    pub kind: String,
    /// What failed, on what, and what to do.
    pub message: String,
}

/// What a run asks.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AskView {
    /// Whether it still waits for the answer.
    pub open: bool,
    /// What an approval is bound to.
    pub digest: String,
    /// The chosen survivor.
    pub survivor: Option<MemberName>,
    /// What is shown: `evidence`, `loss`, `commands`; what is not listed is left out.
    #[serde(default)]
    pub show: Vec<Show>,
    /// At least so many revisions are lost; `None` where it is not shown.
    pub loss_lower: Option<u64>,
    /// At most so many; `None` is unknown, or not shown.
    pub loss_upper: Option<u64>,
    /// What that rests on.
    pub evidence: Vec<String>,
    /// Every command that follows.
    pub commands: Vec<String>,
    /// When the question lapses.
    pub until: Time,
}

/// An answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ApprovalView {
    /// Who.
    pub by: String,
    /// Why.
    pub reason: String,
    /// The most that may be lost, of a yes.
    pub max_loss: Option<u64>,
    /// When; unknown of a no.
    pub at: Option<Time>,
}

/// Why a run is parked.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ParkedView {
    /// What happened, what is uncertain, what to check.
    pub why: String,
    /// What is armed or left changed.
    pub armed: Vec<String>,
    /// Since when.
    pub at: Time,
}

/// A step.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StepView {
    /// Its path: `rejoin[m2].add`.
    pub path: String,
    /// How deep it stands in loops.
    pub depth: usize,
    /// The action's name, or `foreach`, `call`, `wait`, `expect`, `record`, `approve`.
    pub does: String,
    /// A word of the closed list of step states.
    pub state: String,
    /// Tries so far.
    pub attempts: u32,
    /// Whether it is the point of no return.
    pub irreversible: bool,
    /// Whether there was anything to do.
    pub changed: Option<bool>,
    /// The arguments of the last try.
    #[serde(default, skip_serializing_if = "Json::is_null")]
    pub args: Json,
    /// Its output.
    #[serde(default, skip_serializing_if = "Json::is_null")]
    pub output: Json,
    /// Why it failed.
    pub failure: Option<FailureView>,
    /// When it first began.
    pub started_at: Option<Time>,
    /// When it last changed.
    pub at: Option<Time>,
    /// What was done of its `undo` and `finally`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub entries: Vec<EntryView>,
}

/// An entry of `undo` or `finally`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EntryView {
    /// `undo` or `finally`.
    pub list: String,
    /// The action.
    pub does: String,
    /// `running`, `done`, `skipped` or `failed`.
    pub state: String,
    /// Why it failed.
    pub failure: Option<FailureView>,
    /// When it last changed.
    pub at: Time,
}

impl From<&Failure> for FailureView {
    fn from(failure: &Failure) -> Self {
        Self { kind: failure.kind.label().into(), message: failure.message.clone() }
    }
}

impl RunView {
    /// The line of a list.
    pub fn line(run: &Run) -> Self {
        let finished = run.finished.as_ref();
        let unwinding = run.unwind.as_ref().map(|unwind| &unwind.failure);
        let failure = finished.and_then(|(_, failure, _)| failure.as_ref()).or(unwinding);
        Self {
            id: run.id,
            cluster: run.plan.cluster.clone(),
            playbook: run.plan.playbook.clone(),
            incident: run.incident,
            state: run.state().into(),
            mode: Mode::from(run.mode).label().into(),
            by: run.by.clone(),
            started_at: run.started_at,
            updated_at: run.at,
            finished_at: finished.map(|(.., at)| *at),
            outcome: finished.map(|(outcome, ..)| outcome.label().into()),
            failure: failure.map(FailureView::from),
            past_return: run.past_return.as_ref().map(ToString::to_string),
            ask: run.ask.as_ref().map(|(_, ask)| AskView {
                open: run.is_asking(),
                digest: ask.digest.clone(),
                survivor: ask.survivor.clone(),
                show: ask.show.clone(),
                loss_lower: ask.loss.map(|loss| loss.lower),
                loss_upper: ask.loss.and_then(|loss| loss.upper),
                evidence: ask.evidence.clone(),
                commands: ask.commands.clone(),
                until: ask.until,
            }),
            approval: run.approval.as_ref().map(|yes| ApprovalView {
                by: yes.by.clone(),
                reason: yes.reason.clone(),
                max_loss: yes.max_loss,
                at: Some(yes.at),
            }),
            denied: run.denied.as_ref().map(|(by, reason)| ApprovalView {
                by: by.clone(),
                reason: reason.clone(),
                max_loss: None,
                at: None,
            }),
            parked: run.parked.as_ref().map(|parked| ParkedView {
                why: parked.why.clone(),
                armed: parked.armed.clone(),
                at: parked.at,
            }),
            leftovers: Vec::new(),
            steps: Vec::new(),
            params: BTreeMap::new(),
        }
    }

    /// Everything.
    pub fn whole(cell: &Cell, run: &Run, now: Time) -> Self {
        let mut view = Self::line(run);
        let left = cell.leftovers(run, now).into_iter();
        view.leftovers =
            left.map(|Leftover { what, commands }| LeftoverView { what, commands }).collect();
        let params = run.plan.params.iter();
        view.params = params.map(|(name, value)| (name.clone(), value.to_json())).collect();
        let mut walk = Walk { run, out: Vec::new() };
        walk.steps(&run.plan.steps, &Path::root(), 0);
        view.steps = walk.out;
        view
    }
}

struct Walk<'a> {
    run: &'a Run,
    out: Vec<StepView>,
}

impl Walk<'_> {
    fn steps(&mut self, steps: &[Step], scope: &Path, depth: usize) {
        for step in steps {
            let path = scope.step(step.name.as_str());
            let view = self.view(step, &path, depth);
            let place = self.out.len();
            self.out.push(view);
            match &step.kind {
                StepKind::Foreach { steps: inner, .. } => {
                    for item in self.run.items_of(&path) {
                        self.steps(inner, &path.iteration(item.clone()), depth + 1);
                    }
                }
                StepKind::Call { steps: inner, .. } => self.steps(inner, &path, depth + 1),
                StepKind::Action(_)
                | StepKind::Wait { .. }
                | StepKind::Expect { .. }
                | StepKind::RecordLoss { .. }
                | StepKind::RecordNote(_)
                | StepKind::Approve(_) => continue,
            }
            let has_begun =
                self.run.items.contains_key(&path) || self.run.calls.contains_key(&path);
            if !self.run.steps.contains_key(&path) && has_begun {
                let inside = self.out[place + 1..].iter();
                let words: Vec<_> = inside.map(|step| step.state.as_str()).collect();
                self.out[place].state = loop_state(&words).into();
            }
        }
    }

    fn view(&self, step: &Step, path: &Path, depth: usize) -> StepView {
        let run = self.run;
        let mut view = StepView::new(path, does(&step.kind), run, run.steps.get(path));
        view.depth = depth;
        view.irreversible = step.irreversible;
        let writes = match &step.kind {
            StepKind::Action(call) => call.traits.changes != Changes::Nothing,
            StepKind::Foreach { .. }
            | StepKind::Call { .. }
            | StepKind::Wait { .. }
            | StepKind::Expect { .. }
            | StepKind::RecordLoss { .. }
            | StepKind::RecordNote(_)
            | StepKind::Approve(_) => false,
        };
        view.changed = view.changed.filter(|_| writes);
        if matches!(step.kind, StepKind::Approve(_))
            && let Some((asked, _)) = run.ask.as_ref().filter(|(asked, _)| asked == path)
            && !run.steps.contains_key(asked)
        {
            view.state = answered(run).into();
        }
        let undo = step.undo.iter().enumerate().map(|(index, entry)| (List::Undo, index, entry));
        let finally = step.finally.iter().enumerate();
        let entries = undo.chain(finally.map(|(index, entry)| (List::Finally, index, entry)));
        view.entries =
            entries.filter_map(|(list, index, e)| entry_view(run, path, list, index, e)).collect();
        settle(&mut view);
        view
    }
}

/// Where a question stands that has no record of its own end.
fn answered(run: &Run) -> &'static str {
    match (run.is_asking(), &run.approval) {
        (true, _) => "running",
        (false, Some(_)) => "done",
        (false, None) => "failed",
    }
}

/// What the steps inside make of a loop that has no record of its own end.
fn loop_state(inner: &[&str]) -> &'static str {
    let any = |word: &str| inner.contains(&word);
    if any("failed") {
        "failed"
    } else if any("running") || any("pending") || any("in_doubt") {
        "running"
    } else {
        "done"
    }
}

fn does(kind: &StepKind) -> &str {
    match kind {
        StepKind::Action(ActionCall { action, .. }) => action,
        StepKind::Foreach { .. } => "foreach",
        StepKind::Call { .. } => "call",
        StepKind::Wait { .. } => "wait",
        StepKind::Expect { .. } => "expect",
        StepKind::RecordLoss { .. } | StepKind::RecordNote(_) => "record",
        StepKind::Approve(_) => "approve",
    }
}

impl StepView {
    /// What it wrote down for people.
    pub fn note(&self) -> Option<&str> {
        self.output.get("note")?.as_str().filter(|_| self.does == "record")
    }

    fn new(path: &Path, does: &str, run: &Run, row: Option<&StepRun>) -> Self {
        let (changed, output, failure) = match row.map(|row| &row.stage) {
            Some(Stage::Done { output, changed }) => (Some(*changed), output.clone(), None),
            Some(Stage::Failed { failure, .. }) => (None, Json::Null, Some(failure.into())),
            Some(Stage::Started | Stage::Skipped | Stage::Disproved | Stage::Doubted { .. })
            | None => (None, Json::Null, None),
        };
        Self {
            path: path.to_string(),
            depth: 0,
            does: does.into(),
            state: word(run, row).into(),
            attempts: row.map_or(0, |row| row.attempts),
            irreversible: false,
            changed,
            args: row.map_or(Json::Null, |row| row.args.clone()),
            output,
            failure,
            started_at: row.map(|row| row.started_at),
            at: row.map(|row| row.at),
            entries: Vec::new(),
        }
    }
}

/// A step that has begun and is not over runs while its run does; in a run that rests it is in doubt.
fn word(run: &Run, row: Option<&StepRun>) -> &'static str {
    match row.map(|row| &row.stage) {
        None | Some(Stage::Disproved) => "pending",
        Some(Stage::Started | Stage::Failed { last: false, .. }) if run.is_active() => "running",
        Some(Stage::Started | Stage::Doubted { .. }) => "in_doubt",
        Some(Stage::Done { .. }) => "done",
        Some(Stage::Skipped) => "skipped",
        Some(Stage::Failed { .. }) => "failed",
    }
}

/// A step whose undo was done is undone.
fn settle(view: &mut StepView) {
    let mut undo = view.entries.iter().filter(|entry| entry.list == "undo").peekable();
    if undo.peek().is_none() {
        return;
    }
    let words: Vec<_> = undo.map(|entry| entry.state.as_str()).collect();
    if words.contains(&"failed") {
        view.state = "undo_failed".into();
    } else if words.iter().all(|word| matches!(*word, "done" | "skipped")) {
        view.state = "undone".into();
    }
}

fn entry_view(
    run: &Run,
    path: &Path,
    list: List,
    index: usize,
    entry: &Entry,
) -> Option<EntryView> {
    let row = run.entries.get(&EntryKey { step: path.clone(), list, index })?;
    let failure = match &row.stage {
        Stage::Failed { failure, .. } => Some(failure.into()),
        Stage::Started
        | Stage::Done { .. }
        | Stage::Skipped
        | Stage::Disproved
        | Stage::Doubted { .. } => None,
    };
    let list = match list {
        List::Undo => "undo",
        List::Finally => "finally",
    };
    Some(EntryView {
        list: list.into(),
        does: entry.call.action.clone(),
        state: word(run, Some(row)).into(),
        failure,
        at: row.at,
    })
}
