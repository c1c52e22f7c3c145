//! What must hold at the end of a life, and of the data while nobody has a hand on it.

use std::{collections::BTreeMap, time::Duration};

use super::life::{Life, Slot};
use crate::domain::{
    cell::Cell,
    incident::{Incident, decision::Reason},
    run::state::Unwind,
};

/// By then an incident of a cluster that is well must be closed.
const CLOSED_AFTER: Duration = Duration::from_mins(30);
/// By then a run must have ended, where people do what they are asked.
const ENDED_AFTER: Duration = Duration::from_hours(2);

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
        let was_given_up = cell
            .state
            .runs
            .values()
            .any(|run| run.unwind.as_ref().is_some_and(Unwind::is_given_up));
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
