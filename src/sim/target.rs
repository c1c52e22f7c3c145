//! The model behind the trait that the engine knows, with what goes wrong at each question.

use std::time::Duration;

use futures::future::BoxFuture;
use tokio::{sync::oneshot, time::Instant};

use super::{
    FakeTarget,
    faults::{Ask, Moment, Wrong, failure},
    look, model, work,
    world::{Pending, subject},
};
use crate::{
    domain::{
        base::time::Time,
        etcd::evidence::Evidence,
        rules::{
            action::{Call, Done, ErrorKind, Failure, Probed},
            expr::Value,
        },
    },
    targets::{
        AlertState, BRIEF, Deadline, Depth, Target, Tool, Toolset,
        action::locks,
        catalogue::catalogue,
        effect::{self, under_way},
    },
};

/// How long what an earlier call has at work is waited for.
const PATIENCE: Duration = Duration::from_secs(55);

impl FakeTarget {
    async fn never(&self) -> ! {
        self.halted.send_modify(|count| *count += 1);
        futures::future::pending().await
    }

    /// Delays an answer, or prevents it; what is left for the caller to do.
    async fn held_up(&self, wrongs: &[Wrong], moment: Moment) {
        for wrong in wrongs {
            match wrong {
                Wrong::Hangs(at) if *at == moment => self.never().await,
                Wrong::Panics(at) => assert!(*at != moment, "the model panics for the test"),
                Wrong::Late(span) if moment == Moment::After => tokio::time::sleep(*span).await,
                Wrong::Hangs(_)
                | Wrong::Late(_)
                | Wrong::Lags(_)
                | Wrong::Fails(_)
                | Wrong::FailsAfter(_) => {}
            }
        }
    }

    /// A question that changes nothing, with what goes wrong at it: its answer, or the error.
    async fn question<T>(
        &self,
        ask: Ask,
        action: Option<&str>,
        answer: impl FnOnce() -> T,
    ) -> Result<T, Failure> {
        let wrongs = self.world().faults.met(ask, action);
        self.held_up(&wrongs, Moment::Before).await;
        let answer = match fails(&wrongs) {
            Some(kind) => Err(failure(kind, action.unwrap_or("a look"))),
            None => Ok(answer()),
        };
        self.held_up(&wrongs, Moment::After).await;
        answer
    }

    async fn carry_out(&self, call: &Call) -> Result<Done, Failure> {
        let wrongs = {
            let mut world = self.world();
            world.calls.push((call.action.clone(), subject(call)));
            world.faults.met(Ask::Act, Some(&call.action))
        };
        self.held_up(&wrongs, Moment::Before).await;
        if let Some(kind) = fails(&wrongs) {
            return Err(failure(kind, &call.action));
        }
        self.unlocked(call).await?;
        let lag = wrongs.iter().find_map(|wrong| match wrong {
            Wrong::Lags(span) => Some(*span),
            _ => None,
        });
        let done = match lag {
            Some(span) => self.at_work(call, span).await?,
            None => work::carry_out(&mut self.world(), call)?,
        };
        let after = wrongs.iter().find_map(|wrong| match wrong {
            Wrong::FailsAfter(kind) => Some(*kind),
            _ => None,
        });
        if let Some(kind) = after {
            return Err(failure(kind, &call.action));
        }
        self.held_up(&wrongs, Moment::After).await;
        Ok(done)
    }

    /// Begins an effect that takes place later, whoever waits for it then.
    async fn at_work(&self, call: &Call, span: Duration) -> Result<Done, Failure> {
        let due = Instant::now() + span;
        let (tell, told) = oneshot::channel();
        let under_way = under_way(&call.action);
        let pending = Pending { due, call: call.clone(), tell, _under_way: under_way };
        self.world().pending.push(pending);
        tokio::time::sleep_until(due).await;
        drop(self.world()); // catches up
        told.await.unwrap_or_else(|_| Err(failure(ErrorKind::Other, &call.action)))
    }

    /// Waits until nothing of an earlier call is at work on the member, where the row asks for that.
    async fn unlocked(&self, call: &Call) -> Result<(), Failure> {
        if !catalogue().get(call.action.as_str()).is_some_and(locks) {
            return Ok(());
        }
        let patience = Instant::now() + PATIENCE;
        loop {
            let Some(until) = self.world().locked_until(call) else { return Ok(()) };
            if until > patience {
                tokio::time::sleep_until(patience).await;
                let message = format!("an earlier call is still at work on {}", subject(call));
                let failure = Failure::new(ErrorKind::Timeout, message);
                return Err(Failure { still_running: true, ..failure });
            }
            tokio::time::sleep_until(until).await;
        }
    }
}

fn fails(wrongs: &[Wrong]) -> Option<ErrorKind> {
    wrongs.iter().find_map(|wrong| match wrong {
        Wrong::Fails(kind) => Some(*kind),
        _ => None,
    })
}

impl Target for FakeTarget {
    fn tools(&self) -> BoxFuture<'_, Result<Toolset, String>> {
        Box::pin(async move {
            let version = self.world().tools.clone();
            let tool = |name: &str| Tool { path: name.into(), version: version.clone() };
            Ok(Toolset { etcd: tool("etcd"), etcdutl: tool("etcdutl") })
        })
    }

    fn assess<'a>(
        &'a self,
        depth: Depth,
        now: &'a (dyn Fn() -> Time + Send + Sync),
    ) -> BoxFuture<'a, Evidence> {
        Box::pin(async move {
            let slow = self.world().slow;
            let slow = if depth == Depth::Brief { slow.min(BRIEF) } else { slow };
            tokio::time::sleep(slow).await;
            let seen = self.question(Ask::Look, None, || look::look(&self.world(), now())).await;
            seen.unwrap_or_else(|_| look::nothing(&self.world(), now()))
        })
    }

    fn before<'a>(&'a self, call: &'a Call) -> BoxFuture<'a, Result<Value, Failure>> {
        Box::pin(async move {
            let read = || model::before(&self.world(), call);
            self.question(Ask::Before, Some(&call.action), read).await
        })
    }

    fn act<'a>(
        &'a self,
        call: &'a Call,
        _before: &'a Value,
        deadline: &'a Deadline,
    ) -> BoxFuture<'a, Result<Done, Failure>> {
        Box::pin(effect::whole(deadline, self.carry_out(call)))
    }

    fn probe<'a>(&'a self, call: &'a Call, before: &'a Value) -> BoxFuture<'a, Probed> {
        Box::pin(async move {
            if let Err(failure) = self.unlocked(call).await {
                return Probed::Unknown(failure.message);
            }
            let ask = || model::probe(&self.world(), call, before);
            let probed = self.question(Ask::Probe, Some(&call.action), ask).await;
            probed.unwrap_or_else(|failure| Probed::Unknown(failure.message))
        })
    }

    fn commands(&self, call: &Call) -> Vec<String> {
        vec![format!("{} {}", call.action, subject(call))]
    }

    fn revision_max(&self, _from: Time, _until: Time) -> BoxFuture<'_, Option<i64>> {
        Box::pin(async move { self.world().revision_max })
    }

    fn alerts(&self) -> BoxFuture<'_, Option<Result<Vec<AlertState>, Failure>>> {
        Box::pin(async move { self.world().alerts.clone().map(Ok) })
    }
}
