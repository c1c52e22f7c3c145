//! Timelines of guards: what holds a confirmed incident back, and what lets it go on.

use super::bed::{Bed, QUORUM, Setup, said, shipped, three};
use crate::{
    domain::{
        inventory::Mode, journal::record::WatchKind, rules::action::ErrorKind, run::event::Outcome,
    },
    engine::commands::Command,
    sim::State,
};

const RESPONSE: &str = "etcd-quorum-lost";

async fn bed(mode: Mode) -> Bed {
    let bed = Bed::start(three(), mode, 3).await;
    bed.pass(30).await;
    bed
}

#[tokio::test(start_paused = true)]
async fn what_may_come_back_is_asked_about_and_a_person_s_word_settles_it() {
    let bed = bed(Mode::Auto).await;
    bed.patient.set("m2", State::Stopped);
    bed.patient.set("m3", State::Stopped);
    bed.alert(QUORUM, &[], true).await;
    bed.until_reason(120, "permanence").await;
    bed.pass(300).await;
    assert!(bed.runs().await.is_empty());
    assert!(bed.attest("m1", 3600).await.is_err(), "m1 is alive");
    bed.attest("m2", 3600).await.unwrap();
    bed.attest("m3", 3600).await.unwrap();
    assert_eq!(outcome(&bed).await, Some(Outcome::Succeeded));
}

async fn outcome(bed: &Bed) -> Option<Outcome> {
    let run = bed.until_rest(900).await;
    run.finished.map(|(outcome, ..)| outcome)
}

/// Rows: E1.
#[tokio::test(start_paused = true)]
async fn more_loss_than_the_budget_is_a_person_s_to_accept() {
    let bed = bed(Mode::Auto).await;
    bed.patient.set("m2", State::Gone);
    bed.patient.set("m3", State::Gone);
    bed.patient.set("m1", State::Laggard(5));
    bed.alert(QUORUM, &[], true).await;
    bed.until_reason(120, "loss_budget").await;
    bed.pass(300).await;
    assert_eq!(bed.patient.effects(), []);
}

/// Rows: B15, B16, B17, E21.
#[tokio::test(start_paused = true)]
async fn an_open_loss_and_the_daily_limit_hold_back_a_second_automatic_run() {
    let bed = bed(Mode::Auto).await;
    bed.lose_majority().await;
    assert_eq!(outcome(&bed).await, Some(Outcome::Succeeded));
    bed.until(300, "it closes", async |bed| bed.closed().await.is_some()).await;
    bed.lose_majority().await;
    bed.until_reason(120, "cooldown").await;
    bed.until_reason(600, "loss_open").await;
    let losses = bed.known(|state| state.losses.values().cloned().collect::<Vec<_>>()).await;
    assert_eq!((losses.len(), losses[0].retained_revision), (1, 100));
    let bed = bed.crash().await;
    bed.until_reason(120, "loss_open").await;
    bed.command(Command::Ack(losses[0].id, said())).await.unwrap();
    bed.until_reason(120, "daily_limit").await;
    assert_eq!(bed.runs().await.len(), 1);
    assert_eq!(bed.known(|state| state.losses.size()).await, 1);
}

/// Rows: E14.
#[tokio::test(start_paused = true)]
async fn tools_of_another_minor_hold_a_repair_back_until_they_fit() {
    let bed = bed(Mode::Auto).await;
    bed.patient.set_tools("3.6.1");
    bed.patient.set("m1", State::Silent);
    bed.lose_majority().await;
    bed.until_reason(120, "version").await;
    // Nobody says its version now: what was seen while all was well counts, after a restart too.
    bed.patient.set("m1", State::Stopped);
    let bed = bed.crash().await;
    bed.pass(300).await;
    assert_eq!((bed.reason(RESPONSE).await.as_str(), bed.patient.effects().len()), ("version", 0));
    bed.patient.set_tools("3.5.30");
    bed.until_reason(60, "permanence").await;
    bed.patient.set("m1", State::Silent);
    bed.until(120, "a run", async |bed| !bed.runs().await.is_empty()).await;
}

#[tokio::test(start_paused = true)]
async fn a_pause_holds_everything_back_until_it_ends() {
    let bed = bed(Mode::Auto).await;
    let pause = Command::Pause { cluster: "c1".into(), said: said(), lasts: None };
    bed.command(pause).await.unwrap();
    bed.lose_majority().await;
    bed.until_reason(120, "paused").await;
    let bed = bed.crash().await;
    bed.pass(300).await;
    assert_eq!(bed.reason(RESPONSE).await, "paused");
    assert!(bed.runs().await.is_empty());
    bed.command(Command::Unpause("c1".into(), said())).await.unwrap();
    bed.until(120, "a run", async |bed| !bed.runs().await.is_empty()).await;
}

/// Rows: C18, E21.
#[tokio::test(start_paused = true)]
async fn a_second_response_never_starts_a_second_run() {
    let mut files = shipped();
    let twin = files[0].1.replace("name: etcd-quorum-lost", "name: twin");
    files.push(("responses/twin.yaml".into(), twin));
    let setup = Setup { rules: Some(files), ..Setup::new(Mode::Propose) };
    let bed = Bed::with(three(), setup).await;
    bed.pass(30).await;
    bed.lose_majority().await;
    bed.until_asked().await;
    bed.pass(300).await;
    assert_eq!((bed.incidents().await.len(), bed.runs().await.len()), (2, 1));
    assert_eq!(bed.reason("twin").await, "conflict");
}

/// Rows: C9.
#[tokio::test(start_paused = true)]
async fn a_node_waits_while_quorum_is_in_question_and_no_longer() {
    let bed = bed(Mode::Propose).await;
    bed.patient.set("m2", State::Stopped);
    bed.patient.set("m3", State::Stopped);
    bed.alert(QUORUM, &[], true).await;
    bed.alert("KubeNodeNotReady", &[("node", "n1")], true).await;
    bed.until(60, "inhibited", async |bed| bed.reason("node-not-ready").await == "inhibited").await;
    let page = bed.metrics.render();
    assert!(page.lines().any(|line| {
        line.contains("repair_skips")
            && line.contains("node-not-ready")
            && line.contains("inhibited")
    }));
    bed.patient.set("m2", State::Up);
    bed.patient.set("m3", State::Up);
    let free = async |bed: &Bed| bed.reason("node-not-ready").await != "inhibited";
    bed.until(60, "no longer", free).await;
}

/// Rows: C(b), C17.
#[tokio::test(start_paused = true)]
async fn the_ledger_knows_since_when_a_subject_is_unhealthy() {
    let bed = bed(Mode::Propose).await;
    bed.patient.set("m3", State::Stopped);
    let since = bed.now();
    bed.alert(QUORUM, &[], true).await;
    bed.pass(100).await;
    let bed = bed.crash().await;
    let known = async |bed: &Bed| {
        bed.known(|state| state.ledgers.values().next().and_then(|l| l.unhealthy_since)).await
    };
    assert_eq!(known(&bed).await, Some(since));
    bed.patient.set("m3", State::Up);
    bed.until(120, "it closes", async |bed| bed.closed().await.is_some()).await;
    assert_eq!(known(&bed).await, None);
    assert!(bed.known(|state| state.ledgers.is_empty()).await);
}

#[tokio::test(start_paused = true)]
async fn the_proof_is_repeated_after_ten_minutes() {
    let bed = bed(Mode::Auto).await;
    bed.lose_majority().await;
    assert_eq!(outcome(&bed).await, Some(Outcome::Succeeded));
    let watches = async |bed: &Bed| {
        bed.known(|state| state.watches.iter().map(|w| w.kind).collect::<Vec<_>>()).await
    };
    assert_eq!(watches(&bed).await, [WatchKind::Zombies, WatchKind::Proof]);
    let rebuilt =
        bed.runs().await[0].step("restore").unwrap().output().unwrap()["cluster_id"].clone();
    let ids = bed.known(|state| state.watches.iter().map(|w| w.cluster_id).collect::<Vec<_>>());
    let ids = ids.await;
    assert!(ids.iter().all(|id| rebuilt == id.to_string()), "{ids:?} {rebuilt}");
    bed.pass(540).await;
    assert_eq!(watches(&bed).await.len(), 2);
    let bed = bed.crash().await;
    bed.pass(120).await;
    assert_eq!(watches(&bed).await, [WatchKind::Zombies]);
    assert!(bed.known(|state| state.findings.is_empty()).await);
}

#[tokio::test(start_paused = true)]
async fn a_proof_that_cannot_be_repeated_is_shown_at_scrape() {
    let patient = three().fail_from("etcd.compare", 2, ErrorKind::Tool);
    let bed = Bed::start(patient, Mode::Auto, 3).await;
    bed.pass(30).await;
    let findings = async |bed: &Bed| bed.handle.read(|s| s.scrape(0).watch_findings).await.unwrap();
    let expected = |proofs| [("c1".into(), "proof", proofs), ("c1".into(), "zombies", 0)];
    assert_eq!(findings(&bed).await, expected(0));
    bed.lose_majority().await;
    assert_eq!(outcome(&bed).await, Some(Outcome::Succeeded));
    bed.pass(1300).await;
    assert_eq!(findings(&bed).await, expected(1));
}

/// A playbook that cannot be fixed to the cluster is as good as none, and that is counted.
#[tokio::test(start_paused = true)]
async fn a_playbook_of_which_no_plan_can_be_made_is_told_and_counted() {
    let mut files = shipped();
    let with = "when: 'cluster.etcd.layout == \"hosts\"', with: {bump: \"${signals.api.firing}\"}}";
    files[0].1 = files[0].1.replace("when: 'cluster.etcd.layout == \"hosts\"'}", with);
    assert!(files[0].1.contains("with:"));
    let setup = Setup { rules: Some(files), ..Setup::new(Mode::Auto) };
    let bed = Bed::with(three(), setup).await;
    bed.pass(30).await;
    bed.lose_majority().await;
    bed.until_reason(120, "no_playbook").await;
    bed.pass(120).await;
    assert!(bed.runs().await.is_empty());
    let counted = "quorate_repair_skips_total{cluster=\"c1\",response=\"etcd-quorum-lost\",reason=\"no_playbook\"} 1";
    assert!(bed.metrics.render().contains(counted));
    let standing = bed.incidents().await[0].standing.clone().unwrap();
    assert!(
        standing.text.contains("bump") && standing.text.contains("ladder"),
        "{}",
        standing.text
    );
}
