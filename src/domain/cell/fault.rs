//! The fault domains behind one small trait: is this subject well, is it in question, what cancels a
//! run about it.
//!
//! A response is `about` one of them, and nothing else decides which answers. A new fault domain is a
//! room in `domain` with its evidence and its verdict, and one implementation here.

use std::fmt::Debug;

use super::Cell;
use crate::domain::{
    etcd::verdict::Quorum,
    incident::ledger::Subject,
    rules::response::{About, Response},
};

/// What a fault domain says of the subjects it judges, by the cell's last look.
pub trait FaultDomain: Debug + Sync {
    /// Whether the subject is well; `None` is unknown.
    fn is_well(&self, cell: &Cell, subject: &Subject) -> Option<bool>;

    /// Whether anything could ever say that the subject is well. Where nothing can, an incident ends
    /// with its alerts.
    fn has_readings(&self, cell: &Cell, subject: &Subject) -> bool;

    /// Whether the cluster was ever seen healthy; `None` where that does not matter here.
    fn ever_healthy(&self, cell: &Cell) -> Option<bool>;

    /// Whether an open incident here holds others of the cluster back.
    fn is_in_question(&self, cell: &Cell) -> bool;

    /// Whether what a run repairs came back by itself.
    fn is_back(&self, cell: &Cell) -> bool;

    /// The verdict and why, for people.
    fn verdict(&self, cell: &Cell) -> (String, String);
}

/// The fault domain that a response is about.
pub fn domain_of(about: About) -> &'static dyn FaultDomain {
    match about {
        About::Etcd => &Etcd,
        About::Node | About::Api => &Unread,
    }
}

impl Cell {
    /// Whether a response's subject is well; `None` is unknown.
    pub fn is_well(&self, response: &Response, subject: &Subject) -> Option<bool> {
        domain_of(response.about).is_well(self, subject)
    }
}

/// A cluster's etcd.
#[derive(Debug)]
struct Etcd;

impl FaultDomain for Etcd {
    fn is_well(&self, cell: &Cell, _: &Subject) -> Option<bool> {
        match cell.look()?.judgement.quorum {
            Quorum::Healthy => Some(true),
            Quorum::Unknown | Quorum::Forming | Quorum::Single => None,
            Quorum::Degraded { .. } | Quorum::LeaderlessAlive | Quorum::Lost { .. } => Some(false),
        }
    }

    fn has_readings(&self, _: &Cell, _: &Subject) -> bool {
        true
    }

    fn ever_healthy(&self, cell: &Cell) -> Option<bool> {
        Some(cell.sight.observed.is_some())
    }

    fn is_in_question(&self, cell: &Cell) -> bool {
        cell.look().is_none_or(|look| {
            matches!(
                look.judgement.quorum,
                Quorum::Lost { .. } | Quorum::LeaderlessAlive | Quorum::Unknown
            )
        })
    }

    fn is_back(&self, cell: &Cell) -> bool {
        let quorum = cell.look().map(|look| &look.judgement.quorum);
        matches!(quorum, Some(Quorum::Healthy | Quorum::Degraded { .. }))
    }

    fn verdict(&self, cell: &Cell) -> (String, String) {
        cell.look().map_or((String::new(), String::new()), |look| {
            (look.judgement.quorum.label().into(), look.judgement.reason.clone())
        })
    }
}

/// Nodes and API servers: nothing reads them yet, so nothing is known of them.
#[derive(Debug)]
struct Unread;

impl FaultDomain for Unread {
    fn is_well(&self, _: &Cell, _: &Subject) -> Option<bool> {
        None
    }

    fn has_readings(&self, _: &Cell, _: &Subject) -> bool {
        false
    }

    fn ever_healthy(&self, _: &Cell) -> Option<bool> {
        None
    }

    fn is_in_question(&self, _: &Cell) -> bool {
        false
    }

    fn is_back(&self, _: &Cell) -> bool {
        false
    }

    fn verdict(&self, _: &Cell) -> (String, String) {
        ("unknown".into(), "nothing reads it yet".into())
    }
}
