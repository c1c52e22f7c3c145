//! What must hold after every commit and before every effect.

use std::{collections::BTreeMap, time::Duration};

use super::report::Report;
use crate::domain::{
    base::{id::RunId, time::Time},
    cell::{
        Step,
        effect::{CallWanted, Place},
    },
    incident::{Closed, IncidentEvent, ledger::Ledger},
    journal::{cluster::ClusterState, record::Record},
    rules::action::{ActionSpec, OnResume},
    run::{
        event::{List, Outcome, RunEvent},
        state::{Run, Stage},
    },
};

/// A look is made at least that often while something is open, and the point of no return rests on
/// none older than 5 s: a cluster that has had a leader for longer was seen to be well.
const SEEN_WELL: Duration = Duration::from_secs(15);
/// A run makes some dozens of steps in its busiest second.
const STEPS_PER_SECOND: u32 = 200;

/// What of one cluster is held against the laws.
#[derive(Debug, Default)]
pub(super) struct Laws {
    /// How often each try of each call was begun; a row that begins anew has another order.
    begun: BTreeMap<(RunId, Place, usize, u32), u32>,
    /// What a process knew when it ended.
    ended: Option<ClusterState>,
    /// The best data there was, since something was last allowed to take it away.
    best: Option<i64>,
    /// The second in which steps are counted, and how many there were.
    second: Time,
    steps: u32,
}

impl Laws {
    /// A step: a cell that is stepped again and again has nothing to say each time.
    pub(super) fn stepped(&mut self, now: Time) -> Result<(), String> {
        if now.since(self.second) >= Duration::from_secs(1) {
            (self.second, self.steps) = (now, 0);
        }
        self.steps += 1;
        if self.steps > STEPS_PER_SECOND {
            return Err(format!("a cell spins: {} steps in a second", self.steps));
        }
        Ok(())
    }

    /// Data went by another hand than quorate's, or by a person's word.
    pub(super) fn lost_data(&mut self) {
        self.best = None;
    }

    /// A process ended and this was durable.
    pub(super) fn ended(&mut self, state: &ClusterState) {
        self.ended = Some(state.clone());
    }

    /// A process starts from this.
    pub(super) fn refolded(&mut self, after: &ClusterState) -> Result<(), String> {
        let Some(before) = self.ended.take() else { return Ok(()) };
        if before == *after {
            return Ok(());
        }
        let (before, after) = (format!("{before:?}"), format!("{after:?}"));
        let same = before.bytes().zip(after.bytes()).take_while(|(a, b)| a == b).count();
        let around =
            |text: &str| text.chars().skip(same.saturating_sub(80)).take(240).collect::<String>();
        let (before, after) = (around(&before), around(&after));
        Err(format!("a restart folds another history:\n {after}\nnot\n {before}"))
    }

    /// An effect begins: its record is durable, and it is not done twice.
    pub(super) fn begins(
        &mut self,
        wanted: &CallWanted,
        state: Option<&ClusterState>,
        spec: Option<&ActionSpec>,
    ) -> Result<(), String> {
        let what = format!("{} at {:?}", wanted.call.action, wanted.key.place);
        let run = state.and_then(|state| state.runs.get(&wanted.key.run));
        let run = run.ok_or_else(|| format!("{what}: no run is known"))?;
        let standing = match &wanted.key.place {
            Place::Step(path) => run.steps.get(path),
            Place::Entry(key) => run.entries.get(key),
        };
        let standing = standing.ok_or_else(|| format!("{what}: begun without its record"))?;
        if standing.stage != Stage::Started {
            return Err(format!("{what}: begun although it stands at {:?}", standing.stage));
        }
        if is_undo(&wanted.key.place) && run.past_return.is_some() {
            return Err(format!("{what}: taken back behind the point of no return"));
        }
        // what begins anew, since a person resumed the run, is another one
        let key = (run.id, wanted.key.place.clone(), standing.order, standing.attempts);
        let count = self.begun.entry(key).or_default();
        *count += 1;
        if *count > 1 && spec.is_none_or(|spec| spec.on_resume != OnResume::Rerun) {
            return Err(format!("{what}: begun {count} times in one try"));
        }
        Ok(())
    }

    /// Records are durable.
    pub(super) fn durable(
        before: Option<&ClusterState>,
        step: &Step,
        led_since: Option<Time>,
        now: Time,
        report: &mut Report,
    ) -> Result<(), String> {
        let next = &step.next.state;
        let is_seen_well = led_since.is_some_and(|since| now.since(since) > SEEN_WELL);
        for record in &step.records {
            match record {
                Record::Run(record) => {
                    let run = next.runs.get(&record.run);
                    of_run(run, &record.event, is_seen_well, report)?;
                }
                Record::Incident(record) => of_incident(&record.event, report)?,
                _ => {}
            }
        }
        let open = next.runs.values().filter(|run| run.finished.is_none()).count();
        if !step.records.is_empty() && open > 1 {
            return Err(format!("{open} runs at once"));
        }
        let attempts =
            |state: &ClusterState| state.ledgers.values().map(Ledger::attempts).sum::<u64>();
        if before.is_some_and(|before| attempts(before) > attempts(next)) {
            return Err("attempts were forgotten".into());
        }
        Ok(())
    }

    /// The best data is still there, while nobody has a hand on it.
    pub(super) fn keeps_data(&mut self, best: Option<i64>) -> Result<(), String> {
        if let (Some(before), Some(now)) = (self.best, best)
            && now < before
        {
            return Err(format!("the best data was at revision {before} and is at {now}"));
        }
        self.best = best;
        Ok(())
    }
}

fn is_undo(place: &Place) -> bool {
    matches!(place, Place::Entry(key) if key.list == List::Undo)
}

fn of_run(
    run: Option<&Run>,
    event: &RunEvent,
    is_seen_well: bool,
    report: &mut Report,
) -> Result<(), String> {
    let is_past = run.is_some_and(|run| run.past_return.is_some());
    match event {
        RunEvent::RunStarted { .. } if is_seen_well => {
            return Err("a run begins on a cluster that is well".into());
        }
        RunEvent::StepStarted { irreversible: true, .. } if is_seen_well => {
            return Err("the point of no return on a cluster that is well".into());
        }
        RunEvent::UnwindStarted { undo: true, .. } if is_past => {
            return Err("a way back behind the point of no return".into());
        }
        RunEvent::EntryStarted { entry, .. } if is_past && entry.list == List::Undo => {
            return Err("an undo behind the point of no return".into());
        }
        RunEvent::RunParked { .. } => report.parked += 1,
        RunEvent::RunFinished { outcome: Outcome::Succeeded, .. } => {
            report.rebuilt += u64::from(is_past);
        }
        RunEvent::RunFinished { outcome: Outcome::Undone, .. } => report.undone += 1,
        _ => {}
    }
    Ok(())
}

fn of_incident(event: &IncidentEvent, report: &mut Report) -> Result<(), String> {
    match event {
        IncidentEvent::Decided { action, reason: None, .. } if action != "run" => {
            Err(format!("{action} without a reason"))
        }
        IncidentEvent::IncidentClosed { outcome: Closed::Recovered, .. } => {
            report.recovered += 1;
            Ok(())
        }
        _ => Ok(()),
    }
}
