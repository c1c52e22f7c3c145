//! Runs: records, the fold over them, and what comes next.
//!
//! # Design
//!
//! A run is never "somewhere in a function": it is the fold of its journal ([`apply::Run::apply`]),
//! and the walk ([`next::next`]) reads only that. Live runs and resumed ones therefore share every
//! line; a crash at any record leaves a prefix of the journal, which is a run like any other. A
//! hand-written recovery path beside the live one was ruled out: it is the part that is never run.

pub mod apply;
pub mod event;
pub mod next;
pub mod plan;
pub mod values;
