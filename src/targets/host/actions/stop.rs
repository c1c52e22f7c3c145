//! `host.service.stop`.
//!
//! It ends in proof that the process is gone, whatever the stop command said; nothing sends SIGKILL.

use std::time::{Duration, Instant};

use crate::{
    domain::rules::{
        action::{ActionSpec, Changes, Done, ErrorKind, Failure, OnResume, Probed},
        expr::{Type, Value},
    },
    targets::{
        action::{Action, Doing, On, member},
        host::{
            child::Bond,
            run::run,
            service::{COMMAND, POLL, STATUS, Says, must_be_unused, says, seen, status, unseen},
            told,
        },
    },
};

/// How long a process may take to go after its stop command ended.
const SETTLE: Duration = Duration::from_secs(30);

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
            repeats: true, // who was told to end is told once more
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
        Box::pin(stop(on))
    }

    fn probe<'a>(&'a self, on: On<'a>, before: &'a Value) -> Doing<'a, Probed> {
        Box::pin(stopped_before(on, before, SETTLE))
    }

    fn commands(&self, on: On<'_>) -> Vec<String> {
        let Ok(member) = on.member() else { return Vec::new() };
        vec![member.service.stop.join(" ")]
    }
}

/// A process that runs has not been stopped, unless it was told to end: then it may yet end, and
/// whoever takes the stop for disproved would leave the member down.
pub(super) async fn stopped_before(
    on: On<'_>,
    before: &Value,
    patience: Duration,
) -> Result<Probed, Failure> {
    let (member, places) = (on.member()?, on.places()?);
    let pid = before.get("pid").and_then(Value::as_int).and_then(|pid| u32::try_from(pid).ok());
    let deadline = Instant::now() + patience;
    while let Some(process) = status(member, STATUS).await? {
        let runs = format!("{} runs as process {}", member.name, process.pid);
        if !told::is_told(&places, process.pid).await? {
            return Ok(Probed::not_done(runs));
        }
        if Instant::now() >= deadline {
            let why = "it was told to end and may yet do so. Find out what keeps it";
            return Ok(Probed::Unknown(format!("{runs}, {why}")));
        }
        tokio::time::sleep(POLL).await;
    }
    must_be_unused(member).await?;
    let ran = before.get("running").and_then(Value::as_bool).unwrap_or(false);
    Ok(Probed::Done(stopped(pid, if ran { "term" } else { "was_gone" })))
}

fn stopped(pid: Option<u32>, ended_by: &'static str) -> Done {
    let pid = pid.map(|pid| ("pid", Value::Int(pid.into())));
    let output = Value::map([("ended_by", Value::str(ended_by))].into_iter().chain(pid));
    Done { output, changed: ended_by != "was_gone" }
}

async fn stop(on: On<'_>) -> Result<Done, Failure> {
    let (member, places) = (on.member()?, on.places()?);
    let Some(process) = status(member, STATUS).await? else { return Ok(stopped(None, "was_gone")) };
    let argv = &member.service.stop;
    told::note(&places, process.pid).await?;
    let ran = run(argv, Bond::Command, COMMAND).await;
    if let Err(failure) = &ran
        && failure.kind != ErrorKind::Timeout
    {
        // the command was never run
        told::forget(&places).await?;
        return Err(failure.clone());
    }
    let deadline = Instant::now() + SETTLE;
    loop {
        let said = says(member, STATUS).await?;
        match &said {
            Says::Nothing => break,
            // It was seen before it was stopped: now that it is not, it is gone, whatever is printed.
            Says::Unseen(pid) if *pid == process.pid => break,
            Says::Runs(_) | Says::Unseen(_) => {}
        }
        if Instant::now() >= deadline {
            if let Err(failure) = &ran {
                return Err(failure.clone());
            }
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
