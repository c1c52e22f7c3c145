//! The pure core: no async, clock, environment, files, network, `HashMap` or randomness.
//!
//! Everything here takes `now` as an argument and cannot fail from outside. What a decision rests
//! on comes in as a value; what it leads to goes out as a value.
#![deny(clippy::disallowed_methods, clippy::disallowed_types, clippy::wildcard_enum_match_arm)]

pub mod action;
pub mod alert;
pub mod cluster;
pub mod codes;
pub mod decision;
pub mod diagnostic;
pub mod digest;
pub mod document;
pub mod evidence;
pub mod expr;
pub mod id;
pub mod incident;
pub mod inventory;
pub mod labels;
pub mod ledger;
pub mod loss;
pub mod playbook;
pub mod reading;
pub mod record;
pub mod response;
pub mod rules;
pub mod run;
pub mod time;
pub mod verdict;
pub mod vocabulary;
pub mod world;
pub mod yaml;
