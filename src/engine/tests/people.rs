//! Timelines with a person in them: yes, no, no answer, and runs that wait for one.

use std::time::Duration;

use super::bed::{Bed, QUORUM, Setup, said, shipped, three};
use crate::{
    domain::{
        incident::{Closed, ledger::Ledger},
        inventory::Mode,
        rules::action::ErrorKind,
        run::{event::Outcome, state::Run},
    },
    engine::commands::{Command, CommandError},
    sim::{Ask, FakeTarget, Fault, Moment, State, Wrong},
};

async fn asked(patient: FakeTarget) -> (Bed, Run) {
    let bed = Bed::start(patient, Mode::Propose, 0).await;
    bed.pass(30).await;
    bed.lose_majority().await;
    let run = bed.until_asked().await;
    (bed, run)
}

fn outcome(run: &Run) -> Option<Outcome> {
    run.finished.as_ref().map(|(outcome, ..)| *outcome)
}

/// Rows: E25.
#[tokio::test(start_paused = true)]
async fn a_yes_to_what_was_seen_lets_it_go_on_and_a_yes_to_something_else_does_not() {
    let (bed, run) = asked(three()).await;
    assert_eq!(bed.patient.effects_of("host.service.stop"), 0, "nothing is fenced before the yes");
    let digest = run.ask.as_ref().map(|(_, ask)| ask.digest.clone());
    let yes = |digest| Command::Approve { run: run.id, said: said(), digest, max_loss: None };
    let other = bed.command(yes(Some("00".into()))).await;
    assert!(matches!(other, Err(CommandError::Gone(_))));
    bed.command(yes(digest)).await.unwrap();
    assert_eq!(outcome(&bed.until_rest(900).await), Some(Outcome::Succeeded));
    bed.until(300, "it closes", async |bed| bed.closed().await.is_some()).await;
    assert_eq!(bed.closed().await, Some(Closed::Recovered));
    assert!(bed.command(yes(None)).await.is_err(), "it asks nothing any more");
}

/// Rows: B18, B(a).
#[tokio::test(start_paused = true)]
async fn a_no_is_taken_back_held_off_and_counted_for_ever() {
    let (bed, run) = asked(three()).await;
    bed.command(Command::Deny(run.id, said())).await.unwrap();
    assert_eq!(outcome(&bed.until_rest(60).await), Some(Outcome::Undone));
    bed.until_reason(30, "backoff").await;
    assert!(bed.patient.runs("m1"));
    let bed = bed.crash().await;
    assert_eq!(
        bed.known(|state| state.ledgers.values().map(Ledger::attempts).sum::<u64>()).await,
        1
    );
    bed.until(300, "asks again", async |bed| bed.runs().await.len() == 2).await;
}

#[tokio::test(start_paused = true)]
async fn a_question_nobody_answers_lapses_after_fifteen_minutes() {
    let (bed, _) = asked(three()).await;
    let bed = bed.crash().await;
    bed.pass(870).await;
    assert!(bed.runs().await[0].is_asking());
    let run = bed.until_rest(60).await;
    assert_eq!(outcome(&run), Some(Outcome::Undone));
    assert_eq!(bed.patient.effects_of("host.service.stop"), 0);
    assert!(bed.approve(&run, None).await.is_err());
    // Nobody is asked all night without a pause, and nobody's silence uses the attempts up.
    for _ in 0..4 {
        bed.until_reason(60, "backoff").await;
        let runs = bed.runs().await.len();
        bed.until(4000, "asks again", async |bed| bed.runs().await.len() > runs).await;
        bed.pass(1000).await;
    }
}

/// Rows: E5, B11.
#[tokio::test(start_paused = true)]
async fn a_majority_that_is_back_after_the_yes_cancels_without_backoff() {
    let patient = three().halt("host.service.stop", 3, Moment::Before);
    let bed = Bed::start(patient, Mode::Propose, 0).await;
    bed.pass(30).await;
    bed.stop_majority(36_000).await;
    bed.alert(QUORUM, &[], true).await;
    let run = bed.until_asked().await;
    bed.approve(&run, None).await.unwrap();
    bed.patient.halted().await;
    bed.patient.set("m2", State::Up);
    bed.patient.set("m3", State::Up);
    let run = bed.until_rest(300).await;
    bed.show().await;
    assert_eq!(outcome(&run), Some(Outcome::Cancelled));
    bed.until(300, "it closes", async |bed| bed.closed().await.is_some()).await;
    assert_eq!(bed.closed().await, Some(Closed::RecoveredByItself));
    assert!(bed.known(|state| state.ledgers.values().all(|l| l.failures == 0)).await);
    assert!(["m1", "m2", "m3"].iter().all(|m| bed.patient.runs(m) && !bed.patient.residue(m)));
}

/// Rows: E25.
#[tokio::test(start_paused = true)]
async fn what_changed_between_the_yes_and_the_point_of_no_return_is_refused_and_put_back() {
    let bed = Bed::start(three(), Mode::Propose, 0).await;
    bed.pass(30).await;
    bed.stop_majority(600).await;
    bed.alert(QUORUM, &[], true).await;
    let run = bed.until_asked().await;
    bed.gate.shut_after(5, true);
    bed.approve(&run, None).await.unwrap();
    bed.gate.shuts().await;
    let bed = bed.crash_for(700).await; // the word that m2 and m3 are gone has lapsed
    let run = bed.until_rest(300).await;
    bed.show().await;
    assert_eq!(outcome(&run), Some(Outcome::Undone));
    let why = run.finished.unwrap().1.unwrap();
    assert_eq!(why.kind, ErrorKind::RefusedByGuard, "{}", why.message);
    assert!(bed.patient.runs("m1") && bed.patient.data("m2").is_some());
    assert!(!bed.patient.residue("m2"));
}

/// Rows: E1, E25.
#[tokio::test(start_paused = true)]
async fn more_loss_than_was_accepted_is_refused_at_the_point_of_no_return() {
    let bed = Bed::start(three(), Mode::Propose, 0).await;
    bed.pass(30).await;
    bed.patient.set("m2", State::Gone);
    bed.patient.set("m3", State::Gone);
    bed.patient.set("m1", State::Laggard(5));
    bed.alert(QUORUM, &[], true).await;
    let run = bed.until_asked().await;
    bed.approve(&run, Some(3)).await.unwrap();
    let run = bed.until_rest(300).await;
    assert_eq!(outcome(&run), Some(Outcome::Undone));
    assert!(run.finished.unwrap().1.unwrap().message.contains("3 were accepted"));
    assert!(bed.patient.runs("m1"));
}

#[tokio::test(start_paused = true)]
async fn a_pause_after_the_yes_is_kept_at_the_point_of_no_return() {
    let (bed, run) = asked(three()).await;
    let pause = Command::Pause { cluster: "c1".into(), said: said(), lasts: None };
    bed.command(pause).await.unwrap();
    bed.approve(&run, None).await.unwrap();
    let run = bed.until_rest(300).await;
    assert_eq!(outcome(&run), Some(Outcome::Undone));
    assert!(run.past_return.is_none() && bed.patient.runs("m1"));
}

/// Rows: E22, E23.
#[tokio::test(start_paused = true)]
async fn a_parked_run_waits_for_a_person_who_resumes_or_abandons_it() {
    for resumes in [true, false] {
        let bed = Bed::start(three().fail("etcd.compare", 1, ErrorKind::Tool), Mode::Auto, 9).await;
        bed.pass(30).await;
        bed.lose_majority().await;
        let run = bed.until_rest(900).await;
        assert!(run.parked.is_some());
        let bed = bed.crash_for(7200).await;
        bed.pass(600).await;
        assert!(bed.runs().await[0].parked.is_some(), "neither time nor health unparks");
        let verb = if resumes { Command::Resume } else { Command::Abandon };
        bed.command(verb(run.id, said())).await.unwrap();
        bed.until(900, "ends", async |bed| bed.runs().await[0].finished.is_some()).await;
        let expected = if resumes { Outcome::Succeeded } else { Outcome::Parked };
        assert_eq!(outcome(&bed.runs().await[0]), Some(expected));
        bed.until(300, "closes", async |bed| bed.closed().await.is_some()).await;
        assert_eq!(bed.runs().await.len(), 1);
        assert!(bed.command(Command::Resume(run.id, said())).await.is_err());
    }
}

/// Rows: E6.
#[tokio::test(start_paused = true)]
async fn a_member_that_could_not_rejoin_rejoins_from_the_start_when_resumed() {
    let patient = three().fail("etcd.member_add_learner", 1, ErrorKind::Tool);
    let bed = Bed::start(patient, Mode::Auto, 9).await;
    bed.pass(30).await;
    bed.lose_majority().await;
    let run = bed.until_rest(900).await;
    let parked = run.parked.unwrap();
    assert!(parked.why.contains("verify"), "{}", parked.why);
    assert_eq!(bed.patient.voters().len(), 2);
    bed.command(Command::Resume(run.id, said())).await.unwrap();
    bed.until(900, "ends", async |bed| bed.runs().await[0].finished.is_some()).await;
    assert_eq!(outcome(&bed.runs().await[0]), Some(Outcome::Succeeded));
    assert_eq!(bed.patient.voters().len(), 3);
    bed.until(300, "closes", async |bed| bed.closed().await.is_some()).await;
    assert_eq!(bed.runs().await.len(), 1);
}

/// Rows: E6.
#[tokio::test(start_paused = true)]
async fn a_join_that_fails_again_and_again_is_tried_anew_each_time() {
    let patient = three().fail_from("etcd.member_promote", 1, ErrorKind::Tool);
    let bed = Bed::start(patient, Mode::Auto, 9).await;
    bed.pass(30).await;
    bed.lose_majority().await;
    let run = bed.until_rest(900).await;
    for heals in [false, false, true] {
        let parked = bed.runs().await[0].parked.clone().unwrap();
        assert!(parked.why.contains("promote"), "{}", parked.why);
        assert!(!parked.why.contains("empty_data"), "{}", parked.why);
        if heals {
            bed.patient.heal("etcd.member_promote");
        }
        bed.command(Command::Resume(run.id, said())).await.unwrap();
        bed.pass(1).await;
        bed.until_rest(900).await;
    }
    assert_eq!(outcome(&bed.runs().await[0]), Some(Outcome::Succeeded));
    assert_eq!(bed.patient.voters().len(), 3);
}

/// Its host answers again only after the others were fenced: what it holds was compared with nothing.
/// Rows: E5, E20.
#[tokio::test(start_paused = true)]
async fn a_member_that_was_not_fenced_keeps_its_data_and_is_left_out() {
    let slow = Fault::new(Ask::Act, "etcd.restore", Wrong::Late(Duration::from_mins(1)));
    let bed = Bed::start(three().fault(slow), Mode::Auto, 9).await;
    bed.pass(30).await;
    let data = bed.patient.data("m2");
    bed.patient.set("m2", State::Unreachable);
    bed.patient.set("m3", State::Gone);
    bed.alert(QUORUM, &[], true).await;
    bed.pass(11).await;
    bed.attest("m2", 36_000).await.unwrap();
    let restored = async |bed: &Bed| bed.patient.effects_of("etcd.restore") == 1;
    bed.until(600, "it restores", restored).await;
    bed.patient.set("m2", State::Stopped);
    let run = bed.until_rest(900).await;
    assert_eq!(outcome(&run), Some(Outcome::Succeeded), "{:?}", run.parked);
    assert_eq!(bed.patient.data("m2"), data);
    assert_eq!(bed.patient.voters(), ["m1".into(), "m3".into()]);
    let note = run.step("left_out[m2].report").and_then(|row| row.output()?.get("note").cloned());
    let note = note.unwrap().to_string();
    assert!(note.contains("old data") && note.contains("compared with nothing"), "{note}");
}

/// The last look before the point of no return refuses, with the survivor released already.
/// Rows: E22, E23.
#[tokio::test(start_paused = true)]
async fn a_survivor_that_was_released_is_masked_before_its_swap_is_taken_back() {
    for started in [false, true] {
        let late = Wrong::Late(Duration::from_secs(30));
        let patient = three().fault(Fault::new(Ask::Act, "host.service.unmask", late));
        let bed = Bed::start(patient, Mode::Auto, 9).await;
        bed.pass(30).await;
        bed.lose_majority().await;
        let released = async |bed: &Bed| bed.patient.effects_of("host.service.unmask") == 1;
        bed.until(600, "it is released", released).await;
        let paused = Command::Pause { cluster: "c1".into(), said: said(), lasts: None };
        bed.command(paused).await.unwrap();
        if started {
            bed.patient.set("m1", State::Up);
            assert!(bed.patient.write(3), "somebody else started it, and it served");
            bed.patient.set("m1", State::Stopped);
        }
        let served = bed.patient.data("m1");
        let run = bed.until_rest(900).await;
        bed.show().await;
        let effects = bed.patient.effects();
        let m1 = effects.iter().filter(|(_, subject)| subject == "m1").map(|(action, _)| &**action);
        let after: Vec<&str> = m1.skip_while(|action| *action != "host.service.unmask").collect();
        assert_eq!(after[1], "host.service.mask", "{after:?}");
        if started {
            assert!(run.parked.unwrap().why.contains("started on it"));
            assert_eq!(bed.patient.data("m1"), served, "what clients wrote stays where it is");
            assert_eq!(after.len(), 2, "nothing else is taken back: {after:?}");
        } else {
            assert_eq!(outcome(&run), Some(Outcome::Undone));
            assert!(bed.patient.runs("m1"));
        }
    }
}

/// The shipped responses, with a small playbook in place of the rebuild.
fn small(steps: &str) -> Setup {
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

/// Nobody can say whether the undo is needed while `m1` is silent.
const UNTOLD: &str = r#"
    - name: ask
      approve: {show: [evidence]}
    - name: a
      host.service.mask: {member: m2}
      undo: [{host.service.unmask: {member: m2}, when: 'etcd.members["m1"].revision > 0'}]
    - name: b
      wait: {until: 'etcd.verdict == "healthy"', timeout: 60s}
"#;

/// Rows: A5, A6, E22.
#[tokio::test(start_paused = true)]
async fn an_undo_of_which_nobody_knows_whether_it_is_needed_parks_and_is_asked_again() {
    for resumes in [true, false] {
        let bed = on_small(three(), UNTOLD).await;
        let waits = async |bed: &Bed| bed.patient.effects_of("host.service.mask") == 1;
        bed.until(300, "it waits", waits).await;
        bed.patient.set("m1", State::Unreachable);
        let run = bed.until_rest(300).await;
        let why = run.parked.clone().unwrap().why;
        assert!(why.contains("step a") && why.contains("etcd.members"), "{why}");
        assert_eq!(bed.patient.effects_of("host.service.unmask"), 0);
        let bed = bed.crash().await;
        let verb = if resumes {
            bed.patient.set("m1", State::Up);
            Command::Resume
        } else {
            Command::Abandon
        };
        bed.command(verb(run.id, said())).await.unwrap();
        bed.until(300, "ends", async |bed| bed.runs().await[0].finished.is_some()).await;
        let (ended, unmasked) = if resumes { (Outcome::Undone, 1) } else { (Outcome::Failed, 0) };
        assert_eq!(outcome(&bed.runs().await[0]), Some(ended));
        assert_eq!(bed.patient.effects_of("host.service.unmask"), unmasked);
    }
}

/// Rows: A1, E23.
#[tokio::test(start_paused = true)]
async fn who_gives_up_before_the_point_of_no_return_has_it_taken_back() {
    let steps = r#"
    - name: ask
      approve: {show: [evidence]}
    - name: a
      host.service.mask: {member: m2}
      undo: [{host.service.unmask: {member: m2}}]
    - name: each
      foreach:
        in: '["m3"]'
        as: m
        do:
          - name: b
            host.service.set_args: {member: "${m}", args: {x: "1"}}
            finally: [{host.service.reset_args: {member: "${m}"}}]
"#;
    let patient = three().fail("host.service.reset_args", 1, ErrorKind::Tool);
    let bed = on_small(patient, steps).await;
    let run = bed.until_rest(300).await;
    let parked = run.parked.clone().unwrap();
    assert!(parked.why.contains("taken back"), "{}", parked.why);
    assert!(parked.armed.iter().any(|line| line.contains("unmask")), "{:?}", parked.armed);
    bed.command(Command::Abandon(run.id, said())).await.unwrap();
    bed.until(300, "ends", async |bed| bed.runs().await[0].finished.is_some()).await;
    assert_eq!(bed.patient.effects_of("host.service.unmask"), 1);
}

/// The restored member does not start, and is mended by a person.
/// Rows: E22, E23.
#[tokio::test(start_paused = true)]
async fn a_start_that_failed_at_the_point_of_no_return_goes_on_when_resumed() {
    for mode in [Mode::Auto, Mode::Propose] {
        let bed = Bed::start(three().fail("host.service.start", 1, ErrorKind::Tool), mode, 9).await;
        bed.pass(30).await;
        bed.lose_majority().await;
        if mode == Mode::Propose {
            let run = bed.until_asked().await;
            bed.approve(&run, None).await.unwrap();
        }
        let run = bed.until_rest(900).await;
        assert!(run.parked.is_some() && run.past_return.is_some());
        let bed = bed.crash_for(1200).await;
        bed.command(Command::Resume(run.id, said())).await.unwrap();
        bed.until(900, "ends", async |bed| bed.runs().await[0].finished.is_some()).await;
        assert_eq!(outcome(&bed.runs().await[0]), Some(Outcome::Succeeded), "{mode:?}");
        assert_eq!(bed.patient.voters().len(), 3);
    }
}

/// It was promoted, and nobody learned of it: it votes, so it is neither stopped nor emptied.
/// Rows: A22, A24, E6.
#[tokio::test(start_paused = true)]
async fn a_member_that_joined_after_all_is_left_alone_when_the_run_is_resumed() {
    let patient = three().fail_after("etcd.member_promote", 1, ErrorKind::Tool);
    let bed = Bed::start(patient, Mode::Auto, 9).await;
    bed.pass(30).await;
    bed.lose_majority().await;
    let run = bed.until_rest(900).await;
    let why = run.parked.clone().unwrap().why;
    assert!(why.contains("rejoin[m2].promote"), "{why}");
    assert_eq!(bed.patient.voters().len(), 3);
    let changes = |bed: &Bed| {
        ["host.service.stop", "etcd.data_out", "etcd.member_remove"]
            .map(|action| bed.patient.effects_of(action))
    };
    let before = changes(&bed);
    bed.command(Command::Resume(run.id, said())).await.unwrap();
    bed.until(900, "ends", async |bed| bed.runs().await[0].finished.is_some()).await;
    assert_eq!(outcome(&bed.runs().await[0]), Some(Outcome::Succeeded));
    assert_eq!((bed.patient.voters().len(), changes(&bed)), (3, before));
    assert!(!bed.patient.residue("m2"));
}

/// Both hosts answer nothing and a person says that they will not come back: the one member that is
/// left leads itself, and each of the others is reported.
/// Rows: E5, E20.
#[tokio::test(start_paused = true)]
async fn one_member_is_rebuilt_alone_where_no_other_host_answers() {
    let bed = Bed::start(three(), Mode::Auto, 9).await;
    bed.pass(30).await;
    for member in ["m2", "m3"] {
        bed.patient.set(member, State::Unreachable);
    }
    bed.alert(QUORUM, &[], true).await;
    bed.pass(11).await;
    for member in ["m2", "m3"] {
        bed.attest(member, 36_000).await.unwrap();
    }
    let run = bed.until_rest(900).await;
    bed.show().await;
    assert_eq!(outcome(&run), Some(Outcome::Succeeded));
    assert_eq!(bed.patient.voters(), ["m1".into()]);
    let noted = |member: &str| {
        let note = run.step(&format!("left_out[{member}].report"));
        note.and_then(|row| row.output()?.get("note")?.as_str().map(str::to_owned))
    };
    assert!(noted("m2").is_some_and(|note| note.contains("h-m2")), "{:?}", noted("m2"));
    assert!(noted("m3").is_some());
}
