//! Two mistakes that break the YAML itself, recognised in the text so that the message can say so.
//!
//! `when: !x` is a YAML tag, and `{a: ${b}}` opens a second map. A parser's own message for either
//! names brackets; this names the quotes that are missing.

use std::ops::Range;

/// A mistake found in the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Hint {
    /// A value that begins with `!` without quotes.
    Tag(Range<usize>),
    /// `${…}` without quotes inside `{…}` or `[…]`.
    Flow(Range<usize>),
}

/// All such places of a text. Block scalars and comments are passed over line by line.
pub(super) fn find(text: &str) -> Vec<Hint> {
    let mut found = Vec::new();
    let mut depth = 0_usize;
    let mut block: Option<usize> = None;
    let mut offset = 0;
    for line in text.split_inclusive('\n') {
        let indent = line.len() - line.trim_start().len();
        let inside = block.is_some_and(|parent| line.trim().is_empty() || indent > parent);
        if !inside {
            block = None;
            scan(line, offset, &mut depth, &mut found);
            let code = line.trim_end();
            let header = [" |", " >", " |-", " >-", " |+", " >+"];
            if depth == 0 && header.iter().any(|end| code.ends_with(end)) {
                // `- key: >-` nests below the key, not below the dash.
                let dash =
                    code.trim_start().len() - code.trim_start().trim_start_matches("- ").len();
                block = Some(indent + dash);
            }
        }
        offset += line.len();
    }
    found
}

fn scan(line: &str, offset: usize, depth: &mut usize, found: &mut Vec<Hint>) {
    let mut quote: Option<char> = None;
    let mut before = ' ';
    let mut value_next = false;
    let mut chars = line.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        if let Some(open) = quote {
            if c == '\\' && open == '"' {
                chars.next();
            } else if c == open {
                quote = None;
            }
            before = c;
            continue;
        }
        match c {
            '#' if before.is_whitespace() => return,
            '"' | '\'' if before.is_whitespace() || "[{,:(".contains(before) => quote = Some(c),
            '$' if *depth > 0 && line[at + 1..].starts_with('{') => {
                let end =
                    line[at..].find('}').map_or(line.trim_end().len(), |length| at + length + 1);
                found.push(Hint::Flow(offset + at..offset + end));
                while chars.next_if(|(next, _)| *next < end).is_some() {}
            }
            '{' | '[' if *depth > 0 || value_next || line[..at].trim().is_empty() => *depth += 1,
            '}' | ']' => *depth = depth.saturating_sub(1),
            '!' if value_next && line[at + 1..].starts_with(|c: char| !c.is_whitespace()) => {
                let end = line.trim_end().len();
                found.push(Hint::Tag(offset + at..offset + end));
                return;
            }
            _ => {}
        }
        if !c.is_whitespace() {
            value_next = false;
        }
        if (c == ':' || c == '-') && line[at + 1..].starts_with(char::is_whitespace) {
            value_next = true;
        }
        before = c;
    }
}
