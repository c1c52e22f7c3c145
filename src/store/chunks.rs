//! Long answers in pieces: the next one is asked for before the one at hand is worked on.

use futures::{
    future::BoxFuture,
    stream::{self, BoxStream, StreamExt},
};

use super::StoreError;

/// Rows in one piece: about a megabyte of entries, a millisecond or two of the writer's time.
pub(super) const CHUNK: u32 = 2_000;

/// All rows that `ask` answers, where it is given the row it has to go on after and `place` says
/// where a row stands. The first empty answer is the end, and so is an error.
pub(super) fn chunks<'s, T, P>(
    ask: impl Fn(Option<P>) -> BoxFuture<'s, Result<Vec<T>, StoreError>> + Send + 's,
    place: impl Fn(&T) -> P + Send + 's,
) -> BoxStream<'s, Result<Vec<T>, StoreError>>
where
    T: Send + 's,
    P: Send + 's,
{
    let first = Some(ask(None));
    let all = stream::unfold((first, ask, place), |(next, ask, place)| async move {
        let rows = match next?.await {
            Ok(rows) => rows,
            Err(error) => return Some((Err(error), (None, ask, place))),
        };
        let next = ask(Some(place(rows.last()?)));
        Some((Ok(rows), (Some(next), ask, place)))
    });
    all.boxed()
}
