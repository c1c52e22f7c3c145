//! Random hours of a cluster's life: members come and go, alerts fire and resolve, quorate is
//! killed, people answer. Whatever happens, the invariants hold.

use std::time::{SystemTime, UNIX_EPOCH};

use super::bed::{Bed, QUORUM, Setup, said, three};
use crate::{
    domain::{base::id::RunId, incident::ledger::Ledger, inventory::Mode},
    engine::commands::Command,
    sim::{FakeTarget, State},
};

/// A small generator; the same seed gives the same life.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

const MEMBERS: [&str; 3] = ["m1", "m2", "m3"];

/// What must not get worse from one step to the next.
#[derive(Default)]
struct Before {
    attempts: u64,
    past_return: Vec<RunId>,
    /// The best data, where no run had its hands on it.
    best: Option<i64>,
    led: bool,
}

async fn look(bed: &Bed, before: &Before, what: &str) -> Before {
    let (open, attempts, past_return, mute) = bed
        .known(|state| {
            let open = state.runs.values().filter(|run| run.finished.is_none()).count();
            let attempts = state.ledgers.values().map(Ledger::attempts).sum();
            let past = state.runs.values().filter(|run| run.past_return.is_some());
            let mute = state.incidents.values().filter_map(|incident| incident.standing.as_ref());
            let mute = mute.filter(|s| s.reason.is_none() && s.action != "run").count();
            (open, attempts, past.map(|run| run.id).collect::<Vec<_>>(), mute)
        })
        .await;
    assert!(open <= 1, "{what}: {open} runs at once");
    assert_eq!(mute, 0, "{what}: a decision without a reason");
    assert!(attempts >= before.attempts, "{what}: attempts were forgotten");
    let news = past_return.iter().any(|run| !before.past_return.contains(run));
    assert!(!(before.led && news), "{what}: a cluster with a leader was rebuilt");
    let best = (open == 0)
        .then(|| MEMBERS.iter().filter_map(|m| bed.patient.data(m)).map(|(_, r)| r).max())
        .flatten();
    if let (Some(then), Some(now)) = (before.best, best) {
        assert!(now >= then, "{what}: revision {then} became {now}");
    }
    let led = !bed.patient.voters().is_empty();
    Before { attempts, past_return, best, led }
}

/// One random event. Answers the bed, another one after a kill.
async fn happens(bed: Bed, dice: &mut Dice, lost: &mut bool) -> (Bed, String) {
    let member = MEMBERS[usize::try_from(dice.below(3)).unwrap_or(0)];
    let what = match dice.below(12) {
        0 => set(&bed.patient, member, State::Stopped),
        1 | 2 => set(&bed.patient, member, State::Up),
        3 if dice.below(3) == 0 => {
            *lost = true;
            set(&bed.patient, member, State::Gone)
        }
        3 | 4 => {
            bed.alert(QUORUM, &[], true).await;
            "alert".into()
        }
        5 => {
            bed.alert(QUORUM, &[], false).await;
            "resolve".into()
        }
        6 => return (bed.crash_for(dice.below(90)).await, "kill".into()),
        7 => {
            bed.patient.set_blind(dice.below(3) == 0);
            "blind, or not".into()
        }
        8 => format!("writes: {}", bed.patient.write(5)),
        9 => {
            drop(bed.attest(member, 1200).await);
            format!("attest {member}")
        }
        10 => {
            let losses = bed.known(|state| state.losses.keys().copied().collect::<Vec<_>>()).await;
            for loss in losses {
                bed.command(Command::Ack(loss, said())).await.unwrap();
            }
            "ack".into()
        }
        _ => answer(&bed, dice).await,
    };
    (bed, what)
}

fn set(patient: &FakeTarget, member: &str, state: State) -> String {
    patient.set(member, state);
    format!("{member} {state:?}")
}

/// A person answers whatever waits for one.
async fn answer(bed: &Bed, dice: &mut Dice) -> String {
    let Some(run) = bed.runs().await.into_iter().find(|run| run.finished.is_none()) else {
        return "nothing asks".into();
    };
    let yes = dice.below(3) > 0;
    let command = match (run.parked.is_some(), run.is_asking(), yes) {
        (true, _, true) => Command::Resume(run.id, said()),
        (true, _, false) => Command::Abandon(run.id, said()),
        (false, true, true) => {
            drop(bed.approve(&run, None).await);
            return "yes".into();
        }
        (false, true, false) => Command::Deny(run.id, said()),
        (false, false, _) => return "it works".into(),
    };
    let what = format!("{command:?}");
    drop(bed.command(command).await);
    what
}

async fn live(seed: u64, mode: Mode, steps: u32) {
    let mut dice = Dice(seed);
    let mut bed = Bed::with(three(), Setup::new(mode)).await;
    bed.pass(60).await;
    let mut before = Before::default();
    for step in 0..steps {
        let mut lost = false;
        let (next, what) = happens(bed, &mut dice, &mut lost).await;
        bed = next;
        let what = format!("seed {seed} {mode:?}, step {step}: {what}");
        // the event itself may take data or a leader away: measured after it
        before.led = !bed.patient.voters().is_empty();
        before.best = before.best.filter(|_| !lost);
        bed.pass(5 + dice.below(60)).await;
        before = look(&bed, &before, &what).await;
    }
}

/// Rows: B12, B18, E5, E21, E22.
#[tokio::test(start_paused = true)]
async fn no_life_of_a_cluster_breaks_an_invariant() {
    for seed in 1..=4 {
        let mode = if seed % 2 == 0 { Mode::Auto } else { Mode::Propose };
        live(seed, mode, 100).await;
    }
    let fresh = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    println!("fresh seed: {fresh}");
    live(fresh, Mode::Auto, 100).await;
}
