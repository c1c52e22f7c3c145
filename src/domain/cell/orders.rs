//! Does what people want of a cluster, or says why not.
//!
//! Whether somebody may is decided before (`http`); here only whether it can be.

use std::time::Duration;

use super::{
    Draft,
    effect::Effect,
    order::{Order, OrderError, Reply, Ticket},
};
use crate::domain::{
    base::id::{MemberName, RunId},
    etcd::evidence::Attestation,
    journal::record::{Acknowledged, Attested, Attribution, Paused, Record},
    rules::action::{ErrorKind, Failure},
    run::{
        event::{Outcome, RunEvent, RunRecord},
        parking, resume,
        state::Run,
    },
};

fn conflict(run: &Run, message: impl Into<String>) -> OrderError {
    OrderError::Conflict { message: message.into(), run: Some(run.id) }
}

impl Draft {
    /// Does what a person wants, or says why not. The answer goes out once it is durable.
    pub(super) fn order(&mut self, ticket: Ticket, order: Order) {
        if matches!(order, Order::Look) {
            self.look_for(ticket);
            return;
        }
        let result = self.execute(order);
        if result.is_ok() {
            self.look_soon(); // what was said is evidence
            self.decide_all();
        }
        let result = result.map(|text| Reply { text });
        self.effects.push(Effect::Answer(ticket, result));
    }

    fn execute(&mut self, order: Order) -> Result<String, OrderError> {
        match order {
            Order::Approve { run, said, digest, max_loss } => {
                self.approve(run, said, digest.as_deref(), max_loss)
            }
            Order::Deny(run, said) => {
                let asked = self.run(run)?;
                if !asked.is_asking() {
                    let text = format!("{run} asks nothing: it is {}", asked.state());
                    return Err(conflict(asked, text));
                }
                let event = RunEvent::Denied { by: said.by, reason: said.reason };
                Ok(self.tell(run, event, "is denied; what was done is taken back"))
            }
            Order::Resume(run, said) => {
                let retry = resume::retry(self.parked(run)?);
                let event = RunEvent::RunResumed { by: said.by, reason: said.reason, retry };
                Ok(self.tell(run, event, "goes on"))
            }
            Order::Abandon(run, said) => self.abandon(run, &said),
            Order::Ack(loss, said) => {
                if !self.cell.state.losses.contains_key(&loss) {
                    return Err(OrderError::NotFound(format!("loss {loss}")));
                }
                self.write(Record::LossAcknowledged(Acknowledged { loss, said }));
                Ok(format!("{loss} is acknowledged"))
            }
            Order::Attest { member, said, lasts } => self.attest(member, said, lasts),
            Order::Pause { said, lasts } => {
                let until = lasts.map(|lasts| self.now.after(lasts));
                self.write(Record::Paused(Paused { said, until }));
                let text = until.map_or("until unpaused".into(), |until| format!("until {until}"));
                Ok(format!("{} is paused {text}", self.cell.name()))
            }
            Order::Unpause(said) => {
                self.write(Record::Unpaused(said));
                Ok(format!("{} is no longer paused", self.cell.name()))
            }
            Order::Look => Ok(String::new()), // answered by the look itself
        }
    }

    fn approve(
        &mut self,
        run: RunId,
        said: Attribution,
        digest: Option<&str>,
        max_loss: Option<u64>,
    ) -> Result<String, OrderError> {
        let found = self.run(run)?;
        let Some((_, ask)) = found.ask.as_ref().filter(|_| found.is_asking()) else {
            return Err(conflict(found, format!("{run} asks nothing: it is {}", found.state())));
        };
        if ask.until <= self.now {
            let text = format!("the question ended unanswered at {}", ask.until);
            return Err(OrderError::Gone(text));
        }
        if digest.is_some_and(|digest| *digest != ask.digest) {
            let text = "what is asked changed since you looked; look at the run again";
            return Err(OrderError::Gone(text.into()));
        }
        let event = RunEvent::Approved {
            by: said.by,
            reason: said.reason,
            digest: ask.digest.clone(),
            max_loss: max_loss.or(ask.loss.and_then(|loss| loss.upper)),
        };
        Ok(self.tell(run, event, "is approved"))
    }

    fn abandon(&mut self, run: RunId, said: &Attribution) -> Result<String, OrderError> {
        let parked = self.parked(run)?;
        let undo = parked.past_return.is_none();
        let is_nowhere =
            self.cell.setup.is_retired && self.cell.inventory().etcd.members.is_empty();
        if undo && is_nowhere && !parking::left(parked).is_empty() {
            let message = format!(
                "cluster {} is not in the inventory any more, and where its members are is not known: \
                 nothing could be taken back; put its entry back, then abandon the run",
                self.cell.name()
            );
            return Err(OrderError::Conflict { message, run: Some(run) });
        }
        let message = format!("given up by {}: {}", said.by, said.reason);
        let failure = Failure::new(ErrorKind::Denied, message);
        let event = RunEvent::UnwindStarted { outcome: Outcome::Parked, failure, undo };
        if !undo {
            self.record_loss_of_abandoned(run);
        }
        let what = if undo {
            "is given up; what it did is taken back"
        } else {
            "is given up; its finalizers run, and what is left to do by hand is listed with it"
        };
        Ok(self.tell(run, event, what))
    }

    fn attest(
        &mut self,
        member: MemberName,
        said: Attribution,
        lasts: Duration,
    ) -> Result<String, OrderError> {
        let cluster = self.cell.name().clone();
        if self.cell.inventory().member(member.as_str()).is_none() {
            return Err(OrderError::NotFound(format!("member {member} in {cluster}")));
        }
        let alive = self.cell.look().and_then(|look| look.judgement.members.get(&member)?.alive);
        if alive == Some(true) {
            let text = format!("{member} is alive: it cannot be attested gone");
            return Err(OrderError::Invalid(text));
        }
        let (at, until) = (self.now, self.now.after(lasts));
        let attestation = Attestation { by: said.by, reason: said.reason, at, until };
        let text = format!("{member} of {cluster} counts as gone for good until {until}");
        self.write(Record::Attested(Attested { member, attestation }));
        Ok(text)
    }

    fn run(&self, run: RunId) -> Result<&Run, OrderError> {
        let found = self.cell.state.runs.get(&run);
        found.ok_or_else(|| OrderError::NotFound(format!("run {run}")))
    }

    fn parked(&self, run: RunId) -> Result<&Run, OrderError> {
        let found = self.run(run)?;
        if found.parked.is_some() {
            return Ok(found);
        }
        Err(conflict(found, format!("{run} is not parked: it is {}", found.state())))
    }

    /// Adds an event of a run.
    fn tell(&mut self, run: RunId, event: RunEvent, what: &str) -> String {
        self.write(Record::Run(RunRecord { run, event }));
        format!("{run} {what}")
    }
}
