//! An incident with its timeline.

use super::{Page, at, labels};
use crate::http::views::IncidentView;

pub(in crate::cli) fn text(view: &IncidentView) -> String {
    let mut page = Page::default();
    page.head(&format!("incident {}", view.id));
    facts(view, &mut page);
    page.head("timeline");
    for line in &view.timeline {
        page.line(format!("{}  {}", at(line.at), line.text));
    }
    page.text
}

/// Where it stands.
pub(super) fn facts(view: &IncidentView, page: &mut Page) {
    page.field("cluster", view.cluster.to_string());
    if !view.subject.is_empty() {
        page.field("subject", labels(&view.subject));
    }
    page.field("response", view.response.to_string());
    let outcome = view.outcome.as_ref().map(|outcome| format!(" ({outcome})")).unwrap_or_default();
    page.field("phase", format!("{}{outcome}", view.phase));
    page.field("opened", format!("{} by {}", at(view.opened_at), labels(&view.alert)));
    page.maybe("confirmed", view.confirmed_at.map(at));
    page.maybe("closed", view.closed_at.map(at));
    for signal in &view.signals {
        let (firing, silenced, resolved) = (signal.firing, signal.silenced, signal.resolved);
        let text =
            format!("{}: {firing} firing, {silenced} silenced, {resolved} resolved", signal.name);
        page.field("signal", text);
    }
    if let Some(decision) = &view.decision {
        let reason = decision.reason.as_ref().map(|reason| format!(" ({reason})"));
        let since = decision.at.map(|time| format!(", since {}", at(time))).unwrap_or_default();
        page.field("decision", format!("{}{}{since}", decision.action, reason.unwrap_or_default()));
        page.field("", &decision.text);
    }
    for run in &view.runs {
        let outcome = run.outcome.as_deref().unwrap_or("under way");
        page.field("run", format!("{} {}: {outcome}", run.id, run.playbook));
    }
}
