//! What every room uses: the names that identify things, and points in time.

pub mod id;
mod kinds;
pub mod time;

pub(crate) use self::kinds::kinds;
