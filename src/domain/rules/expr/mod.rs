//! The expression language of responses and playbooks: CEL's grammar, typed when it is loaded,
//! three-valued and bounded when it runs.
//!
//! An unknown reading is *absent*: touching it stops the evaluation with [`EvalError::Unknown`], which
//! `&&`, `||`, `all` and `exists` absorb when the other side already decides. Names, fields, types
//! and the words of closed lists are checked by [`Expr::compile`] against a [`Schema`], so at run
//! time a missing key can only be an absent reading, never a typo.
//!
//! What it deliberately does not do: messages, bytes, unsigned numbers, assignments, and anything
//! that reads the outside world other than through [`Variables`].

mod ast;
mod calls;
mod check;
mod eval;
mod lex;
mod near;
mod ops;
mod parse;
pub mod stored;
pub mod template;
mod tree;
pub mod types;
mod typing;
pub mod value;

#[cfg(test)]
mod tests;

use std::{fmt, ops::Range, sync::Arc};

use serde::{Deserialize, Serialize};

pub use self::{
    near::near,
    template::Template,
    types::{Schema, Type},
    value::Value,
};

/// Longest source of one expression, in bytes.
pub const MAX_SOURCE: usize = 4096;
/// Most brackets, calls and conditionals inside one another.
pub const MAX_NESTING: usize = 48;
/// Most operators, or selections, in a row; `&&` and `||` do not count.
pub const MAX_CHAIN: usize = 96;
/// Tallest syntax tree: a full chain inside full nesting. Check and evaluation recurse over the
/// tree, so this is what keeps them on a small stack (under 512 KiB in a debug build).
const MAX_HEIGHT: usize = MAX_NESTING + MAX_CHAIN;
/// Most loops (`all`, `map`, …) inside one another.
pub const MAX_LOOPS: usize = 2;
/// Evaluation steps one expression may take.
///
/// A loop over 5,000 nodes with a body of 40 steps takes 200,000; a loop over the members inside
/// it still fits. Two loops over 5,000 do not (75 million), and a million steps end within about
/// 50 ms, so a hostile expression cannot hold up a decision.
pub const FUEL: u64 = 1_000_000;

/// What is wrong with an expression or template, found when it is compiled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Byte range of the source text.
    pub span: Range<usize>,
    /// What is wrong, without a full stop.
    pub message: String,
    /// How it could be put right.
    pub help: Option<String>,
}

impl Problem {
    fn new(span: Range<usize>, message: impl Into<String>) -> Self {
        Self { span, message: message.into(), help: None }
    }

    fn help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }

    /// The same problem in a text in which the expression starts at `offset`.
    fn shifted(self, offset: usize) -> Self {
        Self { span: self.span.start + offset..self.span.end + offset, ..self }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        self.help.as_ref().map_or(Ok(()), |help| write!(f, ", {help}"))
    }
}

/// Why an expression has no value. Spans are byte ranges of the source text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EvalError {
    /// A reading that was needed is absent.
    #[error("{path} is not known")]
    Unknown {
        /// The reading with its index values filled in, like `etcd.members.m2.revision`.
        path: String,
        /// The part of the source that asked for it.
        span: Range<usize>,
    },
    /// A value has no result here: overflow, division by zero, a wrong type behind `Any`.
    #[error("{message}")]
    Error {
        /// What went wrong, without a full stop.
        message: String,
        /// The part of the source that failed.
        span: Range<usize>,
    },
    /// The fuel ran out. Nothing absorbs this.
    #[error("the expression took more steps than it may")]
    Spent,
}

impl EvalError {
    fn error(span: &Range<usize>, message: impl Into<String>) -> Self {
        Self::Error { span: span.clone(), message: message.into() }
    }

    /// The same stop in a text in which the expression starts at `offset`.
    fn shifted(self, offset: usize) -> Self {
        let shift = |span: Range<usize>| span.start + offset..span.end + offset;
        match self {
            Self::Unknown { path, span } => Self::Unknown { path, span: shift(span) },
            Self::Error { message, span } => Self::Error { message, span: shift(span) },
            Self::Spent => Self::Spent,
        }
    }
}

/// Whose host is asked for: `hosts.of_node(x)` or `hosts.of_member(x)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HostOf {
    /// A Kubernetes node, by its name.
    Node,
    /// An etcd member, by its inventory name.
    Member,
}

impl HostOf {
    fn method(self) -> &'static str {
        match self {
            Self::Node => "of_node",
            Self::Member => "of_member",
        }
    }
}

/// What an expression can see when it is evaluated.
pub trait Variables {
    /// The value of a root variable; `None` is an unknown reading.
    fn root(&self, name: &str) -> Option<Value>;
    /// The name of the host on which a node or member lives; `None` is unknown.
    fn host_of(&self, kind: HostOf, name: &str) -> Option<Value>;
    /// The time of this evaluation, in milliseconds since the Unix epoch.
    fn now(&self) -> i64;
}

/// A compiled expression. Cloning is cheap.
#[derive(Clone)]
pub struct Expr(Arc<Compiled>);

struct Compiled {
    source: Box<str>,
    ty: Type,
    root: tree::Node,
    slots: usize,
}

impl Expr {
    /// Parses and checks an expression. Fails with at least one problem.
    pub fn compile(source: &str, schema: &Schema) -> Result<Self, Vec<Problem>> {
        let ast = parse::parse(source).map_err(|problem| vec![problem])?;
        let checked = check::check(&ast, schema)?;
        Ok(Self(Arc::new(Compiled {
            source: source.into(),
            ty: checked.ty,
            root: checked.root,
            slots: checked.slots,
        })))
    }

    /// Like [`Expr::compile`], for places that want a condition: any other type is a problem that
    /// spans the whole source.
    pub fn compile_bool(source: &str, schema: &Schema) -> Result<Self, Vec<Problem>> {
        let expr = Self::compile(source, schema)?;
        if matches!(expr.ty(), Type::Bool | Type::Any) {
            return Ok(expr);
        }
        let message = format!("is {}, wanted a condition (bool)", expr.ty());
        Err(vec![Problem::new(0..source.len(), message)])
    }

    /// The type of the value; [`Type::Any`] where only the run can tell.
    pub fn ty(&self) -> &Type {
        &self.0.ty
    }

    /// The text it was compiled from.
    pub fn source(&self) -> &str {
        &self.0.source
    }

    /// The value in this world, within [`FUEL`] steps.
    pub fn eval(&self, world: &dyn Variables) -> Result<Value, EvalError> {
        let mut fuel = FUEL;
        self.eval_within(world, &mut fuel)
    }

    /// The value as a condition. A value that is no bool is an error.
    pub fn truth(&self, world: &dyn Variables) -> Result<bool, EvalError> {
        let value = self.eval(world)?;
        value.as_bool().ok_or_else(|| {
            let message = format!("is {}, wanted bool", value.type_name());
            EvalError::error(&(0..self.source().len()), message)
        })
    }

    fn eval_within(&self, world: &dyn Variables, fuel: &mut u64) -> Result<Value, EvalError> {
        eval::eval(&self.0, world, fuel)
    }
}

/// The same source, read as the same tree. Types do not count: a stored expression has lost them.
impl PartialEq for Expr {
    fn eq(&self, other: &Self) -> bool {
        let (a, b) = (&self.0, &other.0);
        a.source == b.source && a.slots == b.slots && a.root == b.root
    }
}

impl fmt::Debug for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Expr({:?}: {})", self.source(), self.ty())
    }
}
