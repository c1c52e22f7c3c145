//! Arguments of actions: read and typed against the catalogue, and checked again when filled.
//!
//! [`read`] works on what is written, before any run; [`check_call`] on the values of one call,
//! right before it is journalled. A hole of type member or host can only be checked there.

use std::collections::BTreeMap;

use super::model::{ActionCall, Arg};
use crate::domain::{
    base::id::EtcdId,
    rules::{
        action::{ActionSpec, ArgSpec, ArgType},
        codes,
        expr::{Schema, Template, Type, Value},
        vocabulary::PLACES,
        yaml::{
            Key, Kind, Node, ScalarValue,
            read::{Fields, Sink, suggest},
        },
    },
    run::plan::Plan,
};

/// Longest text of an argument, in bytes: as long as a template's result may be.
const TEXT_BYTES_MAX: usize = 64 << 10;

/// Reads the arguments of one action; `None` where something is wrong (reported).
pub fn read(
    node: &Node,
    action: &Key,
    spec: &ActionSpec,
    schema: &Schema,
    sink: &mut Sink<'_>,
) -> Option<BTreeMap<String, Arg>> {
    let before = sink.count();
    let mut args = BTreeMap::new();
    if !node.is_null() {
        let mut fields = Fields::of(node, sink)?;
        for wanted in &spec.args {
            let Some(value) = fields.get(wanted.name) else { continue };
            if let Some(arg) = arg(value, &wanted.ty, schema, sink) {
                args.insert(wanted.name.to_owned(), arg);
            }
        }
        let names: Vec<&str> = spec.args.iter().map(|arg| arg.name).collect();
        for (key, _) in fields.rest() {
            let message = format!("{} has no argument `{}`", spec.name, key.name);
            let help = suggest(&key.name, &names).or_else(|| Some("it takes none".to_owned()));
            sink.push(&codes::BAD_ARGUMENT, &key.span, message, help);
        }
    }
    let given = |name: &str| node.get(name).is_some();
    if let Err(message) = complete(spec, given) {
        sink.add(&codes::BAD_ARGUMENT, &action.span, message);
    }
    (sink.count() == before).then_some(args)
}

/// Whether what must be given is given. Where an action takes a member or a host, it takes one.
fn complete(spec: &ActionSpec, given: impl Fn(&str) -> bool) -> Result<(), String> {
    let missing = spec.args.iter().find(|arg| arg.required && !given(arg.name));
    if let Some(ArgSpec { name, help, .. }) = missing {
        return Err(format!("{} needs `{name}`: {help}", spec.name));
    }
    let optional = |name: &str| spec.args.iter().any(|arg| arg.name == name && !arg.required);
    if !(optional("member") && optional("host")) {
        return Ok(());
    }
    let other = if optional("service") { "service" } else { "path" };
    match (given("member"), given("host"), given(other)) {
        (true, false, false) | (false, true, true) => Ok(()),
        (_, _, _) => Err(format!("{} takes either `member`, or `host` and `{other}`", spec.name)),
    }
}

fn arg(node: &Node, ty: &ArgType, schema: &Schema, sink: &mut Sink<'_>) -> Option<Arg> {
    match (&node.kind, ty) {
        (Kind::Scalar(ScalarValue::Str(text), _), _) => {
            let compiled = Template::compile(text, schema);
            let template = compiled.map_err(|problems| sink.expression(node, problems)).ok()?;
            let checked = if template.is_literal() {
                check(ty, &Value::Str(text.as_str().into()), None)
            } else if fits(ty, &template.ty()) {
                Ok(())
            } else {
                Err(format!("{} was expected here, not {}", noun(ty), template.ty()))
            };
            let checked = checked.map_err(|why| sink.add(&codes::BAD_ARGUMENT, &node.span, why));
            checked.ok().map(|()| Arg::Template(template))
        }
        (Kind::Scalar(ScalarValue::Int(whole), _), ArgType::Int | ArgType::Any) => {
            Some(Arg::Literal(Value::Int(*whole)))
        }
        (Kind::Scalar(ScalarValue::Bool(flag), _), ArgType::Any) => {
            Some(Arg::Literal(Value::Bool(*flag)))
        }
        (Kind::Seq(items), ArgType::List(_) | ArgType::Any) => {
            let inner = inner(ty);
            let read: Vec<_> = items.iter().map(|item| arg(item, inner, schema, sink)).collect();
            read.into_iter().collect::<Option<_>>().map(Arg::List)
        }
        (Kind::Map(pairs), ArgType::Map(_) | ArgType::Any) => {
            let inner = inner(ty);
            let read: Vec<_> = pairs
                .iter()
                .map(|(key, value)| Some((key.name.clone(), arg(value, inner, schema, sink)?)))
                .collect();
            read.into_iter().collect::<Option<_>>().map(Arg::Map)
        }
        (_, _) => {
            let message = format!("{} was expected here, not {}", noun(ty), node.noun());
            sink.add(&codes::BAD_ARGUMENT, &node.span, message);
            None
        }
    }
}

fn inner(ty: &ArgType) -> &ArgType {
    match ty {
        ArgType::List(inner) | ArgType::Map(inner) => inner,
        ArgType::Member
        | ArgType::Host
        | ArgType::Node
        | ArgType::Id
        | ArgType::Place
        | ArgType::Word(_)
        | ArgType::Text
        | ArgType::Path
        | ArgType::Int
        | ArgType::Any => &ArgType::Any,
    }
}

/// Whether a template of this type can fill an argument.
fn fits(ty: &ArgType, given: &Type) -> bool {
    if *given == Type::Any {
        return true;
    }
    match ty {
        ArgType::Any => true,
        ArgType::Int => *given == Type::Int,
        ArgType::Word(words) => {
            let all = |got: &&[&str]| got.iter().all(|word| words.contains(word));
            *given == Type::Str || matches!(given, Type::Word(got) if all(got))
        }
        ArgType::Member
        | ArgType::Host
        | ArgType::Node
        | ArgType::Id
        | ArgType::Place
        | ArgType::Text
        | ArgType::Path => matches!(given, Type::Str | Type::Word(_)),
        ArgType::List(inner) => matches!(given, Type::List(item) if fits(inner, item)),
        ArgType::Map(inner) => {
            matches!(given, Type::Map(value) if fits(inner, value))
                || matches!(given, Type::Record(fields) if fields.values().all(|ty| fits(inner, ty)))
        }
    }
}

/// What a person calls the type.
fn noun(ty: &ArgType) -> String {
    match ty {
        ArgType::Member => "the name of a member".into(),
        ArgType::Host => "the name of a host".into(),
        ArgType::Node => "the name of a node".into(),
        ArgType::Id => "an id of 16 hex digits".into(),
        ArgType::Place => format!("one of {}", PLACES.join(", ")),
        ArgType::Word(words) => format!("one of {}", words.join(", ")),
        ArgType::Text => "a text".into(),
        ArgType::Path => "a path".into(),
        ArgType::Int => "a whole number".into(),
        ArgType::List(_) => "a list".into(),
        ArgType::Map(_) => "a map".into(),
        ArgType::Any => "anything".into(),
    }
}

/// Checks one value; names only where there is a plan.
fn check(ty: &ArgType, value: &Value, plan: Option<&Plan>) -> Result<(), String> {
    let wrong = || format!("{} was expected here", noun(ty));
    match ty {
        ArgType::Any => Ok(()),
        ArgType::Int => value.as_int().map(|_| ()).ok_or_else(wrong),
        ArgType::List(inner) => {
            let items = value.as_list().ok_or_else(wrong)?;
            items.iter().try_for_each(|item| check(inner, item, plan))
        }
        ArgType::Map(inner) => {
            let entries = value.as_map().ok_or_else(wrong)?;
            entries.values().try_for_each(|item| check(inner, item, plan))
        }
        ArgType::Member
        | ArgType::Host
        | ArgType::Node
        | ArgType::Id
        | ArgType::Place
        | ArgType::Word(_)
        | ArgType::Text
        | ArgType::Path => check_text(ty, value.as_str().ok_or_else(wrong)?, plan),
    }
}

fn check_text(ty: &ArgType, text: &str, plan: Option<&Plan>) -> Result<(), String> {
    let wrong = || format!("{} was expected here, not {text:?}", noun(ty));
    let one_of = |words: &[&str]| if words.contains(&text) { Ok(()) } else { Err(wrong()) };
    match ty {
        ArgType::Member => match plan {
            Some(plan) if !plan.members.iter().any(|name| name.as_str() == text) => {
                Err(format!("{text:?} is no member of this run"))
            }
            Some(_) | None => Ok(()),
        },
        ArgType::Host => match plan {
            Some(plan) if !plan.hosts.iter().any(|name| name.as_str() == text) => {
                Err(format!("{text:?} is no host of this run"))
            }
            Some(_) | None => Ok(()),
        },
        ArgType::Node if plan.is_some() => Err(format!("{text:?} is no node of this run")),
        ArgType::Id if text.len() != 16 || EtcdId::parse(text).is_none() => Err(wrong()),
        ArgType::Place => one_of(PLACES),
        ArgType::Word(words) => one_of(words),
        ArgType::Path if !text.starts_with('/') || text.split('/').any(|part| part == "..") => {
            Err(format!("{text:?} is no absolute path without `..`"))
        }
        ArgType::Text if text.len() > TEXT_BYTES_MAX || text.contains('\0') => {
            Err(format!("a text of at most {TEXT_BYTES_MAX} bytes without NUL was expected here"))
        }
        ArgType::Node
        | ArgType::Id
        | ArgType::Text
        | ArgType::Path
        | ArgType::Int
        | ArgType::List(_)
        | ArgType::Map(_)
        | ArgType::Any => Ok(()),
    }
}

/// Checks the filled arguments of a call against the catalogue and the plan's lists.
///
/// The error names the argument and is for people. Nothing that fails here may be done.
pub fn check_call(
    spec: &ActionSpec,
    args: &BTreeMap<String, Value>,
    plan: &Plan,
) -> Result<(), String> {
    for (name, value) in args {
        let wanted = spec.args.iter().find(|arg| arg.name == name.as_str());
        let wanted = wanted.ok_or_else(|| format!("{} has no argument `{name}`", spec.name))?;
        check(&wanted.ty, value, Some(plan))
            .map_err(|why| format!("{}: {name}: {why}", spec.name))?;
    }
    complete(spec, |name| args.contains_key(name))
}

/// The expressions a call holds, in order, for the commands a person is shown.
pub fn holes(call: &ActionCall) -> Vec<&Template> {
    fn walk<'a>(arg: &'a Arg, found: &mut Vec<&'a Template>) {
        match arg {
            Arg::Template(template) if !template.is_literal() => found.push(template),
            Arg::Template(_) | Arg::Literal(_) => {}
            Arg::List(items) => items.iter().for_each(|item| walk(item, found)),
            Arg::Map(entries) => entries.values().for_each(|item| walk(item, found)),
        }
    }
    let mut found = Vec::new();
    call.args.values().for_each(|arg| walk(arg, &mut found));
    found
}
