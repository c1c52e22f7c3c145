//! The words and variables of the rules: closed lists, and what an expression may name where.
//!
//! Only types live here. The values are made where readings are (`verdict`, the engine's world); a
//! field that is missing there at run time is an unknown reading.

use std::sync::Arc;

use super::expr::{Schema, Type};

/// Verdicts on quorum.
pub const QUORUM_VERDICTS: &[&str] =
    &["forming", "single", "healthy", "degraded", "leaderless_alive", "lost", "unknown"];
/// Verdicts on the API servers.
pub const API_VERDICTS: &[&str] = &["up", "degraded", "down", "unknown"];
/// Verdicts on a node.
pub const NODE_VERDICTS: &[&str] = &["ready", "not_ready", "unreachable", "excluded", "unknown"];
/// Why a dead member will not come back.
pub const PERMANENCE: &[&str] = &["host_off", "fenced", "disk_gone", "data_gone", "attested"];
/// What stands in a data directory.
pub const DATA: &[&str] = &["present", "empty", "missing"];
/// How irreversible steps are dispatched.
pub const MODES: &[&str] = &["propose", "auto"];
/// How a cluster's etcd is laid out.
pub const LAYOUTS: &[&str] = &["hosts", "static_pods", "statefulset"];
/// Places of a member's data (`etcd.data_out: {to}`).
pub const PLACES: &[&str] = &["old", "new", "failed", "scratch", "backup"];

/// Names of variables that nothing else may be called.
pub const ROOTS: &[&str] = &[
    "cluster", "subject", "signals", "etcd", "nodes", "api", "hosts", "run", "params", "steps",
    "self", "ledger", "now",
];

/// What `when` of a response sees: what the alerts say, nothing of the patient.
pub fn trigger_schema<'a>(
    signals: impl IntoIterator<Item = &'a str>,
    subject: impl IntoIterator<Item = &'a str>,
) -> Schema {
    let signal = Type::record([
        ("firing", Type::Int),
        ("resolved", Type::Int),
        ("age", Type::Duration),
        ("labels", Type::map(Type::Str)),
    ]);
    let signals = signals.into_iter().map(|name| (Arc::from(name), signal.clone()));
    let subject = subject.into_iter().map(|name| (Arc::from(name), Type::Str));
    Schema::default()
        .with("cluster", cluster())
        .with("subject", Type::record_of(subject))
        .with("signals", Type::record_of(signals))
        .with("ledger", ledger())
}

/// What the other expressions of a response see.
pub fn response_schema<'a>(
    signals: impl IntoIterator<Item = &'a str>,
    subject: impl IntoIterator<Item = &'a str>,
) -> Schema {
    with_patient(&trigger_schema(signals, subject))
}

/// What a playbook sees before its first step; `params` is a record of its parameters.
pub fn playbook_schema(params: Type) -> Schema {
    with_patient(&Schema::default().with("cluster", cluster()))
        .with("run", Type::record([("id", Type::Str)]))
        .with("params", params)
        .with("steps", Type::record([]))
}

fn with_patient(schema: &Schema) -> Schema {
    schema.with("etcd", etcd()).with("nodes", nodes()).with("api", api()).with("hosts", hosts())
}

fn cluster() -> Type {
    let host = Type::record([("address", Type::Str), ("zone", Type::Str)]);
    Type::record([
        ("name", Type::Str),
        ("labels", Type::map(Type::Str)),
        ("mode", Type::Word(MODES)),
        ("etcd", Type::record([("layout", Type::Word(LAYOUTS))])),
        ("hosts", Type::map(host)),
    ])
}

fn ledger() -> Type {
    Type::record([
        ("attempts", Type::Int),
        ("last_success", Type::Time),
        ("unhealthy_for", Type::Duration),
        ("open_loss", Type::Bool),
    ])
}

fn etcd() -> Type {
    Type::record_of(etcd_fields())
}

/// The fields of `etcd`; the output of `etcd.assess` has them too.
pub fn etcd_fields() -> Vec<(Arc<str>, Type)> {
    let member = Type::record([
        ("id", Type::Str),
        ("host", Type::Str),
        ("alive", Type::Bool),
        ("serving", Type::Bool),
        ("leader", Type::Bool),
        ("learner", Type::Bool),
        ("revision", Type::Int),
        ("hash", Type::Int),
        ("data", Type::Word(DATA)),
        ("permanence", Type::Word(PERMANENCE)),
        ("held", Type::Bool),
    ]);
    [
        ("verdict", Type::Word(QUORUM_VERDICTS)),
        ("reason", Type::Str),
        ("voters", Type::list(Type::Str)),
        ("members", Type::map(member)),
        ("survivor", Type::Str),
        ("loss", Type::record([("lower", Type::Int), ("upper", Type::Int)])),
    ]
    .map(|(name, ty)| (Arc::from(name), ty))
    .into()
}

fn nodes() -> Type {
    Type::map(Type::record([
        ("verdict", Type::Word(NODE_VERDICTS)),
        ("ready", Type::Bool),
        ("since", Type::Time),
        ("lease_fresh", Type::Bool),
        ("cordoned", Type::Bool),
        ("zone", Type::Str),
        ("host", Type::Str),
        ("deleting", Type::Bool),
        ("control_plane", Type::Bool),
    ]))
}

fn api() -> Type {
    let server = Type::record([("host", Type::Str), ("ready", Type::Bool)]);
    Type::record([("verdict", Type::Word(API_VERDICTS)), ("servers", Type::list(server))])
}

fn hosts() -> Type {
    let service = Type::record([("running", Type::Bool)]);
    Type::map(Type::record([
        ("reachable", Type::Bool),
        ("service", Type::map(service)),
        ("free_bytes", Type::Int),
    ]))
}
