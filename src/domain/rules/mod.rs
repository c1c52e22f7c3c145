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
pub mod output;
pub mod playbook;
pub mod response;
#[cfg(test)]
mod tests;
pub mod vocabulary;
pub mod yaml;

use std::{collections::BTreeMap, sync::Arc};

use self::{
    action::Catalogue,
    diagnostic::{Diagnostic, Severity},
    document::DocumentKind,
    expr::Type,
    playbook::{
        model::{Arg, Playbook},
        params::{Param, ParamType},
        parse,
    },
    response::{
        Response, Rung,
        parse::{Places, RungPlaces, response},
    },
    yaml::{
        documents,
        read::{Sink, suggest},
    },
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

/// Reads all files, `(name, text)` each, and checks them together.
///
/// Diagnostics come in the order of the files, then by place. A document with an error is left out.
pub fn load(files: &[(String, String)], catalogue: &Catalogue) -> (Rules, Vec<Diagnostic>) {
    let mut loader = Loader::default();
    let mut sinks: Vec<Sink<'_>> = files.iter().map(|(name, text)| Sink::new(name, text)).collect();
    for (index, sink) in sinks.iter_mut().enumerate() {
        loader.file(index, catalogue, sink);
    }
    for (file, response, places) in &loader.responses {
        loader.across(response, places, &mut sinks[*file]);
    }
    let found = sinks.into_iter().flat_map(Sink::finish).collect();
    let responses = loader
        .responses
        .into_iter()
        .map(|(_, response, _)| (response.name.clone(), Arc::new(response)));
    (Rules { responses: responses.collect(), playbooks: loader.playbooks }, found)
}

/// Whether a problem keeps the rules from being used.
pub fn has_errors(found: &[Diagnostic]) -> bool {
    found.iter().any(|found| found.severity == Severity::Error)
}

#[derive(Default)]
struct Loader {
    responses: Vec<(usize, Response, Places)>,
    playbooks: BTreeMap<PlaybookName, Arc<Playbook>>,
    /// Every name that was given, also by documents with errors, and where.
    names: BTreeMap<(bool, String), String>,
}

impl Loader {
    fn file(&mut self, index: usize, catalogue: &Catalogue, sink: &mut Sink<'_>) {
        let text = sink.text();
        let (documents, found) = documents(text);
        for (code, span, message, help) in found {
            sink.push(code, &span, message, help);
        }
        for document in documents.iter().filter(|document| !document.root.is_null()) {
            let before = sink.errors();
            let source = text[document.span.clone()].trim();
            let Some(head) = document::head(&document.root, sink) else { continue };
            let is_response = head.kind == DocumentKind::Response;
            self.unique(is_response, &head, sink);
            match head.kind {
                DocumentKind::Response => {
                    let (read, places) = response(&head, source, sink);
                    if let Some(response) = read.filter(|_| sink.errors() == before) {
                        self.responses.push((index, response, places));
                    }
                }
                DocumentKind::Playbook => {
                    let read = parse::playbook(&head, source, catalogue, sink);
                    if let Some(playbook) = read.filter(|_| sink.errors() == before) {
                        self.playbooks.insert(playbook.name.clone(), Arc::new(playbook));
                    }
                }
            }
        }
    }

    fn unique(&mut self, is_response: bool, head: &document::Head<'_>, sink: &mut Sink<'_>) {
        let key = (is_response, head.name.clone());
        let (line, column) = diagnostic::position(sink.text(), head.name_span.start);
        let place = format!("{}:{line}:{column}", sink.file());
        if let Some(first) = self.names.get(&key) {
            let what = if is_response { "response" } else { "playbook" };
            let message = format!("there is a {what} `{}` already, at {first}", head.name);
            sink.add(&codes::DUPLICATE_NAME, &head.name_span, message);
        } else {
            self.names.insert(key, place);
        }
    }

    fn known(&self, is_response: bool) -> Vec<&str> {
        let names = self.names.keys().filter(|(kind, _)| *kind == is_response);
        names.map(|(_, name)| name.as_str()).collect()
    }

    /// What a response says about other documents.
    fn across(&self, response: &Response, places: &Places, sink: &mut Sink<'_>) {
        let responses = self.known(true);
        for (name, place) in response.inhibits.iter().zip(&places.inhibits) {
            if !responses.contains(&name.as_str()) {
                let message = format!("there is no response `{name}`");
                let help = suggest(name.as_str(), &responses);
                sink.push(&codes::UNKNOWN_RESPONSE, place, message, help);
            }
        }
        if let Some(place) = places.quarantine.as_ref().filter(|_| response.inhibits.is_empty()) {
            let message = "a quarantine goes on inhibiting, but `inhibits` names nobody";
            sink.add(&codes::QUARANTINE_ALONE, place, message);
        }
        let playbooks = self.known(false);
        for (rung, place) in response.ladder.iter().zip(&places.rungs) {
            if let Some(playbook) = self.playbooks.get(&rung.playbook) {
                with(rung, place, playbook, sink);
            } else if !playbooks.contains(&rung.playbook.as_str()) {
                let message = format!("there is no playbook `{}`", rung.playbook);
                let help = suggest(rung.playbook.as_str(), &playbooks);
                sink.push(&codes::UNKNOWN_PLAYBOOK, &place.playbook, message, help);
            }
        }
    }
}

/// The parameters a rung gives, against those the playbook declares.
fn with(rung: &Rung, place: &RungPlaces, playbook: &Playbook, sink: &mut Sink<'_>) {
    let names: Vec<&str> = playbook.params.iter().map(|param| param.name.as_str()).collect();
    for (name, arg) in &rung.with {
        let at = place.with.get(name).unwrap_or(&place.playbook);
        match playbook.params.iter().find(|param| param.name == *name) {
            None => {
                let message = format!("{} has no parameter `{name}`", playbook.name);
                sink.push(&codes::BAD_WITH, at, message, suggest(name, &names));
            }
            Some(param) => {
                if let Err(message) = fits(param, arg) {
                    sink.add(&codes::BAD_WITH, at, message);
                }
            }
        }
    }
    let missing = playbook.params.iter().filter(|param| param.required);
    for param in missing.filter(|param| !rung.with.contains_key(&param.name)) {
        let message = format!("{} needs the parameter `{}`", playbook.name, param.name);
        let help = format!("add `with: {{{}: …}}`", param.name);
        sink.add_help(&codes::BAD_WITH, &place.playbook, message, help);
    }
}

fn fits(param: &Param, arg: &Arg) -> Result<(), String> {
    match arg {
        Arg::Literal(value) => param.accept(value.clone()).map(|_| ()),
        Arg::Template(template) if template.is_literal() => {
            param.accept(expr::Value::str(template.source())).map(|_| ())
        }
        Arg::Template(template) => {
            let given = template.ty();
            let wanted = param.ty.variable();
            let is_text = matches!(given, Type::Str | Type::Word(_));
            // A text is read as what is wanted when the run is planned.
            if given == Type::Any || given == wanted || (is_text && param.ty != ParamType::List) {
                return Ok(());
            }
            Err(format!("`{}` must be of type {}, not {given}", param.name, param.ty.label()))
        }
        Arg::List(_) | Arg::Map(_) => Ok(()),
    }
}
