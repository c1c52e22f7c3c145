//! What is removed from the configuration leaves nothing open that nobody can close.

use super::bed::{Bed, QUORUM, Setup, said, shipped, three};
use crate::{
    domain::{incident::Closed, inventory::Mode, run::state::Run},
    engine::commands::Command,
    sim::FakeTarget,
};

/// A run that asks, of the shipped rules.
async fn asks() -> (Bed, Run) {
    let bed = Bed::start(three(), Mode::Propose, 0).await;
    bed.pass(30).await;
    bed.lose_majority().await;
    let run = bed.until_asked().await;
    (bed, run)
}

/// Another start on the same journal, with another configuration.
async fn again(bed: Bed, setup: Setup) -> Bed {
    bed.task.abort();
    let (store, epoch) = (bed.store.restart(), bed.now());
    let bed = Bed::on(bed.patient.clone(), store, setup, epoch).await;
    bed.pass(5).await;
    bed
}

async fn last_line(bed: &Bed) -> String {
    bed.incidents().await[0].timeline.last().unwrap().1.clone()
}

#[tokio::test(start_paused = true)]
async fn a_response_that_is_removed_closes_its_incidents_and_its_run_can_be_ended() {
    let (bed, run) = asks().await;
    let setup = bed.setup.clone();
    let files = shipped().split_off(1);
    let bed = again(bed, Setup { rules: Some(files), ..setup.clone() }).await;
    assert_eq!(bed.closed().await, Some(Closed::Abandoned));
    let line = last_line(&bed).await;
    assert!(line.contains("response etcd-quorum-lost is not loaded any more"), "{line}");
    assert!(bed.runs().await[0].is_asking(), "the run keeps its plan");
    // the response is back: what is open from then on is not touched by the old run's end
    let bed = again(bed, setup).await;
    bed.alert(QUORUM, &[], false).await;
    bed.alert(QUORUM, &[], true).await;
    let open = async |bed: &Bed| bed.known(|state| state.open_incidents().count()).await;
    bed.until(60, "a new incident", async |bed| open(bed).await == 1).await;
    bed.command(Command::Deny(run.id, said())).await.unwrap();
    bed.until(300, "the run ends", async |bed| bed.runs().await[0].finished.is_some()).await;
    assert_eq!(open(&bed).await, 1);
}

#[tokio::test(start_paused = true)]
async fn a_cluster_that_is_removed_closes_its_incidents_and_its_run_is_parked_until_given_up() {
    let (bed, run) = asks().await;
    let other = FakeTarget::new(["n1"]).named("c2");
    let setup = Setup { names_first: false, others: vec![other], ..bed.setup.clone() };
    let bed = again(bed, setup.clone()).await;
    assert_eq!(bed.closed().await, Some(Closed::Abandoned));
    let line = last_line(&bed).await;
    assert!(line.contains("cluster c1 is not in the inventory any more"), "{line}");
    let parked = bed.until_rest(60).await.parked.expect("nothing can be done to it");
    assert!(parked.why.contains("not in the inventory any more"), "{}", parked.why);
    let looks = bed.patient.calls().len();
    bed.command(Command::Abandon(run.id, said())).await.unwrap();
    let ended = async |bed: &Bed| bed.runs().await[0].finished.is_some();
    bed.until(3600, "it ends", ended).await;
    assert_eq!(bed.patient.calls().len(), looks, "nothing is done to it");
    // nothing is open: the next start leaves it out
    let bed = again(bed, setup).await;
    assert!(bed.handle.state().cell("c1").is_none());
}
