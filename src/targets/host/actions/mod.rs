//! The actions of the catalogue that are about a member's host, one file per family.

mod args;
mod data;
mod mask;
mod space;
mod start;
mod stop;
#[cfg(test)]
mod tests;

use crate::targets::action::Action;

/// All of them.
pub(crate) fn all() -> Vec<Box<dyn Action>> {
    vec![
        Box::new(data::DataCopy::new()),
        Box::new(data::DataOut::new()),
        Box::new(data::DataIn::new()),
        Box::new(space::FreeSpace::new()),
        Box::new(start::Start::new()),
        Box::new(stop::Stop::new()),
        Box::new(mask::Mask::put()),
        Box::new(mask::Mask::take_back()),
        Box::new(args::SetArgs::new()),
        Box::new(args::ResetArgs::new()),
    ]
}
