//! All metrics of quorate, in one table: the doc comment is the help text.
//!
//! `events!` are counted or observed when they happen. `scraped!` are read from the engine's state
//! at scrape. Names carry neither the prefix `quorate_` nor a counter's `_total`; those are added
//! when they are printed.

use std::{borrow::Cow, collections::BTreeMap, fmt};

use prometheus_client::{
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{
        counter::{ConstCounter, Counter},
        family::Family,
        gauge::{ConstGauge, Gauge},
        histogram::Histogram,
    },
    registry::Registry,
};

/// The labels of one series. Values that are not from closed lists are escaped by the encoder.
pub(super) type Labels = Vec<(&'static str, Cow<'static, str>)>;
/// One counter per label set.
pub(super) type Counters = Family<Labels, Counter>;
/// One histogram per label set.
pub(super) type Histograms = Family<Labels, Histogram, fn() -> Histogram>;
/// Values read at scrape.
pub(super) type Series = BTreeMap<Labels, f64>;

/// A row of the table, for tests and documentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// The name as it is printed without suffixes of its samples, `quorate_` included.
    pub name: &'static str,
    /// `counter`, `gauge` or `histogram`.
    pub kind: &'static str,
    /// The help text.
    pub help: &'static str,
}

macro_rules! kind {
    (counter) => {
        Counter
    };
    (counters) => {
        Counters
    };
    (gauge) => {
        Gauge
    };
    (histogram) => {
        Histogram
    };
    (histograms) => {
        Histograms
    };
}

macro_rules! new {
    (counter) => {
        Counter::default()
    };
    (counters) => {
        Counters::default()
    };
    (gauge) => {
        Gauge::default()
    };
    (histogram $bounds:ident) => {
        Histogram::new($bounds.iter().copied())
    };
    (histograms $bounds:ident) => {
        Histograms::new_with_constructor(|| Histogram::new($bounds.iter().copied()))
    };
}

macro_rules! printed {
    (counter) => {
        "counter"
    };
    (counters) => {
        "counter"
    };
    (gauge) => {
        "gauge"
    };
    (histogram) => {
        "histogram"
    };
    (histograms) => {
        "histogram"
    };
}

macro_rules! events {
    ($(#[doc = $help:literal] $name:ident: $kind:ident $($bounds:ident)?;)*) => {
        /// What is counted when it happens.
        #[derive(Debug)]
        pub(super) struct Events {
            $(#[doc = $help] pub(super) $name: kind!($kind),)*
        }

        impl Events {
            pub(super) fn register(registry: &mut Registry) -> Self {
                let events = Self { $($name: new!($kind $($bounds)?),)* };
                $(registry.register(stringify!($name), help($help), events.$name.clone());)*
                events
            }
        }

        pub(super) const EVENTS: &[Row] = &[$(Row {
            name: concat!("quorate_", stringify!($name)),
            kind: printed!($kind),
            help: $help,
        }),*];
    };
}

macro_rules! scraped {
    ($(#[doc = $help:literal] $name:ident: $kind:ident;)*) => {
        /// What is read at scrape.
        #[derive(Debug, Default)]
        pub(super) struct Scraped {
            $(#[doc = $help] pub(super) $name: Series,)*
        }

        impl Scraped {
            pub(super) fn encode(&self, to: &mut DescriptorEncoder<'_>) -> fmt::Result {
                $($kind(to, stringify!($name), &help($help), &self.$name)?;)*
                Ok(())
            }
        }

        pub(super) const SCRAPED: &[Row] = &[$(Row {
            name: concat!("quorate_", stringify!($name)),
            kind: printed!($kind),
            help: $help,
        }),*];
    };
}

/// Seconds that a request may take.
const SHORT: &[f64] =
    &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// Seconds that a step or an incident may take, up to a day.
const LONG: &[f64] =
    &[0.1, 0.5, 1.0, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0, 21600.0, 86400.0];
/// Bytes of a body, up to the largest that is taken by default.
const BYTES: &[f64] = &[1024.0, 4096.0, 16384.0, 65536.0, 262_144.0, 1_048_576.0, 10_485_760.0];

events! {
    /// Webhook requests, by who sent them and how they were answered
    webhook_requests: counters;
    /// Seconds from a webhook request to its answer
    webhook_request_duration_seconds: histogram SHORT;
    /// Bytes in the body of a webhook request
    webhook_body_bytes: histogram BYTES;
    /// Alerts that came in valid, by their status
    alerts_received: counters;
    /// Alerts that came in again and changed nothing
    alerts_deduplicated: counter;
    /// Alerts that came in and were held back for this one delivery, because they speak of what is over
    alerts_old_news: counter;
    /// Alerts that came in and were not kept, because there are too many already
    alerts_refused: counter;
    /// Alerts that came in and match no cluster, or several
    alerts_unmatched: counter;
    /// Alerts that came in and could not be read
    alerts_invalid: counter;
    /// Alerts that the sender left out because the group was too large
    alerts_truncated: counter;
    /// Alerts left aside, or without incident, because their response has too many subjects there
    subjects_refused: counters;
    /// Incidents that ended, by how
    incidents_closed: counters;
    /// Seconds from the opening of an incident to its end
    incident_duration_seconds: histograms LONG;
    /// Dispatches that were held back by cooldown, tolerance or backoff
    backoff_skips: counters;
    /// Decisions not to act, by reason, counted when they change
    repair_skips: counters;
    /// Seconds that a probe took, by what it asked, from where, and how it ended
    probe_duration_seconds: histograms SHORT;
    /// Readings that could not be had, by cause
    evidence_unknown: counters;
    /// Seconds that a step of a run took, by action and how it ended
    step_duration_seconds: histograms LONG;
    /// Steps that were undone, by how that ended
    undo: counters;
    /// Seconds from the arrival of an alert, or the end of a wait, to the decision
    decision_latency_seconds: histogram SHORT;
    /// Seconds from a journal append to its being durable
    store_append_duration_seconds: histogram SHORT;
    /// Whether the last load of the configuration was taken (1) or refused (0)
    config_last_reload_successful: gauge;
    /// When a configuration was taken last, in seconds since the epoch
    config_last_reload_success_timestamp_seconds: gauge;
}

scraped! {
    /// Alerts that fire, whether a response is about them or not
    alerts_active: gauge;
    /// Incidents that are open, by phase
    incidents_open: gauge;
    /// Attempts to repair, by how they ended; kept across restarts and never reset
    repair_attempts: counter;
    /// Until when the next repair is held back, in seconds since the epoch; 0 if it is not
    repair_backoff_until_timestamp_seconds: gauge;
    /// Whether data may have been lost and nobody has acknowledged it yet
    data_loss_possible: gauge;
    /// Revisions that may have been lost in losses that nobody has acknowledged, as bounds; an unknown one is +Inf
    data_loss_revisions: gauge;
    /// Losses that were recorded, acknowledged or not; never reset
    data_loss_events: counter;
    /// What look-outs after a rebuild found that is not well: members that differ, old members that are back
    watch_findings: gauge;
    /// Whether a cluster is not worked on any more until quorate is restarted: a fault of quorate's
    cluster_stopped: gauge;
    /// What a repair that was given up past its point of no return left to be done by hand, in items
    repair_leftovers: gauge;
    /// What the last evidence says: 1 for the verdict that holds
    cluster_verdict: gauge;
    /// Runs that are stored, by state
    runs_in_state: gauge;
    /// Seconds until an incident's grace has passed; 0 if none runs
    grace_remaining_seconds: gauge;
    /// When the last alert came in, in seconds since the epoch
    last_alert_timestamp_seconds: gauge;
    /// Bytes of the store on disk
    store_bytes: gauge;
    /// Clusters that this process owns
    store_owned_clusters: gauge;
    /// The version that runs, always 1
    build_info: gauge;
}

/// Every metric with the prefix `quorate_`, in the order of the table.
pub fn rows() -> impl Iterator<Item = Row> {
    let trimmed = |row: &Row| Row { help: row.help.trim(), ..*row };
    EVENTS.iter().chain(SCRAPED).map(trimmed)
}

fn help(doc: &str) -> String {
    doc.trim().into()
}

/// Prints a gauge family; nothing where it is empty.
pub(super) fn gauge(
    to: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    series: &Series,
) -> fmt::Result {
    family(to, name, help, series, ConstGauge::new)
}

/// Prints a counter family; nothing where it is empty.
pub(super) fn counter(
    to: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    series: &Series,
) -> fmt::Result {
    family(to, name, help, series, ConstCounter::new)
}

fn family<M: EncodeMetric>(
    to: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    series: &Series,
    metric: impl Fn(f64) -> M,
) -> fmt::Result {
    let Some(first) = series.values().next() else { return Ok(()) };
    let kind = metric(*first).metric_type();
    let mut family = to.encode_descriptor(name, help, None, kind)?;
    for (labels, value) in series {
        if labels.is_empty() {
            return metric(*value).encode(family);
        }
        metric(*value).encode(family.encode_family(labels)?)?;
    }
    Ok(())
}
