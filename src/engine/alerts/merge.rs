//! One delivery, or one piece of other work, folded into the alerts: what it changes, writes and
//! hands over.

use std::{collections::BTreeSet, sync::Arc};

use super::{
    handed::{Gathered, Handed},
    limits::{HANDED_MAX, PIECE},
    line::{Entry, Undo},
    roll::Roll,
    table::AlertTable,
};
use crate::{
    domain::{
        alert::{Alert, Delivery, Fold, Full, Incoming, OwnerId, Seen, labels::Labels},
        base::time::Time,
    },
    store::AlertRow,
};

/// What became of one alert. Kept in order, so that a roll-back is exact.
enum Step {
    Folded(Fold),
    Forgot(Arc<Alert>),
    Refused(Full),
}

/// What is counted of a merge.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) firing: usize,
    pub(super) changed: usize,
    /// Alerts that no cluster owns, and those among them that are news.
    pub(super) unmatched: usize,
    pub(super) strangers: Vec<Arc<Alert>>,
    pub(super) old_news: Vec<Arc<Alert>>,
    pub(super) refused: Vec<Full>,
}

/// A merge under way.
pub(super) struct Merge<'t> {
    pub(super) tally: Tally,
    table: &'t AlertTable,
    roll: Arc<Roll>,
    delivery: Delivery,
    undo: Vec<Undo>,
    rows: Vec<AlertRow>,
    gathered: Gathered,
}

impl<'t> Merge<'t> {
    pub(super) fn new(table: &'t AlertTable, now: Time) -> Self {
        Self {
            tally: Tally::default(),
            table,
            roll: table.roll(),
            delivery: Delivery::at(now),
            undo: Vec::new(),
            rows: Vec::new(),
            gathered: Gathered::default(),
        }
    }

    /// Folds the alerts of a webhook.
    pub(super) fn observe(&mut self, incoming: Vec<Incoming>) {
        let mut incoming = incoming.into_iter();
        while incoming.len() > 0 {
            let (mut steps, roll) = (Vec::with_capacity(PIECE), Arc::clone(&self.roll));
            let mut alerts = self.table.write();
            for incoming in incoming.by_ref().take(PIECE) {
                self.tally.firing += usize::from(incoming.firing);
                let owner = |labels: &Labels| roll.number(labels);
                let fold = alerts.observe(&mut self.delivery, incoming, owner);
                note(&mut steps, &mut self.delivery, fold);
            }
            drop(alerts);
            self.take_all(steps);
        }
    }

    /// Folds alerts that an Alertmanager lists as firing; the rows that it knows.
    pub(super) fn list(&mut self, incoming: Vec<Incoming>, asked: Time) -> BTreeSet<i64> {
        let (mut steps, roll) = (Vec::new(), Arc::clone(&self.roll));
        let mut alerts = self.table.write();
        for incoming in incoming {
            let owner = |labels: &Labels| roll.number(labels);
            let fold = alerts.list(&mut self.delivery, incoming, owner, asked);
            note(&mut steps, &mut self.delivery, fold);
        }
        drop(alerts);
        steps.into_iter().filter_map(|step| self.take(step)).collect()
    }

    /// What a list that was asked for at `asked` lacks.
    pub(super) fn vanish(&mut self, ids: &[i64], asked: Time) {
        let mut alerts = self.table.write();
        let now = self.delivery.at;
        let folds = ids.iter().filter_map(|id| alerts.vanish(*id, asked, now));
        let steps: Vec<Step> = folds.map(Step::Folded).collect();
        drop(alerts);
        self.take_all(steps);
    }

    /// Forgets rows.
    pub(super) fn forget(&mut self, ids: &[i64]) {
        let mut alerts = self.table.write();
        let steps: Vec<Step> =
            ids.iter().filter_map(|id| alerts.forget(*id)).map(Step::Forgot).collect();
        drop(alerts);
        self.take_all(steps);
    }

    fn take_all(&mut self, steps: Vec<Step>) {
        for step in steps {
            self.take(step);
        }
    }

    /// Takes one alert in; its row, where it is one.
    fn take(&mut self, step: Step) -> Option<i64> {
        match step {
            Step::Folded(fold) => Some(self.fold(fold)),
            Step::Forgot(alert) => {
                let id = alert.id;
                self.rows.push(AlertRow { id, body: None });
                if let Some(cluster) = self.roll.name(alert.owner()) {
                    self.gathered.forgotten(cluster, id);
                }
                self.undo.push(Undo { id, before: Some(alert) });
                None
            }
            Step::Refused(full) => {
                self.tally.refused.push(full);
                None
            }
        }
    }

    fn fold(&mut self, Fold { seen, alert, before }: Fold) -> i64 {
        let id = alert.id;
        let is_stranger = alert.owner() == OwnerId::NONE;
        self.tally.unmatched += usize::from(is_stranger);
        if seen.is_to_write() {
            self.tally.changed += 1;
            self.rows.push(AlertRow { id, body: Some(alert.to_row()) });
            self.undo.push(Undo { id, before });
        }
        if seen == Seen::OldNews(id) {
            self.tally.old_news.push(alert);
        } else if let Some(cluster) = self.roll.name(alert.owner()) {
            self.gathered.alert(cluster, alert);
        } else if seen.is_to_write() {
            self.tally.strangers.push(alert);
        }
        id
    }

    /// The rows to write, and the entry that stands in line for them.
    pub(super) fn finish(self) -> (Vec<AlertRow>, Entry) {
        let hand = self.gathered.into_handed(self.delivery.at).flat_map(split).collect();
        (self.rows, Entry { undo: self.undo, hand, ..Entry::default() })
    }
}

fn note(steps: &mut Vec<Step>, delivery: &mut Delivery, fold: Result<Fold, Full>) {
    steps.extend(delivery.forgotten.drain(..).map(Step::Forgot));
    steps.push(fold.map_or_else(Step::Refused, Step::Folded));
}

/// Messages of a size that a cell takes in at once.
fn split(handed: Handed) -> Vec<Handed> {
    if handed.alerts.len() <= HANDED_MAX {
        return vec![handed];
    }
    let Handed { cluster, alerts, mut forgotten, arrived } = handed;
    let pieces = alerts.chunks(HANDED_MAX).map(|alerts| Handed {
        cluster: cluster.clone(),
        alerts: alerts.into(),
        forgotten: std::mem::take(&mut forgotten),
        arrived,
    });
    pieces.collect()
}
