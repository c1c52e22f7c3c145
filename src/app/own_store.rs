//! Whether the journal lies in a data directory of a member: it would be moved away with it.
//!
//! Asked before anything is served, so no disk that hangs may hold it up. Whatever holds the journal
//! answers, for the journal was opened; of a directory that does not answer the path alone is compared.

use std::{
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, channel},
    thread,
    time::{Duration, Instant},
};

use crate::config::Config;

/// How long one directory may take to say where it lies.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long all of them may take together; a thousand that answer need a fraction of it.
const TOGETHER: Duration = Duration::from_secs(10);

/// Where a path lies, with all links followed.
type Real = fn(&Path) -> PathBuf;

pub(super) fn is_on_target(config: &Config) -> bool {
    let members = config.clusters.iter().flat_map(|cluster| &cluster.etcd.members);
    let dirs = members.flat_map(|member| [Some(&member.data_dir), member.wal_dir.as_ref()]);
    let real: Real = |path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    lies_in(&config.store, dirs.flatten().cloned().collect(), real)
}

fn lies_in(store: &Path, mut dirs: Vec<PathBuf>, real: Real) -> bool {
    let (store, until) = (real(store), Instant::now() + TOGETHER);
    while !dirs.is_empty() {
        if Instant::now() >= until {
            return dirs.iter().any(|dir| store.starts_with(dir));
        }
        let told = ask(dirs.clone(), real);
        let mut answered = 0;
        for dir in &dirs {
            let left = until.saturating_duration_since(Instant::now());
            let lies = told.recv_timeout(PATIENCE.min(left));
            if store.starts_with(lies.as_ref().unwrap_or(dir)) {
                return true;
            }
            answered += 1;
            if lies.is_err() {
                break; // its thread waits; another one asks those behind it
            }
        }
        dirs.drain(..answered);
    }
    false
}

/// Has directories say where they lie, one after the other.
fn ask(dirs: Vec<PathBuf>, real: Real) -> Receiver<PathBuf> {
    let (tell, told) = channel();
    let asks = move || dirs.iter().all(|dir| tell.send(real(dir)).is_ok());
    // Where no thread can be had the paths alone are compared.
    drop(thread::Builder::new().name("own store".into()).spawn(asks));
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Follows links by name; what is named so hangs.
    fn real(path: &Path) -> PathBuf {
        if path.starts_with("/hangs") {
            thread::park_timeout(PATIENCE * 100);
        }
        path.strip_prefix("/link").map_or(path.to_owned(), |rest| Path::new("/data").join(rest))
    }

    #[test]
    fn a_journal_inside_of_a_members_data_is_found_also_behind_a_disk_that_hangs() {
        let lies = |store: &str, dirs: &[&str]| {
            lies_in(Path::new(store), dirs.iter().map(PathBuf::from).collect(), real)
        };
        assert!(!lies("/var/lib/quorate", &["/data/m1", "/data/m2"]));
        assert!(lies("/data/m2/quorate", &["/data/m1", "/data/m2"]));
        assert!(lies("/data/m2/quorate", &["/hangs/m1", "/link/m2"]));
        assert!(!lies("/data/m3/quorate", &["/link/m1", "/hangs/m2"]));
    }
}
