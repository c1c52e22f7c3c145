//! Everything that can happen to the shell: one closed list.

use tokio::sync::oneshot;

use super::{commands::CommandError, recover::Recovered, reload::Reload};
use crate::domain::{
    base::id::ClusterName,
    cell::{
        input::Input,
        order::{Order, Reply},
    },
};

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
