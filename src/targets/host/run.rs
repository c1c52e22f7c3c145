//! Runs one command: an argv, never a shell, with a limit and bounded captured output.
//!
//! A command may leave a daemon behind that keeps its output open (a start command does): the end
//! of the command counts, not the end of its output.

use std::{io, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::{ChildStderr, ChildStdout},
    time::timeout,
};

use super::child::{Bond, Child, Start, refusal};
use crate::domain::rules::action::{ErrorKind, Failure};

/// Limit of one try of what copies or reads a whole data directory.
pub(crate) const BULK: Duration = Duration::from_mins(10);
/// Most bytes kept of each output; more is read and dropped, so that nobody blocks on a full pipe.
const KEPT: usize = 64 * 1024;
/// How much longer one of ours that stays with a command is waited for: it has the same limit.
const SLACK: Duration = Duration::from_secs(2);
/// How long the output may trail the end of the command.
const TRAIL: Duration = Duration::from_millis(200);

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ran {
    /// Its exit code; `None` where a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    /// Itself where it exited 0, else a failure that names the command and its last words.
    pub(crate) fn succeeded(self, argv: &[String]) -> Result<Self, Failure> {
        if self.code == Some(0) {
            return Ok(self);
        }
        let code = self.code.map_or_else(|| "by a signal".into(), |code| format!("with {code}"));
        let words = [&self.stderr, &self.stdout].into_iter().find_map(|text| last_line(text));
        let words = words.map(|words| format!(": {words}")).unwrap_or_default();
        Err(Failure::new(ErrorKind::Tool, format!("{} ended {code}{words}", program(argv))))
    }
}

fn program(argv: &[String]) -> &str {
    argv.first().map_or("an empty command", String::as_str)
}

/// The last line that says something, at most 300 characters of it.
pub(crate) fn last_line(text: &str) -> Option<String> {
    let line = text.lines().rev().find(|line| !line.trim().is_empty())?;
    Some(line.trim().chars().take(300).collect())
}

/// Runs it. What exceeds the limit, or whose caller goes away, is ended: our own tools with what they
/// started, a service's command without.
pub(crate) async fn run(argv: &[String], bond: Bond, limit: Duration) -> Result<Ran, Failure> {
    let [program, ..] = argv else {
        return Err(Failure::new(ErrorKind::Invalid, "an empty command"));
    };
    let start = Start { argv: argv.to_vec(), bond, limit, logs: None, lock: None, bare: false };
    let patience = if bond == Bond::Command { limit + SLACK } else { limit };
    // also the start of a program waits for its file system
    let started = timeout(patience, Child::start(start)).await;
    let started = started.map_err(|_| too_long(program, limit))?;
    let mut child = started.map_err(|error| cannot_run(program, &error))?;
    let (stdout, stderr) = child.outputs();
    let (mut printed, mut errors) = (Vec::new(), Vec::new());
    let code = {
        let reading = futures::future::join(
            drain(stdout.map(ChildStdout::from_std), &mut printed),
            drain(stderr.map(ChildStderr::from_std), &mut errors),
        );
        tokio::pin!(reading);
        let mut drained = false;
        let ended = timeout(patience, async {
            loop {
                tokio::select! {
                    status = child.wait() => break status,
                    _ = &mut reading, if !drained => drained = true,
                }
            }
        });
        let Ok(status) = ended.await else { return Err(too_long(program, limit)) };
        if !drained {
            // A daemon that keeps the pipe open is no reason to wait: what is read is read.
            drop(timeout(TRAIL, &mut reading).await);
        }
        status.map_err(|error| cannot_run(program, &error))?.code()
    };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let ran = Ran { code, stdout: text(&printed), stderr: text(&errors) };
    match refusal(ran.code, &ran.stderr) {
        Some(failure) => Err(failure),
        None => Ok(ran),
    }
}

fn too_long(program: &str, limit: Duration) -> Failure {
    let message = format!("{program} did not end within {} s", limit.as_secs());
    Failure::new(ErrorKind::Timeout, message)
}

pub(crate) fn cannot_run(program: &str, error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::NotFound => Failure::new(
            ErrorKind::Tool,
            format!("{program} is not there: install it, or correct its path in the inventory"),
        ),
        io::ErrorKind::PermissionDenied => {
            Failure::new(ErrorKind::Denied, format!("{program} may not be run by this user"))
        }
        _ => Failure::new(ErrorKind::Tool, format!("{program} cannot be run: {error}")),
    }
}

async fn drain<R: AsyncRead + Unpin>(from: Option<io::Result<R>>, kept: &mut Vec<u8>) {
    let Some(Ok(mut from)) = from else { return };
    let mut chunk = vec![0; 8 * 1024];
    while let Ok(count @ 1..) = from.read(&mut chunk).await {
        let room = KEPT.saturating_sub(kept.len()).min(count);
        kept.extend_from_slice(&chunk[..room]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn argv(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[tokio::test]
    async fn a_command_is_an_argv_and_never_a_shell() {
        let ran = run(&argv(&["echo", "$(id); `id`"]), Bond::Read, Duration::from_secs(10))
            .await
            .unwrap();
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), "$(id); `id`\n"));
    }

    #[tokio::test]
    async fn what_exceeds_its_limit_is_ended() {
        let failure =
            run(&argv(&["sleep", "100"]), Bond::Read, Duration::from_millis(50)).await.unwrap_err();
        assert_eq!(failure.kind, ErrorKind::Timeout);
    }

    #[tokio::test]
    async fn a_daemon_that_keeps_the_output_open_delays_nobody() {
        let script = argv(&["sh", "-c", "sleep 3 & echo started"]);
        let start = std::time::Instant::now();
        let ran = run(&script, Bond::Read, Duration::from_secs(10)).await.unwrap();
        assert_eq!(ran.stdout, "started\n");
        assert!(start.elapsed() < Duration::from_secs(2));
    }

    #[tokio::test]
    async fn a_failure_names_the_command_and_its_last_words() {
        let command = argv(&["sh", "-c", "echo first >&2; echo 'no room' >&2; exit 3"]);
        let ran = run(&command, Bond::Read, Duration::from_secs(10)).await.unwrap();
        assert_eq!(ran.succeeded(&command).unwrap_err().message, "sh ended with 3: no room");
        let absent = run(&argv(&["/nowhere/etcdutl"]), Bond::Ours, Duration::from_secs(1))
            .await
            .unwrap_err();
        assert_eq!(absent.kind, ErrorKind::Tool);
    }

    #[tokio::test]
    async fn captured_output_is_bounded() {
        let command = argv(&["sh", "-c", "head -c 1000000 /dev/zero"]);
        let ran = run(&command, Bond::Read, Duration::from_secs(10)).await.unwrap();
        assert_eq!(ran.stdout.len(), KEPT);
    }
}
