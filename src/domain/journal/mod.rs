//! The journal: the closed list of records, and the fold of one cluster's stream of them.

pub mod cluster;
pub mod record;
