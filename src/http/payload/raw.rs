//! What stands in a body, before anybody asks whether it makes sense.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{Error, IgnoredAny, MapAccess, SeqAccess, Unexpected, Visitor},
};

use super::{ALERTS_MAX, LABELS_BYTES_MAX, LABELS_MAX};

#[derive(Default)]
pub(super) struct Raw<'a> {
    pub(super) version: Option<Scalar<'a>>,
    pub(super) truncated: Option<Scalar<'a>>,
    pub(super) alerts: Option<List<'a>>,
}

#[derive(Default)]
pub(super) struct List<'a> {
    pub(super) list: Vec<RawAlert<'a>>,
    pub(super) too_many: bool,
}

/// An alert as it stands there, right or wrong.
#[derive(Default)]
pub(super) struct RawAlert<'a> {
    pub(super) status: Option<Scalar<'a>>,
    pub(super) labels: Option<RawLabels<'a>>,
    pub(super) starts_at: Option<Scalar<'a>>,
    pub(super) ends_at: Option<Scalar<'a>>,
    pub(super) is_no_object: bool,
}

#[derive(Default)]
pub(super) struct RawLabels<'a> {
    pub(super) pairs: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    pub(super) count: usize,
    pub(super) bytes: usize,
    pub(super) wrong: Option<&'static str>,
}

/// Any JSON value of which only texts and whole numbers matter.
pub(super) enum Scalar<'a> {
    Text(Cow<'a, str>),
    Number(u64),
    Other,
}

impl<'a> Scalar<'a> {
    pub(super) fn text(self) -> Option<Cow<'a, str>> {
        match self {
            Self::Text(text) => Some(text),
            Self::Number(_) | Self::Other => None,
        }
    }

    pub(super) fn number(&self) -> u64 {
        match self {
            Self::Number(number) => *number,
            Self::Text(_) | Self::Other => 0,
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Scalar<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(ScalarVisitor)
    }
}

struct ScalarVisitor;

/// The part of a visitor that takes what was not wished for, and goes on behind it.
macro_rules! pass_over {
    ($other:expr; $($kind:ident $ty:ty),*) => {
        $(fn $kind<E>(self, _: $ty) -> Result<Self::Value, E> { Ok($other) })*

        fn visit_unit<E>(self) -> Result<Self::Value, E> { Ok($other) }
    };
}

impl<'de> Visitor<'de> for ScalarVisitor {
    type Value = Scalar<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Scalar::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Scalar::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
        Ok(Scalar::Number(number))
    }

    pass_over!(Scalar::Other; visit_bool bool, visit_i64 i64, visit_f64 f64);

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Self::Value, A::Error> {
        pass_seq(seq).map(|()| Scalar::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        pass_map(map).map(|()| Scalar::Other)
    }
}

fn pass_seq<'de, A: SeqAccess<'de>>(mut seq: A) -> Result<(), A::Error> {
    while seq.next_element::<IgnoredAny>()?.is_some() {}
    Ok(())
}

fn pass_map<'de, A: MapAccess<'de>>(mut map: A) -> Result<(), A::Error> {
    while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
    Ok(())
}

/// A text where none belongs; the default would repeat all of it.
const TEXT: Unexpected<'_> = Unexpected::Other("a text");

/// A key, borrowed where it holds no escape.
struct Key<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Key<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        match from.deserialize_any(ScalarVisitor)? {
            Scalar::Text(text) => Ok(Self(text)),
            Scalar::Number(_) | Scalar::Other => Ok(Self(Cow::Borrowed(""))),
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Raw<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Whole;
        impl<'de> Visitor<'de> for Whole {
            type Value = Raw<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object with `version` and `alerts`")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut raw = Raw::default();
                while let Some(Key(key)) = map.next_key()? {
                    match &*key {
                        "version" => raw.version = Some(map.next_value()?),
                        "truncatedAlerts" => raw.truncated = Some(map.next_value()?),
                        "alerts" => raw.alerts = map.next_value::<Option<List<'de>>>()?,
                        _ => drop(map.next_value::<IgnoredAny>()?),
                    }
                }
                Ok(raw)
            }

            fn visit_str<E: Error>(self, _: &str) -> Result<Self::Value, E> {
                Err(E::invalid_type(TEXT, &self))
            }
        }
        from.deserialize_any(Whole)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for List<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Alerts;
        impl<'de> Visitor<'de> for Alerts {
            type Value = List<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of alerts")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut list = List::default();
                while list.list.len() < ALERTS_MAX {
                    match seq.next_element()? {
                        Some(alert) => list.list.push(alert),
                        None => return Ok(list),
                    }
                }
                while seq.next_element::<IgnoredAny>()?.is_some() {
                    list.too_many = true;
                }
                Ok(list)
            }

            fn visit_str<E: Error>(self, _: &str) -> Result<Self::Value, E> {
                Err(E::invalid_type(TEXT, &self))
            }
        }
        from.deserialize_any(Alerts)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for RawAlert<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(AlertVisitor)
    }
}

struct AlertVisitor;

impl<'de> Visitor<'de> for AlertVisitor {
    type Value = RawAlert<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an alert")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut alert = RawAlert::default();
        while let Some(Key(key)) = map.next_key()? {
            match &*key {
                "status" => alert.status = Some(map.next_value()?),
                "labels" => alert.labels = Some(map.next_value()?),
                "startsAt" => alert.starts_at = Some(map.next_value()?),
                "endsAt" => alert.ends_at = Some(map.next_value()?),
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(alert)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Self::Value, A::Error> {
        pass_seq(seq).map(|()| RawAlert { is_no_object: true, ..RawAlert::default() })
    }

    fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
        Ok(RawAlert { is_no_object: true, ..RawAlert::default() })
    }

    pass_over!(RawAlert { is_no_object: true, ..RawAlert::default() };
        visit_bool bool, visit_i64 i64, visit_u64 u64, visit_f64 f64);
}

impl<'de: 'a, 'a> Deserialize<'de> for RawLabels<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(LabelsVisitor)
    }
}

struct LabelsVisitor;

const NO_LABELS: &str = "must be an object of texts";

impl<'de> Visitor<'de> for LabelsVisitor {
    type Value = RawLabels<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("labels")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut labels = RawLabels { pairs: Vec::with_capacity(16), ..RawLabels::default() };
        while let Some((Key(name), value)) = map.next_entry::<Key<'de>, Scalar<'de>>()? {
            labels.count += 1;
            match value {
                Scalar::Text(_) if name.is_empty() => labels.wrong = Some("a name is empty"),
                Scalar::Text(text) => {
                    labels.bytes += name.len() + text.len();
                    if labels.count <= LABELS_MAX && labels.bytes <= LABELS_BYTES_MAX {
                        labels.pairs.push((name, text));
                    }
                }
                Scalar::Number(_) | Scalar::Other => labels.wrong = Some(NO_LABELS),
            }
        }
        Ok(labels)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Self::Value, A::Error> {
        pass_seq(seq).map(|()| RawLabels { wrong: Some(NO_LABELS), ..RawLabels::default() })
    }

    fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
        Ok(RawLabels { wrong: Some(NO_LABELS), ..RawLabels::default() })
    }

    pass_over!(RawLabels { wrong: Some(NO_LABELS), ..RawLabels::default() };
        visit_bool bool, visit_i64 i64, visit_u64 u64, visit_f64 f64);
}
