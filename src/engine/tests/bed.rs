//! A test bed: one cluster, the shipped rules, and a person's verbs.

use std::{
    path::PathBuf,
    sync::{Arc, OnceLock},
    time::Duration,
};

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::gate::{Gate, GatedPatient, GatedStore};
use crate::{
    domain::{
        alert::{Incoming, labels::Labels},
        base::time::Time,
        incident::{Closed, Incident},
        inventory::{Cluster, Endpoint, Mode, sample},
        journal::{cluster::ClusterState, record::Attribution},
        rules::{self, Rules},
        run::state::Run,
    },
    engine::{
        Engine, Fatal, Handle, Reload, Settings,
        clock::Clock,
        commands::{Command, CommandError, Reply},
    },
    sim::{FakeTarget, State},
    store::{MemoryStore, memory},
    targets::{self, AlertState, Target},
    telemetry::metrics::Metrics,
};

/// The rules as they are shipped.
pub(super) fn shipped() -> Vec<(String, String)> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("rules");
    let files = [
        "responses/etcd-quorum-lost.yaml",
        "responses/node-not-ready.yaml",
        "playbooks/etcd-rebuild-hosts.yaml",
    ];
    let read = |name: &str| (name.to_owned(), std::fs::read_to_string(root.join(name)).unwrap());
    files.map(read).into()
}

fn load(files: &[(String, String)]) -> Rules {
    let (loaded, found) = rules::load(files, &targets::catalogue::catalogue());
    assert!(!rules::has_errors(&found), "{found:#?}");
    loaded
}

/// The alert that opens most incidents.
pub(super) const QUORUM: &str = "etcdInsufficientMembers";

/// Who says something, and why.
pub(super) fn said() -> Attribution {
    Attribution { by: "ann".into(), reason: "looked at it".into() }
}

/// Three members at revision 100.
pub(super) fn three() -> FakeTarget {
    FakeTarget::new(["m1", "m2", "m3"]).named("c1").revision(100)
}

/// What a bed is made of.
#[derive(Clone, Debug)]
pub(super) struct Setup {
    pub(super) mode: Mode,
    /// How many revisions may be lost in mode `auto`.
    pub(super) budget: u64,
    pub(super) members: Vec<&'static str>,
    /// Whether the inventory names an Alertmanager.
    pub(super) alertmanager: bool,
    pub(super) retention: Duration,
    /// Files to load in place of the shipped ones.
    pub(super) rules: Option<Vec<(String, String)>>,
    /// Further clusters; in mode `auto`, with the same budget.
    pub(super) others: Vec<FakeTarget>,
    /// Whether the inventory names `c1`.
    pub(super) names_first: bool,
    /// How many steps may act at once.
    pub(super) runs_concurrent: usize,
}

impl Setup {
    /// Three members, the shipped rules.
    pub(super) fn new(mode: Mode) -> Self {
        Self {
            mode,
            budget: 1000,
            members: vec!["m1", "m2", "m3"],
            alertmanager: false,
            retention: Duration::from_hours(2160),
            rules: None,
            others: Vec::new(),
            names_first: true,
            runs_concurrent: 4,
        }
    }
}

fn cluster(setup: &Setup) -> Cluster {
    let endpoint = |url: &str| Endpoint { url: url.into(), bearer_file: None };
    Cluster {
        alertmanager: setup.alertmanager.then(|| endpoint("http://alertmanager:9093")),
        control_targets: Vec::new(),
        mode: setup.mode,
        loss_budget_revisions: setup.budget,
        ..sample::cluster(setup.members.iter().copied())
    }
}

/// One engine on one modelled cluster.
pub(super) struct Bed {
    pub(super) patient: FakeTarget,
    pub(super) store: Arc<MemoryStore>,
    pub(super) handle: Handle,
    pub(super) metrics: Arc<Metrics>,
    pub(super) gate: Arc<Gate>,
    pub(super) setup: Setup,
    pub(super) settings: Settings,
    pub(super) clusters: Vec<(Arc<Cluster>, Arc<dyn Target>)>,
    /// Begins the ordered stop.
    pub(super) cancel: CancellationToken,
    /// The loop, which ends by itself only where it must.
    pub(super) task: JoinHandle<Result<(), Fatal>>,
    epoch: Time,
    began: tokio::time::Instant,
}

impl Bed {
    /// Starts an engine; call within a paused runtime.
    pub(super) async fn start(patient: FakeTarget, mode: Mode, budget: u64) -> Self {
        Self::with(patient, Setup { budget, ..Setup::new(mode) }).await
    }

    /// Starts an engine on something else than the usual.
    pub(super) async fn with(patient: FakeTarget, setup: Setup) -> Self {
        Self::on(patient, memory(), setup, Time(1_800_000_000_000)).await
    }

    /// Starts an engine on a store that has something in it already.
    pub(super) async fn on(
        patient: FakeTarget,
        store: Arc<MemoryStore>,
        setup: Setup,
        epoch: Time,
    ) -> Self {
        static SHIPPED: OnceLock<Rules> = OnceLock::new();
        let loaded = match &setup.rules {
            None => SHIPPED.get_or_init(|| load(&shipped())).clone(),
            Some(files) => load(files),
        };
        let settings = Settings {
            rules: Arc::new(loaded),
            catalogue: targets::catalogue::catalogue(),
            watch_every: Duration::from_secs(10),
            watch_concurrent: 4,
            runs_concurrent: setup.runs_concurrent,
            retention: setup.retention,
            store_on_target: false,
            shutdown_grace: Duration::from_secs(30),
        };
        let metrics = Arc::new(Metrics::new("test", "test"));
        let gate = Arc::new(Gate::default());
        let gated = Arc::new(GatedPatient(patient.clone(), gate.clone()));
        let journal = Arc::new(GatedStore(store.clone(), gate.clone()));
        let first = (Arc::new(cluster(&setup)), gated as Arc<dyn Target>);
        let others = setup.others.iter().map(|other| {
            let budget = setup.budget;
            let cluster = Cluster { loss_budget_revisions: budget, ..other.inventory() };
            (Arc::new(cluster), Arc::new(other.clone()) as Arc<dyn Target>)
        });
        let clusters = Some(first).filter(|_| setup.names_first).into_iter().chain(others);
        let clusters: Vec<(Arc<Cluster>, Arc<dyn Target>)> = clusters.collect();
        let (kept, named) = (settings.clone(), clusters.clone());
        let clock = Clock::at(epoch);
        let started = Engine::start(settings, named, journal, metrics.clone(), clock);
        let (engine, handle) = started.await.unwrap_or_else(|error| panic!("{error}"));
        let cancel = CancellationToken::new();
        let task = tokio::spawn(engine.run(cancel.clone()));
        let began = tokio::time::Instant::now();
        let (settings, clusters) = (kept, clusters);
        Self {
            patient,
            store,
            handle,
            metrics,
            gate,
            setup,
            settings,
            clusters,
            cancel,
            task,
            epoch,
            began,
        }
    }

    /// Ends the process without warning and starts another on what was durable.
    pub(super) async fn crash(self) -> Self {
        self.crash_for(0).await
    }

    /// The same, with so many seconds before the new process is there.
    pub(super) async fn crash_for(mut self, seconds: u64) -> Self {
        self.task.abort();
        drop((&mut self.task).await);
        self.cancel.cancel();
        let store = self.store.restart();
        let_pass(Duration::from_secs(seconds)).await;
        self.begin_on(store).await
    }

    /// Works by other rules from now on.
    pub(super) async fn reload_rules(&self, files: &[(String, String)]) {
        let settings = Settings { rules: Arc::new(load(files)), ..self.settings.clone() };
        self.reload(settings, self.clusters.clone()).await;
    }

    /// Works with another inventory from now on.
    pub(super) async fn reload_clusters(&self, clusters: Vec<(Arc<Cluster>, Arc<dyn Target>)>) {
        self.reload(self.settings.clone(), clusters).await;
    }

    /// So many steps may act at once from now on.
    pub(super) async fn reload_limits(&self, runs_concurrent: usize) {
        let settings = Settings { runs_concurrent, ..self.settings.clone() };
        self.reload(settings, self.clusters.clone()).await;
    }

    async fn reload(&self, settings: Settings, clusters: Vec<(Arc<Cluster>, Arc<dyn Target>)>) {
        self.handle.reload(Reload { settings, clusters }).await.unwrap();
        handed_over().await;
    }

    /// Now, by the engine's clock.
    pub(super) fn now(&self) -> Time {
        self.epoch.after(self.began.elapsed())
    }

    /// Stops in order.
    pub(super) async fn stop(self) {
        self.cancel.cancel();
        self.task.await.unwrap().unwrap();
    }

    /// Why the loop ended by itself, or what its ordered stop came to; it must end within an hour.
    pub(super) async fn ended(&mut self) -> Result<(), Fatal> {
        let ended = tokio::time::timeout(Duration::from_hours(1), &mut self.task).await;
        ended.expect("it goes on as if nothing was").unwrap()
    }

    /// Starts another process on what is durable, once the one before has ended.
    pub(super) async fn restart(self) -> Self {
        let store = self.store.restart();
        self.begin_on(store).await
    }

    async fn begin_on(self, store: Arc<MemoryStore>) -> Self {
        let epoch = self.epoch.after(self.began.elapsed());
        Self::on(self.patient, store, self.setup, epoch).await
    }

    /// Lets time pass.
    pub(super) async fn pass(&self, seconds: u64) {
        let_pass(Duration::from_secs(seconds)).await;
    }

    /// An alert about the cluster starts to fire or resolves.
    pub(super) async fn alert(&self, name: &str, extra: &[(&str, &str)], firing: bool) {
        self.alert_of("c1", name, extra, firing).await;
    }

    /// The same, about another cluster.
    pub(super) async fn alert_of(
        &self,
        cluster: &str,
        name: &str,
        extra: &[(&str, &str)],
        firing: bool,
    ) {
        let now = self.now();
        let labels =
            [("alertname", name), ("cluster", cluster)].into_iter().chain(extra.iter().copied());
        let incoming = Incoming {
            labels: Labels::new(labels),
            firing,
            starts_at: now,
            ends_at: (!firing).then_some(now),
            silenced: None,
        };
        self.handle.observe(vec![incoming]).await.unwrap();
        handed_over().await;
    }

    /// The alert as an Alertmanager lists it.
    pub(super) fn listed(&self, name: &str, silenced: bool) -> AlertState {
        let labels = Labels::new([("alertname", name), ("cluster", "c1")]);
        AlertState { labels, starts_at: self.now(), silenced }
    }

    /// All incidents, oldest first.
    pub(super) async fn incidents(&self) -> Vec<Incident> {
        let incidents = self
            .handle
            .read(|state| state.cell("c1").unwrap().state.incidents.values().cloned().collect());
        incidents.await.unwrap()
    }

    /// All runs, oldest first.
    pub(super) async fn runs(&self) -> Vec<Run> {
        let runs = self
            .handle
            .read(|state| state.cell("c1").unwrap().state.runs.values().cloned().collect());
        runs.await.unwrap()
    }

    /// The runs of another cluster.
    pub(super) async fn runs_of(&self, cluster: &'static str) -> Vec<Run> {
        let runs = self
            .handle
            .read(|state| state.cell(cluster).unwrap().state.runs.values().cloned().collect());
        runs.await.unwrap()
    }

    /// The reason in force of the first incident of a response.
    pub(super) async fn reason(&self, response: &str) -> String {
        let incidents = self.incidents().await;
        let incident = incidents.iter().rev().find(|i| i.subject.response.as_str() == response);
        let standing = incident.and_then(|incident| incident.standing.clone());
        standing.map_or("none".into(), |s| s.reason.unwrap_or(s.action))
    }

    /// Waits until a condition on the state holds, at most this many seconds of its time.
    pub(super) async fn until(&self, seconds: u64, what: &str, cond: impl AsyncFn(&Self) -> bool) {
        for _ in 0..seconds * 2 {
            if cond(self).await {
                return;
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        let runs = self.runs().await;
        let incidents = self.incidents().await;
        panic!(
            "not within {seconds} s: {what}\n{incidents:#?}\n{:#?}",
            runs.last().map(|run| (
                run.state(),
                &run.parked,
                &run.unwind,
                &run.finished,
                &run.steps
            ))
        );
    }

    /// Prints what happened; shown only where a test fails.
    pub(super) async fn show(&self) {
        for incident in self.incidents().await {
            println!("{} {}", incident.subject.response, incident.subject);
            incident.timeline.iter().for_each(|(at, line)| println!("  {at} {line}"));
        }
        for run in self.runs().await {
            println!("run {} {:?} {:?}", run.state(), run.finished, run.parked);
            let mut steps: Vec<_> = run.steps.iter().collect();
            steps.sort_by_key(|(_, row)| row.order);
            for (path, row) in steps {
                println!("  {path} {:?} {:?}", row.args, row.stage);
            }
            run.entries.iter().for_each(|(key, row)| println!("  {key:?} {:?}", row.stage));
        }
    }

    /// Stops the majority's processes, with a person's word that they will not come back.
    pub(super) async fn stop_majority(&self, lasts: u64) {
        self.patient.set("m2", State::Stopped);
        self.patient.set("m3", State::Stopped);
        self.pass(11).await;
        for member in ["m2", "m3"] {
            self.attest(member, lasts).await.unwrap();
        }
    }

    /// A person's word that a member will not come back.
    pub(super) async fn attest(&self, member: &str, lasts: u64) -> Result<Reply, CommandError> {
        let (cluster, member) = ("c1".into(), member.into());
        let lasts = Duration::from_secs(lasts);
        self.command(Command::Attest { cluster, member, said: said(), lasts }).await
    }

    /// The majority is gone for good, and an alert says so.
    pub(super) async fn lose_majority(&self) {
        self.patient.set("m2", State::Gone);
        self.patient.set("m3", State::Gone);
        self.alert(QUORUM, &[], true).await;
    }

    /// Waits for a reason to be in force for the quorum response.
    pub(super) async fn until_reason(&self, seconds: u64, reason: &str) {
        let holds = async |bed: &Self| bed.reason("etcd-quorum-lost").await == reason;
        self.until(seconds, reason, holds).await;
    }

    /// Waits for the first run to end or park.
    pub(super) async fn until_rest(&self, seconds: u64) -> Run {
        let rests = async |bed: &Self| {
            bed.runs().await.first().is_some_and(|r| r.finished.is_some() || r.parked.is_some())
        };
        self.until(seconds, "the run rests", rests).await;
        self.runs().await.swap_remove(0)
    }

    /// Waits for the first run to ask.
    pub(super) async fn until_asked(&self) -> Run {
        let asks = async |bed: &Self| bed.runs().await.first().is_some_and(Run::is_asking);
        self.until(300, "the run asks", asks).await;
        self.runs().await.swap_remove(0)
    }

    /// A person's yes.
    pub(super) async fn approve(
        &self,
        run: &Run,
        max_loss: Option<u64>,
    ) -> Result<Reply, CommandError> {
        let yes = Command::Approve { run: run.id, said: said(), digest: None, max_loss };
        self.command(yes).await
    }

    /// How the first incident ended.
    pub(super) async fn closed(&self) -> Option<Closed> {
        self.incidents().await.first()?.closed.as_ref().map(|(outcome, _)| *outcome)
    }

    /// What the cluster's journal comes to.
    pub(super) async fn known<T: Send + 'static>(
        &self,
        look: impl FnOnce(&ClusterState) -> T + Send + 'static,
    ) -> T {
        let known = self.handle.read(|state| look(&state.cell("c1").unwrap().state));
        known.await.unwrap()
    }

    /// An order; whoever gives one is answered in time.
    pub(super) async fn command(&self, command: Command) -> Result<Reply, CommandError> {
        let answer = tokio::time::timeout(Duration::from_hours(1), self.handle.command(command));
        answer.await.expect("an order is answered")
    }
}

/// Lets the cells take in what was acknowledged: the paused clock moves only when all is done.
pub(super) async fn handed_over() {
    let_pass(Duration::from_millis(1)).await;
}

/// Moves the paused clock on; everything that is due until then happens in its order.
pub(super) async fn let_pass(span: Duration) {
    tokio::time::sleep_until(tokio::time::Instant::now() + span).await;
}
