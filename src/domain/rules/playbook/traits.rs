//! What a run must know of an action: a copy of its row of the catalogue, taken when the playbook is
//! read and stored with the plan.
//!
//! A later quorate with another catalogue goes on with this copy. It holds what decides (how a call
//! in doubt is resolved, what it holds, which arguments it takes) and no text for people.

use std::{collections::BTreeMap, fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::domain::rules::action::{ActionSpec, ArgType, Changes, OnResume};

/// The declarations of one action.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "each is a declaration of its own")]
pub struct ActionTraits {
    /// What it changes of the cluster.
    pub changes: Changes,
    /// Whether it cannot be changed back.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_final: bool,
    /// What a resumed run does with a call of it that is in doubt.
    pub on_resume: OnResume,
    /// Whether its member is held from its `Started` on.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub holds: bool,
    /// Whether its end ends the hold of its member.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub releases: bool,
    /// Whether what is in doubt is done again on the way forward: once more harms nothing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub repeats: bool,
    /// Whether its output's `cluster_id` names a cluster that it builds anew.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub builds: bool,
    /// Whether it stops, masks or moves what may serve.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub fences: bool,
    /// Whether its output names the survivor that a repair starts from.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub chooses: bool,
    /// Its arguments by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub takes: BTreeMap<String, Takes>,
}

impl From<&ActionSpec> for ActionTraits {
    fn from(spec: &ActionSpec) -> Self {
        let takes = spec.args.iter().map(|arg| {
            let takes = Takes { shape: Shape::from(&arg.ty), required: arg.required };
            (arg.name.to_owned(), takes)
        });
        Self {
            changes: spec.changes,
            is_final: spec.is_final,
            on_resume: spec.on_resume,
            holds: spec.holds,
            releases: spec.releases,
            repeats: spec.repeats,
            builds: spec.builds,
            fences: spec.fences,
            chooses: spec.chooses,
            takes: takes.collect(),
        }
    }
}

/// One argument; as text `member`, or `member?` where it may be left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Takes {
    /// What it holds.
    pub shape: Shape,
    /// Whether it must be given.
    pub required: bool,
}

/// What an argument holds: [`ArgType`], as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shape {
    /// A member of the plan's list.
    Member,
    /// A host of the plan's list.
    Host,
    /// A node of the plan's list.
    Node,
    /// 16 hex digits.
    Id,
    /// A place of a member's data.
    Place,
    /// One of these words.
    Word(Vec<String>),
    /// Free text.
    Text,
    /// A path that an earlier step gave.
    Path,
    /// A whole number.
    Int,
    /// A list.
    List(Box<Shape>),
    /// A map from text.
    Map(Box<Shape>),
    /// Anything.
    Any,
}

impl From<&ArgType> for Shape {
    fn from(ty: &ArgType) -> Self {
        match ty {
            ArgType::Member => Self::Member,
            ArgType::Host => Self::Host,
            ArgType::Node => Self::Node,
            ArgType::Id => Self::Id,
            ArgType::Place => Self::Place,
            ArgType::Word(words) => {
                Self::Word(words.iter().map(|word| (*word).to_owned()).collect())
            }
            ArgType::Text => Self::Text,
            ArgType::Path => Self::Path,
            ArgType::Int => Self::Int,
            ArgType::List(inner) => Self::List(Box::new(Self::from(&**inner))),
            ArgType::Map(inner) => Self::Map(Box::new(Self::from(&**inner))),
            ArgType::Any => Self::Any,
        }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Member => f.write_str("member"),
            Self::Host => f.write_str("host"),
            Self::Node => f.write_str("node"),
            Self::Id => f.write_str("id"),
            Self::Place => f.write_str("place"),
            Self::Word(words) => write!(f, "word({})", words.join("|")),
            Self::Text => f.write_str("text"),
            Self::Path => f.write_str("path"),
            Self::Int => f.write_str("int"),
            Self::List(inner) => write!(f, "list({inner})"),
            Self::Map(inner) => write!(f, "map({inner})"),
            Self::Any => f.write_str("any"),
        }
    }
}

/// A text that names no shape.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no type of an argument")]
pub struct ShapeError(String);

impl FromStr for Shape {
    type Err = ShapeError;

    fn from_str(text: &str) -> Result<Self, ShapeError> {
        let inside = |head: &str| text.strip_prefix(head)?.strip_suffix(')');
        let nested = |inner: &str| inner.parse().map(Box::new);
        Ok(match text {
            "member" => Self::Member,
            "host" => Self::Host,
            "node" => Self::Node,
            "id" => Self::Id,
            "place" => Self::Place,
            "text" => Self::Text,
            "path" => Self::Path,
            "int" => Self::Int,
            "any" => Self::Any,
            _ => {
                if let Some(words) = inside("word(") {
                    Self::Word(words.split('|').map(str::to_owned).collect())
                } else if let Some(inner) = inside("list(") {
                    Self::List(nested(inner)?)
                } else if let Some(inner) = inside("map(") {
                    Self::Map(nested(inner)?)
                } else {
                    return Err(ShapeError(text.to_owned()));
                }
            }
        })
    }
}

impl Serialize for Takes {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mark = if self.required { "" } else { "?" };
        to.collect_str(&format_args!("{}{mark}", self.shape))
    }
}

impl<'de> Deserialize<'de> for Takes {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(from)?;
        let required = !text.ends_with('?');
        let shape = text.trim_end_matches('?').parse().map_err(de::Error::custom)?;
        Ok(Self { shape, required })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shape_is_read_back() {
        let words = || Shape::Word(vec!["a".into(), "b_c".into()]);
        let list = |inner| Shape::List(Box::new(inner));
        let shapes = [
            Shape::Member,
            Shape::Host,
            Shape::Node,
            Shape::Id,
            Shape::Place,
            words(),
            Shape::Text,
            Shape::Path,
            Shape::Int,
            list(words()),
            Shape::Map(Box::new(list(Shape::Any))),
        ];
        for shape in shapes {
            for required in [true, false] {
                let takes = Takes { shape: shape.clone(), required };
                let json = serde_json::to_string(&takes).unwrap();
                assert_eq!(serde_json::from_str::<Takes>(&json).unwrap(), takes, "{json}");
            }
        }
        assert!("list(x)".parse::<Shape>().is_err() && "wrd(a)".parse::<Shape>().is_err());
    }
}
