//! The webhook: Alertmanager's alerts in, an answer only once they are durable.
//!
//! It reads the alerts' own status, never the group's. Good alerts of a body are kept although
//! others are not. What is refused with a 4xx comes back every `group_interval`, so refusing is
//! cheap: the secret (by the gate) and the announced size are looked at before the body.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use tokio::time::Instant;

use super::{ANSWER_WITHIN, ApiState, error::Refusal, payload, views::Receipt};

/// What is known of a request when it is counted.
struct Noted {
    source: &'static str,
    bytes: u64,
}

/// `POST` and `PUT /api/v1/webhook`.
pub(super) async fn receive(State(door): State<Arc<ApiState>>, request: Request) -> Response {
    let began = Instant::now();
    let mut noted = Noted { source: "alertmanager", bytes: 0 };
    let answer = tokio::time::timeout(ANSWER_WITHIN, take(&door, request, &mut noted)).await;
    let late = || Err(Refusal::Unavailable("the body or the journal took too long".into()));
    let response = match answer.unwrap_or_else(|_| late()) {
        Ok(receipt) => Json(receipt).into_response(),
        Err(refusal) => return refuse(&door, refusal, began, &noted),
    };
    door.metrics.webhook(noted.source, response.status().as_u16(), began.elapsed(), noted.bytes);
    response
}

/// A webhook that the gate did not let in.
pub(super) fn refused(door: &ApiState, refusal: Refusal, began: Instant) -> Response {
    refuse(door, refusal, began, &Noted { source: "alertmanager", bytes: 0 })
}

fn refuse(door: &ApiState, refusal: Refusal, began: Instant, noted: &Noted) -> Response {
    let status = refusal.status().0.as_u16();
    door.refusals.log("webhook", &refusal);
    door.metrics.webhook(noted.source, status, began.elapsed(), noted.bytes);
    refusal.into_response()
}

async fn take(door: &ApiState, request: Request, noted: &mut Noted) -> Result<Receipt, Refusal> {
    let (parts, body) = request.into_parts();
    let most = door.settings().webhook_body_max;
    let mut held = door.bodies.read(&parts.headers, body, most, &mut noted.bytes).await?;
    let delivery = payload::parse(&held.bytes, door.clock.now())?;
    held.read_out();
    if delivery.version == "1" {
        noted.source = "grafana";
    }
    let delivery = delivery.checked()?;
    door.metrics.alerts_truncated(delivery.truncated);
    let invalid = delivery.invalid.len();
    door.metrics.alerts_invalid(invalid as u64);
    if let Some(first) = delivery.invalid.into_iter().next() {
        let first = Refusal::from(first);
        if delivery.alerts.is_empty() {
            return Err(first);
        }
        door.refusals.log("an alert of a webhook was", &first);
    }
    let accepted = delivery.alerts.len();
    if accepted == 0 {
        return Ok(Receipt { accepted, unmatched: 0, invalid });
    }
    // a task of its own: if this request is dropped, a failed commit must still be noticed; its room
    // is taken for as long as the disk has not answered
    let handle = door.handle.clone();
    let durable = door.tasks.spawn(async move {
        let _held = held;
        handle.observe(delivery.alerts).await
    });
    let kept = durable.await.map_err(|_| Refusal::Unavailable("stopped".into()))??;
    if kept.refused > 0 {
        let text = format!("{} of {accepted} alerts were not kept: there is no room", kept.refused);
        return Err(Refusal::Unavailable(text));
    }
    Ok(Receipt { accepted, unmatched: kept.unmatched, invalid })
}
