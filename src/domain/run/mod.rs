//! Runs: records, the fold over them, and what comes next.
//!
//! # Design
//!
//! A run is never "somewhere in a function": it is the fold of its journal ([`apply::apply`]), and
//! the walk ([`next::next`]) reads only that. Live runs and resumed ones therefore share every line;
//! a crash at any record leaves a prefix of the journal, which is a run like any other. A
//! hand-written recovery path beside the live one was ruled out: it is the part that is never run.
//!
//! | file | what |
//! |---|---|
//! | [`path`] | where a step stands |
//! | [`plan`] | the resolved tree, stored with the run |
//! | [`event`] | what can happen: the journal's records |
//! | [`state`] | what they come to |
//! | [`apply`] | the fold; what may follow on what |
//! | [`mod@todo`], [`mod@next`] | what can be done now |
//! | [`resume`] | what a person's `resume` tries again |
//! | [`summary`] | what is kept of one that is over |
//! | [`values`] | what expressions see of the run |

pub mod apply;
pub mod event;
mod forward;
mod legal;
mod lists;
pub mod next;
pub mod parking;
pub mod path;
pub mod plan;
pub mod resume;
pub mod state;
pub mod summary;
pub mod todo;
pub mod values;

#[cfg(test)]
mod tests;
