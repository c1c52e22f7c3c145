//! An ordered stop, a disk that hangs or cannot be read, and what ends the process.

use std::{sync::atomic::Ordering, time::Duration};

use super::{
    bed::{Bed, QUORUM, Setup, handed_over, let_pass, three},
    gate::Outcome,
    rest::small,
};
use crate::{
    domain::{
        alert::{Incoming, labels::Labels},
        inventory::Mode,
        run::{event::Outcome as Ended, state::Stage},
    },
    engine::Reload,
    sim::{Ask, FakeTarget, Fault, Moment, State, Wrong},
};

async fn lost(patient: FakeTarget) -> Bed {
    let bed = Bed::start(patient, Mode::Auto, 1000).await;
    bed.pass(30).await;
    bed.lose_majority().await;
    bed
}

fn any_alert(bed: &Bed) -> Incoming {
    let labels = Labels::new([("alertname", "X"), ("cluster", "c1")]);
    let starts_at = bed.now();
    Incoming { labels, firing: true, starts_at, ends_at: None, silenced: None }
}

/// Sends an alert without waiting for its answer.
async fn send(bed: &Bed) {
    let (handle, alert) = (bed.handle.clone(), any_alert(bed));
    tokio::spawn(async move { handle.observe(vec![alert]).await });
    handed_over().await;
}

/// Rows: E22.
#[tokio::test(start_paused = true)]
async fn an_ordered_stop_ends_on_a_disk_that_hangs() {
    let mut bed = Bed::start(three(), Mode::Propose, 0).await;
    bed.pass(30).await;
    bed.store.hang();
    send(&bed).await;
    bed.cancel.cancel();
    let ended = bed.ended().await;
    assert!(ended.is_err_and(|error| error.to_string().contains("cannot tell")));
}

/// Nothing of it would be known to be durable.
/// Rows: E22.
#[tokio::test(start_paused = true)]
async fn a_sync_that_fails_during_an_ordered_stop_ends_it() {
    let patient = three().halt("etcd.restore", 1, Moment::Before);
    let mut bed = lost(patient.clone()).await;
    patient.halted().await;
    bed.cancel.cancel();
    handed_over().await;
    bed.store.fail_sync_next(false);
    send(&bed).await;
    let ended = bed.ended().await;
    assert!(ended.is_err_and(|error| error.to_string().contains("broken")));
}

/// The commit was answered that nobody knows, and then nothing can be read.
/// Rows: E22.
#[tokio::test(start_paused = true)]
async fn a_cell_whose_sync_failed_ends_the_process() {
    let mut bed = Bed::start(three(), Mode::Auto, 1000).await;
    bed.pass(30).await;
    bed.lose_majority().await;
    bed.store.fail_sync_next(true);
    let ended = bed.ended().await;
    assert!(ended.is_err_and(|error| error.to_string().contains("broken")));
}

/// Rows: E9, E22.
#[tokio::test(start_paused = true)]
async fn a_commit_that_cannot_be_read_back_holds_up_its_own_cell_alone() {
    for (outcome, stops) in [
        (Outcome::UnknownAndThere, false),
        (Outcome::UnknownAndNotThere, false),
        (Outcome::UnknownAndThere, true),
    ] {
        let bed = Bed::start(three(), Mode::Auto, 1000).await;
        bed.pass(30).await;
        bed.gate.unreadable.store(true, Ordering::SeqCst);
        bed.gate.trouble(1, outcome);
        bed.lose_majority().await;
        bed.pass(60).await;
        let reload = Reload { settings: bed.settings.clone(), clusters: bed.clusters.clone() };
        let told = tokio::time::timeout(Duration::from_mins(1), bed.handle.reload(reload)).await;
        told.expect("the loop goes on").unwrap();
        if stops {
            let mut bed = bed;
            bed.cancel.cancel();
            bed.ended().await.unwrap();
            continue;
        }
        bed.gate.unreadable.store(false, Ordering::SeqCst);
        let confirmed = async |bed: &Bed| bed.incidents().await.iter().any(|one| one.was_confirmed);
        bed.until(300, "its cell goes on", confirmed).await;
        assert_eq!(bed.incidents().await.len(), 1, "{outcome:?}");
    }
}

/// What is begun and not done, as the journal has it.
async fn begun(bed: &Bed) -> Vec<String> {
    let runs = bed.runs().await;
    let rows = runs.iter().flat_map(|run| &run.steps);
    let begun = rows.filter(|(_, row)| row.started && row.stage == Stage::Started);
    begun.map(|(path, _)| path.to_string()).collect()
}

/// Rows: E22.
#[tokio::test(start_paused = true)]
async fn a_stop_begins_nothing_once_a_reading_is_there() {
    let slow = Wrong::Late(Duration::from_secs(20));
    let patient = three().fault(Fault::new(Ask::Before, "etcd.restore", slow).from(1));
    let mut bed = lost(patient).await;
    let copied = async |bed: &Bed| bed.patient.calls().iter().any(|c| c.0 == "etcd.data_copy");
    bed.until(600, "it is copied", copied).await;
    bed.pass(5).await; // what stands there is read now
    bed.cancel.cancel();
    bed.ended().await.unwrap();
    let bed = bed.restart().await;
    assert_eq!(begun(&bed).await, [""; 0]);
    let run = bed.until_rest(900).await;
    assert_eq!(run.finished.map(|end| end.0), Some(Ended::Succeeded));
}

const ACTS: &str = r#"
    - name: touch
      host.service.set_args: {member: "${cluster.name == 'c2' ? 'n2' : 'm2'}", args: {x: "1"}}
"#;

/// The only place is taken by another cluster, for longer than a stop waits.
/// Rows: E22.
#[tokio::test(start_paused = true)]
async fn a_step_that_waits_for_its_turn_is_not_in_doubt_after_a_stop() {
    let slow = Fault::new(Ask::Act, "host.service.set_args", Wrong::Late(Duration::from_mins(2)));
    let other = FakeTarget::new(["n1", "n2", "n3"]).named("c2").revision(100).fault(slow);
    let setup = Setup { others: vec![other.clone()], runs_concurrent: 1, ..small(ACTS) };
    let mut bed = Bed::with(three(), setup).await;
    bed.pass(30).await;
    other.set("n2", State::Gone);
    other.set("n3", State::Gone);
    bed.alert_of("c2", QUORUM, &[], true).await;
    bed.pass(1).await;
    bed.lose_majority().await;
    let waits = async |bed: &Bed| !begun(bed).await.is_empty();
    bed.until(300, "c1 waits for its turn", waits).await;
    assert_eq!((other.calls().len(), bed.patient.calls().len()), (1, 0));
    bed.cancel.cancel();
    bed.ended().await.unwrap();
    let bed = bed.restart().await;
    assert_eq!(begun(&bed).await, [""; 0]);
    let acted = async |bed: &Bed| bed.patient.effects_of("host.service.set_args") == 1;
    bed.until(300, "it goes on", acted).await;
}

/// Wherever a stop comes, also while the disk takes what was just decided.
/// Rows: E22.
#[tokio::test(start_paused = true)]
async fn an_ordered_stop_leaves_nothing_in_doubt() {
    for n in (1..).step_by(3) {
        let bed = Bed::start(three(), Mode::Auto, 1000).await;
        bed.pass(30).await;
        bed.gate.shut_after(n, false);
        bed.lose_majority().await;
        let rested = tokio::select! {
            biased;
            () = bed.gate.shuts() => false,
            _ = bed.until_rest(900) => true,
        };
        if rested {
            assert!(n > 20, "{n} commits are no repair");
            return;
        }
        let mut bed = bed;
        bed.cancel.cancel();
        let_pass(Duration::from_millis(10)).await;
        bed.store.release();
        bed.ended().await.unwrap();
        let bed = bed.restart().await;
        assert_eq!(begun(&bed).await, [""; 0], "stopped at commit {n}");
    }
}

/// Rows: E9.
#[tokio::test(start_paused = true)]
async fn an_intake_that_breaks_off_ends_the_process() {
    let mut bed = Bed::start(three(), Mode::Propose, 0).await;
    bed.pass(30).await;
    bed.gate.breaks_intake.store(true, Ordering::SeqCst);
    bed.handle.observe(vec![any_alert(&bed)]).await.unwrap_err();
    let ended = bed.ended().await;
    assert!(ended.is_err_and(|error| error.to_string().contains("intake")));
    let setup = Setup::new(Mode::Propose);
    let bed = Bed::on(three(), bed.store.restart(), setup, bed.now()).await;
    bed.alert(QUORUM, &[], true).await;
}
