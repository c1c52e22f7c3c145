//! Journal records: the closed list of everything that is decided and done.
//!
//! A record's kind and version are written beside it. An older version is read for ever; a kind or
//! version from a later quorate is refused by name, never skipped: skipping one record would make
//! the fold a different history. For the same reason no record is written that does not read back
//! as it was: [`Record::encode`] reads its own text before anybody gets it.

use serde::{Deserialize, Serialize};

use crate::domain::{
    base::{
        id::{EtcdId, LossId, MemberName, RunId},
        kinds,
        time::Time,
    },
    etcd::{evidence::Attestation, loss::LossRecord},
    incident::{
        IncidentEvent, IncidentRecord,
        ledger::{Attempt, Subject},
    },
    run::event::{RunEvent, RunRecord},
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
    /// That nothing is left of what a repair that was given up left to be done by hand.
    Leftovers,
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
    /// Its body is sound, and is that of another kind.
    #[error("journal record {kind:?} holds the body of {body:?}")]
    OtherKind {
        /// The kind beside it.
        kind: String,
        /// The kind of its body.
        body: &'static str,
    },
}

/// A record that must not be written.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// It could not be read back: no later start would get past it.
    #[error("record {kind:?} could not be read back, so it is not written")]
    Lost {
        /// Its kind.
        kind: &'static str,
        /// What reading it back would meet.
        #[source]
        source: DecodeError,
    },
    /// It would read back as something else: a restart would fold another history.
    #[error("record {kind:?} would read back as something else, so it is not written")]
    Changed {
        /// Its kind.
        kind: &'static str,
    },
}

kinds! { Record {
    Self::AttemptEnded(_) => "attempt_ended",
    Self::LossRecorded(_) => "loss_recorded",
    Self::LossAcknowledged(_) => "loss_acknowledged",
    Self::Attested(_) => "attested",
    Self::Paused(_) => "paused",
    Self::Unpaused(_) => "unpaused",
    Self::WatchSet(_) => "watch_set",
    Self::WatchReported(_) => "watch_reported",
} else {
    Self::Incident(record) => record.event.kind(),
    Self::Run(record) => record.event.kind(),
} }

impl Record {
    /// The body as JSON, shown to read back as this record.
    pub fn encode(&self) -> Result<String, EncodeError> {
        let (kind, body) = (self.kind(), self.to_json());
        let read = Self::decode(kind, VERSION, &body);
        let read = read.map_err(|source| EncodeError::Lost { kind, source })?;
        if read == *self { Ok(body) } else { Err(EncodeError::Changed { kind }) }
    }

    fn to_json(&self) -> String {
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
        if ver != VERSION || !kinds().any(|known| known == kind) {
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
            kind if IncidentEvent::KINDS.contains(&kind) => {
                serde_json::from_str(body).map(Self::Incident)
            }
            _ => serde_json::from_str(body).map(Self::Run),
        };
        let read = read.map_err(|source| DecodeError::Body { kind: kind.into(), ver, source })?;
        match read.kind() {
            same if same == kind => Ok(read),
            body => Err(DecodeError::OtherKind { kind: kind.into(), body }),
        }
    }
}

/// Every kind there is.
pub fn kinds() -> impl Iterator<Item = &'static str> {
    let all = [IncidentEvent::KINDS, RunEvent::KINDS, Record::KINDS];
    all.into_iter().flatten().copied()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn pause(until: i64) -> Record {
        let said = Attribution { by: "anna".into(), reason: "maintenance".into() };
        Record::Paused(Paused { said, until: Some(Time(until)) })
    }

    #[test]
    fn what_would_not_read_back_is_not_encoded() {
        assert!(pause(1_795_000_000_000).encode().is_ok());
        let lost = pause(i64::MAX).encode().unwrap_err();
        assert!(matches!(lost, EncodeError::Lost { kind: "paused", .. }), "{lost}");
    }

    #[test]
    fn a_body_of_another_kind_is_refused() {
        let body = pause(0).encode().unwrap();
        assert!(Record::decode("attested", VERSION, &body).is_err());
        let run = r#"{"run":"run_0193b8c5-0000-7000-8000-000000000001","event":"verified"}"#;
        assert!(Record::decode("verified", VERSION, run).is_ok());
        let other = Record::decode("run_parked", VERSION, run).unwrap_err();
        assert!(matches!(other, DecodeError::OtherKind { body: "verified", .. }), "{other}");
    }

    #[test]
    fn no_two_events_share_a_kind() {
        let all: BTreeSet<_> = kinds().collect();
        assert_eq!(all.len(), kinds().count());
    }
}
