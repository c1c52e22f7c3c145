//! The life of the writer thread: it takes what waits, writes it in groups, and answers.
//!
//! It decides nothing about the database itself. The one thing to know: before it answers a failure
//! it has told the line, so that nothing that follows the answer can slip past.

use std::{
    mem,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use super::{
    journal::Journal,
    queue::{Answer, Queue, Request},
    write::Write,
};
use crate::store::StoreError;

/// How long nothing has to be written before the writer looks after the journal by itself. Reads and
/// barriers, which may come without end, do not count.
const IDLE_AFTER: Duration = Duration::from_secs(1);

/// The writer, before and while it works.
pub(super) struct Writer {
    line: Line,
    journal: Journal,
    bytes: Arc<AtomicU64>,
}

/// The writer's end of the line. If the writer goes without being asked to, whoever waits hears of
/// it instead of waiting for ever.
struct Line(Arc<Queue>);

impl Drop for Line {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

impl Writer {
    pub(super) fn new(queue: Arc<Queue>, journal: Journal, bytes: Arc<AtomicU64>) -> Self {
        Self { line: Line(queue), journal, bytes }
    }

    /// Works until it is told to end.
    pub(super) fn work(mut self) {
        // what a killed process left in the log is read by everybody from now on, so it has to be
        // durable first
        self.journal.rest();
        self.tell();
        while self.round() {}
        let Self { line, journal, .. } = self;
        journal.close();
        drop(line);
    }

    /// Does all that waits. `false`: it was told to end.
    fn round(&mut self) -> bool {
        let (mut group, mut answers) = (Vec::new(), Vec::new());
        for request in self.line.0.take(IDLE_AFTER) {
            if let Request::Write(what, answer) = request {
                group.push(what);
                answers.push(answer);
                continue;
            }
            self.write(&mut group, &mut answers);
            match request {
                Request::Write(..) => {}
                Request::Ask(question) => question(&mut self.journal),
                Request::Heal(number) => self.journal.heal(number),
                Request::Close => return false,
            }
        }
        self.write(&mut group, &mut answers);
        self.journal.tidy();
        if self.journal.wrote_at.elapsed() >= IDLE_AFTER {
            self.journal.rest();
        }
        self.tell();
        self.measure();
        true
    }

    /// Writes what has gathered and answers all of it.
    fn write(&mut self, group: &mut Vec<Write>, answers: &mut Vec<Answer>) {
        if group.is_empty() {
            return;
        }
        self.line.0.writing(mem::take(answers));
        let results = self.journal.write(group);
        if let Err(StoreError::Failed { source } | StoreError::Unknown { source }) = &results {
            let later = StoreError::Failed { source: Arc::clone(source) };
            self.journal.failed = Some((self.line.0.fail(&later), later));
        }
        self.tell();
        let answers = self.line.0.written();
        let results = results.unwrap_or_else(|error| vec![Err(error); group.len()]);
        for (answer, result) in answers.into_iter().zip(results) {
            answer.send(result);
        }
        group.clear();
    }

    /// Says that the store is broken, where it is.
    fn tell(&self) {
        if let Some(error) = &self.journal.broken {
            self.line.0.break_with(error);
        }
    }

    /// Notes the size, for those who must not wait for a disk.
    fn measure(&self) {
        self.bytes.store(self.journal.bytes(), Ordering::Relaxed);
    }
}
