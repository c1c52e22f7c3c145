//! `why`: alert, matcher, window, evidence, decision, run, loss, and what to do next.

use super::{Page, at, cluster, incident, labels, run};
use crate::http::views::{WhyView, Window};

pub(in crate::cli) fn text(view: &WhyView) -> String {
    let mut page = Page::default();
    page.head(&super::clean(&format!("{}: {}", view.id, view.summary)));
    alerts(view, &mut page);
    if let Some(response) = &view.response {
        page.head(&format!("response {}", response.name));
        if !response.description.is_empty() {
            page.line(&response.description);
        }
        page.field("opens when", &response.when);
        page.field("confirmed", format!("when {}", response.confirm));
        let ladder: Vec<_> = response.ladder.iter().map(ToString::to_string).collect();
        let none = "no playbook: it only holds and tells".to_owned();
        page.field("then", if ladder.is_empty() { none } else { ladder.join(", then ") });
    }
    if let Some(view) = &view.incident {
        page.head(&format!("incident {}", view.id));
        incident::facts(view, &mut page);
    }
    if let Some(window) = &view.window {
        self::window(window, &mut page);
    }
    if let Some(evidence) = &view.evidence {
        page.head(&format!("evidence about {} now", evidence.name));
        page.field("verdict", format!("{}: {}", evidence.verdict, evidence.reason));
        page.field("looked at", evidence.looked_at.map_or("not yet".into(), at));
        page.maybe("blind", evidence.blind.as_ref());
        page.maybe("survivor", view.survivor.as_ref());
        page.maybe("loss", view.expected_loss.as_ref().map(|l| super::loss(l.lower, l.upper)));
        cluster::members(evidence, &mut page);
    }
    for run in &view.runs {
        page.head(&format!("run {}", run.id));
        run::facts(run, &mut page);
        for step in &run.steps {
            run::step(step, &mut page);
        }
        if let Some(parked) = &run.parked {
            page.field("parked", &parked.why);
        }
    }
    for loss in &view.losses {
        super::loss::facts(loss, &mut page);
    }
    page.head("what to do next");
    if view.next.is_empty() {
        page.line("nothing: it needs nobody");
    }
    for next in &view.next {
        page.line(next);
    }
    page.text
}

fn alerts(view: &WhyView, page: &mut Page) {
    if view.alerts.is_empty() {
        return;
    }
    page.head("alerts");
    for alert in &view.alerts {
        let state = if alert.silenced { "silenced" } else { &alert.state };
        page.line(format!(
            "{} {state} since {} {}",
            alert.fingerprint,
            at(alert.starts_at),
            labels(&alert.labels)
        ));
        page.line(match (&alert.cluster, alert.ambiguous.is_empty()) {
            (Some(cluster), _) => format!("  about cluster {cluster}"),
            (None, true) => "  about no cluster of the inventory".into(),
            (None, false) => "  about several clusters, and so about none".into(),
        });
    }
    let hidden = view.alerts_total.saturating_sub(view.alerts.len());
    if hidden > 0 {
        page.line(format!("and {hidden} more"));
    }
    for hit in &view.matched {
        page.line(format!("taken by {} as signal {}: {}", hit.response, hit.signal, hit.matcher));
    }
    if view.matched.is_empty() {
        page.line("no response has a signal for them");
    }
}

fn window(window: &Window, page: &mut Page) {
    page.head("window");
    let Window { hold, samples, max_gap, .. } = window;
    page.line(format!(
        "must hold for {hold} in {samples} looks or more, none {max_gap} after the last"
    ));
    let text = match (window.confirmed_at, window.due) {
        (Some(confirmed), _) => format!("confirmed at {}", at(confirmed)),
        (None, Some(due)) => format!("holds now; long enough at {} at the earliest", at(due)),
        (None, None) => "does not hold now".into(),
    };
    page.line(text);
}
