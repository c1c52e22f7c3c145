//! `GET /api/v1/stream`: what is committed, as server-sent events.
//!
//! An event says what changed, not what it is now: the object is read anew. The one thing to know:
//! a reader that is new, fell behind or was away too long gets `resync`, and reads everything anew;
//! else it goes on behind the `Last-Event-ID` that it had, without gap.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    Extension,
    extract::State,
    http::HeaderMap,
    response::{
        IntoResponse,
        sse::{Event, Sse},
    },
};
use futures::stream::{self, StreamExt as _};
use serde::Serialize;

use super::{ApiState, auth::Caller, gate::Place, seats::Working};
use crate::{
    domain::base::id::ClusterName,
    engine::feed::{Follower, Next, Told},
};

/// A comment when nothing else was said for so long: proxies close what is silent for a minute, and
/// a reader that is gone is only seen when something is written.
const COMMENT_AFTER: Duration = Duration::from_secs(15);

/// What a reader whose connection broke waits before it connects again.
const RETRY: Duration = Duration::from_secs(3);

/// The data of an event.
#[derive(Serialize)]
struct Data<'a> {
    at: String,
    kind: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster: Option<&'a str>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    ids: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    step: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<usize>,
}

/// Answers until the reader goes or quorate stops.
pub(super) async fn stream(
    State(door): State<Arc<ApiState>>,
    _: Caller,
    Extension(place): Extension<Place>,
    working: Option<Extension<Arc<Working>>>,
    headers: HeaderMap,
) -> impl IntoResponse {
    // nobody's id but ours is a number; a reader with another one reads everything anew
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok()?.parse().ok());
    let follower = door.handle.state().feed.follow(last);
    let first = stream::once(async { vec![Event::default().retry(RETRY)] });
    let rest = stream::unfold((follower, place, working), |(mut follower, place, working)| async {
        let events = news(&mut follower).await?;
        Some((events, (follower, place, working)))
    });
    Sse::new(
        first
            .chain(rest)
            .flat_map(|events| stream::iter(events.into_iter().map(Ok::<_, Infallible>))),
    )
}

/// The next events, `None` at the end.
async fn news(follower: &mut Follower) -> Option<Vec<Event>> {
    match tokio::time::timeout(COMMENT_AFTER, follower.next()).await {
        Err(_) => Some(vec![Event::default().comment("")]),
        Ok(Next::Ended) => None,
        Ok(Next::Resync(last)) => {
            Some(vec![Event::default().event("resync").id(last.to_string()).data("{}")])
        }
        Ok(Next::Entries(entries)) => Some(entries.iter().filter_map(|told| event(told)).collect()),
    }
}

fn event(told: &Told) -> Option<Event> {
    let data = Data {
        at: told.at.to_string(),
        kind: told.kind,
        cluster: told.cluster.as_ref().map(ClusterName::as_str),
        ids: &told.ids,
        step: told.step.as_deref(),
        count: told.count,
    };
    let event = Event::default().event(told.topic.label()).json_data(data).ok()?;
    Some(match told.seq {
        Some(seq) => event.id(seq.to_string()),
        None => event,
    })
}
