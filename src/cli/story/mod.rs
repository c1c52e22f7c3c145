//! Single things told to people: what is, why, and what to do next.
//!
//! Every text of a server goes through [`clean`]: labels come from anywhere.

pub(super) mod cluster;
pub(super) mod incident;
pub(super) mod loss;
pub(super) mod plan;
pub(super) mod run;
pub(super) mod why;

use std::fmt::Write;

use super::{
    lists,
    out::{clean, table},
};

/// Text that grows line by line.
#[derive(Default)]
struct Page {
    text: String,
}

impl Page {
    /// A heading, with an empty line before it unless it is the first.
    fn head(&mut self, title: &str) {
        let gap = if self.text.is_empty() { "" } else { "\n" };
        writeln!(self.text, "{gap}{title}").expect("writing to a string cannot fail");
    }

    /// A line under the heading.
    fn line(&mut self, text: impl AsRef<str>) {
        writeln!(self.text, "  {}", clean(text.as_ref())).expect("writing to a string cannot fail");
    }

    /// `name: value` with names of one width.
    fn field(&mut self, name: &str, value: impl AsRef<str>) {
        self.line(format!("{name:<12}{}", value.as_ref()));
    }

    /// A field that may be empty, and then is left out.
    fn maybe(&mut self, name: &str, value: Option<impl AsRef<str>>) {
        if let Some(value) = value {
            self.field(name, value);
        }
    }

    /// A table under the heading.
    fn table(&mut self, head: &[&str], rows: &[Vec<String>]) {
        for line in table(head, rows).lines() {
            writeln!(self.text, "  {line}").expect("writing to a string cannot fail");
        }
    }
}

/// `0 to 12 revisions`, `at least 3 revisions`.
fn loss(lower: u64, upper: Option<u64>) -> String {
    match upper {
        Some(upper) if upper == lower => format!("{lower} revisions"),
        Some(upper) => format!("{lower} to {upper} revisions"),
        None => format!("at least {lower} revisions; how many at most is unknown"),
    }
}

fn labels(labels: &std::collections::BTreeMap<String, String>) -> String {
    let pairs: Vec<_> = labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
    format!("{{{}}}", pairs.join(", "))
}

fn at(time: crate::domain::base::time::Time) -> String {
    lists::time(time)
}
