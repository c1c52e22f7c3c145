//! The rule that fires, and its sender.

use std::time::Duration;

use super::{
    intake::labels,
    life::{Event, Life},
    report::Sabotage,
};
use crate::domain::{alert::Incoming, base::time::Time, cell::input::Input};

/// After which an alert that goes on is sent again.
const REPEAT_AFTER: Duration = Duration::from_mins(5);
/// From a row that is durable to the cell that gets it.
const HANDED_AFTER: Duration = Duration::from_millis(2);

impl Life {
    /// The rule is evaluated; what it finds is sent where that is due.
    pub(super) fn evaluate(&mut self, at: usize) {
        let fires = self.slots[at].led_since.is_none();
        let (now, wall) = (self.now, self.now);
        let sender = &mut self.intake.senders[at];
        let of = |firing: bool, since: Time| Incoming {
            labels: labels(at, "etcdInsufficientMembers", None),
            firing,
            starts_at: since,
            ends_at: (!firing).then_some(wall),
            silenced: None,
        };
        match (fires, sender.since) {
            (true, None) => (sender.since, sender.sent, sender.owes) = (Some(now), None, None),
            (false, Some(since)) => {
                sender.owes = sender.sent.is_some().then(|| of(false, since));
                (sender.since, sender.sent) = (None, None);
            }
            _ => {}
        }
        let is_due = sender.sent.is_none_or(|sent| now.since(sent) >= REPEAT_AFTER);
        let due = match (sender.since, &sender.owes) {
            (Some(since), _) if is_due => of(true, since),
            (None, Some(owed)) => owed.clone(),
            _ => return,
        };
        if !self.deliver(at, vec![due.clone()]) {
            return; // tried again at the next evaluation
        }
        let sender = &mut self.intake.senders[at];
        if due.firing {
            sender.sent = Some(now);
        } else {
            sender.owes = None;
        }
        sender.last = vec![due];
    }

    /// The last delivery comes once more: a straggler, or the other one of a pair.
    pub(super) fn deliver_again(&mut self, at: usize) {
        let last = self.intake.senders[at].last.clone();
        self.deliver(at, last);
    }

    /// Alerts about many parts of the cluster at once.
    pub(super) fn storm(&mut self, at: usize, count: u32) {
        let now = self.now;
        let one = |part: u32| Incoming {
            labels: labels(at, "KubeNodeNotReady", Some(part)),
            firing: !part.is_multiple_of(3),
            starts_at: now,
            ends_at: part.is_multiple_of(3).then_some(now),
            silenced: None,
        };
        self.deliver(at, (0..count).map(one).collect());
    }

    /// Whether it was taken: then it is durable.
    fn deliver(&mut self, at: usize, incoming: Vec<Incoming>) -> bool {
        let is_heard = self.is_up && self.asleep <= self.now && !self.intake.senders[at].is_deaf;
        if !is_heard || incoming.is_empty() {
            return false;
        }
        let now = self.clock();
        for cluster in self.intake.take(incoming, now) {
            self.push(self.now.after(HANDED_AFTER), Event::Handed(self.process, cluster));
        }
        true
    }

    /// A cell is handed its alerts.
    pub(super) fn hand_over(&mut self, at: usize) -> Result<(), String> {
        let Some(alerts) = self.intake.handed[at].pop_front() else { return Ok(()) };
        if self.sabotage == Sabotage::ForgetsAlerts {
            return Ok(());
        }
        let arrived = self.clock();
        self.give(at, Input::Alerts { alerts, forgotten: Vec::new(), arrived })
    }
}
