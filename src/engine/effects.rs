//! Performs effects: each a watched task with a limit and a caught panic that brings back exactly one
//! input, whatever happens to it.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures::FutureExt as _;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::Instant,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{Settings, alerts::IntakeHandle, chain, clock::Clock, event::Event, leash::Leash};
use crate::{
    domain::{
        base::{
            id::ClusterName,
            time::{Time, format_duration},
        },
        cell::{
            Cell,
            effect::{Ask, CallWanted, Effect, LookWanted, Pace},
            input::{Answer, Answered, Input, Looked, RunLooked},
        },
        journal::record::Watch,
        rules::{
            action::{ActionSpec, Call, ErrorKind, Failure, Probed},
            expr::Value,
        },
    },
    store::{Store, StreamName},
    targets::{Deadline, Depth, Target},
    telemetry::metrics::Metrics,
};

/// Beside four probes that each take their whole time: what a look may take before it counts as
/// hung.
const LOOK_BEYOND: Duration = Duration::from_secs(30);
/// Limit of one repeated proof.
const PROOF_TIMEOUT: Duration = Duration::from_mins(1);
/// Limit of one question to an Alertmanager, beside the probe's own.
const RECONCILE_TIMEOUT: Duration = Duration::from_secs(30);
/// Entries dropped in one go, so that the store's writer is never held up for long.
const CHUNK: usize = 1_000;

/// What performs effects.
#[derive(Debug)]
pub(super) struct Performer {
    events: mpsc::Sender<Event>,
    clock: Clock,
    metrics: Arc<Metrics>,
    tasks: TaskTracker,
    calls: TaskTracker,
    cancel: CancellationToken,
    looks: CancellationToken,
    calm: Arc<Semaphore>,
    urgent: Arc<Semaphore>,
    acting: Arc<Semaphore>,
    /// For what is nobody's effect: one at a time, so that it takes nobody's processor or disk.
    asides: Arc<Semaphore>,
    /// Looks and calls that may be under way, as the semaphores were last given.
    sizes: (usize, usize),
}

impl Performer {
    /// What ends the effects of one more cell.
    pub(super) fn leash(&self) -> Leash {
        Leash { looks: self.looks.child_token(), calls: self.cancel.child_token() }
    }

    pub(super) fn new(
        events: mpsc::Sender<Event>,
        settings: &Settings,
        clock: Clock,
        metrics: Arc<Metrics>,
    ) -> Self {
        let cancel = CancellationToken::new();
        let (looking, acting) = sizes(settings);
        Self {
            events,
            clock,
            metrics,
            tasks: TaskTracker::new(),
            calls: TaskTracker::new(),
            looks: cancel.child_token(),
            cancel,
            calm: Arc::new(Semaphore::new(looking)),
            urgent: Arc::new(Semaphore::new(looking)),
            acting: Arc::new(Semaphore::new(acting)),
            asides: Arc::new(Semaphore::new(1)),
            sizes: (looking, acting),
        }
    }

    /// Other limits from now on. Where one is lower, what is under way ends before more begins.
    pub(super) fn resize(&mut self, settings: &Settings) {
        let ((looking, acting), now) = (self.sizes, sizes(settings));
        self.resize_one(&self.calm, looking, now.0);
        self.resize_one(&self.urgent, looking, now.0);
        self.resize_one(&self.acting, acting, now.1);
        self.sizes = now;
    }

    fn resize_one(&self, permits: &Arc<Semaphore>, from: usize, to: usize) {
        if to >= from {
            permits.add_permits(to - from);
            return;
        }
        let (permits, cancel) = (permits.clone(), self.cancel.clone());
        let many = u32::try_from(from - to).unwrap_or(u32::MAX);
        self.tasks.spawn(async move {
            let taken = cancel.run_until_cancelled(permits.acquire_many_owned(many)).await;
            if let Some(Ok(taken)) = taken {
                taken.forget();
            }
        });
    }

    /// Ends what only looks and asks, now and from now on; no call begins to act any more.
    pub(super) fn begin_nothing(&self) {
        self.looks.cancel();
        self.calls.close();
    }

    /// Ends everything.
    pub(super) fn cancel(&self) {
        self.cancel.cancel();
    }

    /// Resolves when no call is under way any more.
    pub(super) fn idle(&self) -> impl Future<Output = ()> + use<> {
        let calls = self.calls.clone();
        async move { calls.wait().await }
    }

    /// Performs one effect of a cell.
    pub(super) fn perform(
        &self,
        name: &ClusterName,
        cell: &Cell,
        target: &Arc<dyn Target>,
        effect: Effect,
        leash: &Leash,
    ) {
        let target = target.clone();
        let limit = cell.inventory().probe_timeout * 4 + LOOK_BEYOND;
        match effect {
            Effect::Look(wanted) => self.look(name, target, wanted, limit, leash),
            Effect::RunLook(pace) => self.run_look(name, target, pace, limit, leash),
            Effect::Call(wanted) => self.call(name, target, *wanted, leash),
            Effect::Prove(watch, proving) => {
                let proof = cell.setup.catalogue.get(proving.action.as_str()).cloned();
                if let Some(proof) = proof {
                    self.prove(name, target, watch, (proving, proof), leash);
                }
            }
            Effect::Reconcile | Effect::Answer(..) => {} // the shell's own
        }
    }

    /// Runs work that brings back one input: `failed` where it panics or is not there in time. What
    /// is cancelled brings back nothing: then nobody is there to take it.
    fn spawn(
        &self,
        name: &ClusterName,
        cancel: CancellationToken,
        limit: Duration,
        work: impl Future<Output = Input> + Send + 'static,
        failed: impl FnOnce(String) -> Input + Send + 'static,
    ) {
        let (events, name) = (self.events.clone(), name.clone());
        self.tasks.spawn(async move {
            let work = AssertUnwindSafe(work).catch_unwind();
            let work = cancel.run_until_cancelled(tokio::time::timeout(limit, work));
            let input = match work.await {
                None => return,
                Some(Ok(Ok(input))) => input,
                Some(Ok(Err(_))) => {
                    tracing::error!(cluster = %name, "a task broke off: a bug of quorate's");
                    failed("it broke off: a bug of quorate's".to_owned())
                }
                Some(Err(_)) => failed(format!("nothing within {}", format_duration(limit))),
            };
            if events.send(Event::Input(name, input)).await.is_err() {
                tracing::debug!("the engine has stopped");
            }
        });
    }

    fn look(
        &self,
        name: &ClusterName,
        target: Arc<dyn Target>,
        wanted: LookWanted,
        limit: Duration,
        leash: &Leash,
    ) {
        let permits = if wanted.is_urgent { self.urgent.clone() } else { self.calm.clone() };
        let (clock, metrics) = (self.clock.clone(), self.metrics.clone());
        let work = async move {
            let _permit = permits.acquire_owned().await.ok();
            let began = clock.now();
            let look = async {
                let now = move || clock.now();
                let depth = if wanted.is_shallow { Depth::Watch } else { Depth::Full };
                let evidence = target.assess(depth, &now).await;
                super::narrate::count_readings(&metrics, &evidence);
                let prometheus_max = match wanted.outage {
                    Some((from, until)) => target.revision_max(from, until).await,
                    None => None,
                };
                let tools = if wanted.tools { Some(target.tools().await) } else { None };
                let is_shallow = wanted.is_shallow;
                Looked { began, evidence, is_shallow, prometheus_max, tools }
            };
            // the limit counts from the permit on: a queue of silent clusters is no failed look
            match tokio::time::timeout(limit, look).await {
                Ok(looked) => Input::Looked(Box::new(looked)),
                Err(_) => Input::LookFailed(format!("no look within {}", format_duration(limit))),
            }
        };
        let cancel = leash.looks.clone();
        self.spawn(name, cancel, Duration::MAX, work, Input::LookFailed);
    }

    fn run_look(
        &self,
        name: &ClusterName,
        target: Arc<dyn Target>,
        pace: Pace,
        limit: Duration,
        leash: &Leash,
    ) {
        let clock = self.clock.clone();
        let began = clock.now();
        let work = async move {
            let now = move || clock.now();
            let depth = match pace {
                Pace::Full => Depth::Full,
                Pace::FailFast => Depth::FailFast,
                Pace::Brief => Depth::Brief,
            };
            let evidence = Some(target.assess(depth, &now).await);
            Input::RunLooked(Box::new(RunLooked { began, evidence }))
        };
        let failed = move |_| Input::RunLooked(Box::new(RunLooked { began, evidence: None }));
        self.spawn(name, leash.looks.clone(), limit, work, failed);
    }

    fn prove(
        &self,
        name: &ClusterName,
        target: Arc<dyn Target>,
        watch: Watch,
        (call, proof): (Call, ActionSpec),
        leash: &Leash,
    ) {
        let untold = watch.clone();
        let work = async move {
            let deadline = Deadline::after(PROOF_TIMEOUT);
            let done = target.act(&call, &Value::Null, &deadline).await;
            let equal = done.ok().and_then(|done| proof.proof(&done.output));
            Input::Proved(watch, equal)
        };
        let cancel = leash.looks.clone();
        self.spawn(name, cancel, PROOF_TIMEOUT, work, move |_| Input::Proved(untold, None));
    }

    /// Asks a cluster's Alertmanager; what it says goes to the intake.
    pub(super) fn reconcile(
        &self,
        name: &ClusterName,
        target: &Arc<dyn Target>,
        intake: &IntakeHandle,
        leash: &Leash,
    ) {
        let (target, intake, asked) = (target.clone(), intake.clone(), self.clock.now());
        let cluster = name.clone();
        let work = async move {
            match target.alerts().await {
                Some(Ok(alerts)) => intake.reconcile(cluster, asked, alerts),
                Some(Err(error)) => {
                    tracing::warn!(cluster = %cluster, error = %error, "alertmanager was not reconciled");
                }
                None => {}
            }
            Input::Reconciled
        };
        let cancel = leash.looks.clone();
        self.spawn(name, cancel, RECONCILE_TIMEOUT, work, |_| Input::Reconciled);
    }

    /// One call of a run. A step that acts waits for its turn first; its limit counts from then on.
    fn call(&self, name: &ClusterName, target: Arc<dyn Target>, wanted: CallWanted, leash: &Leash) {
        let CallWanted { key, call, what, timeout, begin_by } = wanted;
        let (events, name, metrics) = (self.events.clone(), name.clone(), self.metrics.clone());
        let turn = Turn {
            permits: self.acting.clone(),
            stops: leash.looks.clone(),
            clock: self.clock.clone(),
            begin_by,
        };
        let cancel = match &what {
            Ask::Act(_) => leash.calls.clone(),
            // what only asks is asked again after a restart
            Ask::Before | Ask::Probe(_) => leash.looks.clone(),
        };
        self.calls.spawn(async move {
            let work = async {
                let _permit = match &what {
                    Ask::Act(_) => match turn.come().await {
                        Ok(permit) => permit,
                        Err(why) => return Answered::Unbegun(why.into()),
                    },
                    Ask::Before | Ask::Probe(_) => None,
                };
                let clock = Instant::now();
                let result = answered(target.as_ref(), &call, &what, timeout).await;
                if let Answered::Acted(result) = &result {
                    let outcome = if result.is_ok() { "done" } else { "failed" };
                    metrics.step(&call.action, outcome, clock.elapsed());
                }
                result
            };
            let Some(result) = cancel.run_until_cancelled(work).await else { return };
            let input = Input::Called(Box::new(Answer { key, result }));
            if events.send(Event::Input(name, input)).await.is_err() {
                tracing::debug!("the engine has stopped");
            }
        });
    }

    /// Does what is nobody's effect, when its turn comes. It brings back one event, or nothing where
    /// all ends.
    pub(super) fn aside(&self, work: impl Future<Output = Event> + Send + 'static) {
        let (events, turns, cancel) =
            (self.events.clone(), self.asides.clone(), self.cancel.clone());
        self.tasks.spawn(async move {
            let work = async {
                let _turn = turns.acquire_owned().await.ok();
                work.await
            };
            let Some(event) = cancel.run_until_cancelled(work).await else { return };
            if events.send(event).await.is_err() {
                tracing::debug!("the engine has stopped");
            }
        });
    }

    /// Drops entries of what is over; what stays is read back at the next start and dropped then.
    pub(super) fn drop_entries(&self, store: Arc<dyn Store>, name: &ClusterName, ns: Vec<u64>) {
        let name = name.clone();
        self.tasks.spawn(async move {
            let stream = StreamName::Cluster(name.clone());
            for chunk in ns.chunks(CHUNK) {
                if let Err(error) = store.drop_entries(&stream, chunk.to_vec()).await {
                    tracing::warn!(cluster = %name, error = %chain(&error), "ended runs were not dropped");
                    // a run of which only the end were gone would be open again at the next start
                    return;
                }
            }
        });
    }
}

/// Why nothing is begun while quorate stops.
const STOPS: &str = "quorate stopped before it began";

/// What a cell is told of a call that is not made because quorate stops; nothing where it is asked
/// again after the restart.
pub(super) fn unbegun(wanted: CallWanted) -> Option<Input> {
    let acts = matches!(wanted.what, Ask::Act(_));
    let answer = || Answer { key: wanted.key, result: Answered::Unbegun(STOPS.into()) };
    acts.then(|| Input::Called(Box::new(answer())))
}

/// What stands between a step that is written down as started and its act.
struct Turn {
    permits: Arc<Semaphore>,
    stops: CancellationToken,
    clock: Clock,
    begin_by: Option<Time>,
}

impl Turn {
    /// Waits for it; the error says why it never comes. Then nothing was done.
    async fn come(self) -> Result<Option<OwnedSemaphorePermit>, &'static str> {
        let permit = self.stops.run_until_cancelled(self.permits.acquire_owned()).await;
        let permit = permit.ok_or(STOPS)?;
        if self.begin_by.is_some_and(|by| self.clock.now() > by) {
            return Err("it did not begin: what allowed it was too old when its turn came");
        }
        Ok(permit.ok()) // they are never closed
    }
}

/// Looks and calls that may be under way at once; none would be no limit but an end.
fn sizes(settings: &Settings) -> (usize, usize) {
    (settings.watch_concurrent.max(1), settings.runs_concurrent.max(1))
}

/// One call under its limit. What acts keeps its limit itself, and answers when all of it has ended.
async fn answered(target: &dyn Target, call: &Call, what: &Ask, limit: Duration) -> Answered {
    if let Ask::Act(before) = what {
        let deadline = Deadline::after(limit);
        let act = AssertUnwindSafe(target.act(call, before, &deadline)).catch_unwind().await;
        // what it began may go on without it
        let text = "it broke off: a bug of quorate's; what it began may still run";
        let broken = Failure { still_running: true, ..Failure::new(ErrorKind::Other, text) };
        return Answered::Acted(act.unwrap_or(Err(broken)));
    }
    let late = move || {
        let text = format!("no result within {}", format_duration(limit));
        Failure::new(ErrorKind::Timeout, text)
    };
    let broken = || Failure::new(ErrorKind::Other, "it broke off: a bug of quorate's");
    let work = async {
        match what {
            Ask::Before => Answered::Before(target.before(call).await),
            Ask::Act(before) | Ask::Probe(before) => {
                Answered::Probed(target.probe(call, before).await)
            }
        }
    };
    let work = tokio::time::timeout(limit, AssertUnwindSafe(work).catch_unwind()).await;
    let failure = match work {
        Ok(Ok(answered)) => return answered,
        Ok(Err(_)) => broken(),
        Err(_) => late(),
    };
    match what {
        Ask::Before => Answered::Before(Err(failure)),
        Ask::Act(_) | Ask::Probe(_) => Answered::Probed(Probed::Unknown(failure.message)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_turn_that_comes_too_late_or_never_begins_nothing() {
        let (clock, stops) = (Clock::at(Time(0)), CancellationToken::new());
        let permits = Arc::new(Semaphore::new(1));
        let come = |begin_by: Option<u64>| {
            let (permits, stops) = (permits.clone(), stops.clone());
            let begin_by = begin_by.map(|by| Time(0).after(Duration::from_secs(by)));
            Turn { permits, stops, clock: clock.clone(), begin_by }.come()
        };
        let held = come(Some(5)).await.unwrap();
        let copies = async {
            clock.sleep_until(Time(600_000)).await;
            drop(held);
        };
        let (late, whenever, ()) = tokio::join!(come(Some(5)), come(None), copies);
        assert!(late.unwrap_err().contains("too old"));
        let held = whenever.unwrap();
        assert!(held.is_some(), "it went on to the next one");
        let stop = async { stops.cancel() };
        let (waits, ()) = tokio::join!(come(None), stop);
        assert_eq!(waits.unwrap_err(), STOPS);
        drop(held);
        assert_eq!(come(None).await.unwrap_err(), STOPS);
    }
}
