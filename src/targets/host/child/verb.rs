//! `quorate child`: what is started in a bound child's place. Nobody calls it by hand.
//!
//! Its standard input is the lock of what the child works on.

use std::{
    io::{self, Write as _},
    os::unix::process::{CommandExt as _, parent_id},
    process::{Command, ExitCode},
    time::Duration,
};

use rustix::process::{Signal, set_parent_process_death_signal};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::{
    Bond,
    refusal::{MARK, OURS},
};
use crate::{
    domain::rules::action::{ErrorKind, Failure},
    targets::{
        effect::{self, Deadline},
        host::run::{cannot_run, run},
    },
};

/// Becomes the child, which ends with its parent.
pub fn end_with(parent: u32, argv: &[String]) -> ExitCode {
    let Some((program, words)) = argv.split_first() else { return refuse(&empty()) };
    if let Err(error) = set_parent_process_death_signal(Some(Signal::KILL)) {
        let message = format!("{program} cannot be bound to quorate: {error}");
        return refuse(&Failure::new(ErrorKind::Other, message));
    }
    if parent_id() != parent {
        // It ended before it could be told that we end with it.
        return refuse(&Failure::new(ErrorKind::Other, "quorate has ended"));
    }
    let error = Command::new(program).args(words).exec();
    refuse(&cannot_run(program, &error))
}

/// Stays with the child until it has ended, also when the parent has, and then tells what it said.
/// SIGTERM ends the child.
pub fn stay(limit: Duration, argv: &[String]) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            let message = format!("nothing can be started: {error}");
            return refuse(&Failure::new(ErrorKind::Other, message));
        }
    };
    let cancelled = CancellationToken::new();
    let deadline = Deadline::after(limit + effect::GRACE).or_when(cancelled.clone());
    let ran = runtime.block_on(async {
        let mut told = signal(SignalKind::terminate())
            .map_err(|error| Failure::new(ErrorKind::Other, format!("no signals: {error}")))?;
        let watch = async {
            told.recv().await;
            cancelled.cancel();
            futures::future::pending::<()>().await;
        };
        let work = run(argv, Bond::Read, limit);
        tokio::select! {
            // The lock is ours until the child is reaped, however long that takes.
            ran = effect::whole_within(&deadline, Duration::MAX, work) => ran,
            () = watch => Err(empty()),
        }
    });
    match ran {
        Ok(ran) => {
            // Nobody may be there any more to read it.
            drop(io::stdout().write_all(ran.stdout.as_bytes()));
            drop(io::stderr().write_all(ran.stderr.as_bytes()));
            match ran.code.and_then(|code| u8::try_from(code).ok()) {
                Some(code) => ExitCode::from(code),
                None => refuse(&by_signal(argv)),
            }
        }
        Err(failure) => refuse(&failure),
    }
}

fn by_signal(argv: &[String]) -> Failure {
    let program = argv.first().map_or("", String::as_str);
    Failure::new(ErrorKind::Tool, format!("{program} ended by a signal"))
}

fn empty() -> Failure {
    Failure::new(ErrorKind::Invalid, "an empty command")
}

fn refuse(failure: &Failure) -> ExitCode {
    let told = serde_json::to_string(failure).unwrap_or_default();
    drop(writeln!(io::stderr(), "{MARK}{told}"));
    ExitCode::from(OURS)
}
