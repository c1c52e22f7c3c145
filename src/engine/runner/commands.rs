//! Every command of a playbook, for a person who approves. Nothing is asked and nothing is done.

use std::collections::BTreeMap;

use crate::{
    domain::{
        base::{id::RunId, time::Time},
        rules::{
            action::Call,
            bindings::{self, Bindings},
            expr::{Expr, Value},
            playbook::{
                model::{ActionCall, Arg, Playbook, Step, StepKind},
                params::Param,
            },
        },
        run::{path::Path, state::Run, values},
    },
    engine::{
        state::{Look, Watched},
        variables,
    },
};

/// Every command of a playbook in order, for a person, as it would be carried out on the patient as
/// it was last seen; what depends on an output that nobody can know yet is shown as `<…>`.
pub fn commands(playbook: &Playbook, watched: &Watched, now: Time) -> Vec<String> {
    let mut values = BTreeMap::new();
    if let Some(look) = &watched.look {
        variables::add_look(&mut values, look);
    }
    values.extend(expected_choice(playbook, watched));
    let run = RunId(uuid::Uuid::nil());
    Listing::new(watched, values, run, None, now).of(&playbook.steps)
}

/// What is left of a run, with what it knows by now.
pub(super) fn commands_left(run: &Run, watched: &Watched, look: &Look, now: Time) -> Vec<String> {
    let mut values = values::names(run, &Path::root());
    variables::add_look(&mut values, look);
    Listing::new(watched, values, run.id, Some(run), now).of(&run.plan.steps)
}

/// The survivor that the choice would come to by what was last seen, under the name the playbook
/// gives it.
fn expected_choice(playbook: &Playbook, watched: &Watched) -> Option<(String, Value)> {
    let look = watched.look.as_ref()?;
    let survivor = look.survivor.as_deref()?;
    let is_choice =
        |step: &&Step| matches!(&step.kind, StepKind::Action(call) if call.traits.chooses);
    let name = playbook.steps.iter().find(is_choice)?.register.clone()?;
    let names = watched.inventory.etcd.members.iter().map(|member| member.name.as_str());
    let others = names.filter(|name| *name != survivor).map(Value::str).collect();
    let fields = [("member", Value::str(survivor)), ("others", Value::list(others))];
    Some((name, Value::map(fields)))
}

/// The loop variables of a place, with what is shown for each.
type Shown = Vec<(String, String)>;

struct Listing<'a> {
    watched: &'a Watched,
    roots: Bindings,
    id: RunId,
    run: Option<&'a Run>,
    out: Vec<String>,
}

impl<'a> Listing<'a> {
    fn new(
        watched: &'a Watched,
        mut values: BTreeMap<String, Value>,
        id: RunId,
        run: Option<&'a Run>,
        now: Time,
    ) -> Self {
        values.insert("cluster".into(), bindings::cluster_value(&watched.inventory));
        let roots = Bindings { values, cluster: watched.inventory.clone(), now };
        Self { watched, roots, id, run, out: Vec::new() }
    }

    fn of(mut self, steps: &[Step]) -> Vec<String> {
        self.list(steps, &Path::root(), &Shown::new());
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
                StepKind::Call { playbook, with, params, steps } => {
                    self.note(&path, &format!("the steps of {playbook}"));
                    self.call(&path, (with, params), steps, shown);
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
        let known = items.eval(&self.roots).ok();
        let known = known.as_ref().and_then(Value::as_list).map(|list| {
            list.iter().filter_map(Value::as_str).map(str::to_owned).collect::<Vec<_>>()
        });
        for name in known.unwrap_or_else(|| vec![format!("<{item}>")]) {
            let mut inner = shown.clone();
            inner.push((item.to_owned(), name.clone()));
            let hidden = self.roots.values.insert(item.to_owned(), Value::str(name.as_str()));
            self.list(steps, &path.iteration(name.as_str()), &inner);
            match hidden {
                Some(hidden) => self.roots.values.insert(item.to_owned(), hidden),
                None => self.roots.values.remove(item),
            };
        }
    }

    /// The called steps see their own parameters and steps, nothing of the caller's.
    fn call(
        &mut self,
        path: &Path,
        (with, params): (&BTreeMap<String, Arg>, &[Param]),
        steps: &[Step],
        shown: &Shown,
    ) {
        let values = if let Some(run) = self.run.filter(|run| run.calls.contains_key(path)) {
            values::names(run, path)
        } else {
            let given = params.iter().filter_map(|param| {
                let value = match with.get(&param.name) {
                    Some(arg) => arg.fill(&self.roots).unwrap_or_else(|_| self::shown(arg, shown)),
                    None => param.default.clone()?,
                };
                Some((param.name.as_str(), value))
            });
            [("params".to_owned(), Value::map(given))].into()
        };
        let outer = self.roots.values.clone();
        for own in ["params", "steps"] {
            self.roots.values.remove(own);
        }
        self.roots.values.extend(values);
        self.list(steps, path, &Shown::new());
        self.roots.values = outer;
    }

    fn action(&mut self, path: &Path, step: &Step, call: &ActionCall, shown: &Shown) {
        let fill = |arg: &Arg| arg.fill(&self.roots).unwrap_or_else(|_| self::shown(arg, shown));
        let args = call.args.iter().map(|(name, arg)| (name.clone(), fill(arg)));
        let args = args.collect();
        let when = step.when.as_ref();
        let when =
            when.map_or(String::new(), |when| format!(" (when {})", one_line(when.source())));
        self.note(path, &format!("{}{when}", call.action));
        let call = Call { action: call.action.clone(), args, run: self.id, started_at: Time(0) };
        self.out.extend(self.watched.patient.commands(&call));
    }

    fn note(&mut self, path: &Path, what: &str) {
        self.out.push(format!("# {path}: {what}"));
    }
}

fn one_line(source: &str) -> String {
    source.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn shown(arg: &Arg, names: &Shown) -> Value {
    match arg {
        Arg::Literal(value) => value.clone(),
        Arg::Template(template) => {
            let source = template.source();
            let found = names.iter().find(|(name, _)| source == format!("${{{name}}}"));
            let text = found.map_or_else(
                || source.replace("${", "<").replace('}', ">"),
                |(_, shown)| shown.clone(),
            );
            Value::str(text)
        }
        Arg::List(items) => Value::list(items.iter().map(|item| shown(item, names)).collect()),
        Arg::Map(fields) => Value::map(fields.iter().map(|(n, a)| (n.as_str(), shown(a, names)))),
    }
}
