//! All alerts that are known, found by labels, number or owner, within bounds.
//!
//! It decides nothing about what is durable: every fold says what was there before, and
//! [`Alerts::restore`] puts that back. The one thing to know: versions are never changed in place, so
//! who holds one (a cell, a reader, a roll-back) holds it for good.
//!
//! Cost and memory: a lookup is logarithmic, counts are kept as things change, nothing walks all
//! alerts for one. An alert of seven labels takes about 350 bytes.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use super::{
    delivery::Delivery,
    incoming::{Incoming, Seen},
    known::Alert,
    labels::{Labels, fingerprint},
    places::{Key, OwnerId},
    room::{Bounds, Counts, Full, Share},
};
use crate::domain::base::time::Time;

/// All alerts that are known.
#[derive(Clone, Debug, Default)]
pub struct Alerts {
    by_key: BTreeMap<Key, Arc<Alert>>,
    prints: BTreeMap<i64, u64>,
    owned: BTreeMap<OwnerId, BTreeSet<Key>>,
    /// With an owner, and without.
    shares: [Share; 2],
    bounds: Bounds,
    last_id: i64,
}

/// What a fold made of an alert.
#[derive(Debug)]
pub struct Fold {
    /// What the incoming alert was.
    pub seen: Seen,
    /// The alert as it is now.
    pub alert: Arc<Alert>,
    /// The alert as it was; `None` where it is new.
    pub before: Option<Arc<Alert>>,
}

impl Alerts {
    /// Takes what was read back ([`Alert::from_row`], [`Alert::filed`]), all of it, whatever the
    /// bounds: it is kept already.
    pub fn load(filed: impl IntoIterator<Item = (Key, Arc<Alert>)>, bounds: Bounds) -> Self {
        // collected at once: that fills the nodes, which inserting one by one does not
        let by_key: BTreeMap<Key, Arc<Alert>> = filed.into_iter().collect();
        let prints = by_key.keys().map(|key| (key.id, key.print)).collect();
        let mut alerts = Self { by_key, prints, bounds, ..Self::default() };
        alerts.last_id = alerts.prints.last_key_value().map_or(0, |(id, _)| *id);
        let mut by_owner: BTreeMap<OwnerId, Vec<Key>> = BTreeMap::new();
        for (key, alert) in &alerts.by_key {
            by_owner.entry(alert.owner).or_default().push(*key);
            alerts.shares[alert.owner.share()].add(alert);
        }
        let sets = by_owner.into_iter().map(|(owner, keys)| (owner, keys.into_iter().collect()));
        alerts.owned = sets.collect();
        alerts
    }

    /// Folds one alert of a delivery. `owner` is asked where it was never seen.
    ///
    /// Identity is the label set. Of several `startsAt` (pairs of Prometheus) the earliest counts,
    /// without a write: an episode that ended and began again without its resolve being delivered
    /// cannot be told from that, and goes on firing. A resolve of what never fired is kept, so that
    /// its late firing is old news.
    pub fn observe(
        &mut self,
        delivery: &mut Delivery,
        incoming: Incoming,
        owner: impl FnOnce(&Labels) -> OwnerId,
    ) -> Result<Fold, Full> {
        let (now, held_back) = (delivery.at, &mut delivery.held_back);
        match self.change(&incoming.labels, |alert| alert.deliver(&incoming, held_back, now)) {
            Some(fold) => Ok(fold),
            None => self.begin(delivery, incoming, owner),
        }
    }

    /// Folds one alert that an Alertmanager lists as firing. `asked` is our clock when the list was
    /// asked for: what changed since is newer than the list and stays.
    pub fn list(
        &mut self,
        delivery: &mut Delivery,
        incoming: Incoming,
        owner: impl FnOnce(&Labels) -> OwnerId,
        asked: Time,
    ) -> Result<Fold, Full> {
        let now = delivery.at;
        match self.change(&incoming.labels, |alert| alert.list(&incoming, asked, now)) {
            Some(fold) => Ok(fold),
            None => self.begin(delivery, incoming, owner),
        }
    }

    /// What a list asked for at `asked` lacks no longer fires; `None` where it was heard of since.
    pub fn vanish(&mut self, id: i64, asked: Time, now: Time) -> Option<Fold> {
        let alert = self.get(id).filter(|alert| alert.firing && alert.seen_at < asked)?;
        let labels = alert.labels.clone();
        self.change(&labels, |alert| alert.vanish(now))
    }

    fn begin(
        &mut self,
        delivery: &mut Delivery,
        incoming: Incoming,
        owner: impl FnOnce(&Labels) -> OwnerId,
    ) -> Result<Fold, Full> {
        let owner = owner(&incoming.labels);
        self.make_room(&incoming.labels, owner, delivery)?;
        self.last_id += 1;
        let key = Key { print: fingerprint(&incoming.labels), id: self.last_id };
        let alert = Arc::new(Alert::begin(key.id, incoming, owner, delivery.at));
        self.put(key, Some(&alert));
        Ok(Fold { seen: Seen::New(key.id), alert, before: None })
    }

    fn change(&mut self, labels: &Labels, fold: impl FnOnce(&mut Alert) -> Seen) -> Option<Fold> {
        let same = self.by_key.range_mut(Key::all_of(fingerprint(labels)));
        let (key, place) = same.into_iter().find(|(_, alert)| alert.labels == *labels)?;
        let before = Arc::clone(place);
        let mut after = Alert::clone(&before);
        let seen = fold(&mut after);
        *place = Arc::new(after);
        let (key, alert) = (*key, Arc::clone(place));
        self.follow(key, Some(&before), Some(&alert));
        Some(Fold { seen, alert, before: Some(before) })
    }

    /// Forgets the oldest resolved alerts until one more fits. What has no owner makes room only
    /// among its like, and has only its share: garbage cannot shut out what a cluster is told.
    fn make_room(
        &mut self,
        labels: &Labels,
        owner: OwnerId,
        delivery: &mut Delivery,
    ) -> Result<(), Full> {
        let alone = owner.share();
        loop {
            let all = self.shares[0].held + self.shares[1].held;
            let fits = self.bounds.have_room(all, labels)
                && (owner != OwnerId::NONE
                    || self.bounds.unmatched().have_room(self.shares[alone].held, labels));
            if fits {
                return Ok(());
            }
            // the share with owners comes first: from there on all, or only those without
            let oldest = self.shares[alone..].iter().filter_map(Share::oldest).min();
            let (_, id) = oldest.ok_or(Full { unmatched: owner == OwnerId::NONE })?;
            delivery.forgotten.extend(self.forget(id));
        }
    }

    /// Takes an alert away.
    pub fn forget(&mut self, id: i64) -> Option<Arc<Alert>> {
        let key = self.key(id)?;
        self.put(key, None)
    }

    /// Puts an alert back as it was before a fold; `None` takes it away.
    pub fn restore(&mut self, id: i64, before: Option<&Arc<Alert>>) {
        let print = before.map(|alert| alert.fingerprint());
        let print = print.or_else(|| self.prints.get(&id).copied());
        if let Some(print) = print {
            self.put(Key { print, id }, before);
        }
    }

    /// Gives an alert another owner; the one it had, where that is a change.
    pub fn assign(&mut self, id: i64, owner: OwnerId) -> Option<OwnerId> {
        let before = self.get(id).filter(|alert| alert.owner != owner)?;
        let (had, key) = (before.owner, self.key(id)?);
        let after = Alert { owner, ..Alert::clone(before) };
        self.put(key, Some(&Arc::new(after)));
        Some(had)
    }

    /// Those of so many alerts behind `after` that did not change and were not repeated for `keep`,
    /// and where to go on.
    pub fn expired(
        &self,
        after: Option<Key>,
        most: usize,
        now: Time,
        keep: Duration,
    ) -> (Vec<i64>, Option<Key>) {
        let is_old = |alert: &Alert| {
            let last = if alert.firing { alert.seen_at } else { alert.changed_at };
            now.since(last) > keep
        };
        let (mut old, mut last, mut count) = (Vec::new(), None, 0);
        for (key, alert) in self.after(after).take(most) {
            old.extend(is_old(alert).then_some(key.id));
            (last, count) = (Some(key), count + 1);
        }
        (old, last.filter(|_| count == most))
    }

    /// Puts a version in place; everything kept beside it follows.
    fn put(&mut self, key: Key, after: Option<&Arc<Alert>>) -> Option<Arc<Alert>> {
        let before = match after {
            Some(alert) => self.by_key.insert(key, Arc::clone(alert)),
            None => self.by_key.remove(&key),
        };
        self.follow(key, before.as_deref(), after.map(|alert| &**alert));
        before
    }

    fn follow(&mut self, key: Key, before: Option<&Alert>, after: Option<&Alert>) {
        let place = |alert: &Alert| (alert.owner, (!alert.firing).then_some(alert.changed_at));
        if before.map(place) == after.map(place) {
            return;
        }
        if let Some(alert) = before {
            self.shares[alert.owner.share()].remove(alert);
        }
        if let Some(alert) = after {
            self.shares[alert.owner.share()].add(alert);
        }
        let (had, has) = (before.map(|alert| alert.owner), after.map(|alert| alert.owner));
        if had == has {
            return;
        }
        if let Some(owner) = had
            && let Some(keys) = self.owned.get_mut(&owner)
        {
            keys.remove(&key);
            if keys.is_empty() {
                self.owned.remove(&owner);
            }
        }
        match has {
            Some(owner) => {
                self.owned.entry(owner).or_default().insert(key);
                self.prints.insert(key.id, key.print);
            }
            None => drop(self.prints.remove(&key.id)),
        }
    }

    fn key(&self, id: i64) -> Option<Key> {
        Some(Key { print: *self.prints.get(&id)?, id })
    }

    /// The alert of this row.
    pub fn get(&self, id: i64) -> Option<&Arc<Alert>> {
        self.by_key.get(&self.key(id)?)
    }

    /// The alert with these labels.
    pub fn find(&self, labels: &Labels) -> Option<&Arc<Alert>> {
        self.by_fingerprint(fingerprint(labels)).find(|alert| alert.labels == *labels)
    }

    /// The alerts with this fingerprint: one, save for label sets that share it.
    pub fn by_fingerprint(&self, print: u64) -> impl Iterator<Item = &Arc<Alert>> {
        self.by_key.range(Key::all_of(print)).map(|(_, alert)| alert)
    }

    /// All alerts, in no order that means anything, but the same each time.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Alert>> {
        self.by_key.values()
    }

    /// All alerts behind this one, in the same order.
    pub fn after(&self, after: Option<Key>) -> impl Iterator<Item = (Key, &Arc<Alert>)> {
        self.by_key.range(Key::behind(after)).map(|(key, alert)| (*key, alert))
    }

    /// The alerts of one owner behind this one, in the same order.
    pub fn owned_by(
        &self,
        owner: OwnerId,
        after: Option<Key>,
    ) -> impl Iterator<Item = (Key, &Arc<Alert>)> {
        let keys = self.owned.get(&owner);
        let keys = keys.into_iter().flat_map(move |keys| keys.range(Key::behind(after)));
        keys.filter_map(|key| Some((*key, self.by_key.get(key)?)))
    }

    /// Who owns any alert.
    pub fn owners(&self) -> impl Iterator<Item = OwnerId> {
        self.owned.keys().copied()
    }

    /// How many there are, by what they are.
    pub fn counts(&self) -> Counts {
        let [matched, unmatched] = &self.shares;
        let resolved = matched.resolved() + unmatched.resolved();
        let all = matched.held + unmatched.held;
        Counts {
            firing: all.count - resolved,
            resolved,
            unmatched: unmatched.held.count,
            bytes: all.bytes,
        }
    }

    /// How many are known, firing or not.
    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    /// Whether none is known.
    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }
}

#[cfg(test)]
mod tests;
