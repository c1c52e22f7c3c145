//! `host.service.start`.
//!
//! A start on an empty data directory is refused unless it joins a cluster: two members started empty
//! form a second, empty, writable cluster under the old id.

use std::time::{Duration, Instant};

use super::args::args_of;
use crate::{
    domain::{
        etcd::evidence::{DataState, Process},
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
            files::{self, blocking},
            places::Places,
            run::run,
            service::{COMMAND, POLL, STATUS, Says, must_be_unused, says, seen, status, unseen},
            told, wal,
        },
    },
};

/// How long a process may take to appear after its start command ended.
const APPEAR: Duration = Duration::from_secs(5);
/// How long a process that was told to end is waited for before it is started: what is left then of
/// the limit that a step would have is enough for a start command.
const ENDS: Duration = Duration::from_secs(30);
/// How long a started process must have lived to count: one that dies of its arguments or its data
/// directory does so within this.
const ALIVE: Duration = Duration::from_millis(300);

/// `host.service.start`.
#[derive(Debug)]
pub(super) struct Start(ActionSpec);

impl Start {
    pub(super) fn new() -> Self {
        Self(ActionSpec {
            args: vec![member()],
            output: Type::record([("pid", Type::Int), ("started_at", Type::Time)]),
            undo: Some("host.service.stop"),
            releases: true,
            ..ActionSpec::new(
                "host.service.start",
                Changes::Service,
                OnResume::Probe,
                "Starts the member with the arguments in force; refused on empty data unless it joins an existing cluster.",
            )
        })
    }
}

impl Action for Start {
    fn spec(&self) -> &ActionSpec {
        &self.0
    }

    fn before<'a>(&'a self, on: On<'a>) -> Doing<'a, Value> {
        Box::pin(async move {
            let process = status(on.member()?, STATUS).await?;
            let log = match &process {
                Some(_) => None, // it changes while it is read
                // A log that we may not read is compared with nothing: a probe will not know.
                None => log_mark(&on.places()?)
                    .await
                    .unwrap_or_else(|failure| Some(format!("unread: {}", failure.message))),
            };
            let log = log.map(|log| ("log", Value::str(log)));
            Ok(Value::map(seen(process.as_ref()).chain(log)))
        })
    }

    fn act<'a>(&'a self, on: On<'a>, _before: &'a Value) -> Doing<'a, Done> {
        Box::pin(start(on))
    }

    fn probe<'a>(&'a self, on: On<'a>, before: &'a Value) -> Doing<'a, Probed> {
        Box::pin(started_before(on, before))
    }

    fn commands(&self, on: On<'_>) -> Vec<String> {
        let Ok(member) = on.member() else { return Vec::new() };
        vec![format!("{} [arguments in force]", member.service.start.join(" "))]
    }
}

async fn log_mark(places: &Places) -> Result<Option<String>, Failure> {
    let places = places.clone();
    blocking(move |stop| wal::mark(&places, stop)).await
}

/// A process that does not run now may have run, served and ended with its host: only a log that is
/// still what it was shows that nobody was answered.
async fn started_before(on: On<'_>, before: &Value) -> Result<Probed, Failure> {
    let (member, places) = (on.member()?, on.places()?);
    let ran = before.get("running").and_then(Value::as_bool).unwrap_or(false);
    if let Some(process) = status(member, STATUS).await? {
        if told::is_told(&places, process.pid).await? {
            return Ok(Probed::Unknown(ending(member, &process)));
        }
        return Ok(Probed::Done(started(&process, !ran)));
    }
    must_be_unused(member).await?;
    let name = &member.name;
    if ran {
        let message = format!("{name} ran before it was to be started, and does not run now");
        return Ok(Probed::Unknown(message));
    }
    let was = before.get("log").and_then(Value::as_str).map(str::to_owned);
    let now = log_mark(&places).await?;
    // Arguments in force stand where the data stands: with them there, an absent log is no absent volume.
    let args = args_of(&places).await?;
    Ok(match (was, now) {
        (Some(was), Some(now)) if was == now => Probed::not_done(format!(
            "the log of {name} is what it was before the start, to the last byte"
        )),
        (None, None) if args.is_some() => {
            Probed::not_done(format!("{name} has no log still, as before the start"))
        }
        (None, None) => Probed::Unknown(format!(
            "{name} does not run now, and whether it has a log cannot be told: it may stand on a volume that is not mounted"
        )),
        (Some(_), None) => Probed::Unknown(format!(
            "{name} does not run now, and its log is not there any more: look for its volume"
        )),
        (_, Some(_)) => Probed::Unknown(format!(
            "{name} does not run now, and its log is not what it was before the start: it may have run and answered clients"
        )),
    })
}

fn started(process: &Process, changed: bool) -> Done {
    let at = process.started_at.map(|at| ("started_at", Value::Time(at.0)));
    let output = Value::map([("pid", Value::Int(process.pid.into()))].into_iter().chain(at));
    Done { output, changed }
}

/// What is said of a process that was told to end and still runs.
fn ending(member: &Member, process: &Process) -> String {
    format!(
        "{} (process {}) was told to end and still runs: it is started when it has ended. Find out what keeps it",
        member.name, process.pid
    )
}

/// The member's process. One that was told to end is no start: its end is waited for.
async fn running(member: &Member, places: &Places) -> Result<Option<Process>, Failure> {
    let deadline = Instant::now() + ENDS;
    loop {
        let Some(process) = status(member, STATUS).await? else { return Ok(None) };
        if !told::is_told(places, process.pid).await? {
            return Ok(Some(process));
        }
        if Instant::now() >= deadline {
            return Err(Failure::new(ErrorKind::Timeout, ending(member, &process)));
        }
        tokio::time::sleep(POLL).await;
    }
}

async fn start(on: On<'_>) -> Result<Done, Failure> {
    let (member, places) = (on.member()?, on.places()?);
    let began = Instant::now();
    if let Some(process) = running(member, &places).await? {
        return Ok(started(&process, false));
    }
    let args = args_of(&places).await?.unwrap_or_default();
    let joins = args.get("initial-cluster-state").is_some_and(|state| state == "existing");
    let at = places.clone();
    let data = blocking(move |_| files::data(&at)).await?;
    if data.state != DataState::Present && !joins {
        let message = format!(
            "{} has no data and initial-cluster-state=existing is not in force: started now it would form an empty cluster of its own. Add it to the cluster first",
            member.name
        );
        return Err(Failure::new(ErrorKind::Invalid, message));
    }
    let mut command = member.service.start.clone();
    command.extend(args.iter().map(|(name, value)| format!("--{name}={value}")));
    let limit = COMMAND.saturating_sub(began.elapsed()).max(STATUS);
    let ran = run(&command, Bond::Command, limit).await;
    let process = match ran.and_then(|ran| ran.succeeded(&command)) {
        Ok(_) => appeared(member).await?,
        Err(failure) => runs_all_the_same(member, failure).await?,
    };
    tokio::time::sleep(ALIVE).await;
    match says(member, STATUS).await? {
        Says::Runs(now) if now.pid == process.pid => Ok(started(&now, true)),
        // Also one that is unseen now: /proc showed it a moment ago.
        _ => {
            let message =
                format!("{} ended right after its start: its own log says why", member.name);
            Err(Failure::new(ErrorKind::Tool, message))
        }
    }
}

/// A start command that is late, or that failed, has often started the member all the same: one
/// that waits until its service is ready waits for the quorum.
async fn runs_all_the_same(member: &Member, failure: Failure) -> Result<Process, Failure> {
    if let Ok(Says::Runs(process)) = says(member, STATUS).await {
        return Ok(process);
    }
    let late = failure.kind == ErrorKind::Timeout;
    let hint = " (a command that waits until the service is ready waits for quorum: systemctl takes --no-block)";
    let message = format!("{}{}", failure.message, if late { hint } else { "" });
    Err(Failure { message, ..failure })
}

async fn appeared(member: &Member) -> Result<Process, Failure> {
    let deadline = Instant::now() + APPEAR;
    loop {
        let said = says(member, STATUS).await?;
        if let Says::Runs(process) = said {
            return Ok(process);
        }
        if Instant::now() >= deadline {
            if let Says::Unseen(pid) = said {
                return Err(unseen(member, "after its start", pid));
            }
            let message = format!(
                "the start command of {} ended and its status command shows no process: its own log says why",
                member.name
            );
            return Err(Failure::new(ErrorKind::Tool, message));
        }
        tokio::time::sleep(POLL).await;
    }
}
