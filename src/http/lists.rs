//! What is known now, as lists and one by one.
//!
//! Newest first, save for clusters (by name) and alerts (an order that stays). A page is made of
//! what was last published of each cluster, and holds up nobody: neither the loop nor the intake.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, Query, State},
};
use serde::Deserialize;

use super::{
    ApiState,
    auth::Caller,
    error::Refusal,
    views::{AlertView, ClusterView, IncidentView, LossView, Page, RunView},
};
use crate::{
    domain::{
        alert::Key,
        base::id::{ClusterName, IncidentId, LossId, RunId},
        cell::Cell,
        etcd::loss::LossRecord,
        incident::Incident,
        run::state::Run,
    },
    engine::{
        alerts::table::{Belongs, Filter},
        state::State as Engine,
    },
};

const LIMIT_DEFAULT: usize = 100;

/// Items of one page.
const LIMIT_MAX: usize = 1000;

/// `?limit=100&after=…`, and what is to be left out.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Paging {
    limit: Option<usize>,
    after: Option<String>,
    cluster: Option<String>,
    state: Option<String>,
}

type Asked = Result<Query<Paging>, axum::extract::rejection::QueryRejection>;
type Listed<T> = Result<Json<Page<T>>, Refusal>;

impl Paging {
    fn read(asked: Asked) -> Result<Self, Refusal> {
        let Query(paging) = asked.map_err(|error| Refusal::Usage(error.body_text()))?;
        match paging.limit {
            Some(limit) if !(1..=LIMIT_MAX).contains(&limit) => {
                Err(Refusal::Usage(format!("limit is {limit}; 1 to {LIMIT_MAX} are possible")))
            }
            _ => Ok(paging),
        }
    }

    fn limit(&self) -> usize {
        self.limit.unwrap_or(LIMIT_DEFAULT)
    }

    /// The id to go on after.
    fn after<T>(&self, parse: impl Fn(&str) -> Option<T>) -> Result<Option<T>, Refusal> {
        let wrong = |after: &str| Refusal::Usage(format!("after={after:?} is no `next` of a page"));
        let after = self.after.as_deref();
        after.map(|after| parse(after).ok_or_else(|| wrong(after))).transpose()
    }

    fn wants(&self, cluster: &str, state: &str) -> bool {
        let fits = |wanted: &Option<String>, is: &str| wanted.as_deref().is_none_or(|w| w == is);
        fits(&self.cluster, cluster) && fits(&self.state, state)
    }

    /// A page of views; `key` is what names an item.
    fn page<S, T>(
        &self,
        items: impl Iterator<Item = S>,
        key: impl Fn(&S) -> String,
        view: impl Fn(S) -> T,
    ) -> Page<T> {
        let mut items = items.peekable();
        let (mut page, mut last) = (Vec::new(), None);
        while page.len() < self.limit() {
            let Some(item) = items.next() else { break };
            last = Some(key(&item));
            page.push(view(item));
        }
        Page { items: page, next: last.filter(|_| items.peek().is_some()) }
    }
}

pub(super) async fn clusters(
    State(door): State<Arc<ApiState>>,
    _: Caller,
    asked: Asked,
) -> Listed<ClusterView> {
    let paging = Paging::read(asked)?;
    let page = move |state: &Engine| {
        let after = paging.after.as_deref().map(ClusterName::from);
        let cells = state.cells_after(after.as_ref(), usize::MAX);
        let cells = cells.iter().filter(|cell| {
            let verdict = cell.look().map_or("unknown", |look| look.judgement.quorum.label());
            paging.wants(cell.name().as_str(), verdict)
        });
        let name = |cell: &&Arc<Cell>| cell.name().to_string();
        paging.page(cells, name, |cell| ClusterView::line(state, cell))
    };
    door.look_long(page).await.map(Json)
}

pub(super) async fn cluster(
    State(door): State<Arc<ApiState>>,
    _: Caller,
    Path(name): Path<String>,
) -> Result<Json<ClusterView>, Refusal> {
    let missing = Refusal::NotFound(format!("there is no cluster {name}"));
    let view = move |state: &Engine| state.cell(&name).map(|cell| ClusterView::whole(state, &cell));
    door.look(view).await?.map(Json).ok_or(missing)
}

pub(super) async fn alerts(
    State(door): State<Arc<ApiState>>,
    _: Caller,
    asked: Asked,
) -> Listed<AlertView> {
    let paging = Paging::read(asked)?;
    let after = paging.after(|after| {
        let (print, id) = after.split_once('-')?;
        Some(Key { print: u64::from_str_radix(print, 16).ok()?, id: id.parse().ok()? })
    })?;
    let firing = match paging.state.as_deref() {
        None => None,
        Some("firing") => Some(true),
        Some("resolved") => Some(false),
        Some(_) => return Ok(Json(Page { items: Vec::new(), next: None })),
    };
    let owner = paging.cluster.as_deref().map(|name| match name {
        "" | "none" => Belongs::ToNobody,
        name => Belongs::To(name.into()),
    });
    let state = door.handle.state();
    let found = state.alerts.page(after, paging.limit(), &Filter { owner, firing }).await;
    let items = found.alerts.iter().map(|(_, alert)| AlertView::new(state, alert)).collect();
    let next = found.next.map(|Key { print, id }| format!("{print:016x}-{id}"));
    Ok(Json(Page { items, next }))
}

pub(super) async fn alert(
    State(door): State<Arc<ApiState>>,
    _: Caller,
    Path(print): Path<String>,
) -> Result<Json<AlertView>, Refusal> {
    let missing = Refusal::NotFound(format!("there is no alert {print}"));
    let Some(wanted) = u64::from_str_radix(&print, 16).ok() else { return Err(missing) };
    let view = move |state: &Engine| {
        let alert = state.alerts.by_fingerprint(wanted).into_iter().next()?;
        Some(AlertView::new(state, &alert))
    };
    door.look(view).await?.map(Json).ok_or(missing)
}

pub(super) async fn incidents(
    State(door): State<Arc<ApiState>>,
    _: Caller,
    asked: Asked,
) -> Listed<IncidentView> {
    let paging = Paging::read(asked)?;
    let after = paging.after(IncidentId::parse)?;
    let page = move |state: &Engine| {
        let take = |cell: &Cell, one: &Incident| {
            let wanted = paging.wants(one.subject.cluster.as_str(), one.phase());
            wanted.then(|| (one.id, IncidentView::line(cell, one)))
        };
        let cluster = paging.cluster.as_deref();
        let found = state.incidents(after, cluster, take, paging.limit() + 1);
        paging.page(found.into_iter(), |(id, _)| id.to_string(), |(_, view)| view)
    };
    door.look_long(page).await.map(Json)
}

pub(super) async fn incident(
    State(door): State<Arc<ApiState>>,
    _: Caller,
    Path(id): Path<String>,
) -> Result<Json<IncidentView>, Refusal> {
    let missing = Refusal::NotFound(format!("there is no incident {id}"));
    let Some(id) = IncidentId::parse(&id) else { return Err(missing) };
    let Some(cell) = door.look(move |state| state.cell_of_incident(id)).await? else {
        return Err(missing);
    };
    let cell = door.recall(cell, Some(id), None).await?;
    let view = move |state: &Engine| {
        Some(IncidentView::whole(state.now(), &cell, cell.state.incidents.get(&id)?))
    };
    door.look(view).await?.map(Json).ok_or(missing)
}

pub(super) async fn runs(
    State(door): State<Arc<ApiState>>,
    _: Caller,
    asked: Asked,
) -> Listed<RunView> {
    let paging = Paging::read(asked)?;
    let after = paging.after(RunId::parse)?;
    let page = move |state: &Engine| {
        let take = |_: &Cell, one: &Run| {
            let wanted = paging.wants(one.plan.cluster.as_str(), one.state());
            wanted.then(|| (one.id, RunView::line(one)))
        };
        let cluster = paging.cluster.as_deref();
        let found = state.runs(after, cluster, take, paging.limit() + 1);
        paging.page(found.into_iter(), |(id, _)| id.to_string(), |(_, view)| view)
    };
    door.look_long(page).await.map(Json)
}

pub(super) async fn run(
    State(door): State<Arc<ApiState>>,
    _: Caller,
    Path(id): Path<String>,
) -> Result<Json<RunView>, Refusal> {
    let missing = Refusal::NotFound(format!("there is no run {id}"));
    let Some(id) = RunId::parse(&id) else { return Err(missing) };
    let Some(cell) = door.look(move |state| state.cell_of_run(id)).await? else {
        return Err(missing);
    };
    let cell = door.recall(cell, None, Some(id)).await?;
    let view =
        move |state: &Engine| Some(RunView::whole(&cell, cell.state.runs.get(&id)?, state.now()));
    door.look(view).await?.map(Json).ok_or(missing)
}

pub(super) async fn losses(
    State(door): State<Arc<ApiState>>,
    _: Caller,
    asked: Asked,
) -> Listed<LossView> {
    let paging = Paging::read(asked)?;
    let after = paging.after(LossId::parse)?;
    let page = move |state: &Engine| {
        let take = |_: &Cell, one: &LossRecord| {
            let word = if one.is_open() { "possible" } else { "acknowledged" };
            let wanted = paging.wants(one.cluster.as_str(), word);
            wanted.then(|| (one.id, LossView::new(one)))
        };
        let cluster = paging.cluster.as_deref();
        let found = state.losses(after, cluster, take, paging.limit() + 1);
        paging.page(found.into_iter(), |(id, _)| id.to_string(), |(_, view)| view)
    };
    door.look_long(page).await.map(Json)
}

pub(super) async fn loss(
    State(door): State<Arc<ApiState>>,
    _: Caller,
    Path(id): Path<String>,
) -> Result<Json<LossView>, Refusal> {
    let missing = Refusal::NotFound(format!("there is no loss {id}"));
    let Some(id) = LossId::parse(&id) else { return Err(missing) };
    let view = move |state: &Engine| {
        let cell = state.cell_of_loss(id)?;
        cell.state.losses.get(&id).map(LossView::new)
    };
    door.look(view).await?.map(Json).ok_or(missing)
}
