//! One effect: by when it must be over, and the proof that all it has under way has ended.
//!
//! An effect that is cut off must not go on behind the back of whoever cut it off: the next step, or
//! an undo, would meet it. [`whole`] returns only when every child is reaped and every thread of the
//! effect is back; where that cannot be had, its failure says that something still runs.

use std::{
    collections::BTreeMap,
    fs::File,
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::domain::{
    base::time::format_duration,
    rules::action::{ErrorKind, Failure},
};

/// How long what was cut off may need to end: a child that was killed is gone at once, unless it
/// waits for a disk.
pub(crate) const GRACE: Duration = Duration::from_secs(5);

/// By when an effect must be over; it may be cut off earlier.
#[derive(Clone, Debug)]
pub struct Deadline {
    at: Instant,
    limit: Duration,
    cancelled: CancellationToken,
}

impl Deadline {
    /// So much from now.
    pub fn after(limit: Duration) -> Self {
        Self { at: Instant::now() + limit, limit, cancelled: CancellationToken::new() }
    }

    /// The same, or when this is cancelled, if that comes first.
    #[must_use]
    pub fn or_when(self, cancelled: CancellationToken) -> Self {
        Self { cancelled, ..self }
    }

    /// Waits for it; why the effect is cut off.
    pub(crate) async fn reached(&self) -> Failure {
        let message = tokio::select! {
            () = tokio::time::sleep_until(self.at) => {
                format!("no result within {}", format_duration(self.limit))
            }
            () = self.cancelled.cancelled() => "it was cut off before its result was known".into(),
        };
        Failure::new(ErrorKind::Timeout, message)
    }

    /// What is left until then.
    pub(crate) fn left(&self) -> Duration {
        self.at.saturating_duration_since(Instant::now())
    }
}

tokio::task_local! {
    static EFFECT: Effect;
}

/// What one effect has under way.
#[derive(Clone, Debug, Default)]
struct Effect(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    running: watch::Sender<BTreeMap<u64, String>>,
    lock: Mutex<Option<File>>,
}

impl Effect {
    fn lock(&self) -> std::sync::MutexGuard<'_, Option<File>> {
        self.0.lock.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Something under way: a child that is not reaped, a thread that is not back. Whoever waits for the
/// effect waits for this to be dropped.
#[derive(Debug)]
pub(crate) struct UnderWay {
    effect: Effect,
    key: u64,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.effect.0.running.send_modify(|running| drop(running.remove(&self.key)));
    }
}

/// Notes something as under way, in words that may follow "still runs:"; nothing outside an effect.
pub(crate) fn under_way(what: impl Into<String>) -> Option<UnderWay> {
    let effect = EFFECT.try_with(Clone::clone).ok()?;
    let mut key = 0;
    effect.0.running.send_modify(|running| {
        key = running.last_key_value().map_or(0, |(key, _)| key + 1);
        running.insert(key, what.into());
    });
    Some(UnderWay { effect, key })
}

/// Gives this effect the lock of what it changes, instead of the one it had; its children and threads
/// hold it as long as they run.
pub(crate) fn hold(lock: File) {
    // Outside an effect there is nobody to hold it for.
    EFFECT.try_with(|effect| *effect.lock() = Some(lock)).ok();
}

/// The lock of this effect, once more.
pub(crate) fn held() -> Option<File> {
    EFFECT.try_with(|effect| effect.lock().as_ref()?.try_clone().ok()).ok()?
}

/// Does the work until the deadline, and returns when all of it has ended.
pub(crate) async fn whole<T>(
    deadline: &Deadline,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    whole_within(deadline, GRACE, work).await
}

/// The same with another grace for what was cut off.
pub(crate) async fn whole_within<T>(
    deadline: &Deadline,
    grace: Duration,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let effect = Effect::default();
    let mut work = Box::pin(EFFECT.scope(effect.clone(), work));
    let result = tokio::select! {
        biased;
        result = &mut work => result,
        cut_off = deadline.reached() => Err(cut_off),
    };
    drop(work); // ends its children, tells its threads
    let mut running = effect.0.running.subscribe();
    let ended = running.wait_for(BTreeMap::is_empty);
    if tokio::time::timeout(grace, ended).await.is_ok() {
        return result;
    }
    let left: Vec<String> = effect.0.running.borrow().values().cloned().collect();
    let why = result.err().map_or_else(|| "it is done".to_owned(), |failure| failure.message);
    let message = format!("{why}, and it still runs: {}", left.join("; "));
    Err(Failure { still_running: true, ..Failure::new(ErrorKind::Timeout, message) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_effect_that_is_cut_off_is_waited_for() {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let deadline = Deadline::after(Duration::from_mins(1));
        let work = async {
            sender.send(under_way("a thread").unwrap()).unwrap();
            futures::future::pending::<Result<(), Failure>>().await
        };
        let whole = tokio::spawn(async move {
            let began = Instant::now();
            (whole_within(&deadline, Duration::from_secs(9), work).await, began.elapsed())
        });
        let thread = receiver.await.unwrap();
        tokio::time::sleep_until(Instant::now() + Duration::from_millis(61_500)).await;
        drop(thread);
        let (failure, took) = whole.await.unwrap();
        let failure = failure.unwrap_err();
        assert_eq!((failure.kind, failure.still_running), (ErrorKind::Timeout, false));
        assert_eq!(failure.message, "no result within 1m");
        assert_eq!(took, Duration::from_millis(61_500));
    }

    #[tokio::test(start_paused = true)]
    async fn what_cannot_be_ended_is_told_and_nothing_is_known_of_its_effect() {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let cancelled = CancellationToken::new();
        let deadline = Deadline::after(Duration::from_mins(1)).or_when(cancelled.clone());
        cancelled.cancel();
        let work = async {
            sender.send(under_way("a copy to /x")).unwrap();
            futures::future::pending::<Result<(), Failure>>().await
        };
        let failure = whole(&deadline, work).await.unwrap_err();
        assert!(failure.still_running && failure.message.contains("a copy to /x"), "{failure}");
        drop(receiver);
    }

    #[tokio::test]
    async fn a_result_before_the_deadline_is_the_result() {
        let deadline = Deadline::after(Duration::from_mins(1));
        assert_eq!(whole(&deadline, async { Ok(under_way("x").is_some()) }).await, Ok(true));
        assert!(under_way("x").is_none(), "outside of an effect");
    }
}
