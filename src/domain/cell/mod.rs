//! A cell: everything that changes about one cluster, behind one pure function, [`Cell::step`].
//!
//! Inputs go in (alerts that touched the cluster, a look, the result of one call, a person's order,
//! the passing of time); records to commit, effects to perform and the next cell come out. Nothing
//! here waits, reads a clock or asks a system. It is the unit of ordering: two inputs of one cluster
//! never interleave, and no cluster waits for another.
//!
//! # Design
//!
//! A cell is *durable* state ([`Cell::state`], changed only by folding records) and *volatile* state
//! (the last look, streaks, timers, what is under way). A step works on a copy, which shares what
//! did not change; the shell takes the copy over once the records are durable, and drops it when they
//! are not. So memory never holds what the disk does not, and a reader that was given a cell keeps a
//! state that once was true as a whole. After a crash the volatile part is empty, and rebuilt by
//! looking.
//!
//! | file | what it does |
//! |---|---|
//! | `input`, `effect` | the closed lists of what comes in and goes out |
//! | `alerts` | files alerts, opens incidents |
//! | `looks` | when to look, and what a look changes |
//! | `incidents` | samples, confirms, closes |
//! | `decide`, `guards` | decides, dispatches |
//! | [`order`], `orders` | what people want |
//! | `follow_ups` | look-outs after a rebuild |
//! | `leftovers` | what a repair that was given up left to be done by hand |
//! | `fault` | the fault domains |
//! | [`run`] | drives a run |

mod alerts;
mod decide;
pub mod effect;
pub mod fault;
mod follow_ups;
pub mod guards;
mod incidents;
pub mod input;
mod leftovers;
mod looks;
pub mod order;
mod orders;
mod reload;
pub mod run;
mod variables;

use std::{collections::BTreeMap, fmt::Debug, sync::Arc, time::Duration};

use self::{
    effect::{Effect, Note},
    input::Input,
    order::Ticket,
    run::Driving,
};
pub use self::{leftovers::Leftover, variables::response_bindings};
use crate::domain::{
    base::{
        id::{ClusterName, EtcdId, IncidentId, MemberName, RunId},
        ids::Ids,
        shared::SharedMap,
        time::Time,
    },
    etcd::{
        evidence::{Held, Observed},
        observation::{Known, Observation},
        versions::Toolset,
    },
    incident::{Incident, Streaks, bounds::CardinalityLimit, correlation::Correlation},
    inventory::Cluster,
    journal::{cluster::ClusterState, record::Record},
    rules::{
        Rules,
        action::{Call, Catalogue},
        response::Response,
    },
};

/// What a cell works by: replaced as a whole by a reload, never changed.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Its inventory entry.
    pub cluster: Arc<Cluster>,
    /// Responses and playbooks.
    pub rules: Arc<Rules>,
    /// The actions there are.
    pub catalogue: Catalogue,
    /// Says what a call comes to, for a person.
    pub commands: Arc<dyn Commands>,
    /// Between two looks at a healthy cluster.
    pub look_every: Duration,
    /// Whether the journal lies in a data directory of the cluster.
    pub store_on_target: bool,
    /// Whether the inventory no longer names the cluster: nothing is looked at or begun any more.
    pub is_retired: bool,
}

/// The exact commands of a call, as its target would carry it out.
pub trait Commands: Send + Sync + Debug {
    /// One line each; holes as `<…>`.
    fn commands(&self, call: &Call) -> Vec<String>;
}

/// Everything that changes about one cluster.
#[derive(Clone, Debug)]
pub struct Cell {
    /// What it works by.
    pub setup: Arc<Setup>,
    /// Durable: the fold of its journal.
    pub state: ClusterState,
    /// What it last saw, and when it looks again.
    pub sight: Sight,
    /// The alerts about it.
    pub signals: Correlation,
    /// What samples said, per open incident.
    pub streaks: SharedMap<IncidentId, Streaks>,
    /// What its run has under way.
    pub driving: Driving,
    /// When it wants to be stepped again, whatever comes in.
    pub wake: Option<Time>,
    /// Whether quorate stops: its run stays where it is.
    pub is_stopping: bool,
    subjects_limit: CardinalityLimit,
    incidents_limit: CardinalityLimit,
    ids: Ids,
}

/// What a cell last saw, and when it looks again.
#[derive(Clone, Debug)]
pub struct Sight {
    /// The last look.
    pub look: Option<Arc<Observation>>,
    /// What was seen while the cluster had a leader.
    pub observed: Option<Arc<Observed>>,
    /// The same as it was last written down.
    kept: Option<Arc<Observed>>,
    /// The highest revision that Prometheus holds from before the outage.
    pub prometheus_max: Option<i64>,
    /// The tools or why they cannot be used, as last asked; `None` until asked.
    pub tools: Option<Result<Toolset, String>>,
    /// Members that answer under a cluster id that is not the cluster's.
    pub foreign: BTreeMap<MemberName, EtcdId>,
    /// Looks in a row that found the subject back while a run has not passed the point of no return.
    pub well_again: u32,
    /// Why the last look brought nothing, where it did.
    pub failed: Option<String>,
    looking: Option<Time>,
    /// Looks that began earlier were at another inventory entry.
    seen_from: Time,
    look_due: Time,
    full_due: Time,
    reconciling: bool,
    reconcile_due: Time,
    proving: bool,
    /// Who waits for a full look that began after this time.
    waiting: Vec<(Ticket, Time)>,
}

/// What a step comes to.
#[derive(Debug)]
pub struct Step {
    /// The cell once the records are durable.
    pub next: Cell,
    /// What to commit, in order, as one.
    pub records: Vec<Record>,
    /// The observed row to overwrite in the same commit.
    pub observed: Option<Arc<Observed>>,
    /// What to perform once the commit is durable.
    pub effects: Vec<Effect>,
    /// What to count and log once the commit is durable.
    pub notes: Vec<Note>,
    /// Whose entries may be dropped from the journal.
    pub forgotten: (Vec<IncidentId>, Vec<RunId>),
}

impl Cell {
    /// A cell from what its journal comes to.
    pub fn new(
        setup: Arc<Setup>,
        state: ClusterState,
        observed: Option<Observed>,
        seed: u64,
        now: Time,
    ) -> Self {
        let observed = observed.map(Arc::new);
        let sight = Sight {
            look: None,
            kept: observed.clone(),
            observed,
            prometheus_max: None,
            tools: None,
            foreign: BTreeMap::new(),
            well_again: 0,
            failed: None,
            looking: None,
            seen_from: Time::default(),
            look_due: now,
            full_due: now,
            reconciling: false,
            reconcile_due: now,
            proving: false,
            waiting: Vec::new(),
        };
        Self {
            setup,
            state,
            sight,
            signals: Correlation::default(),
            streaks: SharedMap::new_sync(),
            driving: Driving::default(),
            wake: Some(now),
            is_stopping: false,
            subjects_limit: CardinalityLimit::default(),
            incidents_limit: CardinalityLimit::default(),
            ids: Ids::new(seed),
        }
    }

    /// Takes inputs in, in order, and does what is due. Pure: the same cell, inputs and time give
    /// the same step.
    pub fn step(&self, inputs: &[Input], now: Time) -> Step {
        let mut draft = Draft::new(self.clone(), now);
        for input in inputs {
            draft.take(input);
        }
        draft.decide_due();
        draft.drive();
        draft.start_looks();
        draft.finish()
    }

    /// The cluster's name.
    pub fn name(&self) -> &ClusterName {
        &self.setup.cluster.name
    }

    /// The cluster's inventory entry.
    pub fn inventory(&self) -> &Arc<Cluster> {
        &self.setup.cluster
    }

    /// A loaded response.
    pub fn response(&self, name: &str) -> Option<&Arc<Response>> {
        self.setup.rules.responses.get(name)
    }

    /// What is known beside a look.
    pub fn known(&self) -> Known<'_> {
        Known {
            observed: self.sight.observed.as_deref(),
            prometheus_max: self.sight.prometheus_max,
            attested: &self.state.attested,
            built: self.state.open_run().and_then(|run| run.built),
        }
    }

    /// What the open run holds.
    pub fn held(&self) -> Held {
        self.state.open_run().map(|run| run.held.clone()).unwrap_or_default()
    }

    /// The last look.
    pub fn look(&self) -> Option<&Observation> {
        self.sight.look.as_deref()
    }

    /// What the looks said of an incident's subject since the start.
    pub fn streaks_of(&self, incident: IncidentId) -> Streaks {
        self.streaks.get(&incident).copied().unwrap_or_default()
    }
}

/// A cell under change, with what the change leads to.
struct Draft {
    cell: Cell,
    now: Time,
    records: Vec<Record>,
    effects: Vec<Effect>,
    notes: Vec<Note>,
    observed: Option<Arc<Observed>>,
    forgotten: (Vec<IncidentId>, Vec<RunId>),
    /// When something asked to be looked at again.
    wakes: Option<Time>,
}

impl Draft {
    fn new(cell: Cell, now: Time) -> Self {
        Self {
            cell,
            now,
            records: Vec::new(),
            effects: Vec::new(),
            notes: Vec::new(),
            observed: None,
            forgotten: (Vec::new(), Vec::new()),
            wakes: None,
        }
    }

    fn take(&mut self, input: &Input) {
        match input {
            Input::Alerts { alerts, forgotten, arrived } => {
                self.take_alerts(alerts, forgotten, *arrived);
            }
            Input::Looked(looked) => self.take_look(looked),
            Input::LookFailed(why) => self.look_failed(why),
            Input::RunLooked(looked) => self.take_run_look(looked),
            Input::Called(answer) => self.take_answer(answer),
            Input::Reconciled => self.cell.sight.reconciling = false,
            Input::Proved(watch, equal) => self.proved(watch, *equal),
            Input::Ordered(ticket, order) => self.order(*ticket, order.clone()),
            Input::Reload(setup) => self.reload(setup.clone()),
            Input::Started => self.close_orphans(),
            Input::Compacted(rested) => {
                self.cell.state.keep_in_brief(&rested.incidents, &rested.runs);
            }
            Input::Sweep(before) => {
                let (incidents, runs) = self.cell.state.forget(*before);
                self.forgotten.0.extend(incidents);
                self.forgotten.1.extend(runs);
                self.forget_alerts();
            }
            Input::Stopping => self.cell.is_stopping = true,
            Input::Wake => {}
        }
    }

    /// Adds a record, and folds it in.
    fn write(&mut self, record: Record) {
        let legal = self.cell.state.apply(&record, self.now);
        legal.expect("a cell only writes down what can happen");
        self.records.push(record);
    }

    /// Asks to be stepped again at this time at the latest.
    fn wake_at(&mut self, at: Time) {
        // never at once: whoever asks for that has not made its own progress
        let at = at.max(self.now.after(Duration::from_millis(1)));
        self.wakes = Some(self.wakes.map_or(at, |before| before.min(at)));
    }

    fn incident(&self, id: IncidentId) -> Option<&Incident> {
        self.cell.state.incidents.get(&id)
    }

    fn finish(mut self) -> Step {
        self.wake_for_looks();
        self.cell.wake = self.wakes;
        Step {
            next: self.cell,
            records: self.records,
            observed: self.observed,
            effects: self.effects,
            notes: self.notes,
            forgotten: self.forgotten,
        }
    }
}
