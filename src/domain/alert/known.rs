//! One alert as it is known, and what a repeat, a resolve or a late delivery changes of it.
//!
//! # Design
//!
//! Senders disagree, deliver late and out of order, and repeat. An alert that some sender still
//! calls firing is firing, so nothing that repeats is ever held back for good:
//!
//! - A firing that began no later than the last resolve ended is most likely a delivery that was
//!   overtaken. It is old news for that one delivery. The next one fires, and so does any that comes
//!   later than the usual `group_interval` after the resolve: by then it is no straggler.
//! - Prometheus may skip some sends, so that Alertmanager's deadline ends an alert whose condition
//!   goes on; it then fires again with the same `startsAt`. That is why the start alone decides
//!   nothing.
//! - An end that lies ahead of our clock is now: the sender's clock is ahead, or it announces when
//!   the alert would lapse. Kept as it is, it would make every firing until then old news.
//!
//! An Alertmanager delivers nothing that it suppresses, so a firing that is delivered while no list
//! has called the alert suppressed for longer than a `group_interval` ends that: the Alertmanager of
//! the silence may not be asked any more. One that is delivered sooner may be late, and a silence is
//! a person's word.
//!
//! A list of an Alertmanager shows every alert, also those that are routed elsewhere or muted (before
//! 0.28 the list does not say so). What no webhook has delivered since its last resolve is therefore
//! context, as a suppressed alert is. Nothing is missed by this: Alertmanager tries a delivery that
//! failed again with each `group_interval`.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use super::{
    incoming::{Incoming, Seen},
    labels::{Labels, fingerprint},
    places::{Key, OwnerId},
};
use crate::domain::base::time::Time;

/// Alertmanager's usual `group_interval`: what it still has to say of a group, it says within it.
pub(super) const GROUP_INTERVAL: Duration = Duration::from_mins(5);

/// An alert as it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own, kept in a row")]
pub struct Alert {
    /// Number of its row.
    pub id: i64,
    /// Its labels: its identity.
    pub labels: Labels,
    /// Whether it fires.
    pub firing: bool,
    /// When it began: the earliest of what the senders say.
    pub starts_at: Time,
    /// The end of its last resolve, by the sender's clock, but never ahead of ours.
    pub ends_at: Option<Time>,
    /// When a sender last repeated it, by our clock. Kept in memory only.
    pub seen_at: Time,
    /// When it last began or ceased to fire, by our clock.
    pub changed_at: Time,
    /// Whether an Alertmanager suppresses it (silenced, inhibited, muted): context, never a trigger.
    pub silenced: bool,
    /// When that was last said, by our clock. In memory only.
    pub(super) silenced_at: Time,
    /// Whether a webhook has delivered it as firing since its last resolve. One that was only listed
    /// is context: it may be routed to somebody else, or muted.
    pub delivered: bool,
    /// The cluster it is filed under.
    pub(super) owner: OwnerId,
    /// Whether a delivery of it was held back as old news since its last resolve. In memory only: if
    /// a restart forgets it, one more delivery is held back, and none after `GROUP_INTERVAL`.
    pub(super) doubted: bool,
}

impl Alert {
    /// What is known of an alert that was never seen before.
    pub(super) fn begin(id: i64, incoming: Incoming, owner: OwnerId, now: Time) -> Self {
        let delivered = incoming.firing && incoming.silenced.is_none();
        Self {
            id,
            labels: incoming.labels,
            firing: incoming.firing,
            starts_at: incoming.starts_at,
            ends_at: incoming.ends_at.map(|end| end.min(now)),
            seen_at: now,
            changed_at: now,
            silenced: incoming.silenced == Some(true),
            silenced_at: now,
            delivered,
            owner,
            doubted: false,
        }
    }

    /// The fingerprint that Prometheus and Alertmanager give it.
    pub fn fingerprint(&self) -> u64 {
        fingerprint(&self.labels)
    }

    /// The cluster it is filed under, as the table's keeper numbers them.
    pub fn owner(&self) -> OwnerId {
        self.owner
    }

    /// Files it under the cluster that owns it, with its place among all.
    pub fn filed(self, owner: OwnerId) -> (Key, Arc<Self>) {
        let key = Key { print: self.fingerprint(), id: self.id };
        (key, Arc::new(Self { owner, ..self }))
    }

    /// Whether it must not open an incident, however much it fires.
    pub fn is_context(&self) -> bool {
        self.silenced || !self.delivered
    }

    /// Folds what a webhook says; whether that is to be written. `held_back` are the rows that the
    /// same delivery has held back already.
    pub(super) fn deliver(
        &mut self,
        incoming: &Incoming,
        held_back: &mut BTreeSet<i64>,
        now: Time,
    ) -> Seen {
        if self.is_old_news(incoming, held_back, now) {
            if incoming.firing {
                self.doubted = true;
                held_back.insert(self.id);
            }
            return Seen::OldNews(self.id);
        }
        let first = incoming.firing && !self.delivered;
        self.delivered |= incoming.firing;
        let ends = incoming.firing && self.silenced && now.since(self.silenced_at) > GROUP_INTERVAL;
        self.silenced &= !ends;
        self.fold(incoming, first || ends, now)
    }

    /// Folds what an Alertmanager lists as firing, asked for at `asked`. A resolve that came since is
    /// newer than the list; any other is overruled by it.
    pub(super) fn list(&mut self, incoming: &Incoming, asked: Time, now: Time) -> Seen {
        let began_before = self.ends_at.is_some_and(|end| incoming.starts_at <= end);
        if !self.firing && began_before && self.changed_at >= asked {
            return Seen::OldNews(self.id);
        }
        // what was held back was delivered all the same
        self.delivered |= self.doubted;
        self.fold(incoming, false, now)
    }

    /// No longer listed. That is not an end by the sender's word (an Alertmanager forgets all at a
    /// restart), so it bars no later firing.
    pub(super) fn vanish(&mut self, now: Time) -> Seen {
        self.ends_at = None;
        self.turn(false, now);
        Seen::Changed(self.id)
    }

    fn fold(&mut self, incoming: &Incoming, mut changed: bool, now: Time) -> Seen {
        self.seen_at = self.seen_at.max(now);
        if let Some(silenced) = incoming.silenced {
            changed |= silenced != self.silenced;
            (self.silenced, self.silenced_at) = (silenced, now);
        }
        let ends_at = incoming.ends_at.map(|end| end.min(now));
        match (self.firing, incoming.firing) {
            (true, true) => {
                // a start before the last resolve is of the episode before
                if self.ends_at.is_none_or(|end| incoming.starts_at > end) {
                    self.starts_at = self.starts_at.min(incoming.starts_at);
                }
            }
            (false, true) => {
                self.starts_at = incoming.starts_at;
                self.turn(true, now);
                changed = true;
            }
            (true, false) => {
                self.ends_at = ends_at.max(self.ends_at);
                self.delivered = false;
                self.turn(false, now);
                changed = true;
            }
            (false, false) => {
                // A later end is written: after a restart it still tells old news from new.
                changed |= ends_at > self.ends_at;
                self.ends_at = ends_at.max(self.ends_at);
                self.doubted = false;
            }
        }
        if changed { Seen::Changed(self.id) } else { Seen::Repeat(self.id) }
    }

    fn turn(&mut self, firing: bool, now: Time) {
        self.firing = firing;
        self.silenced &= firing; // of the next episode the next list says it
        self.changed_at = now;
        self.doubted = false;
    }

    /// Whether a delivery speaks of what is over: it was late, or its sender lags behind.
    fn is_old_news(&self, incoming: &Incoming, held_back: &BTreeSet<i64>, now: Time) -> bool {
        if incoming.firing {
            let began_before = self.ends_at.is_some_and(|end| incoming.starts_at <= end);
            let is_first = !self.doubted || held_back.contains(&self.id);
            let is_soon = now.since(self.changed_at) <= GROUP_INTERVAL;
            return !self.firing && began_before && is_first && is_soon;
        }
        // A resolve of the episode before: it says no more than the last one did, or both its start
        // and its end lie before what fires now began. One that ends before its own start resolves.
        let Some(end) = incoming.ends_at.filter(|_| self.firing) else { return false };
        let is_known = self.ends_at.is_some_and(|last| end <= last);
        is_known || (end < self.starts_at && incoming.starts_at < self.starts_at)
    }
}
