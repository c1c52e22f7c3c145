//! Look-outs that outlive their run: the same proof again after ten minutes, and for seven days the
//! old members that come back. They report; they never repair.

use std::{collections::BTreeMap, time::Duration};

use super::{Engine, event::Event};
use crate::domain::{
    base::{id::ClusterName, time::Time},
    journal::record::{Record, Watch, WatchKind, WatchReport},
    rules::{action::Call, expr::Value},
    run::state::Run,
};

/// When the proof is repeated.
const PROOF_AFTER: Duration = Duration::from_mins(10);
/// How long a due proof is tried before it counts as failed.
const PROOF_WITHIN: Duration = Duration::from_mins(10);
/// How long old members are looked out for.
const ZOMBIES_FOR: Duration = Duration::from_hours(168);
/// Limit of one repeated proof.
const PROOF_TIMEOUT: Duration = Duration::from_mins(1);

/// The look-outs that follow a rebuild: for old members from the moment the loss is written down,
/// whatever becomes of the run; the proof again only where it succeeded.
pub(super) fn after(run: &Run, kind: WatchKind, now: Time) -> Option<Record> {
    let cluster_id = run.built?;
    let (from, until) = match kind {
        WatchKind::Proof => {
            let due = now.after(PROOF_AFTER);
            (due, due.after(PROOF_WITHIN))
        }
        WatchKind::Zombies => (now, now.after(ZOMBIES_FOR)),
    };
    Some(Record::WatchSet(Watch { run: run.id, kind, from, until, cluster_id }))
}

impl Engine {
    /// Looks after the look-outs of one cluster, after each of its looks.
    pub(super) async fn check_watches(&mut self, cluster: &ClusterName) {
        let now = self.state.now();
        let Some(watched) = self.state.clusters.get(cluster) else { return };
        let set: Vec<Watch> = watched.state.watches.clone();
        for watch in set.into_iter().filter(|watch| watch.from <= now) {
            match watch.kind {
                WatchKind::Proof => self.start_proof(cluster, watch),
                WatchKind::Zombies => {
                    let report = self.zombies(cluster, &watch);
                    self.report(cluster, report).await;
                }
            }
        }
    }

    async fn report(&mut self, cluster: &ClusterName, report: Option<WatchReport>) {
        let Some(report) = report else { return };
        if !report.is_well {
            tracing::error!(cluster = %cluster, run.id = %report.run, "{}", report.text);
        }
        self.write(cluster, vec![Record::WatchReported(report)]).await;
    }

    /// Compares all members in a task of its own: the loop goes on taking alerts.
    fn start_proof(&mut self, cluster: &ClusterName, watch: Watch) {
        let started_at = self.state.now();
        let Some(watched) = self.state.clusters.get_mut(cluster) else { return };
        if std::mem::replace(&mut watched.is_proving, true) {
            return;
        }
        let cluster_id = Value::str(watch.cluster_id.to_string());
        let call = Call {
            action: "etcd.compare".into(),
            args: BTreeMap::from([("cluster_id".to_owned(), cluster_id)]),
            run: watch.run,
            started_at,
        };
        let (patient, handle) = (watched.patient.clone(), self.handle.clone());
        let (cluster, cancel) = (cluster.clone(), self.cancel.clone());
        self.tasks.spawn(async move {
            let act = tokio::time::timeout(PROOF_TIMEOUT, patient.act(&call, &Value::Null));
            let Some(result) = cancel.run_until_cancelled(act).await else { return };
            let equal = match &result {
                Ok(Ok(done)) => done.output.get("equal").and_then(Value::as_bool),
                Ok(Err(_)) | Err(_) => None,
            };
            handle.send(Event::Proved(cluster, watch, equal)).await;
        });
    }

    /// All members hold the same, ten minutes later, or not.
    pub(super) async fn proved(
        &mut self,
        cluster: &ClusterName,
        watch: &Watch,
        equal: Option<bool>,
    ) {
        if let Some(watched) = self.state.clusters.get_mut(cluster) {
            watched.is_proving = false;
        }
        let late = self.state.now() >= watch.until;
        let (is_well, text) = match equal {
            Some(true) => (true, "all members still hold the same"),
            Some(false) => {
                (false, "the members do not hold the same any more: stop clients, compare by hand")
            }
            None if late => (false, "the members could not be compared again; compare by hand"),
            None => return, // a member moves or is silent: at the next look
        };
        let (run, kind, text) = (watch.run, watch.kind, text.to_owned());
        self.report(cluster, Some(WatchReport { run, kind, is_well, ended: true, text })).await;
    }

    /// Members of the old cluster that answer again.
    fn zombies(&self, cluster: &ClusterName, watch: &Watch) -> Option<WatchReport> {
        let watched = self.state.clusters.get(cluster)?;
        let key = (watch.run, watch.kind);
        let ended = self.state.now() >= watch.until;
        let found = (!watched.foreign.is_empty()).then(|| {
            let names = watched.foreign.iter().map(|(name, id)| format!("{name} (cluster {id})"));
            format!(
                "old members are back with their old data: {}; the rebuilt cluster {} is not harmed; \
                 stop them and take their data away",
                names.collect::<Vec<_>>().join(", "),
                watch.cluster_id
            )
        });
        let known = watched.state.findings.get(&key).map(|report| report.text.clone());
        if found == known && !ended {
            return None;
        }
        let is_well = found.is_none();
        let text = found.unwrap_or_else(|| "no old member answers".into());
        Some(WatchReport { run: watch.run, kind: watch.kind, is_well, ended, text })
    }
}
