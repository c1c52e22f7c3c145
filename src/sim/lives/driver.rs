//! The queue of a life, and what each event does.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use super::{
    super::{State, world::World},
    dice::Dice,
    intake::Intake,
    life::{EPOCH, Event, Life, Patience, Slot},
    report::{Report, Sabotage},
    script::{Happening, MEMBERS, Script},
};
use crate::domain::{base::time::Time, inventory::sample, rules::Rules};

/// Between two looks of the rule that fires the alert.
const RULE_EVERY: Duration = Duration::from_secs(30);
/// Between two looks of a person.
const PERSON_EVERY: Duration = Duration::from_mins(2);

/// Lives through a script. `Err`: which law was broken, when and by what.
pub fn live(script: &Script, rules: &Arc<Rules>, sabotage: Sabotage) -> Result<Report, String> {
    let mut life = Life::new(script, rules, sabotage);
    let lived = life.run(script);
    lived.and_then(|()| life.at_rest()).map_err(|broken| {
        let at = Duration::from_millis(life.now.0.abs_diff(EPOCH.0));
        format!("seed {} at {}s: {broken}", script.seed, at.as_secs())
    })?;
    life.report.hours = script.hours();
    life.report.waits = life.waits();
    Ok(life.report)
}

impl Life {
    fn new(script: &Script, rules: &Arc<Rules>, sabotage: Sabotage) -> Self {
        let names: Vec<String> = (1..=script.clusters.len()).map(|n| format!("c{n}")).collect();
        let slots = script.clusters.iter().zip(&names).map(|(kind, name)| {
            let members = MEMBERS.map(sample::member);
            let mut cluster = sample::cluster_of(name, members.into());
            cluster.mode = kind.mode;
            cluster.loss_budget_revisions = kind.budget;
            let mut world = World::new(&MEMBERS);
            world.cluster = name.as_str().into();
            world.set_revision(100);
            Slot::new(super::process::setup(cluster, rules, kind.look_every), world)
        });
        let slots: Vec<Slot> = slots.collect();
        Self {
            now: EPOCH,
            dice: Dice::new(script.seed ^ 0x5eed),
            intake: Intake::new(slots.iter().map(|slot| &*slot.setup.cluster)),
            slots,
            report: Report::default(),
            sabotage,
            is_calm: false,
            process: 0,
            is_up: false,
            ahead: 0,
            wall: 0,
            asleep: EPOCH,
            queue: BTreeMap::new(),
            count: 0,
        }
    }

    fn run(&mut self, script: &Script) -> Result<(), String> {
        for (index, planned) in script.events.iter().enumerate() {
            self.push(EPOCH.after(planned.at), Event::Script(index));
        }
        for slot in 0..self.slots.len() {
            self.push(EPOCH.after(RULE_EVERY), Event::Rule(slot));
            self.push(EPOCH.after(PERSON_EVERY), Event::Person(slot));
        }
        self.start()?;
        let end = EPOCH.after(script.length);
        let calm = EPOCH.after(script.calm_from);
        while let Some(((at, _), event)) = self.queue.pop_first() {
            if at > end {
                break;
            }
            if at >= calm && !self.is_calm {
                self.is_calm = true;
                self.calm_down()?;
            }
            self.now = self.now.max(at);
            self.handle(event, script)?;
        }
        Ok(())
    }

    pub(super) fn push(&mut self, at: Time, event: Event) {
        self.count += 1;
        self.queue.insert((at.max(self.now), self.count), event);
    }

    /// Quorate's own clock.
    pub(super) fn clock(&self) -> Time {
        Time(self.now.0 + self.ahead)
    }

    fn handle(&mut self, event: Event, script: &Script) -> Result<(), String> {
        if self.asleep > self.now
            && matches!(
                event,
                Event::Wake(..) | Event::Input(..) | Event::Landed(..) | Event::Handed(..)
            )
        {
            self.push(self.asleep, event);
            return Ok(());
        }
        let is_ours = |process: u64| self.is_up && process == self.process;
        match event {
            Event::Wake(process, slot) if is_ours(process) => self.wake(slot),
            Event::Input(process, slot, input) if is_ours(process) => self.give(slot, *input),
            Event::Landed(process, slot) if is_ours(process) => self.landed(slot),
            Event::Look(process, slot, waiting) if is_ours(process) => self.read(slot, *waiting),
            Event::Effect(process, slot, waiting) => {
                self.take_effect(slot, *waiting, is_ours(process))
            }
            Event::Handed(process, slot) if is_ours(process) => self.hand_over(slot),
            Event::Start(process) if process == self.process && !self.is_up => self.start(),
            Event::Rule(slot) => {
                self.push(self.now.after(RULE_EVERY), Event::Rule(slot));
                self.evaluate(slot);
                Ok(())
            }
            Event::Again(slot) => {
                self.deliver_again(slot);
                Ok(())
            }
            Event::Person(slot) => {
                self.push(self.now.after(PERSON_EVERY), Event::Person(slot));
                self.person(slot)
            }
            Event::Script(index) => self.happens(script, index),
            _ => Ok(()), // of a process that is no more
        }
    }

    fn happens(&mut self, script: &Script, index: usize) -> Result<(), String> {
        let planned = script.events[index];
        let at = planned.cluster;
        let (slot, now) = (&mut self.slots[at], self.now);
        match planned.what {
            Happening::Member(member, state) => {
                if state == State::Gone {
                    slot.laws.lost_data();
                }
                slot.world.set(MEMBERS[member], state);
            }
            Happening::MajorityGone => {
                slot.laws.lost_data();
                self.report.losses += 1;
                slot.world.set(MEMBERS[1], State::Gone);
                slot.world.set(MEMBERS[2], State::Gone);
            }
            Happening::Partition(is) => slot.world.partitioned = is,
            Happening::Blind(is) => slot.world.blind = is,
            Happening::Write(count) => drop(slot.world.write(count)),
            Happening::Commit(hurt) => slot.hurts.push_back(hurt),
            Happening::Wrong(asked, wrong) => {
                slot.wrongs.entry(asked).or_default().push_back(wrong);
            }
            Happening::KillAtCommit { is_durable, down } => slot.kill = Some((is_durable, down)),
            Happening::Kill(down) => self.kill(down),
            Happening::Suspended(span) => self.asleep = now.after(span),
            Happening::WallClock(ahead) => self.wall = ahead,
            Happening::Person => return self.person(at),
            Happening::Deaf(is) => self.intake.deaf(at, is),
            Happening::Storm(count) => self.storm(at, count),
            Happening::Again(later) => self.push(now.after(later), Event::Again(at)),
        }
        self.watch(at);
        Ok(())
    }

    /// Notes whether the cluster has a leader; after everything that happens to its machines.
    pub(super) fn watch(&mut self, slot: usize) {
        let slot = &mut self.slots[slot];
        if slot.world.leading().is_none() {
            slot.led_since = None;
        } else if slot.led_since.is_none() {
            slot.led_since = Some(self.now);
        }
    }

    /// Nothing goes wrong any more.
    fn calm_down(&mut self) -> Result<(), String> {
        self.wall = 0;
        for at in 0..self.slots.len() {
            let slot = &mut self.slots[at];
            slot.world.blind = false;
            slot.world.partitioned = false;
            for member in MEMBERS {
                if !slot.world.machines[member].reachable {
                    slot.world.machines.entry(member.into()).and_modify(|one| one.reachable = true);
                }
            }
            slot.world.settle();
            slot.hurts.clear();
            slot.wrongs.clear();
            slot.kill = None;
            slot.patience = Patience::default();
            self.intake.deaf(at, false);
            self.watch(at);
        }
        if self.is_up { Ok(()) } else { self.start() }
    }
}
