//! Who the members are, and whether they hold the same.

use std::collections::BTreeSet;

use super::{done, etcd::hash, machine, name, refused};
use crate::{
    domain::{
        base::id::{EtcdId, MemberName},
        rules::{
            action::{Call, Done, ErrorKind, Failure, Probed},
            expr::Value,
        },
    },
    sim::{
        look,
        world::{Data, Entry, World},
    },
};

fn leading(world: &World) -> Result<EtcdId, Failure> {
    world.leading().ok_or_else(|| refused(ErrorKind::Unavailable, "no member leads"))
}

pub(super) fn learner_of(world: &World, call: &Call) -> Option<EtcdId> {
    let members = world.memberships.get(&world.leading()?)?;
    members.iter().find(|(_, entry)| entry.learner && entry.name == name(call)).map(|(id, _)| *id)
}

fn entry<'w>(world: &'w World, call: &Call) -> Option<(EtcdId, &'w Entry)> {
    let id = EtcdId::parse(call.text("id")?)?;
    Some((id, world.memberships.get(&world.leading()?)?.get(&id)?))
}

fn added(world: &World, id: EtcdId, changed: bool) -> Done {
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

pub(super) fn add_learner(world: &mut World, call: &Call) -> Result<Done, Failure> {
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

pub(super) fn promote(world: &mut World, call: &Call) -> Result<Done, Failure> {
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

pub(super) fn remove(world: &mut World, call: &Call) -> Result<Done, Failure> {
    let cluster = leading(world)?;
    let Some((id, _)) = entry(world, call) else { return Ok(done([], false)) };
    world.memberships.entry(cluster).or_default().remove(&id);
    Ok(done([], true))
}

/// Whether the cluster that leads is the one the change was put to: another one tells nothing.
fn told(world: &World, before: &Value) -> Result<(), Probed> {
    let Some(leading) = world.leading() else {
        return Err(Probed::Unknown("no member leads".into()));
    };
    let meant = before.get("cluster_id").and_then(Value::as_str).and_then(EtcdId::parse);
    match meant.filter(|meant| *meant != leading) {
        Some(_) => Err(Probed::Unknown("another cluster leads than the one that was asked".into())),
        None => Ok(()),
    }
}

pub(super) fn added_before(world: &World, call: &Call, before: &Value) -> Probed {
    if let Err(unknown) = told(world, before) {
        return unknown;
    }
    learner_of(world, call).map_or_else(
        || Probed::not_done("no such member is listed"),
        |id| Probed::Done(added(world, id, true)),
    )
}

pub(super) fn promoted_before(world: &World, call: &Call, before: &Value) -> Probed {
    if let Err(unknown) = told(world, before) {
        return unknown;
    }
    match entry(world, call).map(|(_, entry)| entry.learner) {
        Some(true) => Probed::not_done("it is listed as a learner"),
        Some(false) => Probed::Done(done([], true)),
        None => Probed::Unknown("it is not listed any more".into()),
    }
}

pub(super) fn removed_before(world: &World, call: &Call, before: &Value) -> Probed {
    if let Err(unknown) = told(world, before) {
        return unknown;
    }
    match entry(world, call) {
        Some(_) => Probed::not_done("it is listed"),
        None => Probed::Done(done([], true)),
    }
}

pub(super) fn compare(world: &World, call: &Call) -> Result<Done, Failure> {
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
