//! What must hold after every commit, before every effect, and at the end of a life.

use std::{collections::BTreeMap, time::Duration};

use super::driver::{Life, Report, Slot};
use crate::domain::{
    base::{id::RunId, time::Time},
    cell::{
        Cell, Step,
        effect::{CallWanted, Place},
    },
    incident::{Closed, Incident, IncidentEvent, decision::Reason, ledger::Ledger},
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
/// By then an incident of a cluster that is well must be closed.
const CLOSED_AFTER: Duration = Duration::from_mins(30);
/// By then a run must have ended, where people do what they are asked.
const ENDED_AFTER: Duration = Duration::from_hours(2);

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
        &mut self,
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
                    self.of_run(run, &record.event, is_seen_well, report)?;
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

    fn of_run(
        &mut self,
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

    /// The best data is still there, while nobody has a hand on it.
    fn keeps_data(&mut self, best: Option<i64>) -> Result<(), String> {
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

impl Slot {
    /// Whether the best data is still there.
    pub(super) fn keeps_data(&mut self) -> Result<(), String> {
        // a run moves data about; one that is not known yet may have been begun before a crash
        let is_idle = |cell: &Cell| cell.state.open_run().is_none();
        if !self.cell.as_ref().is_some_and(is_idle) {
            return Ok(());
        }
        let data = self.world.machines.values().filter_map(|machine| machine.data.as_ref());
        self.laws.keeps_data(data.map(|data| data.revision).max())
    }
}

/// Reasons that name somebody, or a time.
const WAITS: [Reason; 8] = [
    Reason::NoSurvivor,
    Reason::Attempts,
    Reason::LossBudget,
    Reason::LossOpen,
    Reason::DailyLimit,
    Reason::Backoff,
    Reason::Cooldown,
    Reason::Approval,
];

impl Life {
    /// The end: everything has ended, or names whom or what it waits for.
    pub(super) fn at_rest(&self) -> Result<(), String> {
        if !self.is_up {
            return Err("quorate does not run".into());
        }
        self.slots.iter().enumerate().try_for_each(|(at, slot)| {
            self.slot_at_rest(at, slot)
                .map_err(|broken| format!("{}: {broken}", slot.world.cluster))
        })
    }

    /// Why what is open is still open.
    pub(super) fn waits(&self) -> BTreeMap<String, u64> {
        let mut waits = BTreeMap::new();
        for cell in self.slots.iter().filter_map(|slot| slot.cell.as_ref()) {
            for incident in cell.state.open_incidents() {
                let reason = incident.standing.as_ref().and_then(|one| one.reason.clone());
                *waits.entry(reason.unwrap_or_else(|| "none".into())).or_default() += 1;
            }
        }
        waits
    }

    fn slot_at_rest(&self, at: usize, slot: &Slot) -> Result<(), String> {
        let Some(cell) = &slot.cell else { return Err("it has no cell".into()) };
        let well = slot.led_since.is_some_and(|since| self.now.since(since) > CLOSED_AFTER);
        if let Some(run) = cell.state.open_run()
            && self.clock().since(run.started_at) > ENDED_AFTER
        {
            let parked = run.parked.as_ref().map(|parked| parked.why.clone());
            return Err(format!("{} is still {}: {parked:?}", run.id, run.state()));
        }
        for incident in cell.state.open_incidents() {
            if well {
                return Err(format!("{} is open on a cluster that is well", describe(incident)));
            }
            let reason = incident.standing.as_ref().and_then(|standing| standing.reason.as_deref());
            let waits =
                reason.and_then(Reason::parse).is_some_and(|reason| WAITS.contains(&reason));
            if !waits && cell.state.open_run().is_none() {
                return Err(format!("{} waits for nobody", describe(incident)));
            }
        }
        let fires = self.intake.fires(at) && slot.led_since.is_none();
        if fires && cell.state.open_incidents().next().is_none() {
            return Err("an alert fires, there is no leader, and nothing is open".into());
        }
        let was_given_up = cell.state.runs.values().any(|run| {
            run.unwind.as_ref().is_some_and(crate::domain::run::state::Unwind::is_given_up)
        });
        let left = slot.world.machines.values().any(|one| one.masked || one.args.is_some());
        if well && left && !was_given_up && cell.state.open_run().is_none() {
            return Err("a member is left masked, or with a run's arguments".into());
        }
        Ok(())
    }
}

fn describe(incident: &Incident) -> String {
    let standing = incident.standing.as_ref();
    let standing = standing
        .map_or_else(String::new, |one| format!("{} ({:?}): {}", one.action, one.reason, one.text));
    format!("{} of {}, {standing}", incident.id, incident.subject.response)
}
