//! Every run comes to rest: it ends, or it is parked and says so, whatever was cut off in between.

use std::{sync::Arc, time::Duration};

use serde_json::Value as Json;

use super::bed::{Bed, Setup, let_pass, said, shipped, three};
use crate::{
    domain::{
        inventory::Mode,
        journal::record::Record,
        rules::action::ErrorKind,
        run::{event::Outcome, state::Stage},
    },
    engine::commands::Command,
    sim::FakeTarget,
    store::{Append, Batch, Entry, Fence, MemoryStore, NewEntry, Store, StreamName, memory},
};

fn c1() -> StreamName {
    StreamName::Cluster("c1".into())
}

async fn journal(store: &MemoryStore) -> Vec<Entry> {
    store.read(&c1(), 0).await.unwrap()
}

/// The same journal, with another plan text under every run: as if a later version reads it.
async fn with_an_unreadable_playbook(store: &MemoryStore) -> Arc<MemoryStore> {
    let new = memory();
    for entry in journal(store).await {
        let mut body = entry.body.clone();
        if entry.kind == "run_started" {
            let mut json: Json = serde_json::from_str(&body).unwrap();
            json["plan"]["text"] = "apiVersion: quorate/v9\nkind: Playbook\n".into();
            json["plan"]["digest"] = "0".repeat(64).into();
            body = json.to_string();
        }
        let record = Record::decode(&entry.kind, entry.ver, &body).unwrap();
        let entries = vec![NewEntry::of(&record, entry.at).unwrap()];
        let append = Append { stream: c1(), expected_n: entry.n, fence: Fence(1), entries };
        new.commit(Batch { appends: vec![append], ..Batch::default() }).await.unwrap();
    }
    let alerts = store.alerts().await.unwrap();
    let observed = store.observed().await.unwrap();
    new.commit(Batch { alerts, observed, ..Batch::default() }).await.unwrap();
    new
}

/// Rows: E22.
#[tokio::test(start_paused = true)]
async fn a_run_does_not_spin_where_its_playbook_cannot_be_read_any_more() {
    for abandons in [false, true] {
        let bed = Bed::start(three(), Mode::Propose, 0).await;
        bed.pass(30).await;
        bed.lose_majority().await;
        let run = bed.until_asked().await;
        let store = with_an_unreadable_playbook(&bed.store).await;
        bed.task.abort();
        let bed = Bed::on(bed.patient.clone(), store, bed.setup.clone(), bed.now()).await;
        let before = journal(&bed.store).await.len();
        for _ in 0..300 {
            tokio::task::yield_now().await;
        }
        let records = journal(&bed.store).await.len() - before;
        assert!(records < 10, "{records} records within no time");
        assert!(bed.runs().await[0].is_asking(), "what was stored is enough to go on");
        if abandons {
            bed.command(Command::Deny(run.id, said())).await.unwrap();
        } else {
            drop(bed.approve(&run, None).await);
        }
        // what was approved is bound to the playbook's digest, which is another one now
        assert_eq!(bed.until_rest(300).await.finished.map(|end| end.0), Some(Outcome::Undone));
    }
}

/// A small playbook in place of the rebuild.
pub(super) fn small(steps: &str) -> Setup {
    let mut files = shipped();
    files[2].1 = format!(
        "apiVersion: quorate/v1\nkind: Playbook\nmetadata: {{name: etcd-rebuild-hosts, description: \
         A small one.}}\nspec:\n  destroys: nothing\n  timeout: 1h\n  steps:\n{steps}"
    );
    Setup { rules: Some(files), ..Setup::new(Mode::Auto) }
}

async fn on_small(patient: FakeTarget, steps: &str) -> Bed {
    let bed = Bed::with(patient, small(steps)).await;
    bed.pass(30).await;
    bed.lose_majority().await;
    bed
}

/// The member's arguments stay in force where the finalizer fails.
const ARGS_IN_FORCE: &str = r#"
    - name: ask
      approve: {show: [evidence]}
    - name: a
      host.service.set_args: {member: m2, args: {x: "1"}}
      finally: [{host.service.reset_args: {member: m2}}]
"#;

/// Rows: A6, E8, E22.
#[tokio::test(start_paused = true)]
async fn a_kill_around_a_failing_finalizer_never_ends_a_run_well() {
    let patient = || three().fail("host.service.reset_args", 1, ErrorKind::Tool);
    for n in 1.. {
        let bed = Bed::with(patient(), small(ARGS_IN_FORCE)).await;
        bed.pass(30).await;
        bed.gate.shut_after(n, false);
        bed.lose_majority().await;
        let rest = tokio::select! {
            biased;
            () = bed.gate.shuts() => None,
            run = bed.until_rest(300) => Some(run),
        };
        if let Some(run) = rest {
            assert!(n > 4 && run.parked.is_some() && bed.patient.residue("m2"));
            break;
        }
        let_pass(Duration::from_secs(1)).await;
        let bed = bed.crash().await;
        let run = bed.until_rest(900).await;
        let well = run.finished.is_some_and(|end| end.0 == Outcome::Succeeded);
        assert!(!(well && bed.patient.residue("m2")), "killed after commit {n}");
    }
}

/// Nobody can say what the undo's arguments are once `m3` is gone.
const UNTOLD_ARGUMENTS: &str = r#"
    - name: ask
      approve: {show: [evidence]}
    - name: a
      host.service.mask: {member: m2}
      undo: [{host.service.unmask: {member: '${etcd.members["m3"].revision > 0 ? "m2" : "m3"}'}}]
    - name: b
      host.service.unmask: {member: m3}
"#;

/// Rows: A5, A6.
#[tokio::test(start_paused = true)]
async fn an_undo_whose_arguments_cannot_be_known_is_not_called_done() {
    for resumes in [false, true] {
        let patient = three().fail_after("host.service.mask", 1, ErrorKind::Timeout);
        let bed = on_small(patient, UNTOLD_ARGUMENTS).await;
        let run = bed.until_rest(300).await;
        let why = run.parked.clone().unwrap_or_else(|| panic!("{:?}", run.finished)).why;
        assert!(why.contains("step a") && why.contains("etcd.members"), "{why}");
        assert!(bed.patient.residue("m2"));
        let verb = if resumes { Command::Resume } else { Command::Abandon };
        bed.command(verb(run.id, said())).await.unwrap();
        bed.pass(5).await;
        let run = bed.until_rest(300).await;
        let ended = run.finished.map(|end| end.0);
        assert_eq!(ended, (!resumes).then_some(Outcome::Failed), "asked again, it is still untold");
    }
}

/// Two members at a time; the second step of each needs the first.
const AT_ONCE: &str = r#"
    - name: ask
      approve: {show: [evidence]}
    - name: each
      foreach:
        in: '["m1", "m2", "m3"]'
        as: m
        mode: {parallel: 2}
        do:
          - name: args
            host.service.set_args: {member: "${m}", args: {x: "1"}}
            undo: [{host.service.reset_args: {member: "${m}"}}]
            finally: [{host.service.reset_args: {member: "${m}"}}]
          - name: again
            host.service.set_args: {member: "${m}", args: {x: "2"}}
"#;

/// How a run of it ends, killed after its `n`th commit; `None` once it ends before that.
async fn killed_at_once(patient: FakeTarget, n: usize, effects_too: bool) -> (Bed, bool) {
    let bed = Bed::with(patient, small(AT_ONCE)).await;
    bed.pass(30).await;
    bed.gate.shut_after(n, effects_too);
    bed.lose_majority().await;
    let killed = tokio::select! {
        biased;
        () = bed.gate.shuts() => true,
        _ = bed.until_rest(300) => false,
    };
    if !killed {
        return (bed, false);
    }
    let_pass(Duration::from_secs(1)).await;
    let bed = bed.crash().await;
    bed.until_rest(900).await;
    (bed, true)
}

fn residue(bed: &Bed) -> usize {
    ["m1", "m2", "m3"].iter().filter(|member| bed.patient.residue(member)).count()
}

/// Rows: B12, E22.
#[tokio::test(start_paused = true)]
async fn a_kill_changes_nothing_about_the_end_of_what_works_on_several_members_at_once() {
    for effects_too in [false, true] {
        for n in (1..).step_by(if effects_too { 3 } else { 1 }) {
            let (bed, killed) = killed_at_once(three(), n, effects_too).await;
            let run = bed.until_rest(5).await;
            let ended = run.finished.map(|end| end.0);
            assert_eq!((ended, residue(&bed)), (Some(Outcome::Succeeded), 0), "commit {n}");
            if !killed {
                assert!(n > 20, "{n} commits");
                break;
            }
        }
    }
}

/// Rows: A1, A6, B12, E22.
#[tokio::test(start_paused = true)]
async fn a_member_that_fails_among_several_takes_all_of_them_back() {
    for call in [1, 3, 6] {
        let failing = || three().fail("host.service.set_args", call, ErrorKind::Tool);
        for n in (2..).step_by(5) {
            let (bed, killed) = killed_at_once(failing(), n, false).await;
            let run = bed.until_rest(5).await;
            let ended = run.finished.map(|end| end.0);
            // a call that was cut off is made again, and the second time it may go well
            let well = killed && ended == Some(Outcome::Succeeded);
            assert!(well || ended == Some(Outcome::Undone), "call {call}, commit {n}: {ended:?}");
            assert_eq!(residue(&bed), 0, "call {call}, commit {n}");
            if !killed {
                break;
            }
        }
    }
}

/// Rows: A6, E8.
#[tokio::test(start_paused = true)]
async fn a_finalizer_that_fails_for_one_of_several_parks_and_is_made_up_for() {
    for call in 1..=3 {
        let patient = three().fail("host.service.reset_args", call, ErrorKind::Tool);
        let bed = on_small(patient, AT_ONCE).await;
        let run = bed.until_rest(300).await;
        assert!(run.parked.is_some(), "{:?}", run.finished);
        bed.command(Command::Resume(run.id, said())).await.unwrap();
        bed.pass(5).await;
        let ended = bed.until_rest(300).await.finished.map(|end| end.0);
        assert_eq!((ended, residue(&bed)), (Some(Outcome::Succeeded), 0), "call {call}");
    }
}

/// Rows: A4, A6, E8, E22.
#[tokio::test(start_paused = true)]
async fn a_called_playbook_works_in_its_own_scope() {
    let part = "apiVersion: quorate/v1\nkind: Playbook\nmetadata: {name: part, description: A \
                part.}\nspec:\n  destroys: nothing\n  params: {who: {type: member, required: \
                true}}\n  steps:\n    - name: args\n      host.service.set_args: {member: \
                \"${params.who}\", args: {x: \"1\"}}\n      finally: [{host.service.reset_args: \
                {member: \"${params.who}\"}}]\n  verify: 'steps.args.output.residue[0] == \
                \"args\"'\n";
    let steps = r#"
    - name: ask
      approve: {show: [evidence]}
    - name: fix
      call: {playbook: part, with: {who: m2}}
      register: fixed
    - name: rest
      expect: {that: 'size(fixed.args.residue) == 1', message: "the part gave ${fixed.args.residue[0]}"}
    - name: kept
      host.service.set_args: {member: m3, args: {x: "1"}}
      finally: [{host.service.reset_args: {member: m3}}]
"#;
    let mut setup = small(steps);
    setup.rules.as_mut().unwrap().push(("part.yaml".into(), part.to_owned()));
    let bed = Bed::with(three(), setup).await;
    bed.pass(30).await;
    bed.lose_majority().await;
    let run = bed.until_rest(300).await;
    bed.show().await;
    assert_eq!(run.finished.as_ref().map(|end| end.0), Some(Outcome::Succeeded));
    assert_eq!(residue(&bed), 0);
    let (part, own) = (run.step("fix.args").unwrap(), run.step("kept").unwrap());
    let finalizer = run.entries.iter().find(|(key, _)| key.step.to_string() == "fix.args");
    assert!(finalizer.is_some_and(|(_, row)| row.at <= own.started_at) && part.order < own.order);
}

/// Taking a step back asks what it did; what people read of it stays what it said.
/// Rows: A6.
#[tokio::test(start_paused = true)]
async fn a_step_that_failed_keeps_its_reason_on_the_way_back() {
    let bed = Bed::start(three().fail("etcd.restore", 1, ErrorKind::Tool), Mode::Auto, 1000).await;
    bed.pass(30).await;
    bed.lose_majority().await;
    let run = bed.until_rest(300).await;
    assert_eq!(run.finished.as_ref().map(|end| end.0), Some(Outcome::Undone));
    let Stage::Failed { failure, .. } = &run.step("restore").unwrap().stage else { panic!() };
    assert!(failure.message.contains("etcd.restore fails for the test"), "{}", failure.message);
}
