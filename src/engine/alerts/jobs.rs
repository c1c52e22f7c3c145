//! What the intake does between deliveries, piece by piece, so that no delivery waits for long.
//!
//! A piece stands in line as a delivery does: what it hands out is durable by the time it goes out.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
    vec,
};

use super::{
    handed::{Gathered, Handed},
    limits::PIECE,
    line::Entry,
    merge::Merge,
    orders::Given,
    table::AlertTable,
};
use crate::{
    domain::{
        alert::{Incoming, Key, OwnerId},
        base::{id::ClusterName, time::Time},
    },
    store::AlertRow,
    targets::AlertState,
};

/// Pieces that are handed out in one message: 256 alerts.
const PIECES: usize = 4;

/// What is to be done, the first kind first.
#[derive(Debug, Default)]
pub(super) struct Jobs {
    /// Every alert is filed under its owner anew.
    refile: Option<Walk>,
    lists: BTreeMap<ClusterName, (Time, Vec<AlertState>)>,
    listing: Option<Listing>,
    hand_out: BTreeSet<OwnerId>,
    handing: Option<(OwnerId, Walk)>,
    sweep: Option<(Duration, Walk)>,
}

/// How far a walk through alerts has come.
#[derive(Clone, Copy, Debug, Default)]
struct Walk {
    after: Option<Key>,
}

/// A list that is being settled.
#[derive(Debug)]
struct Listing {
    owner: OwnerId,
    asked: Time,
    listed: vec::IntoIter<AlertState>,
    present: BTreeSet<i64>,
    /// Through those that it may lack.
    missing: Walk,
}

/// What a piece comes to.
pub(super) struct Piece {
    pub(super) rows: Vec<AlertRow>,
    pub(super) entry: Entry,
    /// Alerts that a list names and that found no room.
    pub(super) refused: usize,
}

impl Jobs {
    pub(super) fn is_empty(&self) -> bool {
        self.refile.is_none()
            && self.lists.is_empty()
            && self.listing.is_none()
            && self.hand_out.is_empty()
            && self.handing.is_none()
            && self.sweep.is_none()
    }

    /// Takes orders in; other owners are in force at once.
    pub(super) fn add(&mut self, given: Given, table: &AlertTable) {
        if let Some(owners) = given.owners {
            table.replace_roll(table.roll().with(owners));
            self.refile = Some(Walk::default());
        }
        self.lists.extend(given.lists);
        let roll = table.roll();
        self.hand_out.extend(given.hand_out.iter().filter_map(|cluster| roll.of(cluster)));
        if let Some(keep) = given.sweep {
            self.sweep = Some((keep, Walk::default()));
        }
    }

    /// Every row that a cluster owns is handed out.
    pub(super) fn hand_out_all(&mut self, table: &AlertTable) {
        self.hand_out.extend(table.read().owners().filter(|owner| *owner != OwnerId::NONE));
    }

    /// Does the next piece.
    pub(super) fn step(&mut self, table: &AlertTable, now: Time) -> Option<Piece> {
        if let Some(walk) = self.refile.take() {
            return Some(self.refile(table, walk, now));
        }
        if let Some(listing) = self.listing.take().or_else(|| self.next_list(table)) {
            return Some(self.settle(table, listing, now));
        }
        let next = || self.hand_out.pop_first().map(|owner| (owner, Walk::default()));
        if let Some((owner, walk)) = self.handing.take().or_else(next) {
            return self.hand_out(table, owner, walk, now);
        }
        let (keep, walk) = self.sweep.take()?;
        Some(self.sweep(table, keep, walk, now))
    }

    fn refile(&mut self, table: &AlertTable, walk: Walk, now: Time) -> Piece {
        let (roll, piece) = (table.roll(), table.piece(None, walk.after));
        let numbered = piece.iter().map(|(key, alert)| (key, alert, roll.number(&alert.labels)));
        let moved: Vec<_> = numbered.filter(|(_, alert, owner)| alert.owner() != *owner).collect();
        let mut gathered = Gathered::default();
        let mut alerts = table.write();
        for (key, alert, owner) in moved {
            alerts.assign(key.id, owner);
            if let Some(cluster) = roll.name(alert.owner()) {
                gathered.forgotten(cluster, key.id);
            }
        }
        drop(alerts);
        match piece.last() {
            Some((last, _)) => self.refile = Some(Walk { after: Some(*last) }),
            None => self.hand_out_all(table),
        }
        let hand = gathered.into_handed(now).collect();
        Piece { rows: Vec::new(), entry: Entry { hand, ..Entry::default() }, refused: 0 }
    }

    fn next_list(&mut self, table: &AlertTable) -> Option<Listing> {
        let (cluster, (asked, listed)) = self.lists.pop_first()?;
        let owner = table.roll().of(&cluster)?;
        let (listed, present) = (listed.into_iter(), BTreeSet::new());
        Some(Listing { owner, asked, listed, present, missing: Walk::default() })
    }

    /// First what is listed, then what is not.
    fn settle(&mut self, table: &AlertTable, mut listing: Listing, now: Time) -> Piece {
        let (mut merge, roll) = (Merge::new(table, now), table.roll());
        if listing.listed.len() > 0 {
            let piece = listing.listed.by_ref().take(PIECE);
            let ours = piece.filter(|state| roll.number(&state.labels) == listing.owner);
            let firing = ours.map(incoming).collect();
            listing.present.extend(merge.list(firing, listing.asked));
            self.listing = Some(listing);
        } else {
            let piece = table.piece(Some(listing.owner), listing.missing.after);
            let ids = piece.iter().map(|(key, _)| key.id);
            let missing: Vec<i64> = ids.filter(|id| !listing.present.contains(id)).collect();
            merge.vanish(&missing, listing.asked);
            if let Some((last, _)) = piece.last() {
                listing.missing.after = Some(*last);
                self.listing = Some(listing);
            }
        }
        let refused = merge.tally.refused.len();
        let (rows, entry) = merge.finish();
        Piece { rows, entry, refused }
    }

    fn hand_out(
        &mut self,
        table: &AlertTable,
        owner: OwnerId,
        mut walk: Walk,
        now: Time,
    ) -> Option<Piece> {
        let mut alerts = Vec::new();
        for _ in 0..PIECES {
            let piece = table.piece(Some(owner), walk.after);
            let Some((last, _)) = piece.last() else { break };
            walk.after = Some(*last);
            alerts.extend(piece.into_iter().map(|(_, alert)| alert));
        }
        if alerts.is_empty() {
            return None;
        }
        self.handing = Some((owner, walk));
        let cluster = table.roll().name(owner)?.clone();
        let handed = Handed { cluster, alerts, forgotten: Vec::new(), arrived: now };
        let entry = Entry { hand: vec![handed], ..Entry::default() };
        Some(Piece { rows: Vec::new(), entry, refused: 0 })
    }

    fn sweep(&mut self, table: &AlertTable, keep: Duration, walk: Walk, now: Time) -> Piece {
        let (old, next) = table.read().expired(walk.after, PIECE * PIECES, now, keep);
        let mut merge = Merge::new(table, now);
        merge.forget(&old);
        self.sweep = next.map(|next| (keep, Walk { after: Some(next) }));
        let (rows, entry) = merge.finish();
        Piece { rows, entry, refused: 0 }
    }
}

fn incoming(state: AlertState) -> Incoming {
    Incoming {
        labels: state.labels,
        firing: true,
        starts_at: state.starts_at,
        ends_at: None,
        silenced: Some(state.silenced),
    }
}
