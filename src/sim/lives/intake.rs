//! The alerts: a rule that fires while a cluster has no leader, its sender, and what quorate keeps.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use crate::domain::{
    alert::{Alert, Alerts, Bounds, Delivery, Incoming, OwnerId, Seen, labels::Labels},
    base::time::Time,
    incident::owners::Owners,
    inventory::Cluster,
};

/// The sender of one cluster's alerts.
#[derive(Debug, Default)]
pub(super) struct Sender {
    /// Since when the rule fires.
    pub(super) since: Option<Time>,
    /// When quorate last took it.
    pub(super) sent: Option<Time>,
    /// Whether a resolve is owed.
    pub(super) owes: Option<Incoming>,
    /// The last delivery that was taken.
    pub(super) last: Vec<Incoming>,
    pub(super) is_deaf: bool,
}

/// What is known of alerts.
#[derive(Debug)]
pub(super) struct Intake {
    owners: Owners,
    pub(super) senders: Vec<Sender>,
    /// What is durable.
    rows: BTreeMap<i64, Vec<u8>>,
    alerts: Alerts,
    pub(super) handed: Vec<VecDeque<Vec<Arc<Alert>>>>,
}

pub(super) fn labels(cluster: usize, name: &str, part: Option<u32>) -> Labels {
    let mut all = vec![
        ("alertname".to_owned(), name.to_owned()),
        ("cluster".to_owned(), format!("c{}", cluster + 1)),
    ];
    all.extend(part.map(|part| ("node".to_owned(), format!("n{part}"))));
    Labels::new(all)
}

impl Intake {
    pub(super) fn new<'c>(clusters: impl Iterator<Item = &'c Cluster> + Clone) -> Self {
        let count = clusters.clone().count();
        let owners = clusters.map(|cluster| (cluster.name.clone(), cluster.matches.clone()));
        Self {
            owners: Owners::new(owners),
            senders: (0..count).map(|_| Sender::default()).collect(),
            rows: BTreeMap::new(),
            alerts: Alerts::default(),
            handed: (0..count).map(|_| VecDeque::new()).collect(),
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
    pub(super) fn take(&mut self, incoming: Vec<Incoming>, now: Time) -> Vec<usize> {
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
