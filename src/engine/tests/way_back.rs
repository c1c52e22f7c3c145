//! Where a run turns back, and what must not turn it.

use super::bed::{Bed, QUORUM, Setup, said, shipped, three};
use crate::{
    domain::{inventory::Mode, rules::action::ErrorKind},
    engine::commands::Command,
    sim::{Ask, Fault, Moment, State, Wrong},
};

/// The shipped rules with something else in the playbook that rebuilds.
fn edited(from: &str, to: &str) -> Vec<(String, String)> {
    let mut files = shipped();
    assert!(files[2].1.contains(from), "{from}");
    files[2].1 = files[2].1.replacen(from, to, 1);
    files
}

fn rules(files: Vec<(String, String)>, mode: Mode) -> Setup {
    Setup { rules: Some(files), ..Setup::new(mode) }
}

/// A call that fails after the cluster came back is not tried again: that would be no way back.
#[tokio::test(start_paused = true)]
async fn a_try_that_fails_after_the_run_turned_back_is_the_last() {
    let snapshot = "etcd.snapshot: {member: \"${m}\", of: \"${etcd.members[m].held ? 'scratch' : 'member'}\"}\n            timeout: ";
    let tries = format!("{snapshot}2m\n            retry: {{attempts: 3, delay: 1s}}");
    let files = edited(&format!("{snapshot}10m"), &tries);
    let hangs = Fault::new(Ask::Act, "etcd.snapshot", Wrong::Hangs(Moment::Before));
    let bed = Bed::with(three().fault(hangs), rules(files, Mode::Auto)).await;
    bed.pass(30).await;
    bed.stop_majority(3600).await;
    bed.alert(QUORUM, &[], true).await;
    bed.until(200, "a snapshot", async |bed| {
        let runs = bed.runs().await;
        runs.first().is_some_and(|run| run.steps.keys().any(|p| p.to_string().contains("snapshot")))
    })
    .await;
    bed.patient.set("m2", State::Up);
    bed.patient.set("m3", State::Up);
    let run = bed.until_rest(1200).await;
    assert_eq!(run.state(), "cancelled", "{:?}", run.parked);
    assert!(bed.patient.runs("m1"), "the survivor runs again");
}

/// A directory whose old data could not be put back belongs to nobody: the member is not started on it,
/// and a person is asked. Rows: A2, E15.
#[tokio::test(start_paused = true)]
async fn what_could_not_be_taken_back_is_not_built_upon() {
    let patient = three()
        .fault(Fault::new(Ask::Act, "host.service.unmask", Wrong::Fails(ErrorKind::Tool)))
        .fault(Fault::new(Ask::Act, "etcd.data_out", Wrong::Fails(ErrorKind::Timeout)).nth(4));
    let bed = Bed::start(patient, Mode::Auto, 1000).await;
    bed.pass(30).await;
    let before = bed.patient.data("m1");
    bed.lose_majority().await;
    let run = bed.until_rest(600).await;
    assert_eq!((run.state(), run.past_return.clone()), ("parked", None), "{run:?}");
    assert!(!bed.patient.runs("m1"), "it does not serve what was restored");
    let why = run.parked.as_ref().expect("parked").why.clone();
    assert!(why.contains("cleaning up after step") && why.contains("quorate resume"), "{why}");
    bed.command(Command::Resume(run.id, said())).await.unwrap();
    let run = bed.until_rest(600).await;
    assert_eq!(run.state(), "failed", "undone: {run:?}");
    assert_eq!(bed.patient.data("m1"), before);
    assert!(bed.patient.runs("m1"), "on its own data");
}

const START: &str = r#"apiVersion: quorate/v1
kind: Playbook
metadata: {name: etcd-start-hosts, description: Starts stopped members.}
spec:
  destroys: nothing
  steps:
    - name: each
      foreach:
        in: 'etcd.voters.filter(m, !etcd.members[m].alive)'
        as: m
        do:
          - name: start
            host.service.start: {member: "${m}"}
            undo: [{host.service.stop: {member: "${m}"}}]
    - name: settled
      wait: {until: 'etcd.verdict == "healthy"', for: 30s, timeout: 2m}
  verify: 'etcd.verdict == "healthy"'
"#;

/// What destroys nothing and did something is why the cluster is back: taken back, it would be gone
/// again.
#[tokio::test(start_paused = true)]
async fn a_repair_that_works_is_not_taken_for_a_cluster_that_got_well_by_itself() {
    let mut files = shipped();
    files[0].1 = files[0].1.replace("etcd-rebuild-hosts", "etcd-start-hosts");
    files.push(("playbooks/start.yaml".into(), START.into()));
    let bed = Bed::with(three(), rules(files, Mode::Auto)).await;
    bed.pass(30).await;
    bed.patient.set("m2", State::Stopped);
    bed.patient.set("m3", State::Stopped);
    bed.alert(QUORUM, &[], true).await;
    let run = bed.until_rest(600).await;
    assert_eq!(run.state(), "succeeded", "{run:?}");
    bed.pass(900).await;
    assert_eq!(bed.runs().await.len(), 1);
    assert!(["m1", "m2", "m3"].iter().all(|member| bed.patient.runs(member)));
}

/// Each question wants an answer of its own.
#[tokio::test(start_paused = true)]
async fn a_second_question_is_not_answered_by_the_first_yes() {
    let asks = "    - name: first\n      approve: {show: [evidence, loss, commands]}\n\n";
    let save = "    - name: save\n      foreach:";
    let files = edited(save, &format!("{asks}{save}"));
    let bed = Bed::with(three(), rules(files, Mode::Propose)).await;
    bed.pass(30).await;
    bed.lose_majority().await;
    let run = bed.until_asked().await;
    bed.approve(&run, None).await.unwrap();
    bed.until(120, "the second question", async |bed| {
        let runs = bed.runs().await;
        runs.first().is_some_and(|run| {
            run.is_asking() && run.ask.as_ref().is_some_and(|(step, _)| step.to_string() == "ask")
        })
    })
    .await;
    let run = bed.runs().await.swap_remove(0);
    bed.approve(&run, None).await.unwrap();
    assert_eq!(bed.until_rest(3600).await.state(), "succeeded");
}

/// A step of which nobody could tell whether it is wanted is not wanted because somebody resumed.
#[tokio::test(start_paused = true)]
async fn a_resumed_step_whose_when_is_unknown_is_not_carried_out() {
    let others = "    # 6. The others come back one at a time";
    let extra = "    - name: extra\n      when: 'etcd.members[\"m2\"].revision < 0'\n      host.service.mask: {member: \"m1\"}\n\n";
    let files = edited(others, &format!("{extra}{others}"));
    let bed = Bed::with(three(), rules(files, Mode::Auto)).await;
    bed.pass(30).await;
    bed.lose_majority().await;
    let run = bed.until_rest(600).await;
    let why = run.parked.clone().expect("parked").why;
    assert!(why.contains("`when` cannot be told"), "{why}");
    let masks = bed.patient.effects_of("host.service.mask");
    bed.command(Command::Resume(run.id, said())).await.unwrap();
    let run = bed.until_rest(1200).await;
    assert_eq!(run.state(), "parked");
    assert_eq!(bed.patient.effects_of("host.service.mask"), masks);
}
