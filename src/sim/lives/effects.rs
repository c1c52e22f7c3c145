//! Effects: each brings back exactly one answer, whatever goes wrong with it (or two, where that is
//! what goes wrong).

use std::time::Duration;

use super::{
    super::{look, model, work, world::subject},
    life::{CallWay, Event, Life, Waiting},
    report::Sabotage,
    script::{Asked, Wrong},
};
use crate::{
    domain::{
        base::time::Time,
        cell::{
            effect::{Ask, CallWanted, Effect, Pace},
            input::{Answer, Answered, Input, Looked, RunLooked},
        },
        rules::action::{Done, ErrorKind, Failure, Probed},
    },
    targets::{BRIEF, Tool, Toolset, action::locks},
};

/// After which a look counts as hung.
const LOOK_LIMIT: Duration = Duration::from_secs(38);
/// How long a look waits for what is silent.
const PROBE_LIMIT: Duration = Duration::from_millis(8_200);
/// How long what an earlier call has at work is waited for.
const PATIENCE: Duration = Duration::from_secs(55);

impl Life {
    /// Begins an effect.
    pub(super) fn perform(&mut self, at: usize, effect: Effect) -> Result<(), String> {
        let began = self.clock();
        match effect {
            Effect::Look(wanted) => {
                self.report.looks += 1;
                let wrong = self.wrong(at, Asked::Look);
                self.look(at, Waiting::Look(wanted, began, wrong), (Pace::Full, wrong));
            }
            Effect::RunLook(pace) => {
                self.report.looks += 1;
                let wrong = self.wrong(at, Asked::RunLook);
                self.look(at, Waiting::RunLook(began, wrong), (pace, wrong));
            }
            Effect::Call(wanted) => return self.call(at, *wanted),
            Effect::Prove(watch, call) => {
                self.look(at, Waiting::Prove(watch, call), (Pace::Full, None));
            }
            // no cluster here has an Alertmanager; who asked is a person that waits for no answer
            Effect::Reconcile | Effect::Answer(..) => {}
        }
        Ok(())
    }

    fn wrong(&mut self, at: usize, asked: Asked) -> Option<Wrong> {
        let wrong = self.slots[at].wrongs.get_mut(&asked)?.pop_front();
        self.report.wrongs += u64::from(wrong.is_some());
        wrong
    }

    fn look(&mut self, at: usize, waiting: Waiting, (pace, wrong): (Pace, Option<Wrong>)) {
        let machines = self.slots[at].world.machines.values();
        let is_silent = machines.into_iter().any(|machine| !machine.reachable);
        let took = match wrong {
            Some(Wrong::Hangs | Wrong::HangsAfter | Wrong::Lags(_)) => LOOK_LIMIT,
            Some(Wrong::Late) => Duration::from_secs(20),
            _ if is_silent => PROBE_LIMIT,
            _ => Duration::from_millis(30 + self.dice.below(300)),
        };
        let took = if pace == Pace::Brief { took.min(BRIEF) } else { took };
        self.push(self.now.after(took), Event::Look(self.process, at, Box::new(waiting)));
    }

    /// A look reads, at its end.
    pub(super) fn read(&mut self, at: usize, waiting: Waiting) -> Result<(), String> {
        let now = self.clock();
        let world = &self.slots[at].world;
        let fails = |wrong: &Option<Wrong>| {
            matches!(wrong, Some(Wrong::Fails(_) | Wrong::FailsAfter(_) | Wrong::Panics))
        };
        let hangs = |wrong: &Option<Wrong>| {
            matches!(wrong, Some(Wrong::Hangs | Wrong::HangsAfter | Wrong::Lags(_)))
        };
        let (input, wrong) = match waiting {
            Waiting::Look(_, _, wrong) if hangs(&wrong) => {
                (Input::LookFailed("no look in time".into()), wrong)
            }
            Waiting::Look(wanted, began, wrong) => {
                let evidence =
                    if fails(&wrong) { look::nothing(world, now) } else { look::look(world, now) };
                let tool = |name: &str| Tool { path: name.into(), version: world.tools.clone() };
                let tools = wanted
                    .tools
                    .then(|| Ok(Toolset { etcd: tool("etcd"), etcdutl: tool("etcdutl") }));
                let (is_shallow, prometheus_max) = (wanted.is_shallow, None);
                let looked = Looked { began, evidence, is_shallow, prometheus_max, tools };
                (Input::Looked(Box::new(looked)), wrong)
            }
            Waiting::RunLook(began, wrong) => {
                let evidence = (!hangs(&wrong) && !fails(&wrong)).then(|| look::look(world, now));
                (Input::RunLooked(Box::new(RunLooked { began, evidence })), wrong)
            }
            Waiting::Prove(watch, call) => {
                let slot = &mut self.slots[at];
                let proof = slot.setup.catalogue.get(call.action.as_str());
                let done = model::act(&mut slot.world, &call).ok();
                let equal = done.zip(proof).and_then(|(done, proof)| proof.proof(&done.output));
                (Input::Proved(watch, equal), None)
            }
            Waiting::Call(..) => return Ok(()),
        };
        self.answer(at, input, wrong)
    }

    fn answer(&mut self, at: usize, input: Input, wrong: Option<Wrong>) -> Result<(), String> {
        if wrong == Some(Wrong::Twice) {
            let again = Event::Input(self.process, at, Box::new(input.clone()));
            self.push(self.now.after(Duration::from_secs(3)), again);
        }
        self.give(at, input)
    }

    fn call(&mut self, at: usize, wanted: CallWanted) -> Result<(), String> {
        let asked = match wanted.what {
            Ask::Before => Asked::Before,
            Ask::Act(_) => Asked::Act,
            Ask::Probe(_) => Asked::Probe,
        };
        if asked == Asked::Act {
            if self.sabotage == Sabotage::NeverActs {
                return Ok(());
            }
            let slot = &mut self.slots[at];
            let spec = slot.setup.catalogue.get(wanted.call.action.as_str());
            let state = slot.cell.as_ref().map(|cell| &cell.state);
            slot.laws.begins(&wanted, state, spec)?;
        }
        let wrong = self.wrong(at, asked);
        let slot = &self.slots[at];
        let is_locked = slot.setup.catalogue.get(wanted.call.action.as_str()).is_some_and(locks)
            && asked != Asked::Before;
        let busy = slot.busy.get(&subject(&wanted.call)).copied().filter(|_| is_locked);
        let (from, patience) = (busy.unwrap_or(self.now).max(self.now), self.now.after(PATIENCE));
        let (is_locked_out, from) = (from > patience, from.min(patience));
        let deadline = self.now.after(wanted.timeout);
        let took = match wrong {
            Some(Wrong::Late) => wanted.timeout.saturating_sub(Duration::from_secs(1)),
            _ => Duration::from_millis(50 + self.dice.below(1500)),
        };
        let way = CallWay { wrong, deadline, is_at_work: false, is_locked_out };
        let due = from.after(took);
        let waiting = Box::new(Waiting::Call(wanted, way));
        self.push(due, Event::Effect(self.process, at, waiting));
        Ok(())
    }

    /// The moment a call reaches the machines.
    pub(super) fn take_effect(
        &mut self,
        at: usize,
        waiting: Waiting,
        is_ours: bool,
    ) -> Result<(), String> {
        let Waiting::Call(wanted, way) = waiting else { return Ok(()) };
        if let Ask::Act(_) = wanted.what {
            return self.acts(at, wanted, way, is_ours);
        }
        if !is_ours {
            return Ok(());
        }
        let world = &self.slots[at].world;
        let kind = match way.wrong {
            Some(Wrong::Fails(kind) | Wrong::FailsAfter(kind)) => Some(kind),
            Some(Wrong::Hangs | Wrong::HangsAfter | Wrong::Lags(_)) => Some(ErrorKind::Timeout),
            Some(Wrong::Panics) => Some(ErrorKind::Other),
            Some(Wrong::Late | Wrong::Twice) | None => None,
        };
        let failure = kind.map(|kind| Failure::new(kind, "it goes wrong in this life"));
        let result = match (&wanted.what, failure) {
            (Ask::Before, Some(failure)) => Answered::Before(Err(failure)),
            (Ask::Before, None) => Answered::Before(Ok(model::before(world, &wanted.call))),
            (_, Some(failure)) => Answered::Probed(Probed::Unknown(failure.message)),
            (Ask::Probe(_), None) if way.is_locked_out => {
                Answered::Probed(Probed::Unknown("an earlier call is still at work".into()))
            }
            (Ask::Probe(before) | Ask::Act(before), None) => {
                Answered::Probed(model::probe(world, &wanted.call, before))
            }
        };
        let input = Input::Called(Box::new(Answer { key: wanted.key, result }));
        self.answer(at, input, way.wrong)
    }

    /// An effect: it takes place, or not; its answer comes, or not.
    fn acts(
        &mut self,
        at: usize,
        wanted: CallWanted,
        way: CallWay,
        is_ours: bool,
    ) -> Result<(), String> {
        if !is_ours && !way.is_at_work && self.dice.one_in(2) {
            return Ok(()); // ended with the process that began it
        }
        let failed = |kind: ErrorKind| Failure::new(kind, "it goes wrong in this life");
        let late = || failed(ErrorKind::Timeout);
        let still_running = || Failure { still_running: true, ..late() };
        let (result, answered): (Result<Done, Failure>, Time) = match way.wrong {
            _ if way.is_locked_out => (Err(still_running()), self.now),
            Some(Wrong::Fails(kind)) => (Err(failed(kind)), self.now),
            Some(Wrong::Panics) => (Err(failed(ErrorKind::Other)), self.now),
            Some(Wrong::Hangs) => (Err(late()), way.deadline),
            Some(Wrong::FailsAfter(kind)) => {
                drop(self.carry_out(at, &wanted));
                (Err(failed(kind)), self.now)
            }
            Some(Wrong::HangsAfter) => {
                drop(self.carry_out(at, &wanted));
                (Err(late()), way.deadline)
            }
            Some(Wrong::Lags(span)) => {
                let until = self.now.max(way.deadline).after(span);
                let member = subject(&wanted.call);
                self.slots[at].busy.insert(member, until);
                let wrong = Some(Wrong::HangsAfter);
                let later =
                    CallWay { wrong, deadline: until, is_at_work: true, is_locked_out: false };
                let again = Waiting::Call(wanted.clone(), later);
                // whoever began it has its answer by then: it is at work for itself
                self.push(until, Event::Effect(0, at, Box::new(again)));
                (Err(still_running()), way.deadline)
            }
            Some(Wrong::Late | Wrong::Twice) | None => (self.carry_out(at, &wanted), self.now),
        };
        if !is_ours {
            return Ok(());
        }
        let result = Answered::Acted(result);
        let input = Input::Called(Box::new(Answer { key: wanted.key, result }));
        if answered > self.now {
            self.push(answered, Event::Input(self.process, at, Box::new(input)));
            return Ok(());
        }
        self.answer(at, input, way.wrong)
    }

    fn carry_out(&mut self, at: usize, wanted: &CallWanted) -> Result<Done, Failure> {
        let world = &mut self.slots[at].world;
        let done = work::carry_out(world, &wanted.call);
        self.report.effects += u64::from(done.is_ok());
        self.watch(at);
        done
    }
}
