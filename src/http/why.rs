//! `GET /api/v1/why/ID`: the whole chain.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
};

use super::{
    ApiState,
    auth::Caller,
    error::Refusal,
    views::{Question, WhyView},
};

/// For an incident, a run, a loss or an alert's fingerprint.
pub(super) async fn why(
    State(door): State<Arc<ApiState>>,
    _: Caller,
    Path(id): Path<String>,
) -> Result<Json<WhyView>, Refusal> {
    let question = Question::parse(&id).ok_or_else(|| {
        Refusal::Usage("an id (inc_…, run_…, loss_…) or a fingerprint of 16 hex digits".into())
    })?;
    let missing = format!("there is no {id}");
    let asked = question.clone();
    let mut about = door.look(move |state| asked.about(state)).await?;
    if let Some(cell) = about.cell.take() {
        about.cell = Some(door.recall(cell, about.incident, about.run).await?);
    }
    let view = door.look(move |state| WhyView::new(state, &id, &question, &about)).await?;
    view.map(Json).ok_or(Refusal::NotFound(missing))
}
