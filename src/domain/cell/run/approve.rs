//! Where a run asks, and where it looks once more before it cannot go back.

use std::time::Duration;

use super::{Draft, Moved, listing};
use crate::domain::{
    base::{
        id::{EtcdId, MemberName},
        time::Time,
    },
    cell::guards::{self, Declares, Expected},
    etcd::{
        digest::{self, Survivor},
        evidence::{Epoch, MemberEvidence},
        observation::Observation,
        verdict::Judgement,
    },
    inventory::Mode,
    rules::{
        action::{ErrorKind, Failure},
        expr::Value,
        output::Choice,
        playbook::model::Show,
    },
    run::{
        event::{Ask, LossShown, RunEvent},
        state::{Run, StepRun},
        todo::At,
    },
};

/// What is said of an approval whose basis changed.
const VOID: &str = "what was approved is not what is there any more: the survivor, a member or a \
                    permanence changed since; everything is put back, approve anew";

/// How long a question stands where the response names no limit.
const APPROVAL_TIMEOUT: Duration = Duration::from_mins(15);

impl Draft {
    /// Asks a person, or in mode `auto` the guards.
    pub(super) fn approve_step(&mut self, run: &Run, at: &At<'_>, show: &[Show]) -> Moved {
        let not_before = self.asked_for(run, at);
        let Some(look) = self.look_since(run, not_before) else { return false };
        let Some(look) = look else {
            let text = "the cluster could not be looked at";
            self.fail_unstarted(run, at, Failure::new(ErrorKind::Unavailable, text));
            return true;
        };
        let chosen = Self::chosen(run);
        let digest = self.digest(run, &look, chosen.as_ref());
        // the yes to another question is none to this one
        let answer = run.approval.as_ref().filter(|_| has_asked(run, at));
        match (Mode::from(run.mode), answer) {
            (Mode::Propose, Some(yes)) if yes.digest != digest => {
                // not a member is fenced for an approval of something else
                self.fail_unstarted(run, at, Failure::new(ErrorKind::RefusedByGuard, VOID));
            }
            (Mode::Propose, Some(_)) => {
                self.done(run, at, &Value::map([("digest", Value::str(digest))]));
            }
            (Mode::Propose, None) => {
                let ask = self.question(run, &look, chosen.as_ref(), digest, show);
                let event = RunEvent::ApprovalAsked { step: at.path.clone(), ask: Box::new(ask) };
                self.record(run.id, event);
            }
            (Mode::Auto, _) => match self.guards(run, &look, chosen.as_ref(), false) {
                Ok(()) => self.done(run, at, &Value::map([("digest", Value::str(digest))])),
                Err(failure) => self.fail_unstarted(run, at, failure),
            },
        }
        true
    }

    /// Evidence for a question, or for taking its answer, is from after it became due.
    fn asked_for(&self, run: &Run, at: &At<'_>) -> Time {
        let answered = run.approval.as_ref().map(|yes| yes.at);
        let before = run.steps.values().map(|row| row.at).max().unwrap_or(run.started_at);
        let due = answered.filter(|_| has_asked(run, at));
        due.unwrap_or(before).max(self.cell.driving.floor)
    }

    fn question(
        &self,
        run: &Run,
        look: &Observation,
        chosen: Option<&Choice>,
        digest: String,
        show: &[Show],
    ) -> Ask {
        let loss = chosen.map(|chosen| LossShown { lower: chosen.lower, upper: chosen.upper });
        let ask = Ask {
            digest,
            survivor: chosen.map(|chosen| chosen.member.clone()),
            show: show.to_vec(),
            loss,
            evidence: evidence_lines(&look.judgement),
            commands: listing::commands_left(run, &self.cell, look, self.now),
            until: self.now.after(self.approval_timeout(run)),
        };
        ask.showing(show)
    }

    fn approval_timeout(&self, run: &Run) -> Duration {
        let incident = run.incident.and_then(|id| self.incident(id));
        let response = incident.and_then(|i| self.cell.response(i.subject.response.as_str()));
        response.map_or(APPROVAL_TIMEOUT, |response| response.approval.timeout)
    }

    /// Waits for the answer; a question that nobody answers takes the run back.
    pub(super) fn await_answer(&mut self, run: &Run, at: &At<'_>, until: Time) -> Moved {
        if self.now < until {
            self.wake_at(until);
            return false;
        }
        let failure = Failure::new(ErrorKind::Timeout, "nobody answered in time");
        self.fail_unstarted(run, at, failure);
        true
    }

    /// Right before the point of no return: the digest must be the one that was approved, and the
    /// loss no more than was accepted; without an approval the guards are asked again.
    pub(super) fn recheck(&self, run: &Run, look: Option<&Observation>) -> Result<(), Failure> {
        let refused = |text: String| Failure::new(ErrorKind::RefusedByGuard, text);
        let look = look.ok_or_else(|| refused("the cluster could not be looked at".into()))?;
        let chosen = Self::chosen(run);
        let digest = self.digest(run, look, chosen.as_ref());
        let upper = chosen.as_ref().and_then(|chosen| chosen.upper);
        match (&run.approval, Mode::from(run.mode)) {
            (Some(approval), _) => {
                if approval.digest != digest {
                    return Err(refused(VOID.into()));
                }
                // an unknown bound was shown, and accepted as unknown, where none is named
                if let Some(most) = approval.max_loss
                    && upper.is_none_or(|upper| upper > most)
                {
                    let upper = upper.map_or("unknown".to_owned(), |upper| upper.to_string());
                    return Err(refused(format!(
                        "up to {upper} revisions could be lost, {most} were accepted"
                    )));
                }
                self.guards(run, look, chosen.as_ref(), true)
            }
            (None, Mode::Auto) => {
                if approved_digest(run).is_some_and(|before| before != digest) {
                    return Err(refused(
                        "the survivor or the members changed since the guards passed".into(),
                    ));
                }
                self.guards(run, look, chosen.as_ref(), false)
            }
            (None, Mode::Propose) => Err(refused("nobody approved this run".into())),
        }
    }

    /// The guards that a run asks again, with what is known of the loss by now. What a person
    /// approved (loss, open loss, daily limit) is not asked again.
    fn guards(
        &self,
        run: &Run,
        look: &Observation,
        chosen: Option<&Choice>,
        approved: bool,
    ) -> Result<(), Failure> {
        let declares = Declares {
            destroys: run.plan.destroys,
            by_person: approved,
            loss: Expected::Chosen(chosen.and_then(|chosen| chosen.upper)),
        };
        let decision = guards::running_decision(&self.cell, look, &declares, self.now);
        match decision.reason {
            None => Ok(()),
            Some(reason) => {
                let text = format!("{reason}: {}", decision.text);
                Err(Failure::new(ErrorKind::RefusedByGuard, text))
            }
        }
    }

    /// What an approval is bound to, as it is now.
    fn digest(&self, run: &Run, look: &Observation, chosen: Option<&Choice>) -> String {
        let version = |name: &MemberName, readings: &MemberEvidence| {
            let readings = run.held.get(name).unwrap_or(readings);
            let version = readings.client.value().map(|status| status.version.clone());
            version.or_else(|| readings.peer.value().map(|peer| peer.version.clone()))
        };
        let members = look.evidence.members.iter();
        let versions = members.filter_map(|(name, row)| Some((name.clone(), version(name, row)?)));
        let nothing = Epoch { cluster_id: EtcdId(0), recoveries: 0 };
        digest::digest(
            &look.judgement,
            self.cell.sight.observed.as_ref().map_or(nothing, |observed| observed.epoch),
            chosen.map(|chosen| Survivor { id: chosen.id, revision: chosen.revision }),
            Mode::from(run.mode),
            &versions.collect(),
            &run.plan.digest,
        )
    }
}

/// Whether the last question was this step's.
fn has_asked(run: &Run, at: &At<'_>) -> bool {
    run.ask.as_ref().is_some_and(|(step, _)| *step == at.path)
}

/// The digest under which the guards passed at `approve`.
fn approved_digest(run: &Run) -> Option<String> {
    let mut outputs = run.steps.values().filter_map(StepRun::output);
    outputs.find_map(|output| Some(output.get("digest")?.as_str()?.to_owned()))
}

/// The judgement, a line each, for people.
pub fn evidence_lines(judgement: &Judgement) -> Vec<String> {
    let head = format!("verdict {}: {}", judgement.quorum, judgement.reason);
    let members = judgement.members.iter().map(|(name, state)| {
        let revision =
            state.revision.map_or(String::new(), |revision| format!(", revision {revision}"));
        let class = state.permanence.map_or(String::new(), |class| format!(", {}", class.label()));
        format!("{name}: {}{revision}{class}", state.why)
    });
    std::iter::once(head).chain(members).collect()
}
