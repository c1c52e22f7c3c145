//! The engine: one loop over one closed list of events owns everything that changes.
//!
//! Webhooks, looks, runners and people send events; the loop merges, judges, decides, journals, and
//! sets runners on runs. Effects are performed by tasks it spawned and watches; they come back as
//! events. It is the only place that spawns work.
//!
//! # Design
//!
//! The loop waits for the journal when it decides something, so that nothing is done that is not
//! written down; for alerts it does not wait, because their order in the store's queue is enough:
//! an incident is journalled behind the alert that opened it, and a webhook is answered only after
//! its own rows are durable. If a commit fails, memory is read back from the store before anything
//! else is taken (`roll_back`).

pub mod alerts;
pub mod clock;
pub mod commands;
mod dispatch;
pub mod event;
mod guards;
pub mod handle;
pub mod intake;
pub mod journal;
mod looks;
mod recover;
mod respond;
mod retention;
pub mod runner;
mod scrape;
pub mod state;
mod variables;
mod watches;

use std::{sync::Arc, time::Duration};

use tokio::sync::{Semaphore, mpsc};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::{
    clock::Clock,
    event::{AppendError, AppendRequest, Event},
    state::State,
};
pub use self::{handle::Handle, intake::chain, recover::StartError, runner::evidence_lines};
use crate::{
    domain::{
        base::{
            id::{ClusterName, IncidentId, RunId},
            time::Time,
        },
        incident::{
            IncidentEvent,
            bounds::CardinalityLimit,
            ledger::{Attempt, Subject},
            owners::Owners,
        },
        inventory::Cluster,
        journal::record::{AttemptRecord, Record, WatchKind},
        rules::{Rules, action::Catalogue, playbook::model::Destroys},
        run::{
            apply::Run,
            event::{Outcome, RunEvent},
        },
    },
    store::{Append, Batch, NewEntry, Store, StoreError, StreamName},
    targets::Target,
    telemetry::metrics::Metrics,
};

/// What an engine is started with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Responses and playbooks.
    pub rules: Rules,
    /// The actions there are.
    pub catalogue: Catalogue,
    /// Between two looks at a healthy cluster.
    pub watch_every: Duration,
    /// Looks under way at once.
    pub watch_concurrent: usize,
    /// Runs that may act at once; those that wait for a person do not count.
    pub runs_concurrent: usize,
    /// How long ended incidents, runs and resolved alerts are kept.
    pub retention: Duration,
    /// Whether the journal lies in a data directory of a patient.
    pub store_on_patient: bool,
    /// How long runners get to reach a journal boundary when quorate stops.
    pub shutdown_grace: Duration,
}

/// How often what is over is dropped.
const SWEEP_EVERY: Duration = Duration::from_hours(1);

/// The loop's owner.
#[derive(Debug)]
pub struct Engine {
    state: State,
    owners: Owners,
    store: Arc<dyn Store>,
    metrics: Arc<Metrics>,
    handle: Handle,
    events: mpsc::Receiver<Event>,
    tasks: TaskTracker,
    cancel: CancellationToken,
    looking: Arc<Semaphore>,
    touched: Vec<(Subject, bool)>,
    too_many_subjects: CardinalityLimit,
    too_many_incidents: CardinalityLimit,
    arrived: Option<tokio::time::Instant>,
    running: Arc<Semaphore>,
    fence: u64,
    sweep_due: Time,
    rolled_back: Option<Time>,
}

impl Engine {
    /// Reads the journal back and makes the loop ready; `run` starts it.
    pub async fn start(
        settings: Settings,
        clusters: Vec<(Arc<Cluster>, Arc<dyn Target>)>,
        store: Arc<dyn Store>,
        metrics: Arc<Metrics>,
        clock: Clock,
    ) -> Result<(Self, Handle), StartError> {
        let (sender, events) = mpsc::channel(handle::EVENTS_MAX);
        let handle = Handle::new(sender);
        let matches = clusters.iter().map(|(one, _)| (one.name.clone(), one.matches.clone()));
        let owners = Owners::new(matches);
        let looking = Arc::new(Semaphore::new(settings.watch_concurrent.max(1)));
        let running = Arc::new(Semaphore::new(settings.runs_concurrent.max(1)));
        let (state, fence) = recover::state(settings, clusters, &owners, &store, clock).await?;
        let mut engine = Self {
            sweep_due: state.now().after(SWEEP_EVERY),
            state,
            owners,
            store,
            metrics,
            handle: handle.clone(),
            events,
            tasks: TaskTracker::new(),
            cancel: CancellationToken::new(),
            looking,
            touched: Vec::new(),
            too_many_subjects: CardinalityLimit::default(),
            too_many_incidents: CardinalityLimit::default(),
            arrived: None,
            running,
            fence,
            rolled_back: None,
        };
        engine.index_alerts();
        Ok((engine, handle))
    }

    /// Runs until cancelled; then lets runners reach a journal boundary and closes the store.
    pub async fn run(mut self, cancel: CancellationToken) {
        self.resume_runs();
        while !cancel.is_cancelled() {
            let due = self.start_looks().min(self.sweep_due);
            let due = self.state.clock.instant(due);
            tokio::select! {
                biased;
                () = cancel.cancelled() => break,
                event = self.events.recv() => match event {
                    Some(event) => self.handle_event(event).await,
                    None => break,
                },
                () = tokio::time::sleep_until(due) => self.sweep().await,
            }
        }
        self.stop().await;
    }

    /// Ordered stop: no new effects, runners to a journal boundary, then the store.
    async fn stop(mut self) {
        self.cancel.cancel();
        self.tasks.close();
        let tasks = self.tasks.clone();
        let until = tokio::time::Instant::now() + self.state.settings.shutdown_grace;
        loop {
            tokio::select! {
                biased;
                Some(event) = self.events.recv() => self.handle_event(event).await,
                () = tasks.wait() => break,
                () = tokio::time::sleep_until(until) => {
                    tracing::warn!("a step is still under way: it will be in doubt after the restart");
                    break;
                }
            }
        }
        if let Err(error) = self.store.close().await {
            tracing::error!(error = %chain(&error), "the store did not close in order");
        }
        tracing::info!("the engine has stopped; runs go on from the journal at the next start");
    }

    async fn handle_event(&mut self, event: Event) {
        match event {
            Event::Alerts(alerts, reply) => {
                self.arrived = Some(tokio::time::Instant::now());
                let receipt = self.take_alerts(alerts);
                drop(reply.send(receipt));
                self.open_touched().await;
                self.arrived = None;
            }
            Event::StoreFailed => self.roll_back().await,
            Event::Seen(cluster, seen) => self.take_look(&cluster, *seen).await,
            Event::Reconciled(cluster, asked, alerts) => {
                if let Some(alerts) = alerts {
                    self.reconcile(&cluster, alerts, asked);
                    self.open_touched().await;
                }
            }
            Event::Proved(cluster, watch, equal) => self.proved(&cluster, &watch, equal).await,
            Event::Append(request) => self.append_for_runner(request).await,
            Event::RunnerDone(run) => self.runner_done(run),
            Event::Command(command, reply) => {
                let result = self.obey(command).await;
                drop(reply.send(result));
            }
            Event::LookNow(cluster, reply) => self.look_now(&cluster, reply),
            Event::Read(look) => look(&self.state),
        }
    }

    /// Journals records and folds them in; memory changes only after they are durable.
    async fn try_write(
        &mut self,
        cluster: &ClusterName,
        records: Vec<Record>,
    ) -> Result<(), StoreError> {
        let now = self.state.now();
        let Some(watched) = self.state.clusters.get_mut(cluster) else { return Ok(()) };
        let entries = records.iter().map(|record| NewEntry::of(record, now));
        let append = Append {
            stream: StreamName::Cluster(cluster.clone()),
            expected_n: watched.next_n,
            fence: self.fence,
            entries: entries.collect::<Result<_, _>>()?,
        };
        let began = tokio::time::Instant::now();
        let done = self.store.commit(Batch { appends: vec![append], ..Batch::default() }).await;
        self.handle.note_commit(&done);
        done?;
        self.metrics.store_append(began.elapsed());
        for record in &records {
            watched.positions.note(record, watched.next_n);
            watched.next_n += 1;
            watched.state.apply(record, now);
        }
        Ok(())
    }

    async fn append_for_runner(&mut self, request: AppendRequest) {
        let AppendRequest { cluster, run, version, records, reply } = request;
        let current = self.state.clusters.get(&cluster).and_then(|w| w.state.runs.get(&run));
        let current = current.map(|run| run.version);
        if version.is_some() && version != current {
            drop(reply.send(Err(AppendError::Stale)));
            return;
        }
        let mut records = records;
        let finished = records.iter().find_map(|record| match record {
            Record::Run(record) => match &record.event {
                RunEvent::RunFinished { outcome, .. } => Some(*outcome),
                _ => None,
            },
            _ => None,
        });
        if records.iter().any(|record| matches!(record, Record::LossRecorded(_))) {
            let watched = self.state.clusters.get(&cluster);
            let row = watched.and_then(|watched| watched.state.runs.get(&run));
            let now = self.state.now();
            records.extend(row.and_then(|row| watches::after(row, WatchKind::Zombies, now)));
        }
        if let Some(outcome) = finished {
            records.extend(self.ending(&cluster, run, outcome));
        }
        let result = self.try_write(&cluster, records).await;
        let failed = result.is_err();
        drop(reply.send(result.map_err(AppendError::Store)));
        if failed {
            self.roll_back().await;
        } else if finished.is_some()
            && let Some(watched) = self.state.clusters.get_mut(&cluster)
        {
            watched.look_due = self.state.clock.now();
        }
    }

    /// What else is written down in the same commit when a run ends.
    fn ending(&self, cluster: &ClusterName, id: RunId, outcome: Outcome) -> Vec<Record> {
        let Some(watched) = self.state.clusters.get(cluster) else { return Vec::new() };
        let Some(run) = watched.state.runs.get(&id) else { return Vec::new() };
        let mut records = Vec::new();
        if self.is_destructive(run) && outcome == Outcome::Succeeded {
            records.extend(watches::after(run, WatchKind::Proof, self.state.now()));
        }
        let incident = run.incident.and_then(|id| watched.state.incidents.get(&id));
        let Some(incident) = incident else { return records };
        let response = self.state.response(&incident.subject.response);
        let has_next = response.is_some_and(|response| incident.rung < response.ladder.len());
        let is_last = !has_next || !matches!(outcome, Outcome::Failed | Outcome::Undone);
        let event = IncidentEvent::RungEnded { run: id, outcome, is_last };
        records.push(respond::incident_record(incident.id, event));
        if is_last {
            records.push(self.attempt(&incident.subject, run, outcome));
        }
        records
    }

    /// One attempt of a subject, by its last run.
    fn attempt(&self, subject: &Subject, run: &Run, outcome: Outcome) -> Record {
        let attempt = Attempt {
            run: run.id,
            playbook: run.plan.playbook.clone(),
            outcome,
            at: self.state.now(),
            approved: run.approval.is_some(),
            destructive: self.is_destructive(run),
            // nobody's silence uses the limit up either; backoff spaces the questions
            denied: run.ask.is_some() && run.approval.is_none(),
        };
        Record::AttemptEnded(AttemptRecord { subject: subject.clone(), attempt })
    }

    fn is_destructive(&self, run: &Run) -> bool {
        let playbook = self.state.playbook_of(run.id);
        let destroys = playbook.map_or(Destroys::Nothing, |playbook| playbook.destroys);
        destroys == Destroys::Data && run.past_return.is_some()
    }

    /// What ends an attempt whose next rung will not come: none applies, or the incident ends.
    fn last_rung(&self, cluster: &ClusterName, id: IncidentId) -> Vec<Record> {
        let Some(watched) = self.state.clusters.get(cluster) else { return Vec::new() };
        let incident = watched.state.incidents.get(&id).filter(|incident| incident.rung > 0);
        let Some(incident) = incident else { return Vec::new() };
        let Some((run, _, Some(outcome))) = incident.runs.last() else { return Vec::new() };
        let Some(run) = watched.state.runs.get(run) else { return Vec::new() };
        let event = IncidentEvent::RungEnded { run: run.id, outcome: *outcome, is_last: true };
        vec![respond::incident_record(id, event), self.attempt(&incident.subject, run, *outcome)]
    }

    fn runner_done(&mut self, run: RunId) {
        self.state.runners.remove(&run);
        // somebody may have changed the run between its last look and its rest
        let watched = self.state.cluster_of_run(run);
        let again = watched.and_then(|w| w.state.runs.get(&run)).is_some_and(Run::is_active);
        let cluster = watched.map(|watched| watched.inventory.name.clone());
        if again
            && !self.cancel.is_cancelled()
            && let Some(cluster) = cluster
        {
            self.start_runner(&cluster, run);
        }
    }

    /// Sets runners on every run that was under way when the last process ended.
    fn resume_runs(&mut self) {
        let open = self.state.clusters.iter().filter_map(|(name, watched)| {
            let run = watched.state.open_run().filter(|run| run.parked.is_none())?;
            Some((name.clone(), run.id))
        });
        for (cluster, run) in open.collect::<Vec<_>>() {
            tracing::warn!(run.id = %run, cluster = %cluster, "run goes on from the journal");
            self.start_runner(&cluster, run);
        }
    }

    /// Folds in what the journal has and memory does not: a commit whose answer was an error may
    /// have become durable all the same.
    async fn catch_up(&mut self) -> Result<(), StoreError> {
        for (name, watched) in &mut self.state.clusters {
            let stream = StreamName::Cluster(name.clone());
            for entry in self.store.read(&stream, watched.next_n).await? {
                let record = Record::decode(&entry.kind, entry.ver, &entry.body);
                let Ok(record) = record else { break }; // not ours: every append is refused by now
                watched.positions.note(&record, entry.n);
                watched.state.apply(&record, entry.at);
                watched.next_n = entry.n + 1;
            }
        }
        Ok(())
    }

    /// After a commit that did not become durable: memory is read back from the store, then the
    /// store takes commits again. At most once a second, so that a full disk is not read without end.
    async fn roll_back(&mut self) {
        let now = self.state.now();
        if self.rolled_back.is_some_and(|at| now.since(at) < Duration::from_secs(1)) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        self.rolled_back = Some(now);
        if let Err(error) = self.catch_up().await {
            tracing::error!(error = %chain(&error), "the journal cannot be read back");
        }
        match self.store.alerts().await {
            Ok(rows) => {
                self.state.alerts = recover::alerts(rows, &self.owners, now);
                self.state.correlation =
                    crate::domain::incident::correlation::Correlation::default();
                self.index_alerts();
                self.store.heal();
            }
            Err(error) => {
                tracing::error!(error = %chain(&error), "the store cannot be read; alerts are refused");
            }
        }
    }
}

#[cfg(test)]
mod tests;
