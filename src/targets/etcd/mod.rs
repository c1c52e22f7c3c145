//! etcd: its API, looks at its members, and the actions of the catalogue that are about it.

pub(crate) mod choose;
pub(crate) mod client;
pub(crate) mod compare;
pub(crate) mod membership;
pub(crate) mod metrics;
pub(crate) mod probe;
pub(crate) mod scratch;
pub(crate) mod snapshot;
pub(crate) mod survivor;
pub(crate) mod tool;
