//! A member's process, its arguments, and where its data stands.

use std::collections::BTreeMap;

use super::{done, idle, machine, membership, path, place, refused, was};
use crate::{
    domain::rules::{
        action::{Call, Done, ErrorKind, Failure, Probed},
        expr::Value,
    },
    sim::world::{Data, Machine, World},
};

/// What is read before anything of a machine is changed.
pub(super) fn before(
    machine: &Machine,
    call: &Call,
) -> impl Iterator<Item = (&'static str, Value)> {
    let place = place(call).is_some_and(|place| machine.places.contains_key(&place));
    let args = machine.args.iter().flatten();
    let args = args.map(|(name, value)| (name.as_str(), Value::str(value.as_str())));
    let fields = [
        ("running", Value::Bool(machine.process.is_some())),
        ("data", Value::Bool(machine.data.is_some())),
        ("place", Value::Bool(place)),
        ("kept", Value::str(free(machine, call))),
        ("args", Value::map(args)),
    ];
    fields.into_iter().chain(log(machine).map(|log| ("log", log)))
}

/// What the log of a stopped member holds.
fn log(machine: &Machine) -> Option<Value> {
    let data = machine.data.as_ref().filter(|_| machine.process.is_none());
    data.map(|data| Value::Int(data.log.into()))
}

pub(super) fn free_space() -> Done {
    let fields = [
        ("free_bytes", Value::Int(1 << 40)),
        ("data_bytes", Value::Int(1 << 26)),
        ("enough", Value::Bool(true)),
    ];
    done(fields, false)
}

fn moved(call: &Call) -> [(&'static str, Value); 2] {
    [("path", path(call)), ("moved", Value::list(vec![path(call)]))]
}

pub(super) fn data_copy(world: &mut World, call: &Call) -> Result<Done, Failure> {
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

/// The key under which data will be kept: each failed join has its own.
fn free(machine: &Machine, call: &Call) -> String {
    let place = place(call).unwrap_or_default();
    let repeats =
        (2..).map(|n| format!("{place}.{n}")).take(if place.ends_with("/failed") { 98 } else { 0 });
    let mut all = std::iter::once(place.clone()).chain(repeats);
    all.find(|place| !machine.places.contains_key(place)).unwrap_or(place)
}

pub(super) fn data_out(world: &mut World, call: &Call) -> Result<Done, Failure> {
    let takes_back = call.text("to") == Some("new");
    let unlooked = |failure| Failure { still_running: takes_back, ..failure };
    let machine = idle(world, call).map_err(unlooked)?;
    let place = free(machine, call);
    let Some(data) = machine.data.take() else { return Ok(done(moved(call), false)) };
    let was_used = machine.restored.is_some_and(|log| log != data.log);
    if machine.places.contains_key(&place) || (takes_back && was_used) {
        machine.data = Some(data);
        let why = if was_used { "a member was started on it" } else { "the place is taken" };
        return Err(unlooked(refused(ErrorKind::Conflict, why)));
    }
    machine.places.insert(place, data);
    Ok(done(moved(call), true))
}

pub(super) fn moved_out(world: &World, call: &Call, before: &Value) -> Probed {
    match stands(world, call, before) {
        (true, false) => Probed::not_done("the data is where it was"),
        (false, true) => Probed::Done(done(moved(call), was(before, "data"))),
        (false, false) if !was(before, "data") => Probed::Done(done(moved(call), false)),
        _ => Probed::Unknown("the data is at both places, or at neither".into()),
    }
}

/// Whether data is seen at home, and in the call's place.
fn stands(world: &World, call: &Call, before: &Value) -> (bool, bool) {
    let machine = world.machine_of(call);
    let kept = before.get("kept").and_then(Value::as_str);
    let kept =
        kept.filter(|_| call.text("to").is_some()).map(str::to_owned).or_else(|| place(call));
    let placed =
        |machine: &Machine| kept.as_ref().is_some_and(|place| machine.places.contains_key(place));
    (machine.is_some_and(|machine| machine.data.is_some()), machine.is_some_and(placed))
}

pub(super) fn data_in(world: &mut World, call: &Call) -> Result<Done, Failure> {
    let place = place(call).unwrap_or_default();
    let is_home =
        |machine: &Machine| machine.data.is_some() && !machine.places.contains_key(&place);
    if is_home(machine(world, call)?) {
        return Ok(done([("path", path(call))], false));
    }
    let machine = idle(world, call)?;
    if machine.data.is_some() {
        return Err(refused(ErrorKind::Conflict, "there is data already"));
    }
    let data = machine.places.remove(&place);
    let data = data.ok_or_else(|| refused(ErrorKind::NotFound, "the place is empty"))?;
    machine.restored = (call.text("from") == Some("new")).then_some(data.log).or(machine.restored);
    machine.data = Some(data);
    Ok(done([("path", path(call))], true))
}

pub(super) fn moved_in(world: &World, call: &Call, before: &Value) -> Probed {
    match stands(world, call, before) {
        (true, false) => Probed::Done(done([("path", path(call))], !was(before, "data"))),
        (false, true) => Probed::not_done("the data is in its place"),
        _ => Probed::Unknown("the data is at both places, or at neither".into()),
    }
}

pub(super) fn start(world: &mut World, call: &Call) -> Result<Done, Failure> {
    let running = world.running(call.started_at);
    let (mark, log) = (world.fresh().into(), world.fresh());
    let learner = membership::learner_of(world, call);
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
        let machine = super::machine(world, call)?;
        machine.process.iter_mut().for_each(|process| process.silent = true);
    }
    Ok(started(pid, true))
}

pub(super) fn started_before(world: &World, call: &Call, before: &Value) -> Probed {
    let Some(machine) = world.machine_of(call) else {
        return Probed::Unknown("there is no such member".into());
    };
    if let Some(process) = &machine.process {
        let at = Value::Time(process.started_at.0);
        let fields = [("pid", Value::Int(process.pid.into())), ("started_at", at)];
        return Probed::Done(done(fields, !was(before, "running")));
    }
    if was(before, "running") {
        return Probed::Unknown("it ran before, and does not run now".into());
    }
    match (before.get("log"), log(machine)) {
        (Some(was), Some(now)) if *was == now => {
            Probed::not_done("its log is what it was before the start")
        }
        (None, None) if machine.args.is_some() => Probed::not_done("it has no log still"),
        _ => Probed::Unknown("it does not run, and its log is not what it was".into()),
    }
}

pub(super) fn stop(world: &mut World, call: &Call) -> Result<Done, Failure> {
    let process = machine(world, call)?.process.take();
    let ended_by = Value::str(if process.is_some() { "term" } else { "was_gone" });
    let changed = process.is_some();
    let pid = process.map(|process| ("pid", Value::Int(process.pid.into())));
    Ok(Done { output: Value::map([("ended_by", ended_by)].into_iter().chain(pid)), changed })
}

pub(super) fn stopped_before(world: &World, call: &Call, before: &Value) -> Probed {
    match world.machine_of(call).and_then(|machine| machine.process.as_ref()) {
        Some(_) => Probed::not_done("it runs"),
        None => Probed::Done(done([("ended_by", Value::str("term"))], was(before, "running"))),
    }
}

pub(super) fn mask(world: &mut World, call: &Call, masked: bool) -> Result<Done, Failure> {
    let machine = machine(world, call)?;
    let changed = machine.masked != masked;
    machine.masked = masked;
    Ok(done([], changed))
}

pub(super) fn reset_args(world: &mut World, call: &Call) -> Result<Done, Failure> {
    Ok(done([], machine(world, call)?.args.take().is_some()))
}

pub(super) fn set_args(world: &mut World, call: &Call) -> Result<Done, Failure> {
    let machine = machine(world, call)?;
    let given = call.args.get("args").and_then(Value::as_map).into_iter().flatten();
    let wanted: BTreeMap<String, String> = given
        .map(|(name, value)| (name.to_string(), value.to_text().unwrap_or_default()))
        .collect();
    let changed = machine.args.as_ref() != Some(&wanted);
    machine.args = Some(wanted);
    Ok(done([("residue", Value::list(vec![Value::str("args")]))], changed))
}
