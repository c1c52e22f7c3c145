//! Quorate itself: its start, its end, and how a cell is stepped, committed and taken over.

use std::{sync::Arc, time::Duration};

use super::{
    super::world::subject,
    laws::Laws,
    life::{Committing, EPOCH, Event, Kept, Life, Patience, Slot},
    report::Sabotage,
    script::Hurt,
};
use crate::{
    domain::{
        base::time::Time,
        cell::{Cell, Commands, Setup, Step, effect::Effect, input::Input},
        inventory::Cluster,
        journal::{
            cluster::ClusterState,
            record::{Record, VERSION},
        },
        rules::{Rules, action::Call},
    },
    targets::catalogue::catalogue,
};

/// Before a step whose commit did not become durable is made again.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// Inputs of one step.
const INPUTS_MAX: usize = 256;

#[derive(Debug)]
struct Described;

impl Commands for Described {
    fn commands(&self, call: &Call) -> Vec<String> {
        vec![format!("{} {}", call.action, subject(call))]
    }
}

/// What a cell of this cluster works by.
pub(super) fn setup(cluster: Cluster, rules: &Arc<Rules>, look_every: Duration) -> Arc<Setup> {
    Arc::new(Setup {
        cluster: Arc::new(cluster),
        rules: Arc::clone(rules),
        catalogue: catalogue(),
        commands: Arc::new(Described),
        look_every,
        store_on_target: false,
        is_retired: false,
    })
}

impl Slot {
    pub(super) fn new(setup: Arc<Setup>, world: super::super::world::World) -> Self {
        Self {
            world,
            setup,
            journal: Vec::new(),
            observed: None,
            cell: None,
            inbox: std::collections::VecDeque::new(),
            committing: None,
            not_before: None,
            timer: None,
            last_at: EPOCH,
            hurts: std::collections::VecDeque::new(),
            kill: None,
            wrongs: std::collections::BTreeMap::new(),
            busy: std::collections::BTreeMap::new(),
            led_since: Some(EPOCH),
            laws: Laws::default(),
            patience: Patience::default(),
        }
    }

    /// The fold of what is durable.
    fn folded(&self) -> Result<ClusterState, String> {
        let mut state = ClusterState::default();
        for kept in &self.journal {
            let record = Record::decode(kept.kind, VERSION, &kept.body);
            let record =
                record.map_err(|error| format!("a start cannot read {kept:?}: {error}"))?;
            let legal = state.apply(&record, kept.at);
            legal.map_err(|error| format!("a start cannot fold {kept:?}: {error}"))?;
        }
        Ok(state)
    }
}

impl Life {
    /// Starts a process: what is durable is folded, alerts are handed out again.
    pub(super) fn start(&mut self) -> Result<(), String> {
        self.process += 1;
        self.is_up = true;
        let last = self.slots.iter().map(|slot| slot.last_at).max().unwrap_or(EPOCH);
        let wall = Time(self.now.0 + self.wall);
        self.ahead = wall.max(last).0 - self.now.0;
        let now = self.clock();
        self.intake.read_back(now)?;
        for at in 0..self.slots.len() {
            let seed = self.dice.next();
            let slot = &mut self.slots[at];
            if self.sabotage == Sabotage::ForgetsRecords && !slot.journal.is_empty() {
                slot.journal.pop();
            }
            let state = slot.folded()?;
            slot.laws.refolded(&state)?;
            let (setup, observed) = (slot.setup.clone(), slot.observed.clone());
            slot.cell = Some(Cell::new(setup, state, observed, seed, now.max(slot.last_at)));
            (slot.committing, slot.not_before, slot.timer) = (None, None, None);
            slot.inbox.clear();
            slot.inbox.push_back(Input::Started);
            let alerts = self.intake.of(at);
            if !alerts.is_empty() && self.sabotage != Sabotage::ForgetsAlerts {
                slot.inbox.push_back(Input::Alerts { alerts, forgotten: Vec::new(), arrived: now });
            }
            self.advance(at)?;
        }
        Ok(())
    }

    /// Ends the process, whatever is under way.
    pub(super) fn kill(&mut self, down: Duration) {
        if !self.is_up {
            return;
        }
        self.report.kills += 1;
        self.is_up = false;
        for slot in &mut self.slots {
            let cell = slot.cell.take();
            let committing = slot.committing.take();
            let is_kept = |one: &Committing| matches!(one.hurt, None | Some(Hurt::UnknownThere));
            let kept = committing.filter(is_kept).map(|one| one.step.next.state);
            if let Some(state) = kept.or_else(|| cell.map(|cell| cell.state)) {
                slot.laws.ended(&state);
            }
            slot.inbox.clear();
        }
        self.push(self.now.after(down), Event::Start(self.process));
    }

    /// Gives a cell something, and steps it unless a commit of it is under way.
    pub(super) fn give(&mut self, at: usize, input: Input) -> Result<(), String> {
        self.slots[at].inbox.push_back(input);
        self.advance(at)
    }

    /// Steps a cell as long as it can be.
    pub(super) fn advance(&mut self, at: usize) -> Result<(), String> {
        loop {
            let now = self.clock();
            let slot = &mut self.slots[at];
            let Some(cell) = slot.cell.as_ref().filter(|_| slot.committing.is_none()) else {
                return Ok(());
            };
            slot.not_before.take_if(|held| *held <= now);
            let is_due = cell.wake.is_some_and(|wake| wake <= now);
            if slot.not_before.is_some() || (slot.inbox.is_empty() && !is_due) {
                self.set_timer(at);
                return Ok(());
            }
            let count = slot.inbox.len().min(INPUTS_MAX);
            let inputs: Vec<Input> = slot.inbox.drain(..count).collect();
            let when = now.max(slot.last_at);
            let step = cell.step(&inputs, when);
            self.report.steps += 1;
            slot.laws.stepped(self.now)?;
            if step.records.is_empty() && step.observed.is_none() {
                self.take_over(at, step, when)?;
            } else {
                return self.commit(at, Committing { step, inputs, at: when, hurt: None });
            }
        }
    }

    fn set_timer(&mut self, at: usize) {
        let slot = &self.slots[at];
        let wake = slot.cell.as_ref().and_then(|cell| cell.wake);
        let wake = if slot.inbox.is_empty() { wake } else { Some(slot.last_at) };
        let due = wake.map(|wake| slot.not_before.map_or(wake, |held| held.max(wake)));
        if let Some(due) = due {
            // by the true clock
            let due = Time(due.0 - self.ahead).max(self.now);
            if self.slots[at].timer.replace(due) != Some(due) {
                self.push(due, Event::Wake(self.process, at));
            }
        }
    }

    /// A timer went off; one that was set anew since is none.
    pub(super) fn wake(&mut self, at: usize) -> Result<(), String> {
        if self.slots[at].timer.take_if(|due| *due <= self.now).is_none() {
            return Ok(());
        }
        self.advance(at)
    }

    fn commit(&mut self, at: usize, committing: Committing) -> Result<(), String> {
        let has_records = !committing.step.records.is_empty();
        if has_records && let Some((is_durable, down)) = self.slots[at].kill.take() {
            let hurt = if is_durable { None } else { Some(Hurt::NotDurable) };
            if is_durable {
                self.keep(at, &committing)?;
            }
            self.slots[at].committing = Some(Committing { hurt, ..committing });
            self.kill(down);
            return Ok(());
        }
        if self.sabotage == Sabotage::ActsBeforeCommit {
            for effect in &committing.step.effects {
                self.perform(at, effect.clone())?;
            }
        }
        let hurt = if has_records { self.slots[at].hurts.pop_front() } else { None };
        self.report.hurt += u64::from(hurt.is_some());
        if matches!(hurt, None | Some(Hurt::UnknownThere)) {
            self.keep(at, &committing)?;
        }
        self.slots[at].committing = Some(Committing { hurt, ..committing });
        let sync = Duration::from_millis(1 + self.dice.below(20));
        self.push(self.now.after(sync), Event::Landed(self.process, at));
        Ok(())
    }

    /// Writes a step down for good.
    fn keep(&mut self, at: usize, committing: &Committing) -> Result<(), String> {
        let slot = &mut self.slots[at];
        for record in &committing.step.records {
            let body = record.encode().map_err(|error| format!("{error}: {record:?}"))?;
            slot.journal.push(Kept { kind: record.kind(), body, at: committing.at });
            slot.last_at = committing.at;
            self.report.records += 1;
        }
        if let Some(observed) = &committing.step.observed {
            slot.observed = Some(observed.as_ref().clone());
        }
        let before = slot.cell.as_ref().map(|cell| &cell.state);
        let led_since = slot.led_since;
        Laws::durable(before, &committing.step, led_since, self.now, &mut self.report)
    }

    /// A commit's answer is there.
    pub(super) fn landed(&mut self, at: usize) -> Result<(), String> {
        let Some(committing) = self.slots[at].committing.take() else { return Ok(()) };
        match committing.hurt {
            // what is not known is read back before anything else
            None | Some(Hurt::UnknownThere) => {
                self.take_over(at, committing.step, committing.at)?;
            }
            Some(Hurt::NotDurable | Hurt::UnknownGone) => {
                let held = self.clock().after(RETRY_AFTER);
                let slot = &mut self.slots[at];
                for input in committing.inputs.into_iter().rev() {
                    if !matches!(input, Input::Ordered(..)) {
                        slot.inbox.push_front(input);
                    }
                }
                slot.not_before = Some(held);
            }
        }
        self.advance(at)
    }

    fn take_over(&mut self, at: usize, step: Step, when: Time) -> Result<(), String> {
        let slot = &mut self.slots[at];
        if !step.records.is_empty() {
            slot.last_at = slot.last_at.max(when);
        }
        slot.cell = Some(step.next);
        if self.sabotage == Sabotage::ActsBeforeCommit && !step.records.is_empty() {
            return Ok(()); // begun already
        }
        for effect in step.effects {
            if let Effect::Answer(..) = effect {
                continue;
            }
            self.perform(at, effect)?;
        }
        Ok(())
    }
}
