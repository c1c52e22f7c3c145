//! From events to [`Node`]s, with everything that is wrong on the way.

use std::ops::Range;

use granit_parser::{Event, Parser, ScalarStyle, Span};

use super::{
    DEPTH_MAX, Document, FILE_BYTES_MAX, Key, Kind, NODES_MAX, Node, ScalarValue, Style,
    hints::{self, Hint},
    scalar,
};
use crate::domain::rules::{
    codes::{self, Code},
    diagnostic::position,
};

/// A problem with its place, before it has a file.
pub type Found = (&'static Code, Range<usize>, String, Option<String>);

/// Reads all documents of a text. Problems are collected; what could be read is returned.
pub fn documents(text: &str) -> (Vec<Document>, Vec<Found>) {
    if text.len() > FILE_BYTES_MAX {
        let message = format!("the file has {} bytes, more than {FILE_BYTES_MAX}", text.len());
        return (Vec::new(), vec![(&codes::TOO_LARGE, 0..0, message, None)]);
    }
    let mut builder = Builder { text, ..Builder::default() };
    for event in Parser::new_from_str(text) {
        let done = match event {
            Ok((event, span)) => builder.event(event, &span),
            Err(error) => {
                let at = error.marker().byte_offset().unwrap_or(0).min(text.len());
                builder.broken(at, &error.info());
                false
            }
        };
        if !done {
            break;
        }
    }
    (builder.documents, builder.problems)
}

#[derive(Default)]
struct Builder<'t> {
    text: &'t str,
    documents: Vec<Document>,
    problems: Vec<Found>,
    open: Vec<Open>,
    root: Option<Node>,
    document_start: usize,
    events: usize,
}

/// A list or map that is not closed yet.
enum Open {
    Seq(usize, Vec<Node>),
    Map { start: usize, pairs: Vec<(Key, Node)>, next: Next },
}

/// What a map's next node is; a value's key is missing where it was no name.
enum Next {
    Key,
    Value(Option<Key>),
}

fn nothing(span: Range<usize>) -> Node {
    Node { span, kind: Kind::Scalar(ScalarValue::Null, Style::Plain) }
}

impl Builder<'_> {
    /// Takes one event; false where reading must end.
    #[expect(clippy::wildcard_enum_match_arm, reason = "the parser's events are non-exhaustive")]
    fn event(&mut self, event: Event<'_>, span: &Span) -> bool {
        let range = span.byte_range().unwrap_or(0..0);
        if let Some(tag) = span.tag_span().and_then(|tag| tag.byte_range()) {
            self.tagged(tag);
        }
        match event {
            Event::Scalar(value, style, ..) => {
                let node = self.scalar(&value, style, range.clone());
                self.place(node);
            }
            Event::Alias(..) => {
                // behind a merge key, which was reported, it is no second mistake
                let is_merged =
                    matches!(self.open.last(), Some(Open::Map { next: Next::Value(None), .. }));
                if !is_merged {
                    let help = "write the value out where it is used".to_owned();
                    let name = self.text.get(range.clone()).unwrap_or_default().trim_end();
                    let message = format!("aliases are not supported: `{name}`");
                    self.problems.push((&codes::ALIAS, range.clone(), message, Some(help)));
                }
                self.place(nothing(range.clone()));
            }
            Event::SequenceStart(..) => self.open.push(Open::Seq(range.start, Vec::new())),
            Event::MappingStart(..) => {
                self.open.push(Open::Map {
                    start: range.start,
                    pairs: Vec::new(),
                    next: Next::Key,
                });
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(range.end),
            Event::DocumentEnd => {
                let end = range.end.max(self.document_start);
                let root = self.root.take().unwrap_or_else(|| nothing(end..end));
                self.documents.push(Document { span: self.document_start..end, root });
                self.document_start = end;
            }
            // Stream marks carry nothing; comments and anchors are not asked for.
            _ => {}
        }
        self.events += 1;
        let message = if self.open.len() > DEPTH_MAX {
            format!("nested deeper than {DEPTH_MAX} levels")
        } else if self.events > NODES_MAX {
            format!("more than {NODES_MAX} values")
        } else {
            return true;
        };
        let at =
            range.start..range.start + usize::from(self.text.is_char_boundary(range.start + 1));
        self.problems.push((&codes::TOO_LARGE, at, message, None));
        false
    }

    fn scalar(&self, value: &str, style: ScalarStyle, span: Range<usize>) -> Node {
        let style = match style {
            ScalarStyle::Plain => Style::Plain,
            ScalarStyle::SingleQuoted => Style::Single,
            ScalarStyle::DoubleQuoted => Style::Double,
            ScalarStyle::Literal | ScalarStyle::Folded => Style::Block,
        };
        let source = self.text.get(span.clone()).unwrap_or("");
        // A block scalar is always text, and its span does not hold its header.
        let read = if style == Style::Block { None } else { scalar::value(source) };
        let value = read.unwrap_or_else(|| ScalarValue::Str(value.into()));
        let end = span.start + source.trim_end().len();
        Node { kind: Kind::Scalar(value, style), span: span.start..end }
    }

    /// Puts a finished node where it belongs: as key, value, item or root.
    fn place(&mut self, node: Node) {
        match self.open.last_mut() {
            None => self.root = Some(node),
            Some(Open::Seq(_, items)) => items.push(node),
            Some(Open::Map { pairs, next, .. }) => match std::mem::replace(next, Next::Key) {
                Next::Key => *next = Next::Value(named(self.text, node, &mut self.problems)),
                Next::Value(None) => {}
                Next::Value(Some(key)) => pairs.push((key, node)),
            },
        }
    }
}

/// A key must be a scalar; its name is its text as written.
fn named(text: &str, node: Node, problems: &mut Vec<Found>) -> Option<Key> {
    let name = match &node.kind {
        Kind::Scalar(ScalarValue::Str(name), Style::Plain) if name == "<<" => {
            let help = "write the keys out where they are used".to_owned();
            let message = "merge keys are not supported: `<<`".to_owned();
            problems.push((&codes::ALIAS, node.span, message, Some(help)));
            return None;
        }
        Kind::Scalar(ScalarValue::Str(name), _) => name.clone(),
        Kind::Scalar(..) => text.get(node.span.clone()).unwrap_or("").to_owned(),
        Kind::Seq(_) | Kind::Map(_) => {
            let help = "write a plain name before the colon".to_owned();
            let message = format!("{} cannot be a key", node.noun());
            problems.push((&codes::BAD_KEY, node.span, message, Some(help)));
            return None;
        }
    };
    Some(Key { name, span: node.span })
}

impl Builder<'_> {
    fn close(&mut self, end: usize) {
        let node = match self.open.pop() {
            Some(Open::Seq(start, items)) => Node { span: start..end, kind: Kind::Seq(items) },
            Some(Open::Map { start, pairs, .. }) => {
                Node { span: start..end, kind: Kind::Map(self.unique(pairs)) }
            }
            None => return,
        };
        let shown = self.text.get(node.span.clone()).map_or(0, |text| text.trim_end().len());
        let node = Node { span: node.span.start..node.span.start + shown, ..node };
        self.place(node);
    }

    /// The first of equal keys stays.
    fn unique(&mut self, pairs: Vec<(Key, Node)>) -> Vec<(Key, Node)> {
        let mut kept: Vec<(Key, Node)> = Vec::with_capacity(pairs.len());
        let mut seen = std::collections::BTreeMap::new();
        for (key, node) in pairs {
            if let Some(first) = seen.get(&key.name) {
                let (line, _) = position(self.text, *first);
                let message = format!("`{}` is given twice, first on line {line}", key.name);
                let help = "keep one of the two".to_owned();
                self.problems.push((&codes::DUPLICATE_KEY, key.span, message, Some(help)));
            } else {
                seen.insert(key.name.clone(), key.span.start);
                kept.push((key, node));
            }
        }
        kept
    }

    fn tagged(&mut self, span: Range<usize>) {
        let message = "an unquoted `!` begins a YAML tag".to_owned();
        let help = "put the whole value in quotes: '!…'".to_owned();
        self.problems.push((&codes::TAG, span, message, Some(help)));
    }

    /// The text is no YAML from here on: name the likely cause if there is one.
    fn broken(&mut self, at: usize, info: &str) {
        let known = self.problems.len();
        for hint in hints::find(self.text) {
            match hint {
                Hint::Tag(span) => {
                    if !self.problems.iter().any(|(_, seen, ..)| seen.start == span.start) {
                        self.tagged(span);
                    }
                }
                Hint::Flow(span) => {
                    let message = "`${…}` stands without quotes inside `{…}` or `[…]`".to_owned();
                    let help = "put it in quotes: \"${…}\"".to_owned();
                    self.problems.push((&codes::FLOW_TEMPLATE, span, message, Some(help)));
                }
            }
        }
        if self.problems.len() == known {
            let mut at = at;
            while !self.text.is_char_boundary(at) {
                at -= 1;
            }
            let end = self.text[at..].chars().next().map_or(at, |c| at + c.len_utf8());
            self.problems.push((
                &codes::NOT_YAML,
                at..end,
                format!("this is no YAML: {info}"),
                None,
            ));
        }
    }
}
