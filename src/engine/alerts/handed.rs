//! What the cells get.

use std::{collections::BTreeMap, sync::Arc};

use crate::domain::{
    alert::Alert,
    base::{id::ClusterName, time::Time},
};

/// Alerts of one cluster that are durable, for its cell.
#[derive(Clone, Debug)]
pub struct Handed {
    /// The cluster.
    pub cluster: ClusterName,
    /// What began, ended, was repeated, or is handed out again; older versions before newer ones.
    pub alerts: Vec<Arc<Alert>>,
    /// Rows that are no more, or that another cluster owns now.
    pub forgotten: Vec<i64>,
    /// When it came in.
    pub arrived: Time,
}

/// Alerts for several cells, gathered in the order they are handed over.
#[derive(Debug, Default)]
pub(super) struct Gathered(BTreeMap<ClusterName, (Vec<Arc<Alert>>, Vec<i64>)>);

impl Gathered {
    pub(super) fn alert(&mut self, cluster: &ClusterName, alert: Arc<Alert>) {
        self.of(cluster).0.push(alert);
    }

    pub(super) fn forgotten(&mut self, cluster: &ClusterName, id: i64) {
        self.of(cluster).1.push(id);
    }

    fn of(&mut self, cluster: &ClusterName) -> &mut (Vec<Arc<Alert>>, Vec<i64>) {
        if !self.0.contains_key(cluster) {
            self.0.insert(cluster.clone(), Default::default());
        }
        self.0.get_mut(cluster).expect("it was put there")
    }

    pub(super) fn into_handed(self, arrived: Time) -> impl Iterator<Item = Handed> {
        let of =
            move |(cluster, (alerts, forgotten))| Handed { cluster, alerts, forgotten, arrived };
        self.0.into_iter().map(of)
    }
}
