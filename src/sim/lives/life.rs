//! What there is in a life: its queue's events, the clusters, and what is under way.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use super::{
    super::world::World,
    dice::Dice,
    intake::Intake,
    laws::Laws,
    report::{Report, Sabotage},
    script::{Asked, Hurt, Wrong},
};
use crate::domain::{
    base::time::Time,
    cell::{
        Cell, Setup, Step,
        effect::{CallWanted, LookWanted},
        input::Input,
    },
    etcd::evidence::Observed,
    journal::record::Watch,
    rules::action::Call,
};

/// When every life begins.
pub(super) const EPOCH: Time = Time(1_800_000_000_000);
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
    pub(super) queue: BTreeMap<(Time, u64), Event>,
    pub(super) count: u64,
}

/// A question on its way to the machines.
#[derive(Debug)]
pub(super) enum Waiting {
    Look(LookWanted, Time, Option<Wrong>),
    RunLook(Time, Option<Wrong>),
    Call(CallWanted, CallWay),
    Prove(Watch, Call),
}

/// How a call goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct CallWay {
    pub(super) wrong: Option<Wrong>,
    /// When its limit is over.
    pub(super) deadline: Time,
    /// Whether it goes on whoever began it.
    pub(super) is_at_work: bool,
    /// Whether an earlier one is at work for longer than is waited.
    pub(super) is_locked_out: bool,
}

/// How often a person tried.
#[derive(Debug, Default)]
pub(super) struct Patience {
    pub(super) resumed: u32,
}
