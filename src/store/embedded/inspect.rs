//! A folder as an outsider reads it: whatever can be read, also where no start accepts it.
//!
//! It changes nothing, takes no lock and works beside a running server. It does not know what an
//! entry means. The one thing to know: what cannot be read is told as a hole, and reading goes on
//! behind it.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags, OptionalExtension, Row, config::DbConfig};

use super::{
    folder::{FILE, MARK},
    mark::{self, State},
    schema::{SCHEMA, is_whole, meta, number, unusable},
};
use crate::{
    domain::base::time::Time,
    store::{AlertRow, Entry, Fence, ObservedRow, StoreError, StreamHead, StreamName},
};

/// Problems of the file itself that are listed; more say nothing new.
const PROBLEMS_MAX: u32 = 20;

/// How many numbers are tried behind a page that cannot be read. A page holds some dozens, one
/// that points to others some ten thousand.
const HOPS_MAX: u32 = 1_000_000;

/// A folder that is looked at.
#[derive(Debug)]
pub struct Inspection {
    conn: Connection,
    path: PathBuf,
    /// The version that wrote last.
    pub written_by: Option<String>,
    /// The schema, where it can be read.
    pub schema: Option<u32>,
}

/// Opens the folder of an embedded store to be looked at.
///
/// # Errors
/// Where there is no database at all.
pub fn inspect(dir: &Path) -> Result<Inspection, StoreError> {
    let open = |source| StoreError::Open { path: dir.into(), source: std::sync::Arc::new(source) };
    let path = dir.canonicalize().map_err(open)?.join(FILE);
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_NOFOLLOW
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let failed = |error| unusable(&path, error);
    let conn = Connection::open_with_flags(&path, flags).map_err(failed)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).map_err(failed)?;
    // a file that is no database says so here
    conn.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(())).map_err(failed)?;
    let written_by = meta(&conn, "written_by").ok().flatten();
    let schema = meta(&conn, "schema").ok().flatten();
    Ok(Inspection { conn, path, written_by, schema })
}

impl Inspection {
    /// Where the database is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What is wrong with the file as a whole.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        match self.schema {
            Some(found) if found > SCHEMA => {
                let written_by = self.written_by.clone().unwrap_or_else(|| "unknown".into());
                let newer = StoreError::NewerSchema { found, known: SCHEMA, written_by };
                problems.push(newer.to_string());
            }
            Some(_) => {}
            None => problems.push("the database has no schema number".into()),
        }
        match self.is_whole() {
            Ok(()) => {}
            Err(error) => problems.push(error.to_string()),
        }
        let check = format!("PRAGMA integrity_check({PROBLEMS_MAX})");
        let found = self.conn.prepare(&check).and_then(|mut check| {
            check.query_map([], |row| row.get::<_, String>(0))?.collect::<Result<Vec<_>, _>>()
        });
        match found {
            Ok(lines) => problems.extend(lines.into_iter().filter(|line| line != "ok")),
            Err(error) => problems.push(error.to_string()),
        }
        problems
    }

    /// Whether everything is there that the side record knows.
    fn is_whole(&self) -> Result<(), StoreError> {
        let failed = |error| unusable(&self.path, error);
        let side = self.path.with_file_name(MARK);
        let known = mark::read(&side);
        let known = known.map_err(|source| StoreError::Open {
            path: side,
            source: std::sync::Arc::new(source),
        })?;
        let count = |key| meta::<i64>(&self.conn, key).map(|found| found.unwrap_or(0));
        let last = "SELECT coalesce(max(seq), 0) FROM journal";
        let last: i64 = self.conn.query_row(last, [], |row| row.get(0)).map_err(failed)?;
        let seq = last.max(count("seq").map_err(failed)?).cast_unsigned();
        let number = count("state").map_err(failed)?.cast_unsigned();
        is_whole(State { number, seq }, known, &self.path)
    }

    /// Every stream, or why one cannot be read.
    pub fn streams(&self) -> Vec<Result<StreamHead, String>> {
        let sql = "SELECT stream, n, fence, compacted, snapshot.body FROM head
            LEFT JOIN snapshot USING (stream) ORDER BY stream";
        self.list(sql, |row| {
            let stream = stream(row, 0)?;
            let (n, fence, compacted) = (number(row, 1)?, Fence(number(row, 2)?), number(row, 3)?);
            Ok(StreamHead { stream, n, fence, compacted, snapshot: row.get(4)? })
        })
    }

    /// Every observed row, or why one cannot be read.
    pub fn observed(&self) -> Vec<Result<ObservedRow, String>> {
        self.list("SELECT cluster, body FROM observed ORDER BY cluster", |row| {
            Ok(ObservedRow { cluster: row.get::<_, String>(0)?.into(), body: row.get(1)? })
        })
    }

    /// Hands over every entry in the order of the commits, or what cannot be read in between.
    pub fn entries(&self, each: impl FnMut(Result<Entry, String>)) {
        let sql = "SELECT seq, n, fence, kind, ver, at, body, stream FROM journal
            WHERE seq >= ?1 ORDER BY seq";
        let entry = |row: &Row<'_>| {
            Ok(Entry {
                seq: number(row, 0)?,
                stream: stream(row, 7)?,
                n: number(row, 1)?,
                fence: Fence(number(row, 2)?),
                kind: row.get(3)?,
                ver: row.get(4)?,
                at: Time(row.get(5)?),
                body: row.get(6)?,
            })
        };
        self.scan("entry", sql, "SELECT max(seq) FROM journal", entry, each);
    }

    /// Hands over every alert row by id, or what cannot be read in between.
    pub fn alerts(&self, each: impl FnMut(Result<AlertRow, String>)) {
        let sql = "SELECT id, body FROM alerts WHERE id >= ?1 ORDER BY id";
        let row = |row: &Row<'_>| Ok(AlertRow { id: row.get(0)?, body: Some(row.get(1)?) });
        self.scan("alert row", sql, "SELECT max(id) FROM alerts", row, each);
    }

    fn list<T>(
        &self,
        sql: &str,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Vec<Result<T, String>> {
        let listed = self.conn.prepare(sql).and_then(|mut select| {
            let rows = select.query_map([], read)?;
            Ok(rows.map(|row| row.map_err(|error| error.to_string())).collect())
        });
        listed.unwrap_or_else(|error| vec![Err(error.to_string())])
    }

    /// Reads a table by its number, and goes on behind what cannot be read.
    fn scan<T>(
        &self,
        what: &str,
        sql: &str,
        highest: &str,
        read: impl Fn(&Row<'_>) -> rusqlite::Result<T>,
        mut each: impl FnMut(Result<T, String>),
    ) {
        let highest = self.conn.query_row(highest, [], |row| row.get::<_, Option<i64>>(0));
        let highest = highest.optional().ok().flatten().flatten().unwrap_or(i64::MAX);
        let (mut from, mut hops, mut hole) = (i64::MIN, 0, None);
        while from <= highest && hops < HOPS_MAX {
            let stopped = self.run(sql, &mut from, |at, row| {
                if let Some((first, error)) = hole.take() {
                    each(Err(format!("{what} {first} and up to {at} cannot be read: {error}")));
                }
                each(read(row).map_err(|error| format!("{what} {at} cannot be read: {error}")));
            });
            let Err(error) = stopped else { break };
            from = from.max(0);
            hole.get_or_insert((from, error));
            (from, hops) = (from.saturating_add(1), hops + 1);
        }
        if let Some((first, error)) = hole {
            each(Err(format!("{what} {first} and what follows cannot be read: {error}")));
        }
    }

    /// Reads from a number on; `from` is behind the last row that was handed over.
    fn run(
        &self,
        sql: &str,
        from: &mut i64,
        mut each: impl FnMut(i64, &Row<'_>),
    ) -> rusqlite::Result<()> {
        let mut select = self.conn.prepare_cached(sql)?;
        let mut rows = select.query([*from])?;
        while let Some(row) = rows.next()? {
            let at = row.get(0)?;
            each(at, row);
            *from = at.saturating_add(1);
        }
        Ok(())
    }
}

fn stream(row: &Row<'_>, column: usize) -> rusqlite::Result<StreamName> {
    let name: String = row.get(column)?;
    let kind = rusqlite::types::Type::Text;
    let parsed = StreamName::parse(&name);
    parsed.ok_or_else(|| {
        let source = format!("{name:?} names no stream").into();
        rusqlite::Error::FromSqlConversionFailure(column, kind, source)
    })
}
