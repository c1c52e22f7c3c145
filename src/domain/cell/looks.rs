//! When a cell looks at its cluster, and what a look changes.
//!
//! While all is well a look asks the client ports only; anything else, and once a minute, it asks
//! every vantage. A look sets what the cluster is known to have been, keeps the last revision seen,
//! and notices what no alert says. It never acts.

use std::{sync::Arc, time::Duration};

use super::{
    Draft,
    effect::{Effect, LookWanted, Note},
    input::Looked,
    order::{OrderError, Reply, Ticket},
};
use crate::domain::{
    base::time::Time,
    etcd::{
        evidence::{Evidence, Observed},
        observation::Observation,
        verdict::Quorum,
    },
    run::state::Run,
};

/// Between two full looks at a healthy cluster: often enough to keep the marks of its data
/// directories, seldom enough not to start a process on every host every ten seconds.
const FULL_EVERY: Duration = Duration::from_mins(1);
/// Between two reconciliations with an Alertmanager.
const RECONCILE_EVERY: Duration = Duration::from_mins(1);
/// How far back Prometheus is asked for the last revision before an outage.
const PROMETHEUS_BACK: Duration = Duration::from_hours(1);

/// How often what was seen of a cluster is written down where nothing but its revision went on. A
/// crash in the very moment of an outage makes the last sighting that much older, and what may be
/// lost that much more; all else is told by what is in memory. Written at each look, 10,000 clusters
/// would be a thousand rows a second.
const KEEP_EVERY: Duration = Duration::from_mins(1);

impl Draft {
    /// Starts the look and the reconciliation that are due.
    pub(super) fn start_looks(&mut self) {
        if self.cell.setup.is_retired {
            return;
        }
        let now = self.now;
        let sight = &mut self.cell.sight;
        if self.cell.setup.cluster.alertmanager.is_some()
            && sight.reconcile_due <= now
            && !sight.reconciling
        {
            sight.reconciling = true;
            sight.reconcile_due = now.after(RECONCILE_EVERY);
            self.effects.push(Effect::Reconcile);
        }
        if self.cell.sight.look_due <= now && self.cell.sight.looking.is_none() {
            self.start_look();
        }
    }

    fn start_look(&mut self) {
        let now = self.now;
        let has_open = self.cell.state.open_incidents().next().is_some();
        let is_urgent = has_open || self.cell.state.open_run().is_some();
        let sight = &mut self.cell.sight;
        let is_healthy =
            sight.look.as_ref().is_some_and(|look| look.judgement.quorum == Quorum::Healthy);
        let is_asked = !sight.waiting.is_empty();
        let is_shallow = !has_open && !is_asked && is_healthy && sight.full_due > now;
        let outage = sight.observed.as_ref().and_then(|observed| {
            let until = observed.no_leader_since?;
            let from = until.before(PROMETHEUS_BACK);
            sight.prometheus_max.is_none().then_some((from, until))
        });
        let tools = has_open || is_asked;
        sight.looking = Some(now);
        self.effects.push(Effect::Look(LookWanted { is_shallow, is_urgent, outage, tools }));
    }

    /// Makes a full look due now.
    pub(super) fn look_soon(&mut self) {
        let now = self.now;
        (self.cell.sight.look_due, self.cell.sight.full_due) = (now, now);
    }

    /// Makes a full look due now; who asked is answered when one that began after this is complete.
    pub(super) fn look_for(&mut self, ticket: Ticket) {
        self.cell.sight.waiting.push((ticket, self.now));
        self.look_soon();
        self.refuse_if_retired();
    }

    /// Nobody waits for a look that will not come.
    pub(super) fn refuse_if_retired(&mut self) {
        if !self.cell.setup.is_retired {
            return;
        }
        let message = format!("cluster {} is not in the inventory any more", self.cell.name());
        self.refuse_waiting(&message);
    }

    fn refuse_waiting(&mut self, message: &str) {
        for (ticket, _) in std::mem::take(&mut self.cell.sight.waiting) {
            let refused = OrderError::Conflict { message: message.to_owned(), run: None };
            self.effects.push(Effect::Answer(ticket, Err(refused)));
        }
    }

    /// When to be stepped again for looks.
    pub(super) fn wake_for_looks(&mut self) {
        if self.cell.setup.is_retired {
            return;
        }
        let sight = &self.cell.sight;
        let (look, reconcile) = (sight.looking.is_none(), !sight.reconciling);
        let (look_due, reconcile_due) = (sight.look_due, sight.reconcile_due);
        if look {
            self.wake_at(look_due);
        }
        if reconcile && self.cell.setup.cluster.alertmanager.is_some() {
            self.wake_at(reconcile_due);
        }
    }

    /// A look brought nothing: it is tried again, and meanwhile nothing new is known.
    pub(super) fn look_failed(&mut self, why: &str) {
        self.notes.push(Note::LookFailed(why.into()));
        let began = self.cell.sight.looking.take().unwrap_or(self.now);
        self.cell.sight.failed = Some(why.to_owned());
        self.refuse_waiting(&format!("{} was not looked at: {why}", self.cell.name()));
        self.cell.sight.look_due = self.now.after(self.cell.setup.look_every);
        self.look_again_for_incidents(began);
        self.open_due();
        self.decide_all();
    }

    /// Takes a look in: observed row, verdict, samples of the open incidents.
    pub(super) fn take_look(&mut self, looked: &Looked) {
        let now = self.now;
        let asked = self.cell.sight.looking.take().unwrap_or(looked.began);
        if looked.began < self.cell.sight.seen_from {
            return; // the next one is due already
        }
        let look = self.judge(looked.evidence.clone());
        let is_unsure = looked.is_shallow && look.judgement.quorum != Quorum::Healthy;
        let sight = &mut self.cell.sight;
        sight.failed = None;
        if !looked.is_shallow && sight.full_due <= asked {
            sight.full_due = now.after(FULL_EVERY); // unless another was asked for meanwhile
        }
        sight.prometheus_max = looked.prometheus_max.or(sight.prometheus_max);
        sight.tools = looked.tools.clone().or(sight.tools.take());
        self.observe(&look);
        self.note_foreign(&look.evidence);
        self.cell.sight.look = Some(Arc::new(look));
        if is_unsure {
            self.look_soon(); // something is wrong: ask every vantage before saying anything
            return;
        }
        if self.cell.sight.look_due <= asked {
            self.cell.sight.look_due = now.after(self.cell.setup.look_every);
        }
        if !looked.is_shallow {
            self.answer_waiting(looked.began);
        }
        self.sample(asked);
        self.check_follow_ups();
    }

    fn answer_waiting(&mut self, began: Time) {
        let waiting = std::mem::take(&mut self.cell.sight.waiting);
        let (seen, later): (Vec<_>, Vec<_>) =
            waiting.into_iter().partition(|(_, since)| *since <= began);
        self.cell.sight.waiting = later;
        for (ticket, _) in seen {
            let text = format!("{} was looked at", self.cell.name());
            self.effects.push(Effect::Answer(ticket, Ok(Reply { text })));
        }
    }

    /// Draws the verdict from readings, with what the open run holds.
    pub(super) fn judge(&self, evidence: Evidence) -> Observation {
        Observation::judge(evidence, &self.cell.held(), self.cell.known(), self.now)
    }

    /// The observed row after this look, where it changed.
    fn observe(&mut self, look: &Observation) {
        let previous = self.cell.sight.observed.clone();
        let row = if let Some(voters) =
            look.evidence.voters.as_ref().filter(|_| look.judgement.voters_current)
        {
            self.cell.sight.prometheus_max = None;
            let known = look.judgement.remembered(&look.evidence);
            let recoveries = self.cell.state.recoveries();
            let before = previous.as_deref().cloned();
            Observed::sighted(before, voters.clone(), known, self.now, recoveries)
        } else {
            let leaderless = look.judgement.leader.is_none() && look.judgement.blind.is_none();
            let row = previous.as_deref().filter(|row| leaderless && row.no_leader_since.is_none());
            let Some(row) = row else { return };
            row.clone().leaderless(self.now)
        };
        let row = Arc::new(row);
        self.cell.sight.observed = Some(row.clone());
        let is_due = self.cell.sight.kept.as_ref().is_none_or(|kept| {
            // how much a rebuild could lose is told by two sightings at least
            kept.recent.len() < 2 || row.at.since(kept.at) >= KEEP_EVERY || row.is_news(kept)
        });
        if is_due {
            self.cell.sight.kept = Some(row.clone());
            self.observed = Some(row);
        }
    }

    /// Reports members that answer under another cluster's id: the old majority, back again.
    fn note_foreign(&mut self, evidence: &Evidence) {
        // A run that rebuilds the cluster gives it a new id: until it rests, its survivor looks foreign.
        let rebuilding = self.cell.state.open_run().is_some_and(Run::is_active);
        let observed = self.cell.sight.observed.clone().filter(|_| !rebuilding);
        let Some(observed) = observed else { return };
        let ours = observed.epoch.cluster_id;
        let answers = evidence.members.iter();
        let answers =
            answers.filter_map(|(name, row)| Some((name, row.client.value()?.cluster_id)));
        let foreign = answers.filter(|(_, found)| *found != ours);
        let foreign = foreign.map(|(name, found)| (name.clone(), found)).collect();
        let before = std::mem::replace(&mut self.cell.sight.foreign, foreign);
        for (member, found) in &self.cell.sight.foreign {
            if before.get(member) != Some(found) {
                let (member, found) = (member.clone(), *found);
                self.notes.push(Note::Foreign { member, found, ours });
            }
        }
    }

    /// A look takes as long as its most silent vantage: the next one of an open incident counts from
    /// its beginning, so that two samples are never further apart than the grace allows.
    pub(super) fn look_again_for_incidents(&mut self, began: Time) {
        let rules = &self.cell.setup.rules.responses;
        let open = self.cell.state.open_incidents();
        let gaps = open.filter_map(|i| Some(rules.get(&i.subject.response)?.grace.max_gap));
        if let Some(gap) = gaps.min() {
            let due = began.after(gap / 2).max(self.now);
            self.cell.sight.look_due = self.cell.sight.look_due.min(due);
        }
    }
}
