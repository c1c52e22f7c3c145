//! YAML with places: every key and value knows its byte range in the file.
//!
//! Structure and places come from granit-parser's events, the value of each scalar from `serde_yaml`
//! (the only value loader, in `scalar`), so that two parsers cannot disagree about a value. What
//! invites mistakes is refused with a diagnostic of its own: aliases, tags, duplicate keys, an
//! unquoted `${…}` inside `{…}`. Nothing here knows what the keys mean.

use std::ops::Range;

mod build;
mod hints;
mod place;
pub mod read;
mod scalar;

pub use build::{Found, documents};
pub use place::locate;

/// Largest file read: 1 MiB. The longest shipped playbook has 9 KiB; what is larger is no rule.
pub const FILE_BYTES_MAX: usize = 1 << 20;

/// Most values and keys of a file: the longest shipped playbook has 600. Each is read on its own,
/// which takes microseconds; this keeps a hostile file of a megabyte below a second.
pub const NODES_MAX: usize = 20_000;

/// Deepest nesting: the deepest shape of a playbook (an undo's argument inside a `foreach`) is 12.
pub const DEPTH_MAX: usize = 32;

/// One document of a file.
#[derive(Clone, Debug)]
pub struct Document {
    /// Byte range in the file, leading comments included.
    pub span: Range<usize>,
    /// Its value; an empty document is `Null`.
    pub root: Node,
}

/// A value with its place.
#[derive(Clone, Debug)]
pub struct Node {
    /// Byte range in the file, quotes included, the header of a block scalar not.
    pub span: Range<usize>,
    /// What stands there.
    pub kind: Kind,
}

/// What stands at a place.
#[derive(Clone, Debug)]
pub enum Kind {
    /// A single value.
    Scalar(ScalarValue, Style),
    /// A list.
    Seq(Vec<Node>),
    /// A map, in the order written; keys are unique.
    Map(Vec<(Key, Node)>),
}

/// A key with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Its text.
    pub name: String,
    /// Byte range in the file.
    pub span: Range<usize>,
}

/// The value of a scalar.
#[derive(Clone, Debug, PartialEq)]
pub enum ScalarValue {
    /// Nothing, or `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number of 64 bits.
    Int(i64),
    /// Any other number.
    Float(f64),
    /// Text.
    Str(String),
}

/// How a scalar is written: decides how a place in its value maps to a place in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Without quotes.
    Plain,
    /// `'…'`.
    Single,
    /// `"…"`.
    Double,
    /// `|` or `>`.
    Block,
}

impl Node {
    /// The text of a text scalar.
    pub fn as_str(&self) -> Option<&str> {
        match &self.kind {
            Kind::Scalar(ScalarValue::Str(text), _) => Some(text),
            Kind::Scalar(..) | Kind::Seq(_) | Kind::Map(_) => None,
        }
    }

    /// Whether it is empty or `null`.
    pub fn is_null(&self) -> bool {
        matches!(self.kind, Kind::Scalar(ScalarValue::Null, _))
    }

    /// The value under a key of a map.
    pub fn get(&self, name: &str) -> Option<&Node> {
        match &self.kind {
            Kind::Map(pairs) => {
                pairs.iter().find(|(key, _)| key.name == name).map(|(_, node)| node)
            }
            Kind::Scalar(..) | Kind::Seq(_) => None,
        }
    }

    /// What a person calls it, for messages.
    pub fn noun(&self) -> &'static str {
        match &self.kind {
            Kind::Scalar(ScalarValue::Null, _) => "nothing",
            Kind::Scalar(ScalarValue::Bool(_), _) => "a boolean",
            Kind::Scalar(ScalarValue::Int(_), _) => "a whole number",
            Kind::Scalar(ScalarValue::Float(_), _) => "a fraction",
            Kind::Scalar(ScalarValue::Str(_), _) => "a text",
            Kind::Seq(_) => "a list",
            Kind::Map(_) => "a map",
        }
    }
}

#[cfg(test)]
mod tests;
