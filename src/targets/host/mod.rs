//! A member's host through the local transport: commands, processes, files.
//!
//! Nothing here knows etcd's API or a verdict. Every function that moves or starts something
//! checks its own precondition; none deletes a member's data, none sends SIGKILL to a member.

pub(crate) mod actions;
pub(super) mod child;
pub(crate) mod copy;
pub(crate) mod files;
pub(crate) mod lock;
pub(crate) mod mounts;
pub(crate) mod places;
pub(crate) mod process;
pub(crate) mod run;
pub(crate) mod service;
mod told;
pub(crate) mod wal;
