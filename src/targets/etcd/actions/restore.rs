//! `etcd.restore`: a snapshot becomes a one-member data directory beside the old one.

use std::path::Path;

use crate::{
    domain::rules::{
        action::{ActionSpec, ArgType, Changes, Done, ErrorKind, Failure, OnResume},
        expr::{Type, Value},
    },
    targets::{
        action::{Action, Doing, ID, On, arg, member},
        etcd::{
            built::note,
            tool::{self, Restore},
        },
        host::{
            files::{self, blocking, exists},
            places::{Places, place},
            run::BULK,
            service::must_be_gone,
        },
    },
};

/// `etcd.restore`.
#[derive(Debug)]
pub(super) struct RestoreSnapshot(ActionSpec);

impl RestoreSnapshot {
    pub(super) fn new() -> Self {
        Self(ActionSpec {
            args: vec![
                member(),
                arg("snapshot", ArgType::Path, "A snapshot that etcd.snapshot took."),
                arg("to", ArgType::Place, "new."),
                arg(
                    "bump",
                    ArgType::Int,
                    "Added to the revision, so that no client's cache is ahead.",
                ),
            ],
            output: Type::record([
                ("path", Type::Str),
                ("member_id", ID),
                ("cluster_id", ID),
                ("revision", Type::Int),
            ]),
            builds: true,
            timeout: BULK,
            ..ActionSpec::new(
                "etcd.restore",
                Changes::OwnFiles,
                OnResume::Rerun,
                "Builds a one-member data directory from a snapshot, beside the old one; its token is the run's id.",
            )
        })
    }
}

impl Action for RestoreSnapshot {
    fn spec(&self) -> &ActionSpec {
        &self.0
    }

    fn act<'a>(&'a self, on: On<'a>, _before: &'a Value) -> Doing<'a, Done> {
        Box::pin(restore(on))
    }

    fn commands(&self, on: On<'_>) -> Vec<String> {
        let (Ok(member), Ok(places)) = (on.member(), on.places()) else { return Vec::new() };
        let snapshot = places.snapshot();
        let (data, wal) = (places.beside("new"), places.wal_beside("new"));
        let token = on.call.run.to_string();
        let restore = Restore {
            snapshot: &snapshot,
            name: member.name.as_str(),
            peer: &member.peer,
            token: &token,
            data: &data,
            wal: wal.as_deref(),
            bump: on.call.int("bump"),
        };
        vec![format!("{} {}", on.cluster.etcd.tools.etcdutl.display(), restore.words().join(" "))]
    }
}

/// Only what this run took on this member is ever restored, whatever an argument says.
pub(super) fn own_snapshot(places: &Places, snapshot: &Path) -> Result<(), Failure> {
    if snapshot != places.snapshot() {
        let message = format!(
            "{} is not the snapshot that this run took, {}",
            snapshot.display(),
            places.snapshot().display()
        );
        return Err(Failure::new(ErrorKind::Invalid, message));
    }
    if exists(snapshot)? {
        Ok(())
    } else {
        Err(Failure::new(ErrorKind::NotFound, format!("{} is not there", snapshot.display())))
    }
}

/// Restores beside the data. The old directory of this place is removed first: it can only be
/// what an earlier try of this run restored and nobody ever started.
async fn restore(on: On<'_>) -> Result<Done, Failure> {
    let On { cluster, call } = on;
    let member = on.member()?;
    let to = place(call, "to", &["new"])?;
    let places = on.places()?;
    let snapshot = Path::new(call.text("snapshot").unwrap_or_default()).to_owned();
    let bump = call.int("bump").filter(|bump| *bump >= 0);
    let bump =
        bump.ok_or_else(|| Failure::new(ErrorKind::Invalid, "bump is no number of revisions"))?;
    must_be_gone(member).await?;
    own_snapshot(&places, &snapshot)?;
    let bump = tool::bumps(cluster).await?.then_some(bump).filter(|bump| *bump > 0);
    let held = tool::snapshot_status(cluster, &snapshot).await?;

    let (dir, wal) = (places.beside(to), places.wal_beside(to));
    if !exists(&places.data_dir.join("member"))? && exists(&dir.join("member"))? {
        // Restored before, and the member's own data moved out since: it may have been started.
        let message = format!(
            "{} holds the only data of {}: it is not made anew",
            dir.display(),
            member.name
        );
        return Err(Failure::new(ErrorKind::Conflict, message));
    }
    let (clean, clean_wal) = (dir.clone(), wal.clone());
    blocking(move |_| {
        files::remove_own(&clean)?;
        clean_wal.as_deref().map_or(Ok(false), files::remove_own)?;
        for parent in
            [Some(&clean), clean_wal.as_ref()].into_iter().flatten().filter_map(|dir| dir.parent())
        {
            files::make_dir(parent)?;
        }
        Ok(())
    })
    .await?;
    let token = call.run.to_string();
    let restore = Restore {
        snapshot: &snapshot,
        name: member.name.as_str(),
        peer: &member.peer,
        token: &token,
        data: &dir,
        wal: wal.as_deref(),
        bump,
    };
    let (member_id, cluster_id) = tool::restore(cluster, &restore).await?;
    let (made, made_wal, home) = (dir.clone(), wal, places.data_dir.clone());
    blocking(move |stop| {
        for path in std::iter::once(&made).chain(&made_wal) {
            files::own_all(path, &home)?;
            files::sync_all(path, stop)?;
        }
        note(&places, cluster_id)
    })
    .await?;
    let fields = [
        ("path", Value::str(dir.to_string_lossy())),
        ("member_id", Value::str(member_id.to_string())),
        ("cluster_id", Value::str(cluster_id.to_string())),
        ("revision", Value::Int(held.revision.saturating_add(bump.unwrap_or(0)))),
    ];
    Ok(Done { output: Value::map(fields), changed: true })
}
