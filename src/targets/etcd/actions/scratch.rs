//! `etcd.scratch_*`: a copy of a member's data runs alone on loopback to be read, and is thrown away.

use std::{
    fs,
    time::{Duration, Instant},
};

use crate::{
    domain::{
        etcd::evidence::{Process, Status},
        inventory::Cluster,
        rules::{
            action::{ActionSpec, Changes, Done, ErrorKind, Failure, OnResume, Probed},
            expr::{Type, Value},
        },
    },
    targets::{
        action::{Action, Doing, ID, On, done, member},
        etcd::scratch::{Copy, POLL, before_the_start, leading},
        host::{
            files::{self, blocking, exists},
            places::Places,
        },
    },
};

/// How long a probe waits for the answer of one that runs: less than a step has to ask.
const ANSWERS: Duration = Duration::from_secs(20);

/// `etcd.scratch_start`.
#[derive(Debug)]
pub(super) struct ScratchStart(ActionSpec);

impl ScratchStart {
    pub(super) fn new() -> Self {
        Self(ActionSpec {
            args: vec![member()],
            output: Type::record([
                ("pid", Type::Int),
                ("endpoint", Type::Str),
                ("cluster_id", ID),
                ("revision", Type::Int),
                ("commit_index", Type::Int),
                ("discarded", Type::Int),
            ]),
            undo: Some("etcd.scratch_stop"),
            ..ActionSpec::new(
                "etcd.scratch_start",
                Changes::OwnFiles,
                OnResume::Probe,
                "Starts the scratch copy of a stopped member alone on loopback, to be read and thrown away.",
            )
        })
    }
}

impl Action for ScratchStart {
    fn spec(&self) -> &ActionSpec {
        &self.0
    }

    fn act<'a>(&'a self, on: On<'a>, _before: &'a Value) -> Doing<'a, Done> {
        Box::pin(start(on))
    }

    fn probe<'a>(&'a self, on: On<'a>, _before: &'a Value) -> Doing<'a, Probed> {
        Box::pin(started_before(on))
    }

    fn commands(&self, on: On<'_>) -> Vec<String> {
        let Ok(places) = on.places() else { return Vec::new() };
        vec![format!(
            "{} --force-new-cluster --data-dir={} [loopback]",
            on.cluster.etcd.tools.etcd.display(),
            places.copied_data("scratch").display()
        )]
    }
}

/// `etcd.scratch_stop`.
#[derive(Debug)]
pub(super) struct ScratchStop(ActionSpec);

impl ScratchStop {
    pub(super) fn new() -> Self {
        Self(ActionSpec {
            args: vec![member()],
            ..ActionSpec::new(
                "etcd.scratch_stop",
                Changes::OwnFiles,
                OnResume::Rerun,
                "Ends the member's scratch process and removes the scratch copy.",
            )
        })
    }
}

impl Action for ScratchStop {
    fn spec(&self) -> &ActionSpec {
        &self.0
    }

    fn act<'a>(&'a self, on: On<'a>, _before: &'a Value) -> Doing<'a, Done> {
        Box::pin(stop(on))
    }

    fn commands(&self, on: On<'_>) -> Vec<String> {
        let Ok(places) = on.places() else { return Vec::new() };
        vec![format!("rm -r {}", places.backups().join("scratch").display())]
    }
}

async fn stop(on: On<'_>) -> Result<Done, Failure> {
    let places = on.places()?;
    let copy = Copy::of(&places, on.member()?.name.as_str());
    let ended = copy.end().await?;
    let dir = places.backups().join("scratch");
    let last = copy.lock().await?; // a process that is still ending holds it
    let removed = blocking(move |_| files::remove_own(&dir)).await?;
    drop(last);
    Ok(done(ended || removed))
}

async fn start(on: On<'_>) -> Result<Done, Failure> {
    let (cluster, member, places) = (on.cluster, on.member()?, on.places()?);
    let copy = Copy::of(&places, member.name.as_str());
    if let Some(done) = answering(cluster, &copy, false).await {
        return Ok(done);
    }
    // One that runs and does not lead itself is a leftover of a try that was cut off.
    copy.end().await?;
    if !exists(&copy.data.join("member"))? {
        let message = format!("there is no scratch copy of {}", member.name);
        return Err(Failure::new(ErrorKind::NotFound, message));
    }
    let started = copy.start(cluster, copy.lock().await?).await;
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
    Failure { message, ..failure.clone() }
}

/// Asks whether an earlier start took effect. The effect is the process alone: it is ours, and what
/// it runs on is thrown away, so that here its absence is the finding.
async fn started_before(on: On<'_>) -> Result<Probed, Failure> {
    let cluster = on.cluster;
    let copy = Copy::of(&on.places()?, on.member()?.name.as_str());
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

#[cfg(test)]
mod tests {
    use std::{os::unix::fs::PermissionsExt as _, sync::Arc};

    use super::*;
    use crate::{
        domain::inventory::Tools,
        targets::testing::{mk_call, mk_cluster},
    };

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
        let cluster = Arc::new(cluster);
        let places = Places::new(&cluster, cluster.member("m2").unwrap(), call.run);
        fs::create_dir_all(places.copied_data("scratch").join("member")).unwrap();
        let failure = start(On { cluster: &cluster, call: &call }).await.unwrap_err();
        assert_eq!(failure.kind, ErrorKind::Tool);
        let log = places.backups().join("scratch.log").display().to_string();
        let away = format!("move {} away", places.data_dir.join("member").display());
        for told in ["the copy of m2", "cannot be repaired: walpb: crc mismatch", &log, &away] {
            assert!(failure.message.contains(told), "{told}: {}", failure.message);
        }
    }
}
