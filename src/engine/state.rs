//! What readers see: every cell as it was last durable, published one by one.
//!
//! A reader takes what is there and is never waited for; it neither reaches the loop nor holds it
//! up. A list over all clusters is no instant of the whole, only of each.

use std::{
    collections::BTreeMap,
    ops::Bound,
    sync::{
        Arc, PoisonError, RwLock, RwLockReadGuard,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use super::{Settings, alerts::table::AlertTable, clock::Clock, feed::Feed, journal::Journal};
use crate::domain::{
    base::{
        id::{ClusterName, IncidentId, LossId, RunId},
        time::Time,
    },
    cell::Cell,
    etcd::loss::LossRecord,
    incident::Incident,
    journal::record::Record,
    rules::response::Response,
    run::state::Run,
};

/// What readers see.
#[derive(Debug)]
pub struct State {
    /// Every alert that is known.
    pub alerts: AlertTable,
    /// The clock of the engine.
    pub clock: Clock,
    /// When the engine came up.
    pub started_at: Time,
    /// What is committed, for who follows along.
    pub feed: Arc<Feed>,
    journal: Journal,
    settings: RwLock<Arc<Settings>>,
    cells: RwLock<BTreeMap<ClusterName, Arc<Cell>>>,
    index: RwLock<Index>,
    stopped: RwLock<BTreeMap<ClusterName, String>>,
    /// When the loop last came round, in milliseconds.
    beat: AtomicI64,
}

/// The loop comes round every 10 s at least, as a rule many times a second: one that did not for
/// three times as long hangs.
const BEAT_WITHIN: Duration = Duration::from_secs(30);

/// Which cluster an id belongs to.
#[derive(Debug, Default)]
struct Index {
    incidents: BTreeMap<IncidentId, ClusterName>,
    runs: BTreeMap<RunId, ClusterName>,
    losses: BTreeMap<LossId, ClusterName>,
}

fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    pub(super) fn new(
        settings: Arc<Settings>,
        alerts: AlertTable,
        journal: Journal,
        clock: Clock,
    ) -> Arc<Self> {
        let started_at = clock.now();
        Arc::new(Self {
            alerts,
            started_at,
            clock,
            feed: Arc::default(),
            journal,
            settings: RwLock::new(settings),
            cells: RwLock::default(),
            index: RwLock::default(),
            stopped: RwLock::default(),
            beat: AtomicI64::new(started_at.0),
        })
    }

    /// The loop comes round.
    pub(super) fn beat(&self) {
        self.beat.store(self.now().0, Ordering::Relaxed);
    }

    /// Whether the loop still comes round.
    pub fn is_beating(&self) -> bool {
        self.now().since(Time(self.beat.load(Ordering::Relaxed))) <= BEAT_WITHIN
    }

    /// Shows a cell that is new to readers, with all that it holds.
    pub(super) fn show(&self, cell: &Arc<Cell>) {
        let name = cell.name();
        let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
        let state = &cell.state;
        index.incidents.extend(state.incidents.keys().map(|id| (*id, name.clone())));
        index.runs.extend(state.runs.keys().map(|id| (*id, name.clone())));
        index.losses.extend(state.losses.keys().map(|id| (*id, name.clone())));
        drop(index);
        self.publish(cell);
    }

    /// Shows a cell as it is from now on.
    pub(super) fn publish(&self, cell: &Arc<Cell>) {
        let mut cells = self.cells.write().unwrap_or_else(PoisonError::into_inner);
        match cells.get_mut(cell.name()) {
            Some(shown) => *shown = cell.clone(),
            None => drop(cells.insert(cell.name().clone(), cell.clone())),
        }
    }

    /// Shows what records brought about.
    pub(super) fn note(&self, cluster: &ClusterName, records: &[Record]) {
        let is_new = |record: &&Record| {
            matches!(record, Record::Incident(_) | Record::Run(_) | Record::LossRecorded(_))
        };
        let mut records = records.iter().filter(is_new).peekable();
        if records.peek().is_none() {
            return;
        }
        let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
        for record in records {
            match record {
                Record::Incident(record) => {
                    index.incidents.entry(record.incident).or_insert_with(|| cluster.clone());
                }
                Record::Run(record) => {
                    index.runs.entry(record.run).or_insert_with(|| cluster.clone());
                }
                Record::LossRecorded(loss) => drop(index.losses.insert(loss.id, cluster.clone())),
                _ => {}
            }
        }
    }

    /// Forgets what was dropped.
    pub(super) fn forget(&self, (incidents, runs): &(Vec<IncidentId>, Vec<RunId>)) {
        if incidents.is_empty() && runs.is_empty() {
            return;
        }
        let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
        for id in incidents {
            index.incidents.remove(id);
        }
        for id in runs {
            index.runs.remove(id);
        }
    }

    /// A cell that is not worked on any more, and why.
    pub(super) fn stopped(&self, cluster: &ClusterName, why: &str) {
        let mut stopped = self.stopped.write().unwrap_or_else(PoisonError::into_inner);
        stopped.insert(cluster.clone(), why.to_owned());
    }

    pub(super) fn set_settings(&self, settings: Arc<Settings>) {
        *self.settings.write().unwrap_or_else(PoisonError::into_inner) = settings;
    }

    /// Now.
    pub fn now(&self) -> Time {
        self.clock.now()
    }

    /// Whether the journal takes records.
    pub fn is_journal_healthy(&self) -> bool {
        self.journal.is_healthy()
    }

    /// What the engine works by now.
    pub fn settings(&self) -> Arc<Settings> {
        read(&self.settings).clone()
    }

    /// All cells, by name.
    pub fn cells(&self) -> Vec<Arc<Cell>> {
        read(&self.cells).values().cloned().collect()
    }

    /// The cells behind a name, at most so many.
    pub fn cells_after(&self, after: Option<&ClusterName>, limit: usize) -> Vec<Arc<Cell>> {
        let cells = read(&self.cells);
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let found = cells.range::<ClusterName, _>((from, Bound::Unbounded));
        found.take(limit).map(|(_, cell)| cell.clone()).collect()
    }

    /// One cell.
    pub fn cell(&self, name: &str) -> Option<Arc<Cell>> {
        read(&self.cells).get(name).cloned()
    }

    /// Why a cluster is not worked on any more.
    pub fn why_stopped(&self, name: &ClusterName) -> Option<String> {
        read(&self.stopped).get(name).cloned()
    }

    /// How many are not worked on any more.
    pub fn stopped_count(&self) -> usize {
        read(&self.stopped).len()
    }

    /// A loaded response.
    pub fn response(&self, name: &str) -> Option<Arc<Response>> {
        read(&self.settings).rules.responses.get(name).cloned()
    }

    /// The cell that an incident belongs to.
    pub fn cell_of_incident(&self, id: IncidentId) -> Option<Arc<Cell>> {
        let name = read(&self.index).incidents.get(&id).cloned()?;
        self.cell(name.as_str())
    }

    /// The cell that a run belongs to.
    pub fn cell_of_run(&self, id: RunId) -> Option<Arc<Cell>> {
        let name = read(&self.index).runs.get(&id).cloned()?;
        self.cell(name.as_str())
    }

    /// The cell that a loss belongs to.
    pub fn cell_of_loss(&self, id: LossId) -> Option<Arc<Cell>> {
        let name = read(&self.index).losses.get(&id).cloned()?;
        self.cell(name.as_str())
    }

    /// Incidents older than `before`, of one cluster or of all, newest first, as long as they are asked
    /// for.
    pub fn incidents<T>(
        &self,
        before: Option<IncidentId>,
        cluster: Option<&str>,
        mut take: impl FnMut(&Cell, &Incident) -> Option<T>,
        limit: usize,
    ) -> Vec<T> {
        if let Some(name) = cluster {
            return self.walk_one(name, |cell| {
                let found = cell.state.incidents.range(older(before)).rev();
                found.filter_map(|(_, one)| take(cell, one)).take(limit).collect()
            });
        }
        let ids = |index: &Index, before: Option<IncidentId>| chunk(&index.incidents, before);
        self.walk(before, ids, limit, |cell, id| take(cell, cell.state.incidents.get(&id)?))
    }

    /// Runs older than `before`, newest first.
    pub fn runs<T>(
        &self,
        before: Option<RunId>,
        cluster: Option<&str>,
        mut take: impl FnMut(&Cell, &Run) -> Option<T>,
        limit: usize,
    ) -> Vec<T> {
        if let Some(name) = cluster {
            return self.walk_one(name, |cell| {
                let found = cell.state.runs.range(older(before)).rev();
                found.filter_map(|(_, one)| take(cell, one)).take(limit).collect()
            });
        }
        let ids = |index: &Index, before: Option<RunId>| chunk(&index.runs, before);
        self.walk(before, ids, limit, |cell, id| take(cell, cell.state.runs.get(&id)?))
    }

    /// Losses older than `before`, newest first.
    pub fn losses<T>(
        &self,
        before: Option<LossId>,
        cluster: Option<&str>,
        mut take: impl FnMut(&Cell, &LossRecord) -> Option<T>,
        limit: usize,
    ) -> Vec<T> {
        if let Some(name) = cluster {
            return self.walk_one(name, |cell| {
                let found = cell.state.losses.range(older(before)).rev();
                found.filter_map(|(_, one)| take(cell, one)).take(limit).collect()
            });
        }
        let ids = |index: &Index, before: Option<LossId>| chunk(&index.losses, before);
        self.walk(before, ids, limit, |cell, id| take(cell, cell.state.losses.get(&id)?))
    }

    fn walk_one<T>(&self, name: &str, found: impl FnOnce(&Cell) -> Vec<T>) -> Vec<T> {
        self.cell(name).map_or_else(Vec::new, |cell| found(&cell))
    }

    /// Walks an index backwards in chunks, holding it only for as long as a chunk is copied.
    fn walk<I: Copy, T>(
        &self,
        mut before: Option<I>,
        ids: impl Fn(&Index, Option<I>) -> Vec<(I, ClusterName)>,
        limit: usize,
        mut take: impl FnMut(&Cell, I) -> Option<T>,
    ) -> Vec<T> {
        let mut found = Vec::new();
        while found.len() < limit {
            let chunk = ids(&read(&self.index), before);
            let Some((last, _)) = chunk.last() else { break };
            before = Some(*last);
            for (id, name) in &chunk {
                let Some(cell) = self.cell(name.as_str()) else { continue };
                found.extend(take(&cell, *id));
                if found.len() == limit {
                    break;
                }
            }
        }
        found
    }
}

/// Ids copied out of an index in one go.
const CHUNK: usize = 256;

fn older<I>(before: Option<I>) -> (Bound<I>, Bound<I>) {
    (Bound::Unbounded, before.map_or(Bound::Unbounded, Bound::Excluded))
}

fn chunk<I: Copy + Ord>(
    index: &BTreeMap<I, ClusterName>,
    before: Option<I>,
) -> Vec<(I, ClusterName)> {
    let found = index.range(older(before)).rev().take(CHUNK);
    found.map(|(id, name)| (*id, name.clone())).collect()
}
