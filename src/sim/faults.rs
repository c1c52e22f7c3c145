//! What goes wrong in the model, and at which calls.
//!
//! A fault is a value: a test writes it down, a simulation draws it from its seed.

use std::{collections::BTreeMap, ops::RangeInclusive, time::Duration};

use crate::domain::rules::action::{ErrorKind, Failure};

/// What the model is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ask {
    /// A look.
    Look,
    /// An action's own reading of what it is about to change.
    Before,
    /// An action's effect.
    Act,
    /// Whether an earlier effect took place.
    Probe,
}

/// Before or after an effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Before it.
    Before,
    /// After it, before anybody learns of it.
    After,
}

/// What goes wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// It answers with this error: an act without any effect, a probe that it cannot tell. A look sees
    /// nobody.
    Fails(ErrorKind),
    /// An act takes effect and answers with this error all the same.
    FailsAfter(ErrorKind),
    /// It never answers; an act before or after its effect.
    Hangs(Moment),
    /// It panics; an act before or after its effect.
    Panics(Moment),
    /// It answers so much later; an act takes effect at once.
    Late(Duration),
    /// An act takes effect so much later, whether or not anybody waits for it then. Until then it is at
    /// work: whoever cuts it off hears so, and its member is locked.
    Lags(Duration),
}

/// Something that goes wrong at some calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What is asked for.
    pub ask: Ask,
    /// Of which action; of any where it is none.
    pub action: Option<String>,
    /// At which calls of it, from 1.
    pub calls: RangeInclusive<u32>,
    /// What goes wrong.
    pub wrong: Wrong,
}

impl Fault {
    /// At the first call.
    pub fn new(ask: Ask, action: &str, wrong: Wrong) -> Self {
        Self { ask, action: Some(action.into()), calls: 1..=1, wrong }
    }

    /// At the first look.
    pub fn look(wrong: Wrong) -> Self {
        Self { ask: Ask::Look, action: None, calls: 1..=1, wrong }
    }

    /// At the `nth` call instead.
    #[must_use]
    pub fn nth(self, nth: u32) -> Self {
        Self { calls: nth..=nth, ..self }
    }

    /// At every call from the `nth` on instead.
    #[must_use]
    pub fn from(self, nth: u32) -> Self {
        Self { calls: nth..=u32::MAX, ..self }
    }
}

/// The faults of a world, and how often it was asked for what.
#[derive(Debug, Default)]
pub(super) struct Faults {
    all: Vec<Fault>,
    /// By action; what is asked of any stands under none.
    asked: BTreeMap<(Ask, Option<String>), u32>,
    /// What went wrong so far.
    hits: Vec<Wrong>,
}

impl Faults {
    pub(super) fn add(&mut self, fault: Fault) {
        self.all.push(fault);
    }

    pub(super) fn heal(&mut self, action: &str) {
        self.all.retain(|fault| fault.action.as_deref() != Some(action));
    }

    /// Counts a call, and tells what goes wrong at it.
    pub(super) fn met(&mut self, ask: Ask, action: Option<&str>) -> Vec<Wrong> {
        let mut met = Vec::new();
        let any = action.is_some().then_some(None);
        for of in any.into_iter().chain([action.map(str::to_owned)]) {
            let count = self.asked.entry((ask, of.clone())).or_default();
            *count += 1;
            let hits = |fault: &&Fault| {
                fault.ask == ask && fault.action == of && fault.calls.contains(count)
            };
            met.extend(self.all.iter().filter(hits).map(|fault| fault.wrong.clone()));
        }
        self.hits.extend(met.iter().cloned());
        met
    }

    /// Whether something went wrong in this way.
    pub(super) fn has_hit(&self, wrong: &Wrong) -> bool {
        self.hits.contains(wrong)
    }
}

/// The error of a call that fails for a test.
pub(super) fn failure(kind: ErrorKind, what: &str) -> Failure {
    Failure::new(kind, format!("{what} fails for the test"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_hit_the_calls_they_name() {
        let mut faults = Faults::default();
        let late = Wrong::Late(Duration::from_secs(1));
        let fails = Wrong::Fails(ErrorKind::Tool);
        faults.add(Fault::new(Ask::Act, "a", late.clone()).nth(2));
        faults.add(Fault { action: None, ..Fault::new(Ask::Act, "", fails.clone()).from(3) });
        faults.add(Fault::look(Wrong::Hangs(Moment::Before)));
        assert_eq!(faults.met(Ask::Act, Some("a")), []);
        assert_eq!(faults.met(Ask::Probe, Some("a")), []);
        assert_eq!(faults.met(Ask::Act, Some("a")), [late]);
        for action in ["b", "a"] {
            assert_eq!(faults.met(Ask::Act, Some(action)), std::slice::from_ref(&fails));
        }
        assert_eq!(faults.met(Ask::Look, None), [Wrong::Hangs(Moment::Before)]);
        assert_eq!(faults.met(Ask::Look, None), []);
    }
}
