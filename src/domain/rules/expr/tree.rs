//! The checked tree: names are resolved, types have been settled, patterns are compiled.

use std::{ops::Range, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{HostOf, Value, ast::Op};

/// One node of the checked tree.
#[derive(Debug, PartialEq)]
pub(super) struct Node {
    /// Byte range of the source.
    pub(super) span: Range<usize>,
    pub(super) kind: NodeKind,
}

/// What a node is.
#[derive(Debug, PartialEq)]
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
    Matches(Box<Node>, Pattern),
    List(Vec<Node>),
    Map(Vec<(Arc<str>, Node)>),
}

/// Largest compiled pattern, in bytes.
const MAX_PATTERN: usize = 64 << 10;
/// Most groups of a pattern inside one another.
const MAX_PATTERN_NESTING: u32 = 32;

/// A compiled pattern; two are the same where their texts are.
#[derive(Debug)]
pub(super) struct Pattern(regex::Regex);

impl Pattern {
    /// Compiles it within its bounds.
    pub(super) fn new(text: &str) -> Result<Self, regex::Error> {
        let built = regex::RegexBuilder::new(text)
            .size_limit(MAX_PATTERN)
            .dfa_size_limit(MAX_PATTERN)
            .nest_limit(MAX_PATTERN_NESTING)
            .build();
        built.map(Self)
    }

    /// Its text.
    pub(super) fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Whether some part of `text` matches.
    pub(super) fn is_match(&self, text: &str) -> bool {
        self.0.is_match(text)
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

/// One selection of a path.
#[derive(Debug, PartialEq)]
pub(super) struct Step {
    /// The source from the path's beginning to the end of this selection.
    pub(super) span: Range<usize>,
    pub(super) by: By,
}

/// What a step selects by.
#[derive(Debug, PartialEq)]
pub(super) enum By {
    Field(Arc<str>),
    Index(Node),
}

/// A loop over the items of a list or the keys of a map.
#[derive(Debug, PartialEq)]
pub(super) struct Loop {
    pub(super) fold: Fold,
    pub(super) over: Node,
    /// Where the body finds the item.
    pub(super) slot: usize,
    pub(super) body: Node,
}

/// What a loop makes of its items.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
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
