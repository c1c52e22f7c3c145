//! HTTP: the webhook, the API that the command line speaks, metrics and health.
//!
//! It talks to [`Handle`] and to nothing below it: no store, no target. Who may do what is decided
//! here; whether it can be done, by the engine. The one thing to know: nothing that came in a body
//! or a path is ever a command, a file name or a metric label.
//!
//! # Design
//!
//! An answer never waits longer than [`ANSWER_WITHIN`] (a plan's look has [`LOOK_WITHIN`]), and a request that is dropped half-way
//! (its client went away) never takes its alerts with it: what was handed to the engine is waited
//! for by a task of its own, so that a commit that fails is always noticed.

pub mod auth;
mod bodies;
pub mod error;
mod gate;
mod lists;
pub mod local;
mod ops;
mod orders;
mod payload;
mod plans;
mod refusals;
pub mod reload;
mod seats;
pub mod secret;
mod serve;
mod stream;
pub mod views;
mod webhook;
mod why;

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::Duration,
};

use axum::{
    Router,
    http::{Method, Uri},
    middleware::from_fn_with_state,
    routing::{get, post},
};
use tokio_util::task::TaskTracker;

use self::{
    auth::Access,
    bodies::Bodies,
    error::Refusal,
    gate::{Class, Places},
    refusals::Refusals,
    secret::Secret,
};
pub use self::{plans::LOOK_WITHIN, serve::serve};
use crate::{
    domain::{
        base::id::{IncidentId, RunId},
        cell::Cell,
    },
    engine::{Handle, chain, clock::Clock, state::State as Engine},
    telemetry::metrics::{Metrics, Scrape},
};

/// No answer takes longer: Alertmanager's own limit for a flush is 10 s at the least.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(9);

/// The largest body of the API, in bytes: a reason and some parameters.
pub const API_BODY_MAX: usize = 64 << 10;

/// How the door is kept.
#[derive(Debug)]
pub struct Settings {
    /// The bearer token that webhooks must carry; `None` lets everybody in.
    pub webhook_bearer: Option<Secret>,
    /// Whether only this machine can reach it.
    pub webhook_is_local: bool,
    /// The largest webhook body, in bytes.
    pub webhook_body_max: u64,
    /// The largest size of all webhook bodies in flight together, in bytes.
    pub webhook_bodies_max: u64,
    /// Who may see and order.
    pub access: Access,
}

/// What every route shares.
pub struct ApiState {
    handle: Handle,
    metrics: Arc<Metrics>,
    clock: Clock,
    settings: RwLock<Arc<Settings>>,
    reload: reload::Asking,
    store_bytes: Box<dyn Fn() -> u64 + Send + Sync>,
    scraped: Arc<Mutex<Scrape>>,
    places: Places,
    bodies: Bodies,
    refusals: Refusals,
    tasks: TaskTracker,
}

impl ApiState {
    /// Joins the parts. `store_bytes` is asked at every scrape; `reload` leads to who reads the
    /// configuration anew.
    pub fn new(
        handle: Handle,
        metrics: Arc<Metrics>,
        clock: Clock,
        settings: Settings,
        reload: reload::Asking,
        store_bytes: Box<dyn Fn() -> u64 + Send + Sync>,
    ) -> Arc<Self> {
        let scraped = Arc::new(Mutex::new(Scrape::default()));
        let source = Arc::clone(&scraped);
        let read = move || source.lock().unwrap_or_else(PoisonError::into_inner).clone();
        metrics.set_scrape(Box::new(read));
        Arc::new(Self {
            handle,
            metrics,
            clock,
            bodies: Bodies::new(settings.webhook_bodies_max),
            settings: RwLock::new(Arc::new(settings)),
            reload,
            store_bytes,
            scraped,
            places: Places::default(),
            refusals: Refusals::default(),
            tasks: TaskTracker::new(),
        })
    }

    /// How the door is kept now.
    fn settings(&self) -> Arc<Settings> {
        self.settings.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The door is kept like this from now on; requests under way end as they began.
    pub fn replace_settings(&self, settings: Settings) {
        self.bodies.resize(settings.webhook_bodies_max);
        *self.settings.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(settings);
    }

    /// Waits for what was handed to the engine by requests whose clients are gone, no longer than
    /// for an answer: where the disk hangs they are told no more.
    pub async fn drained(&self) {
        self.tasks.close();
        if tokio::time::timeout(ANSWER_WITHIN, self.tasks.wait()).await.is_err() {
            let deliveries = self.tasks.len();
            tracing::warn!(
                deliveries,
                "the journal does not answer; what came last is not durable"
            );
        }
        self.refusals.tell_rest();
    }

    /// Looks into the engine's state, in no more than [`ANSWER_WITHIN`].
    async fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Engine) -> T + Send + 'static,
    ) -> Result<T, Refusal> {
        let answer = tokio::time::timeout(ANSWER_WITHIN, self.handle.read(look)).await;
        match answer {
            Ok(Some(seen)) => Ok(seen),
            Ok(None) => Err(Refusal::Unavailable("the engine has stopped".into())),
            Err(_) => Err(Refusal::Unavailable("the engine does not answer".into())),
        }
    }

    /// The same, for what may have to walk everything: a list that is filtered reads on until its page
    /// is full. It keeps no worker from the loop meanwhile.
    async fn look_long<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Engine) -> T + Send + 'static,
    ) -> Result<T, Refusal> {
        let state = Arc::clone(self.handle.state());
        if !self.handle.is_running() {
            return Err(Refusal::Unavailable("the engine has stopped".into()));
        }
        let looked = tokio::task::spawn_blocking(move || look(&state));
        match tokio::time::timeout(ANSWER_WITHIN, looked).await {
            Ok(Ok(seen)) => Ok(seen),
            Ok(Err(_)) => Err(Refusal::Unavailable("it broke off: a bug of quorate's".into())),
            Err(_) => Err(Refusal::Unavailable("there is too much to look through".into())),
        }
    }
}

impl ApiState {
    /// The cell with all that is known of an incident and its runs, and of a run: what is over is
    /// read from the journal.
    async fn recall(
        &self,
        cell: Arc<Cell>,
        incident: Option<IncidentId>,
        run: Option<RunId>,
    ) -> Result<Arc<Cell>, Refusal> {
        let recalled = self.handle.recall(cell, incident, run);
        match tokio::time::timeout(ANSWER_WITHIN, recalled).await {
            Ok(Ok(cell)) => Ok(cell),
            Ok(Err(error)) => Err(Refusal::Unavailable(chain(&error))),
            Err(_) => Err(Refusal::Unavailable("the journal does not answer".into())),
        }
    }
}

impl fmt::Debug for ApiState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiState").field("settings", &self.settings()).finish_non_exhaustive()
    }
}

/// All routes, each behind the gate of its class.
pub fn router(door: Arc<ApiState>) -> Router {
    let gated = |class: Class, routes: Router<Arc<ApiState>>| {
        routes.route_layer(from_fn_with_state((Arc::clone(&door), class), gate::pass))
    };
    let webhook = post(webhook::receive).put(webhook::receive);
    let webhook = Router::new().route("/api/v1/webhook", webhook);
    let probes =
        Router::new().route("/-/healthy", get(ops::healthy)).route("/-/ready", get(ops::ready));
    let scrapes = Router::new().route("/metrics", get(ops::metrics));
    let streams = Router::new().route("/api/v1/stream", get(stream::stream));
    let reloads = post(reload::reload).put(reload::reload);
    let reloads = Router::new().route("/-/reload", reloads);
    Router::new()
        .merge(gated(Class::Webhook, webhook))
        .merge(gated(Class::Order, orders()))
        .merge(gated(Class::Read, reads()))
        .merge(gated(Class::Stream, streams))
        .merge(gated(Class::Scrape, scrapes))
        .merge(gated(Class::Probe, probes))
        .merge(gated(Class::Reload, reloads))
        .fallback(nothing)
        .method_not_allowed_fallback(nothing)
        .with_state(door)
}

fn reads() -> Router<Arc<ApiState>> {
    Router::new()
        .route("/api/v1/clusters", get(lists::clusters))
        .route("/api/v1/clusters/{name}", get(lists::cluster))
        .route("/api/v1/alerts", get(lists::alerts))
        .route("/api/v1/alerts/{fingerprint}", get(lists::alert))
        .route("/api/v1/incidents", get(lists::incidents))
        .route("/api/v1/incidents/{id}", get(lists::incident))
        .route("/api/v1/runs", get(lists::runs))
        .route("/api/v1/runs/{id}", get(lists::run))
        .route("/api/v1/losses", get(lists::losses))
        .route("/api/v1/losses/{id}", get(lists::loss))
        .route("/api/v1/why/{id}", get(why::why))
        .route("/api/v1/plans", post(plans::plan))
}

fn orders() -> Router<Arc<ApiState>> {
    Router::new()
        .route("/api/v1/runs/{id}/approve", post(orders::approve))
        .route("/api/v1/runs/{id}/deny", post(orders::deny))
        .route("/api/v1/runs/{id}/resume", post(orders::resume))
        .route("/api/v1/runs/{id}/abandon", post(orders::abandon))
        .route("/api/v1/losses/{id}/ack", post(orders::ack))
        .route("/api/v1/clusters/{name}/attest", post(orders::attest))
        .route("/api/v1/clusters/{name}/pause", post(orders::pause))
        .route("/api/v1/clusters/{name}/unpause", post(orders::unpause))
}

/// What is not there, and what is there but not with this method.
async fn nothing(method: Method, uri: Uri) -> Refusal {
    Refusal::NotFound(format!("there is no {method} {}", uri.path()))
}
