//! Where a run asks, and where it looks once more before it cannot go back.

use std::time::Duration;

use serde_json::Value as Json;

use super::{Halt, Runner, Turn};
use crate::{
    domain::{
        base::{
            id::{EtcdId, MemberName},
            time::Time,
        },
        etcd::{
            digest::{self, Survivor},
            evidence::{Epoch, MemberEvidence},
            verdict::Judgement,
        },
        inventory::Mode,
        rules::{
            action::{Call, ErrorKind, Failure},
            expr::Value,
            playbook::model::Show,
        },
        run::{
            event::{Ask, LossShown, RunEvent},
            next::At,
            state::{Run, StepRun},
        },
    },
    engine::{
        guards,
        state::{Look, Watched},
    },
};

/// What is said of an approval whose basis changed.
const VOID: &str = "what was approved is not what is there any more: the survivor, a member or a \
                    permanence changed since; everything is put back, approve anew";

/// How long a question stands where the response names no limit.
const APPROVAL_TIMEOUT: Duration = Duration::from_mins(15);

impl Runner {
    /// Asks a person, or in mode `auto` the guards.
    pub(super) async fn approve(&mut self, run: &Run, at: &At<'_>, show: &[Show]) -> Turn {
        let Some(look) = self.look(run, Duration::ZERO).await else { return Err(Halt::Again) };
        let Some(basis) = self.basis(run, &look).await else { return Err(Halt::Again) };
        match Mode::from(run.mode) {
            Mode::Propose
                if run.approval.as_ref().is_some_and(|yes| yes.digest != basis.digest) =>
            {
                // not a member is fenced for an approval of something else
                self.fail_unstarted(run, at, Failure::new(ErrorKind::RefusedByGuard, VOID)).await
            }
            Mode::Propose if run.approval.is_some() => {
                let output = Value::map([("digest", Value::str(basis.digest))]);
                self.done(run, at, output).await
            }
            Mode::Propose => {
                let until = self.now().after(self.approval_timeout(run).await);
                let ask = self.question(run, &look, &basis, until).await.showing(show);
                tracing::warn!(run.id = %run.id, cluster = %self.context.cluster,
                    loss.lower = ?ask.loss.map(|loss| loss.lower),
                    loss.upper = ?ask.loss.and_then(|loss| loss.upper),
                    "approval waits until {until}: `quorate runs {0}` shows it, `quorate approve {0} \
                     --reason …` or `quorate deny {0} --reason …` answers it", run.id);
                let event = RunEvent::ApprovalAsked { step: at.path.clone(), ask: Box::new(ask) };
                self.record(run, vec![event]).await
            }
            Mode::Auto => match self.guards(run, &basis, false).await {
                Ok(()) => {
                    let output = Value::map([("digest", Value::str(basis.digest))]);
                    self.done(run, at, output).await
                }
                Err(failure) => self.fail_unstarted(run, at, failure).await,
            },
        }
    }

    async fn approval_timeout(&self, run: &Run) -> Duration {
        let incident = run.incident;
        let timeout = self.context.handle.read(move |state| {
            let watched = state.cluster_of_incident(incident?)?;
            let subject = &watched.state.incidents.get(&incident?)?.subject;
            Some(state.response(&subject.response)?.approval.timeout)
        });
        timeout.await.flatten().unwrap_or(APPROVAL_TIMEOUT)
    }

    async fn question(&self, run: &Run, look: &Look, basis: &Basis, until: Time) -> Ask {
        let name = self.context.cluster.clone();
        let (run, seen) = (run.clone(), look.clone());
        let commands = self.context.handle.read(move |state| {
            let watched = state.clusters.get(&name)?;
            Some(super::commands::commands_left(&run, watched, &seen, state.now()))
        });
        Ask {
            digest: basis.digest.clone(),
            survivor: basis.chosen.as_ref().map(|chosen| chosen.member.as_str().into()),
            show: Vec::new(),
            loss: Some(LossShown {
                lower: basis.chosen.as_ref().map_or(0, |chosen| chosen.lower),
                upper: basis.loss_upper(),
            }),
            evidence: evidence_lines(&look.judgement),
            commands: commands.await.flatten().unwrap_or_default(),
            until,
        }
    }

    /// Waits for the answer; a step whose question lapses has failed.
    pub(super) async fn await_answer(&mut self, run: &Run, at: &At<'_>, until: Time) -> Turn {
        if !self.pause_until(until).await {
            return Ok(());
        }
        let failure = Failure::new(ErrorKind::Timeout, "nobody answered in time".to_owned());
        self.fail_unstarted(run, at, failure).await
    }

    /// Right before the point of no return: the digest must be the one that was approved, and the
    /// loss no more than was accepted; without an approval the guards are asked again.
    pub(super) async fn recheck(&mut self, run: &Run) -> Result<(), Failure> {
        let refused = |text: String| Failure::new(ErrorKind::RefusedByGuard, text);
        let look = self.look(run, Duration::ZERO).await;
        let look = look.ok_or_else(|| refused("the patient could not be looked at".into()))?;
        let basis = self.basis(run, &look).await;
        let basis = basis.ok_or_else(|| refused("no survivor was chosen".into()))?;
        match (&run.approval, Mode::from(run.mode)) {
            (Some(approval), _) => {
                if approval.digest != basis.digest {
                    return Err(refused(VOID.into()));
                }
                // an unknown bound was shown, and accepted as unknown, where none is named
                if let Some(most) = approval.max_loss
                    && basis.loss_upper().is_none_or(|upper| upper > most)
                {
                    let upper = basis.loss_upper();
                    let upper = upper.map_or("unknown".to_owned(), |upper| upper.to_string());
                    return Err(refused(format!(
                        "up to {upper} revisions could be lost, {most} were accepted"
                    )));
                }
                self.guards(run, &basis, true).await
            }
            (None, Mode::Auto) => {
                let before = approved_digest(run);
                if before.is_some_and(|before| before != basis.digest) {
                    return Err(refused(
                        "the survivor or the members changed since the guards passed".into(),
                    ));
                }
                self.guards(run, &basis, false).await
            }
            (None, Mode::Propose) => Err(refused("nobody approved this run".into())),
        }
    }

    /// The guards that a run asks again, with what is known of the loss by now. What a person
    /// approved (loss, open loss, daily limit) is not asked again.
    async fn guards(&self, run: &Run, basis: &Basis, approved: bool) -> Result<(), Failure> {
        let (name, destroys) = (self.context.cluster.clone(), run.plan.destroys);
        let (upper, look) = (basis.loss_upper(), basis.look.clone());
        let decision = self.context.handle.read(move |state| {
            let watched = state.clusters.get(&name)?;
            let mut what =
                guards::destruction_of(state, watched, destroys, Some(&look), state.now());
            what.loss_upper = upper;
            what.loss_is_deferred = false;
            if watched.tools.is_none() {
                what.capability = Ok(()); // asked at dispatch; a restart forgot the answer
            }
            what.approved_by_person = approved;
            Some(guards::running_decision(watched, &look, what, state.now()))
        });
        let decision = decision.await.flatten();
        let decision =
            decision.ok_or_else(|| Failure::new(ErrorKind::Other, "the engine stops"))?;
        match decision.reason {
            None => Ok(()),
            Some(reason) => {
                Err(Failure::new(ErrorKind::RefusedByGuard, format!("{reason}: {}", decision.text)))
            }
        }
    }

    /// What an approval is bound to, as it is now.
    async fn basis(&self, run: &Run, look: &Look) -> Option<Basis> {
        let chosen = chosen(run);
        let (name, look) = (self.context.cluster.clone(), look.clone());
        let run = run.clone();
        let basis = self.context.handle.read(move |state| {
            let watched = state.clusters.get(&name)?;
            Some(make_basis(watched, &run, look, chosen))
        });
        basis.await?
    }

    /// What the engine knows and an action needs: the last revision seen, for the survivor's choice.
    pub(super) async fn inject(&self, call: &mut Call) {
        if call.action != "etcd.choose_survivor" {
            return;
        }
        let name = self.context.cluster.clone();
        let known = self.context.handle.read(move |state| {
            let watched = state.clusters.get(&name)?;
            let observed = watched.observed.clone()?;
            Some((watched.expect_loss(0, state.now())?, observed))
        });
        let mut fields = Vec::new();
        if let Some((loss, observed)) = known.await.flatten() {
            if let Some((at, revision)) = loss.last_seen {
                fields.push(("last_seen_revision", Value::Int(revision)));
                fields.push(("last_seen_at", Value::Time(at.0)));
            }
            // the survivor is not known yet: what may have been written after the last sighting
            let extra = loss.upper.map(|upper| upper.saturating_sub(loss.lower));
            fields.extend(
                extra
                    .and_then(|n| i64::try_from(n).ok())
                    .map(|n| ("loss_upper_extra", Value::Int(n))),
            );
            let voters = observed.voters.voters().map(|(name, _)| Value::str(name.as_str()));
            fields.push(("voters", Value::list(voters.collect())));
            fields.push(("cluster_id", Value::str(observed.epoch.cluster_id.to_string())));
        }
        call.args.insert("observed".into(), Value::map(fields));
    }
}

/// What an approval is bound to.
#[derive(Clone, Debug)]
struct Basis {
    digest: String,
    chosen: Option<Chosen>,
    look: Look,
}

impl Basis {
    /// The upper bound of the expected loss; `None` is unknown.
    fn loss_upper(&self) -> Option<u64> {
        self.chosen.as_ref().and_then(|chosen| chosen.upper)
    }
}

/// What `etcd.choose_survivor` chose. Its bounds of the loss were drawn while the old epoch was the
/// last one seen, so they stay true after the rebuilt member was seen too.
#[derive(Clone, Debug)]
pub(super) struct Chosen {
    pub(super) member: String,
    pub(super) id: EtcdId,
    pub(super) revision: i64,
    pub(super) lower: u64,
    pub(super) upper: Option<u64>,
}

impl Chosen {
    /// Reads the action's output.
    pub(super) fn read(output: &Json) -> Option<Self> {
        let count = |name: &str| output.get("loss")?.get(name)?.as_u64();
        Some(Self {
            member: output.get("member")?.as_str()?.to_owned(),
            id: EtcdId::parse(output.get("id")?.as_str()?)?,
            revision: output.get("revision")?.as_i64()?,
            lower: count("lower").unwrap_or(0),
            upper: count("upper"),
        })
    }
}

fn make_basis(watched: &Watched, run: &Run, look: Look, chosen: Option<Chosen>) -> Basis {
    let version = |name: &MemberName, readings: &MemberEvidence| {
        let readings = run.held.get(name).unwrap_or(readings);
        let version = readings.client.value().map(|status| status.version.clone());
        version.or_else(|| readings.peer.value().map(|peer| peer.version.clone()))
    };
    let members = look.evidence.members.iter();
    let versions = members.filter_map(|(name, row)| Some((name.clone(), version(name, row)?)));
    let nothing = Epoch { cluster_id: EtcdId(0), recoveries: 0 };
    let digest = digest::digest(
        &look.judgement,
        watched.observed.as_ref().map_or(nothing, |observed| observed.epoch),
        chosen.as_ref().map(|chosen| Survivor { id: chosen.id, revision: chosen.revision }),
        Mode::from(run.mode),
        &versions.collect(),
        &run.plan.digest,
    );
    Basis { digest, chosen, look }
}

/// What was chosen in this run.
fn chosen(run: &Run) -> Option<Chosen> {
    let mut outputs = run.steps.values().filter_map(StepRun::output);
    outputs.find_map(|output| output.get("candidates").and_then(|_| Chosen::read(output)))
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
