//! What happens in a life, written down before it begins: so that a life that fails can be lived again
//! with less in it.

use std::time::Duration;

use super::{super::State, dice::Dice};
use crate::domain::{inventory::Mode, rules::action::ErrorKind};

/// A life of some clusters under one quorate.
#[derive(Clone, Debug)]
pub struct Script {
    /// What is not written down (how long a call takes, what a person says) is drawn from it.
    pub seed: u64,
    /// The clusters.
    pub clusters: Vec<Kind>,
    /// When it ends, from its beginning.
    pub length: Duration,
    /// From then on nothing goes wrong any more, and people do what they are asked.
    pub calm_from: Duration,
    /// What happens, in order.
    pub events: Vec<Planned>,
}

/// One cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    /// Whether a person is asked.
    pub mode: Mode,
    /// How many revisions may be lost unasked.
    pub budget: u64,
    /// Between two looks while all is well.
    pub look_every: Duration,
}

/// Something that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Planned {
    /// When, from the beginning.
    pub at: Duration,
    /// To which cluster.
    pub cluster: usize,
    /// What.
    pub what: Happening,
}

/// What can happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Happening {
    /// To a member.
    Member(usize, State),
    /// Two members lose their machines at once: the majority.
    MajorityGone,
    /// The members do not reach one another, or do again.
    Partition(bool),
    /// We reach nothing, or do again.
    Blind(bool),
    /// Clients write.
    Write(i64),
    /// The alert's sender cannot reach us, or can again.
    Deaf(bool),
    /// So many alerts about parts of the cluster, all at once.
    Storm(u32),
    /// The last delivery comes once more, so much later.
    Again(Duration),
    /// Quorate is killed, and comes back.
    Kill(Duration),
    /// Quorate is killed at the next commit of the cluster, before or after it is durable.
    KillAtCommit {
        /// Whether it is durable.
        is_durable: bool,
        /// How long it stays away.
        down: Duration,
    },
    /// What becomes of the next commit of the cluster.
    Commit(Hurt),
    /// The machine of quorate is suspended.
    Suspended(Duration),
    /// The wall clock is set; seen at the next start.
    WallClock(i64),
    /// Something goes wrong at the next question of this kind.
    Wrong(Asked, Wrong),
    /// A person says something.
    Person,
}

/// What becomes of a commit that is not durable as it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hurt {
    /// Nothing of it is there.
    NotDurable,
    /// Not known, and it is there.
    UnknownThere,
    /// Not known, and it is not there.
    UnknownGone,
}

/// A kind of question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Asked {
    /// A look at the cluster.
    Look,
    /// A run's own look.
    RunLook,
    /// What stands there.
    Before,
    /// An effect.
    Act,
    /// Whether an effect took place.
    Probe,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// It answers with an error; an effect did not take place.
    Fails(ErrorKind),
    /// An effect takes place, and the answer is an error.
    FailsAfter(ErrorKind),
    /// No answer in time; an effect did not take place.
    Hangs,
    /// No answer in time; an effect took place.
    HangsAfter,
    /// No answer in time, and the effect takes place later.
    Lags(Duration),
    /// It breaks off.
    Panics,
    /// It answers late, in time.
    Late,
    /// It answers twice.
    Twice,
}

/// Members of every cluster.
pub(super) const MEMBERS: [&str; 3] = ["m1", "m2", "m3"];

/// How long anything happens in a wild life.
const WILD_FOR: Duration = Duration::from_hours(1);

const ERRORS: [ErrorKind; 5] = [
    ErrorKind::Timeout,
    ErrorKind::Unavailable,
    ErrorKind::Tool,
    ErrorKind::Conflict,
    ErrorKind::NotInSync,
];

impl Script {
    /// A life in which anything happens for some hours; then it goes on quietly.
    pub fn wild(seed: u64, clusters: usize, hours: u64) -> Self {
        let mut dice = Dice::new(seed);
        let clusters = (0..clusters).map(|_| kind(&mut dice)).collect::<Vec<_>>();
        let length = Duration::from_secs(hours * 3600);
        let calm_from = WILD_FOR;
        let mut events = Vec::new();
        for cluster in 0..clusters.len() {
            let mut at = Duration::from_mins(10);
            while at < calm_from {
                events.push(Planned { at, cluster, what: anything(&mut dice) });
                let most = if dice.one_in(3) { 1200 } else { 60 };
                at += dice.seconds(1, most);
            }
        }
        Self { seed, clusters, length, calm_from, events }.sorted()
    }

    /// A life in which each cluster loses its majority for good once, and what goes wrong beside that
    /// is what a repair must bear: quorate is killed, commits fail, answers come late or twice.
    pub fn losses(seed: u64, clusters: usize, hours: u64) -> Self {
        let mut dice = Dice::new(seed);
        let budget = 1_000_000;
        let clusters: Vec<Kind> =
            (0..clusters).map(|_| Kind { budget, ..kind(&mut dice) }).collect();
        let mut events = Vec::new();
        let mut last = Duration::ZERO;
        for cluster in 0..clusters.len() {
            let mut at = dice.seconds(600, 3600);
            events.push(Planned { at, cluster, what: Happening::MajorityGone });
            for _ in 0..dice.below(6) {
                at += dice.seconds(1, 120);
                events.push(Planned { at, cluster, what: bearable(&mut dice) });
            }
            last = last.max(at);
        }
        let calm_from = last + Duration::from_secs(1);
        Self { seed, clusters, length: Duration::from_secs(hours * 3600), calm_from, events }
            .sorted()
    }

    fn sorted(mut self) -> Self {
        self.events.sort_by_key(|event| event.at);
        self
    }

    /// Cluster-hours in it.
    pub fn hours(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "a handful of clusters")]
        let clusters = self.clusters.len() as f64;
        self.length.as_secs_f64() / 3600.0 * clusters
    }
}

fn kind(dice: &mut Dice) -> Kind {
    let mode = if dice.one_in(2) { Mode::Auto } else { Mode::Propose };
    let budget = *dice.pick(&[0, 1000, 1_000_000]);
    // most of a cluster's hours are quiet ones
    let look_every = Duration::from_secs(if dice.one_in(12) { 10 } else { 300 });
    Kind { mode, budget, look_every }
}

fn member(dice: &mut Dice) -> usize {
    usize::try_from(dice.below(MEMBERS.len() as u64)).unwrap_or_default()
}

fn anything(dice: &mut Dice) -> Happening {
    match dice.below(32) {
        0 | 1 => Happening::Member(member(dice), State::Stopped),
        2..=4 => Happening::Member(member(dice), State::Up),
        5 if dice.one_in(3) => Happening::Member(member(dice), State::Gone),
        5 => Happening::Member(member(dice), State::Silent),
        6 if dice.one_in(4) => Happening::MajorityGone,
        6 => Happening::Member(member(dice), State::Unreachable),
        7 => Happening::Partition(dice.one_in(3)),
        8 => Happening::Blind(dice.one_in(3)),
        9..=11 => Happening::Write(i64::try_from(dice.below(50)).unwrap_or(1)),
        12 => Happening::Deaf(dice.one_in(3)),
        13 => Happening::Storm(u32::try_from(dice.below(200)).unwrap_or(1)),
        14 => Happening::Again(dice.seconds(0, 900)),
        15 => Happening::WallClock(i64::try_from(dice.below(7_200_000)).unwrap_or(0) - 3_600_000),
        16..=19 => Happening::Person,
        _ => bearable(dice),
    }
}

fn bearable(dice: &mut Dice) -> Happening {
    match dice.below(12) {
        0 => Happening::Kill(dice.seconds(0, 300)),
        1..=3 => Happening::KillAtCommit { is_durable: dice.one_in(2), down: dice.seconds(0, 120) },
        4 => Happening::Commit(Hurt::NotDurable),
        5 => Happening::Commit(Hurt::UnknownThere),
        6 => Happening::Commit(Hurt::UnknownGone),
        7 => Happening::Suspended(dice.seconds(1, 900)),
        _ => Happening::Wrong(asked(dice), wrong(dice)),
    }
}

fn asked(dice: &mut Dice) -> Asked {
    *dice.pick(&[Asked::Look, Asked::RunLook, Asked::Before, Asked::Act, Asked::Act, Asked::Probe])
}

fn wrong(dice: &mut Dice) -> Wrong {
    let kind = *dice.pick(&ERRORS);
    match dice.below(8) {
        0 => Wrong::Fails(kind),
        1 => Wrong::FailsAfter(kind),
        2 => Wrong::Hangs,
        3 => Wrong::HangsAfter,
        4 => Wrong::Lags(dice.seconds(1, 180)),
        5 => Wrong::Panics,
        6 => Wrong::Late,
        _ => Wrong::Twice,
    }
}
