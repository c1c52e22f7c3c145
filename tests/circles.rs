//! No two files of a room import each other, however far around.
//!
//! A circle is one file in two parts: neither can be read, moved or tested alone. What a folder's own
//! `mod.rs` takes from below it does not count: it is the door of its folder.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// Modules as paths from the root of the crate.
type Module = Vec<String>;

#[test]
fn no_files_of_a_room_import_each_other_in_a_circle() {
    let modules = modules();
    let names: BTreeSet<&Module> = modules.keys().collect();
    let imports: BTreeMap<&Module, BTreeSet<&Module>> =
        modules.iter().map(|(module, text)| (module, imported(module, text, &names))).collect();
    let mut circles = Vec::new();
    for module in modules.keys() {
        let mut seen = BTreeSet::new();
        let mut next: Vec<&Module> = imports[module].iter().copied().collect();
        while let Some(at) = next.pop() {
            if seen.insert(at) {
                next.extend(imports[at].iter().copied());
            }
        }
        if seen.contains(module) {
            circles.push(module.join("::"));
        }
    }
    assert!(circles.is_empty(), "these lie in circles: {}", circles.join(", "));
}

#[test]
fn a_circle_is_seen() {
    let module = |text: &str| text.split("::").map(str::to_owned).collect::<Module>();
    let (a, b) = (module("domain::x::a"), module("domain::x::b"));
    let names = BTreeSet::from([&a, &b]);
    let text = "use std::fmt;\nuse super::{\n    b::{One, Two},\n};\n";
    assert_eq!(imported(&a, text, &names), BTreeSet::from([&b]));
    assert_eq!(imported(&b, "use crate::domain::x::a::Three;\n", &names), BTreeSet::from([&a]));
    assert!(imported(&b, "use crate::other::a::Three;\n", &names).is_empty());
}

/// The modules of a room that a file imports: those it neither is nor lies above of.
fn imported<'m>(module: &Module, text: &str, names: &BTreeSet<&'m Module>) -> BTreeSet<&'m Module> {
    let mut found = BTreeSet::new();
    for path in uses(text).iter().filter_map(|path| absolute(module, path)) {
        let longest = (1..=path.len()).rev().find_map(|end| names.get(&path[..end].to_vec()));
        let Some(target) = longest.copied().filter(|target| !target.starts_with(module)) else {
            continue;
        };
        if room(target) == room(module) {
            found.insert(target);
        }
    }
    found
}

/// Two levels of `domain` and of `targets` are rooms; elsewhere a whole layer is one.
fn room(module: &Module) -> &[String] {
    let levels = if matches!(module[0].as_str(), "domain" | "targets") { 2 } else { 1 };
    &module[..levels.min(module.len())]
}

/// A path of a `use` from the root of the crate; nothing for another crate.
fn absolute(module: &Module, path: &[String]) -> Option<Module> {
    match path.first()?.as_str() {
        "crate" => Some(path[1..].to_vec()),
        "self" => Some(module.iter().chain(&path[1..]).cloned().collect()),
        "super" => {
            let up = path.iter().take_while(|part| *part == "super").count();
            let base = module.len().checked_sub(up)?;
            Some(module[..base].iter().chain(&path[up..]).cloned().collect())
        }
        _ => None,
    }
}

/// Every path that the file's own `use` declarations name.
fn uses(text: &str) -> Vec<Vec<String>> {
    let text = text.split("\nmod tests {").next().unwrap_or_default();
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("use ") {
        let line = rest[..at].rsplit('\n').next().unwrap_or_default();
        rest = &rest[at + 4..];
        if line.is_empty() || line.starts_with("pub") {
            let end = rest.find(';').unwrap_or(rest.len());
            leaves(&rest[..end], &[], &mut found);
        }
    }
    found
}

fn leaves(tree: &str, before: &[String], found: &mut Vec<Vec<String>>) {
    let tree = tree.trim();
    let (head, inside) = match tree.split_once('{') {
        Some((head, inside)) => (head, inside.rsplit_once('}').map(|(inside, _)| inside)),
        None => (tree, None),
    };
    let parts = head.split("::").map(|part| part.split(" as ").next().unwrap_or(part).trim());
    let parts = parts.filter(|part| !part.is_empty()).map(str::to_owned);
    let path: Vec<String> = before.iter().cloned().chain(parts).collect();
    let Some(inside) = inside else {
        found.push(path);
        return;
    };
    let (mut depth, mut from) = (0_u32, 0);
    for (at, c) in inside.char_indices().chain([(inside.len(), ',')]) {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                if !inside[from..at].trim().is_empty() {
                    leaves(&inside[from..at], &path, found);
                }
                from = at + 1;
            }
            _ => {}
        }
    }
}

/// The texts of the source by module, without tests.
fn modules() -> BTreeMap<Module, String> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut pending = vec![source.clone()];
    let mut found = BTreeMap::new();
    while let Some(dir) = pending.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            if path.is_dir() {
                pending.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let relative = path.strip_prefix(&source).unwrap().with_extension("");
                let parts = relative.iter().map(|part| part.to_str().unwrap().to_owned());
                let parts: Module = parts.filter(|part| part != "mod").collect();
                let is_test = parts.iter().any(|part| part == "tests");
                if !is_test && !matches!(parts[0].as_str(), "lib" | "main") {
                    found.insert(parts, fs::read_to_string(&path).unwrap());
                }
            }
        }
    }
    found
}
