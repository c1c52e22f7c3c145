//! Actions as objects: each has its row of the catalogue and what it does, in one file per family.
//!
//! Whatever else knows of actions (`check`, plans, approvals, the reference page, the modelled world)
//! is made from the [`Registry`]; nothing matches an action by its name. What must be known about one
//! stands in its row.

use std::{collections::BTreeMap, fmt::Debug, sync::Arc};

use futures::future::BoxFuture;

use super::host::places::{self, Places};
use crate::domain::{
    inventory::{Cluster, Member},
    rules::{
        action::{ActionSpec, ArgSpec, ArgType, Call, Catalogue, Changes, Done, Failure, Probed},
        expr::{Type, Value},
    },
};

/// The answer of an action.
pub(crate) type Doing<'a, T> = BoxFuture<'a, Result<T, Failure>>;

/// What a call is carried out on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct On<'a> {
    pub(crate) cluster: &'a Arc<Cluster>,
    pub(crate) call: &'a Call,
}

impl<'a> On<'a> {
    /// The member it is about.
    pub(crate) fn member(self) -> Result<&'a Member, Failure> {
        places::member(self.cluster, self.call)
    }

    /// Where that member's data and this run's copies of it stand.
    pub(crate) fn places(self) -> Result<Places, Failure> {
        Ok(Places::new(self.cluster, self.member()?, self.call.run))
    }
}

/// One action of the catalogue.
///
/// *Guarantees*: `before` and `probe` change nothing. `act` has one effect and refuses what would make
/// it harmful now, whatever was checked before. *Assumptions*: the arguments fit the row; the caller
/// journals before and after `act`, holds the member's lock where the row says that something of its
/// host is changed, and ends it by dropping it.
pub(crate) trait Action: Send + Sync + Debug {
    /// Its row of the catalogue.
    fn spec(&self) -> &ActionSpec;

    /// Its own reading of what it is about to change.
    fn before<'a>(&'a self, _on: On<'a>) -> Doing<'a, Value> {
        Box::pin(async { Ok(nothing()) })
    }

    /// Does it.
    fn act<'a>(&'a self, on: On<'a>, before: &'a Value) -> Doing<'a, Done>;

    /// Asks reality whether an earlier, unrecorded `act` took effect: what is absent proves nothing.
    fn probe<'a>(&'a self, _on: On<'a>, _before: &'a Value) -> Doing<'a, Probed> {
        let name = self.spec().name;
        Box::pin(
            async move { Ok(Probed::Unknown(format!("{name} is done again, not asked about"))) },
        )
    }

    /// What a person would type to do the same; a read has none. What an earlier step will give
    /// stands as `<…>`.
    fn commands(&self, _on: On<'_>) -> Vec<String> {
        Vec::new()
    }
}

/// Whether an action changes something on its member's host, so that it needs the lock there.
pub(crate) fn locks(spec: &ActionSpec) -> bool {
    match spec.changes {
        Changes::OwnFiles | Changes::Service | Changes::Data => true,
        Changes::Nothing | Changes::Membership => false,
    }
}

/// An empty map: nothing worth telling.
pub(crate) fn nothing() -> Value {
    Value::map::<&str>([])
}

/// A result without an output.
pub(crate) fn done(changed: bool) -> Done {
    Done { output: nothing(), changed }
}

/// All actions, by name.
#[derive(Debug)]
pub(crate) struct Registry {
    actions: BTreeMap<&'static str, Box<dyn Action>>,
    catalogue: Catalogue,
}

/// Two actions of one name.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the action {0} is registered twice")]
pub(crate) struct Twice(&'static str);

impl Registry {
    /// A registry of these.
    pub(crate) fn of(all: impl IntoIterator<Item = Box<dyn Action>>) -> Result<Self, Twice> {
        let mut actions = BTreeMap::new();
        for action in all {
            let name = action.spec().name;
            if actions.insert(name, action).is_some() {
                return Err(Twice(name));
            }
        }
        let rows = actions.iter().map(|(name, action)| (*name, action.spec().clone()));
        let catalogue = Arc::new(rows.collect());
        Ok(Self { actions, catalogue })
    }

    /// The action of this name.
    pub(crate) fn get(&self, name: &str) -> Option<&dyn Action> {
        self.actions.get(name).map(|action| &**action)
    }

    /// The rows of all.
    pub(crate) fn catalogue(&self) -> Catalogue {
        self.catalogue.clone()
    }
}

/// A required argument.
pub(crate) fn arg(name: &'static str, ty: ArgType, help: &'static str) -> ArgSpec {
    ArgSpec { name, ty, required: true, help }
}

/// An argument that may be left out.
pub(crate) fn optional(name: &'static str, ty: ArgType, help: &'static str) -> ArgSpec {
    ArgSpec { name, ty, required: false, help }
}

/// The argument that names the member.
pub(crate) fn member() -> ArgSpec {
    arg("member", ArgType::Member, "The member; host, paths and service come from the inventory.")
}

/// An etcd id as an output has it: 16 hex digits.
pub(crate) const ID: Type = Type::Str;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::rules::action::OnResume;

    #[derive(Debug)]
    struct Named(ActionSpec);

    impl Action for Named {
        fn spec(&self) -> &ActionSpec {
            &self.0
        }

        fn act<'a>(&'a self, _on: On<'a>, _before: &'a Value) -> Doing<'a, Done> {
            Box::pin(async { Ok(done(false)) })
        }
    }

    fn named(name: &'static str) -> Box<dyn Action> {
        Box::new(Named(ActionSpec::new(name, Changes::Nothing, OnResume::Rerun, "Nothing.")))
    }

    #[test]
    fn no_action_is_registered_twice() {
        let all = Registry::of([named("etcd.b"), named("etcd.a")]).unwrap();
        assert_eq!(all.catalogue().keys().copied().collect::<Vec<_>>(), ["etcd.a", "etcd.b"]);
        assert!(all.get("etcd.a").is_some() && all.get("etcd.c").is_none());
        let twice = Registry::of([named("etcd.a"), named("etcd.b"), named("etcd.a")]);
        assert_eq!(twice.unwrap_err(), Twice("etcd.a"));
    }
}
