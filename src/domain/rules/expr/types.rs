//! Types of expressions and the schema of the variables they may name.
//!
//! A [`Type::Record`] has known fields, each of which may be absent at run time; a [`Type::Map`]
//! has keys nobody knows before. [`Type::Any`] switches checking off until the run.

use std::{collections::BTreeMap, fmt, sync::Arc};

/// The type of an expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Type {
    /// Not known before the run.
    Any,
    /// The literal `null`.
    Null,
    /// A condition.
    Bool,
    /// A whole number.
    Int,
    /// A number with decimals.
    Double,
    /// A text.
    Str,
    /// A text that is always one of a closed list; usable wherever a text is.
    Word(&'static [&'static str]),
    /// A span of time.
    Duration,
    /// A point in time.
    Time,
    /// A list of one type.
    List(Arc<Type>),
    /// Names to one type.
    Map(Arc<Type>),
    /// Known fields.
    Record(Arc<BTreeMap<Arc<str>, Type>>),
}

impl Type {
    /// What a loop over it gives: the items of a list, the names of a map.
    pub fn item(&self) -> Option<Self> {
        match self {
            Self::List(item) => Some(item.as_ref().clone()),
            Self::Map(_) => Some(Self::Str),
            Self::Any => Some(Self::Any),
            Self::Null
            | Self::Bool
            | Self::Int
            | Self::Double
            | Self::Str
            | Self::Word(_)
            | Self::Duration
            | Self::Time
            | Self::Record(_) => None,
        }
    }

    /// The type of a field that is declared; of any field where nothing is known before the run.
    pub fn field(&self, name: &str) -> Option<Self> {
        match self {
            Self::Record(fields) => fields.get(name).cloned(),
            Self::Any => Some(Self::Any),
            Self::List(_)
            | Self::Map(_)
            | Self::Null
            | Self::Bool
            | Self::Int
            | Self::Double
            | Self::Str
            | Self::Word(_)
            | Self::Duration
            | Self::Time => None,
        }
    }

    /// A list of `item`.
    pub fn list(item: Self) -> Self {
        Self::List(Arc::new(item))
    }

    /// A map from names to `value`.
    pub fn map(value: Self) -> Self {
        Self::Map(Arc::new(value))
    }

    /// A record with these fields.
    pub fn record<const N: usize>(fields: [(&str, Self); N]) -> Self {
        Self::record_of(fields.into_iter().map(|(name, ty)| (name.into(), ty)))
    }

    /// A record with these fields, of which the number is not known when this is compiled.
    pub fn record_of(fields: impl IntoIterator<Item = (Arc<str>, Self)>) -> Self {
        Self::Record(Arc::new(fields.into_iter().collect()))
    }

    /// Itself, save that a word is a plain text.
    pub(super) fn plain(&self) -> Self {
        if matches!(self, Self::Word(_)) { Self::Str } else { self.clone() }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("anything"),
            Self::Null => f.write_str("null"),
            Self::Bool => f.write_str("bool"),
            Self::Int => f.write_str("int"),
            Self::Double => f.write_str("double"),
            Self::Str => f.write_str("string"),
            Self::Word(words) => write!(f, "string ({})", words.join("|")),
            Self::Duration => f.write_str("duration"),
            Self::Time => f.write_str("time"),
            Self::List(item) => write!(f, "list of {item}"),
            Self::Map(value) => write!(f, "map of {value}"),
            Self::Record(_) => f.write_str("record"),
        }
    }
}

/// The variables an expression may name. `now` is always there besides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Schema {
    /// Root variables by name.
    pub roots: BTreeMap<Arc<str>, Type>,
}

impl Schema {
    /// The same schema with one more root, or another type for it.
    #[must_use]
    pub fn with(&self, name: impl Into<Arc<str>>, ty: Type) -> Self {
        let mut roots = self.roots.clone();
        roots.insert(name.into(), ty);
        Self { roots }
    }
}
