//! A possible data loss.

use super::{Page, at, loss};
use crate::http::views::LossView;

pub(in crate::cli) fn text(view: &LossView) -> String {
    let mut page = Page::default();
    facts(view, &mut page);
    if view.acknowledged.is_none() {
        page.head("what to do next");
        page.line("find out what is missing, and tell who wrote it");
        page.line(format!("then: quorate ack {} --reason …", view.id));
    }
    page.text
}

pub(super) fn facts(view: &LossView, page: &mut Page) {
    page.head(&format!("loss {}", view.id));
    page.field("cluster", view.cluster.to_string());
    page.field("lost", loss(view.lower, view.upper));
    let seen = view.last_seen_revision.map_or("unknown".into(), |seen| seen.to_string());
    page.field("kept", format!("revision {} of {} last seen", view.retained_revision, seen));
    page.field("survivor", format!("{} (id {})", view.survivor, view.survivor_id));
    page.field("rebuilt", view.rebuilt.join(", "));
    page.maybe("discarded", view.discarded_entries.map(|n| format!("{n} log entries")));
    page.field("raft", format!("term {}, index {}", view.raft_term, view.raft_index));
    page.field("etcd", &view.version);
    page.field("run", view.run.to_string());
    page.field("written", at(view.at));
    page.field("state", &view.state);
    page.maybe(
        "by",
        view.acknowledged
            .as_ref()
            .map(|ack| format!("{} at {}: {}", ack.by, at(ack.at), ack.reason)),
    );
}
