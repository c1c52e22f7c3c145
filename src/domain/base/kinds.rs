//! The kinds of records as the journal names them: the list and the match are the same lines.
//!
//! An event that is left out does not compile, because the match is exhaustive; a kind that stands
//! here is in the list, and a test demands a golden sample of every kind in the list.

/// Gives an enum `kind()`, which names the kind of a value, and `KINDS`, every kind there is. Lines
/// after `else` ask the record inside for its kind, and add nothing to the list.
macro_rules! kinds {
    ($of:ident { $($event:pat => $kind:literal,)* } $(else { $($other:pat => $asked:expr,)* })?) => {
        impl $of {
            /// Every kind that is named here.
            pub const KINDS: &[&'static str] = &[$($kind),*];

            /// The journal's kind.
            pub fn kind(&self) -> &'static str {
                match self {
                    $($event => $kind,)*
                    $($($other => $asked,)*)?
                }
            }
        }
    };
}

pub(crate) use kinds;
