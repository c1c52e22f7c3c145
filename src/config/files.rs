//! Which files are rules, and their texts.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::domain::rules::{codes, diagnostic::Diagnostic};

/// Reads the `*.yaml` and `*.yml` files of folders (one level and below) and single files, by name.
///
/// A path that cannot be read is a diagnostic, never a silent gap. Names are as given, so that
/// diagnostics say what the user can open. Hidden files are left out.
pub fn rules_files(paths: &[PathBuf]) -> (Vec<(String, String)>, Vec<Diagnostic>) {
    let mut names = Vec::new();
    let mut problems = Vec::new();
    for path in paths {
        if let Err(error) = walk(path, &mut names) {
            problems.push(unreadable(path, &error));
        }
    }
    names.sort();
    names.dedup();
    let mut files = Vec::new();
    for path in names {
        match read(&path) {
            Ok(text) => files.push((path.display().to_string(), text)),
            Err(error) => problems.push(unreadable(&path, &error)),
        }
    }
    (files, problems)
}

/// The text of one file.
pub(super) fn read(path: &Path) -> io::Result<String> {
    String::from_utf8(fs::read(path)?)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8"))
}

/// A path that cannot be read, as a diagnostic of the file itself.
pub(super) fn unreadable(path: &Path, error: &io::Error) -> Diagnostic {
    let code = &codes::UNREADABLE;
    Diagnostic {
        id: code.id,
        severity: code.severity,
        message: format!("cannot be read: {error}"),
        file: path.display().to_string(),
        span: 0..0,
        line: 1,
        column: 1,
        help: None,
    }
}

fn walk(path: &Path, names: &mut Vec<PathBuf>) -> io::Result<()> {
    if !fs::metadata(path)?.is_dir() {
        names.push(path.to_path_buf());
        return Ok(());
    }
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let name = entry.file_name();
        if name.to_string_lossy().starts_with('.') {
            continue;
        }
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            walk(&path, names)?;
        } else if path.extension().is_some_and(|ending| ending == "yaml" || ending == "yml") {
            names.push(path);
        }
    }
    Ok(())
}
