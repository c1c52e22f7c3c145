//! What a chain comes down to, and what a person can do next. Pure: it reads views only.

use super::{DecisionView, RunView, StepView, WhyView};

/// The chain in one sentence.
pub fn summary(view: &WhyView) -> String {
    let loss = view.losses.iter().find(|loss| loss.state == "possible");
    let missing = loss.map(|loss| format!("up to {} revisions may be lost", bound(loss.upper)));
    let unfinished = view.runs.iter().rev().find(|run| run.finished_at.is_none());
    if let Some(run) = unfinished.or(view.runs.last()) {
        return match missing {
            Some(missing) if run.state == "succeeded" => format!("recovered, and {missing}"),
            Some(missing) => format!("{}; {missing}", of_run(run)),
            None => of_run(run),
        };
    }
    if let Some(missing) = missing {
        return format!("recovered, and {missing}");
    }
    if let Some(incident) = &view.incident {
        if let Some(outcome) = &incident.outcome {
            return format!("the incident is closed: {outcome}; nothing was done");
        }
        return match &incident.decision {
            Some(decision) => of_decision(decision),
            None => "the incident is open and nothing is decided yet".into(),
        };
    }
    let Some(alert) = view.alerts.first() else { return "nothing is known of it".into() };
    if !alert.ambiguous.is_empty() {
        let names: Vec<_> = alert.ambiguous.iter().map(ToString::to_string).collect();
        return format!(
            "the alert matches several clusters ({}): it is kept out",
            names.join(", ")
        );
    }
    if alert.cluster.is_none() {
        return "no cluster's `match` fits the alert's labels".into();
    }
    if view.matched.is_empty() {
        return "no response has a signal for this alert".into();
    }
    if alert.state == "resolved" {
        return "the alert is resolved and no incident is open".into();
    }
    if alert.silenced {
        return "the alert is suppressed (silenced, inhibited or muted): it opens no incident"
            .into();
    }
    if alert.undelivered {
        return "Alertmanager lists the alert but has not sent it to quorate's webhook (another \
                receiver, or muted): it opens no incident"
            .into();
    }
    "a response's signal takes the alert, but its `when` does not hold: no incident".into()
}

fn bound(upper: Option<u64>) -> String {
    upper.map_or_else(|| "an unknown number of".into(), |upper| upper.to_string())
}

fn of_decision(decision: &DecisionView) -> String {
    let DecisionView { action, reason, text, .. } = decision;
    match reason {
        Some(reason) => format!("{action} ({reason}): {text}"),
        None => format!("{action}: {text}"),
    }
}

fn of_run(run: &RunView) -> String {
    let end = match (run.state.as_str(), &run.failure) {
        ("awaiting_approval", _) => "waits for a person's answer".into(),
        ("parked", _) => "is parked: a person must look".into(),
        ("succeeded", _) => "succeeded".into(),
        (state, Some(failure)) => format!("is {state}: {}", failure.message),
        (state, None) => format!("is {state}"),
    };
    format!("{} ({}) {end}", run.id, run.playbook)
}

/// What a person can do next, most urgent first. Empty: nothing needs anybody.
pub fn next(view: &WhyView) -> Vec<String> {
    let mut next = Vec::new();
    if view.evidence.as_ref().is_some_and(|cluster| cluster.stopped.is_some()) {
        next.push("restart quorate: this cluster is not worked on until then".into());
    }
    for run in &view.runs {
        of_run_left(run, &mut next);
    }
    for loss in view.losses.iter().filter(|loss| loss.state == "possible") {
        next.push(format!(
            "find out what is missing (revisions after {} of {}), then: quorate ack {} --reason …",
            loss.retained_revision, loss.cluster, loss.id
        ));
    }
    let open = view.incident.as_ref().filter(|incident| incident.outcome.is_none());
    if let Some(decision) = open.and_then(|incident| incident.decision.as_ref()) {
        next.extend(of_reason(view, decision));
    }
    if view.incident.is_none()
        && let Some(alert) = view.alerts.first()
    {
        if !alert.ambiguous.is_empty() {
            next.push("make the clusters' `match` disjoint in quorate.yaml".into());
        } else if alert.cluster.is_none() {
            next.push("if it should: see `match` of the clusters in quorate.yaml".into());
        } else if view.matched.is_empty() {
            next.push("if it should: see `signals` of the responses in rules/responses".into());
        }
    }
    next
}

/// What a run asks, what it is parked for, and what it noted for people.
fn of_run_left(run: &RunView, next: &mut Vec<String>) {
    if let Some(ask) = run.ask.as_ref().filter(|ask| ask.open) {
        next.push(format!("read what it asks: quorate runs {}", run.id));
        let digest = &ask.digest;
        next.push(format!("yes: quorate approve {} --digest {digest} --reason …", run.id));
        next.push(format!("no, and take back what was done: quorate deny {} --reason …", run.id));
        next.push(format!("without an answer it is taken back at {}", ask.until));
    }
    if run.parked.is_some() {
        next.push(format!("see what is armed or uncertain, and check it: quorate runs {}", run.id));
        next.push(format!("let it go on: quorate resume {} --reason …", run.id));
        let back = if run.past_return.is_none() {
            "what it did is taken back"
        } else {
            "its finalizers run"
        };
        next.push(format!("give it up ({back}): quorate abandon {} --reason …", run.id));
    }
    for left in &run.leftovers {
        next.push(format!("by hand: {}: {}", left.what, left.commands.join(" ; ")));
    }
    next.extend(run.steps.iter().filter_map(StepView::note).map(str::to_owned));
}

fn of_reason(view: &WhyView, decision: &DecisionView) -> Option<String> {
    let cluster = view.evidence.as_ref()?;
    let name = &cluster.name;
    let text = match decision.reason.as_deref()? {
        "paused" => format!("end the pause: quorate unpause {name} --reason …"),
        "permanence" => {
            let dead = cluster.members.iter().filter(|member| {
                member.role == "voter" && member.permanence.is_none() && member.state != "alive"
            });
            let dead: Vec<_> = dead
                .map(|member| format!("quorate attest {name} {} --gone --reason …", member.name))
                .collect();
            format!(
                "bring the members back; or, for each that never will: {}",
                if dead.is_empty() { "quorate attest".into() } else { dead.join(" ; ") }
            )
        }
        "loss_open" => match &cluster.open_loss {
            Some(loss) => format!("acknowledge the earlier loss: quorate ack {loss} --reason …"),
            None => "acknowledge the earlier loss: quorate losses".into(),
        },
        "blind" => "make a control target reachable again from quorate's host".into(),
        "unknown" => format!("see which readings are missing: quorate clusters {name}"),
        "no_survivor" => "nobody holds the data: restore from a snapshot by hand".into(),
        "capability" | "version" => "put right what is missing; it is looked at again".into(),
        "own_store" => "move quorate's store off this cluster's hosts".into(),
        "conflict" => format!("wait for the run under way: {}", run_of(cluster.run)),
        reason => {
            let response = view.response.as_ref().map_or("the response", |r| r.name.as_str());
            return of_limit(reason, name.as_str(), response);
        }
    };
    Some(text)
}

/// Which key moves a limit that holds a repair back.
fn of_limit(reason: &str, cluster: &str, response: &str) -> Option<String> {
    let text = match reason {
        "loss_budget" => format!(
            "so that a person is asked and shown the loss: set `mode: propose` of {cluster} in its entry \
             of `clusters`; to let more be lost unasked: raise its `loss_budget.revisions`; a changed \
             file is in force within seconds"
        ),
        "daily_limit" => format!(
            "wait; or, so that a person is asked at once: set `mode: propose` of {cluster} in its entry \
             of `clusters`; a changed file is in force within seconds"
        ),
        "attempts" => format!(
            "see why the earlier runs failed (quorate runs) and put that right; then wait until the \
             oldest is out of the window, or raise `guards.attempts` of {response} in its rules file; a \
             changed file is in force within seconds"
        ),
        _ => return None,
    };
    Some(text)
}

fn run_of(run: Option<crate::domain::base::id::RunId>) -> String {
    run.map_or("quorate runs".into(), |run| format!("quorate runs {run}"))
}

#[cfg(test)]
mod tests {
    use super::of_limit;

    #[test]
    fn every_limit_names_the_key_that_moves_it_and_what_takes_it_in() {
        let keys = [
            ("loss_budget", &["`mode: propose` of c1", "`loss_budget.revisions`"][..]),
            ("daily_limit", &["`mode: propose` of c1"]),
            ("attempts", &["`guards.attempts` of etcd-quorum-lost"]),
        ];
        for (reason, keys) in keys {
            let text = of_limit(reason, "c1", "etcd-quorum-lost").unwrap();
            for word in keys.iter().chain(&["a changed file is in force"]) {
                assert!(text.contains(word), "{reason} does not name {word}: {text}");
            }
        }
        assert_eq!(of_limit("grace", "c1", "etcd-quorum-lost"), None);
    }
}
