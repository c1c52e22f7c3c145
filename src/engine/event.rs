//! Everything that can happen to the shell: one closed list.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::{Settings, commands::CommandError, recover::Recovered};
use crate::{
    domain::{
        base::id::ClusterName,
        cell::{
            input::Input,
            order::{Order, Reply},
        },
        inventory::Cluster,
        journal::snapshot::Rested,
    },
    targets::Target,
};

/// What a reload brings.
#[derive(Debug)]
pub struct Reload {
    /// Rules and limits.
    pub settings: Settings,
    /// The clusters with their systems.
    pub clusters: Vec<(Arc<Cluster>, Arc<dyn Target>)>,
}

/// A snapshot that was taken.
#[derive(Debug)]
pub(super) struct Compacted {
    /// The position behind the last entry that it stands for.
    pub(super) upto: u64,
    /// What it holds in brief.
    pub(super) rested: Rested,
}

/// Something the shell handles.
#[derive(Debug)]
pub(super) enum Event {
    /// Something came in for one cluster: the answer of an effect, as a rule.
    Input(ClusterName, Input),
    /// A person wants something of one cluster.
    Order(ClusterName, Order, oneshot::Sender<Result<Reply, CommandError>>),
    /// A snapshot was taken, or not.
    Compacted(ClusterName, Option<Compacted>),
    /// Works by something else from now on; with the cells of the clusters that are new.
    Reload(Box<Reload>, Vec<Recovered>, oneshot::Sender<()>),
}
