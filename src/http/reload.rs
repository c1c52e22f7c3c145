//! `POST /-/reload`: the configuration and the rules are read anew, as at SIGHUP.
//!
//! It reads nothing itself: who composed the program does, one reload after the other, and answers
//! with lines for people. The least role is operator.

use std::sync::Arc;

use axum::extract::State;
use tokio::sync::{mpsc, oneshot};

use super::{ANSWER_WITHIN, ApiState, auth::Caller, error::Refusal};
use crate::domain::rules::response::Role;

/// Reloads that may wait: each reads everything, so the first that comes after a change is enough.
pub const WAITING_MAX: usize = 8;

/// What is different now, a line each, or what is wrong.
pub type Outcome = Result<Vec<String>, String>;

/// Somebody who wants a reload, and where the outcome goes.
pub type Asked = oneshot::Sender<Outcome>;

/// The way to who reloads.
pub type Asking = mpsc::Sender<Asked>;

pub(super) async fn reload(
    State(door): State<Arc<ApiState>>,
    caller: Caller,
) -> Result<String, Refusal> {
    caller.require(Role::Operator)?;
    tracing::info!(by = %caller.name, "reload asked for");
    let (reply, outcome) = oneshot::channel();
    door.reload.try_send(reply).map_err(|error| match error {
        mpsc::error::TrySendError::Full(_) => {
            Refusal::Unavailable(format!("{WAITING_MAX} reloads wait already"))
        }
        mpsc::error::TrySendError::Closed(_) => Refusal::Unavailable("quorate stops".into()),
    })?;
    let outcome = tokio::time::timeout(ANSWER_WITHIN, outcome).await.map_err(|_| {
        Refusal::Unavailable("the reload is still under way; the log tells how it ends".into())
    })?;
    let outcome = outcome.map_err(|_| Refusal::Unavailable("quorate stops".into()))?;
    let lines = outcome.map_err(Refusal::unusable)?;
    Ok(lines.into_iter().map(|line| line + "\n").collect())
}
