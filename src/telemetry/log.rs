//! Logs to stderr, as text for people or as JSON lines for machines.
//!
//! It reads no environment: what is logged comes in as a filter. Each happening is logged once,
//! where it is handled. The one thing to know: whatever a field holds, an event is one line. Labels,
//! names and messages come from outside, and a line break in one would forge a line of its own; what
//! could is escaped here, for every event and both forms.

use std::{
    fmt::{self, Debug},
    io::{self, IsTerminal, Write},
};

use tracing::{Subscriber, field::Field};
use tracing_subscriber::{
    EnvFilter,
    field::MakeExt,
    fmt::{
        MakeWriter,
        format::{Writer, debug_fn},
        time::FormatTime,
    },
    util::SubscriberInitExt,
};

/// How a line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// Why nothing will be logged.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter cannot be read.
    #[error("{filter:?} is no log filter, as info or quorate=debug,info is")]
    Filter {
        /// What was given.
        filter: String,
        /// What is wrong with it.
        #[source]
        source: tracing_subscriber::filter::ParseError,
    },
    /// Something logs already.
    #[error("logs were set up before")]
    Again,
}

/// Sets up the process's logs; `filter` as in `RUST_LOG` (`info`, `quorate=debug,info`).
pub fn init(format: Format, filter: &str) -> Result<(), LogError> {
    let ansi = io::stderr().is_terminal();
    let lines = subscriber(format, filter, ansi, io::stderr)?;
    lines.try_init().map_err(|_| LogError::Again)
}

/// What turns events into lines on `to`.
pub fn subscriber<W>(
    format: Format,
    filter: &str,
    ansi: bool,
    to: W,
) -> Result<Box<dyn Subscriber + Send + Sync>, LogError>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let parsed = EnvFilter::builder().parse(filter);
    let parsed = parsed.map_err(|source| LogError::Filter { filter: filter.into(), source })?;
    let lines = tracing_subscriber::fmt().with_env_filter(parsed).with_timer(Millis);
    Ok(match format {
        Format::Text => {
            let lines = lines.with_ansi(ansi).fmt_fields(debug_fn(field).delimited(" "));
            Box::new(lines.with_writer(to).finish())
        }
        Format::Json => {
            let lines = lines.json().flatten_event(true).with_writer(Ascii(to));
            Box::new(lines.finish())
        }
    })
}

/// One field of a text line: `name=value`, the message without its name.
fn field(to: &mut Writer<'_>, field: &Field, value: &dyn Debug) -> fmt::Result {
    use fmt::Write;
    if field.name() != "message" {
        write!(to, "{}=", field.name())?;
    }
    write!(Escaped(to), "{value:?}")
}

/// Characters that end a line, turn the direction of text, or command a terminal.
pub fn is_harmful(c: char) -> bool {
    let turns = ['\u{200e}'..='\u{200f}', '\u{202a}'..='\u{202e}', '\u{2066}'..='\u{2069}'];
    let ends = matches!(c, '\u{2028}' | '\u{2029}');
    c.is_control() || ends || turns.iter().any(|range| range.contains(&c))
}

/// Writes what is harmful as an escape.
struct Escaped<W>(W);

impl<W: fmt::Write> fmt::Write for Escaped<W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text;
        while let Some(at) = rest.find(is_harmful) {
            let (plain, from) = rest.split_at(at);
            self.0.write_str(plain)?;
            let mut chars = from.chars();
            if let Some(c) = chars.next() {
                write!(self.0, "{}", c.escape_default())?;
            }
            rest = chars.as_str();
        }
        self.0.write_str(rest)
    }
}

/// Writes a JSON line whose harmful characters are escaped too. Those of ASCII are already, and the
/// others stand inside of strings only, where an escape means the same.
#[derive(Debug)]
struct Ascii<W>(W);

impl<'w, W: MakeWriter<'w>> MakeWriter<'w> for Ascii<W> {
    type Writer = Ascii<W::Writer>;

    fn make_writer(&'w self) -> Self::Writer {
        Ascii(self.0.make_writer())
    }
}

impl<W: Write> Write for Ascii<W> {
    /// Events come whole: the formatter writes each line at once.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match std::str::from_utf8(line) {
            Ok(text) if text.chars().any(|c| !c.is_ascii() && is_harmful(c)) => {
                let mut safe = String::with_capacity(line.len() + 8);
                for c in text.chars() {
                    if !c.is_ascii() && is_harmful(c) {
                        let escape = format!("\\u{:04x}", u32::from(c));
                        safe.push_str(&escape);
                    } else {
                        safe.push(c);
                    }
                }
                self.0.write_all(safe.as_bytes())?;
            }
            _ => self.0.write_all(line)?,
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// RFC 3339 UTC with milliseconds, as everywhere else.
struct Millis;

impl FormatTime for Millis {
    fn format_time(&self, w: &mut Writer<'_>) -> fmt::Result {
        write!(w, "{:.3}", jiff::Timestamp::now())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::domain::alert::labels::Labels;

    /// What the real formatter makes of an event with hostile texts in every place.
    fn logged(format: Format, ansi: bool) -> String {
        #[derive(Clone, Default)]
        struct Kept(Arc<Mutex<Vec<u8>>>);
        impl Write for Kept {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0.lock().unwrap().write(bytes)
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        const EVIL: &str =
            "x\n2026-11-21T03:33:52.240Z ERROR forged\r\u{1b}[2J\u{85}\u{2028}\u{202e}é";
        let kept = Kept::default();
        let to = kept.clone();
        let lines = subscriber(format, "info", ansi, move || to.clone()).unwrap();
        tracing::subscriber::with_default(lines, || {
            let labels = Labels::new([(EVIL, EVIL), ("a", "b")]);
            let error = io::Error::other(EVIL);
            tracing::warn!(alert = %labels, error = %error, run.id = EVIL, debug = ?EVIL, n = 3,
                "refused: {EVIL}");
        });
        String::from_utf8(kept.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn an_event_is_one_line_of_text_whatever_it_holds() {
        let text = logged(Format::Text, false);
        assert_eq!(text.lines().count(), 1, "{text:?}");
        let line = text.strip_suffix('\n').unwrap();
        assert!(!line.contains(is_harmful), "{line:?}");
        assert!(line.contains("refused: x\\n2026-11-21T03:33:52.240Z ERROR forged\\r\\u{1b}[2J"));
        assert!(line.contains("alert={a=\"b\", x\\n") && line.contains(" n=3"), "{line}");
        assert!(line.contains(" run.id=\"x\\n") && line.contains('é'), "{line}");
    }

    #[test]
    fn colours_are_ours_alone() {
        let text = logged(Format::Text, true);
        let plain = text.replace("\u{1b}[", "").len();
        assert!(plain < text.len(), "a terminal gets colours: {text:?}");
        assert_eq!((text.lines().count(), text.contains("\u{1b}[2J")), (1, false), "{text:?}");
    }

    #[test]
    fn an_event_is_one_line_of_json_whatever_it_holds() {
        let text = logged(Format::Json, false);
        assert_eq!(text.lines().count(), 1, "{text:?}");
        assert!(!text.strip_suffix('\n').unwrap().contains(is_harmful), "{text:?}");
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert!(json["message"].as_str().unwrap().ends_with("\u{2028}\u{202e}é"), "{json}");
        assert_eq!(json["n"], 3);
    }

    #[test]
    fn a_bad_filter_is_named() {
        let error = init(Format::Json, "quorate=loud").unwrap_err();
        assert!(error.to_string().starts_with("\"quorate=loud\" is no log filter"), "{error}");
    }

    #[test]
    fn times_have_milliseconds() {
        let mut text = String::new();
        Millis.format_time(&mut Writer::new(&mut text)).unwrap();
        assert!(text.len() == "2026-11-21T03:33:52.240Z".len() && text.ends_with('Z'), "{text}");
    }
}
