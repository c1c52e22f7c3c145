//! What a decision rests on: facts drawn from the cell, and the guards of a playbook that destroys.

use std::time::Duration;

use super::{
    Cell,
    fault::domain_of,
    variables::{missing, response_bindings, signals},
};
use crate::domain::{
    base::{
        id::{IncidentId, MemberName, ResponseName, RunId},
        time::Time,
    },
    etcd::{
        evidence::{DataState, Permanence},
        observation::Observation,
        verdict::{MemberState, Quorum},
        versions::version_gate,
    },
    incident::{
        Incident,
        decision::{self, Action, Decision, Facts, GraceFacts, Reason},
        guard::Guard,
        ledger::Ledger,
    },
    inventory::Mode,
    rules::{
        bindings::Bindings,
        playbook::model::Destroys,
        response::{Response, Rung},
    },
};

/// Between two decisions that wait for a look which is under way: the look itself decides.
const SAMPLE_WITHIN: Duration = Duration::from_secs(2);

/// The decision for an incident, with the rung it is about.
pub(super) fn decision_for(
    cell: &Cell,
    id: IncidentId,
    response: &Response,
    now: Time,
) -> (Option<(usize, Rung)>, Decision) {
    let Some(incident) = cell.state.incidents.get(&id) else {
        let text = "the incident is not there any more".into();
        return (None, Decision { action: Action::Skip, reason: Some(Reason::Unknown), text });
    };
    let subject = &incident.subject;
    let signals = signals(cell, subject, response, now);
    let bindings = response_bindings(cell, subject, &signals, now);
    let rung = next_rung(response, incident, &bindings);
    let playbook =
        rung.as_ref().and_then(|(_, rung)| cell.setup.rules.playbooks.get(&rung.playbook));
    let ledger = cell.state.ledgers.get(subject).cloned().unwrap_or_default();
    let facts = Facts {
        now,
        ever_healthy: domain_of(response.about).ever_healthy(cell),
        blind: cell.look().and_then(|look| look.judgement.blind.as_deref()),
        paused: pause_text(cell, now),
        silenced: signals.iter().any(|s| s.silenced > 0) && signals.iter().all(|s| s.firing == 0),
        inhibited_by: inhibitor(cell, &subject.response),
        grace: grace_facts(cell, incident, response, &bindings, now),
        has_rung: rung.is_some(),
        rung_from: rung
            .as_ref()
            .map_or(now, |(_, rung)| incident.confirmed_at.unwrap_or(now).after(rung.after)),
        conflict: cell.state.open_run().map(|run| run.id),
        ledger: &ledger,
        guards: &response.guards,
        declared: playbook.map_or_else(Vec::new, |playbook| {
            declared(cell, &Declares::at_dispatch(cell, playbook.destroys), cell.look())
        }),
    };
    let decision = decision::decide(&facts);
    (rung, decision)
}

/// The open response of the cluster that goes first, while its subject is in question.
fn inhibitor<'c>(cell: &'c Cell, response: &ResponseName) -> Option<&'c ResponseName> {
    let mut open = cell.state.open_incidents();
    let found = open.find(|incident| {
        let other = cell.response(incident.subject.response.as_str());
        other.is_some_and(|other| {
            other.inhibits.contains(response) && domain_of(other.about).is_in_question(cell)
        })
    });
    found.map(|incident| &incident.subject.response)
}

/// The rung that is next and applies.
fn next_rung(
    response: &Response,
    incident: &Incident,
    bindings: &Bindings,
) -> Option<(usize, Rung)> {
    let mut rungs = response.ladder.iter().enumerate().skip(incident.rung);
    let found = rungs
        .find(|(_, rung)| rung.when.as_ref().is_none_or(|when| when.truth(bindings) == Ok(true)));
    found.map(|(index, rung)| (index, rung.clone()))
}

/// Where the grace stands.
fn grace_facts(
    cell: &Cell,
    incident: &Incident,
    response: &Response,
    bindings: &Bindings,
    now: Time,
) -> GraceFacts {
    let first_until = incident.opened_at.after(response.grace.hold);
    let confirms = response.confirm.truth(bindings);
    let streaks = cell.streaks_of(incident.id);
    let is_unseen = streaks.first_sample.is_none() && cell.sight.failed.is_none();
    GraceFacts {
        complete: streaks.confirming.is_complete(now, &response.grace),
        holds: confirms.as_ref().ok().copied().filter(|_| streaks.first_sample.is_some()),
        until: match streaks.confirming.due(&response.grace) {
            Some(due) if due > now => due,
            None if first_until > now => first_until,
            Some(_) | None => next_sample(cell, now),
        },
        is_first: now < first_until || is_unseen,
        verdict: verdict_line(cell.look()),
        missing: confirms.err().map(|error| missing(&error)),
    }
}

/// When the sample that decides can be there: with the look that is due, or under way.
fn next_sample(cell: &Cell, now: Time) -> Time {
    cell.sight.look_due.max(now.after(SAMPLE_WITHIN))
}

/// What decides which guards a playbook brings along.
pub(super) struct Declares {
    /// What it may destroy.
    pub destroys: Destroys,
    /// Whether a person approves, or did: then the loss budget, an open loss and the daily limit are
    /// that person's to weigh.
    pub by_person: bool,
    /// What is known of the loss.
    pub loss: Expected,
}

/// What is known of the loss when guards are asked.
pub(super) enum Expected {
    /// The run has chosen a survivor: the upper bound in revisions, `None` where it is unknown.
    Chosen(Option<u64>),
    /// Nothing is chosen yet: what the look says. Where a survivor must be stopped and read first, the
    /// run asks at its `approve` step.
    FromLook,
}

impl Declares {
    /// Before anything of the playbook ran.
    pub(super) fn at_dispatch(cell: &Cell, destroys: Destroys) -> Self {
        let by_person = cell.inventory().mode == Mode::Propose;
        Self { destroys, by_person, loss: Expected::FromLook }
    }
}

/// The guards that a playbook's declarations come to, with what this look says of each.
pub(super) fn declared(cell: &Cell, declares: &Declares, look: Option<&Observation>) -> Vec<Guard> {
    if declares.destroys == Destroys::Nothing {
        return Vec::new();
    }
    let destroys_data = declares.destroys == Destroys::Data;
    let mut guards = vec![version(cell, look), capability(cell, declares)];
    if destroys_data {
        guards.push(Guard::Survivor { is_there: voters(look).any(|(_, m)| holds_data(m)) });
    }
    guards.push(permanence(look));
    if destroys_data && !declares.by_person {
        guards.extend(loss_budget(cell, declares, look));
        guards.push(Guard::LossOpen(cell.state.open_loss().map(|loss| loss.id)));
        guards.push(Guard::DailyLimit(cell.state.last_automatic()));
    }
    let own_store = "the journal lies in a data directory of this cluster";
    guards.push(Guard::OwnStore(cell.setup.store_on_target.then_some(own_store)));
    guards
}

fn voters(look: Option<&Observation>) -> impl Iterator<Item = (&MemberName, &MemberState)> {
    look.into_iter().flat_map(|look| &look.judgement.members).filter(|(_, member)| member.voter)
}

fn holds_data(member: &MemberState) -> bool {
    member.alive == Some(true) || member.data == Some(DataState::Present)
}

fn version(cell: &Cell, look: Option<&Observation>) -> Guard {
    Guard::Version(look.map_or(Ok(()), |look| {
        let tools = cell.sight.tools.as_ref().and_then(|tools| tools.as_ref().ok());
        version_gate(look, &cell.held(), cell.sight.observed.as_deref(), tools)
    }))
}

fn capability(cell: &Cell, declares: &Declares) -> Guard {
    Guard::Capability(match (&cell.sight.tools, &declares.loss) {
        (Some(tools), _) => tools.as_ref().map(drop).map_err(Clone::clone),
        // a run's were asked for when it was dispatched; a restart forgot the answer
        (None, Expected::Chosen(_)) => Ok(()),
        (None, Expected::FromLook) => Err("the tools were not asked for yet".into()),
    })
}

/// Data that is gone settles a member that can be fenced; of others only a person's word does.
fn permanence(look: Option<&Observation>) -> Guard {
    let is_reachable = |m: &MemberState| {
        look.and_then(|look| look.evidence.hosts.get(&m.host)).is_none_or(|host| host.reachable)
    };
    let is_settled = |m: &MemberState| match m.permanence {
        Some(Permanence::DiskGone | Permanence::DataGone) => is_reachable(m),
        Some(Permanence::HostOff | Permanence::Fenced | Permanence::Attested) => true,
        None => false,
    };
    let dead = voters(look).filter(|(_, m)| m.alive != Some(true) && !is_settled(m));
    let may_return = dead.map(|(name, member)| format!("{name}: {}", member.why)).collect();
    Guard::Permanence { may_return }
}

/// Not asked while the revision of one who holds data is not known: it must be read first.
fn loss_budget(cell: &Cell, declares: &Declares, look: Option<&Observation>) -> Option<Guard> {
    let upper = match declares.loss {
        Expected::Chosen(upper) => upper,
        Expected::FromLook => {
            if voters(look).any(|(_, m)| holds_data(m) && m.revision.is_none()) {
                return None;
            }
            look.and_then(|look| look.loss.as_ref()).and_then(|loss| loss.upper)
        }
    };
    Some(Guard::LossBudget { upper, budget: cell.inventory().loss_budget_revisions })
}

/// What the guards say to somebody who only wants to see: no incident, no pace.
pub fn preview_decision(cell: &Cell, destroys: Destroys, now: Time) -> Decision {
    let declares = Declares::at_dispatch(cell, destroys);
    let conflict = cell.state.open_run().map(|run| run.id);
    guarded(cell, cell.look(), &declares, now, conflict)
}

/// What the guards say to a run under way, on its own look: its pace was decided when it was
/// dispatched.
pub(super) fn running_decision(
    cell: &Cell,
    look: &Observation,
    declares: &Declares,
    now: Time,
) -> Decision {
    guarded(cell, Some(look), declares, now, None)
}

fn guarded(
    cell: &Cell,
    look: Option<&Observation>,
    declares: &Declares,
    now: Time,
    conflict: Option<RunId>,
) -> Decision {
    let quorum = look.map(|look| &look.judgement.quorum);
    let (ledger, guards) = (Ledger::default(), decision::no_guards());
    let facts = Facts {
        now,
        ever_healthy: Some(cell.sight.observed.is_some()),
        blind: look.and_then(|look| look.judgement.blind.as_deref()),
        paused: pause_text(cell, now),
        silenced: false,
        inhibited_by: None,
        grace: GraceFacts {
            complete: true,
            holds: quorum.and_then(|quorum| match quorum {
                // what destroys nothing harms no cluster that is better than was thought
                _ if declares.destroys == Destroys::Nothing => Some(true),
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
        declared: declared(cell, declares, look),
    };
    decision::decide(&facts)
}

fn pause_text(cell: &Cell, now: Time) -> Option<String> {
    cell.state.pause(now).map(|pause| {
        let until = pause.until.map_or(String::new(), |until| format!(" until {until}"));
        format!("paused by {}{until}: {}", pause.said.by, pause.said.reason)
    })
}

fn verdict_line(look: Option<&Observation>) -> String {
    look.map_or("not looked at yet".to_owned(), |look| {
        format!("{}: {}", look.judgement.quorum, look.judgement.reason)
    })
}

#[cfg(test)]
mod tests;
