//! Metrics and health, open to whoever can reach the port, as Prometheus does it.

use std::{sync::Arc, time::Duration};

use axum::{
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};

use super::{ApiState, error::Refusal};
use crate::telemetry::metrics::CONTENT_TYPE;

/// An engine that takes longer is not ready; probes have a limit of a second by custom.
const READY_WITHIN: Duration = Duration::from_millis(900);

/// Current counts are read from the engine at this moment. One that does not answer leaves the last
/// ones on the page: the counters on it are what explains why.
pub(super) async fn metrics(State(door): State<Arc<ApiState>>) -> Response {
    let bytes = (door.store_bytes)();
    if let Ok(scrape) = door.look(move |state| state.scrape(bytes)).await {
        *door.scraped.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = scrape;
    }
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], door.metrics.render()).into_response()
}

/// The process serves.
pub(super) async fn healthy() -> &'static str {
    "quorate is healthy\n"
}

/// The journal was replayed (there is no engine before that), takes what is written, and the engine
/// answers and comes round.
pub(super) async fn ready(State(door): State<Arc<ApiState>>) -> Result<&'static str, Refusal> {
    match tokio::time::timeout(READY_WITHIN, door.handle.read(|_| ())).await {
        Ok(Some(())) if !door.handle.is_durable() => Err(Refusal::Unavailable(
            "the journal takes nothing at the moment: alerts are refused, nothing is repaired"
                .into(),
        )),
        Ok(Some(())) if !door.handle.state().is_beating() => Err(Refusal::Unavailable(
            "the engine hangs: nothing is decided; restart quorate".into(),
        )),
        Ok(Some(())) => Ok("quorate is ready\n"),
        Ok(None) => Err(Refusal::Unavailable("the engine has stopped".into())),
        Err(_) => Err(Refusal::Unavailable("the engine does not answer".into())),
    }
}
