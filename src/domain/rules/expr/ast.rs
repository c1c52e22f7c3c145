//! The syntax tree as the parser makes it: nothing is resolved or typed yet.

use std::{fmt, ops::Range};

use serde::{Deserialize, Serialize};

use super::Value;

/// One node of the syntax tree.
#[derive(Clone, Debug)]
pub(super) struct Ast {
    /// Byte range of the source, without surrounding brackets.
    pub(super) span: Range<usize>,
    /// Nodes on the longest way down, itself included.
    pub(super) height: usize,
    pub(super) kind: Kind,
}

/// What a node is.
#[derive(Clone, Debug)]
pub(super) enum Kind {
    Literal(Value),
    Name(String),
    Select(Box<Ast>, String),
    Index(Box<Ast>, Box<Ast>),
    Not(Box<Ast>),
    Negate(Box<Ast>),
    And(Box<Ast>, Box<Ast>),
    Or(Box<Ast>, Box<Ast>),
    /// Condition, value if true, value if false.
    Choose(Box<[Ast; 3]>),
    Binary(Op, Box<Ast>, Box<Ast>),
    Call {
        target: Option<Box<Ast>>,
        name: String,
        args: Vec<Ast>,
    },
    List(Vec<Ast>),
    Map(Vec<(Ast, Ast)>),
}

impl Kind {
    /// The height of the tallest child, 0 for a leaf.
    pub(super) fn child_height(&self) -> usize {
        let tallest = |nodes: &[Ast]| nodes.iter().map(|node| node.height).max().unwrap_or(0);
        match self {
            Self::Literal(_) | Self::Name(_) => 0,
            Self::Select(x, _) | Self::Not(x) | Self::Negate(x) => x.height,
            Self::Index(x, y) | Self::And(x, y) | Self::Or(x, y) | Self::Binary(_, x, y) => {
                x.height.max(y.height)
            }
            Self::Choose(parts) => tallest(parts.as_slice()),
            Self::Call { target, args, .. } => {
                tallest(args).max(target.as_ref().map_or(0, |node| node.height))
            }
            Self::List(items) => tallest(items),
            Self::Map(entries) => {
                entries.iter().map(|(key, value)| key.height.max(value.height)).max().unwrap_or(0)
            }
        }
    }
}

/// An operator with two operands of which none decides alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Op {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Equal,
    NotEqual,
    In,
}

impl Op {
    /// Operators by rank, the loosest first.
    pub(super) const RANKS: [&'static [Self]; 3] = [
        &[
            Self::Equal,
            Self::NotEqual,
            Self::LessOrEqual,
            Self::GreaterOrEqual,
            Self::Less,
            Self::Greater,
            Self::In,
        ],
        &[Self::Add, Self::Subtract],
        &[Self::Multiply, Self::Divide, Self::Remainder],
    ];

    /// As it is written.
    pub(super) fn sign(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::Remainder => "%",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::In => "in",
        }
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.sign())
    }
}
