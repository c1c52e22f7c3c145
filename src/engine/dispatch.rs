//! Runs are dispatched, woken and cancelled here, and only here.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::FutureExt as _;
use tokio::sync::Notify;
use uuid::Uuid;

use super::{
    Engine, chain,
    event::Event,
    respond::incident_record,
    runner,
    variables::{missing, response_roots},
};
use crate::domain::{
    base::id::{ClusterName, IncidentId, RunId},
    etcd::verdict::Quorum,
    incident::IncidentEvent,
    journal::record::Record,
    rules::{
        action::{ErrorKind, Failure},
        bindings::Bindings,
        expr::Value,
        response::{Response, Rung},
    },
    run::{
        event::{Outcome, RunEvent, RunRecord},
        plan::Plan,
    },
};

/// Before a runner that broke off is replaced, so that a bug does not spin.
const BROKEN_OFF: Duration = Duration::from_secs(30);

impl Engine {
    /// The plan that a rung comes to; `Err` says why there is none.
    pub(super) fn plan(
        &self,
        cluster: &ClusterName,
        id: IncidentId,
        response: &Response,
        rung: &Rung,
    ) -> Result<Plan, String> {
        let gone = || "its cluster or its incident is gone".to_owned();
        let watched = self.state.clusters.get(cluster).ok_or_else(gone)?;
        let incident = watched.state.incidents.get(&id).ok_or_else(gone)?;
        let playbook = self.state.playbook(&rung.playbook);
        let playbook = playbook.ok_or_else(|| "it is not loaded".to_owned())?;
        let (now, subject) = (self.state.now(), &incident.subject);
        let signals = self.state.correlation.signals(subject, response, &self.state.alerts, now);
        let roots = response_roots(watched, subject, &signals, now);
        Plan::new(&playbook, params(rung, &roots)?, &watched.inventory)
            .map_err(|wrong| wrong.join("; "))
    }

    /// Journals the plan, and sets a runner on it.
    pub(super) async fn dispatch(
        &mut self,
        cluster: &ClusterName,
        id: IncidentId,
        response: &Response,
        (index, rung): (usize, &Rung),
        plan: Plan,
    ) {
        let Some(watched) = self.state.clusters.get(cluster) else { return };
        let run = RunId(Uuid::now_v7());
        let mode = watched.inventory.mode;
        let started = RunEvent::RunStarted {
            incident: Some(id),
            plan: Arc::new(plan),
            mode: mode.into(),
            by: format!("response {}", response.name),
        };
        let dispatched =
            IncidentEvent::Dispatched { run, playbook: rung.playbook.clone(), rung: index };
        let records =
            vec![incident_record(id, dispatched), Record::Run(RunRecord { run, event: started })];
        tracing::info!(incident.id = %id, run.id = %run, cluster = %cluster, playbook = %rung.playbook,
            mode = mode.label(), "starting playbook");
        if self.write(cluster, records).await {
            self.start_runner(cluster, run);
        }
    }

    /// Sets a runner on a run; it works until the run rests.
    pub(super) fn start_runner(&mut self, cluster: &ClusterName, run: RunId) {
        let Some(watched) = self.state.clusters.get(cluster) else { return };
        if self.state.runners.contains_key(&run) {
            return;
        }
        let wake = Arc::new(Notify::new());
        self.state.runners.insert(run, wake.clone());
        let context = runner::Context {
            run,
            cluster: cluster.clone(),
            inventory: watched.inventory.clone(),
            patient: watched.patient.clone(),
            handle: self.handle.clone(),
            clock: self.state.clock,
            settings: self.state.settings.clone(),
            metrics: self.metrics.clone(),
            wake,
            running: self.running.clone(),
            cancel: self.cancel.clone(),
        };
        let handle = self.handle.clone();
        self.tasks.spawn(async move {
            let work = std::panic::AssertUnwindSafe(runner::drive(context));
            if work.catch_unwind().await.is_err() {
                // a bug of ours: the run is as it is journalled; another runner tries in a while
                tracing::error!(run.id = %run, "the runner broke off; it is started again");
                tokio::time::sleep(BROKEN_OFF).await;
            }
            handle.send(Event::RunnerDone(run)).await;
        });
    }

    /// Before the point of no return a run is cancelled once quorum is back in two looks in a row.
    pub(super) async fn cancel_if_well(&mut self, cluster: &ClusterName) {
        let Some(watched) = self.state.clusters.get_mut(cluster) else { return };
        let quorum = watched.look.as_ref().map(|look| look.judgement.quorum.clone());
        let is_back = matches!(quorum, Some(Quorum::Healthy | Quorum::Degraded { .. }));
        let Some(run) = watched.state.open_run() else { return };
        // what is parked waits for a person, whatever the cluster does meanwhile
        let is_open = run.is_active() && run.past_return.is_none() && run.unwind.is_none();
        watched.well_again = if is_back && is_open { watched.well_again + 1 } else { 0 };
        if watched.well_again < 2 {
            return;
        }
        let (id, reason) = (run.id, "quorum is back: the cluster got well by itself");
        let event = RunEvent::UnwindStarted {
            outcome: Outcome::Cancelled,
            failure: Failure::new(ErrorKind::RefusedByGuard, reason),
            undo: true,
        };
        tracing::info!(run.id = %id, cluster = %cluster, "{reason}; taking back what was done");
        self.write(cluster, vec![Record::Run(RunRecord { run: id, event })]).await;
        self.wake_runner(cluster, id);
    }

    /// Tells a run's runner that somebody else changed the run.
    pub(super) fn wake_runner(&mut self, cluster: &ClusterName, run: RunId) {
        match self.state.runners.get(&run) {
            Some(wake) => wake.notify_one(),
            None => self.start_runner(cluster, run),
        }
    }

    /// Journals records of one cluster and folds them in. `false`: not durable, nothing changed.
    pub(super) async fn write(&mut self, cluster: &ClusterName, records: Vec<Record>) -> bool {
        match self.try_write(cluster, records).await {
            Ok(()) => true,
            Err(error) => {
                tracing::error!(cluster = %cluster, error = %chain(&error),
                    "the journal did not take a record; nothing was done");
                self.roll_back().await;
                false
            }
        }
    }
}

/// The parameters a rung gives its playbook.
fn params(rung: &Rung, roots: &Bindings) -> Result<BTreeMap<String, Value>, String> {
    let filled = rung.with.iter().map(|(name, arg)| {
        let value =
            arg.fill(roots).map_err(|stop| format!("`{name}`: {} is not known", missing(&stop)));
        Ok((name.clone(), value?))
    });
    filled.collect()
}
