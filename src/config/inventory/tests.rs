//! Inventories in several files: what is read from where, and what is said of it.

use std::{
    fmt::Write,
    fs,
    path::Path,
    time::{Duration, Instant},
};

use crate::{
    config::{Loaded, check_paths, load, open},
    targets::catalogue::catalogue,
};

/// An entry named `name` whose members have ports of their own.
fn entry(name: &str, port: usize) -> String {
    let (client, peer) = (port, port + 1);
    format!(
        "name: {name}
match: '{{cluster=\"{name}\"}}'
etcd:
  layout: hosts
  members:
    - {{name: m1, client: http://10.0.0.1:{client}, peer: http://10.0.0.1:{peer}, host: h1}}
    - {{name: m2, client: http://10.0.0.2:{client}, peer: http://10.0.0.2:{peer}, host: h2}}
    - {{name: m3, client: http://10.0.0.3:{client}, peer: http://10.0.0.3:{peer}, host: h3}}
  service:
    command: {{start: [/a], stop: [/b], status: [/c], mask: [/d], unmask: [/e]}}
  data_dir: /srv/{name}/${{member}}
hosts: {{h1: {{transport: local}}, h2: {{transport: local}}, h3: {{transport: local}}}}
prometheus: {{url: \"http://127.0.0.1:9090\"}}
"
    )
}

/// Entries under `clusters:`.
fn several(entries: &[String]) -> String {
    let mut text = "clusters:\n".to_owned();
    for entry in entries {
        for (number, line) in entry.lines().enumerate() {
            writeln!(text, "  {} {line}", if number == 0 { "-" } else { " " }).unwrap();
        }
    }
    text
}

struct Inventory(tempfile::TempDir);

impl Inventory {
    fn new(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        Self(folder)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn load(&self) -> Loaded {
        let text = fs::read_to_string(self.path().join("quorate.yaml")).unwrap();
        load("quorate.yaml", &text, self.path())
    }

    /// Id, file, line and column of every problem.
    #[track_caller]
    fn check(&self, expected: &[(&str, &str, usize, usize)]) -> Loaded {
        let loaded = self.load();
        let root = format!("{}/", self.path().display());
        let places = loaded.found.iter().map(|one| {
            let file = one.file.strip_prefix(&root).unwrap_or(&one.file);
            (one.id, file, one.line, one.column)
        });
        assert_eq!(places.collect::<Vec<_>>(), expected, "{:#?}", loaded.found);
        loaded
    }
}

fn names(loaded: &Loaded) -> Vec<&str> {
    let config = loaded.config.as_ref().expect("no errors");
    config.clusters.iter().map(|cluster| cluster.name.as_str()).collect()
}

#[test]
fn clusters_stand_in_files_and_folders_in_their_order() {
    let [a, b, c, d] = ["a", "b", "c", "d"].map(|name| entry(name, 2379));
    let here = several(&[entry("here", 2379)]).replace("clusters:\n", "");
    let inventory = Inventory::new(&[
        ("quorate.yaml", &format!("clusters:\n  - one.yaml\n{here}  - clusters.d\n")),
        ("one.yaml", &several(&[c, d])),
        ("clusters.d/20.yml", &a),
        ("clusters.d/10.yaml", &b),
        ("clusters.d/.hidden.yaml", "["),
        ("clusters.d/notes.txt", "["),
        ("clusters.d/empty.yaml", "# nothing\n"),
        ("clusters.d/below/x.yaml", "["),
    ]);
    let loaded = inventory.check(&[]);
    assert_eq!(names(&loaded), ["c", "d", "here", "b", "a"]);
    assert_eq!(loaded.files.len(), 4);
}

#[test]
fn paths_in_a_file_begin_at_its_own_folder() {
    let tls = "etcd:\n  tls: {ca_file: ca.crt}";
    let text = entry("a", 2379).replace("etcd:", tls);
    let inventory = Inventory::new(&[
        ("quorate.yaml", "clusters: [clusters.d]\n"),
        ("clusters.d/a.yaml", &text),
        ("clusters.d/ca.crt", "x"),
    ]);
    let config = inventory.check(&[]).config.unwrap();
    let ca = &config.clusters[0].etcd.tls.as_ref().unwrap().ca_file;
    assert_eq!(*ca, inventory.path().join("clusters.d/ca.crt"));
}

#[test]
fn problems_have_the_place_in_their_own_file() {
    let inventory = Inventory::new(&[
        ("quorate.yaml", "clusters: [clusters.d, a.yaml, nowhere, clusters.d/b.yaml]\nlisen: x\n"),
        ("clusters.d/a.yaml", &entry("a", 2379).replace("hosts:", "host:")),
        ("clusters.d/b.yaml", &several(&[entry("b", 2379).replace("10.0.0.2:2379", "x")])),
        ("clusters.d/c.yaml", "clusters: [more.yaml]\nlisten: x\n"),
        ("clusters.d/d.yaml", "- name: d\n"),
        ("clusters.d/e.yaml", &format!("{}---\nb: 1\n", entry("e", 2379))),
        (
            "clusters.d/f.yaml",
            &format!("{}labels: {{<<: *f}}\n", entry("&f f", 2379).replace("cluster=\"&f f\"", "")),
        ),
        ("a.yaml", "name: [\n"),
    ]);
    inventory.check(&[
        ("Q404", "quorate.yaml", 1, 32),
        ("Q402", "quorate.yaml", 1, 41),
        ("Q101", "quorate.yaml", 2, 1),
        ("Q102", "clusters.d/a.yaml", 1, 1),
        ("Q401", "clusters.d/a.yaml", 6, 82),
        ("Q401", "clusters.d/a.yaml", 7, 82),
        ("Q401", "clusters.d/a.yaml", 8, 82),
        ("Q101", "clusters.d/a.yaml", 12, 1),
        ("Q403", "clusters.d/b.yaml", 8, 30),
        ("Q103", "clusters.d/c.yaml", 1, 12),
        ("Q101", "clusters.d/c.yaml", 2, 1),
        ("Q103", "clusters.d/d.yaml", 1, 1),
        ("Q103", "clusters.d/e.yaml", 15, 1),
        ("Q003", "clusters.d/f.yaml", 14, 10),
        ("Q001", "a.yaml", 1, 7),
    ]);
}

#[test]
fn a_name_given_twice_names_both_places() {
    let here = several(&[entry("a", 2379), entry("b", 2379)]);
    let inventory = Inventory::new(&[
        ("quorate.yaml", &format!("{here}  - x.yaml\n  - y.yaml\n")),
        ("x.yaml", &several(&[entry("c", 2379), entry("a", 2379), entry("c", 2379)])),
        ("y.yaml", &entry("c", 2379)),
    ]);
    let loaded = inventory.check(&[
        ("Q402", "x.yaml", 15, 11),
        ("Q402", "x.yaml", 28, 11),
        ("Q402", "y.yaml", 1, 7),
    ]);
    let x = inventory.path().join("x.yaml").display().to_string();
    let said: Vec<_> = loaded.found.iter().map(|one| one.message.clone()).collect();
    assert_eq!(
        said,
        [
            "there is a cluster `a` already, at quorate.yaml:2:11".to_owned(),
            format!("there is a cluster `c` already, at {x}:2:11"),
            format!("there is a cluster `c` already, at {x}:2:11"),
        ]
    );
}

#[test]
fn only_a_cluster_that_is_alone_needs_no_match() {
    let plain = entry("a", 2379).replace("match: '{cluster=\"a\"}'\n", "");
    let config = ("quorate.yaml", "clusters: [clusters.d]\n");
    Inventory::new(&[config, ("clusters.d/a.yaml", &plain)]).check(&[]);
    let second = entry("b", 2379);
    Inventory::new(&[config, ("clusters.d/a.yaml", &plain), ("clusters.d/b.yaml", &second)])
        .check(&[("Q102", "clusters.d/a.yaml", 1, 1)]);
    Inventory::new(&[config, ("clusters.d/a.yaml", &several(&[plain, second]))]).check(&[(
        "Q102",
        "clusters.d/a.yaml",
        2,
        5,
    )]);
}

/// However a folder is checked, each of its files is read as what it is, and once.
#[test]
fn a_folder_with_everything_is_checked_as_a_whole() {
    let wrong = several(&[entry("b", 2379).replace("layout: hosts", "layout: host")]);
    let inventory = Inventory::new(&[
        ("quorate.yaml", "clusters: [clusters.d]\ncontrol_targets: [\"10.9.9.9:1\"]\n"),
        ("clusters.d/a.yaml", &entry("a", 2379).replace("127.0.0.1", "10.9.9.9")),
        ("clusters.d/b.yaml", &wrong),
    ]);
    let ids = |path: &Path| {
        let checked = check_paths(&[path.to_path_buf()], Path::new("."), &catalogue());
        let found = checked.found.into_iter().map(|one| (one.id, one.line));
        (checked.files.len(), found.collect::<Vec<_>>())
    };
    assert_eq!(ids(inventory.path()), (3, vec![("Q104", 5)]));
    assert_eq!(ids(&inventory.path().join(".")), (3, vec![("Q104", 5)]), "written otherwise");
    assert_eq!(ids(&inventory.path().join("quorate.yaml")), (3, vec![("Q104", 5)]));
    assert_eq!(ids(&inventory.path().join("clusters.d")), (2, vec![("Q104", 5)]));
    assert_eq!(ids(&inventory.path().join("clusters.d/a.yaml")), (1, vec![]));
}

/// One file holds some 240; its bound says where the others go.
#[test]
fn a_file_that_is_full_says_where_more_clusters_go() {
    let entries: Vec<String> = (0..400).map(|n| entry(&format!("c{n}"), 2379)).collect();
    let loaded = load("quorate.yaml", &several(&entries), Path::new("/nowhere"));
    let full = loaded.found.iter().find(|one| one.id == "Q006").unwrap();
    assert!(full.help.as_ref().unwrap().contains("clusters.d"), "{full:?}");
}

/// A tenth of a millisecond each in a release build; the bound is for a busy machine without one.
#[test]
fn ten_thousand_clusters_load_and_are_checked_in_time_that_grows_with_their_number() {
    let files: Vec<(String, String)> = (0..10_000)
        .map(|n| (format!("clusters.d/{n:05}.yaml"), entry(&format!("c{n}"), 2379)))
        .collect();
    let mut named: Vec<(&str, &str)> =
        files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    named.push(("quorate.yaml", "clusters: [clusters.d]\n"));
    let inventory = Inventory::new(&named);
    let began = Instant::now();
    let file = inventory.path().join("quorate.yaml");
    let opened = open(Some(&file), inventory.path(), &catalogue());
    assert_eq!(opened.valid.unwrap().0.clusters.len(), 10_000);
    let loading = began.elapsed();
    let checked = check_paths(&[inventory.path().into()], Path::new("."), &catalogue());
    assert_eq!((checked.files.len(), checked.found.len()), (10_001, 0));
    assert!(began.elapsed() < Duration::from_mins(3), "{loading:?}, {:?}", began.elapsed());
}
