//! The closed lists behind labels, as the interfaces name them.
//!
//! They are here so that every series can exist from the start; the enums that they name live where
//! they are decided.

/// Who posted a webhook.
pub const SOURCES: &[&str] = &["alertmanager", "grafana", "prometheus"];
/// How webhooks are answered; anything else is counted as `other`.
pub const CODES: &[(u16, &str)] = &[
    (200, "200"),
    (400, "400"),
    (401, "401"),
    (403, "403"),
    (413, "413"),
    (422, "422"),
    (503, "503"),
];
/// Alert statuses.
pub const STATUSES: &[&str] = &["firing", "resolved"];
/// Phases of an open incident.
pub const PHASES: &[&str] = &["pending", "confirmed", "repairing", "quarantine"];
/// How incidents end.
pub const INCIDENT_OUTCOMES: &[&str] =
    &["recovered", "recovered_by_itself", "not_confirmed", "escalated", "abandoned"];
/// How attempts end.
pub const ATTEMPT_OUTCOMES: &[&str] = &["succeeded", "failed", "undone", "cancelled", "parked"];
/// Kinds of backoff skips.
pub const BACKOFFS: &[&str] = &["cooldown", "tolerance", "backoff"];
/// Why there was no repair.
pub const REASONS: &[&str] = &[
    "forming",
    "grace",
    "not_confirmed",
    "unknown",
    "blind",
    "inhibited",
    "paused",
    "maintenance",
    "silenced",
    "conflict",
    "cooldown",
    "tolerance",
    "backoff",
    "attempts",
    "budget",
    "version",
    "capability",
    "permanence",
    "no_survivor",
    "loss_budget",
    "loss_open",
    "daily_limit",
    "approval",
    "own_store",
    "no_playbook",
];
/// Verdicts by subject.
pub const VERDICTS: &[(&str, &[&str])] = &[
    ("etcd", &["forming", "single", "healthy", "degraded", "leaderless_alive", "lost", "unknown"]),
    ("api", &["up", "degraded", "down", "unknown"]),
];
/// Bounds of a loss.
pub const BOUNDS: &[&str] = &["lower", "upper"];
/// Look-outs that outlive a run.
pub const WATCHES: &[&str] = &["proof", "zombies"];
/// States of a run.
pub const RUN_STATES: &[&str] = &[
    "planned",
    "awaiting_approval",
    "running",
    "undoing",
    "finalizing",
    "parked",
    "succeeded",
    "failed",
    "cancelled",
];
/// How an undo ends.
pub const UNDO_OUTCOMES: &[&str] = &["undone", "undo_failed"];
