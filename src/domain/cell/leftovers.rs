//! What a repair that was given up past its point of no return left to be done by hand, until the
//! cluster is seen whole.
//!
//! That something is left is a look-out in the journal, so it outlives a restart and the run's own
//! rows; what it is, is told from the run and the last look, so it shrinks as people work on it.

use std::collections::BTreeMap;

use super::{
    Cell, Draft,
    run::listing::{entry_commands, member_commands, start_commands},
};
use crate::domain::{
    base::{
        id::{MemberName, RunId},
        time::Time,
    },
    etcd::evidence::{DataState, Observed},
    journal::record::{Record, Watch, WatchKind, WatchReport},
    run::{
        event::List,
        parking,
        state::{Run, Unwind},
    },
};

/// One thing that is left to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leftover {
    /// What it is.
    pub what: String,
    /// The commands that end it, one a line; holes as `<…>`.
    pub commands: Vec<String>,
}

impl Cell {
    /// What a run that was given up left to be done by hand; empty once the cluster was seen whole.
    pub fn leftovers(&self, run: &Run, now: Time) -> Vec<Leftover> {
        if !self.leaving().any(|id| id == run.id) {
            return Vec::new();
        }
        let armed = parking::left(run).into_iter().filter(|(key, _)| key.list == List::Finally);
        let armed = armed.map(|(key, entry)| Leftover {
            what: format!("step {} left {} undone", key.step, entry.call.action),
            commands: entry_commands(run, self, &key, entry, now),
        });
        let missing = self.not_whole();
        let missing = missing.iter().map(|(member, why)| self.missing(run, member, why, now));
        armed.chain(missing).collect()
    }

    /// A member that is no healthy voter. On one that is in stands what clients wrote since: it is
    /// started, never emptied; only one that is not in joins with nothing.
    fn missing(&self, run: &Run, member: &MemberName, why: &str, now: Time) -> Leftover {
        let what = format!("{member} is not a healthy voter: {why}");
        if !self.is_in(run, member) {
            return Leftover { what, commands: member_commands(run, self, member.as_str(), now) };
        }
        let data = self.look().and_then(|look| look.judgement.members.get(member)?.data);
        if matches!(data, Some(DataState::Empty | DataState::Missing)) {
            let what = format!(
                "{what}; its data, which is the cluster's, is not there: find its volume before anything is started"
            );
            return Leftover { what, commands: Vec::new() };
        }
        let what = format!("{what}; its data is the cluster's: start it, and move nothing");
        Leftover { what, commands: start_commands(run, self, member.as_str()) }
    }

    /// Whether a member is in the cluster that the run left: its survivor, or a voter of its list.
    fn is_in(&self, run: &Run, member: &MemberName) -> bool {
        let survives = Draft::chosen(run).is_some_and(|chosen| chosen.member == *member);
        let observed = self.sight.observed.as_deref();
        // a list of before the rebuild says nothing of who is in now
        let list = observed.filter(|row| run.built.is_none_or(|id| row.epoch.cluster_id == id));
        survives || list.is_some_and(|row| row.voters.voters().any(|(name, _)| name == member))
    }

    /// How many things are left to be done by hand, by all runs. What a run left of which nothing
    /// more is known counts as one.
    pub fn leftovers_count(&self, now: Time) -> usize {
        let of =
            |id: RunId| self.state.runs.get(&id).map_or(0, |run| self.leftovers(run, now).len());
        self.leaving().map(|id| of(id).max(1)).sum()
    }

    /// The runs that left something, while the cluster was not seen whole since.
    fn leaving(&self) -> impl Iterator<Item = RunId> {
        let of = self.state.watches.iter().filter(|watch| watch.kind == WatchKind::Leftovers);
        of.map(|watch| watch.run)
    }

    /// The members of the inventory that the last look does not show as healthy voters, and why.
    fn not_whole(&self) -> BTreeMap<MemberName, String> {
        let names = self.inventory().etcd.members.iter().map(|member| &member.name);
        let missing = names.filter_map(|name| {
            let state = self.look().and_then(|look| look.judgement.members.get(name));
            let is_well = state.is_some_and(|state| state.voter && state.alive == Some(true));
            let why = state.map_or("it was not looked at yet".into(), |state| state.why.clone());
            (!is_well).then(|| (name.clone(), why))
        });
        missing.collect()
    }
}

impl Draft {
    /// Looks out for what a run leaves that was given up past its point of no return.
    pub(super) fn look_out_for_leftovers(&mut self, run: &Run) {
        let is_given_up = run.unwind.as_ref().is_some_and(Unwind::is_given_up);
        if !is_given_up || run.past_return.is_none() {
            return;
        }
        let of = |row: &Observed| row.epoch.cluster_id;
        let known = run.built.or_else(|| self.cell.sight.observed.as_deref().map(of));
        // nothing was ever seen of a cluster whose id is unknown here: any look-out may replace it
        let cluster_id = known.unwrap_or_default();
        let (from, until) = (self.now, self.now);
        let watch = Watch { run: run.id, kind: WatchKind::Leftovers, from, until, cluster_id };
        self.write(Record::WatchSet(watch));
    }

    /// Nothing is left once all members of the inventory are healthy voters again.
    pub(super) fn leftovers_end(&self, watch: &Watch) -> Option<WatchReport> {
        let text = "all members are healthy voters: nothing is left to do".to_owned();
        let (run, kind) = (watch.run, watch.kind);
        let is_whole = self.cell.not_whole().is_empty();
        is_whole.then_some(WatchReport { run, kind, is_well: true, ended: true, text })
    }
}
