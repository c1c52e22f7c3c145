//! The variables of a response's expressions, from what the loop knows.

use std::collections::BTreeMap;

use super::state::{Look, Watched};
use crate::domain::{
    base::time::Time,
    incident::{correlation::Signal, ledger::Subject},
    rules::{
        bindings::{self, Bindings},
        expr::{EvalError, Value},
    },
};

/// The variables of a response's expressions.
pub(super) fn response_roots(
    watched: &Watched,
    subject: &Subject,
    signals: &[Signal],
    now: Time,
) -> Bindings {
    let mut values = BTreeMap::new();
    let labels =
        subject.labels.iter().map(|(name, value)| (name.as_str(), Value::str(value.as_str())));
    let cluster = [("cluster", Value::str(subject.cluster.as_str()))];
    values.insert("subject".into(), Value::map(labels.chain(cluster)));
    values.insert("cluster".into(), bindings::cluster_value(&watched.inventory));
    let signals = signals.iter().map(|signal| (signal.name.as_str(), signal.value(now)));
    values.insert("signals".into(), Value::map(signals));
    let ledger = watched.state.ledgers.get(subject).cloned().unwrap_or_default();
    let open_loss = watched.state.open_loss().is_some();
    values.insert("ledger".into(), bindings::ledger_value(&ledger, open_loss, now));
    if let Some(look) = &watched.look {
        add_look(&mut values, look);
    }
    Bindings { values, cluster: watched.inventory.clone(), now }
}

/// Adds what a look shows: `etcd` and `hosts`.
pub(super) fn add_look(values: &mut BTreeMap<String, Value>, look: &Look) {
    let etcd = bindings::etcd_value(&look.judgement, look.survivor.as_deref(), look.loss.as_ref());
    values.insert("etcd".into(), etcd);
    values.insert("hosts".into(), bindings::hosts_value(&look.evidence));
}

/// What stopped an evaluation, for people.
pub(super) fn missing(stop: &EvalError) -> String {
    match stop {
        EvalError::Unknown { path, .. } => path.clone(),
        EvalError::Error { message, .. } => message.clone(),
        EvalError::Spent => "the expression is too expensive".into(),
    }
}
