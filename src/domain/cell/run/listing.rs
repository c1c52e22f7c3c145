//! Every command of a plan, for a person who approves. Nothing is asked and nothing is done.

use std::collections::BTreeMap;

use super::step::args_of;
use crate::domain::{
    base::{id::RunId, time::Time},
    cell::{Cell, variables::add_look},
    etcd::observation::Observation,
    rules::{
        action::Call,
        bindings::{self, Bindings},
        expr::{Expr, Value},
        playbook::model::{ActionCall, Arg, Entry, Step, StepKind},
    },
    run::{
        event::EntryKey,
        path::Path,
        plan::Plan,
        state::{Run, StepRun},
        values,
    },
};

/// Every command of a plan in order, for a person, as it would be carried out on the cluster as it
/// was last seen; what depends on an output that nobody can know yet is shown as `<…>`.
pub fn commands(plan: &Plan, cell: &Cell, now: Time) -> Vec<String> {
    let mut values = BTreeMap::new();
    let params = plan.params.iter().map(|(name, value)| (name.as_str(), value.clone()));
    values.insert("params".into(), Value::map(params));
    if let Some(look) = cell.look() {
        add_look(&mut values, look);
    }
    values.extend(expected_choice(plan, cell));
    Listing::new(cell, values, RunId(uuid::Uuid::nil()), None, now).of(plan)
}

/// What is left of a run, with what it knows by now.
pub(super) fn commands_left(run: &Run, cell: &Cell, look: &Observation, now: Time) -> Vec<String> {
    let mut values = values::names(run, &Path::root());
    add_look(&mut values, look);
    Listing::new(cell, values, run.id, Some(run), now).of(&run.plan)
}

/// What the plan does, past its point of no return, to one member that is not in yet.
pub(in crate::domain::cell) fn member_commands(
    run: &Run,
    cell: &Cell,
    member: &str,
    now: Time,
) -> Vec<String> {
    let passed = run.past_return.as_ref().and_then(|path| path.segs().first());
    let Some(passed) = passed else { return Vec::new() };
    let mut listing = Listing::new(cell, known(run, &Path::root(), cell), run.id, None, now);
    let after = run.plan.steps.iter().skip_while(|step| step.name.as_str() != &*passed.name);
    for step in after.skip(1) {
        if let StepKind::Foreach { item, steps, .. } = &step.kind
            && steps.iter().any(|step| matches!(step.kind, StepKind::Action(_)))
        {
            let path = Path::root().step(step.name.as_str());
            listing.iteration(&path, item, member.to_owned(), steps, &Shown::new());
        }
    }
    listing.out
}

/// What starts a member of the cluster that the run left: what passed the point of no return, of
/// this member. Empty where that started nothing.
pub(in crate::domain::cell) fn start_commands(run: &Run, cell: &Cell, member: &str) -> Vec<String> {
    let step = run.past_return.as_ref().and_then(|path| run.plan.step(path));
    let Some(StepKind::Action(action)) = step.map(|step| &step.kind) else { return Vec::new() };
    if !action.traits.releases {
        return Vec::new();
    }
    let args = BTreeMap::from([("member".to_owned(), Value::str(member))]);
    let (action, run) = (action.action.clone(), run.id);
    cell.setup.commands.commands(&Call { action, args, run, started_at: Time(0) })
}

/// The commands of one entry of `undo` or `finally`: as it was started, else as it would be.
pub(in crate::domain::cell) fn entry_commands(
    run: &Run,
    cell: &Cell,
    key: &EntryKey,
    entry: &Entry,
    now: Time,
) -> Vec<String> {
    let started = run.entries.get(key).filter(|row| row.started);
    let args = if let Some(row) = started {
        args_of(&row.args)
    } else {
        let mut values = known(run, &key.step.scope(), cell);
        let output = run.steps.get(&key.step).and_then(StepRun::output);
        let output = output.and_then(Value::from_json).map(|output| ("output", output));
        values.insert("self".into(), Value::map(output));
        let listing = Listing::new(cell, values, run.id, Some(run), now);
        listing.args(&entry.call, &Shown::new())
    };
    let action = entry.call.action.clone();
    cell.setup.commands.commands(&Call { action, args, run: run.id, started_at: Time(0) })
}

/// What a run's expressions see in a scope, by the last look.
fn known(run: &Run, scope: &Path, cell: &Cell) -> BTreeMap<String, Value> {
    let mut values = values::names(run, scope);
    if let Some(look) = cell.look() {
        add_look(&mut values, look);
    }
    values
}

/// The survivor that the choice would come to by what was last seen, under the name the playbook
/// gives it.
fn expected_choice(plan: &Plan, cell: &Cell) -> Option<(String, Value)> {
    let survivor = cell.look()?.survivor.as_deref()?;
    let is_choice =
        |step: &&Step| matches!(&step.kind, StepKind::Action(action) if action.traits.chooses);
    let name = plan.steps.iter().find(is_choice)?.register.clone()?;
    let names = cell.inventory().etcd.members.iter().map(|member| member.name.as_str());
    let others = names.filter(|name| *name != survivor).map(Value::str).collect();
    let fields = [("member", Value::str(survivor)), ("others", Value::list(others))];
    Some((name, Value::map(fields)))
}

/// Loop variables and what is shown for them.
type Shown = Vec<(String, String)>;

struct Listing<'a> {
    cell: &'a Cell,
    bindings: Bindings,
    id: RunId,
    run: Option<&'a Run>,
    out: Vec<String>,
}

impl<'a> Listing<'a> {
    fn new(
        cell: &'a Cell,
        mut values: BTreeMap<String, Value>,
        id: RunId,
        run: Option<&'a Run>,
        now: Time,
    ) -> Self {
        values.insert("cluster".into(), bindings::cluster_value(cell.inventory()));
        let bindings = Bindings { values, cluster: cell.inventory().clone(), now };
        Self { cell, bindings, id, run, out: Vec::new() }
    }

    fn of(mut self, plan: &Plan) -> Vec<String> {
        self.list(&plan.steps, &Path::root(), &Shown::new());
        self.out
    }

    fn list(&mut self, steps: &[Step], scope: &Path, shown: &Shown) {
        for step in steps {
            let path = scope.step(step.name.as_str());
            if self.run.is_some_and(|run| run.steps.contains_key(&path)) {
                continue; // done, or the question itself
            }
            match &step.kind {
                StepKind::Foreach { item, steps, items, .. } => {
                    if self.run.is_none_or(|run| !run.items.contains_key(&path)) {
                        self.foreach(&path, items, item, steps, shown);
                    }
                }
                StepKind::Call { playbook, steps, .. } => {
                    if self.run.is_none_or(|run| !run.calls.contains_key(&path)) {
                        self.note(&path, &format!("calls {playbook}"));
                        self.list(steps, &path, &Shown::new());
                    }
                }
                StepKind::Action(call) => self.action(&path, step, call, shown),
                StepKind::Wait { until, .. } => {
                    self.note(&path, &format!("wait until {}", one_line(until.source())));
                }
                StepKind::Expect { that, .. } => {
                    self.note(&path, &format!("expect {}", one_line(that.source())));
                }
                StepKind::RecordLoss { .. } => self.note(&path, "record the loss"),
                StepKind::RecordNote(_) => self.note(&path, "record a note"),
                StepKind::Approve(_) => self.note(&path, "a person is asked"),
            }
        }
    }

    fn foreach(&mut self, path: &Path, items: &Expr, item: &str, steps: &[Step], shown: &Shown) {
        self.note(path, &format!("for each {item} in {}", one_line(items.source())));
        let known = items.eval(&self.bindings).ok();
        let known = known.as_ref().and_then(Value::as_list).map(|list| {
            list.iter().filter_map(Value::as_str).map(str::to_owned).collect::<Vec<_>>()
        });
        for name in known.unwrap_or_else(|| vec![format!("<{item}>")]) {
            self.iteration(path, item, name, steps, shown);
        }
    }

    fn iteration(&mut self, path: &Path, item: &str, name: String, steps: &[Step], shown: &Shown) {
        let mut inner = shown.clone();
        inner.push((item.to_owned(), name.clone()));
        let hidden = self.bindings.values.insert(item.to_owned(), Value::str(name.as_str()));
        self.list(steps, &path.iteration(name), &inner);
        match hidden {
            Some(hidden) => self.bindings.values.insert(item.to_owned(), hidden),
            None => self.bindings.values.remove(item),
        };
    }

    fn args(&self, call: &ActionCall, shown: &Shown) -> BTreeMap<String, Value> {
        let fill = |arg: &Arg| arg.fill(&self.bindings).unwrap_or_else(|_| placeholder(arg, shown));
        call.args.iter().map(|(name, arg)| (name.clone(), fill(arg))).collect()
    }

    fn action(&mut self, path: &Path, step: &Step, call: &ActionCall, shown: &Shown) {
        let args = self.args(call, shown);
        let when = step.when.as_ref();
        let when =
            when.map_or(String::new(), |when| format!(" (when {})", one_line(when.source())));
        self.note(path, &format!("{}{when}", call.action));
        let call = Call { action: call.action.clone(), args, run: self.id, started_at: Time(0) };
        self.out.extend(self.cell.setup.commands.commands(&call));
    }

    fn note(&mut self, path: &Path, what: &str) {
        self.out.push(format!("# {path}: {what}"));
    }
}

fn one_line(source: &str) -> String {
    source.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn placeholder(arg: &Arg, shown: &Shown) -> Value {
    match arg {
        Arg::Literal(value) => value.clone(),
        Arg::Template(template) => {
            let source = template.source();
            let named = shown.iter().find(|(name, _)| source == format!("${{{name}}}"));
            let text = named.map_or_else(
                || source.replace("${", "<").replace('}', ">"),
                |(_, shown)| shown.clone(),
            );
            Value::str(text)
        }
        Arg::List(items) => {
            Value::list(items.iter().map(|item| placeholder(item, shown)).collect())
        }
        Arg::Map(fields) => {
            Value::map(fields.iter().map(|(n, a)| (n.as_str(), placeholder(a, shown))))
        }
    }
}
