//! `POST /api/v1/plans`: what a playbook would do to a cluster now. Nothing is changed by it, so a
//! viewer may ask.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use axum::{Json, extract::State};
use serde::Deserialize;
use serde_json::Value as Json_;

use super::{ApiState, auth::Caller, error::Refusal, orders::Order, views::PlanView};
use crate::{
    domain::{base::id::ClusterName, rules::expr::Value},
    engine::{commands, state::State as Engine},
};

/// A look ends by itself: its probes take `watch.timeout` at most, a minute, and the tools are asked
/// behind them. What is known by then is shown.
pub const LOOK_WITHIN: Duration = Duration::from_secs(75);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Planning {
    playbook: String,
    cluster: String,
    #[serde(default)]
    params: BTreeMap<String, Json_>,
}

pub(super) async fn plan(
    State(door): State<Arc<ApiState>>,
    _: Caller,
    Order(order): Order<Planning>,
) -> Result<Json<PlanView>, Refusal> {
    let mut params = BTreeMap::new();
    for (name, json) in &order.params {
        let value = Value::from_json(json);
        let value = value.ok_or_else(|| Refusal::Usage(format!("params.{name} is no value")))?;
        params.insert(name.clone(), value);
    }
    let cluster = ClusterName::from(order.cluster);
    // a plan shows what is there now; a member that is silent takes a whole probe to be so
    let looked = door.handle.look_now(cluster.clone());
    tokio::time::timeout(LOOK_WITHIN, looked).await.unwrap_or_default();
    let preview = move |state: &Engine| {
        let preview = commands::preview(state, &order.playbook, &cluster, params)?;
        Ok::<_, commands::CommandError>(PlanView::new(state, &preview))
    };
    Ok(Json(door.look(preview).await??))
}
