//! The list of actions, and what every row must have.

use super::*;

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
            let flags =
                [(row.holds, " holds"), (row.releases, " releases"), (row.fences, " fences")];
            let flags: String = flags.iter().filter(|(on, _)| *on).map(|(_, word)| *word).collect();
            format!("{}({}) {:?} {:?}{flags}", row.name, args.join(", "), row.class, row.on_resume)
        })
        .collect();
    let golden = [
        "etcd.assess() Read Rerun",
        "etcd.choose_survivor(among) Read Rerun",
        "etcd.compare(cluster_id?, ids?, members?, sentinel_on?) Read Rerun",
        "etcd.data_copy(member, to) Write Rerun",
        "etcd.data_in(member, from) Write Probe holds",
        "etcd.data_out(member, to) Write Probe holds fences",
        "etcd.member_add_learner(member) Write Probe",
        "etcd.member_promote(id) Write Probe",
        "etcd.member_remove(id) Final Probe",
        "etcd.restore(member, snapshot, to, bump) Write Rerun",
        "etcd.scratch_start(member) Write Probe",
        "etcd.scratch_stop(member) Write Rerun",
        "etcd.snapshot(member, of?) Write Rerun",
        "host.file.free_space(member) Read Rerun",
        "host.service.mask(member) Write Rerun holds fences",
        "host.service.reset_args(member) Write Rerun",
        "host.service.set_args(member, args) Write Rerun",
        "host.service.start(member) Write Probe releases",
        "host.service.stop(member) Write Probe holds fences",
        "host.service.unmask(member) Write Rerun",
    ];
    assert_eq!(rows, golden);
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
        assert!(row.timeout >= READ, "{}", row.name);
        assert!(row.undo.is_none_or(|undo| all.contains_key(undo)), "{}: no such undo", row.name);
        assert!(!(row.class == Class::Read && (row.fences || row.holds)), "{}", row.name);
        assert!(!row.fences || row.holds, "{} fences what it does not hold", row.name);
    }
}
