//! A model of an etcd cluster on hosts, for fast tests of the engine: no process, file or network.
//!
//! It behaves as the real targets do where the engine can tell the difference: outputs have the
//! catalogue's shape, effects show in the next look, probes ask the model. It counts every effect,
//! fails or halts the calls a test names. It is not reachable from any configuration.

mod actions;
mod inventory;
mod look;
mod probe;
mod world;

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::future::BoxFuture;
use tokio::sync::watch;

use self::world::Variables;
use super::{AlertState, Depth, Target, Tool, Toolset};
use crate::domain::{
    base::{id::MemberName, time::Time},
    etcd::evidence::Evidence,
    inventory::Cluster,
    rules::{
        action::{Call, Done, ErrorKind, Failure, Probed},
        expr::Value,
    },
};

/// What happened to a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It runs, with its data.
    Up,
    /// Its process is gone, its data is there.
    Stopped,
    /// It was restarted without quorum: it runs, and its client port says nothing.
    Silent,
    /// Its process and its data directory are gone.
    Gone,
    /// Its process runs on a data directory that was emptied.
    Amnesiac,
    /// Its host answers nobody.
    Unreachable,
    /// It runs and lacks this many revisions.
    Laggard(i64),
}

/// When a call halts, as if the process had been killed there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Before its effect.
    Before,
    /// After its effect, before anybody learns of it.
    After,
}

/// The model; clones share one world, so that a second engine finds what the first one left.
#[derive(Clone)]
pub struct FakeTarget {
    world: Arc<Mutex<Variables>>,
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
            world: Arc::new(Mutex::new(Variables::new(&members))),
            halted: Arc::new(watch::Sender::new(0)),
        }
    }

    fn world(&self) -> MutexGuard<'_, Variables> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with(self, change: impl FnOnce(&mut Variables)) -> Self {
        change(&mut self.world());
        self
    }

    /// The inventory entry that fits the model: mode `auto`, a loss budget of 100 revisions, no
    /// Prometheus, no Alertmanager. A test changes what it is about.
    pub fn inventory(&self) -> Cluster {
        inventory::of(&self.world())
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

    /// The `nth` call (from 1) of an action fails, without any effect.
    #[must_use]
    pub fn fail(self, action: &str, nth: u32, kind: ErrorKind) -> Self {
        self.with(|world| world.fail(action, nth..=nth, kind, Moment::Before))
    }

    /// Every call of an action from the `nth` on fails, without any effect.
    #[must_use]
    pub fn fail_from(self, action: &str, nth: u32, kind: ErrorKind) -> Self {
        self.with(|world| world.fail(action, nth..=u32::MAX, kind, Moment::Before))
    }

    /// The `nth` call of an action takes effect and then fails.
    #[must_use]
    pub fn fail_after(self, action: &str, nth: u32, kind: ErrorKind) -> Self {
        self.with(|world| world.fail(action, nth..=nth, kind, Moment::After))
    }

    /// The `nth` call of an action never returns; see [`FakeTarget::halted`].
    #[must_use]
    pub fn halt(self, action: &str, nth: u32, moment: Moment) -> Self {
        self.with(|world| world.halt(action, nth, moment))
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

    async fn never(&self) -> ! {
        self.halted.send_modify(|count| *count += 1);
        futures::future::pending().await
    }
}

impl Target for FakeTarget {
    fn tools(&self) -> BoxFuture<'_, Result<Toolset, String>> {
        Box::pin(async move {
            let version = self.world().tools.clone();
            let tool = |name: &str| Tool { path: name.into(), version: version.clone() };
            Ok(Toolset { etcd: tool("etcd"), etcdutl: tool("etcdutl") })
        })
    }

    fn assess<'a>(
        &'a self,
        _depth: Depth,
        now: &'a (dyn Fn() -> Time + Send + Sync),
    ) -> BoxFuture<'a, Evidence> {
        let slow = self.world().slow;
        Box::pin(async move {
            tokio::time::sleep(slow).await;
            look::look(&self.world(), now())
        })
    }

    fn before<'a>(&'a self, call: &'a Call) -> BoxFuture<'a, Result<Value, Failure>> {
        Box::pin(async move { Ok(actions::before(&self.world(), call)) })
    }

    fn act<'a>(
        &'a self,
        call: &'a Call,
        _before: &'a Value,
    ) -> BoxFuture<'a, Result<Done, Failure>> {
        Box::pin(async move {
            let (nth, halts_before) = {
                let mut world = self.world();
                let nth = world.called(call);
                (nth, world.halts(&call.action, nth, Moment::Before))
            };
            if halts_before {
                self.never().await;
            }
            let (done, halts_after) = {
                let mut world = self.world();
                if let Some(failure) = world.failure(&call.action, nth, Moment::Before) {
                    return Err(failure);
                }
                let done = actions::act(&mut world, call)?;
                if done.changed {
                    world.effects.push((call.action.clone(), world::subject(call)));
                }
                if let Some(failure) = world.failure(&call.action, nth, Moment::After) {
                    return Err(failure);
                }
                (done, world.halts(&call.action, nth, Moment::After))
            };
            if halts_after {
                self.never().await;
            }
            Ok(done)
        })
    }

    fn probe<'a>(&'a self, call: &'a Call, before: &'a Value) -> BoxFuture<'a, Probed> {
        Box::pin(async move { probe::probe(&self.world(), call, before) })
    }

    fn commands(&self, call: &Call) -> Vec<String> {
        vec![format!("{} {}", call.action, world::subject(call))]
    }

    fn revision_max(&self, _from: Time, _until: Time) -> BoxFuture<'_, Option<i64>> {
        Box::pin(async move { self.world().revision_max })
    }

    fn alerts(&self) -> BoxFuture<'_, Option<Result<Vec<AlertState>, Failure>>> {
        Box::pin(async move { self.world().alerts.clone().map(Ok) })
    }
}

#[cfg(test)]
mod tests;
