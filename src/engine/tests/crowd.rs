//! Labels that take ever new values: what is bounded, what never is, and what is said of it.

use super::bed::{Bed, QUORUM, handed_over, three};
use crate::{
    domain::{
        alert::{Incoming, labels::Labels},
        incident::bounds::{INCIDENTS_MAX, SUBJECTS_MAX},
        inventory::Mode,
    },
    sim::State,
};

const SERIES: &str = r#"quorate_subjects_refused_total{cluster="c1",response="node-not-ready"} "#;

/// Alerts about that many nodes, in one delivery.
async fn nodes(bed: &Bed, count: usize, firing: bool) {
    let now = bed.now();
    let alert = |node: usize| Incoming {
        labels: Labels::new([
            ("alertname", "KubeNodeNotReady"),
            ("cluster", "c1"),
            ("node", &format!("n{node}")),
        ]),
        firing,
        starts_at: now,
        ends_at: (!firing).then_some(now),
        silenced: None,
    };
    bed.handle.observe((0..count).map(alert).collect()).await.unwrap();
    handed_over().await;
}

fn refused(bed: &Bed) -> usize {
    let page = bed.metrics.render();
    let value = page.lines().find_map(|line| line.strip_prefix(SERIES));
    value.map_or(0, |value| value.parse().unwrap())
}

async fn open(bed: &Bed, response: &str) -> usize {
    let incidents = bed.incidents().await;
    let of = |i: &&_| incident_is(i, response);
    incidents.iter().filter(of).count()
}

fn incident_is(incident: &crate::domain::incident::Incident, response: &str) -> bool {
    incident.closed.is_none() && incident.subject.response.as_str() == response
}

#[tokio::test(start_paused = true)]
async fn a_runaway_node_label_keeps_no_quorum_incident_from_opening_and_is_counted() {
    let bed = Bed::start(three(), Mode::Propose, 0).await;
    bed.pass(30).await;
    nodes(&bed, SUBJECTS_MAX + 1, true).await;
    assert_eq!(open(&bed, "node-not-ready").await, INCIDENTS_MAX);
    // one has no subject, the others no incident
    assert_eq!(refused(&bed), 1 + SUBJECTS_MAX - INCIDENTS_MAX);
    bed.patient.set("m2", State::Gone);
    bed.patient.set("m3", State::Gone);
    bed.alert(QUORUM, &[], true).await;
    assert_eq!(open(&bed, "etcd-quorum-lost").await, 1);
}
