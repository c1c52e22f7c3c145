//! Logs to stderr, as text for people or as JSON lines for machines.
//!
//! It reads no environment: what is logged comes in as a filter. Each happening is logged once,
//! where it is handled.

use std::{
    fmt,
    io::{self, IsTerminal},
};

use tracing_subscriber::{
    EnvFilter,
    fmt::{format::Writer, time::FormatTime},
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
    let parsed = EnvFilter::builder().parse(filter);
    let parsed = parsed.map_err(|source| LogError::Filter { filter: filter.into(), source })?;
    let lines = tracing_subscriber::fmt()
        .with_env_filter(parsed)
        .with_writer(io::stderr)
        .with_timer(Millis)
        .with_ansi(io::stderr().is_terminal());
    let done = match format {
        Format::Text => lines.try_init(),
        Format::Json => lines.json().flatten_event(true).try_init(),
    };
    done.map_err(|_| LogError::Again)
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
    use super::*;

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
