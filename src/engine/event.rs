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

/// Something the shell handles.
#[derive(Debug)]
pub(super) enum Event {
    /// Something came in for one cluster: the answer of an effect, as a rule.
    Input(ClusterName, Input),
    /// A person wants something of one cluster.
    Order(ClusterName, Order, oneshot::Sender<Result<Reply, CommandError>>),
    /// Works by something else from now on; with the cells of the clusters that are new.
    Reload(Box<Reload>, Vec<Recovered>, oneshot::Sender<()>),
}
