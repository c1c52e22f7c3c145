//! A model of an etcd cluster on hosts, for fast tests of the engine: no process, file or network.
//!
//! It behaves as the real targets do where the engine can tell the difference: outputs have the
//! catalogue's shape, effects show in the next look, probes ask the model. It counts every effect,
//! fails or halts the calls a test names. It is not reachable from any configuration.

mod faults;
pub mod lives;
mod look;
mod model;
mod target;
mod work;
mod world;

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::watch, time::Instant};

use self::world::World;
pub use self::{
    faults::{Ask, Fault, Moment, Wrong},
    world::State,
};
use crate::{
    domain::{
        base::id::MemberName,
        inventory::{Cluster, sample},
        rules::action::ErrorKind,
    },
    targets::AlertState,
};

/// The model; clones share one world, so that a second engine finds what the first one left.
#[derive(Clone)]
pub struct FakeTarget {
    world: Arc<Mutex<World>>,
    halted: Arc<watch::Sender<u32>>,
}

impl fmt::Debug for FakeTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FakeTarget").finish_non_exhaustive()
    }
}

impl FakeTarget {
    /// A healthy cluster `c1` of these members, each on a host `h-<member>`, at revision 1.
    pub fn new<const N: usize>(members: [&str; N]) -> Self {
        Self {
            world: Arc::new(Mutex::new(World::new(&members))),
            halted: Arc::new(watch::Sender::new(0)),
        }
    }

    /// The world as it is by now.
    fn world(&self) -> MutexGuard<'_, World> {
        let mut world = self.world.lock().unwrap_or_else(PoisonError::into_inner);
        work::catch_up(&mut world, Instant::now());
        world
    }

    fn with(self, change: impl FnOnce(&mut World)) -> Self {
        change(&mut self.world());
        self
    }

    /// The inventory entry that fits the model: mode `auto`, a loss budget of 100 revisions, no
    /// Prometheus, no Alertmanager. A test changes what it is about.
    pub fn inventory(&self) -> Cluster {
        let world = self.world();
        let members = world.order.iter().map(|name| sample::member(name.as_str()));
        sample::cluster_of(world.cluster.as_str(), members.collect())
    }

    /// All members' data is at this revision.
    #[must_use]
    pub fn revision(self, revision: i64) -> Self {
        self.with(|world| world.set_revision(revision))
    }

    /// The cluster goes by another name than `c1`.
    #[must_use]
    pub fn named(self, cluster: &str) -> Self {
        self.with(|world| world.cluster = cluster.into())
    }

    /// A member is [`State::Gone`].
    #[must_use]
    pub fn gone(self, member: &str) -> Self {
        self.set(member, State::Gone);
        self
    }

    /// A member is [`State::Stopped`].
    #[must_use]
    pub fn stopped(self, member: &str) -> Self {
        self.set(member, State::Stopped);
        self
    }

    /// A member is [`State::Silent`].
    #[must_use]
    pub fn silent(self, member: &str) -> Self {
        self.set(member, State::Silent);
        self
    }

    /// A member is [`State::Unreachable`].
    #[must_use]
    pub fn unreachable(self, member: &str) -> Self {
        self.set(member, State::Unreachable);
        self
    }

    /// A member is [`State::Laggard`].
    #[must_use]
    pub fn laggard(self, member: &str, lacks: i64) -> Self {
        self.set(member, State::Laggard(lacks));
        self
    }

    /// A member holds other data than the rest at the same revisions.
    #[must_use]
    pub fn diverged(self, member: &str) -> Self {
        self.with(|world| world.diverge(member))
    }

    /// Something goes wrong.
    #[must_use]
    pub fn fault(self, fault: Fault) -> Self {
        self.add_fault(fault);
        self
    }

    /// Something goes wrong from now on; calls are counted from the beginning of the world.
    pub fn add_fault(&self, fault: Fault) {
        self.world().faults.add(fault);
    }

    /// Whether something went wrong in this way by now.
    pub fn met(&self, wrong: &Wrong) -> bool {
        self.world().faults.has_hit(wrong)
    }

    /// Nothing goes wrong any more with an action.
    pub fn heal(&self, action: &str) {
        self.world().faults.heal(action);
    }

    /// The `nth` call (from 1) of an action fails, without any effect.
    #[must_use]
    pub fn fail(self, action: &str, nth: u32, kind: ErrorKind) -> Self {
        self.fault(Fault::new(Ask::Act, action, Wrong::Fails(kind)).nth(nth))
    }

    /// Every call of an action from the `nth` on fails, without any effect.
    #[must_use]
    pub fn fail_from(self, action: &str, nth: u32, kind: ErrorKind) -> Self {
        self.fault(Fault::new(Ask::Act, action, Wrong::Fails(kind)).from(nth))
    }

    /// The `nth` call of an action takes effect and then fails.
    #[must_use]
    pub fn fail_after(self, action: &str, nth: u32, kind: ErrorKind) -> Self {
        self.fault(Fault::new(Ask::Act, action, Wrong::FailsAfter(kind)).nth(nth))
    }

    /// The `nth` call of an action never returns; see [`FakeTarget::halted`].
    #[must_use]
    pub fn halt(self, action: &str, nth: u32, moment: Moment) -> Self {
        self.fault(Fault::new(Ask::Act, action, Wrong::Hangs(moment)).nth(nth))
    }

    /// Waits until a call halted; then the test drops the engine and starts another one.
    pub async fn halted(&self) {
        let mut halts = self.halted.subscribe();
        drop(halts.wait_for(|count| *count > 0).await);
    }

    /// Something happens to a member.
    pub fn set(&self, member: &str, state: State) {
        self.world().set(member, state);
    }

    /// A member's log is not what it was, although nothing runs: it ran, wrote and ended unseen.
    pub fn touch(&self, member: &str) {
        let mut world = self.world();
        let log = world.fresh();
        let data = world.machines.get_mut(member).and_then(|machine| machine.data.as_mut());
        if let Some(data) = data {
            data.log = log;
        }
    }

    /// No control target answers us, or all do again.
    pub fn set_blind(&self, blind: bool) {
        self.world().blind = blind;
    }

    /// A look takes this long, as where a silent member is waited for.
    pub fn set_slow(&self, slow: Duration) {
        self.world().slow = slow;
    }

    /// The members do not reach one another (we reach all), or do again.
    pub fn set_partitioned(&self, partitioned: bool) {
        self.world().partitioned = partitioned;
    }

    /// What the Alertmanager says; `None`: there is none.
    pub fn set_alerts(&self, alerts: Option<Vec<AlertState>>) {
        self.world().alerts = alerts;
    }

    /// The tools on the hosts are of this version; the members are always of 3.5.16.
    pub fn set_tools(&self, version: &str) {
        self.world().tools = version.into();
    }

    /// What Prometheus says the highest revision was; `None`: no sample.
    pub fn set_revision_max(&self, revision: Option<i64>) {
        self.world().revision_max = revision;
    }

    /// A client writes `count` times; whether the cluster had a leader that took it.
    pub fn write(&self, count: i64) -> bool {
        self.world().write(count)
    }

    /// Every effect so far, in order: action and subject (the member's name, or an id).
    pub fn effects(&self) -> Vec<(String, String)> {
        self.world().effects.clone()
    }

    /// How often an action took effect.
    pub fn effects_of(&self, action: &str) -> usize {
        self.world().effects.iter().filter(|(name, _)| name == action).count()
    }

    /// Every call of `act` so far, with and without effect, reads too.
    pub fn calls(&self) -> Vec<(String, String)> {
        self.world().calls.clone()
    }

    /// What stands in a member's data directory: cluster id and revision.
    pub fn data(&self, member: &str) -> Option<(String, i64)> {
        let world = self.world();
        let data = world.machines.get(member)?.data.as_ref()?;
        Some((data.cluster_id.to_string(), data.revision))
    }

    /// The names of the voters of the cluster that has a leader.
    pub fn voters(&self) -> Vec<MemberName> {
        let world = self.world();
        world.leading().map(|id| world.voters(id)).unwrap_or_default()
    }

    /// Whether a member's process runs.
    pub fn runs(&self, member: &str) -> bool {
        self.world().machines.get(member).is_some_and(|machine| machine.process.is_some())
    }

    /// Whether arguments that a run put in force are still there, or a mask.
    pub fn residue(&self, member: &str) -> bool {
        self.world()
            .machines
            .get(member)
            .is_some_and(|machine| machine.args.is_some() || machine.masked)
    }
}

#[cfg(test)]
mod tests;
