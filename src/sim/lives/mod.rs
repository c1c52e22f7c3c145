//! Lives: clusters under one quorate, in virtual time, driven cell by cell.
//!
//! It drives [`Cell::step`](crate::domain::cell::Cell::step) itself, as the engine's shell does, but
//! without a runtime, a disk or a thread: commits, effects, people, alerts and machines are events of
//! one queue. What happens is written down in a [`Script`] first; the rest is drawn from its seed, so
//! that the same script gives the same life. After every commit and before every effect it holds what
//! happened against the laws; at the end everything must be at rest.

mod deliver;
mod dice;
mod driver;
mod effects;
mod intake;
mod laws;
mod life;
mod people;
mod process;
mod report;
mod rest;
pub mod script;
mod shrink;

pub use self::{
    driver::live,
    report::{Report, Sabotage},
    script::Script,
    shrink::shrink,
};

#[cfg(test)]
mod tests;
