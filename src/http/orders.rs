//! What people order: approve, deny, resume, abandon, acknowledge, attest, pause.
//!
//! Here it is decided who may, and that a reason is given; whether it can be done decides the
//! engine.
//!
//! | order | least role |
//! |---|---|
//! | approve | what the response's `approval.role` says, else approver |
//! | attest | approver: it settles that data may be given up |
//! | deny, resume, abandon, ack, pause, unpause | operator |

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    body::Body,
    extract::{FromRequest, Path, Request, State},
};
use serde::{Deserialize, de::DeserializeOwned};

use super::{API_BODY_MAX, ApiState, auth::Caller, error::Refusal, views::Done};
use crate::{
    domain::{
        base::{
            id::{ClusterName, LossId, MemberName, RunId},
            time::parse_duration,
        },
        journal::record::Attribution,
        rules::response::Role,
    },
    engine::{commands::Command, state::State as Engine},
};

/// Longest reason, in characters.
const REASON_MAX: usize = 2000;

/// How long a person's word on a member counts where no time is given.
const ATTESTED_FOR: Duration = Duration::from_hours(1);

type Answer = Result<Json<Done>, Refusal>;

/// A JSON body of the API.
pub(super) struct Order<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest<Arc<ApiState>> for Order<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request<Body>, _: &Arc<ApiState>) -> Result<Self, Refusal> {
        let body = axum::body::to_bytes(request.into_body(), API_BODY_MAX).await;
        let body = body.map_err(|_| {
            Refusal::TooLarge(format!("the body broke off or is larger than {API_BODY_MAX} bytes"))
        })?;
        serde_json::from_slice(&body).map(Self).map_err(|error| Refusal::Usage(error.to_string()))
    }
}

/// Only a reason.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Because {
    reason: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Approving {
    reason: Option<String>,
    digest: Option<String>,
    max_loss: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Attesting {
    member: String,
    reason: Option<String>,
    r#for: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Pausing {
    reason: Option<String>,
    r#for: Option<String>,
}

impl Caller {
    fn says(self, reason: Option<String>) -> Result<Attribution, Refusal> {
        let reason = reason.unwrap_or_default().trim().to_owned();
        if reason.is_empty() {
            return Err(Refusal::Usage("a `reason` is needed: it is kept with the order".into()));
        }
        if reason.chars().count() > REASON_MAX {
            return Err(Refusal::Usage(format!("a reason of more than {REASON_MAX} characters")));
        }
        Ok(Attribution { by: self.name, reason })
    }
}

impl ApiState {
    async fn order(&self, command: Command) -> Answer {
        let reply = tokio::time::timeout(super::ANSWER_WITHIN, self.handle.command(command)).await;
        let late =
            |_| Refusal::Unavailable("the engine does not answer; see whether it was done".into());
        let reply = reply.map_err(late)??;
        Ok(Json(Done { message: reply.text }))
    }
}

fn run_id(id: &str) -> Result<RunId, Refusal> {
    RunId::parse(id).ok_or_else(|| Refusal::NotFound(format!("there is no run {id}")))
}

fn span(text: Option<&str>) -> Result<Option<Duration>, Refusal> {
    let span = text.map(parse_duration).transpose();
    match span.map_err(|error| Refusal::Usage(format!("for: {error}")))? {
        Some(Duration::ZERO) => Err(Refusal::Usage("for: must be longer than 0s".into())),
        span => Ok(span),
    }
}

pub(super) async fn approve(
    State(door): State<Arc<ApiState>>,
    caller: Caller,
    Path(id): Path<String>,
    Order(order): Order<Approving>,
) -> Answer {
    caller.require(Role::Operator)?;
    let run = run_id(&id)?;
    let least = door.look(move |state| approver_of(state, run)).await?;
    caller.require(least)?;
    let said = caller.says(order.reason)?;
    let (digest, max_loss) = (order.digest, order.max_loss);
    door.order(Command::Approve { run, said, digest, max_loss }).await
}

/// The weakest role that may approve a run: what its response says, else the strongest.
fn approver_of(state: &Engine, run: RunId) -> Role {
    let role = || {
        let cell = state.cell_of_run(run)?;
        let incident = cell.state.runs.get(&run)?.incident?;
        let subject = &cell.state.incidents.get(&incident)?.subject;
        Some(cell.response(subject.response.as_str())?.approval.role)
    };
    role().unwrap_or(Role::Approver)
}

pub(super) async fn deny(
    State(door): State<Arc<ApiState>>,
    caller: Caller,
    Path(id): Path<String>,
    Order(order): Order<Because>,
) -> Answer {
    caller.require(Role::Operator)?;
    door.order(Command::Deny(run_id(&id)?, caller.says(order.reason)?)).await
}

pub(super) async fn resume(
    State(door): State<Arc<ApiState>>,
    caller: Caller,
    Path(id): Path<String>,
    Order(order): Order<Because>,
) -> Answer {
    caller.require(Role::Operator)?;
    door.order(Command::Resume(run_id(&id)?, caller.says(order.reason)?)).await
}

pub(super) async fn abandon(
    State(door): State<Arc<ApiState>>,
    caller: Caller,
    Path(id): Path<String>,
    Order(order): Order<Because>,
) -> Answer {
    caller.require(Role::Operator)?;
    door.order(Command::Abandon(run_id(&id)?, caller.says(order.reason)?)).await
}

pub(super) async fn ack(
    State(door): State<Arc<ApiState>>,
    caller: Caller,
    Path(id): Path<String>,
    Order(order): Order<Because>,
) -> Answer {
    caller.require(Role::Operator)?;
    let loss = LossId::parse(&id);
    let loss = loss.ok_or_else(|| Refusal::NotFound(format!("there is no loss {id}")))?;
    door.order(Command::Ack(loss, caller.says(order.reason)?)).await
}

pub(super) async fn attest(
    State(door): State<Arc<ApiState>>,
    caller: Caller,
    Path(name): Path<String>,
    Order(order): Order<Attesting>,
) -> Answer {
    caller.require(Role::Approver)?;
    let lasts = span(order.r#for.as_deref())?.unwrap_or(ATTESTED_FOR);
    let (cluster, member) = (ClusterName::from(name), MemberName::from(order.member));
    let said = caller.says(order.reason)?;
    door.order(Command::Attest { cluster, member, said, lasts }).await
}

pub(super) async fn pause(
    State(door): State<Arc<ApiState>>,
    caller: Caller,
    Path(name): Path<String>,
    Order(order): Order<Pausing>,
) -> Answer {
    caller.require(Role::Operator)?;
    let lasts = span(order.r#for.as_deref())?;
    let said = caller.says(order.reason)?;
    door.order(Command::Pause { cluster: ClusterName::from(name), said, lasts }).await
}

pub(super) async fn unpause(
    State(door): State<Arc<ApiState>>,
    caller: Caller,
    Path(name): Path<String>,
    Order(order): Order<Because>,
) -> Answer {
    caller.require(Role::Operator)?;
    let said = caller.says(order.reason)?;
    door.order(Command::Unpause(ClusterName::from(name), said)).await
}
