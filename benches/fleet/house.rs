//! An engine on modelled clusters, and what its process takes.

use std::{fs, path::Path, sync::Arc, time::Duration};

use anyhow::{Context, Result, ensure};
use quorate::{
    domain::{
        alert::{Incoming, labels::Labels},
        inventory::{Cluster, Mode},
        rules::{self, Rules},
    },
    engine::{Engine, Fatal, Handle, Settings, clock::Clock},
    sim::FakeTarget,
    store::Store,
    targets::{Target, catalogue::catalogue},
    telemetry::metrics::Metrics,
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How long a silent member is waited for.
pub(crate) const SILENT_FOR: Duration = Duration::from_secs(2);

/// Between two looks, as by default.
pub(crate) const LOOK_EVERY: Duration = Duration::from_secs(10);

/// An engine that runs.
pub(crate) struct House {
    pub(crate) handle: Handle,
    cancel: CancellationToken,
    task: JoinHandle<Result<(), Fatal>>,
}

impl House {
    pub(crate) async fn start(
        store: Arc<dyn Store>,
        clusters: Vec<(Arc<Cluster>, Arc<dyn Target>)>,
        clock: Clock,
    ) -> Result<Self> {
        let settings = Settings {
            rules: Arc::new(shipped()?),
            catalogue: catalogue(),
            watch_every: LOOK_EVERY,
            watch_concurrent: 64,
            runs_concurrent: 16,
            retention: Duration::from_hours(90 * 24),
            store_on_target: false,
            shutdown_grace: Duration::from_secs(5),
        };
        let metrics = Arc::new(Metrics::new("bench", "bench"));
        let (engine, handle) = Engine::start(settings, clusters, store, metrics, clock).await?;
        let cancel = CancellationToken::new();
        let task = tokio::spawn(engine.run(cancel.clone()));
        Ok(Self { handle, cancel, task })
    }

    pub(crate) async fn stop(self) -> Result<()> {
        self.cancel.cancel();
        Ok(self.task.await??)
    }
}

/// The rules as they are shipped.
fn shipped() -> Result<Rules> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("rules");
    let mut files = Vec::new();
    for folder in ["responses", "playbooks"] {
        for file in fs::read_dir(root.join(folder))? {
            let path = file?.path();
            files.push((path.display().to_string(), fs::read_to_string(path)?));
        }
    }
    let (loaded, found) = rules::load(&files, &catalogue());
    ensure!(!rules::has_errors(&found), "{found:#?}");
    Ok(loaded)
}

pub(crate) fn name(number: usize) -> String {
    format!("cluster-{number:05}")
}

/// A third that answer, a third that have lost their majority, a third that stay silent. Nothing is
/// repaired: each would ask first.
pub(crate) fn fleet(clusters: usize) -> Vec<(Arc<Cluster>, Arc<dyn Target>)> {
    let one = |number: usize| {
        let target = FakeTarget::new(["m1", "m2", "m3"]).named(&name(number)).revision(100);
        let target = match number % 3 {
            0 => target,
            1 => target.stopped("m2").stopped("m3"),
            _ => target.silent("m1").silent("m2").silent("m3"),
        };
        if number % 3 == 2 {
            target.set_slow(SILENT_FOR);
        }
        let cluster = Cluster { mode: Mode::Propose, ..target.inventory() };
        (Arc::new(cluster), Arc::new(target) as Arc<dyn Target>)
    };
    (0..clusters).map(one).collect()
}

/// An alert about a cluster, of those that open an incident.
pub(crate) fn alert(handle: &Handle, cluster: &str, extra: &str) -> Incoming {
    let labels = [("alertname", "etcdInsufficientMembers"), ("cluster", cluster), ("n", extra)];
    Incoming {
        labels: Labels::new(labels),
        firing: true,
        starts_at: handle.state().now(),
        ends_at: None,
        silenced: None,
    }
}

/// A line of the answer.
pub(crate) fn tell(what: &str, figure: f64) {
    println!("{what} {figure:.2}");
}

/// Resident memory of this process, in MB.
pub(crate) fn resident() -> Result<f64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib: f64 = line.context("no VmRSS")?.trim().trim_end_matches(" kB").parse()?;
    Ok(kib / 1024.0)
}

/// Processor time of this process so far, in seconds.
pub(crate) fn processor() -> Result<f64> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<&str> = stat.rsplit(')').next().context("no fields")?.split(' ').collect();
    let ticks = |at: usize| fields.get(at).and_then(|text| text.parse::<f64>().ok());
    // of 100 a second, on every Linux
    Ok((ticks(12).context("no utime")? + ticks(13).context("no stime")?) / 100.0)
}
