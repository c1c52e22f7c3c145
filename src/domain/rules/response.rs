//! A response that was read and found valid: which alerts, held for how long, confirmed by which
//! verdict, lead to which playbooks, under which guards.
//!
//! Expressions are compiled and typed. Whether the playbooks of the ladder exist is checked across
//! files (`rules`).

use std::{collections::BTreeMap, time::Duration};

use super::{expr::Expr, playbook::model::Arg};
use crate::domain::{
    alert::labels::{Labels, Matchers},
    base::id::{PlaybookName, ResponseName},
};

pub mod parse;

/// A fault domain: whose verdict says whether a subject is well, what cancels a run, and which guards
/// apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum About {
    /// The cluster's etcd.
    Etcd,
    /// One of its nodes.
    Node,
    /// Its API servers.
    Api,
}

impl About {
    /// Every fault domain.
    pub const ALL: [Self; 3] = [Self::Etcd, Self::Node, Self::Api];

    /// The word in YAML.
    pub fn label(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::Node => "node",
            Self::Api => "api",
        }
    }

    /// The fault domain that a word names.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|about| about.label() == word)
    }
}

/// One valid response.
#[derive(Clone, Debug)]
pub struct Response {
    /// Its name.
    pub name: ResponseName,
    /// One line for people.
    pub description: String,
    /// The fault domain in which its subjects are well or not.
    pub about: About,
    /// Alert labels whose values tell incidents apart; `cluster` is the inventory entry.
    pub subject: Vec<String>,
    /// Signals by name: any of the matchers.
    pub signals: BTreeMap<String, Vec<Matchers>>,
    /// Opens the incident.
    pub when: Expr,
    /// How long a resolved alert still counts as context, from its resolve.
    pub memory: Duration,
    /// How long a firing alert without repeat counts as firing.
    pub stale_after: Duration,
    /// How long the verdict must have held.
    pub grace: Grace,
    /// Must hold in every sample of the grace.
    pub confirm: Expr,
    /// Responses that are held while the verdict is lost, `leaderless_alive` or unknown.
    pub inhibits: Vec<ResponseName>,
    /// How long the inhibition goes on after a recovery.
    pub quarantine: Option<Quarantine>,
    /// Reasons not to act now.
    pub guards: Guards,
    /// What is tried, in order.
    pub ladder: Vec<Rung>,
    /// Who approves, and for how long that is waited for.
    pub approval: Approval,
    /// The YAML document it was read from.
    pub text: String,
    /// SHA-256 of [`Response::text`], hex.
    pub digest: String,
}

impl Response {
    /// The signals that these labels give.
    pub fn signals_of<'a>(&'a self, labels: &'a Labels) -> impl Iterator<Item = &'a str> {
        let hit = |matchers: &Vec<Matchers>| matchers.iter().any(|matcher| matcher.matches(labels));
        self.signals.iter().filter(move |(_, all)| hit(all)).map(|(name, _)| name.as_str())
    }
}

/// The window in which the verdict must hold, made of samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grace {
    /// How long.
    pub hold: Duration,
    /// At least this many samples.
    pub samples: u32,
    /// No two samples further apart; a look is taken every half of it.
    pub max_gap: Duration,
}

/// Inhibition after a recovery.
#[derive(Clone, Debug)]
pub struct Quarantine {
    /// Ends it.
    pub until: Expr,
    /// Not before.
    pub at_least: Duration,
    /// Not after.
    pub at_most: Duration,
}

/// Reasons not to act now.
#[derive(Clone, Debug, PartialEq)]
pub struct Guards {
    /// Unhealthy at least this long before a repair.
    pub tolerance: Duration,
    /// After a success.
    pub cooldown: Duration,
    /// After a failure.
    pub backoff: Backoff,
    /// How many attempts until a person is asked.
    pub attempts: Attempts,
    /// Node responses only: the share of nodes that may be unhealthy, 0 to 1.
    pub max_unhealthy_nodes: Option<f64>,
}

impl Default for Guards {
    /// The guards of a run by hand that no response's ladder names.
    fn default() -> Self {
        Self {
            tolerance: Duration::ZERO,
            cooldown: Duration::from_mins(5),
            backoff: Backoff::default(),
            attempts: Attempts::default(),
            max_unhealthy_nodes: None,
        }
    }
}

/// How the wait after failures grows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Backoff {
    /// After the first failure.
    pub initial: Duration,
    /// Each further failure multiplies by this.
    pub factor: f64,
    /// Never longer.
    pub max: Duration,
    /// Share of random spread, 0 to 1.
    pub jitter: f64,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            initial: Duration::from_mins(1),
            factor: 2.0,
            max: Duration::from_hours(1),
            jitter: 0.1,
        }
    }
}

/// How many attempts in a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempts {
    /// At most this many …
    pub max: u32,
    /// … in this window; then a person is asked.
    pub per: Duration,
}

impl Default for Attempts {
    fn default() -> Self {
        Self { max: 3, per: Duration::from_hours(24) }
    }
}

/// One rung of the ladder.
#[derive(Clone, Debug)]
pub struct Rung {
    /// What is run.
    pub playbook: PlaybookName,
    /// Not earlier than this after the confirmation.
    pub after: Duration,
    /// False or unknown: passed over.
    pub when: Option<Expr>,
    /// The playbook's parameters.
    pub with: BTreeMap<String, Arg>,
}

/// Roles, weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Sees.
    Viewer,
    /// Starts, pauses, acknowledges.
    Operator,
    /// Approves what cannot be undone.
    Approver,
}

impl Role {
    /// All roles, weakest first.
    pub const ALL: [Self; 3] = [Self::Viewer, Self::Operator, Self::Approver];

    /// The word in YAML and JSON.
    pub fn label(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Approver => "approver",
        }
    }

    /// The role that a word names.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.label() == word)
    }
}

/// Who approves, and for how long that is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Approval {
    /// The weakest role that may.
    pub role: Role,
    /// Then the run is cancelled.
    pub timeout: Duration,
}

impl Default for Approval {
    fn default() -> Self {
        Self { role: Role::Approver, timeout: Duration::from_mins(15) }
    }
}
