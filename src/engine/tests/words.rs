//! What expressions see at run time is of the types that `check` believes in.

use super::bed::{Bed, QUORUM, three};
use crate::{
    domain::{
        cell::response_bindings,
        inventory::Mode,
        rules::{
            expr::{Type, Value},
            vocabulary,
        },
    },
    sim::State,
};

/// Whether a value is of a type; a field that is absent is an unknown reading, one that no type
/// names cannot be reached.
fn misfits(path: &str, value: &Value, ty: &Type) -> Vec<String> {
    let inside =
        |name: &str, value: &Value, ty: &Type| misfits(&format!("{path}.{name}"), value, ty);
    let wrong = || vec![format!("{path}: {value:?} is no {ty}")];
    match (ty, value) {
        (Type::Record(fields), Value::Map(values)) => {
            let check = |(name, value): (&std::sync::Arc<str>, &Value)| match fields.get(name) {
                Some(ty) => inside(name, value, ty),
                None => vec![format!("{path}.{name} has no type")],
            };
            values.iter().flat_map(check).collect()
        }
        (Type::Map(ty), Value::Map(values)) => {
            values.iter().flat_map(|(name, value)| inside(name, value, ty)).collect()
        }
        (Type::List(ty), Value::List(items)) => {
            items.iter().flat_map(|value| inside("*", value, ty)).collect()
        }
        (Type::Word(words), Value::Str(word)) if words.contains(&&**word) => Vec::new(),
        (Type::Any, _)
        | (Type::Bool, Value::Bool(_))
        | (Type::Int, Value::Int(_))
        | (Type::Str, Value::Str(_))
        | (Type::Duration, Value::Duration(_))
        | (Type::Time, Value::Time(_)) => Vec::new(),
        _ => wrong(),
    }
}

#[tokio::test(start_paused = true)]
async fn every_variable_is_of_the_type_that_rules_are_checked_against() {
    let bed = Bed::start(three(), Mode::Propose, 0).await;
    bed.pass(30).await;
    bed.patient.set("m2", State::Stopped);
    bed.patient.set("m3", State::Gone);
    bed.alert(QUORUM, &[], true).await;
    bed.pass(30).await;
    let found = bed.handle.read(|state| {
        let cell = state.cell("c1").unwrap();
        let incident = cell.state.open_incidents().next().unwrap();
        let response = state.response(incident.subject.response.as_str()).unwrap();
        let (subject, now) = (&incident.subject, state.now());
        let signals = cell.signals.signals(subject, &response, now);
        let roots = response_bindings(&cell, subject, &signals, now);
        let names: Vec<&str> = signals.iter().map(|signal| signal.name.as_str()).collect();
        let schema = vocabulary::response_schema(names, ["cluster"]);
        let check = |(name, value): (&String, &Value)| match schema.roots.get(name.as_str()) {
            Some(ty) => misfits(name, value, ty),
            None => vec![format!("{name} has no type")],
        };
        assert!(roots.values.contains_key("etcd") && roots.values.contains_key("hosts"));
        roots.values.iter().flat_map(check).collect::<Vec<_>>()
    });
    assert_eq!(found.await.unwrap(), Vec::<String>::new());
}
