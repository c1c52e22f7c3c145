//! A run: its steps as a tree, what it asks, why it is parked.

use super::{Page, at, loss};
use crate::http::views::{AskView, EntryView, RunView, StepView};

pub(in crate::cli) fn text(view: &RunView) -> String {
    let mut page = Page::default();
    page.head(&format!("run {}", view.id));
    facts(view, &mut page);
    if !view.steps.is_empty() {
        page.head("steps");
        for step in &view.steps {
            self::step(step, &mut page);
        }
    }
    if let Some(ask) = view.ask.as_ref().filter(|ask| ask.open) {
        self::ask(view, ask, &mut page);
    }
    if let Some(parked) = &view.parked {
        page.head("parked: a person must look");
        page.line(&parked.why);
        for armed in &parked.armed {
            page.line(format!("still armed or changed: {armed}"));
        }
        page.line(format!("let it go on:  quorate resume {} --reason …", view.id));
        page.line(format!("give it up:    quorate abandon {} --reason …", view.id));
    }
    leftovers(view, &mut page);
    page.text
}

/// What is left to do by hand.
pub(super) fn leftovers(view: &RunView, page: &mut Page) {
    if view.leftovers.is_empty() {
        return;
    }
    page.head("given up: this is left to do by hand");
    for left in &view.leftovers {
        page.line(&left.what);
        for command in &left.commands {
            page.line(format!("  {command}"));
        }
    }
}

/// Where it stands.
pub(super) fn facts(view: &RunView, page: &mut Page) {
    page.field("playbook", view.playbook.to_string());
    page.field("cluster", view.cluster.to_string());
    page.maybe("incident", view.incident.map(|incident| incident.to_string()));
    let outcome = view.outcome.as_ref().filter(|outcome| **outcome != view.state);
    let outcome = outcome.map(|outcome| format!(" ({outcome})")).unwrap_or_default();
    page.field("state", format!("{}{outcome}", view.state));
    page.field("mode", format!("{}, by {}", view.mode, view.by));
    page.field("started", at(view.started_at));
    page.maybe("ended", view.finished_at.map(at));
    page.maybe("no return", view.past_return.as_ref().map(|step| format!("passed at {step}")));
    page.maybe("error", view.failure.as_ref().map(|f| format!("{} ({})", f.message, f.kind)));
    page.maybe(
        "approved",
        view.approval.as_ref().map(|yes| {
            let most = yes.max_loss.map(|most| format!(", up to {most} revisions may be lost"));
            format!("by {}{}: {}", yes.by, most.unwrap_or_default(), yes.reason)
        }),
    );
    page.maybe("denied", view.denied.as_ref().map(|no| format!("by {}: {}", no.by, no.reason)));
}

/// A sign that can be read without colours.
fn sign(state: &str) -> &'static str {
    match state {
        "done" => "+",
        "running" => ">",
        "failed" | "undo_failed" => "!",
        "in_doubt" => "?",
        "undone" => "<",
        "skipped" => "-",
        _ => " ",
    }
}

pub(super) fn step(view: &StepView, page: &mut Page) {
    let indent = "  ".repeat(view.depth);
    let name = view.path.rsplit('.').next().unwrap_or(&view.path);
    let name = if view.depth > 0 { view.path.as_str() } else { name };
    let mut notes = Vec::new();
    if view.irreversible {
        notes.push("point of no return".to_owned());
    }
    if view.changed == Some(false) && view.state == "done" {
        notes.push("nothing to do".into());
    }
    if view.attempts > 1 {
        notes.push(format!("{} tries", view.attempts));
    }
    let notes = if notes.is_empty() { String::new() } else { format!(" ({})", notes.join(", ")) };
    let time = view.at.map(|time| format!("  {}", at(time))).unwrap_or_default();
    let (sign, does, state) = (sign(&view.state), &view.does, &view.state);
    page.line(format!("{indent}{sign} {name}: {does}: {state}{notes}{time}"));
    if let Some(failure) = &view.failure {
        page.line(format!("{indent}    {} ({})", failure.message, failure.kind));
    }
    if let Some(note) = view.note() {
        page.line(format!("{indent}    {note}"));
    }
    for entry in &view.entries {
        self::entry(&indent, entry, page);
    }
}

fn entry(indent: &str, entry: &EntryView, page: &mut Page) {
    let failure = entry.failure.as_ref().map(|failure| format!(": {}", failure.message));
    let failure = failure.unwrap_or_default();
    let (list, does, state) = (&entry.list, &entry.does, &entry.state);
    page.line(format!("{indent}    {} {list} {does}: {state}{failure}", sign(state)));
}

fn ask(view: &RunView, ask: &AskView, page: &mut Page) {
    page.head("it asks: may it go on, past what cannot be taken back?");
    let survivor = ask.survivor.as_ref().map_or("not known".into(), ToString::to_string);
    page.field("survivor", survivor);
    if let Some(lower) = ask.loss_lower {
        page.field("loss", loss(lower, ask.loss_upper));
    }
    for line in &ask.evidence {
        page.field("evidence", line);
    }
    for command in &ask.commands {
        page.field("will run", command);
    }
    page.field("lapses", format!("{}: then it is taken back", at(ask.until)));
    page.line(format!("yes:  quorate approve {} --digest {} --reason …", view.id, ask.digest));
    page.line(format!("no:   quorate deny {} --reason …", view.id));
}
