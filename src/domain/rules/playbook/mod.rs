//! Playbooks: model, parse, plan.

pub mod arguments;
pub mod model;
pub mod parse;
