//! Scratch copies: a copy of a member's data, started alone on loopback to be read.
//!
//! The process is found again by its own arguments: nothing has to be remembered over a restart.
//! It is ours alone and holds a throw-away copy, so it may be ended by force; a member never is.

use std::{
    fs::File,
    io::{Read as _, Seek as _, SeekFrom},
    net::TcpListener,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rustix::process::Signal;
use serde_json::Value as Json;

use super::client::Api;
use crate::{
    domain::{
        etcd::evidence::{Process, Status},
        inventory::Cluster,
        rules::action::{ErrorKind, Failure},
    },
    targets::host::{
        child::{self, Bond, Child},
        files::{self, exists},
        lock,
        places::Places,
        process,
        run::last_line,
    },
};

/// How long a copy may take until it leads itself: it replays its log first.
const READY: Duration = Duration::from_secs(45);
/// How long it may take to go after SIGTERM.
const GONE: Duration = Duration::from_secs(10);
/// Between two looks at one that starts or ends.
pub(crate) const POLL: Duration = Duration::from_millis(50);
/// Bytes of a log's end that are searched for why it ended: a panic's trace stands behind it.
const TAIL: u64 = 64 * 1024;

/// A directory that is started to be read.
#[derive(Clone, Debug)]
pub(crate) struct Copy {
    pub(crate) name: String,
    pub(crate) data: PathBuf,
    pub(crate) wal: Option<PathBuf>,
    pub(crate) log: PathBuf,
    /// What its process holds.
    pub(crate) lock: PathBuf,
    /// Whether it was a member of a larger cluster and must be told that it is alone.
    pub(crate) force: bool,
}

impl Copy {
    /// The scratch copy of a member.
    pub(crate) fn of(places: &Places, name: &str) -> Self {
        Self {
            name: name.into(),
            data: places.copied_data("scratch"),
            wal: places.copied_wal("scratch"),
            log: places.backups().join("scratch.log"),
            lock: places.backups().join("scratch.lock"),
            force: true,
        }
    }

    fn data_argument(&self) -> String {
        format!("--data-dir={}", self.data.display())
    }

    /// The process that runs on it, and its endpoint.
    pub(crate) fn running(&self) -> Option<(Process, String)> {
        let found = process::with_argument(&self.data_argument());
        found.into_iter().find_map(|process| {
            let endpoint = process
                .argv
                .iter()
                .find_map(|word| word.strip_prefix("--listen-client-urls="))?
                .to_owned();
            Some((process, endpoint))
        })
    }

    /// Takes the lock of what it runs on, once an earlier process of it has ended.
    pub(crate) async fn lock(&self) -> Result<File, Failure> {
        lock::take(&self.lock, GONE).await
    }

    /// Starts it and waits until it leads itself. It takes the lock along.
    pub(crate) async fn start(
        &self,
        cluster: &Cluster,
        lock: File,
    ) -> Result<(Process, String, Status), Failure> {
        let (client, peer) = free_ports(cluster)?;
        let (client, peer) =
            (format!("http://127.0.0.1:{client}"), format!("http://127.0.0.1:{peer}"));
        let mut args = vec![
            format!("--name={}", self.name),
            self.data_argument(),
            format!("--listen-client-urls={client}"),
            format!("--advertise-client-urls={client}"),
            format!("--listen-peer-urls={peer}"),
            format!("--initial-advertise-peer-urls={peer}"),
            format!("--initial-cluster={}={peer}", self.name),
            "--logger=zap".into(),
        ];
        args.extend(self.wal.as_ref().map(|wal| format!("--wal-dir={}", wal.display())));
        args.extend(self.force.then(|| "--force-new-cluster".into()));
        let etcd = &cluster.etcd.tools.etcd;
        let log =
            File::create(&self.log).map_err(|error| files::failure("making", &self.log, &error))?;
        let errors =
            log.try_clone().map_err(|error| files::failure("making", &self.log, &error))?;
        args.insert(0, etcd.to_string_lossy().into_owned());
        let start = child::Start {
            argv: args,
            bond: Bond::Ours,
            limit: READY,
            logs: Some([log, errors]),
            lock: Some(lock),
            // Options in our own environment must not become the copy's.
            bare: true,
        };
        let child = Child::start(start).await.map_err(|error| {
            let message = format!(
                "{} cannot be started: {error}. Install it, or correct etcd.tools.etcd",
                etcd.display()
            );
            Failure::new(ErrorKind::Tool, message)
        })?;
        let deadline = Instant::now() + READY;
        loop {
            if child.has_ended() {
                return Err(self.failed(ErrorKind::Tool, "ended at once"));
            }
            if let Some(status) = leading(cluster, &client).await
                && let Some((process, _)) = self.running()
            {
                child.leave(); // until it is stopped, or we end
                return Ok((process, client, status));
            }
            if Instant::now() >= deadline {
                self.end().await?;
                return Err(self.failed(ErrorKind::Timeout, "does not answer"));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// What became of it, with the last word of its log.
    fn failed(&self, kind: ErrorKind, what: &str) -> Failure {
        let said = tail(&self.log).and_then(|log| last_words(&log));
        let said = said.map(|said| format!(": {said}")).unwrap_or_default();
        let log = self.log.display();
        Failure::new(kind, format!("the copy of {} {what}{said} (its log: {log})", self.name))
    }

    /// Ends its process. Whether there was one.
    pub(crate) async fn end(&self) -> Result<bool, Failure> {
        let found = process::with_argument(&self.data_argument());
        for one in &found {
            process::signal(one.pid, Signal::TERM)?;
        }
        let deadline = Instant::now() + GONE;
        loop {
            let left = process::with_argument(&self.data_argument());
            if left.is_empty() {
                return Ok(!found.is_empty());
            }
            if Instant::now() >= deadline {
                for one in &left {
                    process::signal(one.pid, Signal::KILL)?;
                }
            }
            tokio::time::sleep(POLL).await;
        }
    }
}

/// The status of a process that leads itself.
pub(crate) async fn leading(cluster: &Cluster, endpoint: &str) -> Option<Status> {
    let mut api =
        Api::connect(&cluster.etcd, endpoint, false, Duration::from_secs(1)).await.ok()?;
    api.status().await.ok().filter(|status| status.leader == Some(status.member_id))
}

/// Two ports of the configured range that nobody listens on.
fn free_ports(cluster: &Cluster) -> Result<(u16, u16), Failure> {
    let range = cluster.etcd.scratch_ports.clone();
    let mut free = range.clone().filter(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok());
    free.next().zip(free.next()).ok_or_else(|| {
        let message =
            format!("no two free ports in etcd.scratch_ports {}-{}", range.start(), range.end());
        Failure::new(ErrorKind::Unavailable, message)
    })
}

/// Where a member's scratch copy answers. One that ended with an earlier process of ours, which takes
/// its copies with it, is started again.
pub(crate) async fn endpoint(
    cluster: &Cluster,
    places: &Places,
    name: &str,
) -> Result<String, Failure> {
    let copy = Copy::of(places, name);
    if let Some((_, endpoint)) = copy.running() {
        return Ok(endpoint);
    }
    if !exists(&copy.data.join("member"))? {
        let message = format!("there is no scratch copy of {name}");
        return Err(Failure::new(ErrorKind::NotFound, message));
    }
    let (_, endpoint, _) = copy.start(cluster, copy.lock().await?).await?;
    Ok(endpoint)
}

/// The end of a log; `None` where it cannot be read.
fn tail(path: &Path) -> Option<String> {
    let mut log = File::open(path).ok()?;
    let length = log.metadata().ok()?.len();
    log.seek(SeekFrom::Start(length.saturating_sub(TAIL))).ok()?;
    let mut bytes = Vec::new();
    log.take(TAIL).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// Why etcd ended, by its log: message and error of the last line that is worse than a warning, else
/// the head of a panic, else the last plain line. No other field of a structured line, and none that
/// only warns: a slow request is logged with the keys it asks for.
fn last_words(log: &str) -> Option<String> {
    let told = log.lines().rev().find_map(|line| {
        let line: Json = serde_json::from_str(line).ok()?;
        let field = |name: &str| line.get(name).and_then(Json::as_str);
        matches!(field("level")?, "error" | "dpanic" | "panic" | "fatal").then_some(())?;
        let error = field("error").map(|error| format!(": {error}")).unwrap_or_default();
        Some(field("msg")?.to_owned() + &error)
    });
    let plain = || log.lines().rev().map(str::trim).filter(|line| !line.starts_with('{'));
    let heads = ["panic: ", "fatal error: "];
    let panic = || plain().find(|line| heads.iter().any(|head| line.starts_with(head)));
    let said = told
        .or_else(|| panic().or_else(|| plain().find(|line| !line.is_empty())).map(str::to_owned))?;
    last_line(&said.replace(['\n', '\r'], " "))
}

/// What the log says about the time before the start.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct BeforeTheStart {
    pub(crate) commit_index: Option<i64>,
    pub(crate) discarded: i64,
}

/// Reads a log.
pub(crate) fn before_the_start(log: &str) -> BeforeTheStart {
    let mut found = BeforeTheStart::default();
    for line in log.lines().filter_map(|line| serde_json::from_str::<Json>(line).ok()) {
        let number = |field: &str| line.get(field).and_then(Json::as_i64);
        match line.get("msg").and_then(Json::as_str) {
            Some("discarding uncommitted WAL entries") => {
                found.discarded = number("number-of-discarded-entries").unwrap_or(0);
                found.commit_index = number("commit-index-from-wal").or(found.commit_index);
            }
            Some("forcing restart member") => {
                let index = number("wal-commit-index").or_else(|| number("commit-index"));
                found.commit_index = found.commit_index.or(index);
            }
            _ => {}
        }
    }
    found
}

/// The path of a copy that is made only to hash a snapshot.
pub(crate) fn hashing(dir: &Path, name: &str) -> Copy {
    Copy {
        name: name.into(),
        data: dir.join("data"),
        wal: None,
        log: dir.with_extension("log"),
        lock: dir.with_extension("lock"),
        force: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_tells_what_the_forced_start_discarded() {
        let log = r#"{"level":"info","msg":"discarding uncommitted WAL entries","entry-index":708,"commit-index-from-wal":707,"number-of-discarded-entries":1}
            not json
            {"level":"info","msg":"forcing restart member","cluster-id":"a","local-member-id":"b","wal-commit-index":707,"commit-index":709}"#;
        assert_eq!(before_the_start(log), BeforeTheStart { commit_index: Some(707), discarded: 1 });
        let log = r#"{"msg":"forcing restart member","commit-index":709}"#;
        assert_eq!(before_the_start(log), BeforeTheStart { commit_index: Some(709), discarded: 0 });
    }

    #[test]
    fn the_log_tells_why_it_ended() {
        let check = |log: &str, told: Option<&str>| assert_eq!(last_words(log).as_deref(), told);
        let fatal = r#"{"level":"info","msg":"starting"}
            {"level":"fatal","caller":"etcdmain/etcd.go:204","msg":"discovery failed","error":"wal: crc mismatch","stacktrace":"go.etcd.io"}
            goroutine 1 [running]:"#;
        check(fatal, Some("discovery failed: wal: crc mismatch"));
        let panic = "{\"level\":\"warn\",\"msg\":\"slow\"}\npanic: freepages: failed to get all\n\ngoroutine 1 [running]:\nmain.main()";
        check(panic, Some("panic: freepages: failed to get all"));
        check(
            "flag provided but not defined: -enable-v2\n\n",
            Some("flag provided but not defined: -enable-v2"),
        );
        check(
            &format!(r#"{{"level":"panic","msg":"a\nb{}"}}"#, "x".repeat(500)),
            Some(&format!("a b{}", "x".repeat(297))),
        );
        check("\n \n", None);
        check(r#"{"level":"warn","msg":"slow","request":"key:\"secret\""}"#, None);
    }
}
