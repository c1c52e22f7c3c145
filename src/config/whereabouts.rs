//! Where a member's directory lies, links followed, without waiting for its disk.
//!
//! It is asked while the configuration is read, before anything is served or put in force, and for a
//! disk that hangs that would be never. Of what does not answer the path itself is compared.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        mpsc::{Receiver, Sender, channel},
    },
    thread,
    time::{Duration, Instant},
};

use super::field::real;

/// How long one directory may take.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long one that did not answer is not asked again: every pair of members is compared.
const SILENT: Duration = Duration::from_mins(1);

/// Where it lies.
pub(crate) fn lies(path: &Path) -> PathBuf {
    static ASKER: Mutex<Asker> = Mutex::new(Asker::new(real));
    ASKER.lock().unwrap_or_else(PoisonError::into_inner).lies(path)
}

/// Asks in a thread that it leaves behind where that one hangs.
struct Asker {
    real: fn(&Path) -> PathBuf,
    worker: Option<(Sender<PathBuf>, Receiver<PathBuf>)>,
    /// What did not answer, and when. As many as inventories name.
    silent: BTreeMap<PathBuf, Instant>,
}

impl Asker {
    const fn new(real: fn(&Path) -> PathBuf) -> Self {
        Self { real, worker: None, silent: BTreeMap::new() }
    }

    fn lies(&mut self, path: &Path) -> PathBuf {
        if self.silent.get(path).is_some_and(|since| since.elapsed() < SILENT) {
            return path.to_owned();
        }
        let (ask, told) = self.worker.take().unwrap_or_else(|| worker(self.real));
        let answer = ask.send(path.to_owned()).ok().and_then(|()| told.recv_timeout(PATIENCE).ok());
        let Some(answer) = answer else {
            self.silent.insert(path.to_owned(), Instant::now());
            return path.to_owned();
        };
        self.worker = Some((ask, told));
        answer
    }
}

/// A thread that answers one question after the other, until nobody asks any more.
fn worker(real: fn(&Path) -> PathBuf) -> (Sender<PathBuf>, Receiver<PathBuf>) {
    let ((ask, asked), (tell, told)) = (channel::<PathBuf>(), channel());
    let answers = move || asked.iter().all(|path| tell.send(real(&path)).is_ok());
    // Where no thread can be had nobody answers, and the paths are compared.
    drop(thread::Builder::new().name("whereabouts".into()).spawn(answers));
    (ask, told)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Follows one link; what is named so hangs.
    fn slow(path: &Path) -> PathBuf {
        if path.starts_with("/hangs") {
            thread::park_timeout(PATIENCE * 100);
        }
        path.strip_prefix("/link").map_or(path.to_owned(), |rest| Path::new("/data").join(rest))
    }

    #[test]
    fn a_disk_that_hangs_is_waited_for_once_and_hides_no_other_one() {
        let mut asker = Asker::new(slow);
        let mut lies = |path: &str| asker.lies(Path::new(path)).display().to_string();
        assert_eq!(lies("/link/m1"), "/data/m1");
        assert_eq!(lies("/hangs/m2"), "/hangs/m2");
        assert_eq!(lies("/link/m3"), "/data/m3");
        assert_eq!(lies("/hangs/m2"), "/hangs/m2");
        let silent: Vec<_> = asker.silent.keys().cloned().collect();
        assert_eq!(silent, [PathBuf::from("/hangs/m2")]);
        assert!(asker.worker.is_some(), "it was not asked again");
    }
}
