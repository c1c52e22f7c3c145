//! Readings: a probe's answer, three-valued.
//!
//! A reading is a value or *unknown* with a cause. Unknown is never "healthy" and never "down":
//! what it may lead to is decided where readings are combined (`verdict`), not here.

use serde::{Deserialize, Serialize};

use crate::domain::base::time::Time;

/// Why a reading is unknown: a closed list, the label of `quorate_evidence_unknown_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// No answer in time.
    Timeout,
    /// The connection was refused or reset.
    Refused,
    /// The TLS handshake failed.
    Tls,
    /// Answered, but we may not ask.
    Auth,
    /// An answer that is too old to count.
    Stale,
    /// The series or object is no longer there.
    Vanished,
    /// Two answers that exclude each other.
    Conflicting,
    /// We ourselves are cut off.
    Blind,
    /// This version cannot be asked that.
    Unsupported,
    /// The inventory names no way to ask.
    NotConfigured,
}

impl Cause {
    /// Every cause, in the order of the contract.
    pub const ALL: [Self; 10] = [
        Self::Timeout,
        Self::Refused,
        Self::Tls,
        Self::Auth,
        Self::Stale,
        Self::Vanished,
        Self::Conflicting,
        Self::Blind,
        Self::Unsupported,
        Self::NotConfigured,
    ];

    /// The word in labels, JSON and messages.
    pub fn label(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Refused => "refused",
            Self::Tls => "tls",
            Self::Auth => "auth",
            Self::Stale => "stale",
            Self::Vanished => "vanished",
            Self::Conflicting => "conflicting",
            Self::Blind => "blind",
            Self::Unsupported => "unsupported",
            Self::NotConfigured => "not_configured",
        }
    }
}

/// The route by which a reading came; readings of one group fail together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Vantage {
    /// From us over the network: client port, peer port, metrics listener.
    Network,
    /// Inside the host, through its transport: process, data directory.
    Host,
    /// What Prometheus scraped.
    Prometheus,
    /// What the Kubernetes API says.
    Kubernetes,
    /// What living members say of their connections.
    Peers,
}

impl Vantage {
    /// The word in labels, JSON and messages.
    pub fn label(self) -> &'static str {
        match self {
            Self::Network => "network",
            Self::Host => "host",
            Self::Prometheus => "prometheus",
            Self::Kubernetes => "kubernetes",
            Self::Peers => "peers",
        }
    }
}

/// A value, or unknown with a cause and what was seen instead.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer<T> {
    /// The probe was answered.
    Known(T),
    /// The probe was not answered; `detail` is for people.
    Unknown {
        /// Why.
        cause: Cause,
        /// What was seen instead, for people.
        detail: String,
    },
}

/// One answered or unanswered probe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reading<T> {
    /// What was answered.
    pub answer: Answer<T>,
    /// When the answer (or its absence) was established.
    pub at: Time,
    /// How long the probe took, in milliseconds.
    pub took_ms: u32,
}

impl<T> Reading<T> {
    /// An answered probe.
    pub fn known(value: T, at: Time, took_ms: u32) -> Self {
        Self { answer: Answer::Known(value), at, took_ms }
    }

    /// An unanswered probe.
    pub fn unknown(cause: Cause, detail: impl Into<String>, at: Time, took_ms: u32) -> Self {
        Self { answer: Answer::Unknown { cause, detail: detail.into() }, at, took_ms }
    }

    /// The value, where there is one.
    pub fn value(&self) -> Option<&T> {
        match &self.answer {
            Answer::Known(value) => Some(value),
            Answer::Unknown { .. } => None,
        }
    }

    /// The cause, where there is no value.
    pub fn cause(&self) -> Option<Cause> {
        match &self.answer {
            Answer::Known(_) => None,
            Answer::Unknown { cause, .. } => Some(*cause),
        }
    }

    /// Whether the probe was put at all: everything but `not_configured`.
    pub fn asked(&self) -> bool {
        self.cause() != Some(Cause::NotConfigured)
    }
}
