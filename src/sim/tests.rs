//! The model walks the order of the shipped rebuild, and its faults do what they say.

use std::collections::BTreeMap;

use super::*;
use crate::{
    domain::{
        base::{id::RunId, time::Time},
        rules::{
            action::{Call, Done, Failure, Probed},
            expr::Value,
        },
    },
    targets::{Deadline, Depth, Target as _, catalogue::catalogue},
};

fn mk_call(action: &str, args: &[(&str, Value)]) -> Call {
    let args: BTreeMap<String, Value> =
        args.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    Call { action: action.into(), args, run: RunId(uuid::Uuid::from_u128(77)), started_at: Time(5) }
}

fn soon() -> Deadline {
    Deadline::after(Duration::from_mins(1))
}

async fn act(patient: &FakeTarget, action: &str, args: &[(&str, Value)]) -> Result<Done, Failure> {
    assert!(catalogue().contains_key(action), "{action} is no row");
    let call = mk_call(action, args);
    let before = patient.before(&call).await?;
    patient.act(&call, &before, &soon()).await
}

async fn do_(patient: &FakeTarget, action: &str, member: &str) -> Done {
    act(patient, action, &[("member", Value::str(member))]).await.unwrap()
}

fn text(done: &Done, field: &str) -> String {
    done.output.get(field).and_then(Value::as_str).unwrap().to_owned()
}

#[tokio::test]
async fn a_lost_majority_is_rebuilt_in_the_order_of_the_playbook() {
    let patient = FakeTarget::new(["m1", "m2", "m3"]).revision(100).gone("m2").gone("m3");
    assert!(patient.voters().is_empty());
    let snapshot = do_(&patient, "etcd.snapshot", "m1").await;
    let among = Value::map([("m1", Value::map([("snapshot", snapshot.output.clone())]))]);
    let chosen = act(&patient, "etcd.choose_survivor", &[("among", among)]).await.unwrap();
    assert_eq!(text(&chosen, "member"), "m1");
    let m1 = ("member", Value::str("m1"));
    assert_eq!(
        act(&patient, "etcd.data_out", &[m1.clone(), ("to", Value::str("old"))])
            .await
            .unwrap_err()
            .kind,
        ErrorKind::Conflict
    );
    do_(&patient, "host.service.stop", "m1").await;
    let restore = [
        m1.clone(),
        ("snapshot", Value::str(text(&snapshot, "path"))),
        ("to", Value::str("new")),
        ("bump", Value::Int(1000)),
    ];
    let restored = act(&patient, "etcd.restore", &restore).await.unwrap();
    act(&patient, "etcd.data_out", &[m1.clone(), ("to", Value::str("old"))]).await.unwrap();
    act(&patient, "etcd.data_in", &[m1, ("from", Value::str("new"))]).await.unwrap();
    do_(&patient, "host.service.start", "m1").await;
    assert_eq!(patient.voters(), ["m1".into()]);
    for member in ["m2", "m3"] {
        let name = ("member", Value::str(member));
        let refused =
            act(&patient, "host.service.start", std::slice::from_ref(&name)).await.unwrap_err();
        assert_eq!(refused.kind, ErrorKind::Invalid);
        let added = do_(&patient, "etcd.member_add_learner", member).await;
        let id = ("id", Value::str(text(&added, "id")));
        let args = Value::map([("initial-cluster-state", Value::str("existing"))]);
        assert_eq!(
            act(&patient, "etcd.member_promote", std::slice::from_ref(&id)).await.unwrap_err().kind,
            ErrorKind::NotInSync
        );
        act(&patient, "host.service.set_args", &[name, ("args", args)]).await.unwrap();
        do_(&patient, "host.service.start", member).await;
        act(&patient, "etcd.member_promote", &[id]).await.unwrap();
        do_(&patient, "host.service.reset_args", member).await;
    }
    assert_eq!(patient.voters().len(), 3);
    let compared = act(&patient, "etcd.compare", &[]).await.unwrap();
    assert_eq!(compared.output.get("equal"), Some(&Value::Bool(true)));
    assert_eq!(patient.data("m3"), Some((text(&restored, "cluster_id"), 1100)));
    assert!(!patient.residue("m3"));
    assert_eq!(patient.effects_of("etcd.restore"), 1);
}

/// Rows: E2.
#[tokio::test]
async fn a_member_restarted_without_quorum_is_silent_and_read_by_its_copy() {
    let patient =
        FakeTarget::new(["m1", "m2", "m3"]).revision(9).gone("m2").gone("m3").silent("m1");
    let seen = patient.assess(Depth::Full, &|| Time(1)).await;
    assert!(seen.members["m1"].client.value().is_none());
    assert!(seen.members["m1"].peer.value().is_some());
    assert!(seen.voters.is_none());
    do_(&patient, "host.service.stop", "m1").await;
    let m1 = ("member", Value::str("m1"));
    act(&patient, "etcd.data_copy", &[m1.clone(), ("to", Value::str("scratch"))]).await.unwrap();
    do_(&patient, "etcd.scratch_start", "m1").await;
    let snapshot =
        act(&patient, "etcd.snapshot", &[m1, ("of", Value::str("scratch"))]).await.unwrap();
    assert_eq!(snapshot.output.get("revision"), Some(&Value::Int(9)));
    assert!(do_(&patient, "etcd.scratch_stop", "m1").await.changed);
    assert!(!do_(&patient, "etcd.scratch_stop", "m1").await.changed);
}

#[tokio::test]
async fn named_calls_fail_or_halt_and_the_probe_tells_what_happened() {
    let patient = FakeTarget::new(["m1", "m2", "m3"])
        .fail("host.service.stop", 1, ErrorKind::Tool)
        .halt("host.service.stop", 2, Moment::After);
    let call = mk_call("host.service.stop", &[("member", Value::str("m1"))]);
    let before = patient.before(&call).await.unwrap();
    assert_eq!(patient.act(&call, &before, &soon()).await.unwrap_err().kind, ErrorKind::Tool);
    assert_eq!(patient.probe(&call, &before).await, Probed::not_done("it runs"));
    let deadline = soon();
    tokio::select! {
        _ = patient.act(&call, &before, &deadline) => unreachable!("it halts"),
        () = patient.halted() => {}
    }
    assert!(matches!(patient.probe(&call, &before).await, Probed::Done(done) if done.changed));
    assert_eq!(patient.effects(), [("host.service.stop".into(), "m1".into())]);
    assert_eq!(patient.calls().len(), 2);
}

#[tokio::test]
async fn a_healthy_cluster_shows_its_voters_and_a_blind_look_shows_nothing() {
    let patient = FakeTarget::new(["m1", "m2", "m3"]).revision(5);
    let seen = patient.assess(Depth::Watch, &|| Time(1)).await;
    assert_eq!(seen.voters.unwrap().voters().count(), 3);
    assert!(patient.write(3));
    patient.set_blind(true);
    let seen = patient.assess(Depth::Full, &|| Time(1)).await;
    assert!(
        seen.voters.is_none()
            && seen.members.values().all(|member| member.client.value().is_none())
    );
    patient.set_blind(false);
    patient.set_partitioned(true);
    assert!(!patient.write(1));
    assert!(patient.assess(Depth::Full, &|| Time(1)).await.voters.is_none());
}

/// Rows: E4.
#[tokio::test]
async fn another_cluster_or_other_members_than_expected_are_not_equal() {
    let patient = FakeTarget::new(["m1", "m2", "m3"]).revision(5);
    let compared = act(&patient, "etcd.compare", &[]).await.unwrap().output;
    let first = |field: &str| compared.get(field).and_then(Value::as_list).unwrap().to_vec();
    let (cluster, ids) = (first("cluster_ids").remove(0), first("ids"));
    let stranger = Value::str("00000000000000ff");
    let other = || [&ids[..2], std::slice::from_ref(&stranger)].concat();
    for (cluster, ids, equal) in [
        (cluster.clone(), ids.clone(), true),
        (stranger.clone(), ids.clone(), false),
        (Value::str("no id"), ids.clone(), false),
        (cluster.clone(), ids[..2].to_vec(), false),
        (cluster.clone(), other(), false),
    ] {
        let args = [("cluster_id", cluster), ("ids", Value::list(ids))];
        let compared = act(&patient, "etcd.compare", &args).await.unwrap();
        assert_eq!(compared.output.get("equal"), Some(&Value::Bool(equal)), "{args:?}");
    }
}

fn stop_m1() -> Call {
    mk_call("host.service.stop", &[("member", Value::str("m1"))])
}

/// Rows: E22.
#[tokio::test(start_paused = true)]
async fn each_question_fails_hangs_or_is_late_where_a_fault_says_so() {
    let (call, brief) = (stop_m1(), Duration::from_secs(9));
    let minute = Wrong::Late(Duration::from_mins(1));
    let patient = FakeTarget::new(["m1", "m2", "m3"])
        .fault(Fault::new(Ask::Before, "host.service.stop", Wrong::Fails(ErrorKind::Denied)))
        .fault(Fault::new(Ask::Probe, "host.service.stop", Wrong::Fails(ErrorKind::Other)))
        .fault(Fault::new(Ask::Probe, "host.service.stop", Wrong::Hangs(Moment::Before)).nth(2))
        .fault(Fault::look(minute.clone()))
        .fault(Fault::look(Wrong::Fails(ErrorKind::Timeout)).nth(2))
        .fault(Fault::look(Wrong::Hangs(Moment::Before)).nth(3));
    assert_eq!(patient.before(&call).await.unwrap_err().kind, ErrorKind::Denied);
    let before = patient.before(&call).await.unwrap();
    assert!(matches!(patient.probe(&call, &before).await, Probed::Unknown(_)));
    let hangs = tokio::time::timeout(brief, patient.probe(&call, &before)).await;
    assert!(hangs.is_err());
    assert!(matches!(patient.probe(&call, &before).await, Probed::NotDone { .. }));
    let began = Instant::now();
    assert!(patient.assess(Depth::Full, &|| Time(1)).await.voters.is_some());
    assert_eq!(began.elapsed(), Duration::from_mins(1));
    let nobody = patient.assess(Depth::Full, &|| Time(1)).await;
    assert!(nobody.voters.is_none() && nobody.members["m1"].process.value().is_none());
    let hangs = tokio::time::timeout(brief, patient.assess(Depth::Full, &|| Time(1))).await;
    assert!(hangs.is_err());
    let patient = patient.fault(Fault::new(Ask::Act, "host.service.stop", minute));
    let failure = patient.act(&call, &before, &Deadline::after(brief)).await.unwrap_err();
    assert_eq!((failure.kind, failure.still_running), (ErrorKind::Timeout, false));
    assert_eq!(patient.effects_of("host.service.stop"), 1, "the answer was late, not the effect");
}

/// Rows: E22.
#[tokio::test]
async fn a_question_panics_where_a_fault_says_so() {
    for moment in [Moment::Before, Moment::After] {
        let patient = FakeTarget::new(["m1", "m2", "m3"]).fault(Fault::new(
            Ask::Act,
            "host.service.stop",
            Wrong::Panics(moment),
        ));
        let (copy, call) = (patient.clone(), stop_m1());
        let act = tokio::spawn(async move { copy.act(&call, &Value::Null, &soon()).await });
        assert!(act.await.unwrap_err().is_panic());
        let effects = patient.effects_of("host.service.stop");
        assert_eq!(effects, usize::from(moment == Moment::After));
    }
}

/// Rows: E22.
#[tokio::test(start_paused = true)]
async fn what_is_still_at_work_is_told_locks_its_member_and_takes_effect_later() {
    let lags = Wrong::Lags(Duration::from_secs(150));
    let patient =
        FakeTarget::new(["m1", "m2", "m3"]).fault(Fault::new(Ask::Act, "host.service.stop", lags));
    let call = stop_m1();
    let before = patient.before(&call).await.unwrap();
    let failure = patient.act(&call, &before, &soon()).await.unwrap_err();
    assert!(failure.still_running, "{failure}");
    let start = mk_call("host.service.start", &[("member", Value::str("m1"))]);
    let locked = patient.act(&start, &Value::Null, &soon()).await.unwrap_err();
    assert!(locked.still_running && patient.runs("m1"), "{locked}");
    assert!(matches!(patient.probe(&call, &before).await, Probed::Done(done) if done.changed));
    assert!(!patient.runs("m1"), "it took effect behind everybody's back");
    assert_eq!(patient.effects(), [("host.service.stop".into(), "m1".into())]);
}

#[tokio::test]
async fn a_log_that_was_touched_disproves_no_start() {
    let patient = FakeTarget::new(["m1", "m2", "m3"]).stopped("m1");
    let start = mk_call("host.service.start", &[("member", Value::str("m1"))]);
    let before = patient.before(&start).await.unwrap();
    assert!(matches!(patient.probe(&start, &before).await, Probed::NotDone { .. }));
    patient.touch("m1");
    assert!(matches!(patient.probe(&start, &before).await, Probed::Unknown(_)));
}
