//! Current counts for `/metrics`, read from the state when somebody asks: a gauge cannot drift.

use std::collections::BTreeMap;

use super::state::State;
use crate::{
    domain::{
        base::time::Time, cell::Cell, etcd::loss::LossRecord, journal::record::WatchKind,
        run::event::Outcome,
    },
    telemetry::metrics::Scrape,
};

impl State {
    /// What there is right now.
    pub fn scrape(&self, store_bytes: u64) -> Scrape {
        let now = self.now();
        let cells = self.cells();
        let mut scrape = Scrape {
            alerts_active: self.alerts.counts().firing as u64,
            last_alert: self.alerts.last_arrival(),
            store_bytes,
            store_owned_clusters: cells.len() as u64,
            ..Scrape::default()
        };
        let mut incidents = BTreeMap::<_, u64>::new();
        let mut runs = BTreeMap::<_, u64>::new();
        for cell in &cells {
            let (name, state) = (cell.name(), &cell.state);
            for incident in state.open_incidents() {
                let response = incident.subject.response.clone();
                *incidents.entry((response, incident.phase())).or_default() += 1;
            }
            for run in state.runs.values() {
                *runs.entry(run.state()).or_default() += 1;
            }
            if self.why_stopped(name).is_some() {
                scrape.cluster_stopped.push(name.clone());
            }
            if let Some(look) = cell.look() {
                scrape.cluster_verdict.push((name.clone(), "etcd", look.judgement.quorum.label()));
            }
            let left = cell.leftovers_count(now);
            if left > 0 {
                scrape.repair_leftovers.push((name.clone(), left as u64));
            }
            scrape_losses(cell, &mut scrape);
            for kind in [WatchKind::Proof, WatchKind::Zombies] {
                let found = state.findings.keys().filter(|(_, of)| *of == kind).count();
                scrape.watch_findings.push((name.clone(), label(kind), found as u64));
            }
            scrape_ledgers(cell, now, &mut scrape);
        }
        let incidents = incidents.into_iter();
        scrape.incidents_open =
            incidents.map(|((response, phase), count)| (response, phase, count)).collect();
        scrape.runs_in_state = runs.into_iter().collect();
        scrape
    }
}

fn scrape_losses(cell: &Cell, scrape: &mut Scrape) {
    let (name, losses) = (cell.name(), &cell.state.losses);
    if !losses.is_empty() {
        scrape.data_loss_events.push((name.clone(), losses.size() as u64));
    }
    let bounds = bounds(losses.values().filter(|loss| loss.is_open()));
    if let Some((lower, upper)) = bounds {
        scrape.data_loss_possible.push(name.clone());
        scrape.data_loss_revisions.push((name.clone(), "lower", Some(lower)));
        scrape.data_loss_revisions.push((name.clone(), "upper", upper));
    }
}

fn scrape_ledgers(cell: &Cell, now: Time, scrape: &mut Scrape) {
    let name = cell.name();
    let mut attempts = BTreeMap::<_, u64>::new();
    for (subject, ledger) in &cell.state.ledgers {
        for ((playbook, outcome), count) in &ledger.total {
            *attempts.entry((playbook.clone(), *outcome)).or_default() += count;
        }
        let response = cell.response(subject.response.as_str());
        let until = response.and_then(|r| ledger.backoff_until(&r.guards.backoff));
        if let Some(until) = until.filter(|until| *until > now) {
            scrape.backoff_until.push((name.clone(), subject.response.clone(), until));
        }
    }
    let rows = attempts.into_iter();
    scrape.repair_attempts.extend(rows.map(|((playbook, outcome), count)| {
        (name.clone(), playbook, Outcome::label(outcome), count)
    }));
    for incident in cell.state.open_incidents() {
        let Some(response) = cell.response(incident.subject.response.as_str()) else { continue };
        if incident.confirmed_at.is_none()
            && let Some(due) = cell.streaks_of(incident.id).confirming.due(&response.grace)
        {
            let left = due.since(now);
            scrape.grace_remaining.push((name.clone(), response.name.clone(), left));
        }
    }
}

fn label(kind: WatchKind) -> &'static str {
    match kind {
        WatchKind::Proof => "proof",
        WatchKind::Zombies => "zombies",
        WatchKind::Leftovers => "leftovers",
    }
}

/// The sum of the bounds of losses; one that has no upper bound leaves the sum without.
fn bounds<'a>(losses: impl Iterator<Item = &'a LossRecord>) -> Option<(u64, Option<u64>)> {
    let bounds = losses.map(|loss| (loss.lower, loss.upper));
    bounds.reduce(|(lower, upper), (least, most)| {
        let upper = upper.zip(most).map(|(sum, most)| sum.saturating_add(most));
        (lower.saturating_add(least), upper)
    })
}

#[cfg(test)]
mod tests {
    use super::bounds;
    use crate::domain::journal::record::{Record, VERSION};

    #[test]
    fn an_unknown_upper_bound_makes_the_sum_unknown() {
        let body = include_str!("../../tests/fixtures/journal/v1/loss_recorded.json").trim_end();
        let Ok(Record::LossRecorded(loss)) = Record::decode("loss_recorded", VERSION, body) else {
            panic!("no loss: {body}");
        };
        let of = |lower, upper| {
            let mut loss = loss.clone();
            (loss.lower, loss.upper) = (lower, upper);
            loss
        };
        let (known, other, unknown) = (of(1, Some(2)), of(3, Some(4)), of(0, None));
        assert_eq!(bounds([].into_iter()), None);
        assert_eq!(bounds([&known, &other].into_iter()), Some((4, Some(6))));
        assert_eq!(bounds([&known, &unknown].into_iter()), Some((1, None)));
        assert_eq!(bounds([&unknown].into_iter()), Some((0, None)));
    }
}
