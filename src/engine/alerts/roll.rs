//! The clusters by number: what alerts are filed under.
//!
//! A number stays with its name over reloads, so that only alerts whose owner changed are filed anew.

use std::{collections::BTreeMap, sync::Arc};

use crate::domain::{
    alert::{OwnerId, labels::Labels},
    base::id::ClusterName,
    incident::owners::Owners,
};

/// Who owns alerts, and under which number.
#[derive(Clone, Debug)]
pub(super) struct Roll {
    pub(super) owners: Arc<Owners>,
    /// By the owners' places.
    numbers: Vec<OwnerId>,
    by_name: BTreeMap<ClusterName, OwnerId>,
    /// By number; also of clusters that are gone.
    names: Vec<ClusterName>,
}

impl Roll {
    pub(super) fn new(owners: Arc<Owners>) -> Self {
        let empty =
            Self { owners, numbers: Vec::new(), by_name: BTreeMap::new(), names: Vec::new() };
        let owners = Arc::clone(&empty.owners);
        empty.with(owners)
    }

    /// The same with other owners.
    pub(super) fn with(&self, owners: Arc<Owners>) -> Self {
        let (mut names, mut by_name) = (self.names.clone(), self.by_name.clone());
        let number = |name: &ClusterName| {
            *by_name.entry(name.clone()).or_insert_with(|| {
                names.push(name.clone());
                OwnerId(u32::try_from(names.len() - 1).unwrap_or(u32::MAX))
            })
        };
        let numbers = owners.names().map(number).collect();
        Self { owners, numbers, by_name, names }
    }

    /// The number that an alert with these labels is filed under.
    pub(super) fn number(&self, labels: &Labels) -> OwnerId {
        self.owners.place(labels).map_or(OwnerId::NONE, |place| self.numbers[place])
    }

    /// The number of a cluster that is there, or was.
    pub(super) fn of(&self, cluster: &ClusterName) -> Option<OwnerId> {
        self.by_name.get(cluster).copied()
    }

    /// The cluster of a number.
    pub(super) fn name(&self, owner: OwnerId) -> Option<&ClusterName> {
        self.names.get(owner.0 as usize)
    }
}
