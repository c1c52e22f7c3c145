//! What every room uses: the names that identify things, and points in time.

pub mod id;
pub mod time;
