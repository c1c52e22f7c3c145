//! Arguments of actions: read and typed against the catalogue, and checked again when filled.
//!
//! [`read`] works on what is written, before any run; [`check_call`] on the values of one call,
//! right before it is journalled. A hole of type member or host can only be checked there.

use std::collections::BTreeMap;

use super::{
    model::Arg,
    params::{Param, ParamType},
    traits::{ActionTraits, Shape},
};
use crate::domain::{
    base::id::EtcdId,
    rules::{
        action::ActionSpec,
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
            if let Some(arg) = arg(value, &Shape::from(&wanted.ty), schema, sink) {
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
    if let Err(message) = complete(spec.name, &ActionTraits::from(spec), given) {
        let missing = spec.args.iter().find(|arg| arg.required && !given(arg.name));
        let help = missing.map_or(String::new(), |arg| format!(": {}", arg.help));
        sink.add(&codes::BAD_ARGUMENT, &action.span, format!("{message}{help}"));
    }
    (sink.count() == before).then_some(args)
}

/// Whether what must be given is given. Where an action takes a member or a host, it takes one.
fn complete(
    action: &str,
    traits: &ActionTraits,
    given: impl Fn(&str) -> bool,
) -> Result<(), String> {
    let missing = traits.takes.iter().find(|(name, takes)| takes.required && !given(name));
    if let Some((name, _)) = missing {
        return Err(format!("{action} needs `{name}`"));
    }
    let optional = |name: &str| traits.takes.get(name).is_some_and(|takes| !takes.required);
    if !(optional("member") && optional("host")) {
        return Ok(());
    }
    let other = if optional("service") { "service" } else { "path" };
    match (given("member"), given("host"), given(other)) {
        (true, false, false) | (false, true, true) => Ok(()),
        (_, _, _) => Err(format!("{action} takes either `member`, or `host` and `{other}`")),
    }
}

fn arg(node: &Node, ty: &Shape, schema: &Schema, sink: &mut Sink<'_>) -> Option<Arg> {
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
        (Kind::Scalar(ScalarValue::Int(whole), _), Shape::Int | Shape::Any) => {
            Some(Arg::Literal(Value::Int(*whole)))
        }
        (Kind::Scalar(ScalarValue::Bool(flag), _), Shape::Any) => {
            Some(Arg::Literal(Value::Bool(*flag)))
        }
        (Kind::Seq(items), Shape::List(_) | Shape::Any) => {
            let inner = inner(ty);
            let read: Vec<_> = items.iter().map(|item| arg(item, inner, schema, sink)).collect();
            read.into_iter().collect::<Option<_>>().map(Arg::List)
        }
        (Kind::Map(pairs), Shape::Map(_) | Shape::Any) => {
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

fn inner(ty: &Shape) -> &Shape {
    match ty {
        Shape::List(inner) | Shape::Map(inner) => inner,
        Shape::Member
        | Shape::Host
        | Shape::Node
        | Shape::Id
        | Shape::Place
        | Shape::Word(_)
        | Shape::Text
        | Shape::Path
        | Shape::Int
        | Shape::Any => &Shape::Any,
    }
}

/// Whether a template of this type can fill an argument.
fn fits(ty: &Shape, given: &Type) -> bool {
    if *given == Type::Any {
        return true;
    }
    match ty {
        Shape::Any => true,
        Shape::Int => *given == Type::Int,
        Shape::Word(words) => {
            let known = |word: &&str| words.iter().any(|known| known == word);
            let all = |got: &&[&str]| got.iter().all(known);
            *given == Type::Str || matches!(given, Type::Word(got) if all(got))
        }
        Shape::Member
        | Shape::Host
        | Shape::Node
        | Shape::Id
        | Shape::Place
        | Shape::Text
        | Shape::Path => matches!(given, Type::Str | Type::Word(_)),
        Shape::List(inner) => matches!(given, Type::List(item) if fits(inner, item)),
        Shape::Map(inner) => {
            matches!(given, Type::Map(value) if fits(inner, value))
                || matches!(given, Type::Record(fields) if fields.values().all(|ty| fits(inner, ty)))
        }
    }
}

/// What a person calls the type.
fn noun(ty: &Shape) -> String {
    match ty {
        Shape::Member => "the name of a member".into(),
        Shape::Host => "the name of a host".into(),
        Shape::Node => "the name of a node".into(),
        Shape::Id => "an id of 16 hex digits".into(),
        Shape::Place => format!("one of {}", PLACES.join(", ")),
        Shape::Word(words) => format!("one of {}", words.join(", ")),
        Shape::Text => "a text".into(),
        Shape::Path => "a path".into(),
        Shape::Int => "a whole number".into(),
        Shape::List(_) => "a list".into(),
        Shape::Map(_) => "a map".into(),
        Shape::Any => "anything".into(),
    }
}

/// Checks one value; names only where there is a plan.
fn check(ty: &Shape, value: &Value, plan: Option<&Plan>) -> Result<(), String> {
    let wrong = || format!("{} was expected here", noun(ty));
    match ty {
        Shape::Any => Ok(()),
        Shape::Int => value.as_int().map(|_| ()).ok_or_else(wrong),
        Shape::List(inner) => {
            let items = value.as_list().ok_or_else(wrong)?;
            items.iter().try_for_each(|item| check(inner, item, plan))
        }
        Shape::Map(inner) => {
            let entries = value.as_map().ok_or_else(wrong)?;
            entries.values().try_for_each(|item| check(inner, item, plan))
        }
        Shape::Member
        | Shape::Host
        | Shape::Node
        | Shape::Id
        | Shape::Place
        | Shape::Word(_)
        | Shape::Text
        | Shape::Path => check_text(ty, value.as_str().ok_or_else(wrong)?, plan),
    }
}

fn check_text(ty: &Shape, text: &str, plan: Option<&Plan>) -> Result<(), String> {
    let wrong = || format!("{} was expected here, not {text:?}", noun(ty));
    let one_of = |known: bool| if known { Ok(()) } else { Err(wrong()) };
    match ty {
        Shape::Member => match plan {
            Some(plan) if !plan.members.iter().any(|name| name.as_str() == text) => {
                Err(format!("{text:?} is no member of this run"))
            }
            Some(_) | None => Ok(()),
        },
        Shape::Host => match plan {
            Some(plan) if !plan.hosts.iter().any(|name| name.as_str() == text) => {
                Err(format!("{text:?} is no host of this run"))
            }
            Some(_) | None => Ok(()),
        },
        Shape::Node if plan.is_some() => Err(format!("{text:?} is no node of this run")),
        Shape::Id if text.len() != 16 || EtcdId::parse(text).is_none() => Err(wrong()),
        Shape::Place => one_of(PLACES.contains(&text)),
        Shape::Word(words) => one_of(words.iter().any(|word| word == text)),
        Shape::Path if !text.starts_with('/') || text.split('/').any(|part| part == "..") => {
            Err(format!("{text:?} is no absolute path without `..`"))
        }
        Shape::Text if text.len() > TEXT_BYTES_MAX || text.contains('\0') => {
            Err(format!("a text of at most {TEXT_BYTES_MAX} bytes without NUL was expected here"))
        }
        Shape::Node
        | Shape::Id
        | Shape::Text
        | Shape::Path
        | Shape::Int
        | Shape::List(_)
        | Shape::Map(_)
        | Shape::Any => Ok(()),
    }
}

/// Checks the filled arguments of a call against its declarations and the plan's lists.
///
/// The error names the argument and is for people. Nothing that fails here may be done.
pub fn check_call(
    action: &str,
    traits: &ActionTraits,
    args: &BTreeMap<String, Value>,
    plan: &Plan,
) -> Result<(), String> {
    for (name, value) in args {
        let wanted = traits.takes.get(name.as_str());
        let wanted = wanted.ok_or_else(|| format!("{action} has no argument `{name}`"))?;
        check(&wanted.shape, value, Some(plan))
            .map_err(|why| format!("{action}: {name}: {why}"))?;
    }
    complete(action, traits, |name| args.contains_key(name))
}

/// Whether what is written for a parameter fits it; the error is for people.
pub fn fits_param(param: &Param, arg: &Arg) -> Result<(), String> {
    match arg {
        Arg::Literal(value) => param.accept(value.clone()).map(|_| ()),
        Arg::Template(template) if template.is_literal() => {
            param.accept(Value::str(template.source())).map(|_| ())
        }
        Arg::Template(template) => {
            let given = template.ty();
            let wanted = param.ty.variable();
            let is_text = matches!(given, Type::Str | Type::Word(_));
            // A text is read as what is wanted when the run is planned.
            if given == Type::Any || given == wanted || (is_text && param.ty != ParamType::List) {
                return Ok(());
            }
            Err(format!("`{}` must be of type {}, not {given}", param.name, param.ty.label()))
        }
        Arg::List(_) | Arg::Map(_) => Ok(()),
    }
}
