//! The head that every rule document has: version, kind, name, description, spec.
//!
//! What `spec` holds is read elsewhere (`response::parse`, `playbook::parse`).

use std::ops::Range;

use super::{
    codes,
    yaml::{
        Node,
        read::{Fields, Names, Sink, suggest, text},
    },
};

/// The version every document names.
pub const API_VERSION: &str = "quorate/v1";

/// Kinds of documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DocumentKind {
    /// A response.
    Response,
    /// A playbook.
    Playbook,
}

/// A document's head.
#[derive(Clone, Debug)]
pub struct Head<'n> {
    /// Its kind.
    pub kind: DocumentKind,
    /// Its name.
    pub name: String,
    /// Where the name stands.
    pub name_span: Range<usize>,
    /// One line for people; may be empty.
    pub description: String,
    /// The rest.
    pub spec: &'n Node,
}

/// Reads the head; `None` where kind, name or spec cannot be told (reported).
pub fn head<'n>(root: &'n Node, sink: &mut Sink<'_>) -> Option<Head<'n>> {
    let mut fields = Fields::of(root, sink)?;
    if let Some(node) = fields.need("apiVersion", sink)
        && let Some(version) = text(node, sink)
        && version != API_VERSION
    {
        let help = format!("this version of quorate reads `{API_VERSION}`");
        let message = format!("`{version}` is not a known version");
        sink.add_help(&codes::UNKNOWN_KIND, &node.span, message, help);
    }
    let kind = fields.need("kind", sink).and_then(|node| kind(node, sink));
    let metadata = fields.need("metadata", sink).and_then(|node| Fields::of(node, sink));
    let spec = fields.need("spec", sink);
    fields.finish(sink);
    let mut metadata = metadata?;
    let name = metadata.need("name", sink);
    let description = metadata.get("description").and_then(|node| text(node, sink));
    metadata.finish(sink);
    let name = name?;
    Some(Head {
        kind: kind?,
        name: Names::Kebab.read(name, sink)?.to_owned(),
        name_span: name.span.clone(),
        description: description.unwrap_or_default().to_owned(),
        spec: spec?,
    })
}

fn kind(node: &Node, sink: &mut Sink<'_>) -> Option<DocumentKind> {
    let got = text(node, sink)?;
    match got {
        "Response" => return Some(DocumentKind::Response),
        "Playbook" => return Some(DocumentKind::Playbook),
        "Scenario" => {
            sink.add(&codes::NOT_SUPPORTED, &node.span, "scenarios are not supported yet");
        }
        _ => {
            let message = format!("`{got}` is not a known kind");
            let help = suggest(got, &["Response", "Playbook"]);
            sink.push(&codes::UNKNOWN_KIND, &node.span, message, help);
        }
    }
    None
}
