//! `POST /api/v1/plans`: what a playbook would do to a cluster now. Nothing is changed by it, so a
//! viewer may ask.

use std::{collections::BTreeMap, sync::Arc};

use axum::{Json, extract::State};
use serde::Deserialize;
use serde_json::Value as Json_;

use super::{ApiState, auth::Caller, error::Refusal, orders::Order, views::PlanView};
use crate::{
    domain::{base::id::ClusterName, rules::expr::Value},
    engine::{commands, state::State as Engine},
};

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
    door.handle.look_now(cluster.clone()).await; // a plan shows what is there now
    let preview = move |state: &Engine| {
        let preview = commands::preview(state, &order.playbook, &cluster, params)?;
        Ok::<_, commands::CommandError>(PlanView::new(state, &preview))
    };
    Ok(Json(door.look(preview).await??))
}
