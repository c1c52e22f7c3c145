//! The tables and settings of the embedded store, and what must be true of a file before it is used.
//!
//! It decides nothing about entries: their kinds and versions are judged by who reads them.

use std::{path::Path, sync::Arc};

use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, Row, config::DbConfig};

use super::{folder::MARK, mark::State};
use crate::store::StoreError;

/// The highest schema that this program knows. Raise it with every change that an older program
/// would misread.
pub(super) const SCHEMA: u32 = 1;

// The snapshot has a table of its own: in `head` every append would write it again.
const TABLES: &str = "
    CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
    CREATE TABLE journal (
        seq INTEGER PRIMARY KEY, stream TEXT NOT NULL, n INTEGER NOT NULL, fence INTEGER NOT NULL,
        kind TEXT NOT NULL, ver INTEGER NOT NULL, at INTEGER NOT NULL, body TEXT NOT NULL,
        UNIQUE (stream, n));
    CREATE TABLE head (
        stream TEXT PRIMARY KEY, n INTEGER NOT NULL, fence INTEGER NOT NULL,
        compacted INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE snapshot (stream TEXT PRIMARY KEY, body BLOB NOT NULL);
    CREATE TABLE alerts (id INTEGER PRIMARY KEY, body BLOB NOT NULL);
    CREATE TABLE observed (cluster TEXT PRIMARY KEY, body TEXT NOT NULL);";

/// A sound database.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) conn: Connection,
    /// The last sequence number that was given.
    pub(super) seq: u64,
    /// The last state that it knows, see [`super::mark`].
    pub(super) state: State,
    /// Whether commits stand in the log that a process before may not have copied back.
    pub(super) has_log: bool,
    pub(super) written_by: Option<String>,
}

/// Opens the file, making it first where there is none. `pages_max` bounds its size; `known` is what
/// it has to hold at least. Nothing is written to a file that is refused.
pub(super) fn open(
    path: &Path,
    version: &str,
    pages_max: Option<u32>,
    known: Option<State>,
) -> Result<Opened, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NOFOLLOW
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let failed = |error| unusable(path, error);
    let conn = Connection::open_with_flags(path, flags).map_err(failed)?;
    // what is refused below stays as it was found: a log that was read in part only is evidence
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).map_err(failed)?;
    set(&conn, pages_max).map_err(failed)?;
    let tables = "SELECT count(*) FROM sqlite_schema WHERE name = 'meta'";
    if conn.query_row(tables, [], |row| row.get::<_, u32>(0)).map_err(failed)? == 0 {
        is_whole(State::default(), known, path)?;
        create(&conn, version).map_err(failed)?;
        return Ok(Opened {
            conn,
            seq: 0,
            state: State::default(),
            has_log: true,
            written_by: None,
        });
    }
    let number = |key| meta::<u32>(&conn, key).map_err(failed);
    let found = number("schema")?.ok_or_else(|| corrupt("it has no schema number"))?;
    let written_by = meta::<String>(&conn, "written_by").map_err(failed)?;
    if found > SCHEMA {
        let written_by = written_by.unwrap_or_else(|| "of an unknown version".into());
        return Err(StoreError::NewerSchema { found, known: SCHEMA, written_by });
    }
    let kept = meta::<i64>(&conn, "seq").map_err(failed)?.unwrap_or(0);
    let last = "SELECT coalesce(max(seq), 0) FROM journal";
    let last: i64 = conn.query_row(last, [], |row| row.get(0)).map_err(failed)?;
    let seq = last.max(kept).cast_unsigned();
    let number = meta::<i64>(&conn, "state").map_err(failed)?.unwrap_or(0).cast_unsigned();
    let state = State { number, seq };
    is_whole(state, known, path)?;
    heads(&conn, path)?;
    let pages = "PRAGMA wal_checkpoint(noop)";
    let pages: i64 = conn.query_row(pages, [], |row| row.get(1)).map_err(failed)?;
    Ok(Opened { conn, seq, state, has_log: pages > 0, written_by })
}

/// Whether everything is there that was known to be.
pub(super) fn is_whole(found: State, known: Option<State>, path: &Path) -> Result<(), StoreError> {
    match known {
        Some(known) if known.number > found.number => Err(StoreError::Shorter {
            dir: path.parent().unwrap_or(path).into(),
            found: found.number,
            found_seq: found.seq,
            known: known.number,
            known_seq: known.seq,
            mark: MARK,
        }),
        _ => Ok(()),
    }
}

fn set(conn: &Connection, pages_max: Option<u32>) -> rusqlite::Result<()> {
    // bytes; for groups of rows of 500 bytes a third less processor time than with 4096
    conn.pragma_update(None, "page_size", 8192)?;
    conn.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(()))?;
    // FULL: the log is synced at every commit, which is what an acknowledgement rests on
    conn.pragma_update(None, "synchronous", "full")?;
    // the writer copies the log back itself, after it has answered: no commit waits for it
    conn.pragma_update_and_check(None, "wal_autocheckpoint", 0, |_| Ok(()))?;
    // KiB; the rows that are overwritten most lie at the end, so more than this gains nothing
    conn.pragma_update(None, "cache_size", -2048)?;
    conn.pragma_update(None, "temp_store", "memory")?;
    if let Some(pages) = pages_max {
        conn.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))?;
    }
    conn.set_prepared_statement_cache_capacity(32);
    Ok(())
}

fn create(conn: &Connection, version: &str) -> rusqlite::Result<()> {
    let tx = conn.unchecked_transaction()?;
    tx.execute_batch(TABLES)?;
    tx.execute("INSERT INTO meta VALUES ('schema', ?1), ('written_by', ?2)", (SCHEMA, version))?;
    tx.commit()
}

pub(super) fn meta<T: rusqlite::types::FromSql>(
    conn: &Connection,
    key: &str,
) -> rusqlite::Result<Option<T>> {
    conn.query_row("SELECT value FROM meta WHERE key = ?1", [key], |row| row.get(0)).optional()
}

/// No stream may hold an entry at or after its own end: the next append would be lost in it.
fn heads(conn: &Connection, path: &Path) -> Result<(), StoreError> {
    let beyond = "SELECT stream FROM head
        WHERE n <= (SELECT max(n) FROM journal WHERE journal.stream = head.stream) LIMIT 1";
    let beyond = conn.query_row(beyond, [], |row| row.get::<_, String>(0)).optional();
    match beyond.map_err(|error| unusable(path, error))? {
        Some(stream) => Err(corrupt(&format!("stream {stream} has entries beyond its end"))),
        None => Ok(()),
    }
}

pub(super) fn unusable(path: &Path, error: rusqlite::Error) -> StoreError {
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
            corrupt(&format!("{}: {error}", path.display()))
        }
        _ => StoreError::Open { path: path.into(), source: Arc::new(error) },
    }
}

/// An error for a file that contradicts itself.
pub(super) fn corrupt(what: &str) -> StoreError {
    StoreError::Corrupt { what: what.into() }
}

/// A position, as it is stored.
pub(super) fn number(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    row.get::<_, i64>(column).map(i64::cast_unsigned)
}

pub(super) fn unread(error: rusqlite::Error) -> StoreError {
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => corrupt(&error.to_string()),
        _ => StoreError::Read { source: Arc::new(error) },
    }
}
