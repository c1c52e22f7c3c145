//! `etcd.snapshot`: the one way data is read for a recovery.
//!
//! `Maintenance.Snapshot` is served from applied state and needs no leader. The stream ends in a
//! SHA-256 of itself; only a file that matches it, and that etcdutl can read, gets its name. Never
//! is `member/snap/db` read: it lags by what was not flushed.

use std::{path::Path, time::Duration};

use sha2::{Digest, Sha256};
use tokio::io::AsyncWriteExt as _;

use crate::{
    domain::{
        etcd::evidence::Status,
        rules::{
            action::{ActionSpec, ArgType, Changes, Done, ErrorKind, Failure, OnResume},
            expr::{Type, Value},
        },
    },
    targets::{
        action::{Action, Doing, ID, On, member, optional},
        etcd::{
            client::{Api, RAFT, Trouble, within},
            scratch, tool,
        },
        host::{
            copy::hex,
            files::{self, blocking},
            run::BULK,
        },
    },
};

/// How long the stream may pause.
const PAUSE: Duration = Duration::from_secs(30);
/// Length of the SHA-256 that ends the stream.
const SUM: usize = 32;

/// `etcd.snapshot`.
#[derive(Debug)]
pub(super) struct Snapshot(ActionSpec);

impl Snapshot {
    pub(super) fn new() -> Self {
        Self(ActionSpec {
            args: vec![
                member(),
                optional(
                    "of",
                    ArgType::Word(&["member", "scratch"]),
                    "Which process is read: the member itself (default) or its scratch copy.",
                ),
            ],
            output: Type::record([
                ("path", Type::Str),
                ("revision", Type::Int),
                ("hash", Type::Str),
                ("keys", Type::Int),
                ("bytes", Type::Int),
                ("sha256", Type::Str),
                ("of", Type::Str),
                ("member_id", ID),
                ("cluster_id", ID),
                ("version", Type::Str),
                ("index", Type::Int),
                ("term", Type::Int),
                ("hash_kv", Type::Int),
                ("compact_revision", Type::Int),
                ("why_not", Type::Str),
            ]),
            timeout: BULK,
            ..ActionSpec::new(
                "etcd.snapshot",
                Changes::OwnFiles,
                OnResume::Rerun,
                "Takes a snapshot through the member's API, without needing a leader, and verifies it.",
            )
        })
    }
}

impl Action for Snapshot {
    fn spec(&self) -> &ActionSpec {
        &self.0
    }

    fn act<'a>(&'a self, on: On<'a>, _before: &'a Value) -> Doing<'a, Done> {
        Box::pin(take(on))
    }

    fn commands(&self, on: On<'_>) -> Vec<String> {
        let (Ok(member), Ok(places)) = (on.member(), on.places()) else { return Vec::new() };
        let scratch = on.call.text("of") == Some("scratch");
        let from = if scratch { "<scratch copy>" } else { &member.client };
        let to = places.snapshot();
        vec![format!("etcdctl --endpoints {from} snapshot save {}", to.display())]
    }
}

/// Takes and verifies it.
async fn take(on: On<'_>) -> Result<Done, Failure> {
    let On { cluster, call } = on;
    let (member, places) = (on.member()?, on.places()?);
    let of = call.text("of").unwrap_or("member");
    let scratch = of == "scratch";
    let url = if scratch {
        scratch::endpoint(cluster, &places, member.name.as_str()).await?
    } else {
        member.client.clone()
    };
    // Too old a tool is better known before anybody is stopped.
    tool::bumps(cluster).await?;
    let what = format!("taking a snapshot of {}", member.name);
    let failed = |trouble: Trouble| trouble.failure(&what);
    // A member without quorum cannot sign anybody in; its copy leads itself and can.
    let mut api = Api::connect(&cluster.etcd, &url, scratch, RAFT).await.map_err(failed)?;
    let status = api.status().await.map_err(failed)?;

    let path = places.snapshot();
    let partial = path.with_extension("partial");
    let (dir, stale) = (places.backups().to_owned(), partial.clone());
    blocking(move |_| {
        files::make_dir(&dir)?;
        // A write of an earlier try that is still under way must not land in the new file.
        files::remove_own(&stale)
    })
    .await?;
    let finished = async {
        let (sha256, bytes) = stream(&mut api, &partial, &what).await?;
        let held = tool::snapshot_status(cluster, &partial).await?;
        let (hash_kv, compact_revision) =
            api.hash_kv(held.revision, &status).await.map_err(failed)?;
        Ok((sha256, bytes, held, hash_kv, compact_revision))
    };
    let finished = finished.await;
    let (from, to) = (partial, path.clone());
    let succeeded = finished.is_ok();
    blocking(move |_| {
        if !succeeded {
            return files::remove_own(&from).map(drop);
        }
        files::remove_own(&to)?;
        files::rename(&from, &to)
    })
    .await?;
    let (sha256, bytes, held, hash_kv, compact_revision) = finished?;
    let int = |number: u64| Value::Int(i64::try_from(number).unwrap_or(i64::MAX));
    let why_not = why_not(&status, scratch).map(|why| ("why_not", Value::str(why)));
    let fields = [
        ("path", Value::str(path.to_string_lossy())),
        ("revision", Value::Int(held.revision)),
        ("hash", Value::str(held.hash)),
        ("keys", Value::Int(held.keys)),
        ("bytes", int(bytes)),
        ("sha256", Value::str(sha256)),
        ("of", Value::str(of)),
        ("member_id", Value::str(status.member_id.to_string())),
        ("cluster_id", Value::str(status.cluster_id.to_string())),
        ("version", Value::str(status.version)),
        ("index", int(status.applied_index)),
        ("term", int(status.raft_term)),
        ("hash_kv", Value::Int(hash_kv)),
        ("compact_revision", Value::Int(compact_revision)),
    ];
    Ok(Done { output: Value::map(fields.into_iter().chain(why_not)), changed: true })
}

/// Why this member's data may not become the cluster's.
fn why_not(status: &Status, scratch: bool) -> Option<&'static str> {
    if status.errors.iter().any(|error| error.contains("CORRUPT")) {
        return Some("it raised a CORRUPT alarm");
    }
    (status.learner && !scratch).then_some("it is a learner")
}

/// Writes the stream to a file; the file's SHA-256 and length.
async fn stream(api: &mut Api, to: &Path, what: &str) -> Result<(String, u64), Failure> {
    let failed = |trouble: Trouble| trouble.failure(what);
    let unwritten = |error: std::io::Error| files::failure("writing", to, &error);
    let file = tokio::fs::File::create(to).await.map_err(unwritten)?;
    let mut file = tokio::io::BufWriter::with_capacity(1 << 20, file);
    let mut chunks = within(RAFT, api.client().snapshot()).await.map_err(failed)?;
    let (mut whole, mut body, mut tail, mut bytes) = (Sha256::new(), Sha256::new(), Vec::new(), 0);
    while let Some(chunk) = within(PAUSE, chunks.message()).await.map_err(failed)? {
        let blob = chunk.blob();
        file.write_all(blob).await.map_err(unwritten)?;
        whole.update(blob);
        bytes += blob.len() as u64;
        tail.extend_from_slice(blob);
        let settled = tail.len().saturating_sub(SUM);
        body.update(&tail[..settled]);
        tail.drain(..settled);
    }
    file.flush().await.map_err(unwritten)?;
    file.into_inner().sync_all().await.map_err(unwritten)?;
    if tail.len() != SUM || body.finalize()[..] != tail[..] {
        let message = format!("{what}: the {bytes} bytes that came do not match their checksum");
        return Err(Failure::new(ErrorKind::Unavailable, message));
    }
    Ok((hex(&whole.finalize()), bytes))
}
