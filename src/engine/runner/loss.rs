//! What was lost, written down once: at the first moment the rebuilt member is its own leader.

use std::time::Duration;

use uuid::Uuid;

use super::{Halt, Runner, Turn, approve::Chosen};
use crate::{
    domain::{
        base::id::{EtcdId, LossId},
        etcd::loss::{LossRecord, LossState},
        journal::record::Record,
        rules::{
            action::{ErrorKind, Failure},
            expr::{Template, Value},
        },
        run::{
            event::{RunEvent, RunRecord},
            next::At,
            state::Run,
        },
    },
    engine::variables::missing,
};

impl Runner {
    /// `record: {loss: …}`: the record and the step's result are one commit.
    pub(super) async fn record_loss(
        &mut self,
        run: &Run,
        at: &At<'_>,
        survivor: &Template,
        rebuilt: &Template,
    ) -> Turn {
        let survivor = self.text(run, &at.scope(), survivor).await;
        let rebuilt = self.text(run, &at.scope(), rebuilt).await;
        let (survivor, rebuilt) = match (survivor, rebuilt) {
            (Ok(survivor), Ok(rebuilt)) => (survivor, rebuilt),
            (Err(stop), _) | (_, Err(stop)) => {
                let message = format!("{} is not known", missing(&stop));
                return self
                    .fail_unstarted(run, at, Failure::new(ErrorKind::Invalid, message))
                    .await;
            }
        };
        let Some(loss) = self.loss(run, &survivor, &rebuilt).await else {
            let message =
                "the survivor's or the rebuilt member's output lacks member, id or revision";
            return self.fail_unstarted(run, at, Failure::new(ErrorKind::Invalid, message)).await;
        };
        tracing::warn!(run.id = %run.id, loss.id = %loss.id, cluster = %self.context.cluster,
            survivor = %loss.survivor, revision = loss.retained_revision, lower = loss.lower,
            upper = ?loss.upper, "data may have been lost; `quorate ack {}` once it was looked at", loss.id);
        let done = RunEvent::StepDone {
            step: at.path.clone(),
            output: Value::map([("loss", Value::str(loss.id.to_string()))]).to_json(),
            changed: true,
            released: None,
            built: None,
        };
        let records =
            vec![Record::LossRecorded(loss), Record::Run(RunRecord { run: run.id, event: done })];
        let (handle, cluster) = (&self.context.handle, &self.context.cluster);
        handle.append(cluster, run.id, Some(run.version), records).await.map_err(Halt::from)
    }

    async fn loss(&mut self, run: &Run, survivor: &Value, rebuilt: &Value) -> Option<LossRecord> {
        let look = self.look(run, Duration::from_secs(5)).await;
        let chosen = Chosen::read(&survivor.to_json())?;
        let status = look.as_ref().and_then(|look| {
            look.evidence.members.get(chosen.member.as_str())?.client.value().cloned()
        });
        let text =
            |value: &Value, key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
        let rebuilt_id = text(rebuilt, "member_id").and_then(|id| EtcdId::parse(&id))?;
        Some(LossRecord {
            id: LossId(Uuid::now_v7()),
            cluster: self.context.cluster.clone(),
            run: run.id,
            survivor: chosen.member.as_str().into(),
            survivor_id: chosen.id,
            retained_revision: chosen.revision,
            raft_term: status.as_ref().map_or(0, |status| status.raft_term),
            raft_index: status.as_ref().map_or(0, |status| status.raft_index),
            last_seen_revision: survivor
                .get("last_seen")
                .and_then(|seen| seen.get("revision")?.as_int()),
            lower: chosen.lower,
            upper: chosen.upper,
            discarded_entries: discarded(survivor),
            rebuilt: vec![rebuilt_id],
            at: self.now(),
            version: status
                .map(|status| status.version)
                .or_else(|| text(survivor, "version"))
                .unwrap_or_default(),
            state: LossState::Possible,
        })
    }
}

/// Entries that etcd logged as discarded when the survivor's scratch copy was read.
fn discarded(survivor: &Value) -> Option<u64> {
    survivor.get("discarded").and_then(Value::as_int).and_then(|n| u64::try_from(n).ok())
}
