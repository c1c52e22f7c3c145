//! `etcd.scratch_*`: a copy of a member's data, started alone on loopback to be read.
//!
//! The process is found again by its own arguments: nothing has to be remembered over a restart.
//! It is ours alone and holds a throw-away copy, so it may be ended by force; a member never is.

use std::{
    fs::{self, File},
    io::{Read as _, Seek as _, SeekFrom},
    net::TcpListener,
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use serde_json::Value as Json;

use super::client::Api;
use crate::{
    domain::{
        etcd::evidence::{Process, Status},
        inventory::Cluster,
        rules::{
            action::{Call, Done, ErrorKind, Failure, Probed},
            expr::Value,
        },
    },
    targets::host::{
        files::{self, blocking, exists},
        places::{Places, member},
        process,
        run::last_line,
    },
};

/// How long a copy may take until it leads itself: it replays its log first.
const READY: Duration = Duration::from_secs(45);
/// How long a probe waits for the answer of one that runs: less than a step has to ask.
const ANSWERS: Duration = Duration::from_secs(20);
/// How long it may take to go after SIGTERM.
const GONE: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(50);
/// Bytes of a log's end that are searched for why it ended: a panic's trace stands behind it.
const TAIL: u64 = 64 * 1024;

/// A directory that is started to be read.
#[derive(Clone, Debug)]
pub(crate) struct Copy {
    pub(crate) name: String,
    pub(crate) data: PathBuf,
    pub(crate) wal: Option<PathBuf>,
    pub(crate) log: PathBuf,
    /// Whether it was a member of a larger cluster and must be told that it is alone.
    pub(crate) force: bool,
}

impl Copy {
    fn of(places: &Places, name: &str) -> Self {
        Self {
            name: name.into(),
            data: places.copied_data("scratch"),
            wal: places.copied_wal("scratch"),
            log: places.backups().join("scratch.log"),
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

    /// Starts it and waits until it leads itself.
    pub(crate) async fn start(
        &self,
        cluster: &Cluster,
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
        let spawned = tokio::process::Command::new(etcd)
            .args(&args)
            // Options in our own environment must not become the copy's.
            .env_clear()
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            .process_group(0)
            .spawn();
        let mut child = spawned.map_err(|error| {
            let message = format!(
                "{} cannot be started: {error}. Install it, or correct etcd.tools.etcd",
                etcd.display()
            );
            Failure::new(ErrorKind::Tool, message)
        })?;
        let deadline = Instant::now() + READY;
        loop {
            if matches!(child.try_wait(), Ok(Some(_))) {
                return Err(self.failed(ErrorKind::Tool, "ended at once"));
            }
            if let Some(status) = leading(cluster, &client).await
                && let Some((process, _)) = self.running()
            {
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
async fn leading(cluster: &Cluster, endpoint: &str) -> Option<Status> {
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

/// Where a member's scratch copy answers.
pub(crate) fn endpoint(places: &Places, name: &str) -> Result<String, Failure> {
    let found = Copy::of(places, name).running().map(|(_, endpoint)| endpoint);
    found.ok_or_else(|| {
        Failure::new(ErrorKind::Unavailable, format!("the scratch copy of {name} does not run"))
    })
}

/// Does it.
pub(crate) async fn act(cluster: &Arc<Cluster>, call: &Call) -> Result<Done, Failure> {
    let member = member(cluster, call)?;
    let places = Places::new(cluster, member, call.run);
    let copy = Copy::of(&places, member.name.as_str());
    if call.action == "etcd.scratch_stop" {
        let ended = copy.end().await?;
        let dir = places.backups().join("scratch");
        let removed = blocking(move |_| files::remove_own(&dir)).await?;
        return Ok(Done { output: Value::map::<&str>([]), changed: ended || removed });
    }
    if let Some(done) = answering(cluster, &copy, false).await {
        return Ok(done);
    }
    // One that runs and does not lead itself is a leftover of a try that was cut off.
    copy.end().await?;
    if !exists(&copy.data.join("member"))? {
        let message = format!("there is no scratch copy of {}", member.name);
        return Err(Failure::new(ErrorKind::NotFound, message));
    }
    let started = copy.start(cluster).await;
    let (process, endpoint, status) = started.map_err(|failure| way_out(&failure, &places))?;
    Ok(output(&copy, &process, &endpoint, &status, true))
}

/// Adds what to do where the data itself is why its copy does not start.
fn way_out(failure: &Failure, places: &Places) -> Failure {
    let member = places.data_dir.join("member");
    let message = format!(
        "{}. If that says the data is broken for good, move {} away: the next attempt goes on without it",
        failure.message,
        member.display()
    );
    Failure::new(failure.kind, message)
}

/// Asks whether an earlier start took effect. The effect is the process alone: it is ours, and what
/// it runs on is thrown away, so that here its absence is the finding.
pub(crate) async fn probe(cluster: &Cluster, call: &Call) -> Result<Probed, Failure> {
    let member = member(cluster, call)?;
    let copy = Copy::of(&Places::new(cluster, member, call.run), member.name.as_str());
    let deadline = Instant::now() + ANSWERS;
    loop {
        if let Some(done) = answering(cluster, &copy, true).await {
            return Ok(Probed::Done(done));
        }
        let Some((process, endpoint)) = copy.running() else {
            return Ok(Probed::not_done(format!("no process runs on {}", copy.data.display())));
        };
        if Instant::now() >= deadline {
            return Ok(Probed::Unknown(format!(
                "the copy of {} runs as process {} and does not answer on {endpoint}",
                copy.name, process.pid
            )));
        }
        tokio::time::sleep(POLL).await;
    }
}

async fn answering(cluster: &Cluster, copy: &Copy, changed: bool) -> Option<Done> {
    let (process, endpoint) = copy.running()?;
    let status = leading(cluster, &endpoint).await?;
    Some(output(copy, &process, &endpoint, &status, changed))
}

fn output(copy: &Copy, process: &Process, endpoint: &str, status: &Status, changed: bool) -> Done {
    let log = fs::read_to_string(&copy.log).unwrap_or_default();
    let before = before_the_start(&log);
    let commit = before.commit_index.map(|index| ("commit_index", Value::Int(index)));
    let fields = [
        ("pid", Value::Int(process.pid.into())),
        ("endpoint", Value::str(endpoint)),
        ("cluster_id", Value::str(status.cluster_id.to_string())),
        ("revision", Value::Int(status.revision)),
        ("discarded", Value::Int(before.discarded)),
    ];
    Done { output: Value::map(fields.into_iter().chain(commit)), changed }
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
struct BeforeTheStart {
    commit_index: Option<i64>,
    discarded: i64,
}

fn before_the_start(log: &str) -> BeforeTheStart {
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
        force: false,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::{
        domain::inventory::Tools,
        targets::testing::{mk_call, mk_cluster},
    };

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

    /// Rows: E13.
    #[tokio::test]
    async fn a_copy_of_broken_data_names_the_reason_and_the_way_out() {
        let dir = tempfile::tempdir().unwrap();
        let etcd = dir.path().join("etcd");
        let line = r#"{"level":"fatal","msg":"failed to read WAL, cannot be repaired","error":"walpb: crc mismatch"}"#;
        fs::write(&etcd, format!("#!/bin/sh\necho '{line}'\nexit 1\n")).unwrap();
        fs::set_permissions(&etcd, fs::Permissions::from_mode(0o755)).unwrap();
        let tools = Tools { etcd, etcdutl: "/nowhere/etcdutl".into() };
        let mut cluster = mk_cluster(dir.path(), &[1, 2, 3, 4, 5, 6], tools);
        cluster.etcd.scratch_ports = 20000..=29999;
        let call = mk_call("etcd.scratch_start", &[("member", Value::str("m2"))]);
        let places = Places::new(&cluster, cluster.member("m2").unwrap(), call.run);
        fs::create_dir_all(places.copied_data("scratch").join("member")).unwrap();
        let failure = act(&Arc::new(cluster), &call).await.unwrap_err();
        assert_eq!(failure.kind, ErrorKind::Tool);
        let log = places.backups().join("scratch.log").display().to_string();
        let away = format!("move {} away", places.data_dir.join("member").display());
        for told in ["the copy of m2", "cannot be repaired: walpb: crc mismatch", &log, &away] {
            assert!(failure.message.contains(told), "{told}: {}", failure.message);
        }
    }
}
