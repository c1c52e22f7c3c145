//! The actions of the catalogue that are about etcd, one file per family.

mod assess;
mod choose;
mod compare;
pub(crate) mod membership;
mod restore;
mod scratch;
mod snapshot;

use crate::targets::action::Action;

/// All of them.
pub(crate) fn all() -> Vec<Box<dyn Action>> {
    vec![
        Box::new(assess::Assess::new()),
        Box::new(choose::ChooseSurvivor::new()),
        Box::new(compare::Compare::new()),
        Box::new(snapshot::Snapshot::new()),
        Box::new(scratch::ScratchStart::new()),
        Box::new(scratch::ScratchStop::new()),
        Box::new(restore::RestoreSnapshot::new()),
        Box::new(membership::AddLearner::new()),
        Box::new(membership::Promote::new()),
        Box::new(membership::Remove::new()),
    ]
}
