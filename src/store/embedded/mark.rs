//! The side record: how far the journal was known to be durable, outside of the database and its log.
//!
//! `SQLite` takes what it can read of a log and says nothing of the rest: with the log deleted, or one
//! bit of it flipped, commits vanish without a word. So the database counts *states*, and this
//! file repeats the last one. A database that opens with an older state has lost commits.
//!
//! # Design
//! A state is a commit like any other (a row of `meta` in the same transaction), so what precedes it
//! is there if it is. One is made with the first group after each second, and one second after the
//! last commit; the file is written and synced right after, when the answers have gone out. What it
//! does not cover are thus the commits of about the last second before a crash, and two where commits
//! come only now and then. Counting in each commit was ruled out: it would cost every one of them a
//! page of the log.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt,
    path::Path,
    time::{Duration, Instant},
};

use sha2::{Digest, Sha256};

use super::folder::own;

/// How often a state is made while commits come.
pub(super) const MARK_EVERY: Duration = Duration::from_secs(1);

/// Two places that are written in turn, each in a disk's sector of its own: a write that is cut off
/// by a power cut spoils one of them.
const PLACES: [u64; 2] = [0, 512];

/// Two numbers of 20 digits, 16 digits of their digest, and what stands between them.
const LINE: usize = 59;

/// A state of the journal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct State {
    /// Counted in the database, from 1 on; 0 where none was made yet.
    pub(super) number: u64,
    /// The last sequence number then.
    pub(super) seq: u64,
}

/// The file, open.
#[derive(Debug)]
pub(super) struct Mark {
    file: File,
    /// The last state in the database.
    pub(super) state: State,
    made_at: Instant,
    /// Whether the file is behind.
    is_due: bool,
}

impl Mark {
    /// Opens the file or makes it. `state` is what the database knows; the file may be behind it.
    pub(super) fn open(path: &Path, state: State) -> io::Result<Self> {
        let (file, made_at, is_due) = (own(path)?, Instant::now(), state.number > 0);
        Ok(Self { file, state, made_at, is_due })
    }

    /// Whether the next commit should make a state.
    pub(super) fn is_old(&self) -> bool {
        self.made_at.elapsed() >= MARK_EVERY
    }

    /// A state was made, and is durable.
    pub(super) fn made(&mut self, state: State) {
        (self.state, self.made_at, self.is_due) = (state, Instant::now(), true);
    }

    /// Writes what was made. An error may be one of the sync.
    pub(super) fn write(&mut self) -> io::Result<()> {
        if self.is_due {
            let place = PLACES[usize::from(self.state.number % 2 == 1)];
            self.file.write_all_at(line(self.state).as_bytes(), place)?;
            self.file.sync_data()?;
            self.is_due = false;
        }
        Ok(())
    }
}

/// The last state in the file; `None` where there is no file, or none that was written whole.
pub(super) fn read(path: &Path) -> io::Result<Option<State>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut newest = None;
    for place in PLACES {
        let mut bytes = [0; LINE];
        match file.read_exact_at(&mut bytes, place) {
            Ok(()) => newest = newest.max(parse(&bytes)),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {}
            Err(error) => return Err(error),
        }
    }
    Ok(newest)
}

fn line(state: State) -> String {
    let numbers = format!("{:020} {:020}", state.number, state.seq);
    let digest: [u8; 32] = Sha256::digest(numbers.as_bytes()).into();
    let sum = digest.iter().take(8).fold(0, |sum, byte| (sum << 8) | u64::from(*byte));
    format!("{numbers} {sum:016x}\n")
}

fn parse(bytes: &[u8]) -> Option<State> {
    let text = std::str::from_utf8(bytes).ok()?;
    let (number, rest) = text.split_once(' ')?;
    let state = State { number: number.parse().ok()?, seq: rest.split_once(' ')?.0.parse().ok()? };
    (line(state) == text).then_some(state)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_state_that_was_written_whole_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(super::super::folder::MARK);
        assert_eq!(read(&path).unwrap(), None);
        let mut mark = Mark::open(&path, State::default()).unwrap();
        assert_eq!(read(&path).unwrap(), None);
        for number in 1..5 {
            let state = State { number, seq: number * 7 };
            mark.made(state);
            mark.write().unwrap();
            assert_eq!(read(&path).unwrap(), Some(state));
        }
        // state 4 is cut off
        mark.file.write_all_at(b"999", PLACES[0] + 30).unwrap();
        assert_eq!(read(&path).unwrap(), Some(State { number: 3, seq: 21 }));
        assert_eq!(line(mark.state).len(), LINE);
    }
}
