//! What every request passes before its body is read: whence it comes and who asks, then a place of
//! its class.
//!
//! It decides nothing about what is asked for. The one thing to know: the order. Who may not come in
//! takes no place, and nothing of a body is read before both are settled.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    http::{HeaderMap, Method},
    middleware::Next,
    response::{IntoResponse, Response},
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};

use super::{
    ApiState, Settings,
    auth::{self, Access, Caller},
    error::Refusal,
    serve::CONNECTIONS_MAX,
    webhook,
};

/// Kinds of requests that must not be able to keep each other out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// Alerts.
    Webhook,
    /// What people order.
    Order,
    /// What people and pages read.
    Read,
    /// Who follows along; a place is kept as long as the stream lasts.
    Stream,
    /// `/metrics`.
    Scrape,
    /// `/-/healthy` and `/-/ready`.
    Probe,
    /// `/-/reload`.
    Reload,
}

impl Class {
    const ALL: [Self; 7] = [
        Self::Webhook,
        Self::Order,
        Self::Read,
        Self::Stream,
        Self::Scrape,
        Self::Probe,
        Self::Reload,
    ];

    /// Requests under way at once.
    const fn places(self) -> usize {
        match self {
            // a dozen Alertmanagers with a dozen groups each, and as many again
            Self::Webhook => 256,
            // people, one order each
            Self::Order => 32,
            // pages that look again every second; pages that are open
            Self::Read | Self::Stream => 64,
            // two Prometheis, and their scrapes that overlap because one was late
            Self::Scrape => 16,
            // a kubelet, a load balancer, a few watchdogs
            Self::Probe => 24,
            // one is done after the other; more only wait
            Self::Reload => 4,
        }
    }

    fn label(self) -> &'static str {
        match self {
            Self::Webhook => "webhooks",
            Self::Order => "orders",
            Self::Read => "reads",
            Self::Stream => "streams",
            Self::Scrape => "scrapes",
            Self::Probe => "probes",
            Self::Reload => "reloads",
        }
    }
}

// With every class full there are connections left for whoever comes next.
const _: () = {
    let (mut all, mut at) = (0, 0);
    while at < Class::ALL.len() {
        all += Class::ALL[at].places();
        at += 1;
    }
    assert!(all < CONNECTIONS_MAX, "a class could keep others out");
};

/// The places of all classes.
#[derive(Debug)]
pub(super) struct Places([Arc<Semaphore>; Class::ALL.len()]);

impl Default for Places {
    fn default() -> Self {
        Self(Class::ALL.map(|class| Arc::new(Semaphore::new(class.places()))))
    }
}

impl Places {
    /// A place, or a refusal at once: who waits for one would take a connection from others.
    fn take(&self, class: Class) -> Result<OwnedSemaphorePermit, Refusal> {
        let places = Arc::clone(&self.0[class as usize]);
        places.try_acquire_owned().map_err(|_| {
            let (many, what) = (class.places(), class.label());
            Refusal::Unavailable(format!("{many} {what} are under way already; try again"))
        })
    }
}

/// A hold on the place of a request.
#[derive(Clone, Debug)]
pub(super) struct Place(
    #[expect(dead_code, reason = "held, never read")] Arc<OwnedSemaphorePermit>,
);

/// The middleware of a class of routes.
pub(super) async fn pass(
    State((door, class)): State<(Arc<ApiState>, Class)>,
    mut request: Request,
    next: Next,
) -> Response {
    let began = Instant::now();
    let place = admit(&door, class, request.method(), request.headers()).and_then(|caller| {
        if let Some(caller) = caller {
            request.extensions_mut().insert(caller);
        }
        door.places.take(class)
    });
    match place {
        Ok(place) => {
            // who answers for longer than its handler runs keeps a hold on it
            let place = Arc::new(place);
            request.extensions_mut().insert(Place(Arc::clone(&place)));
            next.run(request).await
        }
        Err(refusal) if class == Class::Webhook => webhook::refused(&door, refusal, began),
        // the command line asking where the token is, which it sends next
        Err(refusal @ Refusal::Locked { proof: Some(_), .. }) => refusal.into_response(),
        Err(refusal) => {
            door.refusals.log("request", &refusal);
            refusal.into_response()
        }
    }
}

/// Whether the sender of this may come in, and who that is.
fn admit(
    door: &ApiState,
    class: Class,
    method: &Method,
    headers: &HeaderMap,
) -> Result<Option<Caller>, Refusal> {
    let settings = door.settings();
    let Settings { webhook_bearer, webhook_is_local, access, .. } = settings.as_ref();
    let is_open = match class {
        Class::Webhook => *webhook_is_local && webhook_bearer.is_none(),
        Class::Order | Class::Read | Class::Stream | Class::Reload => {
            matches!(access, Access::Local(_))
        }
        Class::Scrape | Class::Probe => false,
    };
    if is_open {
        auth::on_loopback(headers)?;
    }
    if !method.is_safe() {
        auth::same_origin(headers)?;
        // a reload has no body, and no page can add the token that it needs
        if class != Class::Reload {
            auth::is_json(headers)?;
        }
    }
    match class {
        Class::Webhook => match webhook_bearer {
            Some(secret) if !secret.is(auth::bearer(headers)?) => {
                Err(Refusal::Unauthorized("unknown token".into()))
            }
            Some(_) | None => Ok(None),
        },
        Class::Order | Class::Reload => access.commander(headers).map(Some),
        Class::Read | Class::Stream => access.caller(headers).map(Some),
        Class::Scrape | Class::Probe => Ok(None),
    }
}
