//! What people want: approve, deny, resume, abandon, acknowledge, attest, pause, plan.
//!
//! Whether somebody may is decided before (`http`); here only whether it can be.

use std::time::Duration;

use super::{Engine, guards};
use crate::{
    domain::{
        base::id::{ClusterName, LossId, MemberName, RunId},
        etcd::evidence::Attestation,
        journal::record::{Acknowledged, Attested, Attribution, Paused, Record},
        rules::{
            action::{ErrorKind, Failure},
            playbook::model::Playbook,
        },
        run::{
            event::{Outcome, RunEvent, RunRecord},
            plan::Plan,
            resume,
            state::Run,
        },
    },
    store::StoreError,
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

/// What came of it, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// One sentence.
    pub text: String,
}

/// Why it cannot be.
#[derive(Debug, thiserror::Error)]
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
    /// It could not be made durable.
    #[error("the journal did not take it")]
    Store(#[source] StoreError),
    /// The engine has stopped.
    #[error("the engine has stopped")]
    Stopped,
}

fn conflict(run: RunId, message: impl Into<String>) -> CommandError {
    CommandError::Conflict { message: message.into(), run: Some(run) }
}

impl Engine {
    /// Does what a person wants, or says why not.
    pub(super) async fn obey(&mut self, command: Command) -> Result<Reply, CommandError> {
        match command {
            Command::Approve { run, said, digest, max_loss } => {
                self.approve(run, said, digest, max_loss).await
            }
            Command::Deny(run, said) => self.deny(run, said).await,
            Command::Resume(run, said) => {
                let retry = resume::retry(self.parked(run)?);
                let event = RunEvent::RunResumed { by: said.by, reason: said.reason, retry };
                self.tell(run, event, "goes on").await
            }
            Command::Abandon(run, said) => {
                let undo = self.parked(run)?.past_return.is_none();
                let message = format!("given up by {}: {}", said.by, said.reason);
                let failure = Failure::new(ErrorKind::Denied, message);
                let outcome = Outcome::Parked;
                let event = RunEvent::UnwindStarted { outcome, failure, undo };
                let what = if undo {
                    "is given up; what it did is taken back"
                } else {
                    "is given up; its finalizers run"
                };
                self.tell(run, event, what).await
            }
            Command::Ack(loss, said) => self.ack(loss, said).await,
            Command::Attest { cluster, member, said, lasts } => {
                self.attest(cluster, member, said, lasts).await
            }
            Command::Pause { cluster, said, lasts } => {
                let until = lasts.map(|lasts| self.state.now().after(lasts));
                let text =
                    until.map_or("until unpaused".to_owned(), |until| format!("until {until}"));
                let record = Record::Paused(Paused { said, until });
                self.note(&cluster, record, format!("{cluster} is paused {text}")).await
            }
            Command::Unpause(cluster, said) => {
                let text = format!("{cluster} is no longer paused");
                self.note(&cluster, Record::Unpaused(said), text).await
            }
        }
    }

    async fn approve(
        &mut self,
        run: RunId,
        said: Attribution,
        digest: Option<String>,
        max_loss: Option<u64>,
    ) -> Result<Reply, CommandError> {
        let now = self.state.now();
        let watched = self.state.cluster_of_run(run);
        let found = watched.and_then(|watched| watched.state.runs.get(&run));
        let found = found.ok_or_else(|| CommandError::NotFound(format!("run {run}")))?;
        let Some((_, ask)) = found.ask.as_ref().filter(|_| found.is_asking()) else {
            return Err(conflict(run, format!("{run} asks nothing: it is {}", found.state())));
        };
        if ask.until <= now {
            return Err(CommandError::Gone(format!("the question lapsed at {}", ask.until)));
        }
        if digest.as_ref().is_some_and(|digest| *digest != ask.digest) {
            let text = "what is asked changed since you looked; look at the run again";
            return Err(CommandError::Gone(text.into()));
        }
        let event = RunEvent::Approved {
            by: said.by,
            reason: said.reason,
            digest: ask.digest.clone(),
            max_loss: max_loss.or(ask.loss.and_then(|loss| loss.upper)),
        };
        self.tell(run, event, "is approved").await
    }

    async fn deny(&mut self, run: RunId, said: Attribution) -> Result<Reply, CommandError> {
        let watched = self.state.cluster_of_run(run);
        let found = watched.and_then(|watched| watched.state.runs.get(&run));
        let found = found.ok_or_else(|| CommandError::NotFound(format!("run {run}")))?;
        if !found.is_asking() {
            return Err(conflict(run, format!("{run} asks nothing: it is {}", found.state())));
        }
        let event = RunEvent::Denied { by: said.by, reason: said.reason };
        self.tell(run, event, "is denied; what was done is taken back").await
    }

    fn parked(&self, run: RunId) -> Result<&Run, CommandError> {
        let watched = self.state.cluster_of_run(run);
        let found = watched.and_then(|watched| watched.state.runs.get(&run));
        let found = found.ok_or_else(|| CommandError::NotFound(format!("run {run}")))?;
        if found.parked.is_some() {
            return Ok(found);
        }
        Err(conflict(run, format!("{run} is not parked: it is {}", found.state())))
    }

    /// Journals an event of a run and wakes its runner.
    async fn tell(
        &mut self,
        run: RunId,
        event: RunEvent,
        what: &str,
    ) -> Result<Reply, CommandError> {
        let watched = self.state.cluster_of_run(run);
        let cluster = watched.map(|watched| watched.inventory.name.clone());
        let cluster = cluster.ok_or_else(|| CommandError::NotFound(format!("run {run}")))?;
        let record = Record::Run(RunRecord { run, event });
        let now = self.state.now();
        let accepted =
            watched.map_or(Ok(()), |w| w.state.accepts(std::slice::from_ref(&record), now));
        accepted.map_err(|illegal| conflict(run, illegal.to_string()))?;
        let reply = self.note(&cluster, record, format!("{run} {what}")).await?;
        self.wake_runner(&cluster, run);
        Ok(reply)
    }

    async fn ack(&mut self, loss: LossId, said: Attribution) -> Result<Reply, CommandError> {
        let mut clusters = self.state.clusters.values();
        let watched = clusters.find(|watched| watched.state.losses.contains_key(&loss));
        let cluster = watched.map(|watched| watched.inventory.name.clone());
        let cluster = cluster.ok_or_else(|| CommandError::NotFound(format!("loss {loss}")))?;
        let record = Record::LossAcknowledged(Acknowledged { loss, said });
        self.note(&cluster, record, format!("{loss} is acknowledged")).await
    }

    async fn attest(
        &mut self,
        cluster: ClusterName,
        member: MemberName,
        said: Attribution,
        lasts: Duration,
    ) -> Result<Reply, CommandError> {
        let watched = self.state.clusters.get(&cluster);
        let watched =
            watched.ok_or_else(|| CommandError::NotFound(format!("cluster {cluster}")))?;
        let known = watched.inventory.member(member.as_str()).is_some();
        let alive =
            watched.look.as_ref().and_then(|look| look.judgement.members.get(&member)?.alive);
        if !known {
            let text = format!("member {member} in {cluster}");
            return Err(CommandError::NotFound(text));
        }
        if alive == Some(true) {
            let text = format!("{member} is alive: it cannot be attested gone");
            return Err(CommandError::Invalid(text));
        }
        let at = self.state.now();
        let until = at.after(lasts);
        let attestation = Attestation { by: said.by, reason: said.reason, at, until };
        let text = format!("{member} of {cluster} counts as gone for good until {until}");
        let record = Record::Attested(Attested { member, attestation });
        self.note(&cluster, record, text).await
    }

    async fn note(
        &mut self,
        cluster: &ClusterName,
        record: Record,
        text: String,
    ) -> Result<Reply, CommandError> {
        if !self.state.clusters.contains_key(cluster) {
            return Err(CommandError::NotFound(format!("cluster {cluster}")));
        }
        tracing::info!(cluster = %cluster, record = record.kind(), "{text}");
        if let Err(error) = self.try_write(cluster, vec![record]).await {
            self.roll_back().await;
            return Err(CommandError::Store(error));
        }
        let open = self.state.clusters.get(cluster).into_iter();
        let open: Vec<_> = open.flat_map(|w| w.state.open_incidents().map(|i| i.id)).collect();
        if let Some(watched) = self.state.clusters.get_mut(cluster) {
            watched.look_due = self.state.clock.now(); // what was said is evidence: look again
        }
        for id in open {
            self.decide(cluster, id).await;
        }
        Ok(Reply { text })
    }
}

/// A plan for people: what would be done, and what holds it back. Nothing is changed.
#[derive(Clone, Debug)]
pub struct Preview {
    /// The plan.
    pub plan: Plan,
    /// Its playbook.
    pub playbook: Playbook,
    /// What the guards say.
    pub decision: crate::domain::incident::decision::Decision,
    /// What was last seen.
    pub look: Option<std::sync::Arc<super::state::Look>>,
    /// Every command, in order; what depends on an earlier output is shown as `<…>`.
    pub commands: Vec<String>,
}

/// Makes a preview from the state as it is.
pub fn preview(
    state: &super::state::State,
    playbook: &str,
    cluster: &ClusterName,
    params: std::collections::BTreeMap<String, crate::domain::rules::expr::Value>,
) -> Result<Preview, CommandError> {
    let watched = state.clusters.get(cluster);
    let watched = watched.ok_or_else(|| CommandError::NotFound(format!("cluster {cluster}")))?;
    let found = state.playbook(&playbook.into());
    let playbook = found.ok_or_else(|| CommandError::NotFound(format!("playbook {playbook}")))?;
    let plan = Plan::new(&playbook, params, &watched.inventory)
        .map_err(|wrong| CommandError::Invalid(wrong.join("; ")))?;
    let now = state.now();
    let destruction = guards::destruction(state, watched, playbook.destroys, now);
    let decision = guards::preview_decision(watched, destruction, now);
    let commands = super::runner::commands(&playbook, watched, now);
    Ok(Preview {
        plan,
        playbook: (*playbook).clone(),
        decision,
        look: watched.look.clone(),
        commands,
    })
}
