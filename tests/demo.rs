//! The demo's rules are the shipped ones: only how long to wait may differ.
//!
//! The demo itself is run by `tests/run demo`; here nothing is started but its sub-command that
//! writes the copies.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_yaml::Value;
use tempfile::TempDir;

const COPIED: [&str; 3] =
    ["alerts/etcd.yaml", "responses/etcd-quorum-lost.yaml", "responses/node-not-ready.yaml"];

#[test]
fn the_copies_differ_in_for_and_grace_only() {
    let copies = copies();
    let mut differing = Vec::new();
    for file in COPIED {
        let (shipped, copy) = (shipped(file), parsed(&copies.path().join(file)));
        collect(&shipped, &copy, &format!("{file}:"), &mut differing);
    }
    let alert = |rule: usize| format!("alerts/etcd.yaml:.groups[0].rules[{rule}].for");
    let grace = |key: &str| format!("responses/etcd-quorum-lost.yaml:.spec.grace.{key}");
    let expected = [alert(0), alert(1), alert(2), grace("for"), grace("samples"), grace("max_gap")];
    assert_eq!(differing, expected);
}

#[test]
fn the_copies_keep_every_other_line_and_comment() {
    let copies = copies();
    for file in COPIED {
        let shipped = fs::read_to_string(root().join("rules").join(file)).unwrap();
        let copy = fs::read_to_string(copies.path().join(file)).unwrap();
        assert_eq!(shipped.lines().count(), copy.lines().count(), "{file}");
        for (number, (shipped, copy)) in shipped.lines().zip(copy.lines()).enumerate() {
            let (before, after) = (shipped.trim_start(), copy.trim_start());
            let may = |key: &str| before.starts_with(key) && after.starts_with(key);
            let same = before == after || may("for: ") || may("grace: {");
            assert!(same, "{file}:{}: {shipped:?} became {copy:?}", number + 1);
        }
    }
}

#[test]
fn the_copies_are_all_rules_but_the_playbooks() {
    let copies = copies();
    for kind in ["alerts", "responses"] {
        let names = |dir: &Path| {
            let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
            let files = entries.filter(|entry| entry.file_type().unwrap().is_file());
            let mut names: Vec<_> = files.map(|entry| entry.file_name()).collect();
            names.sort();
            names
        };
        assert_eq!(names(&root().join("rules").join(kind)), names(&copies.path().join(kind)));
    }
}

#[test]
fn the_copies_pass_the_check_beside_the_shipped_playbooks() {
    let copies = copies();
    let output = Command::new(env!("CARGO_BIN_EXE_quorate"))
        .args(["check", "--strict"])
        .args([copies.path().join("responses"), root().join("rules/playbooks")])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

/// The copies as the demo writes them.
fn copies() -> TempDir {
    let dir = TempDir::new().unwrap();
    let script = root().join("deploy/demo/run");
    let output = Command::new(script).arg("--print-copies").arg(dir.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    dir
}

fn shipped(file: &str) -> Value {
    parsed(&root().join("rules").join(file))
}

fn parsed(path: &PathBuf) -> Value {
    serde_yaml::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// The paths of all values that are not the same on both sides.
fn collect(a: &Value, b: &Value, at: &str, differing: &mut Vec<String>) {
    match (a, b) {
        (Value::Mapping(a), Value::Mapping(b)) if a.keys().eq(b.keys()) => {
            for ((key, a), b) in a.iter().zip(b.values()) {
                collect(a, b, &format!("{at}.{}", key.as_str().unwrap()), differing);
            }
        }
        (Value::Sequence(a), Value::Sequence(b)) if a.len() == b.len() => {
            for (index, (a, b)) in a.iter().zip(b).enumerate() {
                collect(a, b, &format!("{at}[{index}]"), differing);
            }
        }
        _ if a == b => {}
        _ => differing.push(at.to_owned()),
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
