//! What the writer thread reads from the database. Nothing here changes it.

use std::collections::BTreeMap;

use rusqlite::Row;

use super::{
    journal::Journal,
    schema::{corrupt, number, unread},
};
use crate::{
    domain::base::time::Time,
    store::{
        AlertRow, Entry, Fence, ObservedRow, StoreError, StreamHead, StreamName, chunks::CHUNK,
    },
};

impl Journal {
    /// Entries of a stream, in order.
    pub(super) fn read(&self, name: &StreamName, from: u64) -> Result<Vec<Entry>, StoreError> {
        self.all(
            "SELECT seq, n, fence, kind, ver, at, body FROM journal
             WHERE stream = ?1 AND n >= ?2 ORDER BY n",
            (name.to_string(), i64::try_from(from).unwrap_or(i64::MAX)),
            |row| entry(row, name),
        )
    }

    /// Entries of all streams after a sequence number, in order, as many as make a chunk.
    pub(super) fn read_after(&self, seq: u64) -> Result<Vec<Entry>, StoreError> {
        // names repeat, and are shared
        let mut names: BTreeMap<String, StreamName> = BTreeMap::new();
        let entries = self.all(
            "SELECT seq, n, fence, kind, ver, at, body, stream FROM journal
             WHERE seq > ?1 ORDER BY seq LIMIT ?2",
            (seq.cast_signed(), CHUNK),
            |row| -> rusqlite::Result<Result<Entry, String>> {
                let name = row.get_ref(7)?.as_str()?;
                if let Some(known) = names.get(name) {
                    return entry(row, known).map(Ok);
                }
                let Some(parsed) = StreamName::parse(name) else { return Ok(Err(name.into())) };
                let read = entry(row, &parsed).map(Ok);
                names.insert(name.into(), parsed);
                read
            },
        )?;
        let entries = entries.into_iter().collect::<Result<Vec<_>, _>>();
        entries.map_err(|name| corrupt(&format!("{name:?} names no stream")))
    }

    /// Every stream, by name.
    pub(super) fn streams(&self) -> Result<Vec<StreamHead>, StoreError> {
        let heads = self.all(
            "SELECT stream, n, fence, compacted, body FROM head LEFT JOIN snapshot USING (stream)",
            [],
            |row| {
                let name: String = row.get(0)?;
                let Some(stream) = StreamName::parse(&name) else { return Ok(Err(name)) };
                let (n, fence, compacted) =
                    (number(row, 1)?, Fence(number(row, 2)?), number(row, 3)?);
                Ok(Ok(StreamHead { stream, n, fence, compacted, snapshot: row.get(4)? }))
            },
        )?;
        let heads = heads.into_iter().collect::<Result<Vec<_>, _>>();
        let mut heads = heads.map_err(|name| corrupt(&format!("{name:?} names no stream")))?;
        heads.sort_by(|a, b| a.stream.cmp(&b.stream));
        Ok(heads)
    }

    /// Alert rows after an id, in order, as many as make a chunk.
    pub(super) fn alerts_after(&self, id: Option<i64>) -> Result<Vec<AlertRow>, StoreError> {
        let from = id.map_or(i64::MIN, |id| id.saturating_add(1));
        let sql = "SELECT id, body FROM alerts WHERE id >= ?1 ORDER BY id LIMIT ?2";
        self.all(sql, (from, CHUNK), |row| {
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

/// An entry from the columns that every query of entries begins with.
fn entry(row: &Row<'_>, stream: &StreamName) -> rusqlite::Result<Entry> {
    Ok(Entry {
        seq: number(row, 0)?,
        stream: stream.clone(),
        n: number(row, 1)?,
        fence: Fence(number(row, 2)?),
        kind: row.get(3)?,
        ver: row.get(4)?,
        at: Time(row.get(5)?),
        body: row.get(6)?,
    })
}
