//! The exact commands of a call, for a person who approves: what they would type to do the same.
//!
//! An argument that an earlier step will give stands as `<…>`, and so does what follows from it.

use super::host::places::Places;
use crate::domain::{
    inventory::{Cluster, Member},
    rules::{action::Call, expr::Value},
};

/// The commands, in order. A read has none.
pub(crate) fn commands(cluster: &Cluster, call: &Call) -> Vec<String> {
    let known = call.text("member").and_then(|name| cluster.member(name));
    match known {
        Some(member) => of_member(cluster, call, member),
        None => of_others(call),
    }
}

fn of_member(cluster: &Cluster, call: &Call, member: &Member) -> Vec<String> {
    let places = Places::new(cluster, member, call.run);
    let to = call.text("to").or_else(|| call.text("from")).unwrap_or("<place>");
    let service = &member.service;
    let line = |argv: &[String]| vec![argv.join(" ")];
    let moves = |out: bool| {
        let parts = places.parts(to).into_iter();
        parts.map(move |part| {
            let (from, to) = if out { (part.home, part.kept) } else { (part.kept, part.home) };
            format!("mv {} {}", from.display(), to.display())
        })
    };
    match call.action.as_str() {
        "host.service.start" => vec![format!("{} [arguments in force]", service.start.join(" "))],
        "host.service.stop" => line(&service.stop),
        "host.service.mask" => service.mask.iter().map(|argv| argv.join(" ")).collect(),
        "host.service.unmask" => service.unmask.iter().map(|argv| argv.join(" ")).collect(),
        "host.service.set_args" => {
            vec![format!("write {}: {}", places.args_file().display(), given(call))]
        }
        "host.service.reset_args" => vec![format!("rm {}", places.args_file().display())],
        "etcd.snapshot" => {
            let from =
                if call.text("of") == Some("scratch") { "<scratch copy>" } else { &member.client };
            vec![format!(
                "etcdctl --endpoints {from} snapshot save {}",
                places.snapshot().display()
            )]
        }
        "etcd.scratch_start" => {
            let data = places.copied_data("scratch");
            vec![format!(
                "{} --force-new-cluster --data-dir={} [loopback]",
                cluster.etcd.tools.etcd.display(),
                data.display()
            )]
        }
        "etcd.scratch_stop" => {
            vec![format!("rm -r {}", places.backups().join("scratch").display())]
        }
        "etcd.data_out" => moves(true).collect(),
        "etcd.data_in" => moves(false).collect(),
        "etcd.data_copy" => {
            vec![format!(
                "cp -a {} {}",
                places.data_dir.display(),
                places.copied_data(to).display()
            )]
        }
        "etcd.restore" => vec![restore(cluster, call, member, &places)],
        "etcd.member_add_learner" => {
            vec![format!(
                "etcdctl member add {} --learner --peer-urls={}",
                member.name, member.peer
            )]
        }
        _ => Vec::new(),
    }
}

fn restore(cluster: &Cluster, call: &Call, member: &Member, places: &Places) -> String {
    let snapshot = places.snapshot();
    let (data, wal) = (places.beside("new"), places.wal_beside("new"));
    let token = call.run.to_string();
    let restore = super::etcd::tool::Restore {
        snapshot: &snapshot,
        name: member.name.as_str(),
        peer: &member.peer,
        token: &token,
        data: &data,
        wal: wal.as_deref(),
        bump: call.int("bump"),
    };
    format!("{} {}", cluster.etcd.tools.etcdutl.display(), restore.words().join(" "))
}

fn given(call: &Call) -> String {
    let args = call.args.get("args").and_then(Value::as_map).into_iter().flatten();
    let words =
        args.map(|(name, value)| format!("--{name}={}", value.to_text().unwrap_or_default()));
    words.collect::<Vec<_>>().join(" ")
}

fn of_others(call: &Call) -> Vec<String> {
    let id = call.text("id").unwrap_or("<id>");
    match call.action.as_str() {
        "etcd.member_promote" => vec![format!("etcdctl member promote {id}")],
        "etcd.member_remove" => vec![format!("etcdctl member remove {id}")],
        "etcd.assess" | "etcd.choose_survivor" | "etcd.compare" | "host.file.free_space" => {
            Vec::new()
        }
        other => vec![format!("{other} {}", call.text("member").unwrap_or("<member>"))],
    }
}
