//! The whole way on modelled targets: alert, grace, decision, run, proof.

use super::bed::Bed;
use crate::{
    domain::{inventory::Mode, run::event::Outcome},
    sim::{FakeTarget, State},
};

fn three() -> FakeTarget {
    FakeTarget::new(["m1", "m2", "m3"]).named("c1").revision(100)
}

/// Rows: B5, B8, B14, B18.
#[tokio::test(start_paused = true)]
async fn a_majority_that_is_gone_for_good_is_rebuilt_from_the_survivor() {
    let bed = Bed::start(three(), Mode::Auto, 1000).await;
    bed.pass(30).await;
    bed.patient.set("m2", State::Gone);
    bed.patient.set("m3", State::Gone);
    bed.alert("etcdInsufficientMembers", &[], true).await;
    bed.until(30, "grace", async |bed| bed.reason("etcd-quorum-lost").await == "grace").await;
    bed.until(120, "a run", async |bed| !bed.runs().await.is_empty()).await;
    bed.until(600, "the run ends", async |bed| bed.runs().await[0].finished.is_some()).await;
    let runs = bed.runs().await;
    bed.show().await;
    assert_eq!(runs[0].finished.as_ref().map(|(outcome, ..)| *outcome), Some(Outcome::Succeeded));
    bed.stop().await;
}
