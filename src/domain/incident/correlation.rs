//! Which alerts belong to which subject, per signal of each response.
//!
//! An index of one cluster, kept by alert id: the cost of one alert does not depend on how many
//! others there are. Whether one still fires is read from the alert itself, so it cannot drift.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use super::{
    bounds::{SUBJECTS_MAX, is_bounded},
    ledger::Subject,
};
use crate::domain::{
    alert::Alert,
    base::{
        id::{ClusterName, ResponseName},
        shared::{SharedMap, SharedSet},
        time::Time,
    },
    rules::{expr::Value, response::Response},
};

/// Alerts by subject and signal, of one cluster.
#[derive(Clone, Debug, Default)]
pub struct Correlation {
    alerts: SharedMap<i64, Arc<Alert>>,
    subjects: SharedMap<Subject, BySignal>,
    /// Subjects with labels, per response.
    bounded: BTreeMap<ResponseName, usize>,
    forgot_at: Option<Time>,
}

/// The ids of the alerts of one subject.
type BySignal = SharedMap<Arc<str>, SharedSet<i64>>;

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
        alert: &Arc<Alert>,
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
                let held = self.bounded.entry(response.name.clone()).or_default();
                if *held >= SUBJECTS_MAX {
                    filed.refused.push(subject);
                    continue;
                }
                *held += 1;
            }
            self.file(&subject, signals, alert.id);
            filed.touched.push(subject);
        }
        if !filed.touched.is_empty() {
            self.alerts.insert_mut(alert.id, alert.clone());
        }
        filed
    }

    fn file<'a>(&mut self, subject: &Subject, signals: impl Iterator<Item = &'a str>, id: i64) {
        let known = self.subjects.get(subject);
        let mut of = known.cloned().unwrap_or_else(BySignal::new_sync);
        let mut is_news = known.is_none();
        for signal in signals {
            if of.get(signal).is_some_and(|ids| ids.contains(&id)) {
                continue;
            }
            let mut ids = of.get(signal).cloned().unwrap_or_else(SharedSet::new_sync);
            ids.insert_mut(id);
            of.insert_mut(signal.into(), ids);
            is_news = true;
        }
        if is_news {
            self.subjects.insert_mut(subject.clone(), of);
        }
    }

    /// The alerts of a subject by signal, those that still say something: firing (not silenced and
    /// repeated within `stale_after`), or resolved within `memory`.
    pub fn signals(&self, subject: &Subject, response: &Response, now: Time) -> Vec<Signal> {
        let filed = self.subjects.get(subject);
        let signal = |name: &String| {
            let ids = filed.and_then(|signals| signals.get(name.as_str()));
            let ids = ids.into_iter().flat_map(SharedSet::iter);
            let alerts = ids.filter_map(|id| self.alerts.get(id)).map(Arc::as_ref);
            Signal::new(name, alerts, response.memory, response.stale_after, now)
        };
        response.signals.keys().map(signal).collect()
    }

    /// Takes alerts out that are gone from the store.
    pub fn remove(&mut self, ids: &[i64]) {
        for id in ids {
            self.alerts.remove_mut(id);
        }
    }

    /// Forgets alerts that are gone, subjects without any, and subjects with labels whose alerts are
    /// all resolved past the response's `memory`. A whole cluster is kept while its alerts are: they
    /// tell why a repair of last week was made.
    pub fn forget(&mut self, responses: &BTreeMap<ResponseName, Arc<Response>>, now: Time) {
        self.forgot_at = Some(now);
        self.bounded.clear();
        let (mut kept, mut filed) = (SharedMap::new_sync(), BTreeSet::new());
        for (subject, signals) in &self.subjects {
            let signals = self.living(signals);
            if is_bounded(subject) {
                let response = responses.get(&subject.response);
                let mut alerts = ids_of(&signals).filter_map(|id| self.alerts.get(&id));
                if !response.is_some_and(|response| alerts.any(|a| speaks(a, response, now))) {
                    continue;
                }
                *self.bounded.entry(subject.response.clone()).or_default() += 1;
            } else if signals.is_empty() {
                continue;
            }
            filed.extend(ids_of(&signals));
            kept.insert_mut(subject.clone(), signals);
        }
        self.subjects = kept;
        let gone = self.alerts.keys().filter(|id| !filed.contains(id)).copied();
        self.remove(&gone.collect::<Vec<_>>());
    }

    /// The same without alerts that are gone.
    fn living(&self, signals: &BySignal) -> BySignal {
        let living = |ids: &SharedSet<i64>| {
            let ids = ids.iter().filter(|id| self.alerts.contains_key(*id)).copied();
            ids.collect::<SharedSet<i64>>()
        };
        let signals = signals.iter().map(|(name, ids)| (name.clone(), living(ids)));
        signals.filter(|(_, ids)| !ids.is_empty()).collect()
    }

    /// Whether it is worth looking for room again.
    pub fn is_forget_due(&self, now: Time) -> bool {
        self.forgot_at.is_none_or(|at| now.since(at) >= FORGET_AGAIN)
    }

    /// How many subjects with labels a response has.
    pub fn bounded(&self, response: &ResponseName) -> usize {
        self.bounded.get(response).copied().unwrap_or_default()
    }

    /// Every subject that has alerts.
    pub fn subjects(&self) -> impl Iterator<Item = &Subject> {
        self.subjects.keys()
    }

    /// Every alert that is filed.
    pub fn alerts(&self) -> impl Iterator<Item = &Arc<Alert>> {
        self.alerts.values()
    }

    /// All alerts of a subject, by id.
    pub fn alerts_of(&self, subject: &Subject) -> Vec<&Arc<Alert>> {
        let ids: BTreeSet<i64> = self.subjects.get(subject).into_iter().flat_map(ids_of).collect();
        ids.iter().filter_map(|id| self.alerts.get(id)).collect()
    }

    /// When the last of a subject's alerts that fire began to, by our clock.
    pub fn began(&self, subject: &Subject) -> Option<Time> {
        let firing = self.alerts_of(subject).into_iter().filter(|alert| alert.firing);
        firing.map(|alert| alert.changed_at).max()
    }
}

fn ids_of(signals: &BySignal) -> impl Iterator<Item = i64> {
    signals.values().flat_map(SharedSet::iter).copied()
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
