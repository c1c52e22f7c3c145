//! The intake's task: the only one that changes alerts.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
};

use tokio::sync::mpsc::{self, error::SendError};
use tokio_util::sync::CancellationToken;

use super::{
    handed::Handed,
    jobs::Jobs,
    limits::{BACKLOG_MAX, LINE_MAX, Limits},
    line::{Answer, Entry, Line},
    merge::{Merge, Tally},
    orders::Orders,
    request::{ObserveError, Receipt, Request},
    table::AlertTable,
    throttle::Throttle,
};
use crate::{
    domain::{
        alert::Alert,
        base::{id::ClusterName, time::Time},
        incident::owners::{Owner, Owners},
    },
    engine::{
        chain,
        clock::Clock,
        journal::{CommitError, Journal},
    },
    store::{AlertRow, Batch},
    telemetry::metrics::Metrics,
};

/// What an intake works with.
#[derive(Debug)]
pub struct Parts {
    /// Where rows are committed.
    pub journal: Journal,
    /// Whose an alert is.
    pub owners: Arc<Owners>,
    /// The clock.
    pub clock: Clock,
    /// How much is kept.
    pub limits: Limits,
    /// Where durable alerts go. While it is full, the intake takes no more than its own queue holds.
    pub handed: mpsc::Sender<Handed>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Ends it: what is under way is answered, nothing more is taken.
    pub cancel: CancellationToken,
}

/// The owner of the alerts.
#[derive(Debug)]
pub(super) struct Intake {
    table: AlertTable,
    parts: Parts,
    requests: mpsc::Receiver<Request>,
    orders: Arc<Orders>,
    jobs: Jobs,
    line: Line,
    /// What is durable and waits for room in the cells' queue.
    backlog: VecDeque<Handed>,
    /// Rows of which it is not known what the disk has: they are written again with the next commit.
    uncertain: BTreeSet<i64>,
    /// A commit failed: with the next one that is durable every row is handed out again.
    hand_out_again: bool,
    strangers: Throttle,
    refusals: Throttle,
}

impl Intake {
    pub(super) fn new(
        parts: Parts,
        table: AlertTable,
        requests: mpsc::Receiver<Request>,
        orders: Arc<Orders>,
    ) -> Self {
        let mut jobs = Jobs::default();
        jobs.hand_out_all(&table);
        Self {
            table,
            parts,
            requests,
            orders,
            jobs,
            line: Line::default(),
            backlog: VecDeque::new(),
            uncertain: BTreeSet::new(),
            hand_out_again: false,
            strangers: Throttle::default(),
            refusals: Throttle::default(),
        }
    }

    pub(super) async fn run(mut self) {
        let (cancel, handed) = (self.parts.cancel.clone(), self.parts.handed.clone());
        loop {
            // durable alerts that the cells have no room for yet hold everything up but the answers
            let may_take = self.line.len() < LINE_MAX && self.backlog.len() < BACKLOG_MAX;
            if may_take && !self.jobs.is_empty() {
                self.work();
            }
            tokio::select! {
                biased;
                () = cancel.cancelled() => break,
                result = self.line.first(), if !self.line.is_empty() => self.take_answer(result),
                permit = handed.reserve(), if !self.backlog.is_empty() => self.hand_over(permit),
                () = self.orders.any() => self.jobs.add(self.orders.take(), &self.table),
                request = self.requests.recv(), if may_take => match request {
                    Some(request) => self.deliver(request),
                    None => break,
                },
                () = tokio::task::yield_now(), if may_take && !self.jobs.is_empty() => {}
            }
        }
        self.stop().await;
    }

    fn hand_over(&mut self, permit: Result<mpsc::Permit<'_, Handed>, SendError<()>>) {
        match (permit, self.backlog.pop_front()) {
            (Ok(permit), Some(handed)) => permit.send(handed),
            (Ok(_), None) => {}
            // the cells have stopped; the rows are kept
            (Err(_), _) => self.backlog.clear(),
        }
    }

    /// What is under way is answered; what waits, and what comes, hears that it is too late.
    async fn stop(mut self) {
        self.requests.close();
        while let Ok(request) = self.requests.try_recv() {
            drop(request.reply.send(Err(ObserveError::Stopped)));
        }
        while !self.line.is_empty() {
            let result = self.line.first().await;
            self.take_answer(result);
        }
    }

    fn deliver(&mut self, Request { alerts, reply }: Request) {
        let (now, all) = (self.parts.clock.now(), alerts.len());
        let mut merge = Merge::new(&self.table, now);
        merge.observe(alerts);
        let tally = std::mem::take(&mut merge.tally);
        let (rows, mut entry) = merge.finish();
        let refused = tally.refused.len();
        let receipt = Receipt { accepted: all - refused, unmatched: tally.unmatched, refused };
        entry.answer = Some(Answer { reply, receipt });
        self.table.arrived(now);
        self.count(&tally, all, now);
        self.enter(rows, entry);
    }

    fn work(&mut self) {
        let now = self.parts.clock.now();
        if let Some(piece) = self.jobs.step(&self.table, now) {
            self.note_refused(piece.refused, now);
            self.enter(piece.rows, piece.entry);
        }
    }

    /// Commits the rows of an entry, and lines it up.
    fn enter(&mut self, mut rows: Vec<AlertRow>, mut entry: Entry) {
        if !self.uncertain.is_empty() {
            let alerts = self.table.read();
            let row = |id: &i64| (*id, alerts.get(*id).map(|alert| alert.to_row()));
            rows.extend(self.uncertain.iter().map(row).map(|(id, body)| AlertRow { id, body }));
            entry.settled.clone_from(&self.uncertain);
        }
        if !rows.is_empty() {
            let commit = self.parts.journal.commit(Batch { alerts: rows, ..Batch::default() });
            if let Some(refusal) = commit.refusal().cloned() {
                // the newest of all, so it alone is taken back
                entry.roll_back(&self.table);
                self.hand_out_again = true;
                return refuse(entry, &refusal);
            }
            entry.commit = Some(commit);
        }
        if entry.commit.is_none() && self.line.is_empty() {
            self.complete(entry);
        } else {
            self.line.push(entry);
        }
    }

    fn take_answer(&mut self, result: Result<(), CommitError>) {
        match result {
            Ok(()) => {
                if let Some(entry) = self.line.pop() {
                    self.complete(entry);
                }
            }
            Err(error) => self.roll_back(&error),
        }
    }

    /// An entry is durable: its sender hears so, then the cells get it.
    fn complete(&mut self, mut entry: Entry) {
        if entry.commit.is_some() && std::mem::take(&mut self.hand_out_again) {
            self.jobs.hand_out_all(&self.table);
        }
        self.uncertain.retain(|id| !entry.settled.contains(id));
        if let Some(answer) = entry.answer.take() {
            answer.give(Ok(()));
        }
        self.backlog.append(&mut entry.hand.into());
    }

    /// The oldest commit failed, and with it all that were made since: they may build on it.
    fn roll_back(&mut self, error: &CommitError) {
        let mut entries = self.line.take();
        for entry in entries.iter_mut().rev() {
            if matches!(error, CommitError::Unknown(_)) {
                self.uncertain.extend(entry.undo.iter().map(|undo| undo.id));
            }
            entry.roll_back(&self.table);
        }
        self.hand_out_again = true;
        // each guard goes only now, when memory is in order
        for entry in entries {
            refuse(entry, error);
        }
    }

    fn count(&mut self, tally: &Tally, all: usize, now: Time) {
        let (metrics, kept) = (&self.parts.metrics, all - tally.refused.len());
        metrics.alerts_received("firing", tally.firing as u64);
        metrics.alerts_received("resolved", (all - tally.firing) as u64);
        metrics.alerts_deduplicated((kept - tally.changed) as u64);
        metrics.alerts_old_news(tally.old_news.len() as u64);
        metrics.alerts_unmatched(tally.strangers.len() as u64);
        for alert in &tally.old_news {
            tracing::debug!(alert = %alert.labels, "old news: this delivery speaks of what is over");
        }
        for alert in &tally.strangers {
            self.note_stranger(alert, now);
        }
        self.note_refused(tally.refused.len(), now);
    }

    fn note_stranger(&mut self, alert: &Alert, now: Time) {
        let Owner::Ambiguous(names) = self.table.owner(alert) else { return };
        let Some(hidden) = self.strangers.due(now) else { return };
        let names: Vec<_> = names.iter().map(ClusterName::as_str).collect();
        tracing::warn!(alert = %alert.labels, clusters = names.join(", "), alerts.more = hidden,
            "alert refused: it matches several clusters; make their `match` disjoint");
    }

    fn note_refused(&mut self, refused: usize, now: Time) {
        if refused == 0 {
            return;
        }
        self.parts.metrics.alerts_refused(refused as u64);
        if let Some(hidden) = self.refusals.due(now) {
            let counts = self.table.counts();
            tracing::error!(
                alerts.refused = refused,
                deliveries.more = hidden,
                alerts.firing = counts.firing,
                alerts.resolved = counts.resolved,
                alerts.unmatched = counts.unmatched,
                alerts.bytes = counts.bytes,
                alerts.max = self.parts.limits.alerts_max,
                bytes.max = self.parts.limits.bytes_max,
                "alerts are not kept: there are too many already; look for a label that takes ever \
                 new values in what is sent here"
            );
        }
    }
}

fn refuse(mut entry: Entry, error: &CommitError) {
    match entry.answer.take() {
        Some(answer) => answer.give(Err(error.clone())),
        None if entry.commit.is_some() => tracing::warn!(error = %chain(error),
            "alerts that were settled or forgotten are not durable; it is tried again later"),
        None => {}
    }
}

#[cfg(test)]
mod tests;
