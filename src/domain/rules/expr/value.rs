//! Values of expressions. Nothing here knows types of the schema or evaluation.
//!
//! A value never holds an unknown reading: what is unknown is left out of its map, and a list of
//! which one element is unknown is itself unknown.

use std::{cmp::Ordering, collections::BTreeMap, sync::Arc, time::Duration};

use crate::domain::base::time::{Time, format_duration};

/// A value. Cloning is cheap.
#[derive(Clone, Debug)]
pub enum Value {
    /// The literal `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number with decimals.
    Double(f64),
    /// A text.
    Str(Arc<str>),
    /// A span of time in milliseconds, negative too.
    Duration(i64),
    /// Milliseconds since the Unix epoch, UTC.
    Time(i64),
    /// Values in order.
    List(Arc<Vec<Value>>),
    /// Values by name; a record too.
    Map(Arc<BTreeMap<Arc<str>, Value>>),
}

impl Value {
    /// A text.
    pub fn str(text: impl Into<Arc<str>>) -> Self {
        Self::Str(text.into())
    }

    /// A list.
    pub fn list(items: Vec<Self>) -> Self {
        Self::List(Arc::new(items))
    }

    /// A map or record. Of equal keys the last one stays.
    pub fn map<K: Into<Arc<str>>>(entries: impl IntoIterator<Item = (K, Self)>) -> Self {
        Self::Map(Arc::new(entries.into_iter().map(|(key, value)| (key.into(), value)).collect()))
    }

    /// From JSON, where `null` means "not read": such members are left out, a list with one is
    /// `None`, as is a bare `null`. Whole numbers become `Int`, beyond `i64::MAX` `Double`.
    pub fn from_json(json: &serde_json::Value) -> Option<Self> {
        use serde_json::Value as Json;
        Some(match json {
            Json::Null => return None,
            Json::Bool(flag) => Self::Bool(*flag),
            Json::Number(number) => match number.as_i64() {
                Some(whole) => Self::Int(whole),
                None => Self::Double(number.as_f64()?),
            },
            Json::String(text) => Self::str(text.as_str()),
            Json::Array(items) => {
                Self::list(items.iter().map(Self::from_json).collect::<Option<_>>()?)
            }
            Json::Object(members) => Self::map(members.iter().filter_map(|(key, value)| {
                Self::from_json(value).map(|value| (key.as_str(), value))
            })),
        })
    }

    /// To JSON: durations as `"1m30s"`, times as RFC 3339, numbers that JSON lacks as `null`.
    pub fn to_json(&self) -> serde_json::Value {
        match self {
            Self::Null => serde_json::Value::Null,
            Self::Bool(flag) => (*flag).into(),
            Self::Int(whole) => (*whole).into(),
            Self::Double(number) => (*number).into(),
            Self::Str(text) => (&**text).into(),
            Self::Duration(millis) => duration_text(*millis).into(),
            Self::Time(millis) => Time(*millis).to_string().into(),
            Self::List(items) => items.iter().map(Self::to_json).collect(),
            Self::Map(entries) => {
                entries.iter().map(|(key, value)| (key.to_string(), value.to_json())).collect()
            }
        }
    }

    /// As it stands inside a longer text; `None` for null, lists and maps.
    pub fn to_text(&self) -> Option<String> {
        match self {
            Self::Bool(flag) => Some(flag.to_string()),
            Self::Int(whole) => Some(whole.to_string()),
            Self::Double(number) => Some(number.to_string()),
            Self::Str(text) => Some(text.as_ref().into()),
            Self::Duration(millis) => Some(duration_text(*millis)),
            Self::Time(millis) => Some(Time(*millis).to_string()),
            Self::Null | Self::List(_) | Self::Map(_) => None,
        }
    }

    /// The type as messages name it.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Double(_) => "double",
            Self::Str(_) => "string",
            Self::Duration(_) => "duration",
            Self::Time(_) => "time",
            Self::List(_) => "list",
            Self::Map(_) => "map",
        }
    }

    /// The text, if it is one.
    pub fn as_str(&self) -> Option<&str> {
        if let Self::Str(text) = self { Some(text) } else { None }
    }

    /// The flag, if it is one.
    pub fn as_bool(&self) -> Option<bool> {
        if let Self::Bool(flag) = self { Some(*flag) } else { None }
    }

    /// The whole number, if it is one.
    pub fn as_int(&self) -> Option<i64> {
        if let Self::Int(whole) = self { Some(*whole) } else { None }
    }

    /// The items, if it is a list.
    pub fn as_list(&self) -> Option<&[Self]> {
        if let Self::List(items) = self { Some(items) } else { None }
    }

    /// The entries, if it is a map.
    pub fn as_map(&self) -> Option<&BTreeMap<Arc<str>, Self>> {
        if let Self::Map(entries) = self { Some(entries) } else { None }
    }

    /// The entry of a map; `None` also for what is no map.
    pub fn get(&self, key: &str) -> Option<&Self> {
        self.as_map()?.get(key)
    }

    /// Whether its texts, keys and items together count more than `limit` bytes.
    pub(super) fn is_larger_than(&self, limit: usize) -> bool {
        let mut left = limit;
        !self.fits(&mut left)
    }

    fn fits(&self, left: &mut usize) -> bool {
        let own = if let Self::Str(text) = self { text.len() } else { 1 };
        let Some(rest) = left.checked_sub(own) else { return false };
        *left = rest;
        if let Self::List(items) = self {
            return items.iter().all(|item| item.fits(left));
        }
        self.as_map().is_none_or(|entries| {
            entries.iter().all(|(key, value)| {
                let rest = left.checked_sub(key.len());
                *left = rest.unwrap_or(0);
                rest.is_some() && value.fits(left)
            })
        })
    }
}

/// Numbers are equal by exact value, whole or not; values of other different types never are.
impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::Bool(a), Self::Bool(b)) => a == b,
            (Self::List(a), Self::List(b)) => a == b,
            (Self::Map(a), Self::Map(b)) => a == b,
            _ => order(self, other) == Some(Ordering::Equal),
        }
    }
}

/// The order of two numbers, texts, durations or times; `None` if they have none.
pub(super) fn order(a: &Value, b: &Value) -> Option<Ordering> {
    match (a, b) {
        (Value::Int(a), Value::Int(b))
        | (Value::Duration(a), Value::Duration(b))
        | (Value::Time(a), Value::Time(b)) => Some(a.cmp(b)),
        (Value::Double(a), Value::Double(b)) => a.partial_cmp(b),
        (Value::Int(a), Value::Double(b)) => order_mixed(*a, *b),
        (Value::Double(a), Value::Int(b)) => order_mixed(*b, *a).map(Ordering::reverse),
        (Value::Str(a), Value::Str(b)) => Some(a.cmp(b)),
        _ => None,
    }
}

/// 2^63, the first double above every `i64`.
const BEYOND_INT: f64 = 9_223_372_036_854_775_808.0;

fn order_mixed(whole: i64, number: f64) -> Option<Ordering> {
    if number >= BEYOND_INT {
        return Some(Ordering::Less);
    }
    if number < -BEYOND_INT {
        return Some(Ordering::Greater);
    }
    let fraction = 0.0_f64.partial_cmp(&number.fract())?;
    Some(whole.cmp(&truncate(number)?).then(fraction))
}

/// The whole part of a number; `None` if no `i64` holds it.
pub(super) fn truncate(number: f64) -> Option<i64> {
    #[expect(clippy::cast_possible_truncation, reason = "the range is checked")]
    (-BEYOND_INT..BEYOND_INT).contains(&number).then_some(number as i64)
}

fn duration_text(millis: i64) -> String {
    let text = format_duration(Duration::from_millis(millis.unsigned_abs()));
    if millis < 0 { format!("-{text}") } else { text }
}
