//! The command line: verbs and what they print.
//!
//! `serve`, `check` and `store` read files; every other verb asks a server over HTTP and changes nothing by
//! itself. Standard output carries the answer, standard error what went wrong.
//!
//! | exit code | means |
//! |---|---|
//! | 0 | done |
//! | 1 | the answer is "no": problems were found, the order was refused, there is no such thing |
//! | 2 | used wrongly |
//! | 3 | the server cannot be reached |
//! | 4 | not allowed |

mod args;
mod ask;
mod client;
mod lists;
mod local;
mod out;
pub mod render;
mod store;
mod story;

use std::process::ExitCode;

use clap::Parser;

use self::{
    args::{Cli, StoreVerb, Verb},
    out::Out,
};

/// Why a verb did not end with 0.
#[derive(Debug)]
pub(crate) enum Failed {
    /// The answer is "no"; it was printed already where the text is empty.
    No(String),
    /// Used wrongly.
    Usage(String),
    /// The server cannot be reached.
    Unreachable(String),
    /// Not allowed.
    Denied(String),
}

impl Failed {
    fn code(&self) -> u8 {
        match self {
            Self::No(_) => 1,
            Self::Usage(_) => 2,
            Self::Unreachable(_) => 3,
            Self::Denied(_) => 4,
        }
    }

    fn text(&self) -> &str {
        match self {
            Self::No(text) | Self::Usage(text) | Self::Unreachable(text) | Self::Denied(text) => {
                text
            }
        }
    }
}

/// Reads the arguments, does what they say, and answers the exit code.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // help and version are no mistakes; a closed pipe is none of ours
            let code = u8::try_from(error.exit_code()).unwrap_or(2);
            drop(error.print());
            return ExitCode::from(code);
        }
    };
    if let Verb::Child(child) = &cli.verb {
        return local::child(child);
    }
    let mut out = Out::stdout();
    match run(cli, &mut out) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failed) => {
            if !failed.text().is_empty() {
                out::complain(failed.text());
            }
            ExitCode::from(failed.code())
        }
    }
}

fn run(cli: Cli, out: &mut Out) -> Result<(), Failed> {
    match cli.verb {
        Verb::Serve(serve) => local::serve(&serve),
        Verb::Check(check) => local::check(&check, out),
        Verb::Store(StoreVerb::Check(folder)) => store::check(&folder.path, out),
        Verb::Store(StoreVerb::Export(folder)) => store::export(&folder.path, out),
        Verb::Version => {
            out.line(format!("quorate {} ({})", crate::app::VERSION, crate::app::REVISION));
            Ok(())
        }
        verb => ask::ask(verb, &cli.server, out),
    }
}
