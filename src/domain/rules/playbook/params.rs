//! Declared parameters of playbooks, and what they accept.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::domain::{
    base::time::parse_duration,
    rules::expr::{Type, Value, stored::exact},
};

/// The type of a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ParamType {
    /// Text.
    String,
    /// A whole number.
    Int,
    /// True or false.
    Bool,
    /// As `5m`.
    Duration,
    /// A list of texts.
    List,
    /// A member of the plan's list.
    Member,
    /// A host of the plan's list.
    Host,
    /// A node of the plan's list.
    Node,
}

/// A declared parameter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Param {
    /// Its name.
    pub name: String,
    /// Its type.
    #[serde(rename = "type")]
    pub ty: ParamType,
    /// Whether it must be given.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub required: bool,
    /// Its value where none is given.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "maybe_exact")]
    pub default: Option<Value>,
    /// Smallest value of an int.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<i64>,
    /// Largest value of an int.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<i64>,
    /// What a string must match.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern: Option<Pattern>,
}

/// A pattern that a whole text must match; two are the same where their texts are.
#[derive(Clone, Debug)]
pub struct Pattern {
    text: String,
    anchored: regex::Regex,
}

impl Pattern {
    /// Compiles it. As for expressions and matchers, a pattern from a file cannot eat the memory.
    pub fn new(text: &str) -> Result<Self, regex::Error> {
        let anchored = format!("^(?:{text})$");
        let anchored = regex::RegexBuilder::new(&anchored).size_limit(64 << 10).build()?;
        Ok(Self { text: text.to_owned(), anchored })
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Serialize for Pattern {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Self::new(&String::deserialize(from)?).map_err(de::Error::custom)
    }
}

/// [`exact`] for a value that may be missing; a missing one is not written at all.
mod maybe_exact {
    use super::{Deserializer, Serialize, Serializer, Value, exact};

    #[expect(clippy::ref_option, reason = "serde passes the field")]
    pub(super) fn serialize<S: Serializer>(
        value: &Option<Value>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => exact::serialize(value, to),
            None => ().serialize(to),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Value>, D::Error> {
        exact::deserialize(from).map(Some)
    }
}

impl ParamType {
    /// All types, in the order of the contract.
    pub const ALL: [Self; 8] = [
        Self::String,
        Self::Int,
        Self::Bool,
        Self::Duration,
        Self::List,
        Self::Member,
        Self::Host,
        Self::Node,
    ];

    /// The word in YAML.
    pub fn label(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Int => "int",
            Self::Bool => "bool",
            Self::Duration => "duration",
            Self::List => "list",
            Self::Member => "member",
            Self::Host => "host",
            Self::Node => "node",
        }
    }

    /// The type that a word names.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|ty| ty.label() == word)
    }

    /// The type of the variable `params.NAME`.
    pub fn variable(self) -> Type {
        match self {
            Self::Int => Type::Int,
            Self::Bool => Type::Bool,
            Self::Duration => Type::Duration,
            Self::List => Type::list(Type::Str),
            Self::String | Self::Member | Self::Host | Self::Node => Type::Str,
        }
    }
}

impl Param {
    /// The value as this parameter's type has it, within its bounds; the error is for people.
    ///
    /// Texts are read as what is wanted (`--set bump=5` gives a text). Whether a name is in the
    /// inventory is not checked here.
    pub fn accept(&self, value: Value) -> Result<Value, String> {
        let wrong = || format!("`{}` must be of type {}", self.name, self.ty.label());
        let value = match (self.ty, value) {
            (ParamType::Int, Value::Str(text)) => Value::Int(text.parse().map_err(|_| wrong())?),
            (ParamType::Bool, Value::Str(text)) => Value::Bool(text.parse().map_err(|_| wrong())?),
            (ParamType::Duration, Value::Str(text)) => duration(&text).ok_or_else(wrong)?,
            (ParamType::List, Value::Str(text)) => {
                Value::list(text.split(',').map(|item| Value::Str(item.trim().into())).collect())
            }
            (_, value) => value,
        };
        let fits = match self.ty {
            ParamType::Int => value.as_int().is_some(),
            ParamType::Bool => value.as_bool().is_some(),
            ParamType::Duration => matches!(value, Value::Duration(_)),
            ParamType::List => value
                .as_list()
                .is_some_and(|items| items.iter().all(|item| item.as_str().is_some())),
            ParamType::String | ParamType::Member | ParamType::Host | ParamType::Node => {
                value.as_str().is_some()
            }
        };
        if !fits {
            return Err(wrong());
        }
        if let Some(whole) = value.as_int() {
            if let Some(min) = self.min.filter(|min| whole < *min) {
                return Err(format!("`{}` is {whole}, the smallest allowed is {min}", self.name));
            }
            if let Some(max) = self.max.filter(|max| whole > *max) {
                return Err(format!("`{}` is {whole}, the largest allowed is {max}", self.name));
            }
        }
        if let (Some(pattern), Some(text)) = (&self.pattern, value.as_str())
            && !pattern.anchored.is_match(text)
        {
            return Err(format!("`{}` does not match its pattern", self.name));
        }
        Ok(value)
    }
}

fn duration(text: &str) -> Option<Value> {
    let millis = i64::try_from(parse_duration(text).ok()?.as_millis()).ok()?;
    Some(Value::Duration(millis))
}
