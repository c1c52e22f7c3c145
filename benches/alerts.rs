//! What the intake costs by itself: no server, no senders, the embedded store on a real disk.
//!
//! ```text
//! alerts owners                      nanoseconds to find an alert's cluster among 10 to 10,000
//! alerts held FOLDER ALERTS          so many different alerts of seven labels: alerts per second, MB resident
//! alerts restart FOLDER              milliseconds until they are read back, MB resident at most and after
//! alerts rate FOLDER SENDERS ALERTS SECONDS    durable alerts per second, so many in a delivery, all of them news
//! alerts refused FOLDER ALERTS       milliseconds of a delivery on a full disk with so many alerts held
//! ```
#![expect(clippy::print_stdout, reason = "it prints what it measured")]

use std::{
    fs,
    hint::black_box,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use quorate::{
    domain::{
        alert::{
            Incoming,
            labels::{Labels, Matchers},
        },
        base::time::Time,
        incident::owners::Owners,
    },
    engine::{
        alerts::{Handed, IntakeHandle, Parts, limits::Limits},
        clock::Clock,
        journal::Journal,
    },
    store::{Store, open_embedded, open_embedded_bounded},
    telemetry::metrics::Metrics,
};
use tokio::sync::mpsc;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Clusters of the inventory, save where their number is what is measured.
const CLUSTERS: usize = 100;

/// Alerts in one delivery while the alerts are filled in, as large groups have.
const FILL_EACH: usize = 500;

/// Different deliveries of one sender: each label set rests while the others are sent.
const DELIVERIES_EACH: usize = 8;

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    match args.as_slice() {
        ["owners"] => {
            for clusters in [10, 100, 1000, 10_000] {
                println!("{clusters} clusters: {:.0} ns", find_owners(clusters)?);
            }
            Ok(())
        }
        ["held", dir, alerts] => runtime.block_on(hold(dir.as_ref(), alerts.parse()?)),
        ["restart", dir] => runtime.block_on(restart(dir.as_ref())),
        ["rate", dir, senders, alerts, seconds] => {
            let lasts = Duration::from_secs(seconds.parse()?);
            runtime.block_on(rate(dir.as_ref(), senders.parse()?, alerts.parse()?, lasts))
        }
        ["refused", dir, alerts] => runtime.block_on(refuse(dir.as_ref(), alerts.parse()?)),
        _ => {
            println!("alerts measures the intake: see the head of benches/alerts.rs");
            Ok(())
        }
    }
}

fn inventory(clusters: usize) -> Result<Owners> {
    let named = (0..clusters).map(|number| {
        let matches = Matchers::parse(&format!("{{cluster=\"prod-eu-{number:05}\"}}"))?;
        Ok((format!("prod-eu-{number:05}").into(), matches))
    });
    Ok(Owners::new(named.collect::<Result<Vec<_>>>()?))
}

/// Seven labels, as an etcd alert of the usual rules has.
fn labels(number: usize, clusters: usize) -> Labels {
    Labels::new([
        ("alertname", "etcdInsufficientMembers"),
        ("cluster", &format!("prod-eu-{:05}", number % clusters)),
        ("instance", &format!("host-{number:07}.example:2379")),
        ("job", "kube-etcd"),
        ("namespace", "kube-system"),
        ("prometheus", "monitoring/k8s"),
        ("severity", "critical"),
    ])
}

fn find_owners(clusters: usize) -> Result<f64> {
    const ROUNDS: usize = 50;
    let owners = inventory(clusters)?;
    let alerts: Vec<Labels> = (0..10_000).map(|number| labels(number, clusters)).collect();
    let mut best = f64::INFINITY;
    for _ in 0..ROUNDS {
        let began = Instant::now();
        for alert in &alerts {
            ensure!(black_box(owners.place(alert)).is_some());
        }
        best = best.min(began.elapsed().as_secs_f64() * 1e9 / 10_000.0);
    }
    Ok(best)
}

/// An intake with cells that only count.
struct Bench {
    intake: IntakeHandle,
    store: Arc<dyn Store>,
    cancel: CancellationToken,
    tasks: TaskTracker,
}

impl Bench {
    async fn start(store: Arc<dyn Store>) -> Result<Self> {
        let (sender, handed) = mpsc::channel(1000);
        let (cancel, tasks) = (CancellationToken::new(), TaskTracker::new());
        let parts = Parts {
            journal: Journal::new(Arc::clone(&store)),
            owners: Arc::new(inventory(CLUSTERS)?),
            clock: Clock::start(),
            limits: Limits::default(),
            handed: sender,
            metrics: Arc::new(Metrics::new("bench", "bench")),
            cancel: cancel.clone(),
        };
        let intake = IntakeHandle::start(parts, store.alert_rows(), &tasks).await?;
        tasks.spawn(count(handed));
        Ok(Self { intake, store, cancel, tasks })
    }

    async fn stop(self) -> Result<()> {
        self.cancel.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        Ok(self.store.close().await?)
    }
}

async fn count(mut handed: mpsc::Receiver<Handed>) -> usize {
    let mut alerts = 0;
    while let Some(handed) = handed.recv().await {
        alerts += handed.alerts.len();
    }
    alerts
}

fn incoming(labels: Labels, firing: bool, at: i64) -> Incoming {
    let (starts_at, ends_at) = (Time(at), (!firing).then_some(Time(at + 500)));
    Incoming { labels, firing, starts_at, ends_at, silenced: None }
}

/// Milliseconds since the epoch, long enough ago that no sender's clock is ahead.
const PAST: i64 = 1_700_000_000_000;

async fn fill(intake: &IntakeHandle, alerts: usize) -> Result<()> {
    for from in (0..alerts).step_by(FILL_EACH) {
        let each = from..alerts.min(from + FILL_EACH);
        let delivery = each.map(|number| incoming(labels(number, CLUSTERS), true, PAST));
        let receipt = intake.observe(delivery.collect()).await?;
        ensure!(receipt.refused == 0 && receipt.unmatched == 0, "{receipt:?}");
    }
    Ok(())
}

async fn hold(dir: &Path, alerts: usize) -> Result<()> {
    let bench = Bench::start(open_embedded(dir, "bench")?).await?;
    let began = Instant::now();
    fill(&bench.intake, alerts).await?;
    let rate = u128::try_from(alerts)? * 1000 / began.elapsed().as_millis().max(1);
    let counts = bench.intake.table().counts();
    ensure!(counts.firing == alerts, "{counts:?}");
    println!(
        "{rate} alerts/s, {} MB resident, {} MB counted",
        memory("VmRSS")?,
        counts.bytes >> 20
    );
    bench.stop().await
}

async fn restart(dir: &Path) -> Result<()> {
    let began = Instant::now();
    let bench = Bench::start(open_embedded(dir, "bench")?).await?;
    let took = began.elapsed().as_millis();
    let counts = bench.intake.table().counts();
    let (peak, now) = (memory("VmHWM")?, memory("VmRSS")?);
    println!(
        "{} alerts in {took} ms, {peak} MB at most, {now} MB after",
        counts.firing + counts.resolved
    );
    bench.stop().await
}

async fn rate(dir: &Path, senders: usize, alerts: usize, lasts: Duration) -> Result<()> {
    let bench = Bench::start(open_embedded(dir, "bench")?).await?;
    let began = Instant::now();
    let mut tasks = Vec::new();
    for sender in 0..senders {
        let intake = bench.intake.clone();
        tasks.push(tokio::spawn(async move {
            let (mut sent, mut at) = (0, PAST);
            while began.elapsed() < lasts {
                for firing in [true, false] {
                    at += 1000;
                    for delivery in 0..DELIVERIES_EACH {
                        let first = (sender * DELIVERIES_EACH + delivery) * alerts;
                        let each = first..first + alerts;
                        let news = each.map(|n| incoming(labels(n, CLUSTERS), firing, at));
                        sent += intake.observe(news.collect()).await?.accepted;
                    }
                }
            }
            anyhow::Ok(sent)
        }));
    }
    let mut sent = 0;
    for task in tasks {
        sent += task.await??;
    }
    println!("{} alerts/s", u128::try_from(sent)? * 1000 / began.elapsed().as_millis().max(1));
    bench.stop().await
}

async fn refuse(dir: &Path, alerts: usize) -> Result<()> {
    const ROUNDS: u32 = 50;
    let bench = Bench::start(open_embedded(dir, "bench")?).await?;
    fill(&bench.intake, alerts).await?;
    bench.stop().await?;
    let pages = u32::try_from(fs::metadata(dir.join("journal.db"))?.len() / 8192)?;
    let bench = Bench::start(open_embedded_bounded(dir, "bench", pages)?).await?;
    let large = |round: u32| {
        let value = "x".repeat(1 << 20);
        let labels =
            Labels::new([("cluster", "prod-eu-00000"), ("n", &format!("{round}")), ("v", &value)]);
        vec![incoming(labels, true, PAST)]
    };
    let mut took = Vec::new();
    for round in 0..ROUNDS {
        let delivery = large(round);
        let began = Instant::now();
        if bench.intake.observe(delivery).await.is_ok() {
            bail!("the disk is not full");
        }
        took.push(began.elapsed());
        // beyond the pause between two heals in every other round
        tokio::time::sleep(Duration::from_millis(u64::from(round % 2) * 1100)).await;
    }
    let most = took.iter().max().context("no rounds")?;
    println!("{:.1} ms at most", most.as_secs_f64() * 1e3);
    bench.stop().await
}

/// A figure of this process, in MB.
fn memory(what: &str) -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(what)?.strip_prefix(':'));
    let kib: u64 = line.context("no such figure")?.trim().trim_end_matches(" kB").parse()?;
    Ok(kib / 1024)
}
