//! What verbs print, as pure functions from values to text.

pub mod diagnostics;
