//! A snapshot: what the records of a stream before one position come to.
//!
//! It is a short cut for a start, never another truth: those records stay in the journal, and a
//! snapshot that cannot be read is made anew from them. What is over stands in it in brief; what is
//! open does not at all: its records are read besides, and folded like any others.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    cluster::ClusterState,
    record::{Paused, Watch, WatchReport},
};
use crate::domain::{
    base::{
        id::{IncidentId, MemberName, RunId},
        time::Time,
    },
    etcd::{evidence::Attestation, loss::LossRecord},
    incident::{
        Incident,
        ledger::{Ledger, Subject},
    },
    run::{state::Run, summary::Summary},
};

/// The version that is written. Any other is not read.
pub const SNAPSHOT: u16 = 1;

/// What stands for the records of a stream before a position.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    ver: u16,
    /// When the last of them was made.
    pub at: Time,
    /// Those that have to be read besides, in order: what is not over.
    pub open: Vec<u64>,
    incidents: Vec<Incident>,
    runs: Vec<Summary>,
    ledgers: Vec<(Subject, Ledger)>,
    losses: Vec<LossRecord>,
    attested: BTreeMap<MemberName, Attestation>,
    paused: Option<Paused>,
    watches: Vec<Watch>,
    findings: Vec<WatchReport>,
}

/// Why a snapshot is not used.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// It is none.
    #[error("it is no snapshot that this version knows")]
    Body(#[source] serde_json::Error),
    /// Another version wrote it.
    #[error("it is of version {0}; this program reads {SNAPSHOT}")]
    Version(u16),
    /// It would read back as something else.
    #[error("it would read back as something else")]
    Changed,
}

/// What a snapshot holds in brief that its state holds whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rested {
    /// Incidents.
    pub incidents: Vec<IncidentId>,
    /// Runs.
    pub runs: Vec<RunId>,
}

impl Snapshot {
    /// What a state comes to whose last record was made at `at`.
    pub fn of(state: &ClusterState, at: Time) -> Self {
        let (over, open): (Vec<&Incident>, Vec<_>) =
            state.incidents.values().partition(|incident| state.rests(incident));
        let (ended, under_way): (Vec<&Run>, Vec<_>) =
            state.runs.values().partition(|run| state.run_rests(run));
        let mut places: Vec<u64> =
            open.iter().flat_map(|incident| &incident.places).copied().collect();
        places.extend(under_way.iter().flat_map(|run| &run.places));
        places.sort_unstable();
        Self {
            ver: SNAPSHOT,
            at,
            open: places,
            incidents: over.into_iter().map(Incident::in_brief).collect(),
            runs: ended.into_iter().map(Summary::from).collect(),
            ledgers: state.ledgers.iter().map(|(of, row)| (of.clone(), row.clone())).collect(),
            losses: state.losses.values().cloned().collect(),
            attested: state.attested.clone(),
            paused: state.paused.clone(),
            watches: state.watches.clone(),
            findings: state.findings.values().cloned().collect(),
        }
    }

    /// What of it the state still holds whole.
    pub fn rested(&self, state: &ClusterState) -> Rested {
        let whole = |id: &IncidentId| state.incidents.get(id).is_some_and(|one| !one.is_summary());
        let whole_run = |id: &RunId| state.runs.get(id).is_some_and(|one| !one.is_summary());
        Rested {
            incidents: self.incidents.iter().map(|one| one.id).filter(whole).collect(),
            runs: self.runs.iter().map(Summary::id).filter(whole_run).collect(),
        }
    }

    /// As it is stored, shown to read back as it is.
    pub fn encode(&self) -> Result<Vec<u8>, SnapshotError> {
        let bytes = serde_json::to_vec(self).map_err(SnapshotError::Body)?;
        if Self::decode(&bytes)? == *self { Ok(bytes) } else { Err(SnapshotError::Changed) }
    }

    /// Reads one.
    pub fn decode(bytes: &[u8]) -> Result<Self, SnapshotError> {
        #[derive(Deserialize)]
        struct Head {
            ver: u16,
        }
        match serde_json::from_slice(bytes) {
            Ok(Self { ver, .. }) if ver != SNAPSHOT => Err(SnapshotError::Version(ver)),
            Ok(snapshot) => Ok(snapshot),
            Err(error) => match serde_json::from_slice::<Head>(bytes) {
                Ok(Head { ver }) if ver != SNAPSHOT => Err(SnapshotError::Version(ver)),
                _ => Err(SnapshotError::Body(error)),
            },
        }
    }

    /// The state that it stands for: `open` is the fold of the records at [`Snapshot::open`] alone,
    /// `upto` the position behind the last record.
    #[must_use]
    pub fn restore(self, mut open: ClusterState, upto: u64) -> ClusterState {
        for incident in self.incidents {
            open.incidents.insert_mut(incident.id, incident);
        }
        for brief in self.runs {
            open.runs.insert_mut(brief.id(), brief.into());
        }
        open.ledgers = self.ledgers.into_iter().collect();
        open.losses = self.losses.into_iter().map(|loss| (loss.id, loss)).collect();
        open.attested = self.attested;
        open.paused = self.paused;
        open.watches = self.watches;
        let findings = self.findings.into_iter();
        open.findings = findings.map(|found| ((found.run, found.kind), found)).collect();
        open.next = upto;
        open.remember_closed();
        open
    }
}

#[cfg(test)]
mod tests;
