//! A repair that is given up past its point of no return: what it lost is written down, and what it
//! left to be done stays visible until the cluster is whole.

use std::{collections::BTreeMap, time::Duration};

use super::bed::{Bed, said, three};
use crate::{
    domain::{
        base::time::Time,
        inventory::Mode,
        rules::{
            action::{Call, ErrorKind},
            expr::Value,
        },
        run::state::Run,
    },
    engine::commands::Command,
    http::views::{Question, RunView, WhyView},
    sim::{FakeTarget, State},
    targets::{Deadline, Target as _},
};

/// The others cannot be added: the run parks with one voter of three.
async fn given_up() -> (Bed, Run) {
    given_up_on(three().fail_from("etcd.member_add_learner", 1, ErrorKind::Tool)).await
}

async fn given_up_on(patient: FakeTarget) -> (Bed, Run) {
    let bed = Bed::start(patient, Mode::Auto, 1000).await;
    bed.pass(30).await;
    bed.lose_majority().await;
    let run = bed.until_rest(1200).await;
    assert!(run.parked.is_some() && run.past_return.is_some());
    bed.command(Command::Abandon(run.id, said())).await.unwrap();
    bed.until(300, "it ends", async |bed| bed.runs().await[0].finished.is_some()).await;
    bed.pass(30).await;
    (bed, run)
}

fn left(bed: &Bed) -> Vec<(String, u64)> {
    let left = bed.handle.state().scrape(0).repair_leftovers;
    left.into_iter().map(|(cluster, count)| (cluster.to_string(), count)).collect()
}

fn view(bed: &Bed, run: &Run) -> RunView {
    let state = bed.handle.state();
    let cell = state.cell("c1").unwrap();
    RunView::whole(&cell, cell.state.runs.get(&run.id).unwrap(), state.now())
}

async fn act(patient: &FakeTarget, action: &str, args: &[(&str, Value)]) -> Value {
    let args = args.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
    let call = Call {
        action: action.into(),
        args: args.collect::<BTreeMap<_, _>>(),
        run: crate::domain::base::id::RunId(uuid::Uuid::nil()),
        started_at: Time(0),
    };
    let before = patient.before(&call).await.unwrap();
    let deadline = Deadline::after(Duration::from_mins(1));
    patient
        .act(&call, &before, &deadline)
        .await
        .unwrap_or_else(|e| panic!("{action}: {e:?}"))
        .output
}

/// A person adds a member by hand, as the listed commands say.
async fn join(patient: &FakeTarget, member: &str) {
    let named = || ("member", Value::str(member));
    act(patient, "host.service.stop", &[named()]).await;
    act(patient, "etcd.data_out", &[named(), ("to", Value::str("failed"))]).await;
    let added = act(patient, "etcd.member_add_learner", &[named()]).await;
    let args = Value::map([
        ("initial-cluster-state", Value::str("existing")),
        ("initial-cluster", added.get("initial_cluster").unwrap().clone()),
    ]);
    act(patient, "host.service.set_args", &[named(), ("args", args)]).await;
    act(patient, "host.service.unmask", &[named()]).await;
    act(patient, "host.service.start", &[named()]).await;
    act(patient, "etcd.member_promote", &[("id", added.get("id").unwrap().clone())]).await;
    act(patient, "host.service.reset_args", &[named()]).await;
}

/// Rows: E19, E21.
#[tokio::test(start_paused = true)]
async fn what_a_run_left_that_was_given_up_is_told_until_the_cluster_is_whole() {
    let (bed, run) = given_up().await;
    assert_eq!(bed.known(|state| state.losses.size()).await, 1, "what it lost is written down");
    assert_eq!(left(&bed), [("c1".into(), 2)], "two of three members are no voters");
    let shown = view(&bed, &run).leftovers;
    for (member, left) in ["m2", "m3"].into_iter().zip(&shown) {
        assert!(left.what.contains(member), "{left:?}");
        let commands = left.commands.join("\n");
        for action in ["etcd.member_add_learner", "host.service.unmask", "host.service.start"] {
            assert!(commands.contains(&format!("{action} {member}")), "{action}: {commands}");
        }
    }
    let (state, question) = (bed.handle.state(), Question::Run(run.id));
    let why = WhyView::new(state, &run.id.to_string(), &question, &question.about(state)).unwrap();
    assert!(why.next.iter().any(|next| next.starts_with("by hand: m2")), "{:?}", why.next);
    let bed = bed.crash_for(3600).await;
    bed.pass(30).await;
    assert_eq!(left(&bed), [("c1".into(), 2)], "a restart forgets nothing");
    bed.patient.heal("etcd.member_add_learner");
    join(&bed.patient, "m2").await;
    bed.pass(70).await;
    assert_eq!(left(&bed), [("c1".into(), 1)]);
    join(&bed.patient, "m3").await;
    bed.pass(70).await;
    assert_eq!(left(&bed), []);
    assert!(view(&bed, &run).leftovers.is_empty());
    bed.patient.set("m3", State::Stopped);
    bed.pass(70).await;
    assert_eq!(left(&bed), [], "what comes later is not what the run left");
}

/// A finalizer that fails to the end is among what is left, with the command that makes up for it.
/// Rows: A6, E8, E19.
#[tokio::test(start_paused = true)]
async fn a_finalizer_that_was_given_up_is_told_until_the_cluster_is_whole() {
    let patient = three().fail_from("host.service.reset_args", 1, ErrorKind::Tool);
    let patient = patient.fail_from("etcd.compare", 1, ErrorKind::Tool);
    let bed = Bed::start(patient, Mode::Auto, 1000).await;
    bed.pass(30).await;
    bed.lose_majority().await;
    let run = bed.until_rest(3600).await;
    assert!(run.parked.is_some() && run.past_return.is_some(), "{:?}", run.finished);
    bed.command(Command::Abandon(run.id, said())).await.unwrap();
    bed.until(300, "it ends", async |bed| bed.runs().await[0].finished.is_some()).await;
    let shown = view(&bed, &run).leftovers;
    assert_eq!(shown[0].what, "step rejoin[m2].args left host.service.reset_args undone");
    assert_eq!(shown[0].commands, ["host.service.reset_args m2"]);
    assert_eq!((shown.len(), left(&bed)), (2, vec![("c1".into(), 2)]), "{shown:?}");
    bed.patient.heal("host.service.reset_args");
    act(&bed.patient, "host.service.reset_args", &[("member", Value::str("m2"))]).await;
    bed.pass(70).await;
    assert_eq!(left(&bed), [("c1".into(), 2)], "nobody can see that: it is told on");
    join(&bed.patient, "m3").await;
    bed.pass(70).await;
    assert_eq!(left(&bed), []);
}

/// What is left about each member, by the commands for it.
fn listed(bed: &Bed, run: &Run) -> BTreeMap<String, (String, String)> {
    let left = view(bed, run).leftovers.into_iter();
    left.map(|left| {
        let member = left.what.split(' ').next().unwrap().to_owned();
        (member, (left.what, left.commands.join("\n")))
    })
    .collect()
}

/// The restored directory is all there is of the cluster, with what clients wrote to it since.
#[tokio::test(start_paused = true)]
async fn the_data_of_the_survivor_is_never_to_be_moved_away() {
    let patient = three().fail_from("host.service.start", 1, ErrorKind::Tool);
    let (bed, run) = given_up_on(patient).await;
    let left = listed(&bed, &run);
    assert_eq!(left.keys().collect::<Vec<_>>(), ["m1", "m2", "m3"]);
    let (what, commands) = &left["m1"];
    assert_eq!(commands, "host.service.start m1");
    assert!(what.contains("move nothing"), "{what}");
    assert!(left["m2"].1.contains("etcd.data_out m2"), "{left:?}");
    bed.patient.set("m1", State::Gone);
    bed.pass(70).await;
    let (what, commands) = &listed(&bed, &run)["m1"];
    assert_eq!(commands, "", "started without its data it would be a cluster of its own");
    assert!(what.contains("volume"), "{what}");
}

/// One that joined and is not seen well in a look is no stranger.
#[tokio::test(start_paused = true)]
async fn a_voter_of_the_new_list_is_only_to_be_started() {
    let patient = three().fail_from("etcd.member_add_learner", 2, ErrorKind::Tool);
    let (bed, run) = given_up_on(patient).await;
    assert_eq!(listed(&bed, &run).keys().collect::<Vec<_>>(), ["m3"]);
    bed.patient.set("m2", State::Stopped);
    bed.pass(70).await;
    let left = listed(&bed, &run);
    assert_eq!(left["m2"].1, "host.service.start m2");
    assert!(left["m3"].1.contains("etcd.member_add_learner m3"), "{left:?}");
}

#[tokio::test(start_paused = true)]
async fn a_closed_incident_is_in_no_phase() {
    let bed = Bed::start(three(), Mode::Auto, 1000).await;
    bed.pass(30).await;
    bed.lose_majority().await;
    bed.until(1200, "it closes", async |bed| bed.closed().await.is_some()).await;
    assert_eq!(bed.handle.state().scrape(0).incidents_open, []);
}
