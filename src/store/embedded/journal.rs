//! What the writer thread does to the database: groups of batches in one transaction each.
//!
//! It answers nobody and waits for nothing. The one thing to know: a batch that is refused leaves
//! no trace and harms no other; an I/O error takes the whole group back and everything after it,
//! until it is healed. A failed sync is never healed: the kernel has dropped what it could not
//! write, and reads answer from what is left in memory.

use std::sync::Arc;

use rusqlite::{Connection, ErrorCode, OptionalExtension, Row, ffi};

use super::{
    folder::Folder,
    schema::{Opened, corrupt},
};
use crate::{
    domain::base::time::Time,
    store::{
        AlertRow, Append, Batch, Cause, Committed, Entry, ObservedRow, StoreError, StreamHead,
        StreamName,
        position::{judge, within},
    },
};

/// Pages in the log before it is copied back: 16 MiB, which takes 20 to 50 ms. More would hold up
/// the next group for longer, and a start after kill -9 has to read all of it.
const LOG_PAGES: i64 = 2048;

/// The open database, owned by the writer thread.
#[derive(Debug)]
pub(super) struct Journal {
    // closed before the folder is let go
    conn: Connection,
    folder: Folder,
    seq: u64,
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
    pub(super) fn new(opened: Opened, folder: Folder, version: &str) -> Self {
        let (failed, broken, version) = (None, None, Some(version.into()));
        Self { conn: opened.conn, folder, seq: opened.seq, failed, broken, version }
    }

    /// Makes all batches of a group durable with one sync. One answer for each, in order; an error
    /// is the failure of all of them.
    pub(super) fn write(
        &mut self,
        group: &[Batch],
    ) -> Result<Vec<Result<Committed, StoreError>>, StoreError> {
        if group.iter().all(Batch::is_empty) || self.writable().is_err() {
            return Ok(group.iter().map(|_| self.writable().map(|()| self.committed())).collect());
        }
        let before = self.seq;
        let written = self.transact(|journal| {
            journal.sign()?;
            group.iter().map(|batch| journal.enter(batch)).collect()
        });
        match written {
            Ok(_) => self.version = None,
            Err(_) => self.seq = before,
        }
        written.and_then(|answers| self.check().map(|()| answers))
    }

    /// Whether the files are still those that the next start will find. Where not, what was synced
    /// just now goes with this process.
    fn check(&mut self) -> Result<(), StoreError> {
        let Err(gone) = self.folder.check() else { return Ok(()) };
        let source: Cause = Arc::new(gone);
        let broken = StoreError::Broken { source: Arc::clone(&source) };
        self.broken.get_or_insert(broken);
        Err(StoreError::Unknown { source })
    }

    /// The size on disk.
    pub(super) fn bytes(&self) -> u64 {
        self.folder.bytes()
    }

    /// Ends the failed state, unless something failed anew since it was asked for.
    pub(super) fn heal(&mut self, number: u64) {
        self.failed.take_if(|(failed, _)| *failed <= number);
    }

    /// Looks around while nothing is to be done.
    pub(super) fn rest(&mut self) {
        // nobody waits for an answer; the writer says that it is broken
        drop(self.check());
    }

    /// Copies the log back where it has grown long.
    pub(super) fn tidy(&mut self) {
        let pages = self.conn.prepare_cached("PRAGMA wal_checkpoint(noop)");
        let pages = pages.and_then(|mut pages| pages.query_row([], |row| row.get::<_, i64>(1)));
        if pages.unwrap_or(0) > LOG_PAGES {
            self.checkpoint("passive");
        }
    }

    /// Copies the log back and closes the file.
    pub(super) fn close(mut self) {
        self.checkpoint("truncate");
    }

    /// Copies the log back. An error loses nothing, save one of a sync: the log stays, and the next
    /// commit meets the same disk.
    fn checkpoint(&mut self, how: &str) {
        let done = self.conn.query_row(&format!("PRAGMA wal_checkpoint({how})"), [], |_| Ok(()));
        if let Err(error) = done {
            tracing::warn!(error = %error, "the store's log could not be copied back");
            self.not_durable(error);
        }
    }

    fn committed(&self) -> Committed {
        Committed { last_seq: self.seq }
    }

    /// Whether anything may be written.
    pub(super) fn writable(&self) -> Result<(), StoreError> {
        let failed = self.failed.as_ref().map(|(_, error)| error);
        self.broken.as_ref().or(failed).map_or(Ok(()), |error| Err(error.clone()))
    }

    fn transact<T>(
        &mut self,
        work: impl FnOnce(&mut Self) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let worked = self.run("BEGIN IMMEDIATE").and_then(|()| work(self));
        let done = match worked {
            Ok(done) => self.run("COMMIT").map(|()| done).map_err(|error| self.unknown(error)),
            Err(error) => Err(self.not_durable(error)),
        };
        if done.is_err() && !self.conn.is_autocommit() {
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
    fn not_durable(&mut self, error: rusqlite::Error) -> StoreError {
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

    /// One batch of a group. The outer error is the group's.
    fn enter(&mut self, batch: &Batch) -> rusqlite::Result<Result<Committed, StoreError>> {
        if batch.appends.is_empty() {
            // rows cannot be refused, so there is nothing to take back alone
            self.rows(&batch.alerts, &batch.observed)?;
            return Ok(Ok(self.committed()));
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
        Ok(Ok(self.committed()))
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
        let fence = append.fence.cast_signed();
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
    fn head(&self, stream: &str) -> rusqlite::Result<(u64, u64, u64)> {
        let head = "SELECT n, fence, compacted FROM head WHERE stream = ?1";
        let head = self
            .conn
            .prepare_cached(head)?
            .query_row([stream], |row| Ok((number(row, 0)?, number(row, 1)?, number(row, 2)?)));
        Ok(head.optional()?.unwrap_or_default())
    }

    fn set_head(&self, stream: &str, head: (u64, u64, u64)) -> rusqlite::Result<()> {
        let (n, fence, compacted) = head;
        let values = (stream, n.cast_signed(), fence.cast_signed(), compacted.cast_signed());
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

    /// Entries of a stream, in order.
    pub(super) fn read(&self, name: &StreamName, from: u64) -> Result<Vec<Entry>, StoreError> {
        self.all(
            "SELECT seq, n, fence, kind, ver, at, body FROM journal
             WHERE stream = ?1 AND n >= ?2 ORDER BY n",
            (name.to_string(), i64::try_from(from).unwrap_or(i64::MAX)),
            |row| {
                Ok(Entry {
                    seq: number(row, 0)?,
                    stream: name.clone(),
                    n: number(row, 1)?,
                    fence: number(row, 2)?,
                    kind: row.get(3)?,
                    ver: row.get(4)?,
                    at: Time(row.get(5)?),
                    body: row.get(6)?,
                })
            },
        )
    }

    /// Every stream, by name.
    pub(super) fn streams(&self) -> Result<Vec<StreamHead>, StoreError> {
        let heads = self.all(
            "SELECT stream, n, fence, compacted, body FROM head LEFT JOIN snapshot USING (stream)",
            [],
            |row| {
                let name: String = row.get(0)?;
                let Some(stream) = StreamName::parse(&name) else { return Ok(Err(name)) };
                let (n, fence, compacted) = (number(row, 1)?, number(row, 2)?, number(row, 3)?);
                Ok(Ok(StreamHead { stream, n, fence, compacted, snapshot: row.get(4)? }))
            },
        )?;
        let heads = heads.into_iter().collect::<Result<Vec<_>, _>>();
        let mut heads = heads.map_err(|name| corrupt(&format!("{name:?} names no stream")))?;
        heads.sort_by(|a, b| a.stream.cmp(&b.stream));
        Ok(heads)
    }

    /// All alert rows, by id.
    pub(super) fn alerts(&self) -> Result<Vec<AlertRow>, StoreError> {
        self.all("SELECT id, body FROM alerts ORDER BY id", [], |row| {
            Ok(AlertRow { id: row.get(0)?, body: Some(row.get(1)?) })
        })
    }

    /// All observed rows, by cluster.
    pub(super) fn observed(&self) -> Result<Vec<ObservedRow>, StoreError> {
        self.all("SELECT cluster, body FROM observed ORDER BY cluster", [], |row| {
            Ok(ObservedRow { cluster: row.get::<_, String>(0)?.into(), body: row.get(1)? })
        })
    }

    /// See [`crate::store::Store::compact`].
    pub(super) fn compact(
        &mut self,
        name: &StreamName,
        upto: u64,
        snapshot: Option<&[u8]>,
    ) -> Result<(), StoreError> {
        let stream = name.to_string();
        let head = self.head(&stream).map_err(unread)?;
        let (next, fence, compacted) = head;
        self.writable()?;
        within(name, upto, (compacted, next))?;
        self.transact(|journal| {
            let conn = &journal.conn;
            conn.execute(
                "DELETE FROM journal WHERE stream = ?1 AND n < ?2",
                (&stream, upto.cast_signed()),
            )?;
            if let Some(body) = snapshot {
                let replace = "INSERT OR REPLACE INTO snapshot VALUES (?1, ?2)";
                conn.execute(replace, (&stream, body))?;
            }
            journal.set_head(&stream, (next, fence, upto))?;
            journal.keep_seq()
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

    fn all<T>(
        &self,
        sql: &str,
        params: impl rusqlite::Params,
        row: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, StoreError> {
        let mut select = self.conn.prepare_cached(sql).map_err(unread)?;
        let rows = select.query_map(params, row).map_err(unread)?;
        rows.collect::<Result<_, _>>().map_err(unread)
    }
}

/// Whether a sync failed, of the log, the database or their directory.
fn is_sync(error: &rusqlite::Error) -> bool {
    let code = error.sqlite_error().map(|error| error.extended_code);
    matches!(code, Some(ffi::SQLITE_IOERR_FSYNC | ffi::SQLITE_IOERR_DIR_FSYNC))
}

fn number(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    row.get::<_, i64>(column).map(i64::cast_unsigned)
}

fn unread(error: rusqlite::Error) -> StoreError {
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => corrupt(&error.to_string()),
        _ => StoreError::Read { source: Arc::new(error) },
    }
}
