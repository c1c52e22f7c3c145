//! What is filed, what is refused, and what is forgotten.

use super::*;
use crate::domain::{
    alert::{Alerts, Delivery, Incoming, OwnerId, labels::Labels},
    incident::bounds::{CardinalityLimit, INCIDENTS_MAX},
    rules::{self, action::Catalogue},
};

const NOW: Time = Time(1_800_000_000_000);

const QUORUM: &str = "apiVersion: quorate/v1
kind: Response
metadata: {name: quorum-lost, description: No quorum.}
spec:
  about: etcd
  subject: [cluster]
  signals: {quorum: '{alertname=\"etcdInsufficientMembers\"}', nodes: '{alertname=\"KubeNodeNotReady\"}'}
  when: 'signals.quorum.firing > 0'
  confirm: 'etcd.verdict == \"lost\"'
  grace: {for: 60s, samples: 6, max_gap: 15s}
  ladder: []
";

fn responses() -> BTreeMap<ResponseName, Arc<Response>> {
    let node = include_str!("../../../../rules/responses/node-not-ready.yaml");
    let files = [("a.yaml", QUORUM), ("b.yaml", node)];
    let files = files.map(|(name, text)| (name.to_owned(), text.to_owned()));
    let (loaded, found) = rules::load(&files, &Catalogue::default());
    assert!(!rules::has_errors(&found), "{found:#?}");
    loaded.responses
}

/// An index with its alerts.
struct Bed {
    responses: BTreeMap<ResponseName, Arc<Response>>,
    alerts: Alerts,
    index: BTreeMap<ClusterName, Correlation>,
}

impl Bed {
    fn new() -> Self {
        let alerts = Alerts::default();
        Self { responses: responses(), alerts, index: BTreeMap::new() }
    }

    fn says(&mut self, cluster: &str, labels: &[(&str, &str)], firing: bool, now: Time) -> Filed {
        let incoming = Incoming {
            labels: Labels::new([("cluster", cluster)].into_iter().chain(labels.iter().copied())),
            firing,
            starts_at: now,
            ends_at: (!firing).then_some(now),
            silenced: None,
        };
        let mut delivery = Delivery::at(now);
        let fold = self.alerts.observe(&mut delivery, incoming, |_| OwnerId::NONE).unwrap();
        let alert = &fold.alert;
        let cluster = ClusterName::from(cluster);
        let index = self.index.entry(cluster.clone()).or_default();
        index.observe(&cluster, &self.responses, alert, now)
    }

    fn node(&mut self, cluster: &str, node: usize, firing: bool, now: Time) -> Filed {
        let node = format!("n{node}");
        self.says(cluster, &[("alertname", "KubeNodeNotReady"), ("node", &node)], firing, now)
    }

    fn of(&self, cluster: &str) -> &Correlation {
        &self.index[&ClusterName::from(cluster)]
    }

    fn forget(&mut self, now: Time) {
        for index in self.index.values_mut() {
            index.forget(&self.responses, now);
        }
    }
}

fn labelled(filed: &[Subject]) -> usize {
    filed.iter().filter(|subject| is_bounded(subject)).count()
}

#[test]
fn too_many_nodes_hold_out_neither_a_whole_cluster_nor_another_cluster() {
    let mut bed = Bed::new();
    for node in 0..SUBJECTS_MAX {
        assert_eq!(bed.node("c1", node, true, NOW).refused, []);
    }
    let one_more = bed.node("c1", SUBJECTS_MAX, true, NOW);
    assert_eq!((labelled(&one_more.refused), one_more.refused.len()), (1, 1));
    assert_eq!(one_more.touched.len(), 1, "the cluster's own subject takes it all the same");
    assert_eq!(bed.node("c1", 7, true, NOW).refused, [], "who is known is not refused");
    for cluster in ["c1", "c2"] {
        let filed = bed.says(cluster, &[("alertname", "etcdInsufficientMembers")], true, NOW);
        assert_eq!((filed.touched.len(), filed.refused.len()), (1, 0), "{cluster}");
        let (subject, response) = (&filed.touched[0], &bed.responses["quorum-lost"]);
        let signals = bed.of(cluster).signals(subject, response, NOW);
        assert_eq!(signals.iter().find(|s| s.name == "quorum").unwrap().firing, 1);
    }
    let other = bed.node("c2", 0, true, NOW);
    assert_eq!((labelled(&other.touched), other.refused.len()), (1, 0));
}

#[test]
fn a_subject_is_forgotten_once_its_alerts_are_resolved_past_memory_and_not_before() {
    let mut bed = Bed::new();
    for node in 0..SUBJECTS_MAX {
        bed.node("c1", node, true, NOW);
    }
    for node in 1..SUBJECTS_MAX {
        bed.node("c1", node, false, NOW.after(Duration::from_secs(1)));
    }
    let memory = bed.responses["node-not-ready"].memory;
    let response = ResponseName::from("node-not-ready");
    bed.forget(NOW.after(memory));
    assert_eq!(bed.of("c1").bounded(&response), SUBJECTS_MAX);
    let later = NOW.after(memory + Duration::from_secs(1));
    bed.forget(later);
    assert_eq!(bed.of("c1").bounded(&response), 1, "the one that fires stays, repeated or not");
    assert_eq!(bed.node("c1", SUBJECTS_MAX, true, later).refused, []);
    assert_eq!(bed.of("c1").subjects().filter(|subject| !is_bounded(subject)).count(), 1);
}

#[test]
fn an_alert_that_is_long_over_makes_no_subject_of_a_node() {
    let mut bed = Bed::new();
    bed.node("c1", 0, false, NOW);
    let alert = bed.alerts.iter().next().unwrap().clone();
    let later = NOW.after(Duration::from_hours(24));
    let mut index = Correlation::default();
    let filed = index.observe(&"c1".into(), &bed.responses, &alert, later);
    assert_eq!((filed.touched.len(), labelled(&filed.touched)), (1, 0));
    assert_eq!(filed.refused, []);
}

#[test]
fn a_crowd_is_news_once_until_a_tenth_is_free() {
    let mut crowds = CardinalityLimit::default();
    let mut bed = Bed::new();
    let filed = bed.node("c1", 0, true, NOW);
    let subject = filed.touched.iter().find(|subject| is_bounded(subject)).unwrap();
    let (response, max) = (&subject.response, INCIDENTS_MAX);
    assert!(crowds.refuse(response));
    assert!(!crowds.refuse(response));
    assert!(!crowds.has_room(response, max - 1, max) && crowds.is_any());
    assert!(!crowds.refuse(response));
    assert!(crowds.has_room(response, max - max / 10, max) && !crowds.is_any());
    assert!(!crowds.has_room(response, 0, max));
    assert!(crowds.refuse(response));
}
