//! What every room uses: the names that identify things, points in time, and maps that share.

pub mod id;
pub mod ids;
mod kinds;
pub mod shared;
pub mod time;

pub(crate) use self::kinds::kinds;
