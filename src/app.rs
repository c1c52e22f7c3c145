//! The composition root: what is built in which order, and how it stops.
//!
//! Start: store, engine (a replay of the journal), listener, `ready`. Stop: intake first, so that
//! nothing is acknowledged that nobody works on; then the engine, which lets runs reach a journal
//! boundary and closes the store. A second signal ends the process at once: everything needed to go
//! on is in the journal at any moment.

mod reload;

use std::{fmt, net::SocketAddr, sync::Arc};

use anyhow::Context;
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::{mpsc, oneshot},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

pub use self::reload::Origin;
use self::reload::{InForce, Reach, Reloader};
use crate::{
    config::{self, Config, Sources, Token as TokenFile},
    domain::{
        base::id::{ClusterName, PlaybookName, ResponseName},
        inventory::Cluster,
        rules::{Rules, action::Catalogue},
    },
    engine::{Engine, Fatal, Handle, Settings, clock::Clock},
    http::{
        self, ApiState,
        auth::{Access, Token},
        local::LocalToken,
        reload::{Asking, WAITING_MAX},
        secret::Secret,
    },
    store::{Store, open_embedded},
    targets::{Target, catalogue::catalogue, cluster::target},
    telemetry::metrics::Metrics,
};

/// This program's version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The commit it was built from, where the build says so.
pub const REVISION: &str = match option_env!("QUORATE_REVISION") {
    Some(revision) => revision,
    None => "unknown",
};

/// Everything an app is made of; tests put in a store in memory and patients of their own.
#[derive(Debug)]
pub struct Parts {
    /// The configuration.
    pub config: Config,
    /// Responses and playbooks.
    pub rules: Rules,
    /// The actions there are.
    pub catalogue: Catalogue,
    /// The journal.
    pub store: Arc<dyn Store>,
    /// Where configuration and rules were read from, to be read again.
    pub origin: Origin,
    /// Those files, as they were when they were read.
    pub sources: Sources,
    /// Makes the systems of a cluster.
    pub targets: Targets,
    /// Clusters with their systems.
    pub clusters: Vec<(Arc<Cluster>, Arc<dyn Target>)>,
    /// The clock.
    pub clock: Clock,
}

/// Makes the systems of a cluster.
#[derive(Clone)]
pub struct Targets(pub Arc<dyn Fn(Arc<Cluster>) -> Arc<dyn Target> + Send + Sync>);

impl fmt::Debug for Targets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Targets").finish_non_exhaustive()
    }
}

impl Parts {
    /// The real ones.
    pub fn open(origin: Origin, config: Config, rules: Rules) -> anyhow::Result<Self> {
        let sources = Sources::of(origin.file.as_deref(), &config);
        let store = open_embedded(&config.store, VERSION)?;
        let clusters = config.clusters.iter();
        let clusters = clusters.map(|cluster| (cluster.clone(), target(cluster.clone()))).collect();
        let (catalogue, clock) = (catalogue(), Clock::start());
        let targets = Targets(Arc::new(target));
        Ok(Self { config, rules, catalogue, store, origin, sources, targets, clusters, clock })
    }
}

/// A started server.
#[derive(Debug)]
pub struct App {
    address: SocketAddr,
    handle: Handle,
    door: Arc<ApiState>,
    store: Arc<dyn Store>,
    intake: CancellationToken,
    work: CancellationToken,
    reload: Asking,
    reloading: JoinHandle<()>,
    serving: JoinHandle<std::io::Result<()>>,
    working: JoinHandle<Result<(), Fatal>>,
}

impl App {
    /// Replays the journal, listens, and logs `ready`.
    pub async fn start(parts: Parts) -> anyhow::Result<Self> {
        let Parts { config, rules, catalogue, store, origin, sources, targets, clusters, clock } =
            parts;
        let metrics = Arc::new(Metrics::new(VERSION, REVISION));
        declare(&metrics, &clusters, &rules);
        metrics.config_loaded(Some(clock.now()));
        let counts = (clusters.len(), rules.responses.len(), rules.playbooks.len());
        let rules = Arc::new(rules);
        let settings = engine_settings(&config, rules.clone(), catalogue.clone());
        let (bytes, kept, named) = (store.clone(), store.clone(), clusters.clone());
        let started = Engine::start(settings, named, store, metrics.clone(), clock.clone()).await;
        let (engine, handle) = started.context("the journal could not be replayed")?;
        let listener = TcpListener::bind(config.listen).await;
        let listener = listener.with_context(|| format!("cannot listen on {}", config.listen))?;
        let address = listener.local_addr()?;
        let door_settings = door_settings(&config, address.port())?;
        tell_access(&door_settings.access);
        let (intake, work) = (CancellationToken::new(), CancellationToken::new());
        let working = tokio::spawn(engine.run(work.clone()));
        let bytes = Box::new(move || bytes.bytes());
        let (reload, asked) = mpsc::channel(WAITING_MAX);
        let (counted, ticking, asking) = (metrics.clone(), clock.clone(), reload.clone());
        let door = ApiState::new(handle.clone(), counted, ticking, door_settings, asking, bytes);
        let router = http::router(door.clone());
        let serving = tokio::spawn(http::serve(listener, router, intake.clone()));
        let port = address.port();
        let reloader = Reloader {
            origin,
            catalogue,
            targets,
            in_force: Arc::new(InForce { config, rules, clusters }),
            reach: Reach { handle: handle.clone(), door: door.clone(), metrics, clock, port },
            sources: Some(sources),
            is_changing: false,
        };
        let reloading = tokio::spawn(reloader.run(asked, intake.clone()));
        let (clusters, responses, playbooks) = counts;
        tracing::info!(listen = %address, clusters, responses, playbooks, version = VERSION, "ready");
        let store = kept;
        Ok(Self { address, handle, door, store, intake, work, reload, reloading, serving, working })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The way into its engine.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Has everything read again, without waiting for it; the log tells what came of it.
    pub fn reload_soon(&self) {
        if self.reload.try_send(oneshot::channel().0).is_err() {
            tracing::warn!("{WAITING_MAX} reloads wait already");
        }
    }

    /// Stops in order.
    pub async fn stop(self) -> anyhow::Result<()> {
        let Self { handle, door, intake, work, reloading, serving, working, .. } = self;
        intake.cancel();
        handle.state().feed.close(); // who follows along would never let its connection end
        reloading.await.context("the reloads broke")?;
        serving.await.context("the server broke")?.context("the server ended")?;
        door.drained().await;
        work.cancel();
        working.await.context("the engine broke")?.context("the engine ended")
    }

    /// Resolves when the engine or the server has ended by itself, which is always a fault, or when
    /// the store cannot be trusted any more.
    pub async fn broken(&mut self) -> anyhow::Error {
        tokio::select! {
            error = self.store.fatal() => error.into(),
            ended = &mut self.working => match ended {
                Ok(Err(fatal)) => fatal.into(),
                Ok(Ok(())) | Err(_) => anyhow::anyhow!("the engine ended by itself"),
            },
            _ = &mut self.reloading => anyhow::anyhow!("the reloads ended by themselves"),
            _ = &mut self.serving => anyhow::anyhow!("the server ended by itself"),
        }
    }
}

/// Raises the soft limit of open files to the hard one: the usual 1024 is less than the connections
/// of the server and those to some hundred members together, and nothing here uses `select`.
pub fn raise_open_files() {
    let mut limit = getrlimit(Resource::Nofile);
    let before = limit.current;
    limit.current = limit.maximum;
    match setrlimit(Resource::Nofile, limit) {
        Ok(()) => tracing::debug!(?before, now = ?limit.current, "limit of open files"),
        Err(error) => tracing::warn!(%error, ?before, "the limit of open files was not raised"),
    }
}

/// Serves until SIGTERM or SIGINT; SIGHUP reloads.
pub async fn serve(origin: Origin, config: Config, rules: Rules) -> anyhow::Result<()> {
    // before anything is opened: what arrives during the start is not lost, and ends nothing
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let mut app = App::start(Parts::open(origin, config, rules)?).await?;
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => app.reload_soon(),
            error = app.broken() => return Err(error),
        }
    }
    tracing::info!("stopping: intake first, then runs at their next journal boundary");
    tokio::select! {
        result = app.stop() => result,
        _ = terminate.recv() => at_once(),
        _ = interrupt.recv() => at_once(),
    }
}

#[expect(clippy::exit, reason = "the second signal ends at once, whatever still runs")]
fn at_once() -> ! {
    tracing::warn!("a second signal: ending at once; the journal tells how to go on");
    std::process::exit(1)
}

fn declare(metrics: &Metrics, clusters: &[(Arc<Cluster>, Arc<dyn Target>)], rules: &Rules) {
    let clusters: Vec<ClusterName> = clusters.iter().map(|(c, _)| c.name.clone()).collect();
    let responses: Vec<(ResponseName, Vec<PlaybookName>)> = rules
        .responses
        .values()
        .map(|response| {
            let ladder = response.ladder.iter().map(|rung| rung.playbook.clone());
            (response.name.clone(), ladder.collect())
        })
        .collect();
    metrics.declare(&clusters, &responses);
}

fn engine_settings(config: &Config, rules: Arc<Rules>, catalogue: Catalogue) -> Settings {
    Settings {
        rules,
        catalogue,
        watch_every: config.watch.every,
        watch_concurrent: config.watch.concurrent as usize,
        runs_concurrent: config.runs_concurrent as usize,
        retention: config.retention_finished,
        store_on_target: is_on_target(config),
        shutdown_grace: config.shutdown_grace,
    }
}

fn door_settings(config: &Config, port: u16) -> anyhow::Result<http::Settings> {
    Ok(http::Settings {
        webhook_bearer: config.webhook.bearer_file.as_deref().map(Secret::open).transpose()?,
        webhook_is_local: config.listen.ip().is_loopback(),
        webhook_body_max: config.webhook.max_body,
        webhook_bodies_max: config.webhook.bodies_max,
        access: access(config, port)?,
    })
}

fn tell_access(access: &Access) {
    match access {
        Access::Local(token) => tracing::info!(file = %token.path().display(),
            "no api.tokens: everybody on this machine may read, and orders need the token in this file"),
        Access::Tokens(tokens) if tokens.is_empty() => {
            tracing::warn!("no api.tokens: beyond loopback nobody can use the API");
        }
        Access::Tokens(_) => {}
    }
}

/// Without tokens everybody may read and who has the local token may order, but only where nobody
/// but this machine can ask.
fn access(config: &Config, port: u16) -> anyhow::Result<Access> {
    if config.tokens.is_empty() && config.listen.ip().is_loopback() {
        return Ok(Access::Local(LocalToken::open(&config.store, port)?));
    }
    let token = |file: &TokenFile| {
        let secret = Secret::open(&file.file)?;
        anyhow::Ok(Token { name: file.name.clone(), role: file.role, secret })
    };
    Ok(Access::Tokens(config.tokens.iter().map(token).collect::<Result<_, _>>()?))
}

/// Whether the journal lies in a data directory of a member: it would be moved away with it. What
/// holds the journal answers where it lies, for the journal was opened.
fn is_on_target(config: &Config) -> bool {
    let store = config::lies(&config.store);
    let members = config.clusters.iter().flat_map(|cluster| &cluster.etcd.members);
    let mut dirs = members.flat_map(|member| [Some(&member.data_dir), member.wal_dir.as_ref()]);
    dirs.any(|dir| dir.is_some_and(|dir| store.starts_with(config::lies(dir))))
}
