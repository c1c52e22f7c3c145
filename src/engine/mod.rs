//! The engine: the shell around the cells.
//!
//! Everything that is decided is decided by a cell ([`crate::domain::cell`]), purely. The shell gives
//! each cell its inputs in order, commits the records that come out, takes the next cell over once
//! they are durable, publishes it for readers, and performs its effects as tasks of its own. It is
//! the only place that spawns work.
//!
//! # Design
//!
//! One task owns all cells, so a cell needs no lock; it never waits for a disk or a system, so no
//! cluster waits for another. One commit is under way per cell; what comes in meanwhile waits in the
//! cell's inbox and is stepped as one. A commit that does not become durable leaves the cell as it
//! was, and its inputs are given again. Readers get what was last published and never reach the
//! loop. Alerts have a task of their own ([`alerts`]), which hands them over once they are durable.

pub mod alerts;
pub mod clock;
pub mod commands;
mod compact;
mod effects;
mod event;
pub mod feed;
pub mod handle;
pub mod journal;
mod leash;
mod narrate;
mod recall;
mod recover;
mod reload;
mod scrape;
mod settle;
mod shell;
mod slot;
pub mod state;
mod stop;
mod tickets;

use std::{sync::Arc, time::Duration};

pub use self::{
    event::Reload,
    handle::Handle,
    recover::StartError,
    reload::ReloadError,
    shell::{Engine, Fatal},
};
use crate::domain::rules::{Rules, action::Catalogue};

/// What an engine is started with; a reload brings another.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Responses and playbooks.
    pub rules: Arc<Rules>,
    /// The actions there are.
    pub catalogue: Catalogue,
    /// Between two looks at a healthy cluster.
    pub watch_every: Duration,
    /// Looks at healthy clusters under way at once; as many again are kept for open incidents.
    pub watch_concurrent: usize,
    /// Calls of runs that may act at once.
    pub runs_concurrent: usize,
    /// How long ended incidents, runs and resolved alerts are kept.
    pub retention: Duration,
    /// Whether the journal lies in a data directory of a target.
    pub store_on_target: bool,
    /// How long calls get to reach a journal boundary when quorate stops.
    pub shutdown_grace: Duration,
}

/// An error with all its causes, for a log line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests;
