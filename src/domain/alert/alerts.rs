//! All alerts that are known, found by labels, number or fingerprint.
//!
//! Cost and memory: a lookup is logarithmic, and the labels are stored once; 100,000 active alerts
//! of seven labels stay below 60 MB.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{
    incoming::{Delivery, Incoming, Seen},
    known::Alert,
    labels::{Labels, fingerprint},
};
use crate::domain::base::time::Time;

/// All alerts by fingerprint, then number: label sets that share a fingerprint stay apart.
type ByPrint = BTreeMap<(u64, i64), Alert>;

/// All alerts that are known.
#[derive(Clone, Debug, Default)]
pub struct Alerts {
    by_print: ByPrint,
    prints: BTreeMap<i64, u64>,
    last_id: i64,
}

impl Alerts {
    /// Takes the rows of the store (`Alert::from_row`).
    pub fn load(rows: impl IntoIterator<Item = Alert>) -> Self {
        let mut alerts = Self::default();
        rows.into_iter().for_each(|alert| alerts.insert(alert));
        alerts
    }

    fn insert(&mut self, alert: Alert) {
        self.last_id = self.last_id.max(alert.id);
        self.prints.insert(alert.id, alert.fingerprint);
        self.by_print.insert((alert.fingerprint, alert.id), alert);
    }

    /// Folds one alert of a delivery.
    ///
    /// Identity is the label set. Of several `startsAt` (pairs of Prometheus) the earliest counts,
    /// without a write: an episode that ended and began again without its resolve being delivered
    /// cannot be told from that, and goes on firing. A resolve of what never fired is kept, so that
    /// its late firing is old news.
    pub fn observe(&mut self, delivery: &mut Delivery, incoming: Incoming) -> Seen {
        match self.find_mut(&incoming.labels) {
            Some(alert) => alert.deliver(&incoming, delivery),
            None => self.begin(incoming, delivery.at),
        }
    }

    fn begin(&mut self, incoming: Incoming, now: Time) -> Seen {
        let id = self.last_id + 1;
        self.insert(Alert::begin(id, incoming, now));
        Seen::New(id)
    }

    /// Settles what fires and what is suppressed by an Alertmanager's own list of what fires.
    ///
    /// `asked` is our clock when the list was asked for: what changed or was repeated since is newer
    /// than the list and stays. What is listed fires, also where it was held for resolved; what fires
    /// within `scope` and is not listed no longer fires. Returns what changed, to be written.
    pub fn reconcile(
        &mut self,
        listed: impl IntoIterator<Item = Incoming>,
        scope: impl Fn(&Alert) -> bool,
        asked: Time,
        now: Time,
    ) -> Vec<Seen> {
        let mut changes = Vec::new();
        let mut present = BTreeSet::new();
        for incoming in listed {
            let seen = match self.find_mut(&incoming.labels) {
                Some(alert) => alert.list(&incoming, asked, now),
                None => self.begin(incoming, now),
            };
            present.insert(seen.id());
            changes.extend(Some(seen).filter(|seen| seen.is_to_write()));
        }
        for alert in self.by_print.values_mut() {
            let missing = alert.firing && !present.contains(&alert.id) && alert.seen_at < asked;
            if missing && scope(alert) {
                changes.push(alert.vanish(now));
            }
        }
        changes
    }

    /// Forgets what did not change and was not repeated for `keep`; returns the rows to delete.
    pub fn expire(&mut self, now: Time, keep: Duration) -> Vec<i64> {
        let is_old = |alert: &Alert| {
            let last = if alert.firing { alert.seen_at } else { alert.changed_at };
            now.since(last) > keep
        };
        let gone = self.by_print.extract_if(.., |_, alert| is_old(alert));
        let mut ids: Vec<_> = gone.map(|((_, id), _)| id).collect();
        ids.sort_unstable();
        self.prints.retain(|id, _| ids.binary_search(id).is_err());
        ids
    }

    /// The alert of this row.
    pub fn get(&self, id: i64) -> Option<&Alert> {
        self.by_print.get(&(*self.prints.get(&id)?, id))
    }

    /// The alert with these labels.
    pub fn find(&self, labels: &Labels) -> Option<&Alert> {
        self.by_fingerprint(fingerprint(labels)).find(|alert| alert.labels == *labels)
    }

    fn find_mut(&mut self, labels: &Labels) -> Option<&mut Alert> {
        let print = fingerprint(labels);
        let same = self.by_print.range_mut((print, i64::MIN)..=(print, i64::MAX));
        same.map(|(_, alert)| alert).find(|alert| alert.labels == *labels)
    }

    /// The alerts with this fingerprint: one, save for label sets that share it.
    pub fn by_fingerprint(&self, print: u64) -> impl Iterator<Item = &Alert> {
        self.by_print.range((print, i64::MIN)..=(print, i64::MAX)).map(|(_, alert)| alert)
    }

    /// All alerts, in no order that means anything, but the same each time.
    pub fn iter(&self) -> impl Iterator<Item = &Alert> {
        self.by_print.values()
    }

    /// How many are known, firing or not.
    pub fn len(&self) -> usize {
        self.by_print.len()
    }

    /// Whether none is known.
    pub fn is_empty(&self) -> bool {
        self.by_print.is_empty()
    }
}
