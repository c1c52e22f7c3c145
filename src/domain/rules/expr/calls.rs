//! Checks of calls: loops, functions and methods, and literals that are parsed once (durations,
//! patterns).

use std::{ops::Range, sync::Arc};

use super::{
    HostOf, MAX_LOOPS, Problem, Type, Value,
    ast::{Ast, Kind},
    check::{Bound, Checker, Checks, Typed},
    near::near,
    tree::{Fold, Function, Loop, NodeKind, Pattern},
};
use crate::domain::base::time::{DURATION_MAX, DurationError, format_duration, parse_duration};

/// Names written `name(…)`.
const FUNCTIONS: [&str; 8] =
    ["age", "double", "duration", "has", "int", "quorum", "size", "string"];
/// Names written `value.name(…)`.
const METHODS: [&str; 10] = [
    "all",
    "contains",
    "endsWith",
    "exists",
    "exists_one",
    "filter",
    "map",
    "matches",
    "size",
    "startsWith",
];
/// Names written `hosts.name(…)`.
const HOST_METHODS: [HostOf; 2] = [HostOf::Node, HostOf::Member];

impl Checker<'_> {
    pub(super) fn call(
        &mut self,
        span: &Range<usize>,
        target: Option<&Ast>,
        name: &str,
        args: &[Ast],
    ) -> Checks {
        let Some(target) = target else { return self.function(span, name, args) };
        if let (Some(fold), [variable, body]) = (Fold::named(name), args) {
            return self.fold(fold, target, variable, body);
        }
        if self.is_hosts(target)
            && let Some(of) = HOST_METHODS.into_iter().find(|of| of.method() == name)
            && let [arg] = args
        {
            return self.simple(Function::HostOf(of), &[arg], &[Type::Str], Type::Str);
        }
        self.method(span, target, name, args)
    }

    fn is_hosts(&self, target: &Ast) -> bool {
        matches!(&target.kind, Kind::Name(name) if name == "hosts")
            && self.schema.roots.contains_key("hosts")
    }

    fn function(&mut self, span: &Range<usize>, name: &str, args: &[Ast]) -> Checks {
        const NUMERIC: [Type; 3] = [Type::Int, Type::Double, Type::Str];
        const SCALAR: [Type; 6] =
            [Type::Bool, Type::Int, Type::Double, Type::Str, Type::Duration, Type::Time];
        match (name, args) {
            ("has", [path]) => self.has(path),
            ("duration", [text]) => self.duration(text),
            ("size", [x]) => self.size(x),
            ("age", [x]) => self.simple(Function::Age, &[x], &[Type::Time], Type::Duration),
            ("quorum", [x]) => self.simple(Function::Quorum, &[x], &[Type::Int], Type::Int),
            ("string", [x]) => self.simple(Function::String, &[x], &SCALAR, Type::Str),
            ("int", [x]) => self.simple(Function::Int, &[x], &NUMERIC, Type::Int),
            ("double", [x]) => self.simple(Function::Double, &[x], &NUMERIC, Type::Double),
            _ => self.unknown(span, name, args.len(), &FUNCTIONS, &METHODS),
        }
    }

    fn method(&mut self, span: &Range<usize>, target: &Ast, name: &str, args: &[Ast]) -> Checks {
        let text = &[Type::Str];
        match (name, args) {
            ("size", []) => self.size(target),
            ("matches", [pattern]) => self.matches(target, pattern),
            ("startsWith", [x]) => {
                self.simple(Function::StartsWith, &[target, x], text, Type::Bool)
            }
            ("endsWith", [x]) => self.simple(Function::EndsWith, &[target, x], text, Type::Bool),
            ("contains", [x]) => self.simple(Function::Contains, &[target, x], text, Type::Bool),
            _ if self.is_hosts(target) => {
                let known = HOST_METHODS.map(HostOf::method);
                self.unknown(span, name, args.len(), &known, &FUNCTIONS)
            }
            _ => {
                self.check(target)?;
                self.unknown(span, name, args.len(), &METHODS, &FUNCTIONS)
            }
        }
    }

    fn unknown(
        &mut self,
        span: &Range<usize>,
        name: &str,
        count: usize,
        known: &[&'static str],
        otherwise: &[&'static str],
    ) -> Checks {
        if known.contains(&name) {
            let message = format!("{name} does not take {count} argument(s)");
            return self.fail(Problem::new(span.clone(), message));
        }
        let problem = Problem::new(span.clone(), format!("no function {name:?}"));
        let found = near(name, known.iter().chain(otherwise).copied());
        self.fail(match found {
            Some(found) if found == name && METHODS.contains(&name) => {
                problem.help(format!("it is written value.{name}(…)"))
            }
            Some(found) if found == name => problem.help(format!("it is written {name}(…)")),
            Some(found) => problem.help(format!("did you mean {found:?}?")),
            None => problem.help(format!("there is {}", known.join(", "))),
        })
    }

    /// A function that takes values of the same types.
    fn simple(&mut self, function: Function, args: &[&Ast], wanted: &[Type], ty: Type) -> Checks {
        let nodes: Vec<_> = args.iter().map(|arg| self.want(arg, wanted)).collect();
        let nodes = nodes.into_iter().map(|typed| typed.map(|(node, _)| node));
        Some((NodeKind::Call(function, nodes.collect::<Option<_>>()?), ty))
    }

    fn has(&mut self, path: &Ast) -> Checks {
        if !matches!(path.kind, Kind::Name(_) | Kind::Select(..) | Kind::Index(..)) {
            let problem = Problem::new(path.span.clone(), "has() takes the path of a reading");
            return self.fail(problem.help("like has(etcd.members[m].revision)"));
        }
        Some((NodeKind::Has(Box::new(self.check(path)?.0)), Type::Bool))
    }

    fn duration(&mut self, text: &Ast) -> Checks {
        let Kind::Literal(Value::Str(literal)) = &text.kind else {
            return self.fail(Problem::new(text.span.clone(), "a duration is a string literal"));
        };
        let span = match parse_duration(literal) {
            Ok(span) => span,
            Err(DurationError::TooLong(_)) => {
                let max = format_duration(DURATION_MAX);
                let message = format!("{literal:?} is longer than {max}");
                return self.fail(Problem::new(text.span.clone(), message));
            }
            Err(DurationError::Syntax(_)) => {
                let message = format!("{literal:?} is no duration");
                let problem = Problem::new(text.span.clone(), message);
                return self.fail(problem.help("write 90s or 1h30m"));
            }
        };
        let millis = i64::try_from(span.as_millis()).expect("a duration is bounded");
        Some((NodeKind::Literal(Value::Duration(millis)), Type::Duration))
    }

    fn size(&mut self, of: &Ast) -> Checks {
        let (node, ty) = self.check(of)?;
        if !matches!(ty.plain(), Type::Any | Type::Str | Type::List(_) | Type::Map(_)) {
            return self.fail(Problem::new(of.span.clone(), format!("{ty} has no size")));
        }
        Some((NodeKind::Call(Function::Size, vec![node]), Type::Int))
    }

    fn matches(&mut self, target: &Ast, pattern: &Ast) -> Checks {
        let target = self.want(target, &[Type::Str]);
        let Kind::Literal(Value::Str(literal)) = &pattern.kind else {
            return self.fail(Problem::new(pattern.span.clone(), "a pattern is a string literal"));
        };
        match Pattern::new(literal) {
            Ok(pattern) => Some((NodeKind::Matches(Box::new(target?.0), pattern), Type::Bool)),
            Err(error) => {
                let text = error.to_string();
                let reason = text.lines().last().unwrap_or_default();
                let message = format!("bad pattern: {}", reason.trim_start_matches("error: "));
                self.fail(Problem::new(pattern.span.clone(), message))
            }
        }
    }

    fn fold(&mut self, fold: Fold, over: &Ast, variable: &Ast, body: &Ast) -> Checks {
        let Kind::Name(name) = &variable.kind else {
            return self
                .fail(Problem::new(variable.span.clone(), "a plain name was expected here"));
        };
        let is_taken = name == "now"
            || self.schema.roots.contains_key(name.as_str())
            || self.scope.iter().any(|bound| *bound.name == **name);
        if is_taken {
            let message = format!("{name:?} is the name of another variable");
            return self.fail(Problem::new(variable.span.clone(), message));
        }
        let (over_node, over_ty) = self.check(over)?;
        let Some(item) = over_ty.item() else {
            let message = format!("{over_ty} is neither a list nor a map");
            return self.fail(Problem::new(over.span.clone(), message));
        };
        if self.scope.len() == MAX_LOOPS {
            let message = format!("more than {MAX_LOOPS} loops inside one another");
            return self.fail(Problem::new(variable.span.clone(), message));
        }
        let (slot, body) = self.body(fold, name, item.clone(), body);
        let (body, body_ty) = body?;
        let ty = match fold {
            Fold::All | Fold::Exists | Fold::ExistsOne => Type::Bool,
            Fold::Filter => Type::list(item),
            Fold::Map => Type::list(body_ty),
        };
        Some((NodeKind::Fold(Box::new(Loop { fold, over: over_node, slot, body })), ty))
    }

    fn body(&mut self, fold: Fold, name: &str, item: Type, body: &Ast) -> (usize, Typed) {
        let slot = self.slots;
        self.slots += 1;
        self.scope.push(Bound { name: Arc::from(name), slot, ty: item });
        let checked = match fold {
            Fold::Map => self.check(body),
            Fold::All | Fold::Exists | Fold::ExistsOne | Fold::Filter => {
                self.want(body, &[Type::Bool])
            }
        };
        self.scope.pop();
        (slot, checked)
    }
}
