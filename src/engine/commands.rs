//! What people want, by the ids they know: which cluster it is for. And plans, for who only looks.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use super::state::State;
pub use crate::domain::cell::order::Reply;
use crate::domain::{
    base::id::{ClusterName, LossId, MemberName, RunId},
    cell::{
        Cell, guards,
        order::{Order, OrderError},
        run::listing,
    },
    etcd::observation::Observation,
    incident::decision::Decision,
    journal::record::Attribution,
    rules::{expr::Value, playbook::model::Playbook},
    run::plan::Plan,
};

/// Something a person wants.
#[derive(Clone, Debug)]
pub enum Command {
    /// Yes to what a run asks.
    Approve {
        /// The run.
        run: RunId,
        /// Who and why.
        said: Attribution,
        /// The digest that was seen, where the caller names one: another is refused.
        digest: Option<String>,
        /// The most that may be lost; none: what was shown.
        max_loss: Option<u64>,
    },
    /// No to what a run asks.
    Deny(RunId, Attribution),
    /// A parked run goes on.
    Resume(RunId, Attribution),
    /// A parked run is given up: its finalizers run, and before the point of no return what it did
    /// is taken back.
    Abandon(RunId, Attribution),
    /// A loss is acknowledged.
    Ack(LossId, Attribution),
    /// A member will not come back.
    Attest {
        /// The cluster.
        cluster: ClusterName,
        /// The member.
        member: MemberName,
        /// Who and why.
        said: Attribution,
        /// For how long that counts.
        lasts: Duration,
    },
    /// Nothing is done to a cluster for now.
    Pause {
        /// The cluster.
        cluster: ClusterName,
        /// Who and why.
        said: Attribution,
        /// For how long; for good where there is none.
        lasts: Option<Duration>,
    },
    /// The pause ends.
    Unpause(ClusterName, Attribution),
}

/// Why it cannot be.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CommandError {
    /// There is no such thing.
    #[error("there is no {0}")]
    NotFound(String),
    /// It is not in a state for that.
    #[error("{message}")]
    Conflict {
        /// What stands in the way.
        message: String,
        /// The run concerned, if one is.
        run: Option<RunId>,
    },
    /// What was approved is not what is asked any more.
    #[error("{0}")]
    Gone(String),
    /// A value that cannot be.
    #[error("{0}")]
    Invalid(String),
    /// It could not be made durable: nothing was done.
    #[error("the journal did not take it: {0}")]
    Store(String),
    /// The engine has stopped.
    #[error("the engine has stopped")]
    Stopped,
    /// The cluster alone is not worked on any more.
    #[error("cluster {cluster} is not worked on any more: {why}")]
    ClusterStopped {
        /// The cluster.
        cluster: ClusterName,
        /// Why, and what to do.
        why: String,
    },
}

impl From<OrderError> for CommandError {
    fn from(error: OrderError) -> Self {
        match error {
            OrderError::NotFound(what) => Self::NotFound(what),
            OrderError::Conflict { message, run } => Self::Conflict { message, run },
            OrderError::Gone(why) => Self::Gone(why),
            OrderError::Invalid(why) => Self::Invalid(why),
        }
    }
}

impl Command {
    /// The cluster it is for, and what is wanted of it.
    pub(super) fn order(self, state: &State) -> Result<(ClusterName, Order), CommandError> {
        let of_run = |run: RunId| {
            let cell = state.cell_of_run(run).map(|cell| cell.name().clone());
            cell.ok_or_else(|| CommandError::NotFound(format!("run {run}")))
        };
        Ok(match self {
            Self::Approve { run, said, digest, max_loss } => {
                (of_run(run)?, Order::Approve { run, said, digest, max_loss })
            }
            Self::Deny(run, said) => (of_run(run)?, Order::Deny(run, said)),
            Self::Resume(run, said) => (of_run(run)?, Order::Resume(run, said)),
            Self::Abandon(run, said) => (of_run(run)?, Order::Abandon(run, said)),
            Self::Ack(loss, said) => {
                let cell = state.cell_of_loss(loss);
                let cell = cell.ok_or_else(|| CommandError::NotFound(format!("loss {loss}")))?;
                (cell.name().clone(), Order::Ack(loss, said))
            }
            Self::Attest { cluster, member, said, lasts } => {
                (cluster, Order::Attest { member, said, lasts })
            }
            Self::Pause { cluster, said, lasts } => (cluster, Order::Pause { said, lasts }),
            Self::Unpause(cluster, said) => (cluster, Order::Unpause(said)),
        })
    }
}

/// A plan for people: what would be done, and what holds it back. Nothing is changed.
#[derive(Clone, Debug)]
pub struct Preview {
    /// The plan.
    pub plan: Plan,
    /// Its playbook.
    pub playbook: Arc<Playbook>,
    /// What the guards say.
    pub decision: Decision,
    /// What was last seen.
    pub look: Option<Arc<Observation>>,
    /// The cell it is for.
    pub cell: Arc<Cell>,
    /// Every command, in order; what depends on an earlier output is shown as `<…>`.
    pub commands: Vec<String>,
}

/// Makes a preview from the state as it is.
pub fn preview(
    state: &State,
    playbook: &str,
    cluster: &ClusterName,
    params: BTreeMap<String, Value>,
) -> Result<Preview, CommandError> {
    let cell = state.cell(cluster.as_str());
    let cell = cell.ok_or_else(|| CommandError::NotFound(format!("cluster {cluster}")))?;
    let found = cell.setup.rules.playbooks.get(playbook).cloned();
    let playbook = found.ok_or_else(|| CommandError::NotFound(format!("playbook {playbook}")))?;
    let plan = Plan::new(&playbook, params, cell.inventory())
        .map_err(|wrong| CommandError::Invalid(wrong.join("; ")))?;
    let now = state.now();
    let decision = guards::preview_decision(&cell, playbook.destroys, now);
    let commands = listing::commands(&plan, &cell, now);
    let look = cell.sight.look.clone();
    Ok(Preview { plan, playbook, decision, look, cell, commands })
}
