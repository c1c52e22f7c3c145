//! The program: one TLS provider for the whole process, then the command line.

use std::process::ExitCode;

fn main() -> ExitCode {
    let installed = rustls::crypto::ring::default_provider().install_default();
    installed.expect("nothing ran before that could have installed another one");
    quorate::cli::main()
}
