//! Which alerts belong to which subject, per signal of each response.
//!
//! An index, kept by alert id: the cost of one alert does not depend on how many others there are.
//! It holds ids only; whether one still fires is read from the alert itself, so it cannot drift.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use super::{
    bounds::{Pair, SUBJECTS_MAX, is_bounded, pair},
    ledger::Subject,
};
use crate::domain::{
    alert::{Alert, Alerts},
    base::{
        id::{ClusterName, ResponseName},
        time::Time,
    },
    rules::{expr::Value, response::Response},
};

/// Alerts by subject and signal.
#[derive(Debug, Default)]
pub struct Correlation {
    subjects: BTreeMap<Subject, BTreeMap<String, BTreeSet<i64>>>,
    /// Subjects with labels, per cluster and response.
    bounded: BTreeMap<Pair, usize>,
    forgot_at: Option<Time>,
}

/// Where an alert was filed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filed {
    /// The subjects it belongs to.
    pub touched: Vec<Subject>,
    /// The subjects that were not taken: their response has too many in this cluster.
    pub refused: Vec<Subject>,
}

/// Between two tries to make room: looking through a full index is not free.
const FORGET_AGAIN: Duration = Duration::from_secs(10);

impl Correlation {
    /// Files an alert under every subject it belongs to. One that says nothing any more makes no
    /// subject with labels.
    pub fn observe(
        &mut self,
        cluster: &ClusterName,
        responses: &BTreeMap<ResponseName, Arc<Response>>,
        alert: &Alert,
        now: Time,
    ) -> Filed {
        let mut filed = Filed::default();
        for response in responses.values() {
            let mut signals = response.signals_of(&alert.labels).peekable();
            if signals.peek().is_none() {
                continue;
            }
            let subject = subject(cluster, response, alert);
            if !self.subjects.contains_key(&subject) && is_bounded(&subject) {
                if !speaks(alert, response, now) {
                    continue;
                }
                let held = self.bounded.entry(pair(&subject)).or_default();
                if *held >= SUBJECTS_MAX {
                    filed.refused.push(subject);
                    continue;
                }
                *held += 1;
            }
            let ids = self.subjects.entry(subject.clone()).or_default();
            for signal in signals {
                ids.entry(signal.to_owned()).or_default().insert(alert.id);
            }
            filed.touched.push(subject);
        }
        filed
    }

    /// The alerts of a subject by signal, those that still say something: firing (not silenced and
    /// repeated within `stale_after`), or resolved within `memory`.
    pub fn signals(
        &self,
        subject: &Subject,
        response: &Response,
        alerts: &Alerts,
        now: Time,
    ) -> Vec<Signal> {
        let filed = self.subjects.get(subject);
        let signal = |name: &String| {
            let ids = filed.and_then(|signals| signals.get(name)).into_iter().flatten();
            let alerts = ids.filter_map(|id| Some(&**alerts.get(*id)?));
            Signal::new(name, alerts, response.memory, response.stale_after, now)
        };
        response.signals.keys().map(signal).collect()
    }

    /// Forgets alerts that are gone, subjects without any, and subjects with labels whose alerts are
    /// all resolved past the response's `memory`. A whole cluster is kept while its alerts are: they
    /// tell why a repair of last week was made.
    pub fn forget(
        &mut self,
        alerts: &Alerts,
        responses: &BTreeMap<ResponseName, Arc<Response>>,
        now: Time,
    ) {
        self.forgot_at = Some(now);
        self.bounded.clear();
        self.subjects.retain(|subject, signals| {
            signals.retain(|_, ids| {
                ids.retain(|id| alerts.get(*id).is_some());
                !ids.is_empty()
            });
            if !is_bounded(subject) {
                return !signals.is_empty();
            }
            let response = responses.get(&subject.response);
            let mut filed = signals.values().flatten().filter_map(|id| alerts.get(*id));
            let keeps = response.is_some_and(|response| filed.any(|a| speaks(a, response, now)));
            if keeps {
                *self.bounded.entry(pair(subject)).or_default() += 1;
            }
            keeps
        });
    }

    /// Whether it is worth looking for room again.
    pub fn is_forget_due(&self, now: Time) -> bool {
        self.forgot_at.is_none_or(|at| now.since(at) >= FORGET_AGAIN)
    }

    /// How many subjects with labels a response has in a cluster.
    pub fn bounded(&self, pair: &Pair) -> usize {
        self.bounded.get(pair).copied().unwrap_or_default()
    }

    /// Every subject that has alerts.
    pub fn subjects(&self) -> impl Iterator<Item = &Subject> {
        self.subjects.keys()
    }

    /// The ids of all alerts of a subject.
    pub fn alerts_of(&self, subject: &Subject) -> BTreeSet<i64> {
        self.subjects
            .get(subject)
            .into_iter()
            .flat_map(BTreeMap::values)
            .flatten()
            .copied()
            .collect()
    }
}

/// Whether an alert is one that `signals` may still count. One that fires without a repeat is: the
/// next repeat changes nothing of it, and would not file it again.
fn speaks(alert: &Alert, response: &Response, now: Time) -> bool {
    alert.firing || now.since(alert.changed_at) < response.memory
}

fn subject(cluster: &ClusterName, response: &Response, alert: &Alert) -> Subject {
    let labels = response.subject.iter().filter(|name| *name != "cluster");
    let labels = labels.map(|name| (name.clone(), alert.labels.get(name).to_owned()));
    Subject { cluster: cluster.clone(), response: response.name.clone(), labels: labels.collect() }
}

/// One signal of a subject as expressions see it.
#[derive(Clone, Debug, PartialEq)]
pub struct Signal {
    /// Its name.
    pub name: String,
    /// Alerts that fire, were delivered and are not suppressed.
    pub firing: usize,
    /// Alerts that fire but are suppressed, or that no webhook has delivered: context, never a trigger.
    pub silenced: usize,
    /// Alerts that resolved within `memory`.
    pub resolved: usize,
    /// When the first of those that fire began to.
    pub since: Option<Time>,
    /// The labels of one of them.
    pub labels: BTreeMap<String, String>,
}

impl Signal {
    fn new<'a>(
        name: &str,
        alerts: impl Iterator<Item = &'a Alert>,
        memory: Duration,
        stale_after: Duration,
        now: Time,
    ) -> Self {
        let mut signal = Self {
            name: name.to_owned(),
            firing: 0,
            silenced: 0,
            resolved: 0,
            since: None,
            labels: BTreeMap::new(),
        };
        for alert in alerts {
            if !alert.firing {
                signal.resolved += usize::from(now.since(alert.changed_at) < memory);
            } else if now.since(alert.seen_at) >= stale_after {
            } else if alert.is_context() {
                signal.silenced += 1;
            } else {
                signal.firing += 1;
                if signal.since.is_none_or(|since| alert.starts_at < since) {
                    signal.since = Some(alert.starts_at);
                    let pairs = alert.labels.iter();
                    signal.labels = pairs.map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
                }
            }
        }
        signal
    }

    /// `{firing, resolved, age?, labels}`.
    pub fn value(&self, now: Time) -> Value {
        let count = |n: usize| Value::Int(i64::try_from(n).unwrap_or(i64::MAX));
        let labels =
            Value::map(self.labels.iter().map(|(n, v)| (n.as_str(), Value::str(v.as_str()))));
        let mut fields = vec![
            ("firing", count(self.firing)),
            ("resolved", count(self.resolved)),
            ("labels", labels),
        ];
        if let Some(since) = self.since {
            let age = i64::try_from(now.since(since).as_millis()).unwrap_or(i64::MAX);
            fields.push(("age", Value::Duration(age)));
        }
        Value::map(fields)
    }
}

#[cfg(test)]
mod tests;
