//! Playbooks: model, parse, plan.

pub mod arguments;
pub mod model;
pub mod params;
pub mod parse;
pub mod traits;
