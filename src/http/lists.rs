//! What is known now, as lists and one by one.
//!
//! Newest first, save for clusters (by name) and alerts (an order that stays). A page is cut from
//! the state in one look, so that it never shows half of a change.

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
    },
    engine::state::State as Engine,
};

const LIMIT_DEFAULT: usize = 100;

/// Items of one page: the engine's loop stands still while it is made.
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
        let after = paging.after.as_deref();
        let clusters = state.clusters.values();
        let clusters =
            clusters.filter(|c| after.is_none_or(|after| c.inventory.name.as_str() > after));
        let clusters = clusters.filter(|watched| {
            let verdict = watched.look.as_ref().map_or("unknown", |l| l.judgement.quorum.label());
            paging.wants(watched.inventory.name.as_str(), verdict)
        });
        let name = |watched: &&_| name_of(watched);
        paging.page(clusters, name, |watched| ClusterView::line(state, watched))
    };
    door.look(page).await.map(Json)
}

fn name_of(watched: &crate::engine::state::Watched) -> String {
    watched.inventory.name.to_string()
}

pub(super) async fn cluster(
    State(door): State<Arc<ApiState>>,
    _: Caller,
    Path(name): Path<String>,
) -> Result<Json<ClusterView>, Refusal> {
    let missing = Refusal::NotFound(format!("there is no cluster {name}"));
    let name = ClusterName::from(name);
    let view = move |state: &Engine| {
        state.clusters.get(&name).map(|watched| ClusterView::whole(state, watched))
    };
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
    let page = move |state: &Engine| {
        let alerts = state.alerts.after(after);
        let alerts = alerts.filter(|(_, alert)| {
            let word = if alert.firing { "firing" } else { "resolved" };
            paging.wants(paging.cluster.as_deref().unwrap_or_default(), word)
        });
        let views = alerts.map(|(key, alert)| (key, AlertView::new(state, alert)));
        let views = views.filter(|(_, view)| {
            let cluster = view.cluster.as_ref().map_or("", ClusterName::as_str);
            paging.wants(cluster, &view.state)
        });
        paging.page(views, |(Key { print, id }, _)| format!("{print:016x}-{id}"), |(_, view)| view)
    };
    door.look(page).await.map(Json)
}

pub(super) async fn alert(
    State(door): State<Arc<ApiState>>,
    _: Caller,
    Path(print): Path<String>,
) -> Result<Json<AlertView>, Refusal> {
    let missing = Refusal::NotFound(format!("there is no alert {print}"));
    let Some(wanted) = u64::from_str_radix(&print, 16).ok() else { return Err(missing) };
    let view = move |state: &Engine| {
        let alert = state.alerts.by_fingerprint(wanted).next()?;
        Some(AlertView::new(state, alert))
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
        let all = state.clusters.values().flat_map(|watched| watched.state.incidents.values());
        let all = all.filter(|one| after.is_none_or(|after| one.id < after));
        let all = all.filter(|one| paging.wants(one.subject.cluster.as_str(), one.phase()));
        let mut all: Vec<_> = all.collect();
        all.sort_unstable_by_key(|one| std::cmp::Reverse(one.id));
        let view = |one| IncidentView::line(state, one);
        paging.page(all.into_iter(), |one| one.id.to_string(), view)
    };
    door.look(page).await.map(Json)
}

pub(super) async fn incident(
    State(door): State<Arc<ApiState>>,
    _: Caller,
    Path(id): Path<String>,
) -> Result<Json<IncidentView>, Refusal> {
    let missing = Refusal::NotFound(format!("there is no incident {id}"));
    let Some(id) = IncidentId::parse(&id) else { return Err(missing) };
    let view = move |state: &Engine| {
        let watched = state.cluster_of_incident(id)?;
        Some(IncidentView::whole(state, watched.state.incidents.get(&id)?))
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
        let all = state.clusters.values().flat_map(|watched| watched.state.runs.values());
        let all = all.filter(|one| after.is_none_or(|after| one.id < after));
        let all = all.filter(|one| paging.wants(one.plan.cluster.as_str(), one.state()));
        let mut all: Vec<_> = all.collect();
        all.sort_unstable_by_key(|one| std::cmp::Reverse(one.id));
        paging.page(all.into_iter(), |one| one.id.to_string(), RunView::line)
    };
    door.look(page).await.map(Json)
}

pub(super) async fn run(
    State(door): State<Arc<ApiState>>,
    _: Caller,
    Path(id): Path<String>,
) -> Result<Json<RunView>, Refusal> {
    let missing = Refusal::NotFound(format!("there is no run {id}"));
    let Some(id) = RunId::parse(&id) else { return Err(missing) };
    let view = move |state: &Engine| {
        let watched = state.cluster_of_run(id)?;
        Some(RunView::whole(state, watched.state.runs.get(&id)?))
    };
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
        let all = state.clusters.values().flat_map(|watched| watched.state.losses.values());
        let all = all.filter(|one| after.is_none_or(|after| one.id < after));
        let all = all.filter(|one| {
            let word = if one.is_open() { "possible" } else { "acknowledged" };
            paging.wants(one.cluster.as_str(), word)
        });
        let mut all: Vec<_> = all.collect();
        all.sort_unstable_by_key(|one| std::cmp::Reverse(one.id));
        paging.page(all.into_iter(), |one| one.id.to_string(), LossView::new)
    };
    door.look(page).await.map(Json)
}

pub(super) async fn loss(
    State(door): State<Arc<ApiState>>,
    _: Caller,
    Path(id): Path<String>,
) -> Result<Json<LossView>, Refusal> {
    let missing = Refusal::NotFound(format!("there is no loss {id}"));
    let Some(id) = LossId::parse(&id) else { return Err(missing) };
    let view = move |state: &Engine| {
        let mut all = state.clusters.values().filter_map(|watched| watched.state.losses.get(&id));
        all.next().map(LossView::new)
    };
    door.look(view).await?.map(Json).ok_or(missing)
}
