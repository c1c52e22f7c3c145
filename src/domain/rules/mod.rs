//! All responses and playbooks of all files, valid by themselves and with each other.
//!
//! Loading is all or nothing for the caller: [`load`] returns what could be read *and* every
//! problem; with an error among them the rules must not replace ones that work.

pub mod action;
pub mod bindings;
pub mod codes;
pub mod diagnostic;
pub mod document;
pub mod expr;
mod loader;
pub mod output;
pub mod playbook;
pub mod response;
#[cfg(test)]
mod tests;
pub mod vocabulary;
pub mod yaml;

use std::{collections::BTreeMap, sync::Arc};

pub use self::loader::load;
use self::{
    diagnostic::{Diagnostic, Severity},
    playbook::model::Playbook,
    response::Response,
};
use super::base::id::{PlaybookName, ResponseName};

/// What is loaded.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// Responses by name.
    pub responses: BTreeMap<ResponseName, Arc<Response>>,
    /// Playbooks by name.
    pub playbooks: BTreeMap<PlaybookName, Arc<Playbook>>,
}

/// Whether a problem keeps the rules from being used.
pub fn has_errors(found: &[Diagnostic]) -> bool {
    found.iter().any(|found| found.severity == Severity::Error)
}
