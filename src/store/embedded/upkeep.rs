//! What the writer thread does for the journal's safety beside the commits: it watches the files,
//! copies the log back and repeats the last state outside.
//!
//! None of it is anybody's commit, so where it fails nobody is told anything that is not so; only a
//! failed sync, or files that are gone, break the store. The one thing to know: what stands in the
//! log alone is lost with the log, so nothing is left there for long.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use rusqlite::config::DbConfig;

use super::journal::Journal;
use crate::store::{Cause, StoreError};

/// Pages in the log before it is copied back: 16 MiB, which takes 20 to 50 ms. More would hold up
/// the next group for longer, and a start after kill -9 has to read all of it.
const LOG_PAGES: i64 = 2048;

/// How long something may stand in the log alone while commits come. Longer than a copy takes by
/// two orders of magnitude; what is lost with a log then is what was written since.
pub(super) const COPY_EVERY: Duration = Duration::from_secs(10);

impl Journal {
    /// Whether the files are still those that the next start will find. Where not, what was synced
    /// just now goes with this process.
    pub(super) fn check(&mut self) -> Result<(), StoreError> {
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

    /// Looks around while nothing is to be done, and leaves nothing in the log alone.
    pub(super) fn rest(&mut self) {
        // nobody waits for an answer; the writer says that it is broken
        if self.check().is_ok() && self.broken.is_none() {
            self.settle("passive");
        }
    }

    /// Copies the log back where it has grown long or old, and repeats the last state outside.
    pub(super) fn tidy(&mut self) {
        let pages = self.conn.prepare_cached("PRAGMA wal_checkpoint(noop)");
        let pages = pages.and_then(|mut pages| pages.query_row([], |row| row.get::<_, i64>(1)));
        let is_old = self.alone_since.is_some_and(|since| since.elapsed() >= COPY_EVERY);
        if pages.unwrap_or(0) > LOG_PAGES || is_old {
            self.checkpoint("passive");
        }
        self.note();
    }

    /// Copies the log back and closes the file.
    pub(super) fn close(mut self) {
        if self.broken.is_none() {
            self.settle("truncate");
            let delete_log =
                self.conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false);
            // else it stays, empty
            drop(delete_log);
        }
    }

    /// Makes a state of what was committed since the last one, and copies the log back. Where there
    /// is no room, the next time will do: nobody was told anything that is not so.
    fn settle(&mut self, how: &str) {
        if self.is_ahead {
            let made = self.transact(|journal| journal.state());
            self.made(made.ok());
        }
        if self.alone_since.is_some() {
            self.checkpoint(how);
        }
        self.note();
    }

    /// Repeats the last state outside of the database. An error breaks the store: a disk that cannot
    /// sync a line cannot be believed in anything else.
    fn note(&mut self) {
        if self.broken.is_none()
            && let Err(error) = self.mark.write()
        {
            self.broken = Some(StoreError::Broken { source: Arc::new(error) });
        }
    }

    /// Copies the log back. An error loses nothing, save one of a sync: the log stays, and the next
    /// commit meets the same disk.
    fn checkpoint(&mut self, how: &str) {
        let sql = format!("PRAGMA wal_checkpoint({how})");
        let done = self.conn.query_row(&sql, [], |row| {
            let (busy, pages, copied) =
                (row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?);
            Ok(busy == 0 && pages == copied)
        });
        let is_stuck = done.is_err();
        if let Err(error) = &done
            && !self.is_stuck
        {
            tracing::warn!(error = %error, "the store's log could not be copied back");
        }
        self.is_stuck = is_stuck;
        match done {
            // a reader beside the server may have kept some of it back; until the next time
            Ok(is_whole) => self.alone_since = (!is_whole).then(Instant::now),
            Err(error) => drop(self.not_durable(error)),
        }
    }
}
