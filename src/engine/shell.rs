//! The loop that owns all cells: inputs in, commits out, effects performed.

use std::{
    collections::{BTreeMap, BTreeSet},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use futures::{StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use tokio::sync::mpsc;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Handle, Settings,
    alerts::{self, Handed, IntakeHandle, Throttle},
    chain,
    clock::Clock,
    commands::CommandError,
    effects::{self, Performer},
    event::Event,
    journal::{Commit, CommitError, Journal},
    narrate::Narrator,
    recover::{self, Recovered, StartError},
    slot::{Committing, Slot},
    state::State,
    tickets::Tickets,
};
use crate::{
    domain::{
        base::{id::ClusterName, time::Time},
        cell::{Cell, Step, effect::Effect, input::Input},
        inventory::Cluster,
    },
    store::{Append, Batch, Committed, NewEntry, ObservedRow, Store, StreamName},
    targets::Target,
    telemetry::metrics::Metrics,
};

/// How often what is over is dropped.
const SWEEP_EVERY: Duration = Duration::from_hours(1);
/// How often quorate's clock is compared with those of the machine.
const COMPARE_EVERY: Duration = Duration::from_secs(10);
/// Inputs that one step takes: more wait for the next one, so that no cluster holds up the others.
const INPUTS_MAX: usize = 256;
/// Steps of one cell in a row.
const STEPS_AT_ONCE: usize = 8;
/// Before a step whose commit did not become durable is made again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Why the process ends where the intake did: every alert would be refused for good.
const INTAKE_ENDED: &str = "the intake ended by itself: a bug of quorate's; start it again";

/// Why the process must end: what is on disk can no longer be told.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Fatal(pub String);

/// What a commit came to, for the cell that made it.
pub(super) type Landed = (ClusterName, Result<Committed, CommitError>, Commit);

/// The loop's owner.
#[derive(Debug)]
pub struct Engine {
    pub(super) slots: BTreeMap<ClusterName, Slot>,
    pub(super) state: Arc<State>,
    pub(super) settings: Arc<Settings>,
    pub(super) journal: Journal,
    pub(super) store: Arc<dyn Store>,
    pub(super) intake: IntakeHandle,
    pub(super) clock: Clock,
    pub(super) performer: Performer,
    pub(super) intake_tasks: TaskTracker,
    pub(super) stop_intake: CancellationToken,
    narrator: Narrator,
    pub(super) events: mpsc::Receiver<Event>,
    handed: mpsc::Receiver<Handed>,
    timers: BTreeSet<(Time, ClusterName)>,
    pub(super) committing: FuturesUnordered<BoxFuture<'static, Landed>>,
    tickets: Tickets,
    /// Lines about steps that did not become durable.
    unwritten: Throttle,
    sweep_due: Time,
    compare_due: Time,
    pub(super) stopping: bool,
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
        let (sender, events) = mpsc::channel(super::handle::EVENTS_MAX);
        let recovered = recover::everything(&settings, clusters, &store, &clock).await?;
        if let Some(news) = clock.never_before(recovered.last_at) {
            tracing::warn!("{news}");
        }
        let journal = Journal::new(store.clone());
        let (to_cells, handed) = mpsc::channel(super::handle::HANDED_MAX);
        let owners = recover::owners(recovered.cells.iter().map(Recovered::cell));
        let parts = alerts::Parts {
            journal: journal.clone(),
            owners,
            clock: clock.clone(),
            limits: alerts::limits::Limits::default(),
            handed: to_cells,
            metrics: metrics.clone(),
            cancel: CancellationToken::new(),
        };
        let (tasks, stop_intake) = (TaskTracker::new(), parts.cancel.clone());
        let intake = IntakeHandle::start(parts, store.alert_rows(), &tasks).await?;
        let settings = Arc::new(settings);
        let state =
            State::new(settings.clone(), intake.table().clone(), journal.clone(), clock.clone());
        let handle = Handle::new(sender.clone(), intake.clone(), state.clone(), store.clone());
        let performer = Performer::new(sender, &settings, clock.clone(), metrics.clone());
        let mut engine = Self {
            slots: BTreeMap::new(),
            state,
            journal,
            store,
            intake,
            performer,
            intake_tasks: tasks,
            stop_intake,
            narrator: Narrator::new(metrics.clone()),
            events,
            handed,
            timers: BTreeSet::new(),
            committing: FuturesUnordered::new(),
            tickets: Tickets::default(),
            unwritten: Throttle::default(),
            sweep_due: clock.now().after(SWEEP_EVERY),
            compare_due: clock.now(),
            stopping: false,
            settings,
            clock,
        };
        for cell in recovered.cells {
            engine.add(cell);
        }
        Ok((engine, handle))
    }

    /// Takes a cell in; it is stepped as soon as the loop runs.
    pub(super) fn add(&mut self, cell: Recovered) {
        let mut slot = cell.into_slot(self.performer.leash());
        let name = slot.cell.name().clone();
        slot.push(Input::Started);
        if self.stopping {
            slot.push(Input::Stopping);
        }
        self.state.show(&slot.cell);
        self.slots.insert(name.clone(), slot);
        self.set_timer(&name);
    }

    /// Runs until cancelled; then lets calls reach a journal boundary and closes the store.
    pub async fn run(mut self, cancel: CancellationToken) -> Result<(), Fatal> {
        self.narrator.resumed(self.slots.values().map(|slot| slot.cell.as_ref()));
        for name in self.slots.keys().cloned().collect::<Vec<_>>() {
            self.compact_if_any(&name);
        }
        let intake = self.intake.clone();
        let mut intake_ended = pin!(intake.ended());
        while !cancel.is_cancelled() {
            self.step_due();
            self.state.beat();
            let due = self.next_due();
            tokio::select! {
                () = cancel.cancelled() => break,
                () = &mut intake_ended => return Err(Fatal(INTAKE_ENDED.into())),
                Some(landed) = self.committing.next() => self.landed(landed)?,
                Some(handed) = self.handed.recv() => self.take_alerts(handed),
                event = self.events.recv() => match event {
                    Some(event) => self.take(event),
                    None => break,
                },
                () = self.clock.sleep_until(due) => {}
            }
        }
        self.stop().await
    }

    pub(super) fn take(&mut self, event: Event) {
        match event {
            Event::Input(cluster, input) => self.give(&cluster, input),
            Event::Order(cluster, order, reply) => {
                if !self.slots.contains_key(&cluster) {
                    let missing = CommandError::NotFound(format!("cluster {cluster}"));
                    drop(reply.send(Err(missing)));
                    return;
                }
                let ticket = self.tickets.take(&cluster, reply);
                self.give(&cluster, Input::Ordered(ticket, order));
            }
            Event::Compacted(cluster, done) => self.compacted(&cluster, done),
            Event::Reload(reload, added, done) => {
                self.reload(*reload, added);
                done.send(()).unwrap_or_default(); // who asked may have gone
            }
        }
    }

    fn take_alerts(&mut self, handed: Handed) {
        self.state.feed.alerts(&handed);
        let Handed { cluster, alerts, forgotten, arrived } = handed;
        self.give(&cluster, Input::Alerts { alerts, forgotten, arrived });
    }

    /// Gives a cell something and steps it, unless a commit of it is under way.
    pub(super) fn give(&mut self, cluster: &ClusterName, input: Input) {
        let Some(slot) = self.slots.get_mut(cluster) else { return };
        if let Some(why) = slot.stopped.clone() {
            // nobody will ever take it; who waits for it is told
            self.tickets.refuse(cluster, &why);
            return;
        }
        slot.push(input);
        self.advance(cluster);
    }

    fn next_due(&self) -> Time {
        let timer = self.timers.first().map(|(at, _)| *at);
        let own = self.sweep_due.min(self.compare_due);
        timer.map_or(own, |at| at.min(own))
    }

    /// Steps every cell whose time has come; once an hour what is over is dropped.
    pub(super) fn step_due(&mut self) {
        if self.compare_due <= self.clock.now() {
            if let Some(news) = self.clock.compare() {
                tracing::warn!("{news}");
            }
            self.compare_due = self.clock.now().after(COMPARE_EVERY);
        }
        let now = self.clock.now();
        let due = self.timers.iter().take_while(|(at, _)| *at <= now);
        for (at, name) in due.cloned().collect::<Vec<_>>() {
            self.timers.remove(&(at, name.clone()));
            if let Some(slot) = self.slots.get_mut(&name) {
                slot.timer = None;
                slot.not_before.take_if(|at| *at <= now);
            }
            self.advance(&name);
        }
        if self.sweep_due <= now {
            self.sweep_due = now.after(SWEEP_EVERY);
            let keep = self.settings.retention;
            self.intake.sweep(keep);
            let names: Vec<ClusterName> = self.slots.keys().cloned().collect();
            for name in names {
                self.give(&name, Input::Sweep(now.before(keep)));
                self.compact_if_any(&name);
            }
        }
    }

    /// Steps a cell as long as it can be now; after some steps the others have their turn.
    fn advance(&mut self, name: &ClusterName) {
        for _ in 0..STEPS_AT_ONCE {
            if !self.step(name) {
                return;
            }
        }
        self.set_timer(name);
    }

    /// One step of a cell, if it can be made now. `true`: there may be another at once.
    fn step(&mut self, name: &ClusterName) -> bool {
        let now = self.clock.now();
        let is_free = |slot: &&mut Slot| slot.committing.is_none() && slot.stopped.is_none();
        let Some(slot) = self.slots.get_mut(name).filter(is_free) else { return false };
        let is_due = slot.cell.wake.is_some_and(|wake| wake <= now);
        let is_held = slot.not_before.is_some_and(|at| at > now);
        if is_held || (slot.inbox.is_empty() && !is_due) {
            self.set_timer(name);
            return false;
        }
        let count = slot.inbox.len().min(INPUTS_MAX);
        let inputs: Vec<Input> = slot.inbox.drain(..count).collect();
        let (cell, at) = (slot.cell.clone(), now.max(slot.last_at));
        match catch_unwind(AssertUnwindSafe(|| cell.step(&inputs, at))) {
            Ok(step) if step.records.is_empty() && step.observed.is_none() => {
                self.take_over(name, step, at, 0);
                return true;
            }
            Ok(step) => self.commit(name, Committing { step, inputs, at }),
            Err(_) => {
                self.stop_cell(name, "its step broke off: a bug of quorate's; restart quorate");
            }
        }
        false
    }

    /// Sends a step's records on their way.
    fn commit(&mut self, name: &ClusterName, committing: Committing) {
        let Some(slot) = self.slots.get_mut(name) else { return };
        let entries = committing.step.records.iter();
        let entries = entries.map(|record| NewEntry::of(record, committing.at));
        let entries: Vec<NewEntry> = match entries.collect::<Result<_, _>>() {
            Ok(entries) => entries,
            Err(error) => {
                let why =
                    format!("a record would not read back: {}; restart quorate", chain(&error));
                self.stop_cell(name, &why);
                return;
            }
        };
        let mut batch = Batch::default();
        if !entries.is_empty() {
            batch.appends.push(Append {
                stream: StreamName::Cluster(name.clone()),
                expected_n: slot.cell.state.next,
                fence: slot.fence,
                entries,
            });
        }
        let observed = committing.step.observed.as_ref();
        let body = observed.and_then(|row| serde_json::to_string(row.as_ref()).ok());
        batch.observed.extend(body.map(|body| ObservedRow { cluster: name.clone(), body }));
        slot.committing = Some(committing);
        let (pending, name) = (self.journal.commit(batch), name.clone());
        self.committing.push(Box::pin(async move {
            let mut pending = pending;
            let result = (&mut pending).await;
            (name, result, pending)
        }));
    }

    /// A commit's answer.
    pub(super) fn landed(&mut self, (name, result, guard): Landed) -> Result<(), Fatal> {
        let Some(slot) = self.slots.get_mut(&name) else { return Ok(()) };
        if let Err(CommitError::Unknown(error)) = result {
            let unsettled = slot.unsettled(error);
            let store = self.store.clone();
            self.committing.extend(unsettled.map(|unsettled| -> BoxFuture<'static, Landed> {
                Box::pin(async move { (name, unsettled.settle(store).await, guard) })
            }));
            return Ok(());
        }
        let Some(committing) = slot.committing.take() else { return Ok(()) };
        let last_seq = match &result {
            Ok(committed) => Some(committed.last_seq),
            Err(CommitError::NotDurable(error) | CommitError::Unknown(error)) => {
                if let Some(hidden) = self.unwritten.due(self.clock.now()) {
                    tracing::error!(cluster = %name, error = %chain(error), steps.more = hidden,
                        "the journal did not take a step; nothing was done");
                }
                None
            }
            Err(CommitError::Refused(error)) => {
                self.refuse_orders(&committing.inputs, &result);
                let why = format!("its journal refused it: {}; restart quorate", chain(error));
                self.stop_cell(&name, &why);
                return Ok(());
            }
            Err(CommitError::Ended(error)) => return Err(Fatal(chain(error))),
        };
        if let Some(last_seq) = last_seq {
            self.take_over(&name, committing.step, committing.at, last_seq);
        } else {
            self.refuse_orders(&committing.inputs, &result);
            if let Some(slot) = self.slots.get_mut(&name) {
                slot.put_back(committing.inputs);
                slot.not_before = Some(self.clock.now().after(RETRY_AFTER));
            }
        }
        drop(guard); // what was not durable is rolled back by now
        self.advance(&name);
        Ok(())
    }

    /// The next cell counts from now on: published, told, and its effects performed.
    fn take_over(&mut self, name: &ClusterName, step: Step, at: Time, last_seq: u64) {
        let Some(slot) = self.slots.get_mut(name) else { return };
        if !step.records.is_empty() {
            slot.tail += step.records.len() as u64;
            slot.last_at = at;
        }
        let before = std::mem::replace(&mut slot.cell, Arc::new(step.next));
        let (incidents, runs) = &step.forgotten;
        let dropped = before.state.places_of(incidents, runs);
        let (cell, target) = (slot.cell.clone(), slot.target.clone());
        let leash = slot.leash.clone();
        self.state.note(name, &step.records);
        self.state.forget(&step.forgotten);
        self.state.publish(&cell);
        self.state.feed.records(name, &step.records, at, last_seq);
        self.narrator.tell(&before, &cell, &step.records, &step.notes, at);
        if !dropped.is_empty() {
            self.performer.drop_entries(self.store.clone(), name, dropped);
            self.compact_after_drop(name);
        }
        self.compact_if_long(name);
        let mut unbegun = Vec::new();
        for effect in step.effects {
            match effect {
                Effect::Answer(ticket, result) => {
                    self.tickets.answer(ticket, result.map_err(Into::into));
                }
                Effect::Reconcile if !self.stopping => {
                    self.performer.reconcile(name, &target, &self.intake, &leash);
                }
                effect if !self.stopping => {
                    self.performer.perform(name, &cell, &target, effect, &leash);
                }
                Effect::Call(wanted) => unbegun.extend(effects::unbegun(*wanted)),
                _ => {}
            }
        }
        if let Some(slot) = self.slots.get_mut(name) {
            slot.inbox.extend(unbegun);
        }
        self.set_timer(name);
    }

    fn refuse_orders(&mut self, inputs: &[Input], result: &Result<Committed, CommitError>) {
        let Err(error) = result else { return };
        for input in inputs {
            if let Input::Ordered(ticket, _) = input {
                let store = CommandError::Store(error.to_string());
                self.tickets.answer(*ticket, Err(store));
            }
        }
    }

    /// A cell that cannot go on: it alone stops, visibly.
    fn stop_cell(&mut self, name: &ClusterName, why: &str) {
        let Some(slot) = self.slots.get_mut(name) else { return };
        tracing::error!(cluster = %name, "this cluster is not worked on any more: {why}");
        slot.stopped = Some(why.to_owned());
        slot.leash.cancel();
        self.state.stopped(name, why);
        slot.inbox.clear();
        self.tickets.refuse(name, why);
        self.set_timer(name);
    }

    pub(super) fn set_timer(&mut self, name: &ClusterName) {
        let Some(slot) = self.slots.get_mut(name) else { return };
        let wake = if slot.inbox.is_empty() { slot.cell.wake } else { Some(slot.last_at) };
        let due = match (slot.not_before, wake) {
            (Some(held), Some(wake)) => Some(held.max(wake)),
            (Some(held), None) => Some(held),
            (None, wake) => wake,
        };
        let due = due.filter(|_| slot.committing.is_none() && slot.stopped.is_none());
        if slot.timer == due {
            return;
        }
        if let Some(old) = slot.timer.take() {
            self.timers.remove(&(old, name.clone()));
        }
        if let Some(due) = due {
            self.timers.insert((due, name.clone()));
            slot.timer = Some(due);
        }
    }
}

/// For tests and the scrape: how a cell stands in the shell.
impl Engine {
    /// The cell of a cluster as it was last durable.
    pub fn cell(&self, name: &ClusterName) -> Option<&Arc<Cell>> {
        self.slots.get(name).map(|slot| &slot.cell)
    }
}
