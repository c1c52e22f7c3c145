//! A reload: every cell, the intake and the readers work by something else from now on.

use std::{collections::BTreeSet, sync::Arc};

use super::{
    Settings, chain,
    event::Reload,
    recover::{self},
    shell::Engine,
};
use crate::domain::{
    base::id::ClusterName,
    cell::{Setup, input::Input},
};

impl Engine {
    /// Takes a reload over. It was checked as a whole before: here nothing can be wrong with it, save
    /// that the journal of a cluster that is new cannot be read; that one is left out, and told.
    pub(super) async fn reload(&mut self, reload: Reload) {
        let Reload { settings, clusters } = reload;
        let settings = Arc::new(settings);
        self.settings = settings.clone();
        self.state.set_settings(settings.clone());
        let named: BTreeSet<ClusterName> =
            clusters.iter().map(|(cluster, _)| cluster.name.clone()).collect();
        for (cluster, target) in clusters {
            let name = cluster.name.clone();
            if let Some(slot) = self.slots.get_mut(&name) {
                slot.target = target.clone();
                let setup = Arc::new(recover::setup(&settings, cluster, &target));
                self.give(&name, Input::Reload(setup));
                continue;
            }
            let (store, clock) = (self.store.clone(), self.clock.clone());
            match recover::one(&settings, cluster, target, &store, &clock).await {
                Ok(recovered) => self.add(recovered),
                Err(error) => tracing::error!(cluster = %name, error = %chain(&error),
                    "the journal of this cluster cannot be read: it is not worked on"),
            }
        }
        self.retire(&settings, &named);
        let cells = self.slots.values().map(|slot| slot.cell.as_ref());
        let owners = recover::owners(cells.filter(|cell| named.contains(cell.name())));
        self.intake.replace_owners(owners);
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
