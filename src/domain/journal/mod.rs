//! The journal: the closed list of records, the fold of one cluster's stream of them, and what stands
//! for its beginning.

pub mod cluster;
pub mod record;
pub mod snapshot;
