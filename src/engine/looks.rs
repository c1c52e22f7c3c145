//! The watch: every cluster is looked at, healthy ones too; incidents are sampled from the looks.
//!
//! While all is well a look asks the client ports only; anything else, and once a minute, it asks
//! every vantage. A look sets the latch, keeps the last revision seen, and notices what no alert
//! says. It never acts.

use std::{sync::Arc, time::Duration};

use tokio::sync::oneshot;

use super::{
    Engine,
    event::Event,
    intake::chain,
    state::{Look, Watched},
};
use crate::{
    domain::{
        base::{id::ClusterName, time::Time},
        etcd::{
            evidence::{Evidence, Held, Observed},
            reading::{Cause, Reading, Vantage},
            verdict::{self, Judgement, Quorum},
        },
        run::apply::Run,
    },
    store::{Batch, ObservedRow},
    targets::{Depth, Toolset},
};

/// Between two full looks at a healthy cluster: often enough to keep the marks of its data
/// directories, seldom enough not to start a process on every host every ten seconds.
const FULL_EVERY: Duration = Duration::from_mins(1);
/// Between two reconciliations with an Alertmanager.
const RECONCILE_EVERY: Duration = Duration::from_mins(1);
/// How far back Prometheus is asked for the last revision before an outage.
const PROMETHEUS_BACK: Duration = Duration::from_hours(1);

/// What a look task brings back.
#[derive(Debug)]
pub struct Seen {
    /// The readings.
    pub evidence: Evidence,
    /// How deep it looked.
    pub depth: Depth,
    /// The highest revision in Prometheus before the outage, where it was asked.
    pub prometheus_max: Option<i64>,
    /// The tools of a repair or why they cannot be used, where they were asked.
    pub tools: Option<Result<Toolset, String>>,
}

impl Engine {
    /// Starts the looks and reconciliations that are due; answers when to come again.
    pub(super) fn start_looks(&mut self) -> Time {
        let now = self.state.now();
        let mut next = now.after(Duration::from_secs(10));
        let names: Vec<ClusterName> = self.state.clusters.keys().cloned().collect();
        for name in names {
            let Some(watched) = self.state.clusters.get_mut(&name) else { continue };
            if watched.reconcile_due <= now {
                watched.reconcile_due = now.after(RECONCILE_EVERY);
                self.start_reconcile(&name);
            }
            let Some(watched) = self.state.clusters.get_mut(&name) else { continue };
            if watched.look_due <= now && !watched.is_looking {
                watched.is_looking = true;
                self.start_look(&name);
            }
            if let Some(watched) = self.state.clusters.get(&name) {
                if !watched.is_looking {
                    next = next.min(watched.look_due);
                }
                next = next.min(watched.reconcile_due);
            }
        }
        next
    }

    /// Makes a full look due now; `reply` is answered when one that began after this is complete.
    pub(super) fn look_now(&mut self, name: &ClusterName, reply: oneshot::Sender<()>) {
        let now = self.state.now();
        if let Some(watched) = self.state.clusters.get_mut(name) {
            watched.waiting.push(reply);
            (watched.look_due, watched.full_due) = (now, now);
        }
    }

    fn start_look(&mut self, name: &ClusterName) {
        let now = self.state.now();
        let Some(watched) = self.state.clusters.get_mut(name) else { return };
        watched.look_began = now;
        let is_calm = watched.state.open_incidents().next().is_none()
            && watched.look.as_ref().is_some_and(|look| look.judgement.quorum == Quorum::Healthy);
        let depth = if is_calm && watched.full_due > now { Depth::Watch } else { Depth::Full };
        let outage = watched.observed.as_ref().and_then(|observed| {
            let until = observed.no_leader_since?;
            let from = Time(until.0 - i64::try_from(PROMETHEUS_BACK.as_millis()).unwrap_or(0));
            watched.prometheus_max.is_none().then_some((from, until))
        });
        let waiting = std::mem::take(&mut watched.waiting);
        let ask_tools = watched.state.open_incidents().next().is_some() || !waiting.is_empty();
        let (patient, handle, clock) =
            (watched.patient.clone(), self.handle.clone(), self.state.clock);
        let (name, permits, cancel) = (name.clone(), self.looking.clone(), self.cancel.clone());
        self.tasks.spawn(async move {
            let work = async {
                let _permit = permits.acquire_owned().await.ok();
                let now = move || clock.now();
                let evidence = patient.assess(depth, &now).await;
                let prometheus_max = match outage {
                    Some((from, until)) => patient.revision_max(from, until).await,
                    None => None,
                };
                let tools = if ask_tools { Some(patient.tools().await) } else { None };
                Box::new(Seen { evidence, depth, prometheus_max, tools })
            };
            if let Some(seen) = cancel.run_until_cancelled(work).await {
                handle.send(Event::Seen(name, seen)).await;
            }
            for reply in waiting {
                reply.send(()).unwrap_or_default(); // who waited may have gone
            }
        });
    }

    fn start_reconcile(&mut self, name: &ClusterName) {
        let Some(watched) = self.state.clusters.get(name) else { return };
        if watched.inventory.alertmanager.is_none() {
            return;
        }
        let (patient, handle, name) = (watched.patient.clone(), self.handle.clone(), name.clone());
        let (cancel, asked) = (self.cancel.clone(), self.state.now());
        self.tasks.spawn(async move {
            let Some(answer) = cancel.run_until_cancelled(patient.alerts()).await else { return };
            let alerts = match answer {
                Some(Ok(alerts)) => Some(alerts),
                Some(Err(error)) => {
                    tracing::warn!(cluster = %name, error = %error, "alertmanager was not reconciled");
                    None
                }
                None => None,
            };
            handle.send(Event::Reconciled(name, asked, alerts)).await;
        });
    }

    /// Takes a look in: observed row, verdict, samples of the open incidents.
    pub(super) async fn take_look(&mut self, name: &ClusterName, seen: Seen) {
        let now = self.state.now();
        self.note_readings(&seen.evidence);
        let Some(watched) = self.state.clusters.get_mut(name) else { return };
        watched.is_looking = false;
        if seen.depth != Depth::Watch {
            watched.full_due = now.after(FULL_EVERY);
        }
        if let Some(max) = seen.prometheus_max {
            watched.prometheus_max = Some(max);
        }
        if let Some(tools) = seen.tools {
            watched.tools = Some(tools);
        }
        let look = judge(watched, seen.evidence, now);
        let is_shallow = seen.depth == Depth::Watch && look.judgement.quorum != Quorum::Healthy;
        let observed = observe(watched, &look, now);
        note_foreign(name, watched, &look.evidence);
        watched.look = Some(Arc::new(look));
        if is_shallow {
            watched.full_due = now; // something is wrong: ask every vantage before saying anything
            watched.look_due = now;
        } else {
            watched.look_due = now.after(self.state.settings.watch_every);
        }
        if let Some(observed) = observed {
            self.keep_observed(name, &observed);
        }
        if !is_shallow {
            self.sample(name).await;
            self.check_watches(name).await;
        }
    }

    fn keep_observed(&mut self, name: &ClusterName, observed: &Observed) {
        let Ok(body) = serde_json::to_string(observed) else { return };
        let row = ObservedRow { cluster: name.clone(), body };
        let pending = self.store.commit(Batch { observed: vec![row], ..Batch::default() });
        if let Some(watched) = self.state.clusters.get_mut(name) {
            watched.observed = Some(observed.clone());
        }
        let handle = self.handle.clone();
        self.tasks.spawn(async move {
            let done = pending.await;
            handle.note_commit(&done);
            if let Err(error) = done {
                tracing::warn!(error = %chain(&error), "what was observed is not durable");
                handle.send(Event::StoreFailed).await;
            }
        });
    }

    fn note_readings(&self, evidence: &Evidence) {
        for member in evidence.members.values() {
            self.count_reading("etcd", Vantage::Network, &member.client);
            self.count_reading("etcd_peer", Vantage::Network, &member.peer);
            self.count_reading("etcd_metrics", Vantage::Network, &member.metrics);
            self.count_reading("process", Vantage::Host, &member.process);
            self.count_reading("data", Vantage::Host, &member.data);
            self.count_reading("prometheus", Vantage::Prometheus, &member.up);
        }
    }
}

impl Engine {
    fn count_reading<T>(&self, target: &'static str, vantage: Vantage, reading: &Reading<T>) {
        let took = Duration::from_millis(u64::from(reading.took_ms));
        let outcome = reading.cause().map_or("known", Cause::label);
        if reading.asked() {
            self.metrics.probe(target, vantage.label(), outcome, took);
        }
        if let Some(cause) = reading.cause() {
            self.metrics.evidence_unknown(target, cause.label());
        }
    }
}

/// Draws the verdict, and where quorum is lost the survivor by what is known without stopping
/// anything, with what a rebuild from it would lose.
pub(super) fn judge(watched: &Watched, evidence: Evidence, now: Time) -> Look {
    judge_held(watched, evidence, &watched.held(), now)
}

/// The same with what a run holds.
pub(super) fn judge_held(watched: &Watched, evidence: Evidence, held: &Held, now: Time) -> Look {
    let observed = watched.observed.as_ref();
    let (attested, built) = (&watched.state.attested, watched.built());
    let judgement = verdict::judge(&evidence, observed, attested, held, built, now);
    let survivor = best_survivor(&judgement);
    let loss = survivor.as_ref().and_then(|(_, revision)| watched.expect_loss(*revision, now));
    Look { evidence, judgement, survivor: survivor.map(|(name, _)| name), loss }
}

fn best_survivor(judgement: &Judgement) -> Option<(String, i64)> {
    if !matches!(judgement.quorum, Quorum::Lost { .. }) {
        return None;
    }
    let known = judgement.members.iter().filter(|(_, state)| state.voter && !state.gone);
    let known = known.filter_map(|(name, state)| Some((name.to_string(), state.revision?)));
    known.max_by_key(|(_, revision)| *revision)
}

/// The observed row after this look, where it changed.
fn observe(watched: &mut Watched, look: &Look, now: Time) -> Option<Observed> {
    let previous = watched.observed.clone();
    if let Some(voters) = look.evidence.voters.as_ref().filter(|_| look.judgement.voters_current) {
        watched.prometheus_max = None;
        let known = look.judgement.remembered(&look.evidence);
        let recoveries = watched.state.recoveries();
        return Some(Observed::sighted(previous, voters.clone(), known, now, recoveries));
    }
    let leaderless = look.judgement.leader.is_none() && look.judgement.blind.is_none();
    let previous = previous.filter(|row| leaderless && row.no_leader_since.is_none())?;
    Some(previous.leaderless(now))
}

/// Reports members that answer under another cluster's id: the old majority, back again.
fn note_foreign(name: &ClusterName, watched: &mut Watched, evidence: &Evidence) {
    // A run that rebuilds the cluster gives it a new id: until it rests, its survivor looks foreign.
    let rebuilding = watched.state.open_run().is_some_and(Run::is_active);
    let Some(observed) = watched.observed.as_ref().filter(|_| !rebuilding) else { return };
    let ours = observed.epoch.cluster_id;
    let mut foreign = std::collections::BTreeMap::new();
    for (member, readings) in &evidence.members {
        if let Some(status) = readings.client.value().filter(|status| status.cluster_id != ours) {
            foreign.insert(member.to_string(), status.cluster_id.to_string());
        }
    }
    for (member, cluster_id) in &foreign {
        if watched.foreign.get(member) != Some(cluster_id) {
            tracing::warn!(cluster = %name, member, foreign.cluster_id = cluster_id,
                cluster.id = %ours, "a member answers under another cluster's id: an old member is \
                back with its old data; stop it and take its data away, the cluster is not harmed");
        }
    }
    watched.foreign = foreign;
}
