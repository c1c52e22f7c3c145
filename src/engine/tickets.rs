//! Who waits for the answer to an order: each is answered exactly once, also where its cell stops.

use std::collections::BTreeMap;

use tokio::sync::oneshot;

use super::commands::CommandError;
use crate::domain::{
    base::id::ClusterName,
    cell::order::{Reply, Ticket},
};

/// The way back to who gave an order.
type Waiter = oneshot::Sender<Result<Reply, CommandError>>;

/// Everybody who waits.
#[derive(Debug, Default)]
pub(super) struct Tickets {
    waiting: BTreeMap<Ticket, (ClusterName, Waiter)>,
    last: Ticket,
}

impl Tickets {
    /// One more, with an order for this cluster.
    pub(super) fn take(&mut self, cluster: &ClusterName, waiter: Waiter) -> Ticket {
        self.last += 1;
        self.waiting.insert(self.last, (cluster.clone(), waiter));
        self.last
    }

    /// The answer.
    pub(super) fn answer(&mut self, ticket: Ticket, result: Result<Reply, CommandError>) {
        if let Some((_, waiter)) = self.waiting.remove(&ticket) {
            drop(waiter.send(result)); // who asked may have gone
        }
    }

    /// Everybody who waits for a cluster that is not worked on any more is told so: whose order lies
    /// in its inbox or was in the step that broke off, and who waits for a look.
    pub(super) fn refuse(&mut self, cluster: &ClusterName, why: &str) {
        for (_, (cluster, waiter)) in self.waiting.extract_if(.., |_, (of, _)| of == cluster) {
            let refusal = CommandError::ClusterStopped { cluster, why: why.to_owned() };
            drop(waiter.send(Err(refusal)));
        }
    }
}
