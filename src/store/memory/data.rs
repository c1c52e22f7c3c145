//! What the store in memory holds, and how a batch changes it.
//!
//! It does not know that it is held back, or by whom it is asked.

use std::{collections::BTreeMap, io, mem, ops::Bound, sync::Arc};

use tokio::sync::oneshot;

use crate::{
    domain::base::id::ClusterName,
    store::{
        AlertRow, Append, Batch, Cause, Committed, Entry, Fence, ObservedRow, StoreError,
        StreamHead, StreamName,
        chunks::CHUNK,
        position::{judge, owns, within},
    },
};

#[derive(Debug, Default)]
pub(super) struct Data {
    seq: u64,
    streams: BTreeMap<StreamName, Stream>,
    alerts: BTreeMap<i64, Vec<u8>>,
    observed: BTreeMap<ClusterName, String>,
    /// Writes that are still to meet a broken disk.
    pub(super) failing: u32,
    /// What the next write meets.
    pub(super) trouble: Option<Trouble>,
    /// `Some` while answers are held back.
    pub(super) held: Option<Vec<Waiting>>,
    /// A close does not wait for what is held back.
    pub(super) hangs: bool,
    /// Failures so far.
    pub(super) failures: u64,
    /// What commits are told at once since the last failure.
    pub(super) refusing: Option<StoreError>,
    /// What commits are told that were held back, with the number of the failure.
    failed: Option<(u64, StoreError)>,
    /// What everybody is told up to a restart.
    pub(super) broken: Option<StoreError>,
}

#[derive(Debug, Default)]
struct Stream {
    next: u64,
    fence: Fence,
    compacted: u64,
    snapshot: Option<Vec<u8>>,
    entries: BTreeMap<u64, Entry>,
}

#[derive(Debug)]
pub(super) enum Waiting {
    Commit(Batch, oneshot::Sender<Result<Committed, StoreError>>),
    Claim(StreamName, oneshot::Sender<Result<Fence, StoreError>>),
    Heal(u64),
}

/// What a test has in store for a write.
#[derive(Clone, Copy, Debug)]
pub(super) enum Trouble {
    /// Its answer does not know.
    Unknown { durable: bool },
    /// Its sync fails.
    Sync { durable: bool },
}

impl Data {
    /// As after the process ended and began anew.
    pub(super) fn reopen(&mut self) {
        (self.failed, self.refusing, self.broken) = (None, None, None);
        (self.trouble, self.hangs) = (None, false);
        drop(mem::take(&mut self.held));
    }

    /// What a commit is told before anything is tried.
    pub(super) fn refusal(&self) -> Option<StoreError> {
        self.broken.clone().or_else(|| self.refusing.clone())
    }

    /// There is no room in the line.
    pub(super) fn overflow(&mut self) -> StoreError {
        let source: Cause = Arc::new(io::Error::other("the queue is full"));
        let error = StoreError::Failed { source };
        self.refusing = Some(error.clone());
        self.failures += 1;
        error
    }

    fn writable(&self) -> Result<(), StoreError> {
        let failed = self.failed.as_ref().map(|(_, error)| error);
        self.broken.as_ref().or(failed).map_or(Ok(()), |error| Err(error.clone()))
    }

    pub(super) fn heal(&mut self) {
        if self.refusing.take().is_some() {
            let number = self.failures;
            match &mut self.held {
                Some(held) => held.push(Waiting::Heal(number)),
                None => self.healed(number),
            }
        }
    }

    /// Ends the failed state, unless something failed anew since it was asked for.
    pub(super) fn healed(&mut self, number: u64) {
        self.failed.take_if(|(failed, _)| *failed <= number);
    }

    pub(super) fn commit(&mut self, batch: Batch) -> Result<Committed, StoreError> {
        self.writable()?;
        if batch.is_empty() {
            return Ok(Committed { last_seq: self.seq });
        }
        if self.failing > 0 {
            self.failing -= 1;
            let source = asked_for();
            self.fail(&source);
            return Err(StoreError::Failed { source });
        }
        let Some(trouble) = self.trouble.take() else { return self.write(batch) };
        let (Trouble::Unknown { durable } | Trouble::Sync { durable }) = trouble;
        self.check(&batch.appends)?;
        if durable {
            self.write(batch)?;
        }
        let source = asked_for();
        match trouble {
            Trouble::Unknown { .. } => self.fail(&source),
            Trouble::Sync { .. } => {
                self.broken = Some(StoreError::Broken { source: Arc::clone(&source) });
            }
        }
        Err(StoreError::Unknown { source })
    }

    pub(super) fn claim(&mut self, name: &StreamName) -> Result<Fence, StoreError> {
        self.writable()?;
        let stream = self.streams.entry(name.clone()).or_default();
        stream.fence = stream.fence.next();
        Ok(stream.fence)
    }

    fn fail(&mut self, source: &Cause) {
        self.failures += 1;
        let later = StoreError::Failed { source: Arc::clone(source) };
        self.failed = Some((self.failures, later.clone()));
        self.refusing = Some(later);
    }

    fn write(&mut self, batch: Batch) -> Result<Committed, StoreError> {
        self.check(&batch.appends)?;
        batch.appends.into_iter().for_each(|append| self.append(append));
        for row in batch.alerts {
            match row.body {
                Some(body) => self.alerts.insert(row.id, body),
                None => self.alerts.remove(&row.id),
            };
        }
        self.observed.extend(batch.observed.into_iter().map(|row| (row.cluster, row.body)));
        Ok(Committed { last_seq: self.seq })
    }

    /// All appends are judged before any is written, each after those before it.
    fn check(&self, appends: &[Append]) -> Result<(), StoreError> {
        let mut heads = BTreeMap::new();
        for Append { stream, expected_n: expected, fence, entries } in appends {
            let stored =
                self.streams.get(stream).map_or_else(Default::default, |s| (s.next, s.fence));
            let (next, owner) = heads.entry(stream).or_insert(stored);
            judge(stream, (*expected, *fence), (*next, *owner))?;
            *next += entries.len() as u64;
            *owner = *fence;
        }
        Ok(())
    }

    fn append(&mut self, append: Append) {
        let Append { stream: name, fence, entries, .. } = append;
        let stream = self.streams.entry(name.clone()).or_default();
        stream.fence = fence;
        for new in entries {
            self.seq += 1;
            let (seq, n, kind) = (self.seq, stream.next, new.kind.into());
            let (ver, at, body) = (new.ver, new.at, new.body);
            let entry = Entry { seq, stream: name.clone(), n, fence, kind, ver, at, body };
            stream.entries.insert(n, entry);
            stream.next += 1;
        }
    }

    pub(super) fn read(&self, stream: &StreamName, from: u64) -> Vec<Entry> {
        let stream = self.streams.get(stream);
        let entries = stream.into_iter().flat_map(|stream| stream.entries.range(from..));
        entries.map(|(_, entry)| entry.clone()).collect()
    }

    pub(super) fn streams(&self) -> Vec<StreamHead> {
        self.streams.iter().map(|(name, stream)| stream.head(name)).collect()
    }

    pub(super) fn read_at(&self, stream: &StreamName, ns: &[u64]) -> Vec<Entry> {
        let stream = self.streams.get(stream);
        let entry = |n: &u64| stream.and_then(|stream| stream.entries.get(n)).cloned();
        ns.iter().filter_map(entry).collect()
    }

    /// Entries that no snapshot stands for, stream by stream, after a place.
    pub(super) fn read_tails(&self, after: Option<&(StreamName, u64)>) -> Vec<Entry> {
        let tails = self.streams.values().flat_map(|s| s.entries.range(s.compacted..));
        let tails = tails.map(|(_, entry)| entry);
        let is_after =
            |entry: &&Entry| after.is_none_or(|(s, n)| (&entry.stream, entry.n) > (s, *n));
        tails.filter(is_after).take(CHUNK as usize).cloned().collect()
    }

    /// Alert rows after an id.
    pub(super) fn alerts_after(&self, id: Option<i64>) -> Vec<AlertRow> {
        let from = id.map_or(Bound::Unbounded, Bound::Excluded);
        let rows = self.alerts.range((from, Bound::Unbounded)).take(CHUNK as usize);
        rows.map(|(id, body)| AlertRow { id: *id, body: Some(body.clone()) }).collect()
    }

    pub(super) fn observed(&self) -> Vec<ObservedRow> {
        let rows = self.observed.iter().map(|(cluster, body)| (cluster.clone(), body.clone()));
        rows.map(|(cluster, body)| ObservedRow { cluster, body }).collect()
    }

    pub(super) fn compact(
        &mut self,
        name: &StreamName,
        upto: u64,
        fence: Fence,
        snapshot: Vec<u8>,
    ) -> Result<(), StoreError> {
        self.writable()?;
        let stream = self.streams.get(name).map(|stream| stream.head(name));
        let (next, owner, compacted) =
            stream.map_or_else(Default::default, |head| (head.n, head.fence, head.compacted));
        owns(name, fence, owner)?;
        within(name, upto, (compacted, next))?;
        let stream = self.streams.entry(name.clone()).or_default();
        (stream.compacted, stream.snapshot) = (upto, Some(snapshot));
        Ok(())
    }

    pub(super) fn drop_entries(&mut self, name: &StreamName, ns: &[u64]) -> Result<(), StoreError> {
        self.writable()?;
        if let Some(stream) = self.streams.get_mut(name) {
            stream.entries.retain(|n, _| !ns.contains(n));
        }
        Ok(())
    }
}
impl Stream {
    fn head(&self, name: &StreamName) -> StreamHead {
        StreamHead {
            stream: name.clone(),
            n: self.next,
            fence: self.fence,
            compacted: self.compacted,
            snapshot: self.snapshot.clone(),
        }
    }
}

fn asked_for() -> Cause {
    Arc::new(io::Error::other("a failure that the test asked for"))
}
