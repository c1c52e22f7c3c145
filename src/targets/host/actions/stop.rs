//! `host.service.stop`.
//!
//! It ends in proof that the process is gone, whatever the stop command said; nothing sends SIGKILL.

use std::time::{Duration, Instant};

use crate::{
    domain::{
        inventory::Member,
        rules::{
            action::{ActionSpec, Changes, Done, ErrorKind, Failure, OnResume, Probed},
            expr::{Type, Value},
        },
    },
    targets::{
        action::{Action, Doing, On, member},
        host::{
            child::Bond,
            run::run,
            service::{COMMAND, POLL, STATUS, Says, must_be_unused, says, seen, status, unseen},
        },
    },
};

/// How long a process may take to go after its stop command ended.
const SETTLE: Duration = Duration::from_secs(30);
/// How long a process that was told to end before quorate ended may need: etcd ends within a second,
/// and hands its leadership over before.
const TOLD: Duration = Duration::from_secs(3);

/// `host.service.stop`.
#[derive(Debug)]
pub(super) struct Stop(ActionSpec);

impl Stop {
    pub(super) fn new() -> Self {
        Self(ActionSpec {
            args: vec![member()],
            output: Type::record([
                ("pid", Type::Int),
                ("ended_by", Type::Word(&["term", "crash", "was_gone"])),
            ]),
            undo: Some("host.service.start"),
            holds: true,
            fences: true,
            timeout: Duration::from_secs(90),
            ..ActionSpec::new(
                "host.service.stop",
                Changes::Service,
                OnResume::Probe,
                "Stops the member with SIGTERM, never SIGKILL, and proves that its process is gone.",
            )
        })
    }
}

impl Action for Stop {
    fn spec(&self) -> &ActionSpec {
        &self.0
    }

    fn before<'a>(&'a self, on: On<'a>) -> Doing<'a, Value> {
        Box::pin(async move { Ok(Value::map(seen(status(on.member()?, STATUS).await?.as_ref()))) })
    }

    fn act<'a>(&'a self, on: On<'a>, _before: &'a Value) -> Doing<'a, Done> {
        Box::pin(async move { stop(on.member()?).await })
    }

    fn probe<'a>(&'a self, on: On<'a>, before: &'a Value) -> Doing<'a, Probed> {
        Box::pin(async move { stopped_before(on.member()?, before).await })
    }

    fn commands(&self, on: On<'_>) -> Vec<String> {
        let Ok(member) = on.member() else { return Vec::new() };
        vec![member.service.stop.join(" ")]
    }
}

/// A process that runs has not been stopped; one that was told to end may need a moment.
async fn stopped_before(member: &Member, before: &Value) -> Result<Probed, Failure> {
    let pid = before.get("pid").and_then(Value::as_int).and_then(|pid| u32::try_from(pid).ok());
    let deadline = Instant::now() + TOLD;
    let process = loop {
        let process = status(member, STATUS).await?;
        let same = process.as_ref().is_some_and(|process| Some(process.pid) == pid);
        if !same || Instant::now() >= deadline {
            break process;
        }
        tokio::time::sleep(POLL).await;
    };
    if let Some(process) = process {
        return Ok(Probed::not_done(format!("{} runs as process {}", member.name, process.pid)));
    }
    must_be_unused(member)?;
    let ran = before.get("running").and_then(Value::as_bool).unwrap_or(false);
    Ok(Probed::Done(stopped(pid, if ran { "term" } else { "was_gone" })))
}

fn stopped(pid: Option<u32>, ended_by: &'static str) -> Done {
    let pid = pid.map(|pid| ("pid", Value::Int(pid.into())));
    let output = Value::map([("ended_by", Value::str(ended_by))].into_iter().chain(pid));
    Done { output, changed: ended_by != "was_gone" }
}

async fn stop(member: &Member) -> Result<Done, Failure> {
    let Some(process) = status(member, STATUS).await? else { return Ok(stopped(None, "was_gone")) };
    let argv = &member.service.stop;
    let ran = run(argv, Bond::Command, COMMAND).await;
    let deadline = Instant::now() + SETTLE;
    loop {
        let said = says(member, STATUS).await?;
        match &said {
            Says::Nothing => break,
            // It was seen before it was stopped: now that it is not, it is gone, whatever is printed.
            Says::Unseen(pid) if *pid == process.pid => break,
            Says::Runs(_) | Says::Unseen(_) => {}
        }
        if let Err(failure) = &ran {
            return Err(failure.clone());
        }
        if Instant::now() >= deadline {
            if let Says::Unseen(pid) = said {
                return Err(unseen(member, "after its stop", pid));
            }
            let message = format!(
                "{} (process {}) still runs after its stop command; it is not killed, for that can lose an acknowledged write. Find out what keeps it",
                member.name, process.pid
            );
            return Err(Failure::new(ErrorKind::Timeout, message));
        }
        tokio::time::sleep(POLL).await;
    }
    let clean = ran.is_ok_and(|ran| ran.code == Some(0));
    Ok(stopped(Some(process.pid), if clean { "term" } else { "crash" }))
}
