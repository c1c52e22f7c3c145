//! What the model says of a call that was started and has no recorded result.

use super::{
    actions::{added, done, entry, learner_of, log, moved, name, path, place, scratch_output},
    world::{Machine, Variables},
};
use crate::domain::rules::{
    action::{Call, Probed},
    expr::Value,
};

/// Asks the model whether an earlier call took effect; as with the real one, what is absent proves
/// nothing.
pub(super) fn probe(world: &Variables, call: &Call, before: &Value) -> Probed {
    let machine = call.text("member").and_then(|name| world.machines.get(name));
    if machine.is_some_and(|machine| !machine.reachable) {
        return Probed::Unknown(format!("{} does not answer", name(call)));
    }
    match (call.action.as_str(), machine) {
        ("host.service.start", Some(machine)) => started_before(machine, before),
        ("host.service.stop", Some(machine)) => match machine.process {
            Some(_) => Probed::not_done("it runs"),
            None => Probed::Done(done([("ended_by", Value::str("term"))], was(before, "running"))),
        },
        ("etcd.data_out", Some(machine)) => match machine.data {
            Some(_) => Probed::not_done("the data is where it was"),
            None => Probed::Done(done(moved(call), was(before, "data"))),
        },
        ("etcd.data_in", Some(machine)) => {
            let placed = place(call).is_some_and(|place| machine.places.contains_key(&place));
            match (machine.data.is_some(), placed) {
                (true, false) => Probed::Done(done([("path", path(call))], !was(before, "data"))),
                (false, true) => Probed::not_done("the data is in its place"),
                _ => Probed::Unknown("the data is at both places, or at neither".into()),
            }
        }
        ("etcd.scratch_start", Some(machine)) => {
            let copy = machine.scratch.zip(machine.places.get("scratch"));
            copy.map_or_else(
                || Probed::not_done("no process runs on the copy"),
                |(pid, data)| Probed::Done(scratch_output(pid, data)),
            )
        }
        _ => changed_before(world, call),
    }
}

fn was(before: &Value, field: &str) -> bool {
    before.get(field).and_then(Value::as_bool).unwrap_or(false)
}

fn started_before(machine: &Machine, before: &Value) -> Probed {
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

/// Whether a change of membership took effect, by the list of the cluster that leads.
fn changed_before(world: &Variables, call: &Call) -> Probed {
    if world.leading().is_none() {
        return Probed::Unknown("no member leads".into());
    }
    let found = entry(world, call).map(|(_, entry)| entry.learner);
    match (call.action.as_str(), found) {
        ("etcd.member_add_learner", _) => learner_of(world, call).map_or_else(
            || Probed::not_done("no such member is listed"),
            |id| Probed::Done(added(world, id, true)),
        ),
        ("etcd.member_promote", Some(true)) => Probed::not_done("it is listed as a learner"),
        ("etcd.member_promote", Some(false)) | ("etcd.member_remove", None) => {
            Probed::Done(done([], true))
        }
        ("etcd.member_promote", None) => Probed::Unknown("it is not listed any more".into()),
        ("etcd.member_remove", Some(_)) => Probed::not_done("it is listed"),
        _ => Probed::Unknown("it is done again, not asked about".into()),
    }
}
