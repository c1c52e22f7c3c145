//! What quorate's embedded store holds, read beside the server: tables row by row, files byte by byte.
//!
//! The server goes on writing meanwhile. Only [`claim`] writes.

use std::{fs, path::Path};

use rusqlite::{Connection, OpenFlags};

use super::GENEROUS;

/// The rows of the tables that intake and decisions write, as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rows {
    /// `seq|stream|kind|body` of every record.
    pub(crate) journal: Vec<String>,
    /// `id|body` of every alert.
    pub(crate) alerts: Vec<String>,
}

/// Reads both tables of the store in `dir`.
#[track_caller]
pub(crate) fn rows(dir: &Path) -> Rows {
    let conn =
        Connection::open_with_flags(dir.join("journal.db"), OpenFlags::SQLITE_OPEN_READ_ONLY);
    let conn = conn.unwrap();
    let read = |sql: &str| -> Vec<String> {
        let mut statement = conn.prepare(sql).unwrap();
        let rows = statement.query_map([], |row| row.get(0)).unwrap();
        rows.map(Result::unwrap).collect()
    };
    Rows {
        journal: read(
            "SELECT seq || '|' || stream || '|' || kind || '|' || body FROM journal ORDER BY seq",
        ),
        alerts: read("SELECT id || '|' || CAST(body AS TEXT) FROM alerts ORDER BY id"),
    }
}

/// The bytes of the database and of its log.
#[track_caller]
pub(crate) fn bytes(dir: &Path) -> (Vec<u8>, Vec<u8>) {
    let read = |name: &str| fs::read(dir.join(name)).unwrap();
    (read("journal.db"), read("journal.db-wal"))
}

/// Another owner claims a stream, as a second server does: what the first one appends is refused.
#[track_caller]
pub(crate) fn claim(dir: &Path, cluster: &str) {
    let conn = Connection::open(dir.join("journal.db")).unwrap();
    conn.busy_timeout(GENEROUS).unwrap();
    let stream = format!("%{cluster}");
    let sql = "UPDATE head SET fence = fence + 1 WHERE stream LIKE ?1";
    assert_eq!(conn.execute(sql, [stream]).unwrap(), 1, "one stream is about {cluster}");
}

/// The kinds of all records, in order.
#[track_caller]
pub(crate) fn kinds(dir: &Path) -> Vec<String> {
    let journal = rows(dir).journal;
    journal.iter().filter_map(|row| row.split('|').nth(2)).map(str::to_owned).collect()
}
