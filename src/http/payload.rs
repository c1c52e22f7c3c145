//! Webhook bodies: JSON in, alerts and what was wrong with the others out, in one pass.
//!
//! Texts are borrowed from the body; labels are copied once, into their final form. Unknown fields
//! are passed over. A value of an unexpected type spoils its own alert and nothing else, so there is
//! no second, slower way through: only text that is no JSON is refused whole.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor},
};

use super::error::Refusal;
use crate::domain::{
    alert::{Incoming, labels::Labels},
    base::time::Time,
};

/// Alerts in one body. Alertmanager groups of that size are a broken `group_by`; 10 MiB hold a few
/// more than this.
pub(super) const ALERTS_MAX: usize = 10_000;

/// Labels of one alert. Prometheus targets carry 10 to 30.
pub(super) const LABELS_MAX: usize = 128;

/// Alertmanager's version of the format.
const VERSION: &str = "4";

/// The end that senders write for an alert without one.
const NO_END: &str = "0001-01-01T00:00:00Z";

/// What a body says.
#[derive(Debug)]
pub(super) struct Delivery {
    pub(super) version: String,
    pub(super) alerts: Vec<Incoming>,
    pub(super) invalid: Vec<Invalid>,
    pub(super) truncated: u64,
    has_alerts: bool,
    too_many: bool,
}

/// An alert that cannot be used, and why.
#[derive(Debug)]
pub(super) struct Invalid {
    index: usize,
    field: &'static str,
    message: String,
}

impl From<Invalid> for Refusal {
    fn from(invalid: Invalid) -> Self {
        let Invalid { index, field, message } = invalid;
        let position = format!("alerts[{index}]");
        let message = format!("{position}.{field}: {message}");
        Self::Unusable { message, field: Some(field.into()), position: Some(position) }
    }
}

/// Reads a body. `now` is the end of a resolved alert without one.
pub(super) fn parse(body: &[u8], now: Time) -> Result<Delivery, Refusal> {
    let raw: Raw<'_> = serde_json::from_slice(body).map_err(|error| Refusal::Unusable {
        message: format!("the body is no JSON object: {error}"),
        field: None,
        position: Some(format!("line {} column {}", error.line(), error.column())),
    })?;
    let mut delivery = Delivery {
        version: raw.version.and_then(Scalar::text).unwrap_or_default().into_owned(),
        alerts: Vec::new(),
        invalid: Vec::new(),
        truncated: raw.truncated.map_or(0, |truncated| truncated.number()),
        has_alerts: raw.alerts.is_some(),
        too_many: raw.alerts.as_ref().is_some_and(|alerts| alerts.too_many),
    };
    let list = raw.alerts.map_or(Vec::new(), |alerts| alerts.list);
    delivery.alerts.reserve_exact(list.len());
    for (index, alert) in list.into_iter().enumerate() {
        match alert.incoming(now) {
            Ok(alert) => delivery.alerts.push(alert),
            Err((field, message)) => delivery.invalid.push(Invalid { index, field, message }),
        }
    }
    Ok(delivery)
}

impl Delivery {
    /// Refuses what is no delivery of Alertmanager, and what is too large.
    pub(super) fn checked(self) -> Result<Self, Refusal> {
        let missing = |field: &str, what: &str| Refusal::Unusable {
            message: format!(
                "the body has no {what}: is a custom `payload` set in Alertmanager's \
                 webhook_config? quorate reads the standard one"
            ),
            field: Some(field.into()),
            position: None,
        };
        match self.version.as_str() {
            VERSION => {}
            "" => return Err(missing("version", "`version`")),
            other => {
                let message = if other == "1" {
                    "version \"1\" is Grafana's format, which is not supported yet; let \
                     Alertmanager (version \"4\") send"
                        .to_owned()
                } else {
                    format!("version {other:?} is not known; Alertmanager's is \"4\"")
                };
                let field = Some("version".into());
                return Err(Refusal::Unusable { message, field, position: None });
            }
        }
        if !self.has_alerts {
            return Err(missing("alerts", "list `alerts`"));
        }
        if self.too_many {
            return Err(Refusal::TooLarge(format!(
                "the body has more than {ALERTS_MAX} alerts; set `max_alerts` in Alertmanager's \
                 webhook_config"
            )));
        }
        Ok(self)
    }
}

#[derive(Default)]
struct Raw<'a> {
    version: Option<Scalar<'a>>,
    truncated: Option<Scalar<'a>>,
    alerts: Option<List<'a>>,
}

#[derive(Default)]
struct List<'a> {
    list: Vec<RawAlert<'a>>,
    too_many: bool,
}

/// An alert as it stands there, right or wrong.
#[derive(Default)]
struct RawAlert<'a> {
    status: Option<Scalar<'a>>,
    labels: Option<RawLabels<'a>>,
    starts_at: Option<Scalar<'a>>,
    ends_at: Option<Scalar<'a>>,
    is_no_object: bool,
}

type Wrong = (&'static str, String);

impl RawAlert<'_> {
    fn incoming(self, now: Time) -> Result<Incoming, Wrong> {
        if self.is_no_object {
            return Err(("labels", "an alert must be an object with labels".into()));
        }
        let status = self.status.and_then(Scalar::text);
        let firing = match status.as_deref() {
            Some("firing") => true,
            Some("resolved") => false,
            Some(other) => return Err(("status", format!("{other:?} is no status"))),
            None => return Err(("status", "`firing` or `resolved` is needed".into())),
        };
        let labels = self.labels.ok_or(("labels", "is missing".to_owned()))?;
        let labels = labels.labels().map_err(|message| ("labels", message))?;
        let starts_at = time("startsAt", self.starts_at)?;
        let starts_at = starts_at.ok_or(("startsAt", "is missing".to_owned()))?;
        let ends_at = time("endsAt", self.ends_at)?;
        Ok(Incoming::new(labels, Some(firing), starts_at, ends_at, now))
    }
}

fn time(field: &'static str, given: Option<Scalar<'_>>) -> Result<Option<Time>, Wrong> {
    match given {
        None => Ok(None),
        Some(given) => {
            let text = given.text().ok_or((field, "must be a text".to_owned()))?;
            if field == "endsAt" && (text.is_empty() || text == NO_END) {
                return Ok(None);
            }
            text.parse().map(Some).map_err(|error| (field, short(format!("{error}"))))
        }
    }
}

/// A value from outside, cut for a message.
fn short(text: String) -> String {
    const LENGTH_MAX: usize = 200;
    match text.char_indices().nth(LENGTH_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[derive(Default)]
struct RawLabels<'a> {
    pairs: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    count: usize,
    wrong: Option<&'static str>,
}

impl RawLabels<'_> {
    fn labels(self) -> Result<Labels, String> {
        if let Some(wrong) = self.wrong {
            return Err(wrong.into());
        }
        if self.count > LABELS_MAX {
            return Err(format!("{} labels are more than {LABELS_MAX}", self.count));
        }
        let labels = Labels::new(self.pairs);
        if labels.is_empty() { Err("at least one is needed".into()) } else { Ok(labels) }
    }
}

/// Any JSON value of which only texts and whole numbers matter.
enum Scalar<'a> {
    Text(Cow<'a, str>),
    Number(u64),
    Other,
}

impl<'a> Scalar<'a> {
    fn text(self) -> Option<Cow<'a, str>> {
        match self {
            Self::Text(text) => Some(text),
            Self::Number(_) | Self::Other => None,
        }
    }

    fn number(&self) -> u64 {
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
        }
        from.deserialize_map(Whole)
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
        }
        from.deserialize_seq(Alerts)
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
                Scalar::Text(text) if labels.count <= LABELS_MAX => labels.pairs.push((name, text)),
                Scalar::Text(_) => {}
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

#[cfg(test)]
mod tests;
