//! The alerts: a rule that fires while a cluster has no leader, its sender, and what quorate keeps.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use super::driver::{Event, Life, Sabotage, Slot};
use crate::domain::{
    alert::{Alert, Alerts, Bounds, Delivery, Incoming, OwnerId, Seen, labels::Labels},
    base::time::Time,
    cell::input::Input,
    incident::owners::Owners,
};

/// After which an alert that goes on is sent again.
const REPEAT_AFTER: Duration = Duration::from_mins(5);
/// From a row that is durable to the cell that gets it.
const HANDED_AFTER: Duration = Duration::from_millis(2);

/// The sender of one cluster's alerts.
#[derive(Debug, Default)]
struct Sender {
    /// Since when the rule fires.
    since: Option<Time>,
    /// When quorate last took it.
    sent: Option<Time>,
    /// Whether a resolve is owed.
    owes: Option<Incoming>,
    /// The last delivery that was taken.
    last: Vec<Incoming>,
    is_deaf: bool,
}

/// What is known of alerts.
#[derive(Debug)]
pub(super) struct Intake {
    owners: Owners,
    senders: Vec<Sender>,
    /// What is durable.
    rows: BTreeMap<i64, Vec<u8>>,
    alerts: Alerts,
    handed: Vec<VecDeque<Vec<Arc<Alert>>>>,
}

fn labels(cluster: usize, name: &str, part: Option<u32>) -> Labels {
    let mut all = vec![
        ("alertname".to_owned(), name.to_owned()),
        ("cluster".to_owned(), format!("c{}", cluster + 1)),
    ];
    all.extend(part.map(|part| ("node".to_owned(), format!("n{part}"))));
    Labels::new(all)
}

impl Intake {
    pub(super) fn new(slots: &[Slot]) -> Self {
        let clusters = slots.iter().map(|slot| &slot.setup.cluster);
        let owners = clusters.map(|cluster| (cluster.name.clone(), cluster.matches.clone()));
        Self {
            owners: Owners::new(owners),
            senders: slots.iter().map(|_| Sender::default()).collect(),
            rows: BTreeMap::new(),
            alerts: Alerts::default(),
            handed: slots.iter().map(|_| VecDeque::new()).collect(),
        }
    }

    fn owner(owners: &Owners, labels: &Labels) -> OwnerId {
        let place = owners.place(labels).and_then(|place| u32::try_from(place).ok());
        place.map_or(OwnerId::NONE, OwnerId)
    }

    /// What a start reads back.
    pub(super) fn read_back(&mut self, now: Time) -> Result<(), String> {
        let read = |(id, row): (&i64, &Vec<u8>)| {
            let alert = Alert::from_row(*id, row, now).map_err(|error| error.to_string())?;
            let owner = Self::owner(&self.owners, &alert.labels);
            Ok(alert.filed(owner))
        };
        let filed: Result<Vec<_>, String> = self.rows.iter().map(read).collect();
        self.alerts = Alerts::load(filed?, Bounds::default());
        self.handed.iter_mut().for_each(VecDeque::clear);
        Ok(())
    }

    /// The alerts about a cluster.
    pub(super) fn of(&self, cluster: usize) -> Vec<Arc<Alert>> {
        let owner = OwnerId(u32::try_from(cluster).unwrap_or(u32::MAX));
        self.alerts.owned_by(owner, None).map(|(_, alert)| alert.clone()).collect()
    }

    /// Whether one that opens an incident fires.
    pub(super) fn fires(&self, cluster: usize) -> bool {
        self.of(cluster)
            .iter()
            .any(|alert| alert.firing && !alert.is_context() && alert.labels.get("node").is_empty())
    }

    pub(super) fn deaf(&mut self, cluster: usize, is_deaf: bool) {
        self.senders[cluster].is_deaf = is_deaf;
    }

    /// Folds a delivery and makes it durable; for each cluster, what it is handed.
    fn take(&mut self, incoming: Vec<Incoming>, now: Time) -> Vec<usize> {
        let mut delivery = Delivery::at(now);
        let mut by_cluster: BTreeMap<usize, Vec<Arc<Alert>>> = BTreeMap::new();
        for one in incoming {
            let owner = |labels: &Labels| Self::owner(&self.owners, labels);
            let Ok(fold) = self.alerts.observe(&mut delivery, one, owner) else { continue };
            if fold.seen.is_to_write() {
                self.rows.insert(fold.alert.id, fold.alert.to_row());
            }
            let OwnerId(place) = fold.alert.owner();
            if !matches!(fold.seen, Seen::OldNews(_)) && fold.alert.owner() != OwnerId::NONE {
                let place = usize::try_from(place).unwrap_or(usize::MAX);
                by_cluster.entry(place).or_default().push(fold.alert);
            }
        }
        let clusters = by_cluster.keys().copied().collect();
        for (cluster, alerts) in by_cluster {
            self.handed[cluster].push_back(alerts);
        }
        clusters
    }
}

impl Life {
    /// The rule is evaluated; what it finds is sent where that is due.
    pub(super) fn evaluate(&mut self, at: usize) -> Result<(), String> {
        let fires = self.slots[at].led_since.is_none();
        let (now, wall) = (self.now, self.now);
        let sender = &mut self.intake.senders[at];
        let of = |firing: bool, since: Time| Incoming {
            labels: labels(at, "etcdInsufficientMembers", None),
            firing,
            starts_at: since,
            ends_at: (!firing).then_some(wall),
            silenced: None,
        };
        match (fires, sender.since) {
            (true, None) => (sender.since, sender.sent, sender.owes) = (Some(now), None, None),
            (false, Some(since)) => {
                sender.owes = sender.sent.is_some().then(|| of(false, since));
                (sender.since, sender.sent) = (None, None);
            }
            _ => {}
        }
        let is_due = sender.sent.is_none_or(|sent| now.since(sent) >= REPEAT_AFTER);
        let due = match (sender.since, &sender.owes) {
            (Some(since), _) if is_due => of(true, since),
            (None, Some(owed)) => owed.clone(),
            _ => return Ok(()),
        };
        if !self.deliver(at, vec![due.clone()])? {
            return Ok(()); // tried again at the next evaluation
        }
        let sender = &mut self.intake.senders[at];
        if due.firing {
            sender.sent = Some(now);
        } else {
            sender.owes = None;
        }
        sender.last = vec![due];
        Ok(())
    }

    /// The last delivery comes once more: a straggler, or the other one of a pair.
    pub(super) fn deliver_again(&mut self, at: usize) -> Result<(), String> {
        let last = self.intake.senders[at].last.clone();
        self.deliver(at, last).map(drop)
    }

    /// Alerts about many parts of the cluster at once.
    pub(super) fn storm(&mut self, at: usize, count: u32) -> Result<(), String> {
        let now = self.now;
        let one = |part: u32| Incoming {
            labels: labels(at, "KubeNodeNotReady", Some(part)),
            firing: part % 3 != 0,
            starts_at: now,
            ends_at: (part % 3 == 0).then_some(now),
            silenced: None,
        };
        self.deliver(at, (0..count).map(one).collect()).map(drop)
    }

    /// Whether it was taken: then it is durable.
    fn deliver(&mut self, at: usize, incoming: Vec<Incoming>) -> Result<bool, String> {
        let is_heard = self.is_up && self.asleep <= self.now && !self.intake.senders[at].is_deaf;
        if !is_heard || incoming.is_empty() {
            return Ok(false);
        }
        let now = self.clock();
        for cluster in self.intake.take(incoming, now) {
            self.push(self.now.after(HANDED_AFTER), Event::Handed(self.process, cluster));
        }
        Ok(true)
    }

    /// A cell is handed its alerts.
    pub(super) fn hand_over(&mut self, at: usize) -> Result<(), String> {
        let Some(alerts) = self.intake.handed[at].pop_front() else { return Ok(()) };
        if self.sabotage == Sabotage::ForgetsAlerts {
            return Ok(());
        }
        let arrived = self.clock();
        self.give(at, Input::Alerts { alerts, forgotten: Vec::new(), arrived })
    }
}
