//! The ordered stop: nothing is begun any more, what acts comes to its end, then the store is closed.
//!
//! Every wait in it has a bound, whatever the disk does: what is not durable by then is asked for, or
//! in doubt, after the restart.

use std::{pin::pin, time::Duration};

use super::{
    chain,
    shell::{Engine, Fatal},
    slot::Slot,
};
use crate::domain::{base::id::ClusterName, cell::input::Input};

/// Between two looks at what is left to do.
const LOOK_EVERY: Duration = Duration::from_millis(100);

impl Engine {
    /// Stops in order, or says why what is on disk cannot be told.
    pub(super) async fn stop(mut self) -> Result<(), Fatal> {
        self.stopping = true;
        let names: Vec<ClusterName> = self.slots.keys().cloned().collect();
        for name in &names {
            self.give(name, Input::Stopping);
        }
        self.performer.begin_nothing();
        self.come_to_rest().await?;
        self.performer.cancel();
        self.stop_intake.cancel();
        self.intake_tasks.close();
        // what it sent stands in line before the close, which alone knows a bound for the disk
        self.intake.ended().await;
        self.store.close().await.map_err(|error| Fatal(chain(&error)))?;
        self.intake_tasks.wait().await;
        tracing::info!("the engine has stopped; runs go on from the journal at the next start");
        Ok(())
    }

    /// Waits for what acts and for what is on its way to the disk, under the grace.
    async fn come_to_rest(&mut self) -> Result<(), Fatal> {
        let until = tokio::time::Instant::now() + self.settings.shutdown_grace;
        let mut fatal = self.store.fatal();
        let mut idle = pin!(self.performer.idle());
        let mut acting = true;
        while acting || self.is_busy() {
            self.step_due();
            self.state.beat();
            tokio::select! {
                biased;
                error = &mut fatal => return Err(Fatal(chain(&error))),
                Some(landed) = futures::StreamExt::next(&mut self.committing) => self.landed(landed)?,
                Some(event) = self.events.recv() => self.take(event),
                () = &mut idle, if acting => acting = false,
                () = tokio::time::sleep_until(until) => {
                    tracing::warn!("a step is still under way: it will be in doubt after the restart");
                    return Ok(());
                }
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
        Ok(())
    }

    fn is_busy(&self) -> bool {
        let waits = |slot: &Slot| slot.stopped.is_none() && slot.not_before.is_none();
        let has_inputs = self.slots.values().any(|slot| waits(slot) && !slot.inbox.is_empty());
        !self.committing.is_empty() || !self.events.is_empty() || has_inputs
    }
}
