//! A reload: the cell works by something else from now on.
//!
//! Incidents keep the grace they have served where what they wait for is unchanged; a run keeps its
//! plan. What nothing is about any more is closed with that reason, so that nothing stays open for
//! ever.
//!
//! What was seen of a cluster by another entry says nothing of it any more: members may have come and
//! gone, and a name may stand for another machine.

use std::sync::Arc;

use super::{Draft, Setup, Sight};
use crate::domain::{
    base::{id::IncidentId, time::Time},
    incident::{Closed, Streaks, correlation::Correlation},
    journal::record::Record,
    run::{
        event::{RunEvent, RunRecord},
        parking,
        state::{Run, Unwind},
    },
};

impl Sight {
    /// Forgets what looks brought, also the one that is under way.
    fn see_anew(&mut self, now: Time) {
        self.seen_from = now;
        (self.look, self.tools, self.failed) = (None, None, None);
        self.foreign.clear();
    }
}

impl Draft {
    pub(super) fn reload(&mut self, setup: Arc<Setup>) {
        let before = std::mem::replace(&mut self.cell.setup, setup);
        let rules = |id: IncidentId, draft: &Self| {
            let incident = draft.incident(id)?;
            let name = incident.subject.response.as_str();
            let old = before.rules.responses.get(name);
            let new = draft.cell.setup.rules.responses.get(name);
            Some((old.cloned(), new.cloned()))
        };
        for id in self.open_ids() {
            if let Some((Some(old), Some(new))) = rules(id, self)
                && (old.grace != new.grace || old.confirm.source() != new.confirm.source())
            {
                self.cell.streaks.insert_mut(id, Streaks::default());
            }
        }
        let setup = &self.cell.setup;
        let is_same = Arc::ptr_eq(&before.cluster, &setup.cluster);
        if !is_same || before.is_retired != setup.is_retired {
            self.cell.sight.see_anew(self.now);
            self.forget_readings();
        }
        let (old, new) = (&before.cluster, &self.cell.setup.cluster);
        if !before.is_retired
            && !self.cell.setup.is_retired
            && (old.etcd != new.etcd || old.hosts != new.hosts)
        {
            self.park_run_of_another_entry();
        }
        self.refuse_if_retired();
        self.file_again();
        self.close_orphans();
        self.look_soon();
        self.open_due();
        self.decide_all();
    }

    /// What a run did lies where the entry said that it began with: under another one it would look, and
    /// take back, in the wrong place.
    fn park_run_of_another_entry(&mut self) {
        let is_given_up = |run: &Run| run.unwind.as_ref().is_some_and(Unwind::is_given_up);
        let run = self.cell.state.open_run().filter(|run| run.is_active() && !is_given_up(run));
        let Some(run) = run.cloned() else { return };
        let why = format!(
            "the entry of cluster {} names other members, hosts or places than when the run acted: put \
             it back as it was, or make sure that what the run did lies where the new one says, then \
             `quorate resume {id} --reason …` or `quorate abandon {id} --reason …`",
            self.cell.name(),
            id = run.id
        );
        let armed = parking::armed(&run);
        self.write(Record::Run(RunRecord {
            run: run.id,
            event: RunEvent::RunParked { why, armed },
        }));
    }

    /// Files every alert by the rules that are loaded now.
    fn file_again(&mut self) {
        let before = std::mem::take(&mut self.cell.signals);
        let setup = self.cell.setup.clone();
        let mut signals = Correlation::default();
        let ours = before.alerts().filter(|alert| setup.cluster.matches.matches(&alert.labels));
        for alert in ours {
            signals.observe(&setup.cluster.name, &setup.rules.responses, alert, self.now);
        }
        self.cell.signals = signals;
    }

    /// Closes incidents that nothing can answer any more: their response is not loaded, or their
    /// cluster not in the inventory.
    pub(super) fn close_orphans(&mut self) {
        for id in self.open_ids() {
            let Some(incident) = self.incident(id) else { continue };
            let response = incident.subject.response.clone();
            let why = if self.cell.setup.is_retired {
                format!("cluster {} is not in the inventory any more", self.cell.name())
            } else if self.cell.response(response.as_str()).is_none() {
                format!("response {response} is not loaded any more")
            } else {
                continue;
            };
            self.close(id, Closed::Abandoned, Some(why));
        }
    }
}
