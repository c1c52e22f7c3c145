//! What `serve` starts with and reloads: the configuration and its rules, all or nothing.

use std::path::Path;

use super::{Checked, Config, files, load, rules_files};
use crate::domain::rules::{self, Rules, action::Catalogue, has_errors};

/// Configuration and rules that were read together.
#[derive(Debug)]
pub struct Opened {
    /// Both, where nothing is wrong with either; warnings alone do not keep them back.
    pub valid: Option<(Config, Rules)>,
    /// Every file that was read and every problem.
    pub checked: Checked,
}

/// Reads a configuration file and the rules it names; without a file the defaults and the rules of
/// `folder`, where there are any.
///
/// Relative paths in the file begin at the file's own folder.
pub fn open(file: Option<&Path>, folder: &Path, catalogue: &Catalogue) -> Opened {
    let mut checked = Checked::default();
    let config = match file {
        None => {
            let mut config = Config::without_file(folder);
            config.rules.retain(|path| path.exists());
            Some(config)
        }
        Some(path) => match files::read(path) {
            Ok(text) => {
                let name = path.display().to_string();
                let folder = path.parent().unwrap_or(Path::new(""));
                let loaded = load(&name, &text, folder);
                checked.files.insert(name, text);
                checked.files.extend(loaded.files);
                checked.found.extend(loaded.found);
                loaded.config
            }
            Err(error) => {
                checked.found.push(files::unreadable(path, &error));
                None
            }
        },
    };
    let Some(config) = config else { return Opened { valid: None, checked } };
    let (texts, found) = rules_files(&config.rules);
    checked.found.extend(found);
    let (rules, found) = rules::load(&texts, catalogue);
    checked.found.extend(found);
    checked.files.extend(texts);
    let valid = (!has_errors(&checked.found)).then_some((config, rules));
    Opened { valid, checked }
}
