//! Runs on small playbooks, walked without any effect: what is answered is journalled by the test.

mod author;
mod laws;
mod records;
mod resuming;
mod table;
mod undoing;
mod walk;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use serde_json::{Value as Json, json};

use super::{
    apply::{Illegal, apply},
    event::{Ask, EntryKey, List, ModeWord, Outcome, RunEvent},
    next::next,
    path::Path,
    plan::Plan,
    resume,
    state::{Run, StepRun},
    todo::{At, Todo},
};
use crate::domain::{
    base::{id::RunId, time::Time},
    rules::{
        self,
        action::{ActionSpec, ArgSpec, ArgType, Catalogue, Changes, ErrorKind, Failure, OnResume},
        expr::Type,
        playbook::model::{Playbook, Step, StepKind},
    },
};

/// Actions by what they do to their target.
fn catalogue() -> Catalogue {
    let row = |name, changes, on_resume| ActionSpec {
        args: vec![ArgSpec { name: "member", ty: ArgType::Text, required: false, help: "any" }],
        output: Type::record([("id", Type::Str), ("n", Type::Int)]),
        timeout: Duration::from_mins(1),
        ..ActionSpec::new(name, changes, on_resume, "For tests.")
    };
    let rows = [
        row("do.look", Changes::Nothing, OnResume::Rerun),
        row("do.it", Changes::Service, OnResume::Probe),
        row("do.back", Changes::Service, OnResume::Probe),
        row("do.tidy", Changes::Service, OnResume::Rerun),
    ];
    Arc::new(rows.into_iter().map(|row| (row.name, row)).collect())
}

/// A playbook called `p` with these steps, a list `params.members` and a `verify`; `also` are further
/// documents.
fn book_with(steps: &str, also: &str) -> Playbook {
    let head = |name: &str| {
        format!(
            "apiVersion: quorate/v1\nkind: Playbook\nmetadata: {{name: {name}, description: A small \
             one.}}\nspec:\n  destroys: nothing\n  params:\n    members: {{type: list, default: \
             [m1, m2]}}\n  timeout: 1h\n  verify: 'size(params.members) > 0'\n  steps:\n"
        )
    };
    let mut parts = vec![format!("{}{steps}", head("p"))];
    for (index, part) in also.split("---\n").filter(|part| !part.is_empty()).enumerate() {
        parts.push(format!("{}{part}", head(&format!("part{index}"))));
    }
    let text = parts.join("---\n");
    let (loaded, found) = rules::load(&[("small.yaml".into(), text.clone())], &catalogue());
    assert!(!rules::has_errors(&found), "{found:#?}\n{text}");
    Playbook::clone(&loaded.playbooks["p"])
}

fn plan_of(playbook: &Playbook) -> Plan {
    let mut plan = Plan {
        playbook: playbook.name.clone(),
        cluster: "c1".into(),
        text: playbook.text.clone(),
        digest: playbook.digest.clone(),
        destroys: playbook.destroys,
        timeout: playbook.timeout,
        params: [].into(),
        members: vec!["m1".into(), "m2".into(), "m3".into()],
        hosts: vec!["h1".into()],
        steps: playbook.steps.clone(),
        verify: playbook.verify.clone(),
    };
    plan.params = plan.accept(&playbook.name, &playbook.params, [].into()).unwrap();
    plan
}

/// A run that has just begun.
fn begin(steps: &str) -> Run {
    begin_with(steps, "")
}

fn begin_with(steps: &str, also: &str) -> Run {
    let plan = Arc::new(plan_of(&book_with(steps, also)));
    let (mode, by) = (ModeWord::Auto, "a test".to_owned());
    let started = RunEvent::RunStarted { incident: None, plan, mode, by };
    Run::start(RunId(uuid::Uuid::nil()), &started, Time(0)).unwrap()
}

/// A path as people write it.
fn at(path: &str) -> Path {
    path.parse().unwrap()
}

fn failure() -> Failure {
    Failure::new(ErrorKind::Tool, "no")
}

/// Everything that can be done now.
fn todos(run: &Run) -> Vec<Todo<'_>> {
    next(run, &BTreeSet::new())
}

/// The same in words, for tables.
fn frontier(run: &Run) -> Vec<String> {
    todos(run).iter().map(words).collect()
}

fn words(todo: &Todo<'_>) -> String {
    match todo {
        Todo::Begin(at) => format!("begin {}", at.path),
        Todo::Retry(at, _) => format!("retry {}", at.path),
        Todo::Resolve(at) => format!("? {}", at.path),
        Todo::Expand(at) => format!("expand {}", at.path),
        Todo::Until(at, _, item) => format!("until {}[{item}]", at.path),
        Todo::Await(at, _) => format!("await {}", at.path),
        Todo::Entry(key, ..) => entry_words(key),
        Todo::RetryEntry(key, ..) => format!("retry {}", entry_words(key)),
        Todo::ResolveEntry(key, ..) => format!("? {}", entry_words(key)),
        Todo::Unwind(outcome, failure) => {
            format!("unwind {}: {}", outcome.label(), failure.message)
        }
        Todo::Park(parking) => {
            let cause = parking.why.split(". Look at it").next().unwrap_or_default();
            format!("park: {cause}")
        }
        Todo::Verify(_) => "verify".into(),
        Todo::Finish(outcome, _) => format!("finish {}", outcome.label()),
    }
}

fn entry_words(key: &EntryKey) -> String {
    let list = if key.list == List::Undo { "undo" } else { "finally" };
    format!("{list} {} {}", key.step, key.index)
}

#[track_caller]
fn journal(run: &mut Run, events: impl IntoIterator<Item = RunEvent>) {
    for event in events {
        apply(run, &event, Time(0)).unwrap_or_else(|illegal| panic!("{illegal}"));
    }
}

fn refused(run: &mut Run, event: &RunEvent) -> Illegal {
    let before = run.clone();
    let illegal = apply(run, event, Time(0)).unwrap_err();
    assert_eq!(*run, before, "what is refused changes nothing");
    illegal
}

fn started(run: &Run, path: &str) -> RunEvent {
    let step = at(path);
    let irreversible = run.plan.step(&step).unwrap().irreversible;
    let attempt = run.steps.get(&step).map_or(0, |row| row.attempts) + 1;
    let (args, before, held) = (json!({}), Json::Null, None);
    RunEvent::StepStarted { step, attempt, args, before, held, irreversible }
}

fn done(path: &str, changed: bool) -> RunEvent {
    let (released, built) = (None, None);
    RunEvent::StepDone { step: at(path), output: json!({"n": 1}), changed, released, built }
}

fn failed(path: &str, last: bool) -> RunEvent {
    RunEvent::StepFailed { step: at(path), failure: failure(), last }
}

fn doubted(path: &str) -> RunEvent {
    RunEvent::StepDoubted { step: at(path), why: "it does not answer".into() }
}

fn disproved(path: &str) -> RunEvent {
    RunEvent::StepDisproved { step: at(path), finding: "it is untouched".into() }
}

fn items(path: &str, items: &[&str]) -> RunEvent {
    let items = items.iter().map(|item| Arc::from(*item)).collect();
    RunEvent::ForeachStarted { step: at(path), items }
}

fn called(path: &str) -> RunEvent {
    RunEvent::CallStarted { step: at(path), params: [].into() }
}

fn key(path: &str, list: List, index: usize) -> EntryKey {
    EntryKey { step: at(path), list, index }
}

fn entry_started(run: &Run, entry: EntryKey) -> RunEvent {
    let attempt = run.entries.get(&entry).map_or(0, |row| row.attempts) + 1;
    RunEvent::EntryStarted { entry, attempt, args: json!({}), before: Json::Null }
}

fn entry_done(entry: EntryKey) -> RunEvent {
    RunEvent::EntryDone { entry, changed: true, released: None }
}

fn entry_failed(entry: EntryKey, last: bool) -> RunEvent {
    RunEvent::EntryFailed { entry, failure: failure(), last }
}

fn parked() -> RunEvent {
    RunEvent::RunParked { why: "no".into(), armed: Vec::new() }
}

fn resumed(run: &Run) -> RunEvent {
    let retry = resume::retry(run);
    RunEvent::RunResumed { by: "ann".into(), reason: "looked".into(), retry }
}

fn unwind(outcome: Outcome, undo: bool) -> RunEvent {
    RunEvent::UnwindStarted { outcome, failure: failure(), undo }
}

fn asked(path: &str) -> RunEvent {
    let (survivor, show, loss) = (None, Vec::new(), None);
    let (evidence, commands, until) = (Vec::new(), Vec::new(), Time(1_000_000));
    let ask = Ask { digest: "d".into(), survivor, show, loss, evidence, commands, until };
    RunEvent::ApprovalAsked { step: at(path), ask: Box::new(ask) }
}

fn approved() -> RunEvent {
    let (by, reason, digest) = ("ann".into(), "looked".into(), "d".into());
    RunEvent::Approved { by, reason, digest, max_loss: None }
}

fn denied() -> RunEvent {
    RunEvent::Denied { by: "ann".into(), reason: "no".into() }
}

/// Starts and ends a step well.
#[track_caller]
fn does(run: &mut Run, path: &str, changed: bool) {
    let start = started(run, path);
    journal(run, [start, done(path, changed)]);
}

/// Starts a step that fails for good.
#[track_caller]
fn breaks(run: &mut Run, path: &str) {
    let start = started(run, path);
    journal(run, [start, failed(path, true)]);
}

/// Starts and ends an entry well.
#[track_caller]
fn tidies(run: &mut Run, entry: EntryKey) {
    let start = entry_started(run, entry.clone());
    journal(run, [start, entry_done(entry)]);
}

/// Answers like somebody who drives runs: everything goes well, save what `fails`.
#[derive(Default)]
struct Driver {
    /// Steps that fail for good, and entries as `undo a 0`.
    fails: &'static [&'static str],
    /// Steps that find nothing to do.
    unchanged: &'static [&'static str],
    /// Items before which `until` is true.
    stops: &'static [&'static str],
    /// The items of each loop; two members where none are named.
    items: &'static [&'static str],
}

impl Driver {
    /// Everything that is done, in order, until the run rests. Takes the first of what can be done.
    fn trace(&self, run: &mut Run) -> Vec<String> {
        let mut trace = Vec::new();
        let mut checked = BTreeSet::new();
        for _ in 0..500 {
            let known = std::mem::take(&mut checked);
            let events = {
                let todos = next(run, &known);
                let Some(todo) = todos.first() else { return trace };
                trace.push(words(todo));
                self.answer(run, todo, &mut checked)
            };
            if events.is_empty() && checked.is_empty() {
                return trace;
            }
            journal(run, events);
        }
        panic!("no end: {trace:?}");
    }

    fn answer(&self, run: &Run, todo: &Todo<'_>, checked: &mut BTreeSet<Path>) -> Vec<RunEvent> {
        match todo {
            Todo::Begin(at) | Todo::Retry(at, _) => self.tried(run, at),
            Todo::Resolve(at) => vec![failed(&at.path.to_string(), true)],
            Todo::Expand(at) if run.plan.step(&at.path).is_some_and(is_loop) => {
                let names = if self.items.is_empty() { &["m1", "m2"][..] } else { self.items };
                vec![items(&at.path.to_string(), names)]
            }
            Todo::Expand(at) => vec![called(&at.path.to_string())],
            Todo::Until(at, _, item) if self.stops.contains(&&**item) => {
                vec![RunEvent::ForeachStopped { step: at.path.clone(), item: item.clone() }]
            }
            Todo::Until(at, _, item) => {
                checked.insert(at.path.iteration(item.clone()));
                Vec::new()
            }
            Todo::Await(..) | Todo::Park(_) => Vec::new(),
            Todo::Entry(key, ..) | Todo::RetryEntry(key, ..) | Todo::ResolveEntry(key, ..) => {
                let fails = self.fails.contains(&entry_words(key).as_str());
                let end =
                    if fails { entry_failed(key.clone(), true) } else { entry_done(key.clone()) };
                vec![entry_started(run, key.clone()), end]
            }
            Todo::Unwind(outcome, _) => vec![unwind(*outcome, true)],
            Todo::Verify(_) => vec![RunEvent::Verified],
            Todo::Finish(outcome, failure) => {
                vec![RunEvent::RunFinished { outcome: *outcome, failure: failure.clone() }]
            }
        }
    }

    fn tried(&self, run: &Run, at: &At<'_>) -> Vec<RunEvent> {
        let path = at.path.to_string();
        let start = is_action(at).then(|| started(run, &path));
        let tries = run.steps.get(&at.path).map_or(1, StepRun::next_try);
        let end = if self.fails.contains(&path.as_str()) {
            failed(&path, at.step.retry.is_last(tries, &failure()))
        } else {
            done(&path, start.is_some() && !self.unchanged.contains(&path.as_str()))
        };
        start.into_iter().chain([end]).collect()
    }
}

fn is_action(at: &At<'_>) -> bool {
    matches!(at.step.kind, StepKind::Action(_))
}

fn is_loop(step: &Step) -> bool {
    matches!(step.kind, StepKind::Foreach { .. })
}
