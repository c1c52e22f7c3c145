//! What a life came to, and what may be planted in one.

use std::collections::BTreeMap;

/// What a life came to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// Cluster-hours.
    pub hours: f64,
    /// Steps of cells.
    pub steps: u64,
    /// Records that became durable.
    pub records: u64,
    /// Looks.
    pub looks: u64,
    /// Effects on the model.
    pub effects: u64,
    /// How often quorate was killed.
    pub kills: u64,
    /// Commits that were not durable as they should be.
    pub hurt: u64,
    /// Questions at which something went wrong.
    pub wrongs: u64,
    /// Majorities that were gone for good.
    pub losses: u64,
    /// Clusters that a run built anew.
    pub rebuilt: u64,
    /// Incidents that ended `recovered`.
    pub recovered: u64,
    /// Runs that were parked.
    pub parked: u64,
    /// Runs that were taken back.
    pub undone: u64,
    /// What was still waited for at the end: reasons, and how often each.
    pub waits: BTreeMap<String, u64>,
}

impl Report {
    /// Both together.
    pub fn add(&mut self, other: &Self) {
        self.hours += other.hours;
        for (mine, theirs) in [
            (&mut self.steps, other.steps),
            (&mut self.records, other.records),
            (&mut self.looks, other.looks),
            (&mut self.effects, other.effects),
            (&mut self.kills, other.kills),
            (&mut self.hurt, other.hurt),
            (&mut self.wrongs, other.wrongs),
            (&mut self.losses, other.losses),
            (&mut self.rebuilt, other.rebuilt),
            (&mut self.recovered, other.recovered),
            (&mut self.parked, other.parked),
            (&mut self.undone, other.undone),
        ] {
            *mine += theirs;
        }
        for (reason, count) in &other.waits {
            *self.waits.entry(reason.clone()).or_default() += count;
        }
    }
}

/// A fault that is planted, to show that the laws see it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sabotage {
    /// None.
    #[default]
    None,
    /// Calls of runs are never carried out nor answered.
    NeverActs,
    /// Effects begin before their records are durable.
    ActsBeforeCommit,
    /// A restart has lost the last records.
    ForgetsRecords,
    /// Alerts are kept, and reach no cell.
    ForgetsAlerts,
}
