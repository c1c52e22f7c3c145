//! Every key of the configuration: what it takes, and what is said of anything else.

use std::{fs, path::PathBuf, time::Duration};

use super::{Loaded, load};
use crate::{
    config::Config,
    domain::{inventory::Mode, rules::response::Role},
};

const GOOD: &str = r#"listen: 127.0.0.1:0
store: {embedded: {path: ./data}}
clusters:
  - name: demo
    match: '{cluster="demo"}'
    etcd:
      layout: hosts
      members:
        - {name: m1, client: http://127.0.0.1:12379, peer: http://127.0.0.1:12380, metrics: http://127.0.0.1:12381, host: h1}
        - {name: m2, client: http://127.0.0.1:22379, peer: http://127.0.0.1:22380, host: h2, wal_dir: "/wal/${member}"}
      service:
        command:
         {start: [/opt/start, "${member}"],
          stop: [/opt/stop, "${member}"], mask: [/opt/mask], unmask: [/opt/unmask],
          status: [/opt/status, "${member}"]}
      data_dir: /opt/${member}/data
      args: command
      backups: {dir: /opt/backups, min_free: 3x}
      scratch_ports: 23790-23799
    hosts:
      h1: {transport: local}
      h2: {transport: local, zone: b}
    prometheus: {url: http://127.0.0.1:9090/}
    mode: auto
    loss_budget: {revisions: 200}
"#;

#[track_caller]
fn check(text: &str, expected: &[(&str, usize, usize)]) -> Option<Config> {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("token"), "x").unwrap();
    let Loaded { config, found, .. } = load("quorate.yaml", text, folder.path());
    let places: Vec<_> = found.iter().map(|found| (found.id, found.line, found.column)).collect();
    assert_eq!(places, expected, "{text}\n{found:#?}");
    config
}

/// The good configuration with one text exchanged for another.
#[track_caller]
fn with(from: &str, to: &str, expected: &[(&str, usize, usize)]) {
    assert!(GOOD.contains(from), "{from}");
    check(&GOOD.replacen(from, to, 1), expected);
}

/// A first line before the good configuration.
#[track_caller]
fn first(line: &str, expected: &[(&str, usize, usize)]) {
    check(&format!("{line}\n{GOOD}"), expected);
}

#[test]
fn a_good_configuration_is_filled_in() {
    let config = check(GOOD, &[]).unwrap();
    assert_eq!(config.listen.port(), 0);
    assert_eq!(config.watch.every, Duration::from_secs(10));
    let cluster = &config.clusters[0];
    assert_eq!((cluster.mode, cluster.loss_budget_revisions), (Mode::Auto, 200));
    assert_eq!(cluster.probe_timeout, Duration::from_secs(8));
    assert_eq!(cluster.prometheus.as_ref().unwrap().url, "http://127.0.0.1:9090");
    let [m1, m2] = &cluster.etcd.members[..] else { panic!() };
    assert_eq!(m1.data_dir, PathBuf::from("/opt/m1/data"));
    assert_eq!(m2.service.start, ["/opt/start", "m2"]);
    assert_eq!((&m1.wal_dir, &m2.wal_dir), (&None, &Some(PathBuf::from("/wal/m2"))));
    assert_eq!(cluster.etcd.tools.etcd, PathBuf::from("/usr/bin/etcd"));
    assert!((cluster.etcd.backups.min_free_factor - 3.0).abs() < f64::EPSILON);
}

#[test]
fn an_empty_configuration_is_refused_and_an_empty_map_has_the_defaults() {
    // half of a write looks like nothing: it must not take tokens and clusters away
    assert!(check("# nothing\n", &[("Q103", 1, 1)]).is_none());
    let config = check("{}\n", &[]).unwrap();
    assert_eq!(config.listen.to_string(), "127.0.0.1:9912");
    assert!(config.clusters.is_empty() && config.webhook.bearer_file.is_none());
    assert_eq!((config.webhook.max_body, config.webhook.bodies_max), (10 << 20, 64 << 20));
    let large = check("webhook: {max_body: 100MiB}\n", &[]).unwrap().webhook;
    assert_eq!(large.bodies_max, large.max_body);
}

#[test]
fn keys_are_known_and_those_to_come_are_told_as_such() {
    first("lisen: x", &[("Q101", 1, 1)]);
    first("tls: {}", &[("Q108", 1, 1)]);
    first("notify: {}", &[("Q108", 1, 1)]);
    with("    mode: auto", "    kubernetes: {}\n    ssh: {}", &[("Q108", 24, 5), ("Q108", 25, 5)]);
    with("layout: hosts", "layout: statefulset", &[("Q108", 7, 15)]);
    with("layout: hosts", "layout: host", &[("Q104", 7, 15)]);
    with("args: command", "args: drop_in", &[("Q108", 17, 13)]);
    with(
        "{transport: local}",
        "{transport: ssh, become: [sudo]}",
        &[("Q108", 21, 23), ("Q108", 21, 28)],
    );
    with("{embedded: {path: ./data}}", "{etcd: {endpoints: []}}", &[("Q108", 2, 9)]);
    check("a: 1\n---\nb: 2\n", &[("Q101", 1, 1), ("Q103", 3, 1)]);
}

#[test]
fn values_have_their_types_and_bounds() {
    first("shutdown_grace: 1h", &[("Q107", 1, 17)]);
    first("watch: {every: 500ms, concurrent: 0}", &[("Q107", 1, 16), ("Q107", 1, 35)]);
    first("runs: {concurrent: many}", &[("Q103", 1, 20)]);
    first("retention: {finished: 5}", &[("Q103", 1, 23)]);
    first("webhook: {max_body: 10MB}", &[("Q106", 1, 21)]);
    first("webhook: {max_body: 10GiB}", &[("Q107", 1, 21)]);
    first("webhook: {bodies_max: 8GiB}", &[("Q107", 1, 23)]);
    first("webhook: {max_body: 2MiB, bodies_max: 1MiB}", &[("Q107", 1, 39)]);
    first("webhook: {max_body: 2MiB, bodies_max: 2MiB}", &[]);
    with("127.0.0.1:0", "localhost", &[("Q403", 1, 9)]);
    with("http://127.0.0.1:12379", "127.0.0.1:12379", &[("Q403", 9, 30)]);
    with("http://127.0.0.1:12379", "http://127.0.0.1", &[("Q403", 9, 30)]);
    with("http://127.0.0.1:9090/", "http://u:p@127.0.0.1", &[("Q403", 23, 23)]);
    with("23790-23799", "23790-x", &[("Q106", 19, 22)]);
    with("23790-23799", "23790-23791", &[("Q107", 19, 22)]);
    with("23790-23799", "12370-12379", &[("Q107", 19, 22)]);
    with("min_free: 3x", "min_free: 3", &[("Q103", 18, 46)]);
    with("min_free: 3x", "min_free: 3x, keep: 3", &[("Q411", 18, 56)]);
    with("/opt/${member}/data", "data/${member}", &[("Q408", 16, 17)]);
    with("[/opt/start, ", "[start, ", &[("Q408", 13, 18)]);
    with("\"${member}\"", "\"${name}\"", &[("Q408", 13, 31)]);
    with("name: demo", "name: Demo", &[("Q105", 4, 11)]);
    with("name: m1", "name: ../m1", &[("Q105", 9, 18)]);
    with("cluster=\"demo\"", "cluster=demo", &[("Q110", 5, 22)]);
}

#[test]
fn what_belongs_together_is_checked_together() {
    with("host: h2", "host: h3", &[("Q401", 10, 90)]);
    with("name: m2", "name: m1", &[("Q402", 10, 11), ("Q402", 10, 18)]);
    with("127.0.0.1:22380", "127.0.0.1:12380", &[("Q402", 10, 60)]);
    with("path: ./data", "path: /opt/m2/data/quorate", &[("Q406", 10, 11)]);
    with("    prometheus: {url: http://127.0.0.1:9090/}\n", "", &[("Q407", 4, 11)]);
    with("          status: [/opt/status, \"${member}\"]}", "          }", &[("Q102", 13, 10)]);
    with(", unmask: [/opt/unmask]", "", &[("Q102", 13, 10)]);
    let second = GOOD.split_once("clusters:\n").unwrap().1;
    check(&format!("{GOOD}{second}"), &[("Q402", 26, 11)]);
    with("    match: '{cluster=\"demo\"}'\n", "", &[]);
}

/// One warning for all members, and a configuration all the same.
#[test]
fn a_service_that_masks_nothing_is_warned_of() {
    let text = GOOD.replace(", mask: [/opt/mask], unmask: [/opt/unmask]", "");
    assert!(check(&text, &[("Q409", 13, 10)]).is_some());
    let Loaded { found, .. } = load("quorate.yaml", &text, "/nowhere".as_ref());
    let said = format!("{} {:?}", found[0].message, found[0].help);
    assert!(said.contains("`mask`") && said.contains("`unmask`"), "{said}");
    with(
        "mask: [/opt/mask], unmask: [/opt/unmask]",
        "mask: [mask], unmask: [unmask]",
        &[("Q408", 14, 49), ("Q408", 14, 65)],
    );
    let asked = |command: &str| format!("unmask: [/opt/unmask], is_masked: [{command}]");
    with("unmask: [/opt/unmask]", &asked("/opt/is_masked"), &[]);
    with("unmask: [/opt/unmask]", &asked("is_masked"), &[("Q408", 14, 96)]);
}

#[test]
fn beyond_loopback_an_api_without_tokens_is_warned_of() {
    let open = "0.0.0.0:9912\nwebhook: {auth: none}\n";
    let with_api = |api: &str| GOOD.replacen("127.0.0.1:0", &format!("{open}{api}"), 1);
    assert!(check(&with_api(""), &[("Q410", 1, 9)]).is_some());
    check(&with_api("api: {tokens: []}"), &[("Q410", 3, 6)]);
    check(&with_api("api: {tokens: [{name: a, role: viewer, file: token}]}"), &[]);
    check(&with_api("api: {tokens: [{name: a, role: viewer, file: no}]}"), &[("Q404", 3, 46)]);
    let open = GOOD.replacen("127.0.0.1:0", "'[::]:9912'\nwebhook: {auth: none}", 1);
    check(&open, &[("Q410", 1, 9)]);
}

#[test]
fn only_loopback_may_be_open() {
    with("127.0.0.1:0", "0.0.0.0:9912", &[("Q405", 1, 9), ("Q410", 1, 9)]);
    let tokens = "api: {tokens: [{name: a, role: viewer, file: token}]}\nwebhook";
    let beyond = |webhook: &str| format!("0.0.0.0:9912\n{tokens}: {webhook}");
    with("127.0.0.1:0", &beyond("{auth: none}"), &[]);
    with("127.0.0.1:0", &beyond("{auth: {bearer_file: token}}"), &[]);
    with("127.0.0.1:0", &beyond("{auth: {bearer_file: tokn}}"), &[("Q404", 3, 31)]);
    first("webhook: {auth: {hmac: {}}}", &[("Q102", 1, 17), ("Q108", 1, 18)]);
}

#[test]
fn tokens_have_names_roles_and_files() {
    let config =
        check("api: {tokens: [{name: oncall, role: approver, file: token}]}\n", &[]).unwrap();
    assert_eq!((config.tokens[0].name.as_str(), config.tokens[0].role), ("oncall", Role::Approver));
    assert!(config.tokens[0].file.is_absolute());
    let twice =
        "api: {tokens: [{name: a, role: viewer, file: token}, {name: a, role: boss, file: no}]}\n";
    check(twice, &[("Q402", 1, 61), ("Q104", 1, 70), ("Q404", 1, 82)]);
}
