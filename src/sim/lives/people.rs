//! People: now and then anything, once it is calm what they are asked.

use super::{
    super::{State, world::Data},
    life::{Life, Slot},
    script::MEMBERS,
};
use crate::domain::{
    base::id::{EtcdId, MemberName},
    cell::{Setup, input::Input, order::Order},
    etcd::verdict::MemberState,
    incident::decision::Reason,
    inventory::{Cluster, Mode},
    journal::record::Attribution,
};
use std::{sync::Arc, time::Duration};

/// How long a person's word about a member counts.
const GONE_FOR: Duration = Duration::from_hours(4);
/// After which a parked run is given up.
const RESUMED_MAX: u32 = 2;

fn said() -> Attribution {
    Attribution { by: "ann".into(), reason: "looked at it".into() }
}

impl Life {
    /// A person looks at a cluster.
    pub(super) fn person(&mut self, at: usize) -> Result<(), String> {
        self.slots[at].keeps_data()?;
        if self.is_calm {
            self.wants_to_be_asked(at)?;
        }
        let orders = if self.is_calm { self.diligent(at) } else { self.whimsical(at) };
        for order in orders {
            if let Order::Attest { .. } = order {
                self.slots[at].laws.lost_data();
            }
            if self.is_up {
                self.give(at, Input::Ordered(0, order))?;
            }
        }
        Ok(())
    }

    /// Where `auto` does not go as far as that, a person wants to be asked instead, as the reason says.
    fn wants_to_be_asked(&mut self, at: usize) -> Result<(), String> {
        let slot = &mut self.slots[at];
        let Some(cell) = slot.cell.as_ref().filter(|_| slot.setup.cluster.mode == Mode::Auto)
        else {
            return Ok(());
        };
        let limits = [Reason::LossBudget.label(), Reason::DailyLimit.label()];
        let asked = cell.state.open_incidents().filter_map(|one| one.standing.as_ref());
        let reasons: Vec<&str> = asked.filter_map(|one| one.reason.as_deref()).collect();
        if !reasons.iter().any(|reason| limits.contains(reason)) {
            return Ok(());
        }
        let cluster = Cluster { mode: Mode::Propose, ..(*slot.setup.cluster).clone() };
        let setup = Arc::new(Setup { cluster: Arc::new(cluster), ..(*slot.setup).clone() });
        slot.setup = setup.clone();
        self.give(at, Input::Reload(setup))
    }

    fn whimsical(&mut self, at: usize) -> Vec<Order> {
        let member = *self.dice.pick(&MEMBERS);
        let (kind, yes) = (self.dice.below(12), self.dice.below(3) > 0);
        let Some(cell) = &self.slots[at].cell else { return Vec::new() };
        let losses = cell.state.losses.keys().map(|loss| Order::Ack(*loss, said()));
        match (kind, cell.state.open_run()) {
            (0..=3, Some(run)) if run.parked.is_some() && yes => {
                vec![Order::Resume(run.id, said())]
            }
            (0..=3, Some(run)) if run.parked.is_some() => vec![Order::Abandon(run.id, said())],
            (0..=3, Some(run)) if yes => {
                vec![Order::Approve { run: run.id, said: said(), digest: None, max_loss: None }]
            }
            (0..=3, Some(run)) => vec![Order::Deny(run.id, said())],
            (4, _) => losses.collect(),
            (5, _) => {
                let lasts = Duration::from_mins(20);
                vec![Order::Attest { member: member.into(), said: said(), lasts }]
            }
            (6, _) => {
                let lasts = yes.then_some(Duration::from_mins(10));
                vec![Order::Pause { said: said(), lasts }]
            }
            (7 | 8, _) => vec![Order::Unpause(said())],
            _ => Vec::new(),
        }
    }

    fn diligent(&mut self, at: usize) -> Vec<Order> {
        let slot = &mut self.slots[at];
        let Some(cell) = slot.cell.clone() else { return Vec::new() };
        let mut orders: Vec<Order> =
            cell.state.paused.iter().map(|_| Order::Unpause(said())).collect();
        if let Some(run) = cell.state.open_run() {
            if run.is_asking() {
                let (run, said) = (run.id, said());
                orders.push(Order::Approve { run, said, digest: None, max_loss: None });
            } else if run.parked.is_some() {
                slot.patience.resumed += 1;
                orders.push(if slot.patience.resumed > RESUMED_MAX {
                    Order::Abandon(run.id, said())
                } else {
                    Order::Resume(run.id, said())
                });
            }
            return orders;
        }
        orders.extend(cell.state.losses.keys().map(|loss| Order::Ack(*loss, said())));
        let asked = cell.state.open_incidents().filter_map(|one| one.standing.as_ref());
        let reasons: Vec<&str> = asked.filter_map(|one| one.reason.as_deref()).collect();
        if reasons.contains(&Reason::Permanence.label())
            && let Some(look) = cell.look()
        {
            let dead = |(_, member): &(&MemberName, &MemberState)| member.alive != Some(true);
            let dead = look.judgement.members.iter().filter(dead);
            let members: Vec<MemberName> = dead.map(|(name, _)| name.clone()).collect();
            let attest =
                |member: MemberName| Order::Attest { member, said: said(), lasts: GONE_FOR };
            orders.extend(members.into_iter().map(attest));
        }
        slot.mend(reasons.is_empty());
        self.watch(at);
        orders
    }
}

impl Slot {
    /// Does by hand what quorate does not: starts what is stopped, and gives members of a cluster with
    /// a leader their data back.
    fn mend(&mut self, is_unasked: bool) {
        let Some(leading) = self.world.leading() else {
            // while quorate asks about them, people answer; else they start what can be started
            if is_unasked || self.has_all_data() {
                self.start_stopped();
            }
            return;
        };
        let Some((leader, _)) = self.world.leader(leading) else { return };
        let data = self.world.machines[&leader].data.clone();
        let members: Vec<(EtcdId, MemberName)> = self.world.memberships[&leading]
            .iter()
            .map(|(id, entry)| (*id, entry.name.clone()))
            .collect();
        for (id, name) in members {
            let mark = u64::from(self.world.fresh());
            let Some(machine) = self.world.machines.get_mut(&name) else { continue };
            let is_there = machine.data.as_ref().is_some_and(|data| data.cluster_id == leading);
            if machine.process.is_some() && is_there {
                continue;
            }
            machine.directory = true;
            (machine.masked, machine.args) = (false, None);
            if !is_there {
                machine.data = data.clone().map(|data| Data { id, mark, ..data });
            }
            self.world.set(name.as_str(), State::Up);
        }
    }

    fn has_all_data(&self) -> bool {
        self.world.machines.values().all(|machine| machine.data.is_some())
    }

    fn start_stopped(&mut self) {
        for member in MEMBERS {
            let machine = &self.world.machines[member];
            if machine.process.is_none() && machine.data.is_some() && !machine.masked {
                self.world.set(member, State::Up);
            }
        }
    }
}
