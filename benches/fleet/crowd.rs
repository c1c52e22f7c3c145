//! Many clusters: what each look and each webhook costs, and a thousand incidents at once.

use std::{
    collections::BTreeMap,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use quorate::{
    domain::{base::time::Time, cell::Cell},
    engine::clock::Clock,
    store::open_embedded,
};

use super::house::{House, LOOK_EVERY, alert, fleet, name, processor, resident, tell};

/// Webhooks of which the time is taken.
const WEBHOOKS: usize = 2_000;

/// How long nothing is sent.
const IDLE: Duration = Duration::from_secs(30);

/// Two looks at an open incident of the shipped response are no further apart than this.
const MAX_GAP_MS: i64 = 30_000;

pub(crate) async fn clusters(dir: &Path, clusters: usize) -> Result<()> {
    let began = Instant::now();
    let house = House::start(open_embedded(dir, "bench")?, fleet(clusters), Clock::start()).await?;
    tell("ready_ms", began.elapsed().as_secs_f64() * 1e3);
    seen(&house, clusters).await;
    let (before, looks, clock) = (processor()?, looks(&house), Instant::now());
    tokio::time::sleep(IDLE).await;
    let (spent, took) = (processor()? - before, clock.elapsed().as_secs_f64());
    tell("resident_mb", resident()?);
    tell("idle_cores", spent / took);
    let looked = self::looks(&house).into_iter().zip(looks).filter(|(now, then)| now != then);
    // each changed at least once; a healthy one three times
    let changed = looked.count().max(1);
    let of_them = took / LOOK_EVERY.as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    tell("look_us", spent * 1e6 / (changed as f64 * of_them));
    let waits = send(&house, clusters).await?;
    tell("webhook_us", share(&waits, 50));
    tell("webhook_p99_us", share(&waits, 99));
    house.stop().await
}

/// Waits until every cluster was looked at.
async fn seen(house: &House, clusters: usize) {
    while looks(house).iter().filter(|at| at.is_some()).count() < clusters {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// When each cluster was last looked at.
fn looks(house: &House) -> Vec<Option<Time>> {
    let cells = house.handle.state().cells();
    cells.iter().map(|cell| cell.look().map(|look| look.evidence.at)).collect()
}

/// One alert each, about healthy clusters in turn; microseconds until it was acknowledged.
async fn send(house: &House, clusters: usize) -> Result<Vec<f64>> {
    let mut waits = Vec::with_capacity(WEBHOOKS);
    for number in 0..WEBHOOKS {
        let cluster = name(number * 3 % clusters / 3 * 3);
        let one = alert(&house.handle, &cluster, &number.to_string());
        let began = Instant::now();
        let receipt = house.handle.observe(vec![one]).await?;
        waits.push(began.elapsed().as_secs_f64() * 1e6);
        ensure!(receipt.accepted == 1 && receipt.unmatched == 0, "{receipt:?}");
    }
    waits.sort_by(f64::total_cmp);
    Ok(waits)
}

fn share(sorted: &[f64], of: usize) -> f64 {
    sorted.get(sorted.len() * of / 100).copied().unwrap_or_default()
}

pub(crate) async fn storm(dir: &Path, clusters: usize, incidents: usize) -> Result<()> {
    let house = House::start(open_embedded(dir, "bench")?, fleet(clusters), Clock::start()).await?;
    seen(&house, clusters).await;
    let idle = send(&house, clusters).await?;
    tell("idle_p99_us", share(&idle, 99));
    // about clusters that have lost their majority or stay silent
    let sick: Vec<usize> = (0..clusters).filter(|number| number % 3 != 0).take(incidents).collect();
    ensure!(sick.len() == incidents, "{clusters} clusters are too few");
    let began = Instant::now();
    let sending = async {
        for number in &sick {
            house.handle.observe(vec![alert(&house.handle, &name(*number), "")]).await?;
        }
        while decided(&house, &sick) < incidents {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        anyhow::Ok(began.elapsed())
    };
    let (took, others) = tokio::join!(sending, send(&house, clusters));
    tell("last_decision_s", took?.as_secs_f64());
    tell("storm_p99_us", share(&others?, 99));
    let missed = gaps(&house, &sick).await?;
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    tell("gaps_missed", missed as f64);
    house.stop().await
}

fn cells(house: &House, numbers: &[usize]) -> impl Iterator<Item = std::sync::Arc<Cell>> {
    let state = house.handle.state().clone();
    let names: Vec<String> = numbers.iter().map(|number| name(*number)).collect();
    names.into_iter().filter_map(move |name| state.cell(&name))
}

fn decided(house: &House, numbers: &[usize]) -> usize {
    let has = |cell: &std::sync::Arc<Cell>| {
        cell.state.open_incidents().any(|incident| incident.standing.is_some())
    };
    cells(house, numbers).filter(has).count()
}

/// How many of these clusters were once not looked at for longer than their incident allows, within
/// two minutes.
async fn gaps(house: &House, numbers: &[usize]) -> Result<usize> {
    let mut last: BTreeMap<String, (Time, bool)> = BTreeMap::new();
    let until = Instant::now() + Duration::from_mins(2);
    while Instant::now() < until {
        let now = house.handle.state().now();
        for cell in cells(house, numbers) {
            let at = cell.look().context("it was looked at")?.evidence.at;
            let (_, missed) = last.get(cell.name().as_str()).copied().unwrap_or_default();
            let missed = missed || now.0 - at.0 > MAX_GAP_MS;
            last.insert(cell.name().to_string(), (at, missed));
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    Ok(last.values().filter(|(_, missed)| *missed).count())
}
