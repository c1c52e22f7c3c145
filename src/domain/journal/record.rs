//! Journal records: the closed list of everything that is decided and done.
//!
//! A record's kind and version are written beside it. An older version is read for ever; a kind or
//! version from a later quorate is refused by name, never skipped: skipping one record would make
//! the fold a different history.

use serde::{Deserialize, Serialize};

use crate::domain::{
    base::{
        id::{EtcdId, LossId, MemberName, RunId},
        time::Time,
    },
    etcd::{evidence::Attestation, loss::LossRecord},
    incident::{
        IncidentRecord,
        ledger::{Attempt, Subject},
    },
    run::event::RunRecord,
};

/// The version every kind is written in today.
pub const VERSION: u16 = 1;

/// Who said something, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attribution {
    /// Who.
    pub by: String,
    /// Why.
    pub reason: String,
}

/// A journalled look-out that outlives its run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watch {
    /// The run it follows.
    pub run: RunId,
    /// What is looked for.
    pub kind: WatchKind,
    /// When it is due, or begins.
    pub from: Time,
    /// When it ends.
    pub until: Time,
    /// The rebuilt cluster.
    pub cluster_id: EtcdId,
}

/// What a look-out looks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WatchKind {
    /// The same proof again: all members hold the same.
    Proof,
    /// Members of the old cluster that come back.
    Zombies,
}

/// One record.
#[derive(Clone, Debug, PartialEq)]
pub enum Record {
    /// About an incident.
    Incident(IncidentRecord),
    /// About a run.
    Run(RunRecord),
    /// An attempt ended.
    AttemptEnded(AttemptRecord),
    /// Something may have been lost.
    LossRecorded(LossRecord),
    /// A person acknowledged it.
    LossAcknowledged(Acknowledged),
    /// A person says that a member will not come back.
    Attested(Attested),
    /// A person paused the cluster.
    Paused(Paused),
    /// A person ended the pause.
    Unpaused(Attribution),
    /// A look-out was set.
    WatchSet(Watch),
    /// A look-out ended, or found something.
    WatchReported(WatchReport),
}

/// See [`Record::AttemptEnded`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AttemptRecord {
    /// What it was about.
    pub subject: Subject,
    /// How it went.
    #[serde(flatten)]
    pub attempt: Attempt,
}

/// See [`Record::LossAcknowledged`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acknowledged {
    /// The loss.
    pub loss: LossId,
    /// Who and why.
    #[serde(flatten)]
    pub said: Attribution,
}

/// See [`Record::Attested`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attested {
    /// The member.
    pub member: MemberName,
    /// Who, why, until when.
    #[serde(flatten)]
    pub attestation: Attestation,
}

/// See [`Record::Paused`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Paused {
    /// Who and why.
    #[serde(flatten)]
    pub said: Attribution,
    /// Until when; for good where there is none.
    pub until: Option<Time>,
}

/// See [`Record::WatchReported`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatchReport {
    /// The run it follows.
    pub run: RunId,
    /// Which look-out.
    pub kind: WatchKind,
    /// Whether all is well.
    pub is_well: bool,
    /// Whether the look-out is over.
    pub ended: bool,
    /// What was found.
    pub text: String,
}

/// A record that cannot be read back.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// A later quorate wrote it.
    #[error("journal record {kind:?} version {ver} was written by a later quorate; start that one")]
    Unknown {
        /// Its kind.
        kind: String,
        /// Its version.
        ver: u16,
    },
    /// Its body is not what its kind says.
    #[error("journal record {kind:?} version {ver} cannot be read")]
    Body {
        /// Its kind.
        kind: String,
        /// Its version.
        ver: u16,
        /// What is wrong.
        #[source]
        source: serde_json::Error,
    },
}

impl Record {
    /// The journal's kind.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Incident(record) => record.event.kind(),
            Self::Run(record) => record.event.kind(),
            Self::AttemptEnded(_) => "attempt_ended",
            Self::LossRecorded(_) => "loss_recorded",
            Self::LossAcknowledged(_) => "loss_acknowledged",
            Self::Attested(_) => "attested",
            Self::Paused(_) => "paused",
            Self::Unpaused(_) => "unpaused",
            Self::WatchSet(_) => "watch_set",
            Self::WatchReported(_) => "watch_reported",
        }
    }

    /// The body as JSON.
    pub fn encode(&self) -> String {
        let body = match self {
            Self::Incident(record) => serde_json::to_string(record),
            Self::Run(record) => serde_json::to_string(record),
            Self::AttemptEnded(record) => serde_json::to_string(record),
            Self::LossRecorded(record) => serde_json::to_string(record),
            Self::LossAcknowledged(record) => serde_json::to_string(record),
            Self::Attested(record) => serde_json::to_string(record),
            Self::Paused(record) => serde_json::to_string(record),
            Self::Unpaused(record) => serde_json::to_string(record),
            Self::WatchSet(record) => serde_json::to_string(record),
            Self::WatchReported(record) => serde_json::to_string(record),
        };
        body.expect("our own records hold only text keys")
    }

    /// Reads a record back.
    pub fn decode(kind: &str, ver: u16, body: &str) -> Result<Self, DecodeError> {
        if ver != VERSION || !KINDS.contains(&kind) {
            return Err(DecodeError::Unknown { kind: kind.into(), ver });
        }
        let read = match kind {
            "attempt_ended" => serde_json::from_str(body).map(Self::AttemptEnded),
            "loss_recorded" => serde_json::from_str(body).map(Self::LossRecorded),
            "loss_acknowledged" => serde_json::from_str(body).map(Self::LossAcknowledged),
            "attested" => serde_json::from_str(body).map(Self::Attested),
            "paused" => serde_json::from_str(body).map(Self::Paused),
            "unpaused" => serde_json::from_str(body).map(Self::Unpaused),
            "watch_set" => serde_json::from_str(body).map(Self::WatchSet),
            "watch_reported" => serde_json::from_str(body).map(Self::WatchReported),
            kind if INCIDENT_KINDS.contains(&kind) => {
                serde_json::from_str(body).map(Self::Incident)
            }
            _ => serde_json::from_str(body).map(Self::Run),
        };
        read.map_err(|source| DecodeError::Body { kind: kind.into(), ver, source })
    }
}

const INCIDENT_KINDS: [&str; 7] = [
    "incident_opened",
    "incident_confirmed",
    "incident_contradicted",
    "decided",
    "dispatched",
    "rung_ended",
    "incident_closed",
];

/// Every kind there is.
pub const KINDS: [&str; 44] = [
    "incident_opened",
    "incident_confirmed",
    "incident_contradicted",
    "decided",
    "dispatched",
    "rung_ended",
    "incident_closed",
    "run_started",
    "foreach_started",
    "foreach_stopped",
    "call_started",
    "step_skipped",
    "step_started",
    "step_done",
    "step_failed",
    "step_disproved",
    "step_doubted",
    "undo_started",
    "undo_done",
    "undo_skipped",
    "undo_failed",
    "undo_doubted",
    "finalizer_started",
    "finalizer_done",
    "finalizer_skipped",
    "finalizer_failed",
    "finalizer_doubted",
    "approval_asked",
    "approved",
    "denied",
    "unwind_started",
    "run_parked",
    "run_resumed",
    "verified",
    "verify_failed",
    "run_finished",
    "attempt_ended",
    "loss_recorded",
    "loss_acknowledged",
    "attested",
    "paused",
    "unpaused",
    "watch_set",
    "watch_reported",
];
