//! Printing: to a pipe that may be closed, and of texts that came from outside.
//!
//! A closed pipe ends the output, not the program with a panic. Control characters in labels and
//! messages are shown, never sent: a terminal would obey them.

use std::{
    fmt::Display,
    io::{self, IsTerminal, Write},
};

use crate::telemetry::log::is_harmful;

/// Where the answer goes.
pub(crate) struct Out {
    to: io::StdoutLock<'static>,
    closed: bool,
}

impl Out {
    pub(crate) fn stdout() -> Self {
        Self { to: io::stdout().lock(), closed: false }
    }

    /// Whether people look at it.
    pub(crate) fn is_terminal(&self) -> bool {
        self.to.is_terminal()
    }

    /// Prints a line.
    pub(crate) fn line(&mut self, text: impl Display) {
        self.text(format!("{text}\n"));
    }

    /// Prints text as it is.
    pub(crate) fn text(&mut self, text: impl AsRef<str>) {
        if !self.closed {
            let text = text.as_ref().as_bytes();
            self.closed = self.to.write_all(text).and_then(|()| self.to.flush()).is_err();
        }
    }
}

/// Prints a line to standard error; where that is closed nobody wants it.
pub(crate) fn complain(text: impl Display) {
    drop(writeln!(io::stderr().lock(), "{}", clean_lines(&text.to_string())));
}

/// Prints code frames to standard error, colours and all.
pub(crate) fn complain_frames(text: &str) {
    drop(io::stderr().lock().write_all(text.as_bytes()));
}

/// One line of a text from outside.
pub(crate) fn clean(text: &str) -> String {
    let shown =
        |c: char| -> String { if is_harmful(c) { c.escape_default().collect() } else { c.into() } };
    text.chars().map(shown).collect()
}

/// A text of several lines.
pub(crate) fn clean_lines(text: &str) -> String {
    text.lines().map(clean).collect::<Vec<_>>().join("\n")
}

/// Rows under a head, every column as wide as its widest cell, without trailing spaces.
pub(crate) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let rows: Vec<Vec<String>> =
        rows.iter().map(|row| row.iter().map(|cell| clean(cell)).collect()).collect();
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        let widest = cells.map(|cell| cell.chars().count()).max().unwrap_or(0);
        widest.max(head[column].chars().count())
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let line = |cells: Vec<&str>| {
        let padded = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    let mut text = line(head.to_vec());
    for row in &rows {
        text.push_str(&line(row.iter().map(String::as_str).collect()));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_cannot_give_orders_to_the_terminal() {
        assert_eq!(clean("a\u{1b}[2Jb\nc\u{202e}d é"), "a\\u{1b}[2Jb\\nc\\u{202e}d é");
        assert_eq!(clean_lines("a\nb\u{7}"), "a\nb\\u{7}");
    }

    #[test]
    fn columns_are_aligned_and_lines_end_without_spaces() {
        let rows =
            [vec!["a".to_owned(), String::new()], vec!["long".to_owned(), "x\ny".to_owned()]];
        assert_eq!(table(&["ID", "B"], &rows), "ID    B\na\nlong  x\\ny\n");
    }
}
