//! The checked tree: names are resolved, types have been settled, patterns are compiled.

use std::{ops::Range, sync::Arc};

use super::{HostOf, Value, ast::Op};

/// One node of the checked tree.
#[derive(Debug)]
pub(super) struct Node {
    /// Byte range of the source.
    pub(super) span: Range<usize>,
    pub(super) kind: NodeKind,
}

/// What a node is.
#[derive(Debug)]
pub(super) enum NodeKind {
    Literal(Value),
    Now,
    Root(Arc<str>),
    /// The variable of a loop: its place among the slots, and its name for messages.
    Slot(usize, Arc<str>),
    /// Selections from a value, of which each may meet an absent reading.
    Path(Box<Node>, Vec<Step>),
    Not(Box<Node>),
    Negate(Box<Node>),
    And(Box<Node>, Box<Node>),
    Or(Box<Node>, Box<Node>),
    /// Condition, value if true, value if false.
    Choose(Box<[Node; 3]>),
    Binary(Op, Box<Node>, Box<Node>),
    Has(Box<Node>),
    Fold(Box<Loop>),
    Call(Function, Vec<Node>),
    Matches(Box<Node>, regex::Regex),
    List(Vec<Node>),
    Map(Vec<(Arc<str>, Node)>),
}

/// One selection of a path.
#[derive(Debug)]
pub(super) struct Step {
    /// The source from the path's beginning to the end of this selection.
    pub(super) span: Range<usize>,
    pub(super) by: By,
}

/// What a step selects by.
#[derive(Debug)]
pub(super) enum By {
    Field(Arc<str>),
    Index(Node),
}

/// A loop over the items of a list or the keys of a map.
#[derive(Debug)]
pub(super) struct Loop {
    pub(super) fold: Fold,
    pub(super) over: Node,
    /// Where the body finds the item.
    pub(super) slot: usize,
    pub(super) body: Node,
}

/// What a loop makes of its items.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fold {
    All,
    Exists,
    ExistsOne,
    Filter,
    Map,
}

impl Fold {
    /// By its name in the source.
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "all" => Self::All,
            "exists" => Self::Exists,
            "exists_one" => Self::ExistsOne,
            "filter" => Self::Filter,
            "map" => Self::Map,
            _ => return None,
        })
    }
}

/// A function whose arguments are all values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Function {
    Age,
    Quorum,
    Size,
    String,
    Int,
    Double,
    StartsWith,
    EndsWith,
    Contains,
    HostOf(HostOf),
}

impl Function {
    /// As messages name it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Age => "age",
            Self::Quorum => "quorum",
            Self::Size => "size",
            Self::String => "string",
            Self::Int => "int",
            Self::Double => "double",
            Self::StartsWith => "startsWith",
            Self::EndsWith => "endsWith",
            Self::Contains => "contains",
            Self::HostOf(of) => of.method(),
        }
    }
}
