//! A place that takes data again and again: each failed join leaves some. Its repeats are numbered.

use crate::{
    domain::rules::action::Failure,
    targets::host::{files::exists, places::Places},
};

/// The place that has repeats.
const REPEATED: &str = "failed";
/// More joins of one member in one run fail by no accident.
const MAX: usize = 99;

fn numbered(place: &str) -> impl DoubleEndedIterator<Item = String> {
    let max = if place == REPEATED { MAX } else { 1 };
    (1..=max).map(move |n| if n == 1 { place.to_owned() } else { format!("{place}.{n}") })
}

fn holds(places: &Places, place: &str) -> Result<bool, Failure> {
    for part in places.parts(place) {
        if exists(&part.kept)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The first one that holds nothing.
pub(super) fn free(places: &Places, place: &str) -> Result<String, Failure> {
    for numbered in numbered(place) {
        if !holds(places, &numbered)? {
            return Ok(numbered);
        }
    }
    Ok(place.to_owned())
}

/// The last one that holds something.
pub(super) fn last(places: &Places, place: &str) -> Result<String, Failure> {
    for numbered in numbered(place).rev() {
        if holds(places, &numbered)? {
            return Ok(numbered);
        }
    }
    Ok(place.to_owned())
}
