//! Which files are rules, and their texts.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::{
    domain::rules::{
        codes,
        diagnostic::Diagnostic,
        yaml::{FILE_BYTES_MAX, Node, documents, read::Sink},
    },
    http::secret::read_regular,
};

/// Reads the `*.yaml` and `*.yml` files of folders (one level and below) and single files, by name.
///
/// A path that cannot be read is a diagnostic, never a silent gap. Names are as given, so that
/// diagnostics say what the user can open. Hidden files are left out.
pub fn rules_files(paths: &[PathBuf]) -> (Vec<(String, String)>, Vec<Diagnostic>) {
    let (names, mut problems) = names(paths);
    let mut files = Vec::new();
    for path in names {
        match read(&path) {
            Ok(text) => files.push((path.display().to_string(), text)),
            Err(error) => problems.push(unreadable(&path, &error)),
        }
    }
    (files, problems)
}

/// The files that paths stand for, by name.
pub(super) fn names(paths: &[PathBuf]) -> (Vec<PathBuf>, Vec<Diagnostic>) {
    let (mut names, mut problems) = (Vec::new(), Vec::new());
    for path in paths {
        if let Err(error) = walk(path, &mut names) {
            problems.push(unreadable(path, &error));
        }
    }
    names.sort();
    names.dedup();
    (names, problems)
}

/// The text of one file.
pub(super) fn read(path: &Path) -> io::Result<String> {
    read_regular(path, FILE_BYTES_MAX as u64)
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

/// The only document of a text; what is wrong with the text is reported. `None`: there is nothing.
pub(super) fn document(sink: &mut Sink<'_>, what: &str) -> Option<Node> {
    let (documents, found) = documents(sink.text());
    for (code, span, message, help) in found {
        sink.push(code, &span, message, help);
    }
    if let Some(second) = documents.get(1).filter(|document| !document.root.is_null()) {
        sink.add(&codes::WRONG_TYPE, &second.root.span, format!("{what} is one document"));
    }
    documents.into_iter().next().map(|first| first.root).filter(|root| !root.is_null())
}

/// Whether a file's name says that it is YAML.
pub(super) fn is_yaml(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending == "yaml" || ending == "yml")
}

/// Whether a file is none of ours: an editor's, or a directory's that is exchanged by a link.
pub(super) fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

fn walk(path: &Path, names: &mut Vec<PathBuf>) -> io::Result<()> {
    if !fs::metadata(path)?.is_dir() {
        names.push(path.to_path_buf());
        return Ok(());
    }
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let path = entry.path();
        if is_hidden(&path) {
            continue;
        }
        if entry.file_type()?.is_dir() {
            walk(&path, names)?;
        } else if is_yaml(&path) {
            names.push(path);
        }
    }
    Ok(())
}
