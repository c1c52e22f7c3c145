//! The server over HTTP and the command line, in one process: store in memory, modelled patient.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod api;
mod app;
mod child;
mod cli;
mod crowd;
mod reload;
mod roles;
mod serve;
mod store;
mod stream;
mod webhook;
