//! From nodes to values: a map is taken apart key by key, and what nobody took is an unknown key.
//!
//! Every reader reports what is wrong to a [`Sink`] and goes on, so that one pass finds all
//! problems of a file. A reader's `None` means *absent or already reported*.

use std::{ops::Range, time::Duration};

use super::{Key, Kind, Node, ScalarValue, locate};
use crate::domain::{
    base::time::{DurationError, format_duration, parse_duration},
    rules::{
        codes::{self, Code},
        diagnostic::{Diagnostic, Severity, position},
        expr::{Problem, near},
    },
};

/// Collects the problems of one file.
#[derive(Debug)]
pub struct Sink<'t> {
    file: &'t str,
    text: &'t str,
    found: Vec<Diagnostic>,
}

impl<'t> Sink<'t> {
    /// For a file by the name people know it by, and its text.
    pub fn new(file: &'t str, text: &'t str) -> Self {
        Self { file, text, found: Vec::new() }
    }

    /// The file's text.
    pub fn text(&self) -> &'t str {
        self.text
    }

    /// The file's name.
    pub fn file(&self) -> &'t str {
        self.file
    }

    /// Notes a problem.
    pub fn add(&mut self, code: &'static Code, span: &Range<usize>, message: impl Into<String>) {
        self.push(code, span, message.into(), None);
    }

    /// Notes a problem with what to do about it.
    pub fn add_help(
        &mut self,
        code: &'static Code,
        span: &Range<usize>,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.push(code, span, message.into(), Some(help.into()));
    }

    /// Notes a problem whose help may be absent.
    pub fn push(
        &mut self,
        code: &'static Code,
        span: &Range<usize>,
        message: String,
        help: Option<String>,
    ) {
        let (line, column) = position(self.text, span.start);
        self.found.push(Diagnostic {
            id: code.id,
            severity: code.severity,
            message,
            file: self.file.to_owned(),
            span: span.clone(),
            line,
            column,
            help,
        });
    }

    /// Notes what is wrong with an expression or template written in `node`.
    pub fn expression(&mut self, node: &Node, problems: Vec<Problem>) {
        for problem in problems {
            let span = locate(self.text, node, &problem.span);
            self.push(&codes::BAD_EXPRESSION, &span, problem.message, problem.help);
        }
    }

    /// How many problems were noted so far.
    pub fn count(&self) -> usize {
        self.found.len()
    }

    /// How many errors were noted so far; warnings are left out.
    pub fn errors(&self) -> usize {
        self.found.iter().filter(|found| found.severity == Severity::Error).count()
    }

    /// All problems, in the order of the file.
    pub fn finish(mut self) -> Vec<Diagnostic> {
        self.found.sort_by_key(|found| (found.span.start, found.id));
        self.found.dedup();
        self.found
    }

    /// Says that `node` should have been something else, unless it is the rest of a tag or alias
    /// that was reported.
    pub fn wanted(&mut self, node: &Node, what: &str) {
        let (line, _) = position(self.text, node.span.start);
        let refused = [codes::TAG.id, codes::ALIAS.id];
        if node.is_null()
            && self.found.iter().any(|found| found.line == line && refused.contains(&found.id))
        {
            return;
        }
        let message = format!("{what} was expected here, not {}", node.noun());
        self.add(&codes::WRONG_TYPE, &head(self.text, &node.span), message);
    }
}

/// The first line of a span: a frame around a whole map shows nothing.
pub fn head(text: &str, span: &Range<usize>) -> Range<usize> {
    let shown = text.get(span.clone()).unwrap_or("");
    let end = shown.find('\n').unwrap_or(shown.len());
    span.start..span.start + shown[..end].trim_end().len()
}

/// Bounds of a number or duration, with the unit that they are shown in.
pub type Bounds<T> = std::ops::RangeInclusive<T>;

/// A map that is being taken apart.
#[derive(Debug)]
pub struct Fields<'n> {
    /// The whole map.
    pub span: Range<usize>,
    pairs: Vec<Option<(&'n Key, &'n Node)>>,
    asked: Vec<&'static str>,
}

impl<'n> Fields<'n> {
    /// Starts on a map; anything else is reported.
    pub fn of(node: &'n Node, sink: &mut Sink<'_>) -> Option<Self> {
        match &node.kind {
            Kind::Map(pairs) => Some(Self {
                span: node.span.clone(),
                pairs: pairs.iter().map(|(key, node)| Some((key, node))).collect(),
                asked: Vec::new(),
            }),
            Kind::Scalar(..) | Kind::Seq(_) => {
                sink.wanted(node, "a map");
                None
            }
        }
    }

    /// The key and value of a name.
    pub fn entry(&mut self, name: &'static str) -> Option<(&'n Key, &'n Node)> {
        self.asked.push(name);
        let at =
            self.pairs.iter().position(|pair| pair.is_some_and(|(key, _)| key.name == name))?;
        self.pairs[at].take()
    }

    /// The value of a name.
    pub fn get(&mut self, name: &'static str) -> Option<&'n Node> {
        self.entry(name).map(|(_, node)| node)
    }

    /// The value of a name that must be there.
    pub fn need(&mut self, name: &'static str, sink: &mut Sink<'_>) -> Option<&'n Node> {
        let found = self.get(name);
        if found.is_none() {
            let at = head(sink.text, &self.span);
            sink.add(&codes::MISSING_KEY, &at, format!("`{name}` is missing here"));
        }
        found
    }

    /// The pairs that nobody asked for yet, all of them taken.
    pub fn rest(&mut self) -> Vec<(&'n Key, &'n Node)> {
        self.pairs.iter_mut().filter_map(Option::take).collect()
    }

    /// The names that were asked for so far.
    pub fn asked(&self) -> &[&'static str] {
        &self.asked
    }

    /// Reports keys of the contract that are not supported yet.
    pub fn unsupported(&mut self, names: &[&'static str], sink: &mut Sink<'_>) {
        for name in names {
            if let Some((key, _)) = self.entry(name) {
                sink.add(
                    &codes::NOT_SUPPORTED,
                    &key.span,
                    format!("`{name}` is not supported yet"),
                );
            }
        }
    }

    /// Reports what nobody asked for.
    pub fn finish(mut self, sink: &mut Sink<'_>) {
        for (key, _) in self.rest() {
            unknown_key(key, &self.asked, sink);
        }
    }
}

/// Reports an unknown key with the nearest of those that are known.
pub fn unknown_key(key: &Key, known: &[&str], sink: &mut Sink<'_>) {
    let message = format!("`{}` is not a key here", key.name);
    sink.push(&codes::UNKNOWN_KEY, &key.span, message, suggest(&key.name, known));
}

/// "did you mean", or the list of what there is.
pub fn suggest(got: &str, known: &[&str]) -> Option<String> {
    if let Some(name) = near(got, known.iter().copied()) {
        return Some(format!("did you mean `{name}`?"));
    }
    (!known.is_empty()).then(|| format!("known here: {}", known.join(", ")))
}

/// A text. A number or boolean is reported with the quotes it needs.
pub fn text<'n>(node: &'n Node, sink: &mut Sink<'_>) -> Option<&'n str> {
    let found = node.as_str();
    if found.is_none() {
        sink.wanted(node, "a text");
    }
    found
}

/// One of a closed list of words.
pub fn word<'w>(node: &Node, words: &[&'w str], sink: &mut Sink<'_>) -> Option<&'w str> {
    let got = text(node, sink)?;
    let found = words.iter().find(|word| **word == got).copied();
    if found.is_none() {
        let message = format!("`{got}` is none of the words that can stand here");
        sink.push(&codes::NOT_A_WORD, &node.span, message, suggest(got, words));
    }
    found
}

/// A whole number within bounds.
pub fn int(node: &Node, bounds: &Bounds<i64>, sink: &mut Sink<'_>) -> Option<i64> {
    let Kind::Scalar(ScalarValue::Int(got), _) = node.kind else {
        sink.wanted(node, "a whole number");
        return None;
    };
    if !bounds.contains(&got) {
        let message = format!("{got} is not within {} and {}", bounds.start(), bounds.end());
        sink.add(&codes::OUT_OF_RANGE, &node.span, message);
        return None;
    }
    Some(got)
}

/// A whole number that fits a `u32`, within bounds.
pub fn count(node: &Node, bounds: &Bounds<u32>, sink: &mut Sink<'_>) -> Option<u32> {
    let wide = i64::from(*bounds.start())..=i64::from(*bounds.end());
    int(node, &wide, sink).and_then(|got| u32::try_from(got).ok())
}

/// Any number within bounds.
pub fn number(node: &Node, bounds: &Bounds<f64>, sink: &mut Sink<'_>) -> Option<f64> {
    let got = match node.kind {
        #[expect(clippy::cast_precision_loss, reason = "numbers beyond 2^53 are out of all bounds")]
        Kind::Scalar(ScalarValue::Int(got), _) => got as f64,
        Kind::Scalar(ScalarValue::Float(got), _) => got,
        Kind::Scalar(..) | Kind::Seq(_) | Kind::Map(_) => {
            sink.wanted(node, "a number");
            return None;
        }
    };
    if !bounds.contains(&got) {
        let message = format!("{got} is not within {} and {}", bounds.start(), bounds.end());
        sink.add(&codes::OUT_OF_RANGE, &node.span, message);
        return None;
    }
    Some(got)
}

/// `true` or `false`.
pub fn boolean(node: &Node, sink: &mut Sink<'_>) -> Option<bool> {
    if let Kind::Scalar(ScalarValue::Bool(got), _) = node.kind {
        return Some(got);
    }
    sink.wanted(node, "`true` or `false`");
    None
}

/// A duration within bounds.
pub fn duration(node: &Node, bounds: &Bounds<Duration>, sink: &mut Sink<'_>) -> Option<Duration> {
    let Some(got) = node.as_str() else {
        sink.wanted(node, "a duration as 90s or 1h30m");
        return None;
    };
    let span = match parse_duration(got) {
        Ok(span) => Some(span),
        Err(DurationError::TooLong(_)) => None,
        Err(DurationError::Syntax(_)) => {
            let message = format!("`{got}` is no duration");
            let help = "write whole numbers with units, as 1d2h3m4s5ms";
            sink.add_help(&codes::BAD_UNIT, &node.span, message, help);
            return None;
        }
    };
    let within = span.filter(|span| bounds.contains(span));
    if within.is_none() {
        let (low, high) = (format_duration(*bounds.start()), format_duration(*bounds.end()));
        let message = format!("{got} is not within {low} and {high}");
        sink.add(&codes::OUT_OF_RANGE, &node.span, message);
    }
    within
}

/// A list, or what is reported instead.
pub fn list<'n>(node: &'n Node, sink: &mut Sink<'_>) -> Option<&'n [Node]> {
    match &node.kind {
        Kind::Seq(items) => Some(items),
        Kind::Scalar(..) | Kind::Map(_) => {
            sink.wanted(node, "a list");
            None
        }
    }
}

/// A list of texts.
pub fn texts(node: &Node, sink: &mut Sink<'_>) -> Option<Vec<String>> {
    let items = list(node, sink)?;
    let read: Vec<_> = items.iter().map(|item| text(item, sink).map(str::to_owned)).collect();
    read.into_iter().collect()
}

/// Which character may stand between the words of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    /// `[a-z][a-z0-9_]*`: steps, signals, parameters.
    Snake,
    /// `[a-z][a-z0-9-]*`: playbooks, responses, clusters.
    Kebab,
}

impl Names {
    /// Whether a text is such a name; at most 63 characters, as a DNS label has.
    pub fn fits(self, name: &str) -> bool {
        let joint = match self {
            Self::Snake => '_',
            Self::Kebab => '-',
        };
        name.len() <= 63
            && name.starts_with(|c: char| c.is_ascii_lowercase())
            && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == joint)
    }

    /// Reports a name that does not fit.
    pub fn check(self, name: &str, span: &Range<usize>, sink: &mut Sink<'_>) -> bool {
        let fits = self.fits(name);
        if !fits {
            let joint = match self {
                Self::Snake => "_",
                Self::Kebab => "-",
            };
            let message = format!("`{name}` is no name that can stand here");
            let help = format!("use a to z, 0 to 9 and `{joint}`, a letter first, 63 at most");
            sink.add_help(&codes::BAD_NAME, span, message, help);
        }
        fits
    }

    /// A name in a text scalar.
    pub fn read<'n>(self, node: &'n Node, sink: &mut Sink<'_>) -> Option<&'n str> {
        let name = text(node, sink)?;
        self.check(name, &node.span, sink).then_some(name)
    }
}
