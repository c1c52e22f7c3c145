//! The pure core: no async, clock, environment, files, network, `HashMap` or randomness.
//!
//! Everything here takes `now` as an argument and cannot fail from outside. What a decision rests
//! on comes in as a value; what it leads to goes out as a value.
//!
//! # Rooms
//!
//! | room | what it holds |
//! |---|---|
//! | [`base`] | ids and time: what every room uses |
//! | [`alert`] | labels and matchers; repeats, duplicates, resolves |
//! | [`inventory`] | one entry per cluster, validated |
//! | [`rules`] | what people write: YAML, expressions, actions' declarations, responses, playbooks |
//! | [`incident`] | correlation, grace, decision, ledger |
//! | [`etcd`] | the fault domain etcd: evidence, verdict, loss, and what an approval is bound to |
//! | [`run`] | the plan, its events, their fold, what comes next |
//! | [`journal`] | the closed list of records, and the fold of one cluster's stream |
//! | [`cell`] | one cluster's whole changing state, behind one pure step |
#![deny(clippy::disallowed_methods, clippy::disallowed_types, clippy::wildcard_enum_match_arm)]

pub mod alert;
pub mod base;
pub mod cell;
pub mod etcd;
pub mod incident;
pub mod inventory;
pub mod journal;
pub mod rules;
pub mod run;
