//! Effects on the model: at once, or at work until later.

use tokio::time::Instant;

use super::{
    model,
    world::{World, subject},
};
use crate::domain::rules::action::{Call, Done, Failure};

/// Carries a call out, and notes the effect if it had one.
pub(super) fn carry_out(world: &mut World, call: &Call) -> Result<Done, Failure> {
    let done = model::act(world, call)?;
    if done.changed {
        world.effects.push((call.action.clone(), subject(call)));
    }
    Ok(done)
}

/// Carries out what was at work and is due by now.
pub(super) fn catch_up(world: &mut World, now: Instant) {
    while let Some(index) = world.pending.iter().position(|one| one.due <= now) {
        let one = world.pending.remove(index);
        let result = carry_out(world, &one.call);
        // Nobody may wait any more for what came of it.
        one.tell.send(result).ok();
    }
}
