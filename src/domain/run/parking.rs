//! What people read of a parked run: what happened, what is armed, how to go on.

use super::{
    event::{EntryKey, List},
    lists,
    path::Path,
    state::{Run, Stage},
    todo::Parking,
};
use crate::domain::rules::playbook::model::Entry;

/// The words for a run that parks for these causes.
pub(super) fn parking(run: &Run, causes: &[String]) -> Parking {
    let mut said: Vec<String> =
        causes.iter().map(|cause| cause.trim_end_matches('.').to_owned()).collect();
    // what failed on the way, and was gone past, is often the reason
    for (path, row) in &run.steps {
        if let Stage::Failed { failure, .. } = &row.stage
            && !said.iter().any(|cause| cause.contains(&path.to_string()))
        {
            said.push(format!("Before that, step {path}: {}", failure.message));
        }
    }
    let back = if run.past_return.is_none() { " and have what it did taken back" } else { "" };
    let id = run.id;
    said.push(format!(
        "Look at it, then `quorate resume {id} --reason …` to try again, or \
         `quorate abandon {id} --reason …` to give it up{back}."
    ));
    Parking { why: said.join(". "), armed: armed(run) }
}

/// What is armed or left changed: the entries of each list that were not carried out.
pub fn armed(run: &Run) -> Vec<String> {
    let mut out: Vec<(Path, List, Vec<&str>)> = Vec::new();
    for (key, entry) in left(run) {
        let action = entry.call.action.as_str();
        match out.last_mut() {
            Some((path, list, actions)) if *path == key.step && *list == key.list => {
                actions.push(action);
            }
            _ => out.push((key.step, key.list, vec![action])),
        }
    }
    let word = |list| if list == List::Finally { "finally" } else { "undo" };
    let line = |(path, list, actions): (Path, List, Vec<&str>)| {
        format!("{path}: {} {}", word(list), actions.join(", "))
    };
    out.into_iter().map(line).collect()
}

/// The entries that were not carried out, of all lists that apply.
pub fn left(run: &Run) -> Vec<(EntryKey, &Entry)> {
    let mut out = Vec::new();
    for (row, at) in lists::started(run).into_iter().rev() {
        for list in [List::Finally, List::Undo] {
            if !lists::applies(row, list) || (list == List::Undo && run.past_return.is_some()) {
                continue;
            }
            let entries = lists::entries(&at, list).iter().enumerate();
            let entries = entries
                .map(|(index, entry)| (EntryKey { step: at.path.clone(), list, index }, entry));
            out.extend(entries.filter(|(key, _)| {
                let stage = run.entries.get(key).map(|row| &row.stage);
                !matches!(stage, Some(Stage::Done { .. } | Stage::Skipped))
            }));
        }
    }
    out
}
