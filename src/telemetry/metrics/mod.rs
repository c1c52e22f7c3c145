//! All metrics: counters with typed methods, and counts that are read at scrape.
//!
//! It holds no state that another part also holds. The one thing to know: label values come from
//! closed lists, from the inventory and from loaded rules; nothing that came in an alert is ever one.

pub mod lists;
mod process;
mod scrape;
mod table;
#[cfg(test)]
mod tests;

use std::{
    borrow::Cow,
    sync::{Arc, PoisonError},
    time::Duration,
};

use prometheus_client::{encoding::text, registry::Registry};

use self::{
    lists::{BACKOFFS, CODES, INCIDENT_OUTCOMES, REASONS, SOURCES, STATUSES, UNDO_OUTCOMES},
    process::Process,
    scrape::{Counts, Declared, Shared},
    table::Events,
};
use crate::domain::base::{
    id::{ClusterName, PlaybookName, ResponseName},
    time::Time,
};

pub use self::{
    scrape::Scrape,
    table::{Row, rows},
};

/// The content type of [`Metrics::render`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Labels as pairs; values of any kind that has a text.
macro_rules! labels {
    ($($key:ident: $value:expr),*) => {
        vec![$((stringify!($key), $crate::telemetry::metrics::Value::text(&$value))),*]
    };
}
use labels;

/// What can be a label's value.
trait Value {
    fn text(&self) -> Cow<'static, str>;
}

impl Value for &'static str {
    fn text(&self) -> Cow<'static, str> {
        Cow::Borrowed(self)
    }
}

impl Value for String {
    fn text(&self) -> Cow<'static, str> {
        Cow::Owned(self.clone())
    }
}

macro_rules! names {
    ($($name:ident),*) => {$(
        impl Value for $name {
            fn text(&self) -> Cow<'static, str> {
                Cow::Owned(self.as_str().into())
            }
        }
        impl Value for &$name {
            fn text(&self) -> Cow<'static, str> {
                Cow::Owned(self.as_str().into())
            }
        }
    )*};
}
names!(ClusterName, PlaybookName, ResponseName);

/// The metrics of this process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    events: Events,
    counts: Shared,
}

impl Metrics {
    /// All metrics at 0. `version` and `revision` are this program's.
    pub fn new(version: &str, revision: &str) -> Self {
        let mut registry = Registry::default();
        let counts = Arc::new(Counts::default());
        let build = [("version", version), ("revision", revision)];
        *counts.build.write().unwrap_or_else(PoisonError::into_inner) =
            build.map(|(key, value)| (key, value.to_owned().into())).into();
        let own = registry.sub_registry_with_prefix("quorate");
        let events = Events::register(own);
        own.register_collector(Box::new(Arc::clone(&counts)));
        registry.register_collector(Box::new(Process::new()));
        let metrics = Self { registry, events, counts };
        metrics.begin();
        metrics
    }

    /// Sets where the current counts come from. It is called at every scrape and must be quick.
    pub fn set_scrape(&self, source: Box<dyn Fn() -> Scrape + Send + Sync>) {
        *self.counts.source.write().unwrap_or_else(PoisonError::into_inner) = Some(source);
    }

    /// Makes the series of these clusters and responses (with the playbooks that each may lead to)
    /// exist, at 0 where nothing happened. Counters of what is gone stay.
    pub fn declare(
        &self,
        clusters: &[ClusterName],
        responses: &[(ResponseName, Vec<PlaybookName>)],
    ) {
        let declared = Declared { clusters: clusters.into(), responses: responses.into() };
        *self.counts.declared.write().unwrap_or_else(PoisonError::into_inner) = declared;
        let events = &self.events;
        for (response, _) in responses {
            for outcome in INCIDENT_OUTCOMES {
                let labels = labels!(response: response, outcome: *outcome);
                drop(events.incidents_closed.get_or_create(&labels));
            }
            drop(events.incident_duration_seconds.get_or_create(&labels!(response: response)));
            for cluster in clusters {
                let labels = labels!(cluster: cluster, response: response);
                drop(events.subjects_refused.get_or_create(&labels));
                for kind in BACKOFFS {
                    let labels = labels!(cluster: cluster, response: response, kind: *kind);
                    drop(events.backoff_skips.get_or_create(&labels));
                }
                for reason in REASONS {
                    let labels = labels!(cluster: cluster, response: response, reason: *reason);
                    drop(events.repair_skips.get_or_create(&labels));
                }
            }
        }
    }

    /// Counts a webhook request: who sent it (of [`SOURCES`]), its answer, its time and its size.
    pub fn webhook(&self, source: &'static str, code: u16, took: Duration, body_bytes: u64) {
        let code = CODES.iter().find(|(known, _)| *known == code).map_or("other", |(_, code)| code);
        self.events.webhook_requests.get_or_create(&labels!(source: source, code: code)).inc();
        self.events.webhook_request_duration_seconds.observe(took.as_secs_f64());
        let bytes = u32::try_from(body_bytes).unwrap_or(u32::MAX);
        self.events.webhook_body_bytes.observe(f64::from(bytes));
    }

    /// Counts valid alerts that came in, by status (`firing`, `resolved`).
    pub fn alerts_received(&self, status: &'static str, count: u64) {
        self.events.alerts_received.get_or_create(&labels!(status: status)).inc_by(count);
    }

    /// Counts alerts that changed nothing.
    pub fn alerts_deduplicated(&self, count: u64) {
        self.events.alerts_deduplicated.inc_by(count);
    }

    /// Counts alerts that were held back for one delivery because they speak of what is over.
    pub fn alerts_old_news(&self, count: u64) {
        self.events.alerts_old_news.inc_by(count);
    }

    /// Counts alerts that were not kept because there are too many.
    pub fn alerts_refused(&self, count: u64) {
        self.events.alerts_refused.inc_by(count);
    }

    /// Counts alerts that match no cluster, or several.
    pub fn alerts_unmatched(&self, count: u64) {
        self.events.alerts_unmatched.inc_by(count);
    }

    /// Counts an alert whose subject was not taken, or opened no incident, for there are too many.
    pub fn subject_refused(&self, cluster: &ClusterName, response: &ResponseName) {
        let labels = labels!(cluster: cluster, response: response);
        self.events.subjects_refused.get_or_create(&labels).inc();
    }

    /// Counts alerts that could not be read.
    pub fn alerts_invalid(&self, count: u64) {
        self.events.alerts_invalid.inc_by(count);
    }

    /// Counts alerts that the sender left out.
    pub fn alerts_truncated(&self, count: u64) {
        self.events.alerts_truncated.inc_by(count);
    }

    /// Counts the end of an incident and how long it was open.
    pub fn incident_closed(&self, response: &ResponseName, outcome: &'static str, open: Duration) {
        let labels = labels!(response: response, outcome: outcome);
        self.events.incidents_closed.get_or_create(&labels).inc();
        let durations = &self.events.incident_duration_seconds;
        durations.get_or_create(&labels!(response: response)).observe(open.as_secs_f64());
    }

    /// Counts a dispatch that was held back, by kind (`cooldown`, `tolerance`, `backoff`).
    pub fn backoff_skip(&self, cluster: &ClusterName, response: &ResponseName, kind: &'static str) {
        let labels = labels!(cluster: cluster, response: response, kind: kind);
        self.events.backoff_skips.get_or_create(&labels).inc();
    }

    /// Counts a decision not to act that differs from the one before.
    pub fn repair_skip(
        &self,
        cluster: &ClusterName,
        response: &ResponseName,
        reason: &'static str,
    ) {
        let labels = labels!(cluster: cluster, response: response, reason: reason);
        self.events.repair_skips.get_or_create(&labels).inc();
    }

    /// Notes a probe: what kind of target it asked, from which vantage group, how it ended.
    pub fn probe(
        &self,
        target: &'static str,
        vantage: &'static str,
        outcome: &'static str,
        took: Duration,
    ) {
        let labels = labels!(target: target, vantage: vantage, outcome: outcome);
        let durations = &self.events.probe_duration_seconds;
        durations.get_or_create(&labels).observe(took.as_secs_f64());
    }

    /// Counts a reading that could not be had.
    pub fn evidence_unknown(&self, target: &'static str, cause: &'static str) {
        let labels = labels!(target: target, cause: cause);
        self.events.evidence_unknown.get_or_create(&labels).inc();
    }

    /// Notes a step of a run; the action is one of the catalogue.
    pub fn step(&self, action: &str, outcome: &'static str, took: Duration) {
        let labels = labels!(action: action.to_owned(), outcome: outcome);
        let durations = &self.events.step_duration_seconds;
        durations.get_or_create(&labels).observe(took.as_secs_f64());
    }

    /// Counts an undone step, by how that ended (`undone`, `undo_failed`).
    pub fn undo(&self, outcome: &'static str) {
        self.events.undo.get_or_create(&labels!(outcome: outcome)).inc();
    }

    /// Notes how long a decision took.
    pub fn decision(&self, latency: Duration) {
        self.events.decision_latency_seconds.observe(latency.as_secs_f64());
    }

    /// Notes how long an append took to be durable.
    pub fn store_append(&self, took: Duration) {
        self.events.store_append_duration_seconds.observe(took.as_secs_f64());
    }

    /// Notes a load of the configuration: when it was taken, `None` if it was refused.
    pub fn config_loaded(&self, taken: Option<Time>) {
        self.events.config_last_reload_successful.set(i64::from(taken.is_some()));
        if let Some(at) = taken {
            self.events.config_last_reload_success_timestamp_seconds.set(at.0.div_euclid(1000));
        }
    }

    /// The page, in the format of [`CONTENT_TYPE`].
    pub fn render(&self) -> String {
        let mut page = String::with_capacity(64 << 10);
        text::encode(&mut page, &self.registry).expect("writing to a string cannot fail");
        // the encoder writes `inf`; line ends within label values are escaped, so this is a value
        if page.contains(" inf\n") { page.replace(" inf\n", " +Inf\n") } else { page }
    }

    /// Series of closed lists exist before anything happens.
    fn begin(&self) {
        let events = &self.events;
        for source in SOURCES {
            for (_, code) in CODES {
                let labels = labels!(source: *source, code: *code);
                drop(events.webhook_requests.get_or_create(&labels));
            }
        }
        for status in STATUSES {
            drop(events.alerts_received.get_or_create(&labels!(status: *status)));
        }
        for outcome in UNDO_OUTCOMES {
            drop(events.undo.get_or_create(&labels!(outcome: *outcome)));
        }
    }
}
