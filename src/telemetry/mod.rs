//! What quorate says about itself: logs and metrics.
//!
//! It decides nothing and knows no engine: events are counted through typed methods, current counts
//! are asked for at scrape, so a gauge cannot drift from what it counts.

pub mod log;
pub mod metrics;
