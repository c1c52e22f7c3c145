//! etcd: its API, looks at its members, and the actions of the catalogue that are about it.

pub(crate) mod actions;
pub(crate) mod built;
pub(crate) mod choose;
pub(crate) mod client;
pub(crate) mod metrics;
pub(crate) mod probe;
pub(crate) mod scratch;
pub(crate) mod tool;
pub(crate) mod voice;
