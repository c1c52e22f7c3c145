//! Where a byte range of a scalar's *value* stands in the file.
//!
//! Value and source are walked side by side: equal characters match, white space in the source
//! (line folds, indentation) is skipped where the value has none, escapes count as the one
//! character they mean. What cannot be aligned falls back to the scalar's start.

use std::ops::Range;

use super::{Kind, Node, ScalarValue, Style};

/// The byte range in the file for `range` in the value of `node`.
///
/// Exact for plain and quoted text and for every character of a block scalar that is not white
/// space; the scalar's first byte where that fails.
pub fn locate(text: &str, node: &Node, range: &Range<usize>) -> Range<usize> {
    let Kind::Scalar(ScalarValue::Str(value), style) = &node.kind else {
        return node.span.clone();
    };
    let fallback = || node.span.start..(node.span.start + 1).min(node.span.end);
    let Some(source) = text.get(node.span.clone()) else { return node.span.clone() };
    let body = match style {
        Style::Plain | Style::Block => 0,
        Style::Single | Style::Double => 1,
    };
    let ends = align(source, body, value, *style, range);
    ends.map_or_else(fallback, |(start, end)| node.span.start + start..node.span.start + end)
}

/// Start of the first and end of the last character of `range`, as offsets into `source`.
fn align(
    source: &str,
    mut at: usize,
    value: &str,
    style: Style,
    range: &Range<usize>,
) -> Option<(usize, usize)> {
    let mut start = None;
    let mut end = None;
    for (offset, wanted) in value.char_indices() {
        if end.is_some() && offset >= range.end {
            break;
        }
        let (from, next) = step(source, at, wanted, style)?;
        if offset >= range.start {
            start.get_or_insert(from);
            end = Some(next);
        }
        at = next;
    }
    match (start, end) {
        (Some(start), Some(end)) => Some((start, end)),
        // A place behind the last character (`unexpected end`).
        (_, _) => Some((at, at)),
    }
}

/// The source range of one character of the value, looked for from `at` on.
fn step(source: &str, at: usize, wanted: char, style: Style) -> Option<(usize, usize)> {
    let rest = source.get(at..)?;
    let found = rest.chars().next()?;
    if style == Style::Double && found == '\\' {
        let code = rest.chars().nth(1)?;
        let length = match code {
            'x' => 4,
            'u' => 6,
            'U' => 10,
            // An escaped line break joins two lines and stands for nothing.
            '\n' => {
                let space = rest[2..].len() - rest[2..].trim_start().len();
                return step(source, at + 2 + space, wanted, style);
            }
            other => 1 + other.len_utf8(),
        };
        return Some((at, at + length));
    }
    if style == Style::Single && found == '\'' && wanted == '\'' {
        return Some((at, at + 2));
    }
    if found == wanted || (found.is_whitespace() && wanted.is_whitespace()) {
        return Some((at, at + found.len_utf8()));
    }
    if found.is_whitespace() {
        let space = rest.len() - rest.trim_start().len();
        return step(source, at + space, wanted, style);
    }
    None
}
