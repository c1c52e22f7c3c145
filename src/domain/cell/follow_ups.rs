//! Look-outs that outlive their run: the same proof again after ten minutes, and for seven days the
//! old members that come back. They report; they never repair.

use std::{collections::BTreeMap, time::Duration};

use super::{Draft, effect::Effect};
use crate::domain::{
    base::time::Time,
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
        WatchKind::Leftovers => (now, now), // ends when the cluster is whole
    };
    Some(Record::WatchSet(Watch { run: run.id, kind, from, until, cluster_id }))
}

impl Draft {
    /// Looks after the look-outs, after each look.
    pub(super) fn check_follow_ups(&mut self) {
        let due = self.cell.state.watches.iter().filter(|watch| watch.from <= self.now);
        for watch in due.cloned().collect::<Vec<_>>() {
            match watch.kind {
                WatchKind::Proof => self.start_proof(watch),
                WatchKind::Zombies => {
                    if let Some(report) = self.zombies(&watch) {
                        self.write(Record::WatchReported(report));
                    }
                }
                WatchKind::Leftovers => {
                    if let Some(report) = self.leftovers_end(&watch) {
                        self.write(Record::WatchReported(report));
                    }
                }
            }
        }
    }

    /// Compares all members once more.
    fn start_proof(&mut self, watch: Watch) {
        let Some(proof) = self.cell.setup.catalogue.values().find(|spec| spec.proves) else {
            return;
        };
        let action = proof.name.to_owned();
        if std::mem::replace(&mut self.cell.sight.proving, true) {
            return;
        }
        let cluster_id = Value::str(watch.cluster_id.to_string());
        let call = Call {
            action,
            args: BTreeMap::from([("cluster_id".to_owned(), cluster_id)]),
            run: watch.run,
            started_at: self.now,
        };
        self.effects.push(Effect::Prove(watch, call));
    }

    /// All members hold the same, ten minutes later, or not. What is not well is tried again at every
    /// look, so that a finding ends when its cause does.
    pub(super) fn proved(&mut self, watch: &Watch, equal: Option<bool>) {
        self.cell.sight.proving = false;
        let (run, kind) = (watch.run, watch.kind);
        let late = self.now >= watch.until;
        let (is_well, text) = match equal {
            Some(true) => (true, "all members still hold the same"),
            Some(false) => {
                (false, "the members do not hold the same any more: stop clients, compare by hand")
            }
            None if late => (false, "the members could not be compared again; compare by hand"),
            None => return, // a member moves or is silent: at the next look
        };
        let known = self.cell.state.findings.get(&(run, kind));
        if !is_well && known.is_some_and(|known| known.text == text) {
            return;
        }
        let report = WatchReport { run, kind, is_well, ended: is_well, text: text.to_owned() };
        self.write(Record::WatchReported(report));
    }

    /// Members of the old cluster that answer again. What is found is told until it is gone, also
    /// past the time of the look-out.
    fn zombies(&self, watch: &Watch) -> Option<WatchReport> {
        let key = (watch.run, watch.kind);
        let foreign = &self.cell.sight.foreign;
        let found = (!foreign.is_empty()).then(|| {
            let names = foreign.iter().map(|(name, id)| format!("{name} (cluster {id})"));
            format!(
                "old members are back with their old data: {}; the rebuilt cluster {} is not harmed; \
                 stop them and take their data away",
                names.collect::<Vec<_>>().join(", "),
                watch.cluster_id
            )
        });
        let ended = self.now >= watch.until && found.is_none();
        let known = self.cell.state.findings.get(&key).map(|report| report.text.clone());
        if found == known && !ended {
            return None;
        }
        let is_well = found.is_none();
        let text = found.unwrap_or_else(|| "no old member answers".into());
        Some(WatchReport { run: watch.run, kind: watch.kind, is_well, ended, text })
    }
}
