//! What was lost, written down once: at the first moment the rebuilt member is its own leader, or
//! when the run is given up past the point of no return, if that comes first.

use super::{Draft, Moved};
use crate::domain::{
    base::id::{EtcdId, LossId, RunId},
    cell::{follow_ups, variables::missing},
    etcd::{
        loss::{LossRecord, LossState},
        observation::Observation,
    },
    journal::record::{Record, WatchKind},
    rules::{
        action::{ErrorKind, Failure},
        expr::{Template, Value},
        output::{Choice, rebuilt_member},
        playbook::model::Destroys,
    },
    run::{event::RunEvent, state::Run, todo::At},
};

impl Draft {
    /// `record: {loss: …}`: the record and the step's result are one commit.
    pub(super) fn record_loss(
        &mut self,
        run: &Run,
        at: &At<'_>,
        survivor: &Template,
        rebuilt: &Template,
    ) -> Moved {
        let Some(survivor) = self.text(run, at, survivor) else { return false };
        let Some(rebuilt) = self.text(run, at, rebuilt) else { return false };
        let fresh = self.fresh();
        let Some(look) = self.look_since(run, fresh) else { return false };
        let known = survivor.and_then(|survivor| Ok((survivor, rebuilt?)));
        let loss = match known {
            Ok((survivor, rebuilt)) => self.loss(run, look.as_deref(), &survivor, &rebuilt),
            Err(error) => Err(format!("{} is not known", missing(&error))),
        };
        let loss = match loss {
            Ok(loss) => loss,
            Err(why) => {
                self.fail_unstarted(run, at, Failure::new(ErrorKind::Invalid, why));
                return true;
            }
        };
        let output = Value::map([("loss", Value::str(loss.id.to_string()))]);
        self.write(Record::LossRecorded(loss));
        if let Some(watch) = follow_ups::after(run, WatchKind::Zombies, self.now) {
            self.write(watch);
        }
        let event = RunEvent::StepDone {
            step: at.path.clone(),
            output: output.to_json(),
            changed: true,
            released: None,
            built: None,
        };
        self.record(run.id, event);
        true
    }

    fn loss(
        &mut self,
        run: &Run,
        look: Option<&Observation>,
        survivor: &Value,
        rebuilt: &Value,
    ) -> Result<LossRecord, String> {
        let lacks = || "the survivor's or the rebuilt member's output lacks member, id or revision";
        let chosen = Choice::read(survivor).ok_or_else(lacks)?;
        let id = rebuilt_member(rebuilt);
        Ok(self.loss_record(run, look, &chosen, vec![id.ok_or_else(lacks)?]))
    }

    fn loss_record(
        &mut self,
        run: &Run,
        look: Option<&Observation>,
        chosen: &Choice,
        rebuilt: Vec<EtcdId>,
    ) -> LossRecord {
        let status = look.and_then(|look| {
            look.evidence.members.get(chosen.member.as_str())?.client.value().cloned()
        });
        LossRecord {
            id: LossId(self.cell.ids.make(self.now)),
            cluster: self.cell.name().clone(),
            run: run.id,
            survivor: chosen.member.clone(),
            survivor_id: chosen.id,
            retained_revision: chosen.revision,
            raft_term: status.as_ref().map_or(0, |status| status.raft_term),
            raft_index: status.as_ref().map_or(0, |status| status.raft_index),
            last_seen_revision: chosen.last_seen,
            lower: chosen.lower,
            upper: chosen.upper,
            discarded_entries: chosen.discarded,
            rebuilt,
            at: self.now,
            version: status
                .map(|status| status.version)
                .or_else(|| chosen.version.clone())
                .unwrap_or_default(),
            state: LossState::Possible,
        }
    }

    /// A run that is given up past the point of no return lost what it lost all the same.
    pub(in crate::domain::cell) fn record_loss_of_abandoned(&mut self, run: RunId) {
        let Some(run) = self.cell.state.runs.get(&run).cloned() else { return };
        let is_recorded = self.cell.state.losses.values().any(|loss| loss.run == run.id);
        if is_recorded || run.plan.destroys != Destroys::Data {
            return;
        }
        let Some(chosen) = Self::chosen(&run) else { return };
        let look = self.cell.sight.look.clone();
        let loss = self.loss_record(&run, look.as_deref(), &chosen, Vec::new());
        self.write(Record::LossRecorded(loss));
        if let Some(watch) = follow_ups::after(&run, WatchKind::Zombies, self.now) {
            self.write(watch);
        }
    }
}
