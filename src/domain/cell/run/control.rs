//! What has no effect of its own: loops, waits, expectations, `verify`.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use super::{Draft, Moved, POLL, Wait, Waiting};
use crate::domain::{
    base::{id::PlaybookName, time::Time},
    cell::{effect::Place, variables::missing},
    rules::{
        action::{ErrorKind, Failure},
        expr::{EvalError, Expr, Template, Value},
        playbook::{
            model::{Arg, StepKind},
            params::Param,
        },
    },
    run::{
        event::RunEvent,
        next::VERIFY_TIMEOUT,
        plan::{ITEMS_MAX, Plan},
        state::Run,
        todo::At,
    },
};

/// How a condition that is read again and again stands.
enum Read {
    /// It is read again later.
    Later,
    /// It held for long enough.
    Held,
    /// It is false, for the first time in this reading.
    False,
    /// It did not come true in time; what was missing.
    Late(String),
}

impl Draft {
    pub(super) fn expand(&mut self, run: &Run, at: &At<'_>) -> Moved {
        match self.is_wanted(run, at) {
            Some(true) => {}
            Some(false) => return true,
            None => return false,
        }
        match &at.step.kind {
            StepKind::Foreach { items, .. } => self.expand_loop(run, at, items),
            StepKind::Call { playbook, with, params, .. } => {
                self.expand_call(run, at, playbook, with, params)
            }
            StepKind::Action(_)
            | StepKind::Wait { .. }
            | StepKind::Expect { .. }
            | StepKind::RecordLoss { .. }
            | StepKind::RecordNote(_)
            | StepKind::Approve(_) => false, // begun, never expanded
        }
    }

    fn expand_call(
        &mut self,
        run: &Run,
        at: &At<'_>,
        playbook: &PlaybookName,
        with: &BTreeMap<String, Arg>,
        params: &[Param],
    ) -> Moved {
        let Some(filled) = self.fill(run, at, with, &[]) else { return false };
        let filled = filled.map_err(|error| format!("{} is not known", missing(&error)));
        let given = filled.and_then(|given| {
            run.plan.accept(playbook, params, given).map_err(|wrong| wrong.join("; "))
        });
        match given {
            Ok(params) => {
                self.record(run.id, RunEvent::CallStarted { step: at.path.clone(), params });
            }
            Err(why) => self.fail_unstarted(run, at, Failure::new(ErrorKind::Invalid, why)),
        }
        true
    }

    fn expand_loop(&mut self, run: &Run, at: &At<'_>, items: &Expr) -> Moved {
        let fresh = self.fresh();
        let Some(bindings) = self.bindings(run, Some(at), items.source(), fresh) else {
            return false;
        };
        match items.eval(&bindings) {
            Ok(value) => match in_order(&value, &run.plan) {
                Ok(items) => {
                    self.record(run.id, RunEvent::ForeachStarted { step: at.path.clone(), items });
                }
                Err(wrong) => {
                    let text = format!("`in: {}` {wrong}", items.source());
                    self.fail_unstarted(run, at, Failure::new(ErrorKind::Invalid, text));
                }
            },
            Err(error) => {
                let text = format!("`in` cannot be told: {} is not known", missing(&error));
                self.fail_unstarted(run, at, Failure::new(ErrorKind::Invalid, text));
            }
        }
        true
    }

    pub(super) fn until(&mut self, run: &Run, at: &At<'_>, until: &Expr, item: &Arc<str>) -> Moved {
        let fresh = self.fresh();
        let Some(truth) = self.truth(run, Some(at), until, fresh, &[]) else { return false };
        if truth == Ok(true) {
            let event = RunEvent::ForeachStopped { step: at.path.clone(), item: item.clone() };
            self.record(run.id, event);
        } else {
            self.cell.driving.checked.insert(at.path.iteration(item.clone()));
        }
        true
    }

    pub(super) fn wait(
        &mut self,
        run: &Run,
        at: &At<'_>,
        until: &Expr,
        [hold, timeout, poll]: [Duration; 3],
    ) -> Moved {
        let wait = Wait::At(Place::Step(at.path.clone()));
        match self.reread(run, Some(at), &wait, until, [hold, timeout, poll], &[]) {
            Read::Later | Read::False => false,
            Read::Held => {
                self.done(run, at, &Value::map([] as [(&str, Value); 0]));
                true
            }
            Read::Late(missed) => {
                let text = format!("did not come true in time ({missed}): {}", until.source());
                self.fail_unstarted(run, at, Failure::new(ErrorKind::Timeout, text));
                true
            }
        }
    }

    pub(super) fn expect(
        &mut self,
        run: &Run,
        at: &At<'_>,
        that: &Expr,
        message: &Template,
    ) -> Moved {
        let wait = Wait::At(Place::Step(at.path.clone()));
        let limits = [Duration::ZERO, at.step.timeout, POLL];
        match self.reread(run, Some(at), &wait, that, limits, &[]) {
            Read::Later => false,
            Read::Held => {
                self.done(run, at, &Value::map([] as [(&str, Value); 0]));
                true
            }
            Read::False => {
                let Some(text) = self.text(run, at, message) else { return false };
                let text = text.ok().and_then(|text| text.as_str().map(str::to_owned));
                let text = text.unwrap_or_else(|| format!("does not hold: {}", that.source()));
                self.fail_unstarted(run, at, Failure::new(ErrorKind::RefusedByGuard, text));
                true
            }
            Read::Late(missed) => {
                let text = format!("{missed}: {}", that.source());
                self.fail_unstarted(run, at, Failure::new(ErrorKind::Timeout, text));
                true
            }
        }
    }

    pub(super) fn verify(&mut self, run: &Run, verify: &Expr) -> Moved {
        let limits = [Duration::ZERO, VERIFY_TIMEOUT, POLL];
        match self.reread(run, None, &Wait::Verify, verify, limits, &[]) {
            Read::Later | Read::False => return false,
            Read::Held => self.record(run.id, RunEvent::Verified),
            Read::Late(missed) => {
                let why = format!(
                    "`verify` did not come true within 60 s ({missed}): {}",
                    verify.source()
                );
                let failure = Failure::new(ErrorKind::Timeout, why);
                self.record(run.id, RunEvent::VerifyFailed { failure });
            }
        }
        self.cell.driving.waits.remove(&Wait::Verify);
        true
    }

    /// Whether an entry is needed; what is not known is read again until the entry's limit. `None`:
    /// come again.
    pub(super) fn is_needed(
        &mut self,
        run: &Run,
        at: &At<'_>,
        place: &Place,
        (when, itself): (&Expr, &Value),
        limit: Duration,
    ) -> Option<Result<bool, Failure>> {
        let wait = Wait::At(place.clone());
        let extra = [("self", itself.clone())];
        match self.reread(run, Some(at), &wait, when, [Duration::ZERO, limit, POLL], &extra) {
            Read::Later => None,
            Read::Held => Some(Ok(true)),
            Read::False => Some(Ok(false)),
            Read::Late(missed) => {
                let why =
                    format!("whether it is needed is not known ({missed}): {}", when.source());
                Some(Err(Failure::new(ErrorKind::Invalid, why)))
            }
        }
    }

    /// Reads a condition again where it is time, and says how it stands.
    fn reread(
        &mut self,
        run: &Run,
        at: Option<&At<'_>>,
        wait: &Wait,
        condition: &Expr,
        [hold, timeout, poll]: [Duration; 3],
        extra: &[(&str, Value)],
    ) -> Read {
        let now = self.now;
        let waits = &mut self.cell.driving.waits;
        let waiting = waits.entry(wait.clone()).or_insert_with(|| Waiting::from(now)).clone();
        let deadline = waiting.began.after(timeout);
        self.wake_at(deadline);
        if now < waiting.next {
            self.wake_at(waiting.next);
            return self.late(wait, &waiting, deadline);
        }
        let not_before = waiting.next.max(self.cell.driving.floor);
        let Some(truth) = self.truth(run, at, condition, not_before, extra) else {
            return self.late(wait, &waiting, deadline);
        };
        self.judge_wait(wait, waiting, &truth, [hold, poll], deadline)
    }

    fn judge_wait(
        &mut self,
        wait: &Wait,
        mut waiting: Waiting,
        truth: &Result<bool, EvalError>,
        [hold, poll]: [Duration; 2],
        deadline: Time,
    ) -> Read {
        let now = self.now;
        waiting.next = now.after(poll);
        let mut is_false = false;
        match truth {
            Ok(true) => {
                let since = *waiting.holds.get_or_insert(now);
                if now.since(since) >= hold {
                    self.cell.driving.waits.remove(wait);
                    return Read::Held;
                }
                waiting.next = waiting.next.min(since.after(hold));
            }
            Ok(false) => {
                is_false = true;
                (waiting.holds, waiting.missed) = (None, "it is false".to_owned());
            }
            Err(error) => {
                let missed = format!("{} is not known", missing(error));
                (waiting.holds, waiting.missed) = (None, missed);
            }
        }
        self.wake_at(waiting.next);
        self.cell.driving.waits.insert(wait.clone(), waiting.clone());
        match self.late(wait, &waiting, deadline) {
            Read::Later if is_false => Read::False,
            read @ (Read::Later | Read::Held | Read::False | Read::Late(_)) => read,
        }
    }

    fn late(&mut self, wait: &Wait, waiting: &Waiting, deadline: Time) -> Read {
        if self.now < deadline {
            return Read::Later;
        }
        self.cell.driving.waits.remove(wait);
        Read::Late(waiting.missed.clone())
    }
}

impl Waiting {
    pub(super) fn from(now: Time) -> Self {
        let missed = "it could not be read".to_owned();
        Self { began: now, holds: None, next: now, missed }
    }
}

/// Items in the order of the inventory, names it does not know sorted behind; each once. What is no
/// list of names is nothing a loop may take a part of.
fn in_order(value: &Value, plan: &Plan) -> Result<Vec<Arc<str>>, String> {
    let wrong = |found: &Value| format!("is {}, wanted a list of names", found.type_name());
    let names = value.as_list().ok_or_else(|| wrong(value))?;
    let name = |item: &Value| {
        let name = item.as_str().map(Arc::from);
        name.ok_or_else(|| format!("has {} in its list, wanted names", item.type_name()))
    };
    let mut items = names.iter().map(name).collect::<Result<Vec<Arc<str>>, _>>()?;
    items.sort();
    items.dedup();
    if items.len() > ITEMS_MAX {
        return Err(format!("has {} items, more than {ITEMS_MAX}", items.len()));
    }
    let place = |item: &Arc<str>| plan.members.iter().position(|name| name.as_str() == &**item);
    items.sort_by_key(|item| place(item).unwrap_or(usize::MAX));
    Ok(items)
}
