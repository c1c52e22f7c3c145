//! What the writer thread does to the database: groups of batches in one transaction each.
//!
//! It answers nobody and waits for nothing. The one thing to know: a batch that is refused leaves
//! no trace and harms no other; an I/O error takes the whole group back and everything after it,
//! until it is healed. A failed sync is never healed: the kernel has dropped what it could not
//! write, and reads answer from what is left in memory.

use std::{sync::Arc, time::Instant};

use rusqlite::{Connection, ErrorCode, OptionalExtension, ffi};

use super::{
    folder::Folder,
    mark::{Mark, State},
    schema::{Opened, corrupt, number, unread},
    write::Write,
};
use crate::store::{
    AlertRow, Append, Batch, Cause, Fence, ObservedRow, StoreError, StreamName,
    position::{judge, owns, within},
};

/// The open database, owned by the writer thread.
#[derive(Debug)]
pub(super) struct Journal {
    // closed before the folder is let go
    pub(super) conn: Connection,
    pub(super) folder: Folder,
    pub(super) mark: Mark,
    seq: u64,
    /// Whether something was committed since the last state was made.
    pub(super) is_ahead: bool,
    /// When it was last written to.
    pub(super) wrote_at: Instant,
    /// Since when the log holds what the database does not.
    pub(super) alone_since: Option<Instant>,
    /// Whether the last try to copy the log back failed: it is said once.
    pub(super) is_stuck: bool,
    /// What commits are told since the last failure, with its number.
    pub(super) failed: Option<(u64, StoreError)>,
    /// What everybody is told, for good.
    pub(super) broken: Option<StoreError>,
    /// The program's version, until it is noted in the file.
    version: Option<String>,
}

/// Why a batch was not applied.
enum Stop {
    /// Only this one: it is refused.
    Refused(StoreError),
    /// The whole group: nothing can be written.
    Broken(rusqlite::Error),
}

impl From<rusqlite::Error> for Stop {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::ConstraintViolation) => {
                Self::Refused(corrupt(&format!("an entry lies where the next belongs: {error}")))
            }
            _ => Self::Broken(error),
        }
    }
}

impl Journal {
    pub(super) fn new(opened: Opened, folder: Folder, mark: Mark, version: &str) -> Self {
        Self {
            conn: opened.conn,
            folder,
            mark,
            seq: opened.seq,
            // what the last process did not get to
            is_ahead: opened.has_log,
            wrote_at: Instant::now(),
            alone_since: opened.has_log.then(Instant::now),
            is_stuck: false,
            failed: None,
            broken: None,
            version: Some(version.into()),
        }
    }

    /// Makes all of a group durable with one sync. One answer for each, in order: the last sequence
    /// number, or the fence that was claimed. An error is the failure of all of them.
    pub(super) fn write(
        &mut self,
        group: &[Write],
    ) -> Result<Vec<Result<u64, StoreError>>, StoreError> {
        let is_barrier = |one: &Write| matches!(one, Write::Batch(batch) if batch.is_empty());
        if group.iter().all(is_barrier) || self.writable().is_err() {
            return Ok(group.iter().map(|_| self.writable().map(|()| self.seq)).collect());
        }
        let before = self.seq;
        let makes = self.mark.is_old();
        let written = self.transact(|journal| {
            journal.sign()?;
            let answers: rusqlite::Result<Vec<_>> =
                group.iter().map(|one| journal.enter(one)).collect();
            Ok((answers?, makes.then(|| journal.state()).transpose()?))
        });
        match written {
            Ok((answers, made)) => {
                self.version = None;
                self.made(made);
                self.check().map(|()| answers)
            }
            Err(error) => {
                self.seq = before;
                Err(error)
            }
        }
    }

    /// Makes a state in the transaction at hand.
    pub(super) fn state(&self) -> rusqlite::Result<State> {
        let number = self.mark.state.number + 1;
        let make = "INSERT OR REPLACE INTO meta VALUES ('state', ?1)";
        self.conn.prepare_cached(make)?.execute([number.cast_signed()])?;
        Ok(State { number, seq: self.seq })
    }

    /// The state of a transaction that is durable now, if it made one.
    pub(super) fn made(&mut self, state: Option<State>) {
        if let Some(state) = state {
            self.mark.made(state);
            self.is_ahead = false;
        }
    }

    /// Ends the failed state, unless something failed anew since it was asked for.
    pub(super) fn heal(&mut self, number: u64) {
        self.failed.take_if(|(failed, _)| *failed <= number);
    }

    /// Whether anything may be written.
    pub(super) fn writable(&self) -> Result<(), StoreError> {
        let failed = self.failed.as_ref().map(|(_, error)| error);
        self.broken.as_ref().or(failed).map_or(Ok(()), |error| Err(error.clone()))
    }

    pub(super) fn transact<T>(
        &mut self,
        work: impl FnOnce(&mut Self) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let worked = self.run("BEGIN IMMEDIATE").and_then(|()| work(self));
        let done = match worked {
            Ok(done) => self.run("COMMIT").map(|()| done).map_err(|error| self.unknown(error)),
            Err(error) => Err(self.not_durable(error)),
        };
        if done.is_ok() {
            (self.is_ahead, self.wrote_at) = (true, Instant::now());
            self.alone_since.get_or_insert_with(Instant::now);
        } else if !self.conn.is_autocommit() {
            // where even this fails, the next BEGIN does too, and says so to who asked
            drop(self.run("ROLLBACK"));
        }
        done
    }

    /// What a failed commit is called: its last page may have reached the file before the error,
    /// and a start after a crash would find it. A full disk took no last page.
    fn unknown(&mut self, error: rusqlite::Error) -> StoreError {
        let is_full = error.sqlite_error_code() == Some(ErrorCode::DiskFull);
        match self.not_durable(error) {
            StoreError::Failed { source } if !is_full => StoreError::Unknown { source },
            error => error,
        }
    }

    /// What a failure is called that met no commit. One of a sync breaks the store, whatever was
    /// synced.
    pub(super) fn not_durable(&mut self, error: rusqlite::Error) -> StoreError {
        let is_sync = is_sync(&error);
        let source: Cause = Arc::new(error);
        if !is_sync {
            return StoreError::Failed { source };
        }
        let broken = StoreError::Broken { source: Arc::clone(&source) };
        self.broken.get_or_insert(broken);
        StoreError::Unknown { source }
    }

    fn run(&self, sql: &str) -> rusqlite::Result<()> {
        self.conn.prepare_cached(sql)?.execute([]).map(drop)
    }

    /// One of a group. The outer error is the group's.
    fn enter(&mut self, one: &Write) -> rusqlite::Result<Result<u64, StoreError>> {
        let batch = match one {
            Write::Batch(batch) => batch,
            Write::Claim(stream) => return self.claim(stream).map(|fence| Ok(fence.0)),
        };
        if batch.appends.is_empty() {
            // rows cannot be refused, so there is nothing to take back alone
            self.rows(&batch.alerts, &batch.observed)?;
            return Ok(Ok(self.seq));
        }
        self.run("SAVEPOINT batch")?;
        let before = self.seq;
        let applied = self.apply(batch);
        match applied {
            Ok(()) => self.run("RELEASE batch")?,
            Err(Stop::Broken(error)) => return Err(error),
            Err(Stop::Refused(error)) => {
                self.run("ROLLBACK TO batch")?;
                self.run("RELEASE batch")?;
                self.seq = before;
                return Ok(Err(error));
            }
        }
        Ok(Ok(self.seq))
    }

    fn claim(&self, stream: &StreamName) -> rusqlite::Result<Fence> {
        let stream = stream.to_string();
        let (n, fence, compacted) = self.head(&stream)?;
        self.set_head(&stream, (n, fence.next(), compacted))?;
        Ok(fence.next())
    }

    fn apply(&mut self, batch: &Batch) -> Result<(), Stop> {
        for append in &batch.appends {
            self.append(append)?;
        }
        self.rows(&batch.alerts, &batch.observed)?;
        Ok(())
    }

    fn append(&mut self, append: &Append) -> Result<(), Stop> {
        let stream = append.stream.to_string();
        let (next, fence, compacted) = self.head(&stream)?;
        let found = (next, fence);
        judge(&append.stream, (append.expected_n, append.fence), found).map_err(Stop::Refused)?;
        let mut insert = self.conn.prepare_cached(
            "INSERT INTO journal (seq, stream, n, fence, kind, ver, at, body)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?;
        let fence = append.fence.0.cast_signed();
        let mut n = next;
        for new in &append.entries {
            let seq = (self.seq + 1).cast_signed();
            let (at, ver) = (new.at.0, new.ver);
            insert.execute((seq, &stream, n.cast_signed(), fence, new.kind, ver, at, &new.body))?;
            self.seq += 1;
            n += 1;
        }
        self.set_head(&stream, (n, append.fence, compacted))?;
        Ok(())
    }

    /// Next position, fence and compacted position of a stream; zeros for one that is not there.
    fn head(&self, stream: &str) -> rusqlite::Result<(u64, Fence, u64)> {
        let head = "SELECT n, fence, compacted FROM head WHERE stream = ?1";
        let head = self.conn.prepare_cached(head)?.query_row([stream], |row| {
            Ok((number(row, 0)?, Fence(number(row, 1)?), number(row, 2)?))
        });
        Ok(head.optional()?.unwrap_or_default())
    }

    fn set_head(&self, stream: &str, head: (u64, Fence, u64)) -> rusqlite::Result<()> {
        let (n, fence, compacted) = head;
        let values = (stream, n.cast_signed(), fence.0.cast_signed(), compacted.cast_signed());
        let mut set = self.conn.prepare_cached(
            "INSERT INTO head (stream, n, fence, compacted) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (stream) DO UPDATE
             SET n = excluded.n, fence = excluded.fence, compacted = excluded.compacted",
        )?;
        set.execute(values).map(drop)
    }

    fn rows(&self, alerts: &[AlertRow], observed: &[ObservedRow]) -> rusqlite::Result<()> {
        let mut upsert = self.conn.prepare_cached(
            "INSERT INTO alerts (id, body) VALUES (?1, ?2)
             ON CONFLICT (id) DO UPDATE SET body = excluded.body",
        )?;
        for row in alerts {
            match &row.body {
                Some(body) => upsert.execute((row.id, body))?,
                None => self
                    .conn
                    .prepare_cached("DELETE FROM alerts WHERE id = ?1")?
                    .execute([row.id])?,
            };
        }
        for row in observed {
            let mut upsert = self.conn.prepare_cached(
                "INSERT INTO observed (cluster, body) VALUES (?1, ?2)
                 ON CONFLICT (cluster) DO UPDATE SET body = excluded.body",
            )?;
            upsert.execute((row.cluster.as_str(), &row.body))?;
        }
        Ok(())
    }

    /// Notes with the first write which program writes here: not at the start, because one that
    /// then refuses what it reads must not hide who wrote it.
    fn sign(&self) -> rusqlite::Result<()> {
        let Some(version) = &self.version else { return Ok(()) };
        let sign = "INSERT OR REPLACE INTO meta VALUES ('written_by', ?1)";
        self.conn.execute(sign, [version]).map(drop)
    }

    /// See [`crate::store::Store::compact`].
    pub(super) fn compact(
        &mut self,
        name: &StreamName,
        upto: u64,
        claimed: Fence,
        snapshot: &[u8],
    ) -> Result<(), StoreError> {
        let stream = name.to_string();
        let head = self.head(&stream).map_err(unread)?;
        let (next, fence, compacted) = head;
        self.writable()?;
        owns(name, claimed, fence)?;
        within(name, upto, (compacted, next))?;
        self.transact(|journal| {
            let replace = "INSERT OR REPLACE INTO snapshot VALUES (?1, ?2)";
            journal.conn.prepare_cached(replace)?.execute((&stream, snapshot))?;
            journal.set_head(&stream, (next, fence, upto))
        })
    }

    /// See [`crate::store::Store::drop_entries`].
    pub(super) fn drop_entries(&mut self, name: &StreamName, ns: &[u64]) -> Result<(), StoreError> {
        self.writable()?;
        let stream = name.to_string();
        self.transact(|journal| {
            let delete = "DELETE FROM journal WHERE stream = ?1 AND n = ?2";
            let mut delete = journal.conn.prepare_cached(delete)?;
            for n in ns {
                delete.execute((&stream, n.cast_signed()))?;
            }
            drop(delete);
            journal.keep_seq()
        })
    }

    /// The last entry may be among those that go; its number must not be given again.
    fn keep_seq(&self) -> rusqlite::Result<()> {
        let keep = "INSERT OR REPLACE INTO meta VALUES ('seq', ?1)";
        self.conn.execute(keep, [self.seq.cast_signed()]).map(drop)
    }
}

/// Whether a sync failed, of the log, the database or their directory.
fn is_sync(error: &rusqlite::Error) -> bool {
    let code = error.sqlite_error().map(|error| error.extended_code);
    matches!(code, Some(ffi::SQLITE_IOERR_FSYNC | ffi::SQLITE_IOERR_DIR_FSYNC))
}
