//! `call`: the steps of another playbook, taken in where they are called.
//!
//! Playbooks are read in such an order that a called one is read before its caller; what the
//! caller must know of it stands in its [`Outline`]. What is taken in is the resolved tree, so that a
//! run never looks a playbook up.

use std::{collections::BTreeMap, ops::Range, sync::Arc, time::Duration};

use super::{Around, Parser, control::LOOPS_MAX, scope::Scope, steps::Gives};
use crate::domain::{
    base::id::PlaybookName,
    rules::{
        codes,
        expr::{Expr, Template},
        playbook::{
            arguments,
            model::{Arg, OnError, Outline, Playbook, Retry, Step, StepKind, VERIFY_TIMEOUT},
            params::Param,
        },
        yaml::{
            Kind, Node,
            read::{Fields, Names, suggest},
        },
    },
};

/// Calls inside each other: a repair that is built of parts that are built of parts is three.
const CALLS_MAX: usize = 3;
/// Steps of a playbook with all that it calls: four times the longest list of steps.
const STEPS_TOTAL_MAX: usize = 400;
/// Between two looks at the `verify` of a called playbook.
const VERIFY_POLL: Duration = Duration::from_millis(500);

/// What is known of the playbooks that may be called.
#[derive(Debug, Default)]
pub struct Callees {
    /// Those that were read.
    pub read: BTreeMap<PlaybookName, Arc<Playbook>>,
    /// For each that leads back to itself, the names on the way.
    pub circles: BTreeMap<PlaybookName, Vec<PlaybookName>>,
    /// Every name that was given, also by documents with errors.
    pub names: Vec<String>,
}

/// The names of the playbooks that a spec calls, told without reading it.
pub fn called(spec: &Node) -> Vec<PlaybookName> {
    let mut found = Vec::new();
    collect(spec.get("steps"), &mut found);
    found
}

fn collect(steps: Option<&Node>, found: &mut Vec<PlaybookName>) {
    let Some(Kind::Seq(steps)) = steps.map(|node| &node.kind) else { return };
    for step in steps {
        let name = step.get("call").and_then(|call| call.get("playbook")?.as_str());
        found.extend(name.map(PlaybookName::from));
        collect(step.get("foreach").and_then(|looped| looped.get("do")), found);
    }
}

impl Parser<'_, '_> {
    /// The call, and what it gives. `always`: nothing can leave it out.
    pub(super) fn call(
        &mut self,
        node: &Node,
        scope: &Scope,
        (around, always): (Around, bool),
        on_error: OnError,
    ) -> (Option<StepKind>, Option<Gives>) {
        let Some(mut fields) = Fields::of(node, self.sink) else { return (None, None) };
        let name = fields.need("playbook", self.sink);
        let with = fields.get("with");
        fields.finish(self.sink);
        let Some(at) = name else { return (None, None) };
        let Some(name) = Names::Kebab.read(at, self.sink) else { return (None, None) };
        let Some(callee) = self.callee(name, &at.span) else { return (None, None) };
        let with = self.with(with, &callee, &at.span, scope);
        self.call_laws(&callee, &at.span, around, on_error);
        self.laws.approved |= always && callee.outline.asks;
        let kind = with.map(|with| StepKind::Call {
            playbook: callee.name.clone(),
            with,
            params: callee.params.clone(),
            steps: with_verify(&callee),
        });
        (kind, Some(Gives::new(callee.outline.output.clone(), [])))
    }

    fn callee(&mut self, name: &str, span: &Range<usize>) -> Option<Arc<Playbook>> {
        if let Some(callee) = self.callees.read.get(name) {
            return Some(callee.clone());
        }
        let known: Vec<&str> = self.callees.names.iter().map(String::as_str).collect();
        if let Some(circle) = self.callees.circles.get(name) {
            let names: Vec<_> = circle.iter().map(PlaybookName::as_str).collect();
            let message = format!("`{name}` leads back to itself: {}", names.join(" calls "));
            self.sink.add(&codes::CALL_CIRCLE, span, message);
        } else if known.contains(&name) {
            let message = format!("the playbook `{name}` has problems of its own");
            self.sink.add(&codes::UNKNOWN_PLAYBOOK, span, message);
        } else {
            let message = format!("there is no playbook `{name}`");
            self.sink.push(&codes::UNKNOWN_PLAYBOOK, span, message, suggest(name, &known));
        }
        None
    }

    /// What the called playbook is given.
    fn with(
        &mut self,
        node: Option<&Node>,
        callee: &Playbook,
        span: &Range<usize>,
        scope: &Scope,
    ) -> Option<BTreeMap<String, Arg>> {
        let before = self.sink.count();
        let mut given = BTreeMap::new();
        let mut named = Vec::new();
        if let Some(mut fields) = node.and_then(|node| Fields::of(node, self.sink)) {
            for (key, value) in fields.rest() {
                named.push(key.name.as_str());
                let Some(arg) = self.given(value, scope) else { continue };
                let fits = with_param(callee, &key.name, &arg);
                if let Err((message, help)) = fits {
                    self.sink.push(&codes::BAD_WITH, &value.span, message, help);
                }
                given.insert(key.name.clone(), arg);
            }
        }
        for param in missing(&callee.params, |name| named.contains(&name)) {
            let message = format!("{} needs the parameter `{}`", callee.name, param.name);
            let help = format!("add `with: {{{}: …}}`", param.name);
            self.sink.add_help(&codes::BAD_WITH, span, message, help);
        }
        (self.sink.count() == before).then_some(given)
    }

    fn given(&mut self, node: &Node, scope: &Scope) -> Option<Arg> {
        if let Some(source) = node.as_str() {
            let compiled = Template::compile(source, &scope.schema());
            return match compiled {
                Ok(template) => Some(Arg::Template(template)),
                Err(problems) => {
                    self.sink.expression(node, problems);
                    None
                }
            };
        }
        let value = super::literal(node);
        if value.is_none() {
            self.sink.wanted(node, "a parameter's value");
        }
        value.map(Arg::Literal)
    }

    /// What the called playbook makes true of its caller.
    fn call_laws(
        &mut self,
        callee: &Playbook,
        span: &Range<usize>,
        around: Around,
        on_error: OnError,
    ) {
        let outline = &callee.outline;
        if callee.destroys > self.destroys {
            let message = format!(
                "{} destroys {}, which this playbook does not say",
                callee.name,
                callee.destroys.label()
            );
            let help = format!("write `destroys: {}` in its spec", callee.destroys.label());
            self.sink.add_help(&codes::DESTROYS_LESS, span, message, help);
        }
        if outline.irreversible {
            self.irreversible(span, around);
            if on_error == OnError::Continue {
                let message = "a call that cannot be taken back cannot be passed over";
                self.sink.add(&codes::IRREVERSIBLE_CONTINUE, span, message);
            }
        }
        if outline.asks {
            self.question(span, around);
        }
        self.bounds(outline, span, around);
        self.laws.chose_survivor |= outline.chooses;
        self.laws.recorded_loss |= outline.records_loss;
        self.laws
            .questions
            .extend(outline.questions.iter().map(|show| (span.clone(), show.clone())));
        let own = (callee.name.clone(), outline.document.clone());
        self.called.extend(outline.called.clone().into_iter().chain([own]));
    }

    fn bounds(&mut self, outline: &Outline, span: &Range<usize>, around: Around) {
        let laws = &mut self.laws;
        laws.loops = laws.loops.max(around.loops + outline.loops);
        laws.calls = laws.calls.max(outline.calls + 1);
        laws.steps += outline.steps;
        let (loops, calls, steps) = (around.loops + outline.loops, laws.calls, laws.steps);
        for (count, most, what) in [
            (loops, LOOPS_MAX, "loops inside each other"),
            (calls, CALLS_MAX, "calls inside each other"),
            (steps, STEPS_TOTAL_MAX, "steps in all"),
        ] {
            if count > most {
                let message = format!("more than {most} {what}, with those of what is called");
                self.sink.add(&codes::OUT_OF_RANGE, span, message);
            }
        }
    }
}

/// Whether a value fits a parameter; the error is a message and perhaps a help.
pub fn with_param(
    playbook: &Playbook,
    name: &str,
    arg: &Arg,
) -> Result<(), (String, Option<String>)> {
    let names: Vec<&str> = playbook.params.iter().map(|param| param.name.as_str()).collect();
    match playbook.params.iter().find(|param| param.name == name) {
        None => {
            let message = format!("{} has no parameter `{name}`", playbook.name);
            Err((message, suggest(name, &names)))
        }
        Some(param) => arguments::fits_param(param, arg).map_err(|message| (message, None)),
    }
}

/// The parameters that must be given and are not.
pub fn missing(params: &[Param], given: impl Fn(&str) -> bool) -> impl Iterator<Item = &Param> {
    params.iter().filter(move |param| param.required && !given(&param.name))
}

/// The called steps, and after them what must come true at their end.
fn with_verify(callee: &Playbook) -> Vec<Step> {
    let mut steps = callee.steps.clone();
    steps.extend(callee.verify.clone().map(|until| verify_step(until, &steps)));
    steps
}

fn verify_step(until: Expr, steps: &[Step]) -> Step {
    let mut name = "verify".to_owned();
    while steps.iter().any(|step| step.name == name) {
        name.push('_');
    }
    let (hold, timeout, poll) = (Duration::ZERO, VERIFY_TIMEOUT, VERIFY_POLL);
    Step {
        name,
        kind: StepKind::Wait { until, hold, timeout, poll },
        when: None,
        timeout,
        retry: Retry::default(),
        register: None,
        undo: Vec::new(),
        finally: Vec::new(),
        irreversible: false,
        on_error: OnError::Fail,
    }
}
