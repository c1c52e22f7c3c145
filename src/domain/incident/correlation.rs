//! Which alerts belong to which subject, per signal of each response.
//!
//! An index, kept by alert id: the cost of one alert does not depend on how many others there are.
//! It holds ids only; whether one still fires is read from the alert itself, so it cannot drift.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use crate::domain::{
    alert::{Alert, Alerts},
    expr::Value,
    id::{ClusterName, ResponseName},
    inventory::Cluster,
    ledger::Subject,
    response::Response,
    time::Time,
};

/// Which cluster an alert is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// This one.
    Cluster(ClusterName),
    /// None matches.
    Unmatched,
    /// Several match: refused, so that nothing is repaired by mistake.
    Ambiguous(Vec<ClusterName>),
}

/// The cluster whose `match` the labels satisfy.
pub fn owner(clusters: &[Arc<Cluster>], alert: &crate::domain::labels::Labels) -> Owner {
    let mut hits = clusters.iter().filter(|cluster| cluster.matches.matches(alert));
    match (hits.next(), hits.next()) {
        (None, _) => Owner::Unmatched,
        (Some(one), None) => Owner::Cluster(one.name.clone()),
        (Some(one), Some(two)) => {
            let names = [one, two].into_iter().chain(hits).map(|cluster| cluster.name.clone());
            Owner::Ambiguous(names.collect())
        }
    }
}

/// Alerts by subject and signal.
#[derive(Debug, Default)]
pub struct Correlation {
    subjects: BTreeMap<Subject, BTreeMap<String, BTreeSet<i64>>>,
}

/// Subjects one cluster may have at once: labels come from outside, memory must not.
pub const SUBJECTS_MAX: usize = 5_000;

impl Correlation {
    /// Files an alert under every subject it belongs to; answers those subjects.
    pub fn observe(
        &mut self,
        cluster: &ClusterName,
        responses: &BTreeMap<ResponseName, Arc<Response>>,
        alert: &Alert,
    ) -> Vec<Subject> {
        let mut touched = Vec::new();
        for response in responses.values() {
            for (signal, matchers) in &response.signals {
                if !matchers.iter().any(|matchers| matchers.matches(&alert.labels)) {
                    continue;
                }
                let subject = subject(cluster, response, alert);
                if !self.subjects.contains_key(&subject) && self.subjects.len() >= SUBJECTS_MAX {
                    continue;
                }
                let signals = self.subjects.entry(subject.clone()).or_default();
                signals.entry(signal.clone()).or_default().insert(alert.id);
                if touched.last() != Some(&subject) {
                    touched.push(subject);
                }
            }
        }
        touched
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
            let alerts = ids.filter_map(|id| alerts.get(*id));
            Signal::new(name, alerts, response.memory, response.stale_after, now)
        };
        response.signals.keys().map(signal).collect()
    }

    /// Forgets alerts that are gone, and subjects without any.
    pub fn forget(&mut self, alerts: &Alerts) {
        self.subjects.retain(|_, signals| {
            signals.retain(|_, ids| {
                ids.retain(|id| alerts.get(*id).is_some());
                !ids.is_empty()
            });
            !signals.is_empty()
        });
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
    /// Alerts that fire and are not silenced.
    pub firing: usize,
    /// Alerts that fire but are silenced: context, never a trigger.
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
            } else if alert.silenced {
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
