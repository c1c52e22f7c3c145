//! The list of actions, and what every row must have.

use super::*;
use crate::domain::rules::action::Changes;

#[test]
fn the_catalogue_is_this_list() {
    let rows: Vec<String> = catalogue()
        .values()
        .map(|row| {
            let args: Vec<String> = row
                .args
                .iter()
                .map(|arg| format!("{}{}", arg.name, if arg.required { "" } else { "?" }))
                .collect();
            let flags = [
                (row.is_final, " final"),
                (row.holds, " holds"),
                (row.releases, " releases"),
                (row.builds, " builds"),
                (row.fences, " fences"),
                (row.chooses, " chooses"),
                (row.proves, " proves"),
            ];
            let flags: String = flags.iter().filter(|(on, _)| *on).map(|(_, word)| *word).collect();
            let changes = row.changes.label();
            format!("{}({}) {changes}; {:?}{flags}", row.name, args.join(", "), row.on_resume)
        })
        .collect();
    let golden = [
        "etcd.assess() nothing; Rerun",
        "etcd.choose_survivor(among) nothing; Rerun chooses",
        "etcd.compare(cluster_id?, ids?, members?, sentinel_on?) nothing; Rerun proves",
        "etcd.data_copy(member, to) own files; Rerun",
        "etcd.data_in(member, from) data; Probe holds",
        "etcd.data_out(member, to) data; Probe holds fences",
        "etcd.member_add_learner(member) membership; Probe",
        "etcd.member_promote(id) membership; Probe",
        "etcd.member_remove(id) membership; Probe final",
        "etcd.restore(member, snapshot, to, bump) own files; Rerun builds",
        "etcd.scratch_start(member) own files; Probe",
        "etcd.scratch_stop(member) own files; Rerun",
        "etcd.snapshot(member, of?) own files; Rerun",
        "host.file.free_space(member) nothing; Rerun",
        "host.service.mask(member) service; Rerun holds fences",
        "host.service.reset_args(member) service; Rerun",
        "host.service.set_args(member, args) service; Rerun",
        "host.service.start(member) service; Probe releases",
        "host.service.stop(member) service; Probe holds fences",
        "host.service.unmask(member) service; Rerun",
    ];
    assert_eq!(rows, golden);
}

#[test]
fn one_action_chooses_and_one_proves() {
    let all = catalogue();
    assert_eq!(all.values().filter(|row| row.chooses).count(), 1);
    assert_eq!(all.values().filter(|row| row.proves).count(), 1);
}

#[test]
fn every_row_is_complete() {
    let all = catalogue();
    for row in all.values() {
        assert!(row.help.ends_with('.'), "{} has no sentence", row.name);
        assert!(
            row.args.iter().all(|arg| arg.help.ends_with('.')),
            "{}: an argument lacks help",
            row.name
        );
        assert!(row.timeout >= std::time::Duration::from_secs(30), "{}", row.name);
        assert!(row.undo.is_none_or(|undo| all.contains_key(undo)), "{}: no such undo", row.name);
        let reads = row.changes == Changes::Nothing;
        assert!(!(reads && (row.fences || row.holds || row.is_final)), "{}", row.name);
        assert!(!(row.chooses || row.proves) || reads, "{} judges what it changed", row.name);
        assert!(!row.fences || row.holds, "{} fences what it does not hold", row.name);
    }
}
