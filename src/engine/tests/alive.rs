//! What breaks off, hangs or waits in one place holds nothing up in another.

use std::{sync::atomic::Ordering, time::Duration};

use super::{
    bed::{Bed, QUORUM, Setup, handed_over, let_pass, said, three},
    gate::Breaks,
    rest::small,
};
use crate::{
    domain::{
        alert::{Incoming, labels::Labels},
        inventory::Mode,
        journal::record::WatchKind,
        rules::action::ErrorKind,
        run::{event::Outcome, state::Run},
    },
    engine::{
        Engine,
        clock::Clock,
        commands::{Command, CommandError},
    },
    sim::{Ask, FakeTarget, Fault, Moment, State, Wrong},
    store::memory,
};

const BREAKS: [Wrong; 2] = [Wrong::Panics(Moment::Before), Wrong::Hangs(Moment::Before)];

/// A second cluster.
fn second() -> FakeTarget {
    FakeTarget::new(["n1", "n2", "n3"]).named("c2").revision(100)
}

async fn lose_second(bed: &Bed, patient: &FakeTarget) {
    patient.set("n2", State::Gone);
    patient.set("n3", State::Gone);
    bed.alert_of("c2", QUORUM, &[], true).await;
}

async fn outcome_of_second(bed: &Bed) -> Option<Outcome> {
    bed.runs_of("c2").await.first()?.finished.as_ref().map(|end| end.0)
}

/// Rows: E9, E11.
#[tokio::test(start_paused = true)]
async fn a_look_that_panics_or_hangs_blinds_its_cluster_for_that_look_only() {
    for wrong in BREAKS {
        let patient = three().fault(Fault::look(wrong.clone()).nth(5));
        let bed = Bed::start(patient, Mode::Auto, 1000).await;
        bed.pass(45).await;
        bed.lose_majority().await;
        let run = bed.until_rest(900).await;
        assert_eq!(run.finished.map(|end| end.0), Some(Outcome::Succeeded), "{wrong:?}");
    }
}

/// Rows: E9, E11, E24.
#[tokio::test(start_paused = true)]
async fn a_proof_that_panics_or_hangs_is_made_again() {
    for wrong in BREAKS {
        let patient = three().fault(Fault::new(Ask::Act, "etcd.compare", wrong.clone()).nth(2));
        let bed = Bed::start(patient, Mode::Auto, 1000).await;
        bed.pass(30).await;
        bed.lose_majority().await;
        bed.until_rest(900).await;
        let proved = async |bed: &Bed| {
            let waits = bed.known(|s| s.watches.iter().any(|w| w.kind == WatchKind::Proof));
            !waits.await
        };
        bed.until(1200, "the proof is made", proved).await;
        assert!(bed.known(|state| state.findings.is_empty()).await, "{wrong:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_reconciliation_that_panics_or_hangs_is_made_again() {
    for breaks in [Breaks::Panics, Breaks::Hangs] {
        let setup = Setup { alertmanager: true, ..Setup::new(Mode::Propose) };
        let bed = Bed::with(three(), setup).await;
        bed.pass(30).await;
        *bed.gate.next_question.lock().unwrap() = Some(breaks);
        bed.pass(70).await;
        assert!(bed.gate.next_question.lock().unwrap().is_none(), "it was asked");
        let asked = bed.gate.reconciled();
        bed.pass(130).await;
        assert!(bed.gate.reconciled() >= asked + 2, "{breaks:?}");
    }
}

/// A repair one of whose calls breaks off or hangs, where it comes to rest.
async fn with_a_broken_call(ask: Ask, action: &str, wrong: &Wrong) -> (Bed, Run) {
    let patient = three().fault(Fault::new(ask, action, wrong.clone()));
    let bed = Bed::start(patient, Mode::Auto, 1000).await;
    bed.pass(30).await;
    bed.lose_majority().await;
    let run = bed.until_rest(3 * 3600).await;
    (bed, run)
}

/// Rows: E9, E22.
#[tokio::test(start_paused = true)]
async fn a_call_that_breaks_off_or_hangs_before_the_point_of_no_return_is_taken_back() {
    let [panics, hangs] = BREAKS;
    for (ask, wrong) in [(Ask::Before, &panics), (Ask::Before, &hangs), (Ask::Act, &hangs)] {
        let (bed, run) = with_a_broken_call(ask, "host.service.mask", wrong).await;
        assert!(bed.patient.met(wrong), "{ask:?} {wrong:?}");
        let (outcome, failure, _) = run.finished.expect("it ends by itself");
        let why = failure.unwrap().message;
        assert_eq!(outcome, Outcome::Undone, "{ask:?} {wrong:?}: {why}");
        let told = match wrong {
            Wrong::Panics(_) => "fence[m2].fence_mask: it broke off: a bug of quorate's",
            _ => "fence[m2].fence_mask: no result within 1m",
        };
        assert!(why.contains(told), "{why}");
        let residue = ["m1", "m2", "m3"].map(|member| bed.patient.residue(member));
        assert_eq!((bed.patient.runs("m1"), residue), (true, [false; 3]), "{ask:?} {wrong:?}");
    }
}

/// What hung is tried again as the step says; what broke off is left to a person, who lets it go on.
/// Rows: E9, E22, E23.
#[tokio::test(start_paused = true)]
async fn a_call_that_panics_or_hangs_after_the_point_of_no_return_ends_in_a_whole_cluster() {
    for action in ["etcd.member_promote", "etcd.compare"] {
        for wrong in &BREAKS {
            let (bed, run) = with_a_broken_call(Ask::Act, action, wrong).await;
            if let Wrong::Panics(_) = wrong {
                let why = run.parked.expect("nobody repeats a bug by itself").why;
                assert!(why.contains("it broke off: a bug of quorate's"), "{why}");
                bed.command(Command::Resume(run.id, said())).await.unwrap();
                bed.pass(1).await;
            }
            let run = bed.until_rest(3600).await;
            let ended = run.finished.map(|end| end.0);
            assert_eq!(ended, Some(Outcome::Succeeded), "{action} {wrong:?}: {:?}", run.parked);
            assert_eq!(bed.patient.voters().len(), 3);
            assert!(["m1", "m2", "m3"].iter().all(|member| !bed.patient.residue(member)));
        }
    }
}

/// What it began may go on without it: nobody tries it again or takes it back before a person looked.
/// Rows: E9, E22.
#[tokio::test(start_paused = true)]
async fn an_act_that_panics_is_in_doubt() {
    for moment in [Moment::Before, Moment::After] {
        for action in ["host.service.mask", "etcd.restore", "etcd.member_promote"] {
            let panics = Wrong::Panics(moment);
            let patient = three().fault(Fault::new(Ask::Act, action, panics.clone()));
            let bed = Bed::start(patient, Mode::Auto, 1000).await;
            bed.pass(30).await;
            bed.lose_majority().await;
            let run = bed.until_rest(3 * 3600).await;
            assert!(bed.patient.met(&panics), "{action}");
            let why = run.parked.map(|parked| parked.why).unwrap_or_default();
            assert!(why.contains("broke off"), "{action} {moment:?}: {why}");
            assert!(run.unwind.is_none(), "{action} {moment:?}");
            let calls = bed.patient.calls().into_iter().filter(|call| call.0 == action).count();
            assert_eq!(calls, 1, "{action} {moment:?}");
        }
    }
}

/// The step of `c1` breaks off where it lists the commands of its question.
#[tokio::test(start_paused = true)]
async fn a_step_that_breaks_off_stops_its_cell_alone_and_everybody_can_see_it() {
    let other = second();
    let setup = Setup { others: vec![other.clone()], ..Setup::new(Mode::Propose) };
    let bed = Bed::with(three(), Setup { budget: 1000, ..setup }).await;
    bed.pass(30).await;
    bed.gate.breaks_steps.store(true, Ordering::SeqCst);
    bed.lose_majority().await;
    let stopped = async |bed: &Bed| bed.handle.state().why_stopped(&"c1".into()).is_some();
    bed.until(300, "c1 stops", stopped).await;
    // who wants something of it is told, whatever it is
    let pause = Command::Pause { cluster: "c1".into(), said: said(), lasts: None };
    let refused = bed.command(pause).await.unwrap_err();
    assert!(matches!(refused, CommandError::ClusterStopped { .. }), "{refused}");
    assert!(refused.to_string().contains("restart quorate"), "{refused}");
    bed.handle.look_now("c1".into()).await;
    bed.alert("etcdNoLeader", &[], true).await;
    let scrape = bed.handle.state().scrape(0);
    assert_eq!(scrape.cluster_stopped, ["c1".into()]);
    let view = crate::http::views::ClusterView::line(
        bed.handle.state(),
        &bed.handle.state().cell("c1").unwrap(),
    );
    assert!(view.stopped.is_some() && view.reason.contains("not worked on any more"));
    // the other one is worked on
    lose_second(&bed, &other).await;
    let ends = async |bed: &Bed| outcome_of_second(bed).await == Some(Outcome::Succeeded);
    bed.until(900, "c2 is repaired", ends).await;
    // a restart takes the cell up again where it was
    bed.gate.breaks_steps.store(false, Ordering::SeqCst);
    let bed = bed.crash().await;
    bed.until_asked().await;
}

/// `c1` waits for what never comes; `c2` needs the only permit.
const WAITS: &str = r#"
    - name: wait
      wait: {until: 'cluster.name == "c2" || etcd.verdict == "healthy"', timeout: 50m}
    - name: touch
      host.service.set_args: {member: "${cluster.name == 'c2' ? 'n2' : 'm2'}", args: {x: "1"}}
"#;

#[tokio::test(start_paused = true)]
async fn a_run_that_waits_holds_no_place_that_another_cluster_needs() {
    let other = second();
    let setup = Setup { others: vec![other.clone()], runs_concurrent: 1, ..small(WAITS) };
    let bed = Bed::with(three(), setup).await;
    bed.pass(30).await;
    bed.lose_majority().await;
    bed.until(300, "c1 waits", async |bed| !bed.runs().await.is_empty()).await;
    lose_second(&bed, &other).await;
    let acted = async |_: &Bed| other.effects_of("host.service.set_args") == 1;
    bed.until(300, "c2 acts", acted).await;
    assert!(bed.runs().await[0].finished.is_none(), "c1 waits on");
}

#[tokio::test(start_paused = true)]
async fn a_loop_that_does_not_come_round_is_noticed() {
    let bed = Bed::start(three(), Mode::Propose, 0).await;
    bed.pass(600).await;
    assert!(bed.handle.state().is_beating());
    let (store, clock) = (memory(), Clock::at(bed.now()));
    let started =
        Engine::start(bed.settings.clone(), Vec::new(), store, bed.metrics.clone(), clock);
    let (_never_run, handle) = started.await.unwrap();
    assert!(handle.state().is_beating());
    bed.pass(40).await;
    assert!(handle.is_running() && !handle.state().is_beating());
}

/// Each list of one cluster reads what that one holds, and nothing else.
#[tokio::test(start_paused = true)]
async fn a_list_of_one_cluster_walks_no_other() {
    let other = second();
    let setup = Setup { others: vec![other.clone()], ..Setup::new(Mode::Propose) };
    let bed = Bed::with(three(), setup).await;
    bed.pass(30).await;
    bed.lose_majority().await;
    lose_second(&bed, &other).await;
    bed.pass(120).await;
    let state = bed.handle.state();
    let walked = |cluster: Option<&str>| {
        let mut seen = (Vec::new(), Vec::new());
        state.incidents(
            None,
            cluster,
            |cell, _| {
                seen.0.push(cell.name().to_string());
                Some(())
            },
            9,
        );
        state.runs(
            None,
            cluster,
            |cell, _| {
                seen.1.push(cell.name().to_string());
                Some(())
            },
            9,
        );
        seen
    };
    let one = |name: &str| vec![name.to_owned()];
    assert_eq!(walked(Some("c2")), (one("c2"), one("c2")));
    assert_eq!(walked(Some("c1")), (one("c1"), one("c1")));
    assert_eq!(walked(None).0.len(), 2);
    assert_eq!(walked(Some("none")), (Vec::new(), Vec::new()));
    let all = state.incidents(None, Some("c2"), |_, one| Some(one.id), 9);
    assert!(state.incidents(Some(all[0]), Some("c2"), |_, one| Some(one.id), 9).is_empty());
}

/// Alerts that nothing answers, each of another name.
async fn flood(bed: &Bed, seconds: u64) {
    for n in 0..seconds * 20 {
        let alert = Incoming {
            labels: Labels::new([("alertname", "X"), ("cluster", "c1"), ("n", &n.to_string())]),
            firing: true,
            starts_at: bed.now(),
            ends_at: None,
            silenced: None,
        };
        bed.handle.observe(vec![alert]).await.unwrap();
        let_pass(Duration::from_millis(50)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_alerts_keeps_no_look_and_no_decision_waiting() {
    let bed = Bed::start(three(), Mode::Auto, 1000).await;
    bed.pass(30).await;
    bed.lose_majority().await;
    flood(&bed, 100).await;
    assert!(!bed.runs().await.is_empty(), "a run began within the flood");
}

fn node_alert(bed: &Bed) -> Incoming {
    let labels = [("alertname", "KubeNodeNotReady"), ("cluster", "c1"), ("node", "n1")];
    Incoming {
        labels: Labels::new(labels),
        firing: true,
        starts_at: bed.now(),
        ends_at: None,
        silenced: None,
    }
}

/// Rows: E22. Nothing repeats the alert.
#[tokio::test(start_paused = true)]
async fn an_acked_alert_opens_its_incident_where_quorate_was_killed_between_the_two() {
    let bed = Bed::start(three(), Mode::Propose, 0).await;
    bed.pass(30).await;
    bed.gate.shut_after(0, true);
    bed.store.hold();
    let (handle, alert) = (bed.handle.clone(), node_alert(&bed));
    let sent = tokio::spawn(async move { handle.observe(vec![alert]).await });
    handed_over().await;
    bed.store.release(); // the alert is durable
    bed.store.hold(); // and nothing after it is
    sent.await.unwrap().unwrap();
    handed_over().await;
    let bed = bed.crash().await;
    bed.pass(15).await;
    let incidents = bed.incidents().await;
    assert_eq!(incidents.len(), 1, "{incidents:#?}");
}

#[tokio::test(start_paused = true)]
async fn a_when_that_becomes_true_with_time_opens_its_incident_without_another_alert() {
    let mut files = super::bed::shipped();
    files[1].1 = files[1].1.replace(
        "when: 'signals.not_ready.firing > 0'",
        "when: 'signals.not_ready.firing > 0 && signals.not_ready.age > duration(\"5m\")'",
    );
    let setup = Setup { rules: Some(files), ..Setup::new(Mode::Propose) };
    let bed = Bed::with(three(), setup).await;
    bed.pass(30).await;
    bed.handle.observe(vec![node_alert(&bed)]).await.unwrap();
    bed.pass(290).await;
    assert!(bed.incidents().await.is_empty(), "not yet");
    bed.pass(25).await;
    assert_eq!(bed.incidents().await.len(), 1);
}

/// The wall clock is an hour earlier after the restart.
#[tokio::test(start_paused = true)]
async fn a_clock_that_was_set_back_holds_no_retry_still() {
    let action = "etcd.member_add_learner";
    let patient = three().fail_from(action, 1, ErrorKind::UnhealthyCluster);
    let bed = Bed::start(patient, Mode::Auto, 1000).await;
    bed.pass(30).await;
    bed.lose_majority().await;
    let retries =
        async |bed: &Bed| bed.patient.calls().iter().filter(|c| c.0 == action).count() > 2;
    bed.until(600, "it is tried again", retries).await;
    bed.task.abort();
    let (store, calls) = (bed.store.restart(), bed.patient.calls().len());
    let mut epoch = bed.now();
    epoch.0 -= 3_600_000;
    let bed = Bed::on(bed.patient.clone(), store, bed.setup.clone(), epoch).await;
    bed.until(120, "it goes on", async |bed| bed.patient.calls().len() > calls + 3).await;
}
