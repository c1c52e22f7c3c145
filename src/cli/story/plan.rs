//! A plan: what would be done, and what holds it back.

use super::{Page, at, cluster, loss};
use crate::http::views::PlanView;

pub(in crate::cli) fn text(view: &PlanView) -> String {
    let mut page = Page::default();
    page.head(&format!("plan {} for cluster {}", view.playbook, view.cluster));
    if !view.description.is_empty() {
        page.field("what", &view.description);
    }
    page.field("destroys", &view.destroys);
    for (name, value) in &view.params {
        page.field("parameter", format!("{name} = {value}"));
    }
    page.field("survivor", view.survivor.as_deref().unwrap_or("not known yet"));
    match &view.loss {
        Some(expected) => {
            page.field("loss", loss(expected.lower, expected.upper));
            if let (Some(time), Some(revision)) =
                (expected.last_seen_at, expected.last_seen_revision)
            {
                let rate = expected.write_rate_per_s;
                let text =
                    format!("revision {revision} at {}, {rate:.1} writes per second", at(time));
                page.field("last seen", text);
            }
        }
        None => page.field("loss", "not known: nothing was seen before, or nobody survives"),
    }
    if let Some(evidence) = &view.evidence {
        page.field("verdict", format!("{}: {}", evidence.verdict, evidence.reason));
        cluster::members(evidence, &mut page);
    }
    page.head("commands, in this order");
    for (number, command) in view.commands.iter().enumerate() {
        page.line(format!("{:>3}  {command}", number + 1));
    }
    page.head("decision");
    let reason = view.decision.reason.as_ref().map(|reason| format!(" ({reason})"));
    page.line(format!(
        "{}{}: {}",
        view.decision.action,
        reason.unwrap_or_default(),
        view.decision.text
    ));
    page.line("nothing was changed");
    page.text
}
