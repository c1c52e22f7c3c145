//! A cluster with every member's readings.

use super::{Page, at};
use crate::{
    cli::lists::or_none,
    http::views::{Attested, ClusterView, MemberView},
};

pub(in crate::cli) fn text(view: &ClusterView) -> String {
    let mut page = Page::default();
    page.head(&format!("cluster {}", view.name));
    page.field("verdict", format!("{}: {}", view.verdict, view.reason));
    fields(view, &mut page);
    members(view, &mut page);
    page.text
}

/// What is said of a cluster beside the verdict.
fn fields(view: &ClusterView, page: &mut Page) {
    page.maybe("stopped", view.stopped.as_ref());
    page.field("looked at", view.looked_at.map_or("not yet".into(), at));
    page.field("leader", or_none(view.leader.as_ref()));
    page.field("mode", &view.mode);
    page.maybe("blind", view.blind.as_ref());
    let seen = view.last_seen.as_ref();
    let never = || "never with a leader: nothing is ever done to it".to_owned();
    let seen = seen.map(|seen| format!("at {}, revision {}", at(seen.at), seen.revision));
    page.field("last seen", seen.unwrap_or_else(never));
    page.maybe(
        "paused",
        view.paused.as_ref().map(|pause| {
            let until =
                pause.until.map_or("until unpaused".into(), |until| format!("until {}", at(until)));
            format!("{until} by {}: {}", pause.by, pause.reason)
        }),
    );
    for incident in &view.incidents {
        page.field("incident", incident.to_string());
    }
    page.maybe("run", view.run.map(|run| run.to_string()));
    page.maybe("open loss", view.open_loss.map(|loss| loss.to_string()));
    for said in &view.attested {
        let until = at(said.until);
        let Attested { member, by, reason, .. } = said;
        page.field("attested", format!("{member} is gone, by {by} until {until}: {reason}"));
    }
    for finding in &view.findings {
        page.field("found", format!("after {}: {}", finding.run, finding.text));
    }
    for target in &view.silent_controls {
        page.field("silent", format!("control target {target}"));
    }
}

/// Every member with its readings.
pub(super) fn members(view: &ClusterView, page: &mut Page) {
    for member in &view.members {
        page.head(&super::clean(&format!("member {}: {}", member.name, member.state)));
        page.field("why", &member.why);
        page.field("stands on", member.host.to_string());
        page.field("role", role(member));
        page.maybe("revision", member.revision.map(|revision| revision.to_string()));
        page.maybe("data", member.data.as_ref());
        page.maybe("permanence", member.permanence.as_ref());
        if member.held {
            page.field("held", "a run stopped or moved it: the readings are from before");
        }
        let rows = member.readings.iter().map(|reading| {
            let answer = match (&reading.value, &reading.cause) {
                (Some(value), _) => value.clone(),
                (None, cause) => {
                    let detail = reading.detail.as_ref().map(|detail| format!(": {detail}"));
                    let cause = cause.as_deref().unwrap_or("unknown");
                    format!("unknown ({cause}){}", detail.unwrap_or_default())
                }
            };
            vec![reading.probe.clone(), reading.vantage.clone(), answer]
        });
        let rows: Vec<_> = rows.collect();
        if !rows.is_empty() {
            page.table(&["READING", "VANTAGE", "ANSWER"], &rows);
        }
    }
}

fn role(member: &MemberView) -> String {
    let leader = if member.leader == Some(true) { ", leader" } else { "" };
    let id = member.id.as_ref().map(|id| format!(", id {id}")).unwrap_or_default();
    format!("{}{leader}{id}", member.role)
}
