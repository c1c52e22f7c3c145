//! Which types go together: the results of operators and the common type of two branches.

use super::{Type, ast::Op};

/// The type of `x op y`; `None` if that means nothing.
pub(super) fn result(op: Op, x: &Type, y: &Type) -> Option<Type> {
    match op {
        Op::In => is_member(x, y).then_some(Type::Bool),
        Op::Equal | Op::NotEqual => is_comparable(x, y).then_some(Type::Bool),
        Op::Less | Op::LessOrEqual | Op::Greater | Op::GreaterOrEqual => {
            is_ordered(&x.plain(), &y.plain()).then_some(Type::Bool)
        }
        Op::Add | Op::Subtract | Op::Multiply | Op::Divide | Op::Remainder => {
            arithmetic(op, &x.plain(), &y.plain())
        }
    }
}

/// The type that values of both types have; `None` if there is none but [`Type::Any`].
pub(super) fn join(x: &Type, y: &Type) -> Option<Type> {
    if x == y {
        return Some(x.clone());
    }
    match (x, y) {
        (Type::Any, _) | (_, Type::Any) => Some(Type::Any),
        (Type::Word(_) | Type::Str, Type::Word(_) | Type::Str) => Some(Type::Str),
        (Type::List(a), Type::List(b)) => Some(Type::list(join(a, b).unwrap_or(Type::Any))),
        (Type::Map(a), Type::Map(b)) => Some(Type::map(join(a, b).unwrap_or(Type::Any))),
        _ => None,
    }
}

fn is_number(ty: &Type) -> bool {
    matches!(ty, Type::Int | Type::Double)
}

/// A record has holes: comparing it whole would hide an absent reading.
fn has_record(ty: &Type) -> bool {
    match ty {
        Type::Record(_) => true,
        Type::List(inner) | Type::Map(inner) => has_record(inner),
        Type::Any
        | Type::Null
        | Type::Bool
        | Type::Int
        | Type::Double
        | Type::Str
        | Type::Word(_)
        | Type::Duration
        | Type::Time => false,
    }
}

fn is_comparable(x: &Type, y: &Type) -> bool {
    if has_record(x) || has_record(y) {
        return false;
    }
    match (x, y) {
        (Type::List(a), Type::List(b)) | (Type::Map(a), Type::Map(b)) => is_comparable(a, b),
        _ => is_number(x) && is_number(y) || join(x, y).is_some(),
    }
}

fn is_member(x: &Type, y: &Type) -> bool {
    match y {
        Type::List(item) => is_comparable(x, item),
        Type::Map(_) => matches!(x, Type::Str | Type::Word(_) | Type::Any),
        Type::Any => !has_record(x),
        Type::Null
        | Type::Bool
        | Type::Int
        | Type::Double
        | Type::Str
        | Type::Word(_)
        | Type::Duration
        | Type::Time
        | Type::Record(_) => false,
    }
}

fn is_ordered(x: &Type, y: &Type) -> bool {
    let has_order = |ty: &Type| {
        is_number(ty) || matches!(ty, Type::Any | Type::Str | Type::Duration | Type::Time)
    };
    let fits = x == y || *x == Type::Any || *y == Type::Any || is_number(x) && is_number(y);
    fits && has_order(x) && has_order(y)
}

fn arithmetic(op: Op, x: &Type, y: &Type) -> Option<Type> {
    match (op, x, y) {
        (_, Type::Any, other) | (_, other, Type::Any) => {
            let calculates = is_number(other)
                || matches!(other, Type::Any | Type::Duration | Type::Time)
                || op == Op::Add && matches!(other, Type::Str | Type::List(_));
            calculates.then_some(Type::Any)
        }
        (Op::Add, Type::List(_), Type::List(_)) => join(x, y),
        (Op::Add, Type::Str, Type::Str) => Some(Type::Str),
        (Op::Add | Op::Subtract, Type::Time, Type::Duration)
        | (Op::Add, Type::Duration, Type::Time) => Some(Type::Time),
        (Op::Subtract, Type::Time, Type::Time)
        | (Op::Add | Op::Subtract, Type::Duration, Type::Duration) => Some(Type::Duration),
        (Op::Remainder, Type::Int, Type::Int) => Some(Type::Int),
        (Op::Remainder, ..) => None,
        _ if x == y && is_number(x) => Some(x.clone()),
        _ => None,
    }
}
