//! Checks on the source itself: layers, module docs, file length, test names, words.
//!
//! Properties that no compiler lint covers in a single crate. A failure prints every offence, so
//! one run is enough to fix them all. Needles are joined from halves: this file is checked too.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Each top-level module and the modules it may name, lowest layer first.
///
/// Invariant: a module lists only modules above itself in this table.
const LAYERS: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("telemetry", &["domain"]),
    ("store", &["domain"]),
    ("targets", &["domain"]),
    ("sim", &["domain", "targets"]),
    // Its tests use the model; without them it is not compiled.
    ("engine", &["domain", "telemetry", "store", "targets", "sim"]),
    ("http", &["domain", "telemetry", "engine"]),
    ("config", &["domain", "telemetry", "store", "targets", "engine", "http"]),
    ("app", &["domain", "telemetry", "store", "targets", "engine", "http", "config"]),
    ("cli", &["domain", "telemetry", "store", "targets", "engine", "http", "config", "app"]),
];

/// Tests that ask what people are shown of what they did: a folder, and what it may use besides.
const SHOWN: &[(&str, &str)] = &[("engine/tests", "http")];

/// The roots of the library and the program, which are in no layer.
const ROOTS: &[&str] = &["lib", "main"];

const LINES_MAX: usize = 500;

/// What no Rust file may hold, and what to do instead.
const BANNED: &[(&str, &str)] = &[
    (concat!("fn te", "st_"), "name the fact, without the prefix"),
    (concat!("to", "do!("), "finish it or leave it out"),
    (concat!("unimple", "mented!("), "finish it or leave it out"),
    (concat!("#[ign", "ore"), "a test runs or is not there"),
    (concat!("sleep(Duration::from_s", "ecs("), "wait for a condition, not for a time"),
    (concat!("sleep(Duration::from_m", "ins("), "wait for a condition, not for a time"),
];

/// Paths of one particular machine, which no file of the repository may hold.
const MACHINE_PATHS: &[&str] =
    &[concat!("/wo", "rk/"), concat!("/tmp/ba", "sh_jobs"), concat!("/ro", "ot/")];

#[test]
fn layers_only_point_down() {
    for (index, (module, allowed)) in LAYERS.iter().enumerate() {
        for target in *allowed {
            let below = LAYERS[..index].iter().any(|(name, _)| name == target);
            assert!(below, "{module} lists {target}, which is not below it");
        }
    }
}

#[test]
fn the_layers_of_the_source_hold() {
    let source = root().join("src");
    let mut offences = Vec::new();
    for path in rust_files(&source) {
        let relative = path.strip_prefix(&source).unwrap();
        let module = relative.iter().next().unwrap().to_str().unwrap().trim_end_matches(".rs");
        if !ROOTS.contains(&module) && !LAYERS.iter().any(|(name, _)| *name == module) {
            offences.push(format!("{}: {module} is in no layer", relative.display()));
        }
        let is_shown = |target: &str| {
            SHOWN.iter().any(|(tests, above)| relative.starts_with(tests) && *above == target)
        };
        let text = fs::read_to_string(&path).unwrap();
        for target in upward_uses(module, &text).into_iter().filter(|target| !is_shown(target)) {
            offences.push(format!("{}: {module} must not use {target}", relative.display()));
        }
    }
    assert!(offences.is_empty(), "\n{}", offences.join("\n"));
}

#[test]
fn every_rust_file_is_tidy() {
    let mut offences = Vec::new();
    for dir in ["src", "tests", "benches"] {
        for path in rust_files(&root().join(dir)) {
            let text = fs::read_to_string(&path).unwrap();
            let name = path.strip_prefix(root()).unwrap().display();
            if !text.starts_with("//!") {
                offences.push(format!("{name}: the file has no module doc"));
            }
            let lines = text.lines().count();
            if lines > LINES_MAX {
                offences.push(format!("{name}: {lines} lines, more than {LINES_MAX}"));
            }
            for (number, line) in text.lines().enumerate() {
                for (needle, instead) in BANNED.iter().filter(|(needle, _)| line.contains(needle)) {
                    offences.push(format!("{name}:{}: `{needle}`: {instead}", number + 1));
                }
            }
        }
    }
    assert!(offences.is_empty(), "\n{}", offences.join("\n"));
}

/// What must be known about an action stands in its row; only its own file, and the model's table,
/// name it.
#[test]
fn nothing_knows_an_action_by_its_name() {
    let source = root().join("src");
    let names = quorate::targets::catalogue::catalogue();
    let mut offences = Vec::new();
    for path in rust_files(&source) {
        let relative = path.strip_prefix(&source).unwrap().display().to_string();
        let own = relative.contains("/actions/") || relative == "sim/model/mod.rs";
        if own || relative.contains("tests") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        for name in names.keys().filter(|name| code.contains(&format!("\"{name}\""))) {
            offences.push(format!("{relative}: \"{name}\": put what you ask into its row"));
        }
    }
    assert!(offences.is_empty(), "\n{}", offences.join("\n"));
}

#[test]
fn no_file_names_a_path_of_one_machine() {
    let mut offences = Vec::new();
    for path in repository_files() {
        // Not text: nothing to read in it.
        let Ok(text) = fs::read_to_string(&path) else { continue };
        let name = path.strip_prefix(root()).unwrap().display();
        for (number, line) in text.lines().enumerate() {
            for needle in MACHINE_PATHS.iter().filter(|needle| line.contains(**needle)) {
                offences.push(format!("{name}:{}: `{needle}`", number + 1));
            }
        }
    }
    assert!(offences.is_empty(), "\n{}", offences.join("\n"));
}

#[test]
fn an_upward_use_is_caught() {
    assert_eq!(upward_uses("domain", "use crate::store::Store;"), ["store"]);
    assert_eq!(upward_uses("engine", "use crate::{domain::run, http};"), ["http"]);
    assert_eq!(
        upward_uses("domain", "use crate::{\n    domain::{a, b::{c, d}},\n    targets::X,\n};"),
        ["targets"]
    );
    assert!(upward_uses("engine", "use crate::domain::run;").is_empty());
    assert!(upward_uses("store", "use crate::{domain::{engine, http}, store::x};").is_empty());
}

/// Names the modules that `text`, part of `module`, uses against the table.
fn upward_uses<'t>(module: &str, text: &'t str) -> Vec<&'t str> {
    // An unlisted module may use nothing, so that adding one means adding it to the table.
    let listed = LAYERS.iter().find(|(name, _)| *name == module);
    let allowed = listed.map_or(&[][..], |(_, allowed)| allowed);
    let mut found = Vec::new();
    for (at, key) in text.match_indices("crate::") {
        for head in heads(&text[at + key.len()..]) {
            let end = head.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(head.len());
            let target = &head[..end];
            let known = LAYERS.iter().any(|(name, _)| *name == target);
            if known && target != module && !allowed.contains(&target) {
                found.push(target);
            }
        }
    }
    found
}

/// The paths that follow `crate::`: one, or each outermost part of a braced group.
fn heads(rest: &str) -> Vec<&str> {
    let Some(group) = rest.strip_prefix('{') else { return vec![rest] };
    let mut parts = Vec::new();
    let (mut depth, mut from) = (0_u32, 0);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            '}' => {
                parts.push(group[from..at].trim_start());
                break;
            }
            ',' if depth == 0 => {
                parts.push(group[from..at].trim_start());
                from = at + 1;
            }
            _ => {}
        }
    }
    parts
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What git tracks, or is about to; without git every file but what was built.
fn repository_files() -> Vec<PathBuf> {
    let output = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output();
    let listing = output.map(|output| output.stdout).unwrap_or_default();
    let listed: Vec<PathBuf> =
        String::from_utf8(listing).unwrap().lines().map(|line| root().join(line)).collect();
    if listed.is_empty() { files_below(root()) } else { listed }
}

fn rust_files(dir: &Path) -> Vec<PathBuf> {
    let mut files = files_below(dir);
    files.retain(|path| path.extension().is_some_and(|extension| extension == "rs"));
    files
}

fn files_below(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut pending = vec![dir.to_path_buf()];
    while let Some(dir) = pending.pop() {
        // Not every repository has every folder.
        for entry in fs::read_dir(dir).into_iter().flatten() {
            let path = entry.unwrap().path();
            if !path.is_dir() {
                files.push(path);
            } else if path != root().join("target") && path != root().join(".git") {
                pending.push(path);
            }
        }
    }
    files.sort();
    files
}
