//! What the writer thread reads from the database. Nothing here changes it.

use std::sync::Arc;

use rusqlite::{ErrorCode, Row};

use super::{journal::Journal, schema::corrupt};
use crate::{
    domain::base::time::Time,
    store::{AlertRow, Entry, ObservedRow, StoreError, StreamHead, StreamName},
};

impl Journal {
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
