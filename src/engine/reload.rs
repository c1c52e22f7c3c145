//! A reload: every cell, the intake and the readers work by something else from now on.
//!
//! It was checked as a whole before. What can still go wrong is that the journal of a cluster that is
//! new cannot be read; all such are read before anything is changed, and by who asks, not by the
//! loop: no cluster waits for it.

use std::{collections::BTreeSet, sync::Arc};

use super::{
    Handle, Settings, StartError,
    event::{Event, Reload},
    recover::{self, Recovered},
    shell::Engine,
};
use crate::domain::{
    base::id::ClusterName,
    cell::{Setup, input::Input},
    incident::owners::Owners,
};

/// Why a reload was not taken over.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// The journal of a cluster that is new.
    #[error("the journal of a cluster that is new cannot be read")]
    Journal(#[source] StartError),
    /// It ends.
    #[error("the engine has stopped")]
    Stopped,
}

impl Handle {
    /// Works by something else from now on; answers once every cluster was told. One at a time:
    /// nobody else makes us the owner of the same streams meanwhile.
    ///
    /// # Errors
    ///
    /// Nothing is changed.
    pub async fn reload(&self, reload: Reload) -> Result<(), ReloadError> {
        let _one = self.reloading.lock().await;
        let is_new = |name: &ClusterName| self.state().cell(name.as_str()).is_none();
        let all = reload.clusters.iter();
        let new = all.filter(|(cluster, _)| is_new(&cluster.name)).cloned().collect();
        let clock = &self.state().clock;
        let added = recover::more(&reload.settings, new, &self.store, clock).await;
        let added = added.map_err(ReloadError::Journal)?;
        let (done, answer) = tokio::sync::oneshot::channel();
        let event = Event::Reload(Box::new(reload), added, done);
        self.events.send(event).await.map_err(|_| ReloadError::Stopped)?;
        answer.await.map_err(|_| ReloadError::Stopped)
    }
}

impl Engine {
    /// Takes a reload over; `added` are the cells of the clusters that are new.
    pub(super) fn reload(&mut self, reload: Reload, added: Vec<Recovered>) {
        let Reload { settings, clusters } = reload;
        let settings = Arc::new(settings);
        self.settings = settings.clone();
        self.state.set_settings(settings.clone());
        self.performer.resize(&settings);
        let named: BTreeSet<ClusterName> =
            clusters.iter().map(|(cluster, _)| cluster.name.clone()).collect();
        // from what was read: a cell that commits something steps later
        let matches = clusters.iter().map(|(c, _)| (c.name.clone(), c.matches.clone()));
        let owners = Arc::new(Owners::new(matches));
        for (cluster, target) in clusters {
            let name = cluster.name.clone();
            let Some(slot) = self.slots.get_mut(&name) else { continue };
            slot.target = target.clone();
            let setup = Arc::new(recover::setup(&settings, cluster, &target));
            self.give(&name, Input::Reload(setup));
        }
        for recovered in added {
            self.add(recovered);
        }
        self.retire(&settings, &named);
        self.intake.replace_owners(owners);
        self.state.feed.reloaded(self.clock.now());
    }

    /// Clusters that are not named any more: what they left open is closed.
    fn retire(&mut self, settings: &Settings, named: &BTreeSet<ClusterName>) {
        let gone = self.slots.keys().filter(|name| !named.contains(*name)).cloned();
        for name in gone.collect::<Vec<_>>() {
            let Some(slot) = self.slots.get(&name) else { continue };
            let cluster = slot.cell.inventory().clone();
            let setup = recover::setup(settings, cluster, &slot.target);
            let setup = Setup { is_retired: true, ..setup };
            self.give(&name, Input::Reload(Arc::new(setup)));
        }
    }
}
