//! Bodies of the API as they are sent, and read again by the command line.
//!
//! They copy from the engine's state and say nothing that is not in it. Words of closed lists are
//! texts here, so that an older command line can read a newer server. What a reader may do next is
//! in [`advice`].

pub mod advice;
mod cluster;
mod incident;
mod loss;
mod plan;
mod run;
mod why;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use self::{
    cluster::{Attested, ClusterView, Finding, MemberView, PauseView, ReadingView, Seen},
    incident::{DecisionView, IncidentView, Line, RunLink, SignalView},
    loss::{Acknowledgement, LossView},
    plan::{ExpectedLoss, PlanView},
    run::{
        ApprovalView, AskView, EntryView, FailureView, LeftoverView, ParkedView, RunView, StepView,
    },
    why::{Match, Question, ResponseView, WhyView, Window},
};
use crate::{
    domain::{
        alert::{Alert, labels::Labels},
        base::{id::ClusterName, time::Time},
        incident::owners::Owner,
    },
    engine::state::State,
};

/// One page of a list.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// What to give as `after` for the next page.
    pub next: Option<String>,
}

/// The body of every refusal.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ErrorBody {
    /// What is wrong.
    pub error: ErrorView,
}

/// See [`ErrorBody`].
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ErrorView {
    /// A word of a closed list.
    pub code: String,
    /// What a person reads.
    pub message: String,
    /// The run concerned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// The field that is wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// Where it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<String>,
    /// Where the token is that an order needs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_file: Option<String>,
    /// That the server knows the token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof: Option<String>,
}

/// The answer to a webhook.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// Alerts that are kept.
    pub accepted: usize,
    /// Those among them that no cluster, or several, match.
    pub unmatched: usize,
    /// Alerts that could not be used.
    pub invalid: usize,
}

/// The answer to an order.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Done {
    /// What was done.
    pub message: String,
}

/// An alert.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AlertView {
    /// As Alertmanager shows it.
    pub fingerprint: String,
    /// `firing` or `resolved`.
    pub state: String,
    /// Whether it is suppressed: silenced, inhibited or muted.
    pub silenced: bool,
    /// Whether it fires by an Alertmanager's list alone: no webhook has delivered it.
    #[serde(default)]
    pub undelivered: bool,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// When it began, by the sender's clock.
    pub starts_at: Time,
    /// When it ended.
    pub ends_at: Option<Time>,
    /// When it was last repeated.
    pub seen_at: Time,
    /// When it last began or ceased to fire, by our clock.
    pub changed_at: Time,
    /// The cluster it is about.
    pub cluster: Option<ClusterName>,
    /// All clusters it matches, where those are several: then it is about none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ambiguous: Vec<ClusterName>,
}

impl AlertView {
    /// Copies an alert.
    pub fn new(state: &State, alert: &Alert) -> Self {
        let (cluster, ambiguous) = match state.alerts.owner(alert) {
            Owner::Cluster(cluster) => (Some(cluster), Vec::new()),
            Owner::Unmatched => (None, Vec::new()),
            Owner::Ambiguous(clusters) => (None, clusters),
        };
        Self {
            fingerprint: format!("{:016x}", alert.fingerprint()),
            state: if alert.firing { "firing" } else { "resolved" }.into(),
            silenced: alert.silenced,
            undelivered: alert.firing && !alert.delivered,
            labels: pairs(&alert.labels),
            starts_at: alert.starts_at,
            ends_at: alert.ends_at,
            seen_at: alert.seen_at,
            changed_at: alert.changed_at,
            cluster,
            ambiguous,
        }
    }
}

fn pairs(labels: &Labels) -> BTreeMap<String, String> {
    labels.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}
