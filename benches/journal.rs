//! What a start has to read, and what a commit costs, in the embedded store alone: no server, no rules.
//!
//! It fills a folder with a long history (alerts, the records of closed incidents and of runs over many
//! clusters), reads all of it as a start does, replaces it by snapshots, and reads again. What the
//! records mean is the engine's part and not measured here. Bodies are as long as real ones.
//!
//! Run it as `cargo bench --bench journal -- read DIR …`, with a DIR on the disk that is meant.
//!
//! ```text
//! journal read DIR CLUSTERS ALERTS INCIDENTS RUNS    milliseconds to read all, before and after snapshots
//! journal commit DIR COMMITS                         microseconds for each, alone and together
//! ```
#![expect(clippy::print_stdout, reason = "it prints what it measured")]

use std::{path::Path, sync::Arc, time::Instant};

use anyhow::{Context, Result, ensure};
use futures::{TryStreamExt, future::try_join_all, stream, stream::StreamExt};
use quorate::{
    domain::{
        base::{
            id::{IncidentId, RunId},
            time::Time,
        },
        incident::{IncidentEvent, IncidentRecord},
        journal::record::Record,
        run::event::{RunEvent, RunRecord},
    },
    store::{
        AlertRow, Append, Batch, Fence, NewEntry, Store, StoreError, StreamName, open_embedded,
    },
};
use serde_json::json;

/// Records of one closed incident that was decided several times, and of one run of the shipped
/// playbook, as the journal of a repair has them.
const OF_AN_INCIDENT: usize = 6;
const OF_A_RUN: usize = 60;

/// Entries of one commit while the folder is filled.
const FILL_EACH: usize = 2_000;

/// A snapshot's share of one incident or run, in bytes.
const SNAPSHOT_EACH: usize = 300;

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    match args.as_slice() {
        ["read", dir, clusters, alerts, incidents, runs] => {
            let history = History {
                clusters: clusters.parse().context("CLUSTERS")?,
                alerts: alerts.parse().context("ALERTS")?,
                incidents: incidents.parse().context("INCIDENTS")?,
                runs: runs.parse().context("RUNS")?,
            };
            runtime.block_on(history.measure(Path::new(dir)))
        }
        ["commit", dir, commits] => {
            runtime.block_on(commit(Path::new(dir), commits.parse().context("COMMITS")?))
        }
        _ => {
            println!("journal measures a folder that it fills: journal read|commit DIR …");
            Ok(())
        }
    }
}

struct History {
    clusters: usize,
    alerts: usize,
    incidents: usize,
    runs: usize,
}

fn stream_of(cluster: usize) -> StreamName {
    StreamName::Cluster(format!("cluster-{cluster:05}").as_str().into())
}

impl History {
    async fn measure(&self, dir: &Path) -> Result<()> {
        let store = open_embedded(dir, "bench")?;
        self.fill(&*store).await?;
        store.close().await?;
        drop(store);

        let store = timed("open", || open_embedded(dir, "bench").map_err(Into::into))?;
        self.read(&*store).await?;
        let began = Instant::now();
        let all = stream::iter(0..self.clusters);
        let claims = all.map(|cluster| store.claim(&stream_of(cluster))).buffered(2_000);
        let claims: Vec<Fence> = claims.try_collect().await?;
        report(&format!("claim {} streams", claims.len()), began);
        self.compact(&store).await?;
        self.read(&*store).await?;
        store.close().await?;
        Ok(())
    }

    async fn fill(&self, store: &dyn Store) -> Result<()> {
        let body = vec![b'x'; 420];
        for first in (0..self.alerts).step_by(FILL_EACH) {
            let ids = first..self.alerts.min(first + FILL_EACH);
            let alerts = ids.map(|id| row(id, body.clone())).collect::<Result<_>>()?;
            store.commit(Batch { alerts, ..Batch::default() }).await?;
        }
        let incident = decided()?;
        let run = step_done()?;
        let (incidents, runs) = (self.incidents * OF_AN_INCIDENT, self.runs * OF_A_RUN);
        for cluster in 0..self.clusters {
            let share = |all: usize| all / self.clusters;
            let of = |entry: &NewEntry, count| vec![entry.clone(); count];
            let mut entries = of(&incident, share(incidents));
            entries.extend(of(&run, share(runs)));
            let mut n = 0;
            for chunk in entries.chunks(FILL_EACH) {
                let (stream, expected_n) = (stream_of(cluster), n);
                let (fence, entries) = (Fence(0), chunk.to_vec());
                let appends = vec![Append { stream, expected_n, fence, entries }];
                store.commit(Batch { appends, ..Batch::default() }).await?;
                n += chunk.len() as u64;
            }
        }
        Ok(())
    }

    /// As a start reads.
    async fn read(&self, store: &dyn Store) -> Result<()> {
        let began = Instant::now();
        let heads = store.streams().await?;
        let snapshots: usize =
            heads.iter().filter_map(|head| Some(head.snapshot.as_ref()?.len())).sum();
        report(&format!("read {} heads, {snapshots} bytes of snapshots", heads.len()), began);
        let began = Instant::now();
        let (mut entries, mut bytes) = (0, 0);
        let mut all = store.read_tails();
        while let Some(chunk) = all.try_next().await? {
            entries += chunk.len();
            bytes += chunk.iter().map(|entry| entry.body.len()).sum::<usize>();
        }
        report(&format!("read {entries} entries, {bytes} bytes"), began);
        let began = Instant::now();
        let mut rows = 0;
        let mut all = store.alert_rows();
        while let Some(chunk) = all.try_next().await? {
            rows += chunk.len();
        }
        report(&format!("read {rows} alert rows"), began);
        ensure!(rows == self.alerts, "rows are missing");
        Ok(())
    }

    async fn compact(&self, store: &Arc<dyn Store>) -> Result<()> {
        let of_one = (self.incidents + self.runs) / self.clusters * SNAPSHOT_EACH;
        let heads = store.streams().await?;
        let (began, count) = (Instant::now(), heads.len());
        let mut longest = Instant::now().elapsed();
        for head in heads {
            let one = Instant::now();
            store.compact(&head.stream, head.n, head.fence, vec![b'x'; of_one]).await?;
            longest = longest.max(one.elapsed());
        }
        report(&format!("compact {count} streams, the longest {} ms", longest.as_millis()), began);
        Ok(())
    }
}

fn row(id: usize, body: Vec<u8>) -> Result<AlertRow> {
    Ok(AlertRow { id: i64::try_from(id)?, body: Some(body) })
}

fn decided() -> Result<NewEntry, StoreError> {
    let event = IncidentEvent::Decided {
        action: "wait".into(),
        reason: Some("grace".into()),
        text: "lost has been seen for 20 s of 30 s, 3 of 3 samples; decided anew then".into(),
        until: Some(Time(1_795_000_030_000)),
    };
    let incident = IncidentId::parse("inc_0193b8c5-0000-7000-8000-000000000001").expect("an id");
    NewEntry::of(&Record::Incident(IncidentRecord { incident, event }), Time(1_795_000_000_000))
}

fn step_done() -> Result<NewEntry, StoreError> {
    let event = RunEvent::StepDone {
        step: "rejoin[m2].add".parse().expect("it is a path"),
        output: json!({"id": "8e9e05c52164694d", "members": ["m1", "m2"], "text": "x".repeat(250)}),
        changed: true,
        released: None,
        built: None,
    };
    let run = RunId::parse("run_0193b8c5-0000-7000-8000-000000000001").expect("an id");
    NewEntry::of(&Record::Run(RunRecord { run, event }), Time(1_795_000_000_000))
}

async fn commit(dir: &Path, commits: usize) -> Result<()> {
    let store = open_embedded(dir, "bench")?;
    for together in [1, 16, 64] {
        let began = Instant::now();
        for first in (0..commits).step_by(together) {
            let mut pending = Vec::new();
            for id in first..first + together {
                let alerts = vec![row(id, vec![b'x'; 420])?];
                pending.push(store.commit(Batch { alerts, ..Batch::default() }));
            }
            try_join_all(pending).await?;
        }
        let each = began.elapsed().as_micros() / commits.max(1) as u128;
        println!("{together:>3} together: {each} µs for each commit");
    }
    store.close().await?;
    Ok(())
}

fn timed<T>(what: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let began = Instant::now();
    let done = work()?;
    report(what, began);
    Ok(done)
}

fn report(what: &str, began: Instant) {
    println!("{:>8.1} ms  {what}", began.elapsed().as_secs_f64() * 1e3);
}
