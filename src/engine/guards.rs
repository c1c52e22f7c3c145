//! What a decision rests on: facts drawn from the state, the rung that is next, the guards.

mod version;

use std::time::Duration;

use self::version::version_gate;
use super::{
    Engine,
    respond::is_about_etcd,
    state::{Look, State, Watched},
    variables::{missing, response_roots},
};
use crate::domain::{
    base::{
        id::{ClusterName, IncidentId, ResponseName, RunId},
        time::Time,
    },
    etcd::{
        evidence::{DataState, Permanence},
        verdict::{MemberState, Quorum},
    },
    incident::{
        Incident,
        decision::{self, Action, Decision, Destruction, Facts, GraceFacts, Reason},
        ledger::Ledger,
    },
    inventory::Mode,
    rules::{
        bindings::Bindings,
        playbook::model::Destroys,
        response::{Response, Rung},
    },
};

/// The window of the daily limit.
const DAY: Duration = Duration::from_hours(24);

impl Engine {
    /// The decision for an incident, with the rung it is about.
    pub(super) fn decision_for(
        &self,
        cluster: &ClusterName,
        id: IncidentId,
        response: &Response,
    ) -> (Option<(usize, Rung)>, Decision) {
        let now = self.state.now();
        let nothing = || Decision {
            action: Action::Skip,
            reason: Some(Reason::Unknown),
            text: "the cluster is not in the inventory any more".into(),
        };
        let Some(watched) = self.state.clusters.get(cluster) else { return (None, nothing()) };
        let Some(incident) = watched.state.incidents.get(&id) else { return (None, nothing()) };
        let subject = &incident.subject;
        let signals = self.state.correlation.signals(subject, response, &self.state.alerts, now);
        let roots = response_roots(watched, subject, &signals, now);
        let rung = next_rung(response, incident, &roots);
        let playbook = rung.as_ref().and_then(|(_, rung)| self.state.playbook(&rung.playbook));
        let ledger = watched.state.ledgers.get(subject).cloned().unwrap_or_default();
        let look = watched.look.as_ref();
        let facts = Facts {
            now,
            latch: is_about_etcd(subject).then_some(watched.observed.is_some()),
            blind: look.and_then(|look| look.judgement.blind.as_deref()),
            paused: pause_text(watched, now),
            silenced: signals.iter().any(|s| s.silenced > 0)
                && signals.iter().all(|s| s.firing == 0),
            inhibited_by: self.inhibitor(watched, &subject.response),
            grace: grace_facts(watched, incident, response, &roots, now),
            has_rung: rung.is_some(),
            rung_from: rung
                .as_ref()
                .map_or(now, |(_, rung)| incident.confirmed_at.unwrap_or(now).after(rung.after)),
            conflict: watched.state.open_run().map(|run| run.id),
            ledger: &ledger,
            guards: &response.guards,
            destruction: playbook
                .map(|playbook| destruction(&self.state, watched, playbook.destroys, now)),
        };
        let decision = decision::decide(&facts);
        (rung, decision)
    }

    /// The open response of the cluster that goes first, while its quorum is in question.
    fn inhibitor<'s>(
        &'s self,
        watched: &'s Watched,
        response: &ResponseName,
    ) -> Option<&'s ResponseName> {
        let in_question = watched.look.as_ref().is_none_or(|look| {
            matches!(
                look.judgement.quorum,
                Quorum::Lost { .. } | Quorum::LeaderlessAlive | Quorum::Unknown
            )
        });
        let mut open = watched.state.open_incidents().filter(|_| in_question);
        let names = open.find(|incident| {
            let other = self.state.response(&incident.subject.response);
            other.is_some_and(|other| other.inhibits.contains(response))
        });
        names.map(|incident| &incident.subject.response)
    }
}

/// Where the grace stands.
fn grace_facts(
    watched: &Watched,
    incident: &Incident,
    response: &Response,
    roots: &Bindings,
    now: Time,
) -> GraceFacts {
    let first_until = incident.opened_at.after(response.grace.hold);
    let confirms = response.confirm.truth(roots);
    GraceFacts {
        complete: incident.confirming.is_complete(now, &response.grace),
        holds: confirms.as_ref().ok().copied().filter(|_| incident.first_sample.is_some()),
        until: incident.confirming.due(&response.grace).unwrap_or(first_until).max(now),
        is_first: now < first_until,
        verdict: verdict_line(watched.look.as_deref()),
        missing: confirms.err().map(|stop| missing(&stop)),
    }
}

/// The rung that is next and applies.
fn next_rung(response: &Response, incident: &Incident, roots: &Bindings) -> Option<(usize, Rung)> {
    let rungs = response.ladder.iter().enumerate().skip(incident.rung);
    let applies = |rung: &&(usize, &Rung)| {
        rung.1.when.as_ref().is_none_or(|when| when.truth(roots) == Ok(true))
    };
    let next = rungs.collect::<Vec<_>>();
    next.iter().find(applies).map(|(index, rung)| (*index, (*rung).clone()))
}

/// What the evidence of the last look allows a playbook that destroys something.
pub(super) fn destruction(
    state: &State,
    watched: &Watched,
    destroys: Destroys,
    now: Time,
) -> Destruction<'static> {
    destruction_of(state, watched, destroys, watched.look.as_deref(), now)
}

/// What the evidence of this look allows a playbook that destroys something.
pub(super) fn destruction_of(
    state: &State,
    watched: &Watched,
    destroys: Destroys,
    look: Option<&Look>,
    now: Time,
) -> Destruction<'static> {
    let members = look.map(|look| &look.judgement.members);
    let voters = || members.into_iter().flatten().filter(|(_, member)| member.voter);
    let reachable = |m: &MemberState| {
        look.and_then(|look| look.evidence.hosts.get(&m.host)).is_none_or(|host| host.reachable)
    };
    // data that is gone settles it where the member can be fenced; of others only a word does
    let is_settled = |m: &MemberState| match m.permanence {
        Some(Permanence::DiskGone | Permanence::DataGone) => reachable(m),
        Some(Permanence::HostOff | Permanence::Fenced | Permanence::Attested) => true,
        None => false,
    };
    let dead = voters().filter(|(_, m)| m.alive != Some(true) && !is_settled(m));
    let holds = |m: &MemberState| m.alive == Some(true) || m.data == Some(DataState::Present);
    let unread = voters().any(|(_, m)| holds(m) && m.revision.is_none());
    let has_survivor = voters().any(|(_, m)| holds(m));
    Destruction {
        destroys,
        version: look.map_or(Ok(()), |look| {
            let tools = watched.tools.as_ref().and_then(|tools| tools.as_ref().ok());
            version_gate(look, &watched.held(), watched.observed.as_ref(), tools)
        }),
        capability: match &watched.tools {
            Some(tools) => tools.as_ref().map(drop).map_err(Clone::clone),
            None => Err("the tools were not asked for yet".into()),
        },
        has_survivor,
        may_return: dead.map(|(name, member)| format!("{name}: {}", member.why)).collect(),
        approved_by_person: watched.inventory.mode == Mode::Propose,
        loss_upper: look.and_then(|look| look.loss.as_ref()).and_then(|loss| loss.upper),
        loss_is_deferred: unread,
        loss_budget: watched.inventory.loss_budget_revisions,
        open_loss: watched.state.open_loss().map(|loss| loss.id),
        last_automatic: watched.state.last_automatic().filter(|at| now.since(*at) < DAY),
        own_store: (destroys != Destroys::Nothing && state.settings.store_on_patient)
            .then_some("the journal lies in a data directory of this cluster"),
    }
}

/// What the guards say to somebody who only wants to see: no incident, no pace.
pub(super) fn preview_decision(watched: &Watched, what: Destruction<'_>, now: Time) -> Decision {
    let conflict = watched.state.open_run().map(|run| run.id);
    guarded(watched, watched.look.as_deref(), what, now, conflict)
}

/// What the guards say to a run under way, on its own look: its pace was decided when it was
/// dispatched.
pub(super) fn running_decision(
    watched: &Watched,
    look: &Look,
    what: Destruction<'_>,
    now: Time,
) -> Decision {
    guarded(watched, Some(look), what, now, None)
}

fn guarded(
    watched: &Watched,
    look: Option<&Look>,
    what: Destruction<'_>,
    now: Time,
    conflict: Option<RunId>,
) -> Decision {
    let quorum = look.map(|look| &look.judgement.quorum);
    let (ledger, guards) = (Ledger::default(), decision::no_guards());
    let facts = Facts {
        now,
        latch: Some(watched.observed.is_some()),
        blind: look.and_then(|look| look.judgement.blind.as_deref()),
        paused: pause_text(watched, now),
        silenced: false,
        inhibited_by: None,
        grace: GraceFacts {
            complete: true,
            holds: quorum.and_then(|quorum| match quorum {
                Quorum::Unknown => None,
                Quorum::Lost { .. } => Some(true),
                Quorum::Forming
                | Quorum::Single
                | Quorum::Healthy
                | Quorum::Degraded { .. }
                | Quorum::LeaderlessAlive => Some(false),
            }),
            until: now,
            is_first: false,
            verdict: verdict_line(look),
            missing: None,
        },
        has_rung: true,
        rung_from: now,
        conflict,
        ledger: &ledger,
        guards: &guards,
        destruction: Some(what),
    };
    decision::decide(&facts)
}

fn pause_text(watched: &Watched, now: Time) -> Option<String> {
    watched.state.pause(now).map(|pause| {
        let until = pause.until.map_or(String::new(), |until| format!(" until {until}"));
        format!("paused by {}{until}: {}", pause.said.by, pause.said.reason)
    })
}

fn verdict_line(look: Option<&Look>) -> String {
    look.map_or("not looked at yet".to_owned(), |look| {
        format!("{}: {}", look.judgement.quorum, look.judgement.reason)
    })
}
