//! A long history: the records of one modelled repair, many times over, and a start on them.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use quorate::{
    domain::{
        base::{
            id::{ClusterName, IncidentId, LossId, RunId},
            time::Time,
        },
        inventory::Cluster,
        journal::record::Record,
    },
    engine::clock::Clock,
    sim::{FakeTarget, State},
    store::{
        Append, Batch, Entry, Fence, NewEntry, Store, StreamName, inspect, memory, open_embedded,
    },
    targets::Target,
};
use uuid::Uuid;

use super::house::{House, alert, fleet, name, resident, tell};

/// Entries of one commit.
const CHUNK: usize = 2_000;

/// When the first of the history happened: long enough ago for all of it, not for its end of
/// retention.
const AGO: Duration = Duration::from_hours(24 * 30);

/// What stands in the journal after one repair.
pub(crate) struct Template {
    entries: Vec<Entry>,
}

impl Template {
    /// A modelled repair, in no time.
    pub(crate) fn make() -> Result<Self> {
        let mut paused = tokio::runtime::Builder::new_current_thread();
        let entries = paused.enable_all().start_paused(true).build()?.block_on(repair())?;
        Ok(Self { entries })
    }

    /// Writes it over and over, each time about another incident: `runs` times whole, and so many
    /// incidents in all.
    pub(crate) async fn fill(
        &self,
        dir: &Path,
        clusters: usize,
        incidents: usize,
        runs: usize,
    ) -> Result<()> {
        let store = open_embedded(dir, "bench")?;
        let base = Clock::start().now().before(AGO);
        let mut count = 0;
        for cluster in 0..clusters {
            let (mut entries, mut n) = (Vec::new(), 0);
            for number in 0..incidents / clusters {
                let copy = Copy { cluster, number: cluster * 1_000_000 + number, base };
                copy.of(&self.entries, number < runs / clusters, &mut entries)?;
                if entries.len() >= CHUNK {
                    n += append(&*store, cluster, n, std::mem::take(&mut entries)).await?;
                }
            }
            n += append(&*store, cluster, n, entries).await?;
            count += n;
        }
        store.close().await?;
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        tell("records", count as f64);
        Ok(())
    }
}

async fn append(store: &dyn Store, cluster: usize, n: u64, entries: Vec<NewEntry>) -> Result<u64> {
    let (stream, count) = (StreamName::Cluster(name(cluster).into()), entries.len() as u64);
    let append = Append { stream, expected_n: n, fence: Fence(0), entries };
    store.commit(Batch { appends: vec![append], ..Batch::default() }).await?;
    Ok(count)
}

async fn repair() -> Result<Vec<Entry>> {
    let target = FakeTarget::new(["m1", "m2", "m3"]).named("c1").revision(100);
    let cluster = Cluster { loss_budget_revisions: 1000, ..target.inventory() };
    let clusters = vec![(Arc::new(cluster), Arc::new(target.clone()) as Arc<dyn Target>)];
    let (store, clock) = (memory(), Clock::at(Time(1_800_000_000_000)));
    let house = House::start(store.clone(), clusters, clock).await?;
    tokio::time::sleep(Duration::from_millis(30_500)).await;
    target.set("m2", State::Gone);
    target.set("m3", State::Gone);
    house.handle.observe(vec![alert(&house.handle, "c1", "")]).await?;
    for _ in 0..10_000 {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let cell = house.handle.state().cell("c1").context("c1")?;
        if cell.state.incidents.values().any(|incident| incident.closed.is_some()) {
            ensure!(cell.state.runs.values().any(|run| run.finished.is_some()), "no repair");
            return Ok(store.read(&StreamName::Cluster("c1".into()), 0).await?);
        }
    }
    anyhow::bail!("the modelled cluster was not repaired")
}

/// One more of what the template tells.
struct Copy {
    cluster: usize,
    number: usize,
    base: Time,
}

impl Copy {
    fn of(&self, template: &[Entry], whole: bool, to: &mut Vec<NewEntry>) -> Result<()> {
        let first = template.first().context("an empty template")?.at;
        let id = Uuid::from_u128((0x0190_0000_0000_7000 << 64) | self.number as u128);
        let name = ClusterName::from(name(self.cluster));
        let ids = ids(template);
        for entry in template {
            let record = Record::decode(&entry.kind, entry.ver, &entry.body)?;
            let is_kept = match &record {
                Record::Incident(_) => whole || !is_of_run(&entry.kind),
                // each would replace the one before it
                Record::WatchSet(_) | Record::WatchReported(_) => false,
                _ => whole,
            };
            if !is_kept {
                continue;
            }
            let mut body = entry.body.replace("\"c1\"", &format!("\"{name}\""));
            for old in &ids {
                body = body.replace(old, &id.to_string());
            }
            let at = self.base.0 + (entry.at.0 - first.0) + i64::try_from(self.number % 1_000_000)?;
            to.push(NewEntry::of(&Record::decode(&entry.kind, entry.ver, &body)?, Time(at))?);
        }
        Ok(())
    }
}

fn is_of_run(kind: &str) -> bool {
    matches!(kind, "dispatched" | "rung_ended")
}

/// The ids of a template as they stand in its texts, without their prefixes.
fn ids(template: &[Entry]) -> Vec<String> {
    let mut ids = Vec::new();
    for word in template.iter().flat_map(|entry| entry.body.split('"')) {
        let incident = IncidentId::parse(word).map(|id| id.0);
        let run = RunId::parse(word).map(|id| id.0);
        let id = incident.or(run).or_else(|| LossId::parse(word).map(|id| id.0));
        if let Some(id) = id.map(|id| id.to_string())
            && !ids.contains(&id)
        {
            ids.push(id);
        }
    }
    ids
}

/// Entries that no snapshot stands for.
fn tails(dir: &Path) -> Result<u64> {
    let heads = inspect(dir)?.streams().into_iter();
    heads
        .map(|head| Ok(head.map_err(anyhow::Error::msg)?).map(|head| head.n - head.compacted))
        .sum()
}

pub(crate) async fn restart(dir: &Path, clusters: usize) -> Result<()> {
    let tails = tails(dir)?;
    let fleet = fleet(clusters);
    let began = Instant::now();
    let house = House::start(open_embedded(dir, "bench")?, fleet, Clock::start()).await?;
    tell("restart_ms", began.elapsed().as_secs_f64() * 1e3);
    tell("restart_mb", resident()?);
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    tell("tail", tails as f64);
    let cells = house.handle.state().cells();
    let (incidents, runs) = cells.iter().fold((0, 0), |(incidents, runs), cell| {
        (incidents + cell.state.incidents.size(), runs + cell.state.runs.size())
    });
    tell("incidents", f64::from(u32::try_from(incidents)?));
    tell("runs", f64::from(u32::try_from(runs)?));
    Ok(()) // as if it were killed
}

pub(crate) async fn settle(dir: &Path, clusters: usize) -> Result<()> {
    let house = House::start(open_embedded(dir, "bench")?, fleet(clusters), Clock::start()).await?;
    let began = Instant::now();
    while tails(dir)? > clusters as u64 * 100 {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    tell("snapshots_ms", began.elapsed().as_secs_f64() * 1e3);
    house.stop().await
}
