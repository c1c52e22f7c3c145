//! Webhook bodies: JSON in, alerts and what was wrong with the others out, in one pass.
//!
//! Texts are borrowed from the body; labels are copied once, into their final form. Unknown fields
//! are passed over. A value of an unexpected type spoils its own alert and nothing else, so there is
//! no second, slower way through: only text that is no JSON is refused whole.

mod raw;
#[cfg(test)]
mod tests;

use self::raw::{Raw, RawAlert, RawLabels, Scalar};
use super::error::{Refusal, shown};
use crate::domain::{
    alert::{Incoming, labels::Labels},
    base::time::Time,
};

/// Alerts in one body. Alertmanager groups of that size are a broken `group_by`; 10 MiB hold a few
/// more than this.
pub(super) const ALERTS_MAX: usize = 10_000;

/// Labels of one alert. Prometheus targets carry 10 to 30.
pub(super) const LABELS_MAX: usize = 128;

/// Names and values of one alert's labels together, in bytes: what is kept of an alert, on disk and
/// in memory (annotations are not). Real ones have a few hundred; hosted Prometheis allow 30 labels
/// of 3 KiB, and this is room for 128 of half a KiB.
pub(super) const LABELS_BYTES_MAX: usize = 64 << 10;

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
                let other = shown(other);
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
            Some(other) => return Err(("status", format!("{:?} is no status", shown(other)))),
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
            let read = shown(&text).parse::<Time>();
            read.map(Some).map_err(|error| (field, error.to_string()))
        }
    }
}

impl RawLabels<'_> {
    fn labels(self) -> Result<Labels, String> {
        if let Some(wrong) = self.wrong {
            return Err(wrong.into());
        }
        if self.count > LABELS_MAX {
            return Err(format!("{} labels are more than {LABELS_MAX}", self.count));
        }
        if self.bytes > LABELS_BYTES_MAX {
            return Err(format!("{} bytes of labels are more than {LABELS_BYTES_MAX}", self.bytes));
        }
        let labels = Labels::new(self.pairs);
        if labels.is_empty() { Err("at least one is needed".into()) } else { Ok(labels) }
    }
}
