//! The index answers as trying every cluster would.

use proptest::prelude::*;

use super::*;

/// Every cluster tried one by one.
fn tried(clusters: &[(ClusterName, Matchers)], labels: &Labels) -> Owner {
    let hits = clusters.iter().filter(|(_, matches)| matches.matches(labels));
    let mut names: Vec<_> = hits.map(|(name, _)| name.clone()).collect();
    match names.len() {
        0 => Owner::Unmatched,
        1 => Owner::Cluster(names.remove(0)),
        _ => Owner::Ambiguous(names),
    }
}

fn clusters(matches: &[String]) -> Vec<(ClusterName, Matchers)> {
    let named = matches.iter().enumerate();
    named.map(|(n, text)| (format!("c{n}").into(), Matchers::parse(text).unwrap())).collect()
}

#[track_caller]
fn check(matches: &[&str], labels: &[(&str, &str)], expected: &Owner) {
    let matches: Vec<String> = matches.iter().map(ToString::to_string).collect();
    let owners = Owners::new(clusters(&matches));
    assert_eq!(
        owners.owner(&Labels::new(labels.iter().copied())),
        *expected,
        "{matches:?} {labels:?}"
    );
}

#[test]
fn an_alert_is_about_the_one_cluster_that_it_matches() {
    let all =
        [r#"{env="prod", cluster="a"}"#, r#"{env="prod", cluster="b"}"#, r#"{cluster=~"x.*"}"#];
    let (one, two) = (ClusterName::from("c0"), ClusterName::from("c1"));
    check(&all, &[("env", "prod"), ("cluster", "a")], &Owner::Cluster(one.clone()));
    check(&all, &[("env", "test"), ("cluster", "a")], &Owner::Unmatched);
    check(&all, &[("cluster", "x1")], &Owner::Cluster("c2".into()));
    check(&all, &[], &Owner::Unmatched);
    let both = [r#"{a="1"}"#, r#"{b="2"}"#, "{}"];
    check(&both[..2], &[("a", "1"), ("b", "2")], &Owner::Ambiguous(vec![one.clone(), two]));
    check(&both[2..], &[("any", "thing")], &Owner::Cluster(one));
    check(&[], &[("a", "1")], &Owner::Unmatched);
    check(&[r#"{a="1", a="2"}"#], &[("a", "2")], &Owner::Unmatched);
}

fn matcher() -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec!["a", "b", "c"]);
    let sign = prop::sample::select(vec!["=", "=", "=", "!=", "=~", "!~"]);
    let value = prop::sample::select(vec!["", "1", "2", "3"]);
    (name, sign, value).prop_map(|(name, sign, value)| format!("{name}{sign}\"{value}\""))
}

proptest! {
    #[test]
    fn the_index_answers_as_trying_every_cluster_would(
        all in prop::collection::vec(prop::collection::vec(matcher(), 0..3), 0..12),
        labels in prop::collection::btree_map("[abc]", "[123]", 0..3),
    ) {
        let texts: Vec<_> = all.iter().map(|one| format!("{{{}}}", one.join(", "))).collect();
        let clusters = clusters(&texts);
        let labels = Labels::new(labels);
        let owners = Owners::new(clusters.clone());
        let expected = tried(&clusters, &labels);
        let place = match &expected {
            Owner::Cluster(name) => owners.names().position(|one| one == name),
            Owner::Unmatched | Owner::Ambiguous(_) => None,
        };
        prop_assert_eq!(owners.place(&labels), place);
        prop_assert_eq!(owners.owner(&labels), expected);
    }
}
