//! What each action does to the model, by the rows of the catalogue.
//!
//! Each has the refusals of the real one that a playbook could run into: data moves only when the
//! process is gone, a place is never overwritten, an empty member starts only to join. And each probe
//! proves no more than the real one: what is absent proves nothing.

mod etcd;
mod host;
mod membership;

use super::world::{Machine, World};
use crate::domain::{
    base::id::MemberName,
    rules::{
        action::{Call, Done, ErrorKind, Failure, Probed},
        expr::Value,
    },
};

/// Carries a call out.
type Act = fn(&mut World, &Call) -> Result<Done, Failure>;
/// Asks whether an earlier call took effect; `before` is what was read then.
type Probe = fn(&World, &Call, &Value) -> Probed;

/// What the model has of one action.
pub(super) struct Model {
    pub(super) name: &'static str,
    act: Act,
    /// Of those that a resumed run asks about.
    probe: Option<Probe>,
}

const fn again(name: &'static str, act: Act) -> Model {
    Model { name, act, probe: None }
}

const fn asked(name: &'static str, act: Act, probe: Probe) -> Model {
    Model { name, act, probe: Some(probe) }
}

/// All of them: a test compares them with the catalogue.
pub(super) const MODELS: &[Model] = &[
    again("etcd.assess", |_, _| Ok(done([], false))),
    again("etcd.choose_survivor", |world, call| etcd::choose_survivor(world, call)),
    again("etcd.compare", |world, call| membership::compare(world, call)),
    again("etcd.data_copy", host::data_copy),
    asked("etcd.data_in", host::data_in, host::moved_in),
    asked("etcd.data_out", host::data_out, host::moved_out),
    asked("etcd.member_add_learner", membership::add_learner, membership::added_before),
    asked("etcd.member_promote", membership::promote, membership::promoted_before),
    asked("etcd.member_remove", membership::remove, membership::removed_before),
    again("etcd.restore", etcd::restore),
    asked("etcd.scratch_start", etcd::scratch_start, etcd::scratch_started),
    again("etcd.scratch_stop", etcd::scratch_stop),
    again("etcd.snapshot", etcd::snapshot),
    again("host.file.free_space", |_, _| Ok(host::free_space())),
    again("host.service.mask", |world, call| host::mask(world, call, true)),
    again("host.service.reset_args", host::reset_args),
    again("host.service.set_args", host::set_args),
    asked("host.service.start", host::start, host::started_before),
    asked("host.service.stop", host::stop, host::stopped_before),
    again("host.service.unmask", |world, call| host::mask(world, call, false)),
];

fn model(call: &Call) -> Option<&'static Model> {
    MODELS.iter().find(|model| model.name == call.action)
}

/// The call's own reading of what it is about to change.
pub(super) fn before(world: &World, call: &Call) -> Value {
    let leading = world.leading().map(|id| ("cluster_id", Value::str(id.to_string())));
    let machine = world.machine_of(call);
    let machine = machine.map(|machine| host::before(machine, call)).into_iter().flatten();
    Value::map(machine.chain(leading))
}

/// Does it.
pub(super) fn act(world: &mut World, call: &Call) -> Result<Done, Failure> {
    match model(call) {
        Some(model) => (model.act)(world, call),
        None => Err(Failure::new(ErrorKind::Invalid, format!("no action {}", call.action))),
    }
}

/// Asks whether an earlier call took effect.
pub(super) fn probe(world: &World, call: &Call, before: &Value) -> Probed {
    if world.machine_of(call).is_some_and(|machine| !machine.reachable) {
        return Probed::Unknown(format!("{} does not answer", name(call)));
    }
    match model(call).and_then(|model| model.probe) {
        Some(probe) => probe(world, call, before),
        None => Probed::Unknown(format!("{} is done again, not asked about", call.action)),
    }
}

fn done<const N: usize>(fields: [(&'static str, Value); N], changed: bool) -> Done {
    Done { output: Value::map(fields), changed }
}

fn refused(kind: ErrorKind, message: &str) -> Failure {
    Failure::new(kind, message)
}

fn was(before: &Value, field: &str) -> bool {
    before.get(field).and_then(Value::as_bool).unwrap_or(false)
}

fn name(call: &Call) -> MemberName {
    call.text("member").unwrap_or("-").into()
}

fn machine<'w>(world: &'w mut World, call: &Call) -> Result<&'w mut Machine, Failure> {
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
fn idle<'w>(world: &'w mut World, call: &Call) -> Result<&'w mut Machine, Failure> {
    let machine = machine(world, call)?;
    if machine.process.is_some() {
        return Err(refused(ErrorKind::Conflict, &format!("{} still runs", name(call))));
    }
    Ok(machine)
}

/// The key of a call's place.
fn place(call: &Call) -> Option<String> {
    let place = call.text("to").or_else(|| call.text("from"))?;
    // A run of the model has one scratch copy and one backup per member, whatever the run.
    Some(if matches!(place, "scratch" | "backup") {
        place.into()
    } else {
        format!("{}/{place}", call.run)
    })
}

fn path(call: &Call) -> Value {
    Value::str(format!("/data/{}/{}", name(call), place(call).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{domain::rules::action::OnResume, targets::catalogue::catalogue};

    #[test]
    fn the_model_has_every_action_of_the_catalogue_and_no_other() {
        let rows = catalogue();
        let names: Vec<&str> = MODELS.iter().map(|model| model.name).collect();
        assert_eq!(names, rows.keys().copied().collect::<Vec<_>>());
        for model in MODELS {
            let asked = rows[model.name].on_resume == OnResume::Probe;
            assert_eq!(model.probe.is_some(), asked, "{}", model.name);
        }
    }
}
