//! The verbs that ask no server: `serve`, `check`, and `child`, which only `serve` calls.

use std::{io::IsTerminal, path::Path, process::ExitCode, time::Duration};

use super::{
    Failed,
    args::{Check, CheckFormat, Child, LogFormat, Serve},
    out::{Out, complain_frames},
    render::diagnostics::{Format, diagnostics, summary},
};
use crate::{
    app::{self, Origin},
    config::{self, Config},
    domain::rules::{Rules, diagnostic::Severity},
    targets::{self, catalogue::catalogue},
    telemetry::log,
};

/// Ourselves, also when the file was replaced since we started.
const OURSELVES: &str = "/proc/self/exe";

/// Runs the responder until it is told to stop.
pub(super) fn serve(serve: &Serve) -> Result<(), Failed> {
    let format = match serve.log_format {
        LogFormat::Text => log::Format::Text,
        LogFormat::Json => log::Format::Json,
    };
    log::init(format, &serve.log).map_err(|error| Failed::Usage(error.to_string()))?;
    app::raise_open_files();
    let (config, rules) = read(serve)?;
    targets::bind_children_by(OURSELVES.into());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failed::No(error.to_string()))?;
    let origin = Origin { file: serve.config.clone(), folder: ".".into() };
    let result = runtime.block_on(app::serve(origin, config, rules));
    runtime.shutdown_background();
    result.map_err(|error| Failed::No(format!("{error:#}")))
}

/// What to serve. The texts and problems are dropped here: an inventory may have thousands of files.
fn read(serve: &Serve) -> Result<(Config, Rules), Failed> {
    let opened = config::open(serve.config.as_deref(), Path::new("."), &catalogue());
    let found = &opened.checked.found;
    if !found.is_empty() {
        let colour = std::io::stderr().is_terminal();
        let text_of = |file: &str| opened.checked.text(file);
        complain_frames(&diagnostics(found, text_of, Format::Full, colour));
    }
    opened.valid.ok_or_else(|| Failed::No(summary(found)))
}

/// What is started in the place of a child of the server's.
pub(super) fn child(child: &Child) -> ExitCode {
    match (child.end_with, child.stay) {
        (Some(parent), _) => targets::child::end_with(parent, &child.argv),
        (None, seconds) => {
            let limit = Duration::from_secs(seconds.unwrap_or_default());
            targets::child::stay(limit, &child.argv)
        }
    }
}

/// Prints every problem of the files.
pub(super) fn check(check: &Check, out: &mut Out) -> Result<(), Failed> {
    let missing = check.paths.iter().find(|path| !path.exists());
    if let Some(path) = missing {
        return Err(Failed::Usage(format!("{} is not there", path.display())));
    }
    let checked = config::check_paths(&check.paths, Path::new("."), &catalogue());
    let format = match check.format {
        CheckFormat::Full => Format::Full,
        CheckFormat::Concise => Format::Concise,
        CheckFormat::Json => Format::Json,
    };
    let text_of = |file: &str| checked.text(file);
    out.text(diagnostics(&checked.found, text_of, format, out.is_terminal()));
    if checked.files.is_empty() && checked.found.is_empty() {
        return Err(Failed::Usage("there is nothing to check here; name files or folders".into()));
    }
    if check.format != CheckFormat::Json {
        let summary = summary(&checked.found);
        let files = match checked.files.len() {
            1 => "1 file".to_owned(),
            count => format!("{count} files"),
        };
        out.line(if summary.is_empty() {
            format!("{files}: no problems")
        } else {
            format!("{files}: {summary}")
        });
    }
    let failing = checked.count(Severity::Error) > 0
        || (check.strict && checked.count(Severity::Warning) > 0);
    if failing { Err(Failed::No(String::new())) } else { Ok(()) }
}
