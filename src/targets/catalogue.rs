//! The catalogue: every action a playbook may name, as a value.
//!
//! It is made from the registry: an action comes into being by one file with its row and what it does,
//! and one line in its family's list. What a row says about resuming and holding is what the engine
//! does: it knows no action by name.

use std::sync::LazyLock;

use super::{action::Registry, etcd, host};
use crate::domain::rules::action::Catalogue;

/// All actions, by name.
pub fn catalogue() -> Catalogue {
    registry().catalogue()
}

/// All actions.
pub(crate) fn registry() -> &'static Registry {
    static ALL: LazyLock<Registry> = LazyLock::new(|| {
        let all = Registry::of(etcd::actions::all().into_iter().chain(host::actions::all()));
        all.expect("a test loads them, and a name is given once")
    });
    &ALL
}

#[cfg(test)]
mod tests;
