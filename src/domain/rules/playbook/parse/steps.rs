//! One step: its name, its one action or control key, and what stands beside it.

use std::{collections::BTreeMap, ops::Range, time::Duration};

use super::{Around, Parser, SPAN, condition, scope::Scope};
use crate::domain::rules::{
    action::{ActionSpec, ErrorKind},
    codes,
    diagnostic::position,
    expr::{Schema, Type, near},
    playbook::{
        arguments,
        model::{ActionCall, Arg, Entry, OnError, Retry, Step, StepKind},
        traits::ActionTraits,
    },
    yaml::{
        Key, Node,
        read::{
            Bounds, Fields, Names, Sink, boolean, count, duration, head, list, suggest, text,
            unknown_key, word,
        },
    },
};

/// Keys that make a step something else than an action.
pub(super) const CONTROL: &[&str] = &["foreach", "wait", "expect", "record", "approve", "call"];

/// Tries of one step: at the shortest useful delay of 500 ms a thousand take 8 minutes.
const ATTEMPTS: Bounds<u32> = 1..=1000;
/// Between two tries.
const DELAY: Bounds<Duration> = Duration::ZERO..=Duration::from_hours(1);
/// How long `expect` reads an unknown again where the step does not say.
const EXPECT_TIMEOUT: Duration = Duration::from_secs(30);

/// What stands beside the action or control key, as written.
struct Beside<'n> {
    name: String,
    name_span: Range<usize>,
    when: Option<&'n Node>,
    timeout: Option<(&'n Key, &'n Node)>,
    retry: Option<(&'n Key, &'n Node)>,
    register: Option<(&'n Key, &'n Node)>,
    undo: Option<(&'n Key, &'n Node)>,
    finally: Option<(&'n Key, &'n Node)>,
    irreversible: Option<(&'n Key, &'n Node)>,
    on_error: Option<&'n Node>,
}

/// What a loop or call gives to later steps.
pub(super) struct Gives {
    /// The type of `steps.NAME`.
    pub(super) step: Type,
    /// The type of its output.
    pub(super) output: Type,
}

impl Gives {
    /// An output, and what else stands beside it.
    pub(super) fn new<const N: usize>(output: Type, beside: [(&str, Type); N]) -> Self {
        let fields = beside.into_iter().chain([("output", output.clone())]);
        let fields = fields.map(|(name, ty)| (name.into(), ty));
        Self { step: Type::record_of(fields), output }
    }
}

impl Parser<'_, '_> {
    /// Reads one step and gives its output to `scope`.
    pub(super) fn step(&mut self, node: &Node, scope: &mut Scope, around: Around) -> Option<Step> {
        let mut fields = Fields::of(node, self.sink)?;
        let name = fields.need("name", self.sink);
        let beside = Beside {
            name: String::new(),
            name_span: name.map_or_else(|| fields.span.clone(), |node| node.span.clone()),
            when: fields.get("when"),
            timeout: fields.entry("timeout"),
            retry: fields.entry("retry"),
            register: fields.entry("register"),
            undo: fields.entry("undo"),
            finally: fields.entry("finally"),
            irreversible: fields.entry("irreversible"),
            on_error: fields.get("on_error"),
        };
        let name = name.and_then(|node| Names::Snake.read(node, self.sink)).map(str::to_owned);
        if let Some(name) = &name {
            self.unique(name, &beside.name_span);
        }
        let found = self.kind_key(&mut fields, CONTROL);
        let beside = Beside { name: name.unwrap_or_default(), ..beside };
        let step = found.and_then(|(key, value)| {
            if CONTROL.contains(&key.name.as_str()) {
                self.control_step(key, value, &beside, scope, around)
            } else {
                self.action_step(key, value, &beside, scope, around)
            }
        });
        if step.is_none() {
            // Later steps may still name it: one mistake is one problem.
            let register = beside.register.and_then(|(_, node)| node.as_str());
            scope.forgive(&beside.name, register);
        }
        step
    }

    fn unique(&mut self, name: &str, span: &Range<usize>) {
        if let Some(first) = self.laws.names.get(name) {
            let (line, _) = position(self.sink.text(), first.start);
            let message = format!("there is a step `{name}` already, on line {line}");
            self.sink.add(&codes::DUPLICATE_STEP, span, message);
        } else {
            self.laws.names.insert(name.to_owned(), span.clone());
        }
    }

    /// The one key that says what a step or entry does.
    fn kind_key<'n>(
        &mut self,
        fields: &mut Fields<'n>,
        control: &[&str],
    ) -> Option<(&'n Key, &'n Node)> {
        let known = |key: &Key| {
            control.contains(&key.name.as_str()) || self.catalogue.contains_key(key.name.as_str())
        };
        let rest = fields.rest();
        let (kinds, others): (Vec<_>, Vec<_>) = rest.into_iter().partition(|(key, _)| known(key));
        for (key, _) in &others {
            self.stranger(key, fields, control);
        }
        for (key, _) in kinds.iter().skip(1) {
            let message = format!("`{}` is a second thing to do in one step", key.name);
            self.sink.add_help(&codes::ONE_ACTION, &key.span, message, "make it a step of its own");
        }
        if kinds.is_empty() && others.is_empty() {
            let at = head(self.sink.text(), &fields.span);
            let message = "nothing to do: an action or a control key is missing";
            let help = format!("one of {}, or an action", control.join(", "));
            self.sink.add_help(&codes::ONE_ACTION, &at, message, help);
        }
        kinds.into_iter().next()
    }

    /// A key that is neither a field of a step nor an action.
    fn stranger(&mut self, key: &Key, fields: &Fields<'_>, control: &[&str]) {
        let actions: Vec<&str> = self.catalogue.keys().copied().collect();
        let field = near(&key.name, fields.asked().iter().copied().chain(control.iter().copied()));
        if key.name.contains('.')
            || (field.is_none() && near(&key.name, actions.iter().copied()).is_some())
        {
            let message = format!("there is no action `{}`", key.name);
            let prefix = key.name.split('.').next().unwrap_or("");
            let family = actions.iter().filter(|name| name.starts_with(prefix)).copied();
            let family: Vec<&str> = family.collect();
            let shown = if family.is_empty() { &actions } else { &family };
            self.sink.push(&codes::UNKNOWN_ACTION, &key.span, message, suggest(&key.name, shown));
            return;
        }
        let known: Vec<&str> =
            fields.asked().iter().copied().chain(control.iter().copied()).collect();
        unknown_key(key, &known, self.sink);
    }

    fn action_step(
        &mut self,
        key: &Key,
        value: &Node,
        beside: &Beside<'_>,
        scope: &mut Scope,
        around: Around,
    ) -> Option<Step> {
        let spec = self.catalogue.get(key.name.as_str())?;
        let schema = scope.schema();
        let args = arguments::read(value, key, spec, &schema, self.sink);
        let when = beside.when.map(|node| condition(node, &schema, self.sink));
        let timeout = self.timeout(beside.timeout);
        let retry = beside.retry.map(|(_, node)| retry(node, self.sink));
        let irreversible = self.flag(beside.irreversible);
        let on_error = self.on_error(beside.on_error, irreversible);
        self.action_laws(key, spec, value, beside, irreversible.then_some(around));

        scope.give(&beside.name, Type::record([("output", spec.output.clone())]));
        let register = self.register(beside.register, &spec.output, scope);
        let entries = scope.schema_of_entry(&spec.output);
        let undo = self.entries(beside.undo, &entries);
        let finally = self.entries(beside.finally, &entries);
        Some(Step {
            name: beside.name.clone(),
            kind: StepKind::Action(action_call(spec, args?)),
            when: transpose(when)?,
            timeout: timeout.unwrap_or(spec.timeout),
            retry: retry.unwrap_or_default(),
            register,
            undo,
            finally,
            irreversible,
            on_error,
        })
    }

    fn action_laws(
        &mut self,
        key: &Key,
        spec: &ActionSpec,
        value: &Node,
        beside: &Beside<'_>,
        irreversible: Option<Around>,
    ) {
        if let Some(around) = irreversible {
            self.irreversible(&beside.name_span, around);
            if let Some((undo, _)) = beside.undo {
                let message = "the undo of an irreversible step never runs";
                self.sink.add(&codes::NOT_HERE, &undo.span, message);
            }
        } else if spec.is_final {
            let message = format!("{} cannot be taken back", spec.name);
            let help = "add `irreversible: true`, or move it into `undo` or `finally`";
            self.sink.add_help(&codes::FINAL_FORWARD, &key.span, message, help);
        }
        self.laws.chose_survivor |= spec.chooses;
        if spec.fences && self.laws.irreversible.is_empty() && beside.undo.is_none() {
            let message =
                format!("{} takes down what may serve, and a failure would leave it so", spec.name);
            let help = "add `undo`, or move it behind the point of no return";
            self.sink.add_help(&codes::FENCE_WITHOUT_UNDO, &key.span, message, help);
        }
        let member = value.get("member").and_then(Node::as_str);
        if let Some(member) = member.filter(|_| spec.fences && !self.laws.approved)
            && !guarded(beside.when, member)
        {
            let message =
                format!("{} may take down a member that serves before the run asked", spec.name);
            let variable = member.trim_start_matches("${").trim_end_matches('}');
            let help = format!(
                "put an `approve` step before it, or `when: '!etcd.members[{variable}].serving'`"
            );
            self.sink.add_help(&codes::FENCE_BEFORE_APPROVE, &key.span, message, help);
        }
    }

    fn control_step(
        &mut self,
        key: &Key,
        value: &Node,
        beside: &Beside<'_>,
        scope: &mut Scope,
        around: Around,
    ) -> Option<Step> {
        self.misplaced(key, beside);
        let when = beside.when.map(|node| condition(node, &scope.schema(), self.sink));
        let on_error = self.on_error(beside.on_error, false);
        let timeout = self.timeout(beside.timeout).unwrap_or(EXPECT_TIMEOUT);
        let (kind, gives) = self.control(key, value, (beside, on_error), scope, around);
        let mut register = None;
        if let Some(Gives { step, output }) = gives {
            scope.give(&beside.name, step);
            register = self.register(beside.register, &output, scope);
        } else {
            scope.give(&beside.name, Type::record([]));
        }
        Some(Step {
            name: beside.name.clone(),
            kind: kind?,
            when: transpose(when)?,
            timeout,
            retry: Retry::default(),
            register,
            undo: Vec::new(),
            finally: Vec::new(),
            irreversible: false,
            on_error,
        })
    }

    /// What does not go with a control key.
    fn misplaced(&mut self, key: &Key, beside: &Beside<'_>) {
        let mut misplaced = vec![beside.retry, beside.undo, beside.finally, beside.irreversible];
        if !["foreach", "call"].contains(&key.name.as_str()) {
            misplaced.push(beside.register);
        }
        if ["foreach", "call", "wait", "approve"].contains(&key.name.as_str()) {
            misplaced.push(beside.timeout);
        }
        for (field, _) in misplaced.into_iter().flatten() {
            let message = format!("`{}` does not go with `{}`", field.name, key.name);
            self.sink.add(&codes::NOT_HERE, &field.span, message);
        }
    }

    fn control(
        &mut self,
        key: &Key,
        value: &Node,
        (beside, on_error): (&Beside<'_>, OnError),
        scope: &Scope,
        around: Around,
    ) -> (Option<StepKind>, Option<Gives>) {
        // whether nothing can leave it out
        let always = beside.when.is_none() && around.loops == 0;
        match key.name.as_str() {
            "foreach" => self.foreach(&beside.name, value, scope, around),
            "wait" => (self.wait(value, scope), None),
            "expect" => (self.expect(value, scope), None),
            "record" => (self.record(value, scope), None),
            "approve" => {
                self.laws.approved |= always;
                (self.approve(value, around), None)
            }
            _ => self.call(value, scope, (around, always), on_error),
        }
    }

    fn register(
        &mut self,
        entry: Option<(&Key, &Node)>,
        output: &Type,
        scope: &mut Scope,
    ) -> Option<String> {
        let (_, node) = entry?;
        let name = text(node, self.sink)?;
        scope.name(name, &node.span, output.clone(), self.sink);
        Some(name.to_owned())
    }

    fn timeout(&mut self, entry: Option<(&Key, &Node)>) -> Option<Duration> {
        entry.and_then(|(_, node)| duration(node, &SPAN, self.sink))
    }

    fn flag(&mut self, entry: Option<(&Key, &Node)>) -> bool {
        entry.and_then(|(_, node)| boolean(node, self.sink)).unwrap_or(false)
    }

    fn on_error(&mut self, node: Option<&Node>, irreversible: bool) -> OnError {
        let Some(node) = node else { return OnError::Fail };
        if word(node, &["fail", "continue"], self.sink) != Some("continue") {
            return OnError::Fail;
        }
        if irreversible {
            let message = "an irreversible step that failed cannot be passed over";
            self.sink.add(&codes::IRREVERSIBLE_CONTINUE, &node.span, message);
        }
        OnError::Continue
    }

    /// The entries of `undo` or `finally`.
    fn entries(&mut self, entry: Option<(&Key, &Node)>, schema: &Schema) -> Vec<Entry> {
        let Some(items) = entry.and_then(|(_, node)| list(node, self.sink)) else {
            return Vec::new();
        };
        items.iter().filter_map(|item| self.entry(item, schema)).collect()
    }

    fn entry(&mut self, node: &Node, schema: &Schema) -> Option<Entry> {
        let mut fields = Fields::of(node, self.sink)?;
        let when = fields.get("when");
        let timeout = fields.entry("timeout");
        let retries = fields.get("retry");
        let (key, value) = self.kind_key(&mut fields, &[])?;
        let spec = self.catalogue.get(key.name.as_str())?;
        let args = arguments::read(value, key, spec, schema, self.sink);
        let when = when.map(|node| condition(node, schema, self.sink));
        let timeout = self.timeout(timeout);
        let retry = retries.map(|node| retry(node, self.sink));
        Some(Entry {
            call: action_call(spec, args?),
            when: transpose(when)?,
            timeout: timeout.unwrap_or(spec.timeout),
            retry: retry.unwrap_or_default(),
        })
    }
}

/// `None` where something was written but not understood.
#[expect(clippy::option_option, reason = "absent, not understood and read are three answers")]
fn transpose<T>(read: Option<Option<T>>) -> Option<Option<T>> {
    match read {
        None => Some(None),
        Some(None) => None,
        Some(Some(value)) => Some(Some(value)),
    }
}

/// Whether the step is skipped for a member that serves: the guard is one of conditions that must
/// all hold. Told by the text, so what could turn it round (`||`, `?`, a bracket before it) does
/// not count.
fn guarded(when: Option<&Node>, member: &str) -> bool {
    let Some(condition) = when.and_then(Node::as_str) else { return false };
    let Some(variable) = member.strip_prefix("${").and_then(|rest| rest.strip_suffix('}')) else {
        return false;
    };
    let guard = format!("!etcd.members[{}].serving", variable.trim());
    if condition.contains("||") || condition.contains('?') {
        return false;
    }
    let mut before = condition.split("&&").take_while(|part| !part.contains('('));
    before.any(|part| part.trim() == guard)
}

fn action_call(spec: &ActionSpec, args: BTreeMap<String, Arg>) -> ActionCall {
    ActionCall { action: spec.name.to_owned(), traits: ActionTraits::from(spec), args }
}

fn retry(node: &Node, sink: &mut Sink<'_>) -> Retry {
    let mut retry = Retry::default();
    let Some(mut fields) = Fields::of(node, sink) else { return retry };
    if let Some(attempts) =
        fields.need("attempts", sink).and_then(|node| count(node, &ATTEMPTS, sink))
    {
        retry.attempts = attempts;
    }
    if let Some(delay) = fields.get("delay").and_then(|node| duration(node, &DELAY, sink)) {
        retry.delay = delay;
    }
    let words = ErrorKind::ALL.map(ErrorKind::label);
    for item in fields.get("on").and_then(|node| list(node, sink)).unwrap_or_default() {
        retry.on.extend(word(item, &words, sink).and_then(ErrorKind::parse));
    }
    fields.finish(sink);
    retry
}
