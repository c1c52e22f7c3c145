//! The runner: does the one thing a run's walk asks for, journals it, asks again.
//!
//! It keeps no state of its own: every turn starts from the run as the loop has it, so a run that
//! somebody else changed (an approval, a cancel) is noticed before the next effect, and a resumed
//! run takes the same turns as one that was never interrupted. Order within a turn: append, act,
//! append.

mod approve;
mod commands;
mod entry;
mod loss;
mod readings;
mod step;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;

pub use self::{approve::evidence_lines, commands::commands};
use super::{Settings, clock::Clock, event::AppendError, handle::Handle, intake::chain};
use crate::{
    domain::{
        base::{
            id::{ClusterName, RunId},
            time::Time,
        },
        inventory::Cluster,
        journal::record::Record,
        rules::action::{ErrorKind, Failure},
        run::{
            event::{Outcome, RunEvent, RunRecord},
            next::{self, Parking, Todo, VERIFY_TIMEOUT},
            path::Path,
            state::Run,
        },
    },
    targets::Target,
    telemetry::metrics::Metrics,
};

/// Everything a runner needs.
#[derive(Clone, Debug)]
pub struct Context {
    /// The run.
    pub run: RunId,
    /// Its cluster.
    pub cluster: ClusterName,
    /// The cluster's inventory entry.
    pub inventory: Arc<Cluster>,
    /// The cluster's systems.
    pub patient: Arc<dyn Target>,
    /// The way into the loop.
    pub handle: Handle,
    /// The engine's clock.
    pub clock: Clock,
    /// What the engine was started with.
    pub settings: Arc<Settings>,
    /// Where steps are counted.
    pub metrics: Arc<Metrics>,
    /// Rings when somebody else changed the run.
    pub wake: Arc<Notify>,
    /// A permit for each turn, so that not all clusters are worked on at once.
    pub running: Arc<Semaphore>,
    /// Ends the runner at the next journal boundary.
    pub cancel: CancellationToken,
}

/// Why a turn could not be taken.
#[derive(Debug)]
enum Halt {
    /// Look at the run again.
    Again,
    /// The journal or the engine is gone: leave the run as it is journalled.
    Stop,
}

impl From<AppendError> for Halt {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::Stale => Self::Again,
            AppendError::Refused(_) | AppendError::Store(_) | AppendError::Stopped => {
                tracing::error!(error = %chain(&error), "the run stops at its last journalled record");
                Self::Stop
            }
        }
    }
}

/// What a turn leads to.
type Turn = Result<(), Halt>;

/// How long a stopped run waits before it looks at a journal that did not take a record.
const JOURNAL_RETRY: Duration = Duration::from_secs(5);

/// Works on a run until it rests. It does one thing after the other, the first of what can be done.
pub async fn drive(context: Context) {
    let checked = BTreeSet::new();
    let mut runner = Runner { context, checked, readings: readings::Cache::default() };
    while !runner.context.cancel.is_cancelled() {
        let Some(run) = runner.load().await else { return };
        let checked = std::mem::take(&mut runner.checked);
        let Some(what) = next::next(&run, &checked).into_iter().next() else { return };
        // who waits for a person works on nothing
        let _permit = match &what {
            Todo::Await(..) => None,
            _ => runner.context.running.clone().acquire_owned().await.ok(),
        };
        match runner.turn(&run, what).await {
            Ok(()) | Err(Halt::Again) => {}
            Err(Halt::Stop) => {
                // the journal may take records again later; until then nothing is done
                tokio::select! {
                    () = tokio::time::sleep(JOURNAL_RETRY) => {}
                    () = runner.context.cancel.cancelled() => {}
                }
            }
        }
    }
}

struct Runner {
    context: Context,
    checked: BTreeSet<Path>,
    readings: readings::Cache,
}

impl Runner {
    async fn load(&self) -> Option<Run> {
        let id = self.context.run;
        let run = self
            .context
            .handle
            .read(move |state| state.cluster_of_run(id)?.state.runs.get(&id).cloned());
        run.await?
    }

    fn now(&self) -> Time {
        self.context.clock.now()
    }

    /// Journals events that are decided upon this run as it was seen; stale if it changed.
    async fn record(&self, run: &Run, events: Vec<RunEvent>) -> Turn {
        self.append(Some(run.version), events).await
    }

    /// Journals what has happened, whatever else did meanwhile.
    async fn report(&self, events: Vec<RunEvent>) -> Turn {
        self.append(None, events).await
    }

    async fn append(&self, version: Option<u64>, events: Vec<RunEvent>) -> Turn {
        let run = self.context.run;
        let records = events.into_iter().map(|event| Record::Run(RunRecord { run, event }));
        let (handle, cluster) = (&self.context.handle, &self.context.cluster);
        Ok(handle.append(cluster, run, version, records.collect()).await?)
    }

    /// One turn. Boxed parts keep the future small: a run lives for hours.
    async fn turn(&mut self, run: &Run, what: Todo<'_>) -> Turn {
        match what {
            Todo::Begin(at) => {
                if let Some(failure) = self.out_of_time(run) {
                    return self.fail_unstarted(run, &at, failure).await;
                }
                Box::pin(self.start(run, at)).await
            }
            Todo::Retry(at, not_before) => {
                if self.pause_until(not_before).await {
                    Box::pin(self.start(run, at)).await?;
                }
                Ok(())
            }
            Todo::Resolve(at) => Box::pin(self.resolve(run, at)).await,
            Todo::Expand(at) => Box::pin(self.expand(run, at)).await,
            Todo::Until(at, until, item) => Box::pin(self.until(run, at, until, item)).await,
            Todo::Await(at, until) => self.await_answer(run, &at, until).await,
            Todo::Entry(key, at, entry) => Box::pin(self.entry(run, key, at, entry, false)).await,
            Todo::RetryEntry(key, at, entry, not_before) => {
                if self.pause_until(not_before).await {
                    Box::pin(self.entry(run, key, at, entry, false)).await?;
                }
                Ok(())
            }
            Todo::ResolveEntry(key, at, entry) => {
                Box::pin(self.entry(run, key, at, entry, true)).await
            }
            Todo::Unwind(outcome, failure) => self.unwind(run, outcome, failure).await,
            Todo::Park(Parking { why, armed }) => {
                tracing::error!(run.id = %run.id, cluster = %self.context.cluster,
                    armed = armed.join("; "), "run parked: {why}");
                self.record(run, vec![RunEvent::RunParked { why, armed }]).await
            }
            Todo::Verify(verify) => Box::pin(self.verify(run, verify)).await,
            Todo::Finish(outcome, failure) => {
                tracing::info!(run.id = %run.id, cluster = %self.context.cluster,
                    outcome = outcome.label(), "run ended{}",
                    failure.as_ref().map_or(String::new(), |f| format!(": {}", f.message)));
                self.record(run, vec![RunEvent::RunFinished { outcome, failure }]).await
            }
        }
    }

    /// The run's own limit; after the point of no return it only ends what has not begun.
    fn out_of_time(&self, run: &Run) -> Option<Failure> {
        let worked = run.worked(self.now());
        let limit = run.plan.timeout;
        (worked > limit).then(|| {
            let limit = crate::domain::base::time::format_duration(limit);
            Failure::new(ErrorKind::Timeout, format!("the run worked for longer than {limit}"))
        })
    }

    /// Waits, unless somebody changes the run or quorate stops. `true`: the time has come.
    async fn pause_until(&self, until: Time) -> bool {
        tokio::select! {
            () = tokio::time::sleep_until(self.context.clock.instant(until)) => true,
            () = self.context.wake.notified() => false,
            () = self.context.cancel.cancelled() => false,
        }
    }

    /// Goes back. Where quorum is there again, the failure is only how that was noticed.
    async fn unwind(&mut self, run: &Run, outcome: Outcome, failure: Failure) -> Turn {
        let is_back = outcome == Outcome::Undone && failure.kind != ErrorKind::Denied && {
            let look = self.look(run, Duration::from_secs(5)).await;
            look.is_some_and(|look| {
                use crate::domain::etcd::verdict::Quorum;
                matches!(look.judgement.quorum, Quorum::Healthy | Quorum::Degraded { .. })
            })
        };
        let outcome = if is_back { Outcome::Cancelled } else { outcome };
        tracing::warn!(run.id = %run.id, cluster = %self.context.cluster, outcome = outcome.label(),
            "taking back what was done: {}", failure.message);
        self.record(run, vec![RunEvent::UnwindStarted { outcome, failure, undo: true }]).await
    }

    async fn verify(&mut self, run: &Run, verify: &crate::domain::rules::expr::Expr) -> Turn {
        let until = self.now().after(VERIFY_TIMEOUT);
        let mut missing = String::new();
        while self.now() < until {
            match self.truth(run, &Path::root(), verify, Duration::ZERO).await {
                Ok(true) => return self.record(run, vec![RunEvent::Verified]).await,
                Ok(false) => "it is false".clone_into(&mut missing),
                Err(stop) => missing = super::variables::missing(&stop),
            }
            if !self.pause_until(self.now().after(Duration::from_millis(500))).await {
                return Err(Halt::Again);
            }
        }
        let why =
            format!("`verify` did not come true within 60 s ({missing}): {}", verify.source());
        let failure = Failure::new(ErrorKind::Timeout, why);
        self.record(run, vec![RunEvent::VerifyFailed { failure }]).await
    }
}
