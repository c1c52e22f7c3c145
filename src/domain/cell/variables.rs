//! The variables of a response's expressions, from what the cell knows.

use std::collections::BTreeMap;

use super::Cell;
use crate::domain::{
    base::time::Time,
    etcd::observation::Observation,
    incident::{correlation::Signal, ledger::Subject},
    rules::{
        bindings::{self, Bindings},
        expr::{EvalError, Value},
        response::Response,
    },
};

/// What a subject's alerts say, by signal.
pub(super) fn signals(
    cell: &Cell,
    subject: &Subject,
    response: &Response,
    now: Time,
) -> Vec<Signal> {
    cell.signals.signals(subject, response, now)
}

/// The variables of a response's expressions.
pub fn response_bindings(
    cell: &Cell,
    subject: &Subject,
    signals: &[Signal],
    now: Time,
) -> Bindings {
    let mut values = BTreeMap::new();
    let labels =
        subject.labels.iter().map(|(name, value)| (name.as_str(), Value::str(value.as_str())));
    let cluster = [("cluster", Value::str(subject.cluster.as_str()))];
    values.insert("subject".into(), Value::map(labels.chain(cluster)));
    values.insert("cluster".into(), bindings::cluster_value(cell.inventory()));
    let signals = signals.iter().map(|signal| (signal.name.as_str(), signal.value(now)));
    values.insert("signals".into(), Value::map(signals));
    let ledger = cell.state.ledgers.get(subject).cloned().unwrap_or_default();
    let open_loss = cell.state.open_loss().is_some();
    values.insert("ledger".into(), bindings::ledger_value(&ledger, open_loss, now));
    if let Some(look) = cell.look() {
        add_look(&mut values, look);
    }
    Bindings { values, cluster: cell.inventory().clone(), now }
}

/// Adds what a look shows: `etcd` and `hosts`.
pub(super) fn add_look(values: &mut BTreeMap<String, Value>, look: &Observation) {
    let etcd = bindings::etcd_value(&look.judgement, look.survivor.as_deref(), look.loss.as_ref());
    values.insert("etcd".into(), etcd);
    values.insert("hosts".into(), bindings::hosts_value(&look.evidence));
}

/// What stopped an evaluation, for people.
pub(super) fn missing(error: &EvalError) -> String {
    match error {
        EvalError::Unknown { path, .. } => path.clone(),
        EvalError::Error { message, .. } => message.clone(),
        EvalError::Spent => "the expression is too expensive".into(),
    }
}
