//! What a reload finds, and what it refuses.

use std::{fs, path::Path};

use super::{Change, Kind, Reloaded, reload, told};
use crate::{
    config::{Checked, Config, open},
    domain::rules::Rules,
    targets::catalogue::catalogue,
};

const CLUSTER: &str = r#"
match: '{cluster="NAME"}'
etcd:
  layout: hosts
  members: [{name: m1, client: "http://10.0.0.1:2379", peer: "http://10.0.0.1:2380", host: h1}]
  service: {command: {start: [/a], stop: [/b], status: [/c], mask: [/d], unmask: [/e]}}
  data_dir: /srv/etcd
hosts: {h1: {transport: local}}
prometheus: {url: "http://127.0.0.1:9090"}
"#;

/// A folder with a configuration, two clusters and the shipped rules, opened.
struct Opened {
    folder: tempfile::TempDir,
    config: Config,
    rules: Rules,
}

impl Opened {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("rules");
        for kind in ["responses", "playbooks"] {
            fs::create_dir_all(folder.path().join("rules").join(kind)).unwrap();
            for entry in fs::read_dir(root.join(kind)).unwrap().flatten() {
                let to = folder.path().join("rules").join(kind).join(entry.file_name());
                fs::copy(entry.path(), to).unwrap();
            }
        }
        fs::create_dir(folder.path().join("clusters.d")).unwrap();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        write("quorate.yaml", "clusters: [clusters.d]\nwatch: {every: 10s}\n");
        for name in ["a", "b"] {
            let text = format!("name: {name}{}", CLUSTER.replace("NAME", name));
            write(&format!("clusters.d/{name}.yaml"), &text);
        }
        let file = folder.path().join("quorate.yaml");
        let opened = open(Some(&file), folder.path(), &catalogue());
        let (config, rules) = opened.valid.unwrap_or_else(|| panic!("{:#?}", opened.checked.found));
        Self { folder, config, rules }
    }

    /// Exchanges a text in a file.
    #[track_caller]
    fn edit(&self, name: &str, from: &str, to: &str) -> &Self {
        let path = self.folder.path().join(name);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{name} has no {from:?}");
        fs::write(path, text.replace(from, to)).unwrap();
        self
    }

    fn reload(&self) -> Result<Reloaded, Box<Checked>> {
        let file = self.folder.path().join("quorate.yaml");
        reload(Some(&file), self.folder.path(), &catalogue(), (&self.config, &self.rules))
    }

    #[track_caller]
    fn told(&self) -> Vec<String> {
        told(&self.reload().unwrap_or_else(|checked| panic!("{:#?}", checked.found)).changes)
    }
}

#[test]
fn what_is_the_same_is_no_change() {
    let opened = Opened::new();
    assert_eq!(opened.told(), [""; 0]);
    opened.edit("quorate.yaml", "watch: {every: 10s}", "# the default\n");
    opened.edit("clusters.d/a.yaml", "match:", "# about it\nmatch:");
    assert_eq!(opened.told(), [""; 0]);
}

#[test]
fn clusters_come_go_and_change_in_their_parts() {
    let opened = Opened::new();
    let text = format!("name: c{}", CLUSTER.replace("NAME", "c"));
    fs::write(opened.folder.path().join("clusters.d/c.yaml"), text).unwrap();
    fs::remove_file(opened.folder.path().join("clusters.d/b.yaml")).unwrap();
    opened.edit("clusters.d/a.yaml", "10.0.0.1:2379", "10.0.0.9:2379");
    opened.edit(
        "clusters.d/a.yaml",
        "hosts: {",
        "mode: auto\nloss_budget: {revisions: 1}\nhosts: {",
    );
    let told = opened.told();
    assert_eq!(
        told,
        ["cluster a changed: etcd, mode, loss_budget", "cluster c added", "cluster b removed"]
    );
    let reloaded = opened.reload().unwrap();
    assert_eq!(reloaded.config.clusters.len(), 2);
    assert_eq!(reloaded.changes[2], Change::Cluster("b".into(), Kind::Removed));
}

#[test]
fn settings_are_told_with_both_values_and_those_that_need_a_restart_as_such() {
    let opened = Opened::new();
    opened.edit("quorate.yaml", "every: 10s", "every: 1m");
    opened.edit(
        "quorate.yaml",
        "clusters:",
        "listen: 127.0.0.1:1\nstore: {embedded: {path: other}}\nwebhook: {bodies_max: 1GiB}\nclusters:",
    );
    let other = opened.folder.path().join("other").display().to_string();
    let data = opened.folder.path().join("data").display().to_string();
    assert_eq!(
        opened.told(),
        [
            "listen: 127.0.0.1:9912 becomes 127.0.0.1:1; it needs a restart".to_owned(),
            format!("store: {data} becomes {other}; it needs a restart"),
            "webhook.bodies_max: 67108864 bytes becomes 1073741824 bytes".to_owned(),
            "watch.every: 10s becomes 1m".to_owned(),
        ]
    );
    assert_eq!(opened.reload().unwrap().config.watch.every.as_secs(), 60);
}

#[test]
fn rules_come_go_and_change() {
    let opened = Opened::new();
    opened.edit("rules/responses/etcd-quorum-lost.yaml", "samples: ", "samples: 1");
    fs::remove_file(opened.folder.path().join("rules/responses/node-not-ready.yaml")).unwrap();
    let reloaded = opened.reload().unwrap();
    assert_eq!(
        told(&reloaded.changes),
        ["response etcd-quorum-lost changed", "response node-not-ready removed"]
    );
    assert_eq!(reloaded.rules.responses.len(), 1);
}

#[test]
fn with_one_error_anywhere_nothing_is_new() {
    for (file, from, to) in [
        ("quorate.yaml", "watch:", "wacht:"),
        ("clusters.d/a.yaml", "layout: hosts", "layout: host"),
        ("rules/responses/etcd-quorum-lost.yaml", "kind: Response", "kind: Responce"),
    ] {
        let opened = Opened::new();
        opened.edit("clusters.d/b.yaml", "10.0.0.1:2379", "10.0.0.9:2379").edit(file, from, to);
        let checked = opened.reload().unwrap_err();
        let of_it = checked.found.iter().any(|one| one.file.ends_with(file) && one.line > 0);
        assert!(of_it, "{file}: {:#?}", checked.found);
        assert!(!checked.text(&checked.found[0].file).is_empty(), "its frame can be shown");
    }
}

#[test]
fn of_very_many_changes_the_first_are_told() {
    let many: Vec<_> = (0..250).map(|n| Change::Cluster(n.to_string(), Kind::Added)).collect();
    let lines = told(&many);
    assert_eq!((lines.len(), lines[100].as_str()), (101, "and 150 more"));
}
