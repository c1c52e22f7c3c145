//! The queue of a life, and what each event does.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use super::{
    super::{State, world::World},
    dice::Dice,
    effects::Waiting,
    intake::Intake,
    laws::Laws,
    people::Patience,
    script::{Asked, Happening, Hurt, MEMBERS, Script, Wrong},
};
use crate::domain::{
    base::time::Time,
    cell::{Cell, Setup, Step, input::Input},
    etcd::evidence::Observed,
    inventory::sample,
    rules::Rules,
};

/// When every life begins.
pub(super) const EPOCH: Time = Time(1_800_000_000_000);
/// Between two looks of the rule that fires the alert.
const RULE_EVERY: Duration = Duration::from_secs(30);
/// Between two looks of a person.
const PERSON_EVERY: Duration = Duration::from_mins(2);

/// What a life came to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// Cluster-hours.
    pub hours: f64,
    /// Steps of cells.
    pub steps: u64,
    /// Records that became durable.
    pub records: u64,
    /// Looks.
    pub looks: u64,
    /// Effects on the model.
    pub effects: u64,
    /// How often quorate was killed.
    pub kills: u64,
    /// Commits that were not durable as they should be.
    pub hurt: u64,
    /// Questions at which something went wrong.
    pub wrongs: u64,
    /// Majorities that were gone for good.
    pub losses: u64,
    /// Clusters that a run built anew.
    pub rebuilt: u64,
    /// Incidents that ended `recovered`.
    pub recovered: u64,
    /// Runs that were parked.
    pub parked: u64,
    /// Runs that were taken back.
    pub undone: u64,
    /// What was still waited for at the end: reasons, and how often each.
    pub waits: BTreeMap<String, u64>,
}

impl Report {
    /// Both together.
    pub fn add(&mut self, other: &Self) {
        self.hours += other.hours;
        for (mine, theirs) in [
            (&mut self.steps, other.steps),
            (&mut self.records, other.records),
            (&mut self.looks, other.looks),
            (&mut self.effects, other.effects),
            (&mut self.kills, other.kills),
            (&mut self.hurt, other.hurt),
            (&mut self.wrongs, other.wrongs),
            (&mut self.losses, other.losses),
            (&mut self.rebuilt, other.rebuilt),
            (&mut self.recovered, other.recovered),
            (&mut self.parked, other.parked),
            (&mut self.undone, other.undone),
        ] {
            *mine += theirs;
        }
        for (reason, count) in &other.waits {
            *self.waits.entry(reason.clone()).or_default() += count;
        }
    }
}

/// A fault that is planted, to show that the laws see it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sabotage {
    /// None.
    #[default]
    None,
    /// Calls of runs are never carried out nor answered.
    NeverActs,
    /// Effects begin before their records are durable.
    ActsBeforeCommit,
    /// A restart has lost the last records.
    ForgetsRecords,
    /// Alerts are kept, and reach no cell.
    ForgetsAlerts,
}

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

/// An event of the queue. What belongs to a process carries its number, and is nothing after its end.
#[derive(Debug)]
pub(super) enum Event {
    /// A cell asked to be stepped.
    Wake(u64, usize),
    /// An answer for a cell.
    Input(u64, usize, Box<Input>),
    /// A commit has its answer.
    Landed(u64, usize),
    /// A look reads.
    Look(u64, usize, Box<Waiting>),
    /// An effect takes place on the model, or not.
    Effect(u64, usize, Box<Waiting>),
    /// Alerts are handed over.
    Handed(u64, usize),
    /// The rule is evaluated.
    Rule(usize),
    /// A delivery comes once more.
    Again(usize),
    /// A person looks.
    Person(usize),
    /// Quorate is started again.
    Start(u64),
    /// Something of the script.
    Script(usize),
}

/// A step whose records are on their way.
#[derive(Debug)]
pub(super) struct Committing {
    pub(super) step: Step,
    pub(super) inputs: Vec<Input>,
    pub(super) at: Time,
    pub(super) hurt: Option<Hurt>,
}

/// One record as it is kept.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    pub(super) kind: &'static str,
    pub(super) body: String,
    pub(super) at: Time,
}

/// One cluster: its machines, what is durable of it, and its cell while quorate runs.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) world: World,
    pub(super) setup: Arc<Setup>,
    pub(super) journal: Vec<Kept>,
    pub(super) observed: Option<Observed>,
    pub(super) cell: Option<Cell>,
    pub(super) inbox: VecDeque<Input>,
    pub(super) committing: Option<Committing>,
    pub(super) not_before: Option<Time>,
    /// When its cell is woken next, by the true time.
    pub(super) timer: Option<Time>,
    pub(super) last_at: Time,
    pub(super) hurts: VecDeque<Hurt>,
    pub(super) kill: Option<(bool, Duration)>,
    pub(super) wrongs: BTreeMap<Asked, VecDeque<Wrong>>,
    /// Until when an effect is at work on a member.
    pub(super) busy: BTreeMap<String, Time>,
    /// Since when the cluster has had a leader without a break.
    pub(super) led_since: Option<Time>,
    pub(super) laws: Laws,
    pub(super) patience: Patience,
}

/// A life under way.
pub(super) struct Life {
    pub(super) now: Time,
    pub(super) dice: Dice,
    pub(super) slots: Vec<Slot>,
    pub(super) intake: Intake,
    pub(super) report: Report,
    pub(super) sabotage: Sabotage,
    pub(super) is_calm: bool,
    /// The number of the process that runs, and whether one does.
    pub(super) process: u64,
    pub(super) is_up: bool,
    /// What quorate's clock is ahead of the true time, while it runs.
    pub(super) ahead: i64,
    /// What the wall clock is ahead.
    pub(super) wall: i64,
    /// Until when the machine of quorate sleeps.
    pub(super) asleep: Time,
    queue: BTreeMap<(Time, u64), Event>,
    count: u64,
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
            intake: Intake::new(&slots),
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
                self.evaluate(slot)
            }
            Event::Again(slot) => self.deliver_again(slot),
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
            Happening::Kill(down) => return self.kill(down),
            Happening::Suspended(span) => self.asleep = now.after(span),
            Happening::WallClock(ahead) => self.wall = ahead,
            Happening::Person => return self.person(at),
            Happening::Deaf(is) => self.intake.deaf(at, is),
            Happening::Storm(count) => return self.storm(at, count),
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
