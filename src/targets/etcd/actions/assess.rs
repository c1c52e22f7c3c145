//! `etcd.assess`: a look, for the journal.

use crate::{
    domain::{
        base::time::Time,
        rules::{
            action::{ActionSpec, Changes, Done, OnResume},
            expr::{Type, Value},
        },
    },
    targets::{
        Depth,
        action::{Action, Doing, On, nothing},
        etcd::probe,
    },
};

/// `etcd.assess`.
#[derive(Debug)]
pub(super) struct Assess(ActionSpec);

impl Assess {
    pub(super) fn new() -> Self {
        Self(ActionSpec {
            // The engine gives the `etcd` variable, the digest and the leader's name.
            output: Type::Any,
            ..ActionSpec::new(
                "etcd.assess",
                Changes::Nothing,
                OnResume::Rerun,
                "Looks at every member by every vantage and journals what was seen.",
            )
        })
    }
}

impl Action for Assess {
    fn spec(&self) -> &ActionSpec {
        &self.0
    }

    fn act<'a>(&'a self, on: On<'a>, _before: &'a Value) -> Doing<'a, Done> {
        Box::pin(async move {
            let evidence = probe::look(on.cluster, Depth::Full, &wall).await;
            let json = serde_json::to_value(&evidence).unwrap_or_default();
            let evidence = Value::from_json(&json).unwrap_or_else(nothing);
            Ok(Done { output: Value::map([("evidence", evidence)]), changed: false })
        })
    }
}

/// The wall clock, for readings nobody gave a clock for.
fn wall() -> Time {
    Time(jiff::Timestamp::now().as_millisecond())
}
