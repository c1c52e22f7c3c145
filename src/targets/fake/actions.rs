//! The actions of the catalogue, done to the model.
//!
//! Each has the refusals of the real one that a playbook could run into: data moves only when the
//! process is gone, a place is never overwritten, an empty member starts only to join.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    look,
    world::{Data, Entry, Machine, VERSION, Variables},
};
use crate::{
    domain::{
        base::id::{EtcdId, MemberName},
        rules::{
            action::{Call, Done, ErrorKind, Failure},
            expr::Value,
        },
    },
    targets::etcd::choose::{self, HashAt},
};

/// The call's own reading of what it is about to change.
pub(super) fn before(world: &Variables, call: &Call) -> Value {
    let Some(machine) = call.text("member").and_then(|name| world.machines.get(name)) else {
        return Value::map::<&str>([]);
    };
    let place = place(call).is_some_and(|place| machine.places.contains_key(&place));
    let args = machine
        .args
        .iter()
        .flatten()
        .map(|(name, value)| (name.as_str(), Value::str(value.as_str())));
    let fields = [
        ("running", Value::Bool(machine.process.is_some())),
        ("data", Value::Bool(machine.data.is_some())),
        ("place", Value::Bool(place)),
        ("args", Value::map(args)),
    ];
    Value::map(fields.into_iter().chain(log(machine).map(|log| ("log", log))))
}

/// What the log of a stopped member holds.
pub(super) fn log(machine: &Machine) -> Option<Value> {
    let data = machine.data.as_ref().filter(|_| machine.process.is_none());
    data.map(|data| Value::Int(data.log.into()))
}

/// Does it.
pub(super) fn act(world: &mut Variables, call: &Call) -> Result<Done, Failure> {
    match call.action.as_str() {
        "etcd.assess" => Ok(done([], false)),
        "etcd.snapshot" => snapshot(world, call),
        "etcd.scratch_start" => scratch_start(world, call),
        "etcd.scratch_stop" => scratch_stop(world, call),
        "etcd.choose_survivor" => choose_survivor(world, call),
        "etcd.data_copy" => data_copy(world, call),
        "etcd.data_out" => data_out(world, call),
        "etcd.data_in" => data_in(world, call),
        "etcd.restore" => restore(world, call),
        "etcd.member_add_learner" => add_learner(world, call),
        "etcd.member_promote" => promote(world, call),
        "etcd.member_remove" => remove(world, call),
        "etcd.compare" => compare(world, call),
        "host.service.start" => start(world, call),
        "host.service.stop" => stop(world, call),
        "host.service.mask" | "host.service.unmask" => mask(world, call),
        "host.service.set_args" | "host.service.reset_args" => set_args(world, call),
        "host.file.free_space" => {
            let fields = [
                ("free_bytes", Value::Int(1 << 40)),
                ("data_bytes", Value::Int(1 << 26)),
                ("enough", Value::Bool(true)),
            ];
            Ok(done(fields, false))
        }
        other => Err(Failure::new(ErrorKind::Invalid, format!("no action {other}"))),
    }
}

pub(super) fn done<const N: usize>(fields: [(&'static str, Value); N], changed: bool) -> Done {
    Done { output: Value::map(fields), changed }
}

fn refused(kind: ErrorKind, message: &str) -> Failure {
    Failure::new(kind, message)
}

pub(super) fn name(call: &Call) -> MemberName {
    call.text("member").unwrap_or("-").into()
}

fn machine<'w>(world: &'w mut Variables, call: &Call) -> Result<&'w mut Machine, Failure> {
    let name = name(call);
    let machine = world.machines.get_mut(&name);
    let machine =
        machine.ok_or_else(|| refused(ErrorKind::Invalid, &format!("no member {name}")))?;
    if machine.reachable {
        Ok(machine)
    } else {
        Err(refused(ErrorKind::Unavailable, &format!("{name} does not answer")))
    }
}

/// Like [`machine`], and its process must be gone.
fn idle<'w>(world: &'w mut Variables, call: &Call) -> Result<&'w mut Machine, Failure> {
    let machine = machine(world, call)?;
    if machine.process.is_some() {
        return Err(refused(ErrorKind::Conflict, &format!("{} still runs", name(call))));
    }
    Ok(machine)
}

pub(super) fn place(call: &Call) -> Option<String> {
    let place = call.text("to").or_else(|| call.text("from"))?;
    // A run of the model has one scratch copy and one backup per member, whatever the run.
    Some(if matches!(place, "scratch" | "backup") {
        place.into()
    } else {
        format!("{}/{place}", call.run)
    })
}

pub(super) fn path(call: &Call) -> Value {
    Value::str(format!("/data/{}/{}", name(call), place(call).unwrap_or_default()))
}

pub(super) fn moved(call: &Call) -> [(&'static str, Value); 2] {
    [("path", path(call)), ("moved", Value::list(vec![path(call)]))]
}

fn hash(data: &Data) -> i64 {
    data.history * 1_000_003 + data.revision
}

fn snapshot(world: &mut Variables, call: &Call) -> Result<Done, Failure> {
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

pub(super) fn scratch_output(pid: u32, data: &Data) -> Done {
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

fn scratch_start(world: &mut Variables, call: &Call) -> Result<Done, Failure> {
    let pid = world.fresh();
    let machine = idle(world, call)?;
    let data = machine.places.get("scratch").cloned();
    let data = data.ok_or_else(|| refused(ErrorKind::NotFound, "there is no scratch copy"))?;
    machine.scratch = Some(pid);
    Ok(scratch_output(pid, &data))
}

fn scratch_stop(world: &mut Variables, call: &Call) -> Result<Done, Failure> {
    let machine = machine(world, call)?;
    let copy = machine.places.remove("scratch");
    let process = machine.scratch.take();
    Ok(done([], copy.is_some() || process.is_some()))
}

fn choose_survivor(world: &Variables, call: &Call) -> Result<Done, Failure> {
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

fn data_copy(world: &mut Variables, call: &Call) -> Result<Done, Failure> {
    let machine = idle(world, call)?;
    let data = machine
        .data
        .clone()
        .ok_or_else(|| refused(ErrorKind::NotFound, "there is no data to copy"))?;
    let before = machine.places.insert(place(call).unwrap_or_default(), data.clone());
    let fields = [
        ("path", path(call)),
        ("files", Value::Int(3)),
        ("bytes", Value::Int(1 << 26)),
        ("sha256", Value::str("00".repeat(32))),
    ];
    Ok(done(fields, before != Some(data)))
}

fn data_out(world: &mut Variables, call: &Call) -> Result<Done, Failure> {
    let machine = idle(world, call)?;
    let place = place(call).unwrap_or_default();
    let Some(data) = machine.data.take() else { return Ok(done(moved(call), false)) };
    if machine.places.contains_key(&place) {
        machine.data = Some(data);
        return Err(refused(ErrorKind::Conflict, "the place is taken"));
    }
    machine.places.insert(place, data);
    Ok(done(moved(call), true))
}

fn data_in(world: &mut Variables, call: &Call) -> Result<Done, Failure> {
    let machine = idle(world, call)?;
    let place = place(call).unwrap_or_default();
    if machine.data.is_some() {
        return if machine.places.contains_key(&place) {
            Err(refused(ErrorKind::Conflict, "there is data already"))
        } else {
            Ok(done([("path", path(call))], false))
        };
    }
    let data = machine.places.remove(&place);
    machine.data = Some(data.ok_or_else(|| refused(ErrorKind::NotFound, "the place is empty"))?);
    Ok(done([("path", path(call))], true))
}

fn restore(world: &mut Variables, call: &Call) -> Result<Done, Failure> {
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
    // The token is the run's id: the same run gives the same ids.
    let cluster_id = EtcdId((call.run.0.as_u128() & u128::from(u64::MAX)).try_into().unwrap_or(1));
    let revision = source.revision + call.int("bump").unwrap_or(0);
    let data = Data { cluster_id, id, revision, history: source.history, mark, log };
    machine.places.insert(place(call).unwrap_or_default(), data);
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

fn leading(world: &Variables) -> Result<EtcdId, Failure> {
    world.leading().ok_or_else(|| refused(ErrorKind::Unavailable, "no member leads"))
}

pub(super) fn learner_of(world: &Variables, call: &Call) -> Option<EtcdId> {
    let members = world.memberships.get(&world.leading()?)?;
    members.iter().find(|(_, entry)| entry.learner && entry.name == name(call)).map(|(id, _)| *id)
}

pub(super) fn entry<'w>(world: &'w Variables, call: &Call) -> Option<(EtcdId, &'w Entry)> {
    let id = EtcdId::parse(call.text("id")?)?;
    Some((id, world.memberships.get(&world.leading()?)?.get(&id)?))
}

pub(super) fn added(world: &Variables, id: EtcdId, changed: bool) -> Done {
    let cluster = world.leading().unwrap_or_default();
    let pairs: Vec<String> = look::listed(world, cluster)
        .keys()
        .map(|name| format!("{name}={}", look::peer_url(name)))
        .collect();
    done(
        [("id", Value::str(id.to_string())), ("initial_cluster", Value::str(pairs.join(",")))],
        changed,
    )
}

fn add_learner(world: &mut Variables, call: &Call) -> Result<Done, Failure> {
    let cluster = leading(world)?;
    if let Some(id) = learner_of(world, call) {
        return Ok(added(world, id, false));
    }
    let id = EtcdId(0xc000 + u64::from(world.fresh()));
    machine(world, call)?.directory = true;
    let members = world.memberships.entry(cluster).or_default();
    if members.values().any(|entry| entry.learner) {
        return Err(refused(ErrorKind::TooManyLearners, "too many learner members in cluster"));
    }
    if members.values().any(|entry| entry.name == name(call)) {
        return Err(refused(ErrorKind::Conflict, "it is a voter already"));
    }
    members.insert(id, Entry { name: name(call), learner: true });
    Ok(added(world, id, true))
}

fn promote(world: &mut Variables, call: &Call) -> Result<Done, Failure> {
    let cluster = leading(world)?;
    let Some((id, found)) = entry(world, call) else {
        return Err(refused(ErrorKind::NotFound, "member not found"));
    };
    let runs = world.machines.get(&found.name).is_some_and(|machine| {
        machine.process.is_some() && machine.data.as_ref().is_some_and(|data| data.id == id)
    });
    let (was_learner, mut found) = (found.learner, found.clone());
    if was_learner && !runs {
        return Err(refused(
            ErrorKind::NotInSync,
            "can only promote a learner member which is in sync with leader",
        ));
    }
    found.learner = false;
    world.memberships.entry(cluster).or_default().insert(id, found);
    Ok(done([], was_learner))
}

fn remove(world: &mut Variables, call: &Call) -> Result<Done, Failure> {
    let cluster = leading(world)?;
    let Some((id, _)) = entry(world, call) else { return Ok(done([], false)) };
    world.memberships.entry(cluster).or_default().remove(&id);
    Ok(done([], true))
}

fn compare(world: &Variables, call: &Call) -> Result<Done, Failure> {
    let cluster = leading(world)?;
    let voters = world.voters(cluster);
    let held: Vec<(&MemberName, &Data)> = voters
        .iter()
        .filter_map(|name| Some((name, world.machines.get(name)?.data.as_ref()?)))
        .collect();
    let same = held.len() == voters.len()
        && held.windows(2).all(|pair| hash(pair[0].1) == hash(pair[1].1));
    let members = world.memberships.get(&cluster).into_iter().flatten();
    let ids: BTreeSet<EtcdId> =
        members.filter(|(_, entry)| !entry.learner).map(|(id, _)| *id).collect();
    let parse = |value: &Value| value.as_str().and_then(EtcdId::parse);
    let is_cluster = call.args.get("cluster_id").is_none_or(|id| parse(id) == Some(cluster));
    let expected = call.args.get("ids").and_then(Value::as_list);
    let are_ids = expected.is_none_or(|list| {
        list.iter().map(parse).collect::<Option<BTreeSet<_>>>().is_some_and(|list| list == ids)
    });
    let hashes = held.iter().map(|(name, data)| (name.as_str(), Value::Int(hash(data))));
    let fields = [
        ("equal", Value::Bool(same && is_cluster && are_ids)),
        ("revision", Value::Int(held.first().map_or(0, |(_, data)| data.revision))),
        ("hashes", Value::map(hashes)),
        ("cluster_ids", Value::list(vec![Value::str(cluster.to_string())])),
        ("ids", Value::list(ids.iter().map(|id| Value::str(id.to_string())).collect())),
        ("sentinel_read", Value::Bool(same)),
    ];
    Ok(done(fields, false))
}

fn start(world: &mut Variables, call: &Call) -> Result<Done, Failure> {
    let running = world.running(call.started_at);
    let (mark, log) = (world.fresh().into(), world.fresh());
    let learner = learner_of(world, call);
    let leading = world.leading();
    let machine = machine(world, call)?;
    let started = |pid: u32, changed| {
        done(
            [("pid", Value::Int(pid.into())), ("started_at", Value::Time(call.started_at.0))],
            changed,
        )
    };
    if let Some(process) = &machine.process {
        return Ok(started(process.pid, false));
    }
    if machine.masked {
        return Err(refused(ErrorKind::Tool, "the service is masked"));
    }
    let joins = machine.args.as_ref().is_some_and(|args| {
        args.get("initial-cluster-state").is_some_and(|state| state == "existing")
    });
    if machine.data.is_none() {
        if !joins {
            return Err(refused(
                ErrorKind::Invalid,
                "the data directory is empty and initial-cluster-state=existing is not in force",
            ));
        }
        machine.directory = true;
        machine.data = leading.zip(learner).map(|(cluster_id, id)| Data {
            cluster_id,
            id,
            revision: 0,
            history: 0,
            mark,
            log,
        });
    }
    machine.data.iter_mut().for_each(|data| data.log = log);
    let pid = running.pid;
    machine.process = Some(running);
    world.settle();
    if world.leading().is_none() {
        let machine = self::machine(world, call)?;
        machine.process.iter_mut().for_each(|process| process.silent = true);
    }
    Ok(started(pid, true))
}

fn stop(world: &mut Variables, call: &Call) -> Result<Done, Failure> {
    let process = machine(world, call)?.process.take();
    let ended_by = Value::str(if process.is_some() { "term" } else { "was_gone" });
    let changed = process.is_some();
    let pid = process.map(|process| ("pid", Value::Int(process.pid.into())));
    Ok(Done { output: Value::map([("ended_by", ended_by)].into_iter().chain(pid)), changed })
}

fn mask(world: &mut Variables, call: &Call) -> Result<Done, Failure> {
    let machine = machine(world, call)?;
    let masked = call.action == "host.service.mask";
    let changed = machine.masked != masked;
    machine.masked = masked;
    Ok(done([], changed))
}

fn set_args(world: &mut Variables, call: &Call) -> Result<Done, Failure> {
    let machine = machine(world, call)?;
    if call.action == "host.service.reset_args" {
        return Ok(done([], machine.args.take().is_some()));
    }
    let given = call.args.get("args").and_then(Value::as_map).into_iter().flatten();
    let wanted: BTreeMap<String, String> = given
        .map(|(name, value)| (name.to_string(), value.to_text().unwrap_or_default()))
        .collect();
    let changed = machine.args.as_ref() != Some(&wanted);
    machine.args = Some(wanted);
    Ok(done([("residue", Value::list(vec![Value::str("args")]))], changed))
}
