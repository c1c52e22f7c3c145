//! Copies, snapshots, the choice and the restore.

use std::collections::BTreeMap;

use super::{done, idle, machine, name, path, place, refused};
use crate::{
    domain::{
        base::id::{EtcdId, MemberName},
        rules::{
            action::{Call, Done, ErrorKind, Failure, Probed},
            expr::Value,
        },
    },
    sim::world::{Data, Entry, VERSION, World},
    targets::etcd::choose::{self, HashAt},
};

pub(super) fn hash(data: &Data) -> i64 {
    data.history * 1_000_003 + data.revision
}

pub(super) fn snapshot(world: &mut World, call: &Call) -> Result<Done, Failure> {
    let of = call.text("of").unwrap_or("member");
    let machine = machine(world, call)?;
    let speaks = machine.process.as_ref().is_some_and(|process| !process.silent);
    let read = if of == "scratch" {
        machine.scratch.and(machine.places.get("scratch"))
    } else {
        machine.data.as_ref().filter(|_| speaks)
    };
    let data =
        read.cloned().ok_or_else(|| refused(ErrorKind::Unavailable, "it does not answer"))?;
    machine.places.insert(format!("/snapshot/{}", name(call)), data.clone());
    Ok(Done {
        output: Value::map([
            ("path", Value::str(format!("/snapshot/{}", name(call)))),
            ("revision", Value::Int(data.revision)),
            ("hash", Value::str(format!("{:08x}", hash(&data)))),
            ("keys", Value::Int(data.revision)),
            ("bytes", Value::Int(20_480)),
            ("sha256", Value::str("00".repeat(32))),
            ("of", Value::str(of)),
            ("member_id", Value::str(data.id.to_string())),
            ("cluster_id", Value::str(data.cluster_id.to_string())),
            ("version", Value::str(VERSION)),
            ("index", Value::Int(data.revision + 7)),
            ("term", Value::Int(2)),
            ("hash_kv", Value::Int(hash(&data))),
            ("compact_revision", Value::Int(-1)),
        ]),
        changed: true,
    })
}

fn scratch_output(pid: u32, data: &Data) -> Done {
    let fields = [
        ("pid", Value::Int(pid.into())),
        ("endpoint", Value::str("http://127.0.0.1:23790")),
        ("cluster_id", Value::str(data.cluster_id.to_string())),
        ("revision", Value::Int(data.revision)),
        ("commit_index", Value::Int(data.revision + 7)),
        ("discarded", Value::Int(0)),
    ];
    done(fields, true)
}

pub(super) fn scratch_start(world: &mut World, call: &Call) -> Result<Done, Failure> {
    let pid = world.fresh();
    let machine = idle(world, call)?;
    let data = machine.places.get("scratch").cloned();
    let data = data.ok_or_else(|| refused(ErrorKind::NotFound, "there is no scratch copy"))?;
    machine.scratch = Some(pid);
    Ok(scratch_output(pid, &data))
}

pub(super) fn scratch_started(world: &World, call: &Call, _before: &Value) -> Probed {
    let machine = world.machine_of(call);
    let copy = machine.and_then(|machine| machine.scratch.zip(machine.places.get("scratch")));
    copy.map_or_else(
        || Probed::not_done("no process runs on the copy"),
        |(pid, data)| Probed::Done(scratch_output(pid, data)),
    )
}

pub(super) fn scratch_stop(world: &mut World, call: &Call) -> Result<Done, Failure> {
    let machine = machine(world, call)?;
    let copy = machine.places.remove("scratch");
    let process = machine.scratch.take();
    Ok(done([], copy.is_some() || process.is_some()))
}

pub(super) fn choose_survivor(world: &World, call: &Call) -> Result<Done, Failure> {
    let seen = choose::Seen::read(call.args.get("observed"));
    let among = call.args.get("among").cloned().unwrap_or(Value::Null);
    let mut all = choose::candidates(&among, &world.order)?;
    choose::exclude(&mut all, &seen)?;
    if let Some(at) = choose::common_revision(&all)? {
        let history = |member: &MemberName| {
            let place = world.machines.get(member)?.places.get(&format!("/snapshot/{member}"))?;
            Some(place.history)
        };
        let hashes: BTreeMap<MemberName, HashAt> = choose::standing(&all)
            .map(|one| {
                let hash = history(&one.member).unwrap_or(0) * 1_000_003 + at;
                (one.member.clone(), HashAt { hash, compact_revision: -1 })
            })
            .collect();
        choose::one_history(at, &hashes)?;
    }
    Ok(Done { output: choose::output(&all, &world.order, &seen)?, changed: false })
}

pub(super) fn restore(world: &mut World, call: &Call) -> Result<Done, Failure> {
    let (mark, log) = (world.fresh().into(), world.fresh());
    let id = EtcdId(
        0xb0 + world
            .order
            .iter()
            .zip(1_u64..)
            .find(|(one, _)| **one == name(call))
            .map_or(0, |(_, n)| n),
    );
    let machine = idle(world, call)?;
    let source = call.text("snapshot").and_then(|path| machine.places.get(path)).cloned();
    let source = source.ok_or_else(|| refused(ErrorKind::NotFound, "there is no such snapshot"))?;
    let to = place(call).unwrap_or_default();
    if machine.data.is_none() && machine.places.contains_key(&to) {
        return Err(refused(ErrorKind::Conflict, "the place holds the only data"));
    }
    // The token is the run's id: the same run gives the same ids.
    let cluster_id = EtcdId((call.run.0.as_u128() & u128::from(u64::MAX)).try_into().unwrap_or(1));
    let revision = source.revision + call.int("bump").unwrap_or(0);
    let data = Data { cluster_id, id, revision, history: source.history, mark, log };
    machine.places.insert(to, data);
    let entry = Entry { name: name(call), learner: false };
    world.memberships.insert(cluster_id, BTreeMap::from([(id, entry)]));
    let fields = [
        ("path", path(call)),
        ("member_id", Value::str(id.to_string())),
        ("cluster_id", Value::str(cluster_id.to_string())),
        ("revision", Value::Int(revision)),
    ];
    Ok(done(fields, true))
}
