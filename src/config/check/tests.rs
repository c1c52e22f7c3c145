//! `quorate check` on folders, files and broken texts.

use std::{fs, path::Path};

use super::check_paths;
use crate::{
    config::{Loaded, open},
    domain::{
        rules::{
            self,
            diagnostic::Severity,
            expr::Value,
            playbook::{arguments::check_call, traits::ActionTraits},
        },
        run::plan::Plan,
    },
    targets::catalogue::catalogue,
};

const INVENTORY: &str = r#"
clusters:
  - name: demo
    etcd:
      layout: hosts
      members: [{name: m1, client: "http://127.0.0.1:12379", peer: "http://127.0.0.1:12380", host: h1}]
      service: {command: {start: [/a], stop: [/b], status: [/c], mask: [/d], unmask: [/e]}}
      data_dir: /opt/demo
    hosts: {h1: {transport: local}}
    prometheus: {url: "http://127.0.0.1:9090"}
"#;

fn shipped() -> rules::Rules {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("rules");
    let paths = ["responses", "playbooks"].map(|folder| root.join(folder));
    let (files, missing) = crate::config::rules_files(&paths);
    assert!(missing.is_empty(), "{missing:?}");
    let (rules, found) = rules::load(&files, &catalogue());
    assert!(found.is_empty(), "{found:#?}");
    rules
}

#[test]
fn the_shipped_rules_have_no_problem() {
    let rules = shipped();
    assert!(rules.responses.contains_key("etcd-quorum-lost"));
    assert!(rules.responses["node-not-ready"].ladder.is_empty());
    assert!(rules.playbooks.contains_key("etcd-rebuild-hosts"));
    let checked = check_paths(&[], Path::new(env!("CARGO_MANIFEST_DIR")), &catalogue());
    assert_eq!(checked.found, []);
}

#[test]
fn a_stored_plan_is_read_back_as_it_was() {
    let Loaded { config, found, .. } =
        crate::config::load("quorate.yaml", INVENTORY, Path::new("/nowhere"));
    assert_eq!(found, []);
    let cluster = config.unwrap().clusters.remove(0);
    let playbook = shipped().playbooks["etcd-rebuild-hosts"].clone();
    let given = |name: &str, value: Value| [(name.to_owned(), value)].into();
    let plan = Plan::new(&playbook, given("max_lag", Value::str("7")), &cluster).unwrap();
    assert_eq!(plan.params["max_lag"].as_int(), Some(7));
    assert_eq!(plan.params["bump"].as_int(), Some(1_000_000_000));
    let stored = serde_json::to_string(&plan).unwrap();
    let back: Plan = serde_json::from_str(&stored).unwrap();
    assert_eq!(serde_json::to_string(&back).unwrap(), stored);
    assert_eq!(back, plan);
    assert_eq!((&back.steps, &back.digest), (&playbook.steps, &playbook.digest));

    let wrong = |name: &str, value| Plan::new(&playbook, given(name, value), &cluster).unwrap_err();
    assert_eq!(wrong("bump", Value::Int(5)), ["`bump` is 5, the smallest allowed is 1000000"]);
    assert_eq!(wrong("bump", Value::str("x")), ["`bump` must be of type int"]);
    assert_eq!(wrong("bmp", Value::Int(5)), ["etcd-rebuild-hosts has no parameter `bmp`"]);
}

#[test]
fn a_filled_call_is_held_against_the_plan() {
    let Loaded { config, .. } =
        crate::config::load("quorate.yaml", INVENTORY, Path::new("/nowhere"));
    let cluster = config.unwrap().clusters.remove(0);
    let playbook = shipped().playbooks["etcd-rebuild-hosts"].clone();
    let plan = Plan::new(&playbook, [].into(), &cluster).unwrap();
    let catalogue = catalogue();
    let check = |action: &str, args: &[(&str, Value)]| {
        let args = args.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        check_call(action, &ActionTraits::from(&catalogue[action]), &args, &plan)
    };
    let member = |name: &str| ("member", Value::str(name));
    assert_eq!(check("etcd.data_out", &[member("m1"), ("to", Value::str("old"))]), Ok(()));
    let stranger = check("etcd.data_out", &[member("m9"), ("to", Value::str("old"))]);
    assert_eq!(stranger.unwrap_err(), "etcd.data_out: member: \"m9\" is no member of this run");
    assert!(check("etcd.data_out", &[member("m1"), ("to", Value::str("/var"))]).is_err());
    assert!(check("etcd.data_out", &[member("m1")]).is_err());
    assert!(check("etcd.member_promote", &[("id", Value::str("00000000000000ab"))]).is_ok());
    assert!(check("etcd.member_promote", &[("id", Value::str("ab"))]).is_err());
    assert!(check("etcd.member_promote", &[("id", Value::Int(5))]).is_err());
    assert!(check("etcd.assess", &[("x", Value::Int(5))]).is_err());
}

#[test]
fn a_configuration_opens_with_the_rules_beside_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("quorate.yaml");
    let root = env!("CARGO_MANIFEST_DIR");
    let text = format!("rules: [{root}/rules/responses, {root}/rules/playbooks]{INVENTORY}");
    fs::write(&file, &text).unwrap();
    let opened = open(Some(&file), folder.path(), &catalogue());
    assert_eq!(opened.checked.found, []);
    let (config, rules) = opened.valid.unwrap();
    assert_eq!((config.clusters.len(), rules.responses.len()), (1, 2));
    assert_eq!(config.store, folder.path().join("data"));

    fs::write(&file, text.replace("playbooks]", "playbook]")).unwrap();
    let opened = open(Some(&file), folder.path(), &catalogue());
    assert!(opened.valid.is_none());
    let ids: Vec<_> = opened.checked.found.iter().map(|found| found.id).collect();
    assert_eq!(ids, ["Q008", "Q301"]);

    let plain = open(None, folder.path(), &catalogue()).valid.unwrap();
    assert!(plain.0.rules.is_empty() && plain.1.responses.is_empty());
}

#[test]
fn a_store_behind_a_link_into_the_patient_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("etcd");
    fs::create_dir(&data).unwrap();
    std::os::unix::fs::symlink(&data, folder.path().join("data")).unwrap();
    let text = INVENTORY.replace("/opt/demo", data.to_str().unwrap());
    let Loaded { found, .. } = crate::config::load("quorate.yaml", &text, folder.path());
    assert_eq!(found.iter().map(|found| found.id).collect::<Vec<_>>(), ["Q406"]);
}

#[test]
fn broken_texts_give_diagnostics_and_never_a_panic() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("rules");
    let (mut files, _) =
        crate::config::rules_files(&["responses", "playbooks"].map(|f| root.join(f)));
    files.push(("quorate.yaml".into(), INVENTORY.into()));
    let catalogue = catalogue();
    let mut hurt = 0;
    for (name, text) in files {
        let steps = (text.len() / 40).max(1);
        for at in (0..text.len()).step_by(steps).filter(|at| text.is_char_boundary(*at)) {
            let cut = text[..at].to_owned();
            let (before, after) = (&text[..at], &text[at..]);
            let holes = ["\u{0}", "\"", "{", "- ", "\n", ": ", "&a *a", "${", "ä"];
            let mut variants = vec![cut];
            variants.push(format!("{before}{}{after}", holes[at % holes.len()]));
            for variant in variants {
                let found = if name == "quorate.yaml" {
                    crate::config::load(&name, &variant, Path::new("/nowhere")).found
                } else {
                    rules::load(&[(name.clone(), variant.clone())], &catalogue).1
                };
                assert!(found.iter().all(|one| one.span.end <= variant.len()), "{variant}");
                hurt += usize::from(!found.is_empty());
            }
        }
    }
    assert!(hurt > 200, "{hurt}");
}

#[test]
fn what_a_file_is_its_content_says() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    fs::create_dir(folder.path().join("rules")).unwrap();
    write("rules/a.yaml", "kind: Playbook\n");
    write("rules/b.yml", "groups: []\n");
    write("rules/.c.yaml", "[");
    write("quorate.yaml", "lisen: x\nclusters: []\n");
    let checked = check_paths(&[], folder.path(), &catalogue());
    let found: Vec<_> = checked.found.iter().map(|found| (found.id, found.line)).collect();
    assert_eq!(found, [("Q101", 1), ("Q102", 1), ("Q102", 1), ("Q102", 1)]);
    assert_eq!(checked.count(Severity::Error), 4);
    let missing = check_paths(&[folder.path().join("no")], folder.path(), &catalogue());
    assert_eq!(missing.found[0].id, "Q008");
}
