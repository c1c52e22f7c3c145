//! What the writer thread reads from the database. Nothing here changes it.

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

    /// Entries of a stream at these positions, in order.
    pub(super) fn read_at(&self, name: &StreamName, ns: &[u64]) -> Result<Vec<Entry>, StoreError> {
        let sql = "SELECT seq, n, fence, kind, ver, at, body FROM journal
            WHERE stream = ?1 AND n = ?2";
        let stream = name.to_string();
        let mut entries = Vec::with_capacity(ns.len());
        for n in ns {
            entries.extend(self.all(sql, (&stream, n.cast_signed()), |row| entry(row, name))?);
        }
        Ok(entries)
    }

    /// Entries that no snapshot stands for, stream by stream, after a place: as many as make a chunk.
    pub(super) fn read_tails(
        &self,
        after: Option<&(StreamName, u64)>,
    ) -> Result<Vec<Entry>, StoreError> {
        let mut entries = Vec::new();
        let mut at = after.map(|(stream, n)| (stream.to_string(), n + 1));
        let Some(mut place) = at.take().map_or_else(|| self.next_tail(""), |at| Ok(Some(at)))?
        else {
            return Ok(entries);
        };
        loop {
            let (stream, from) = &place;
            let room = CHUNK as usize - entries.len();
            entries.extend(self.tail(stream, *from, room)?);
            if entries.len() == CHUNK as usize {
                return Ok(entries);
            }
            match self.next_tail(stream)? {
                Some(next) => place = next,
                None => return Ok(entries),
            }
        }
    }

    /// The next stream by name that has entries which no snapshot stands for, and where they begin.
    fn next_tail(&self, after: &str) -> Result<Option<(String, u64)>, StoreError> {
        let sql = "SELECT stream, compacted FROM head
            WHERE stream > ?1 AND n > compacted ORDER BY stream LIMIT 1";
        let found = self.all(sql, [after], |row| Ok((row.get(0)?, number(row, 1)?)))?;
        Ok(found.into_iter().next())
    }

    fn tail(&self, stream: &str, from: u64, room: usize) -> Result<Vec<Entry>, StoreError> {
        let name = StreamName::parse(stream);
        let name = name.ok_or_else(|| corrupt(&format!("{stream:?} names no stream")))?;
        self.all(
            "SELECT seq, n, fence, kind, ver, at, body FROM journal
             WHERE stream = ?1 AND n >= ?2 ORDER BY n LIMIT ?3",
            (stream, from.cast_signed(), i64::try_from(room).unwrap_or(i64::MAX)),
            |row| entry(row, &name),
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
