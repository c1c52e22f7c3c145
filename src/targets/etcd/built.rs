//! The cluster that a run built, as the run noted it beside the member's data: membership changes of
//! the run go to that cluster and no other, also when the old one came back at the same addresses.

use std::{
    io::ErrorKind::{NotADirectory, NotFound},
    path::{Path, PathBuf},
};

use futures::{StreamExt as _, stream::FuturesUnordered};

use crate::{
    domain::{
        base::id::EtcdId,
        inventory::Cluster,
        rules::action::{Call, Failure},
    },
    targets::host::{files, places::Places},
};

/// Where a run notes the id.
fn note_of(places: &Places) -> PathBuf {
    places.beside("cluster_id")
}

/// Notes it.
pub(crate) fn note(places: &Places, id: EtcdId) -> Result<(), Failure> {
    files::write_atomic(&note_of(places), &format!("{id}\n"))
}

/// The id of the cluster that this run built, if it built one. One whose disk does not answer may
/// have the note: then nobody knows, unless another one has it.
pub(crate) async fn built(cluster: &Cluster, call: &Call) -> Result<Option<EtcdId>, Failure> {
    let mut notes: FuturesUnordered<_> = cluster
        .etcd
        .members
        .iter()
        .map(|member| {
            let note = note_of(&Places::new(cluster, member, call.run));
            files::looked(&member.data_dir, cluster.probe_timeout, move |_| noted(&note))
        })
        .collect();
    let mut untold = None;
    while let Some(note) = notes.next().await {
        match note {
            Ok(Some(id)) => return Ok(Some(id)),
            Ok(None) => {}
            Err(failure) => untold = Some(failure),
        }
    }
    untold.map_or(Ok(None), Err)
}

fn noted(note: &Path) -> Result<Option<EtcdId>, Failure> {
    match std::fs::read_to_string(note) {
        Ok(text) => Ok(EtcdId::parse(text.trim())),
        Err(error) if matches!(error.kind(), NotFound | NotADirectory) => Ok(None),
        Err(error) => Err(files::failure("reading", note, &error)),
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, time::Duration};

    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::*;
    use crate::targets::testing::{mk_call, mk_cluster, no_tools};

    /// Rows: E6, E20.
    #[tokio::test]
    async fn a_disk_that_hangs_hides_no_note_of_another_one_and_proves_none() {
        let dir = tempfile::tempdir().unwrap();
        let mut cluster = mk_cluster(dir.path(), &[1, 2, 3, 4, 5, 6], no_tools());
        cluster.probe_timeout = Duration::from_millis(200);
        let call = mk_call("etcd.member_promote", &[]);
        assert_eq!(built(&cluster, &call).await, Ok(None));
        let places = |n: usize| Places::new(&cluster, &cluster.etcd.members[n], call.run);
        let hangs = note_of(&places(0));
        fs::create_dir_all(hangs.parent().unwrap()).unwrap();
        // nobody writes to it: opening it waits
        mknodat(CWD, &hangs, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        assert!(built(&cluster, &call).await.is_err(), "it may have the note");
        note(&places(1), EtcdId(7)).unwrap();
        assert_eq!(built(&cluster, &call).await, Ok(Some(EtcdId(7))));
        fs::File::options().write(true).open(&hangs).unwrap(); // its reader goes on
    }
}
