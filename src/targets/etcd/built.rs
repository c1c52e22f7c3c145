//! The cluster that a run built, as the run noted it beside the member's data: membership changes of
//! the run go to that cluster and no other, also when the old one came back at the same addresses.

use std::path::PathBuf;

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

/// The id of the cluster that this run built, if it built one.
pub(crate) fn built(cluster: &Cluster, call: &Call) -> Option<EtcdId> {
    cluster.etcd.members.iter().find_map(|member| {
        let note = note_of(&Places::new(cluster, member, call.run));
        EtcdId::parse(std::fs::read_to_string(note).ok()?.trim())
    })
}
