//! From files to rules: every document read, then held against the others.
//!
//! Playbooks are read in an order in which a called one comes before its caller. Those that lead
//! back to themselves come last, each told where it calls.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use super::{
    Rules,
    action::Catalogue,
    codes,
    diagnostic::{self, Diagnostic},
    document::{self, DocumentKind},
    playbook::{
        model::Playbook,
        parse::{
            self,
            call::{self, Callees},
        },
    },
    response::{
        Response, Rung,
        parse::{Places, RungPlaces, response},
    },
    yaml::{
        Document, documents,
        read::{Sink, suggest},
    },
};
use crate::domain::base::id::PlaybookName;

/// Reads all files, `(name, text)` each, and checks them together.
///
/// Diagnostics come in the order of the files, then by place. A document with an error is left out.
pub fn load(files: &[(String, String)], catalogue: &Catalogue) -> (Rules, Vec<Diagnostic>) {
    let mut loader = Loader::default();
    let mut sinks: Vec<Sink<'_>> = files.iter().map(|(name, text)| Sink::new(name, text)).collect();
    let read: Vec<_> =
        files.iter().zip(&mut sinks).map(|((_, text), sink)| yaml(text, sink)).collect();
    for (index, (documents, sink)) in read.iter().zip(&mut sinks).enumerate() {
        loader.file(index, documents, sink);
    }
    loader.playbooks(catalogue, &mut sinks);
    for (file, response, places) in &loader.responses {
        loader.across(response, places, &mut sinks[*file]);
    }
    let found = sinks.into_iter().flat_map(Sink::finish).collect();
    let responses = loader
        .responses
        .into_iter()
        .map(|(_, response, _)| (response.name.clone(), Arc::new(response)));
    (Rules { responses: responses.collect(), playbooks: loader.callees.read }, found)
}

fn yaml(text: &str, sink: &mut Sink<'_>) -> Vec<Document> {
    let (documents, found) = documents(text);
    for (code, span, message, help) in found {
        sink.push(code, &span, message, help);
    }
    documents
}

/// A playbook's document that waits for those it calls.
struct Waiting<'d> {
    file: usize,
    head: document::Head<'d>,
    source: &'d str,
    calls: Vec<PlaybookName>,
    /// Whether its own head had errors.
    is_sound: bool,
}

#[derive(Default)]
struct Loader<'d> {
    responses: Vec<(usize, Response, Places)>,
    waiting: Vec<Waiting<'d>>,
    callees: Callees,
    /// Every name that was given, also by documents with errors, and where.
    names: BTreeMap<(bool, String), String>,
}

impl<'d> Loader<'d> {
    fn file(&mut self, index: usize, documents: &'d [Document], sink: &mut Sink<'d>) {
        let text = sink.text();
        for document in documents.iter().filter(|document| !document.root.is_null()) {
            let before = sink.errors();
            // what only parts it from the document before is no part of it
            let source = text[document.span.clone()].trim();
            let source = source.strip_prefix("---").unwrap_or(source).trim_start();
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
                    let calls = call::called(head.spec);
                    let is_sound = sink.errors() == before;
                    self.waiting.push(Waiting { file: index, head, source, calls, is_sound });
                }
            }
        }
    }

    /// Reads the playbooks, called ones first.
    fn playbooks(&mut self, catalogue: &Catalogue, sinks: &mut [Sink<'_>]) {
        let mut waiting = std::mem::take(&mut self.waiting);
        self.callees.names = self.known(false).into_iter().map(str::to_owned).collect();
        loop {
            let open: BTreeSet<&str> = waiting.iter().map(|one| one.head.name.as_str()).collect();
            let is_ready =
                |one: &Waiting<'_>| !one.calls.iter().any(|name| open.contains(name.as_str()));
            let (ready, rest): (Vec<_>, Vec<_>) = {
                let flags: Vec<bool> = waiting.iter().map(is_ready).collect();
                let mut flags = flags.into_iter();
                waiting.into_iter().partition(|_| flags.next() == Some(true))
            };
            waiting = rest;
            if ready.is_empty() {
                break;
            }
            self.read(ready, catalogue, sinks);
        }
        self.callees.circles = circles(&waiting);
        self.read(waiting, catalogue, sinks);
    }

    fn read(&mut self, ready: Vec<Waiting<'_>>, catalogue: &Catalogue, sinks: &mut [Sink<'_>]) {
        for Waiting { file, head, source, is_sound, .. } in ready {
            let sink = &mut sinks[file];
            let before = sink.errors();
            let read = parse::playbook(&head, source, catalogue, &self.callees, sink);
            if let Some(playbook) = read.filter(|_| is_sound && sink.errors() == before) {
                self.callees.read.insert(playbook.name.clone(), Arc::new(playbook));
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
            if let Some(playbook) = self.callees.read.get(&rung.playbook) {
                with(rung, place, playbook, sink);
            } else if !playbooks.contains(&rung.playbook.as_str()) {
                let message = format!("there is no playbook `{}`", rung.playbook);
                let help = suggest(rung.playbook.as_str(), &playbooks);
                sink.push(&codes::UNKNOWN_PLAYBOOK, &place.playbook, message, help);
            }
        }
    }
}

/// For each playbook that leads back to itself, the shortest way round.
fn circles(waiting: &[Waiting<'_>]) -> BTreeMap<PlaybookName, Vec<PlaybookName>> {
    let calls: BTreeMap<&str, &[PlaybookName]> =
        waiting.iter().map(|one| (one.head.name.as_str(), one.calls.as_slice())).collect();
    let round = |name: &str| {
        let mut callers: BTreeMap<&str, &str> = BTreeMap::new();
        let mut front = VecDeque::from([name]);
        while let Some(caller) = front.pop_front() {
            for next in calls.get(caller).into_iter().copied().flatten() {
                if next.as_str() == name {
                    return Some(way(name, caller, &callers));
                }
                if !callers.contains_key(next.as_str()) {
                    callers.insert(next.as_str(), caller);
                    front.push_back(next.as_str());
                }
            }
        }
        None
    };
    let found = calls.keys().filter_map(|name| Some((PlaybookName::from(*name), round(name)?)));
    found.collect()
}

/// From a playbook by those it calls back to it, `last` being the one that calls it.
fn way<'n>(
    name: &'n str,
    last: &'n str,
    callers: &BTreeMap<&'n str, &'n str>,
) -> Vec<PlaybookName> {
    let mut names = vec![PlaybookName::from(name)];
    let mut at = Some(last).filter(|last| *last != name);
    while let Some(here) = at {
        names.push(PlaybookName::from(here));
        at = callers.get(here).copied().filter(|caller| *caller != name);
    }
    names.push(PlaybookName::from(name));
    names.reverse();
    names
}

/// The parameters a rung gives, against those the playbook declares.
fn with(rung: &Rung, place: &RungPlaces, playbook: &Playbook, sink: &mut Sink<'_>) {
    for (name, arg) in &rung.with {
        let at = place.with.get(name).unwrap_or(&place.playbook);
        if let Err((message, help)) = call::with_param(playbook, name, arg) {
            sink.push(&codes::BAD_WITH, at, message, help);
        }
    }
    for param in call::missing(&playbook.params, |name| rung.with.contains_key(name)) {
        let message = format!("{} needs the parameter `{}`", playbook.name, param.name);
        let help = format!("add `with: {{{}: …}}`", param.name);
        sink.add_help(&codes::BAD_WITH, &place.playbook, message, help);
    }
}
