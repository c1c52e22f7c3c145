//! Refusals, and the only place that picks status codes.
//!
//! A 5xx makes Alertmanager try again within its flush; any 4xx comes back with the next one, and
//! so costs next to nothing here.

use std::borrow::Cow;

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};

use super::views::{ErrorBody, ErrorView};
use crate::{
    domain::base::id::RunId,
    engine::{chain, commands::CommandError, handle::ObserveError},
};

/// Longest message of an answer or a log line, in characters. Texts of ours are far shorter; what
/// is longer repeats something that was sent.
const MESSAGE_MAX: usize = 2000;

/// Longest value that a message repeats, in characters: enough to know it again.
const SHOWN_MAX: usize = 200;

/// Why a request is not answered as wished.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The request itself is wrong.
    Usage(String),
    /// Nobody knows who asks.
    Unauthorized(String),
    /// An order without the local token.
    Locked {
        /// The token's file.
        path: String,
        /// That this server knows the token, where proof was asked for.
        proof: Option<String>,
    },
    /// It is known who asks, and that is not enough.
    Forbidden(String),
    /// There is no such thing.
    NotFound(String),
    /// Something is in the way.
    Conflict {
        /// What.
        message: String,
        /// The run concerned, if one is.
        run: Option<RunId>,
    },
    /// What was to be answered is not asked any more.
    Stale(String),
    /// The body is too large.
    TooLarge(String),
    /// The body was read, and nothing of it can be used.
    Unusable {
        /// What is wrong.
        message: String,
        /// The field.
        field: Option<String>,
        /// Where: `alerts[3]`, or `line 1 column 17`.
        position: Option<String>,
    },
    /// Not now; what was sent is not kept.
    Unavailable(String),
}

impl Refusal {
    /// Nothing can be used, and no one field is to blame.
    pub fn unusable(message: impl Into<String>) -> Self {
        Self::Unusable { message: message.into(), field: None, position: None }
    }

    /// Status and code of the contract.
    pub fn status(&self) -> (StatusCode, &'static str) {
        match self {
            Self::Usage(_) => (StatusCode::BAD_REQUEST, "usage"),
            Self::Unauthorized(_) | Self::Locked { .. } => {
                (StatusCode::UNAUTHORIZED, "unauthorized")
            }
            Self::Forbidden(_) => (StatusCode::FORBIDDEN, "forbidden"),
            Self::NotFound(_) => (StatusCode::NOT_FOUND, "not_found"),
            Self::Conflict { .. } => (StatusCode::CONFLICT, "conflict"),
            Self::Stale(_) => (StatusCode::GONE, "stale"),
            Self::TooLarge(_) => (StatusCode::PAYLOAD_TOO_LARGE, "too_large"),
            Self::Unusable { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "unusable"),
            Self::Unavailable(_) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
        }
    }

    /// What a person reads.
    pub fn message(&self) -> Cow<'_, str> {
        cut(self.whole(), MESSAGE_MAX)
    }

    fn whole(&self) -> &str {
        match self {
            Self::Locked { .. } => {
                "an order needs the bearer token in the file that `token_file` names; the command \
                 line finds it by itself where it may read it, as the server's user and root may"
            }
            Self::Usage(message)
            | Self::Unauthorized(message)
            | Self::Forbidden(message)
            | Self::NotFound(message)
            | Self::Conflict { message, .. }
            | Self::Stale(message)
            | Self::TooLarge(message)
            | Self::Unusable { message, .. }
            | Self::Unavailable(message) => message,
        }
    }
}

/// A value from outside, short enough for a message. It is cut before it is quoted: quoting may make
/// seven bytes of one.
pub(super) fn shown(value: &str) -> Cow<'_, str> {
    cut(value, SHOWN_MAX)
}

fn cut(text: &str, most: usize) -> Cow<'_, str> {
    match text.char_indices().nth(most) {
        Some((end, _)) => Cow::Owned(format!("{}…", &text[..end])),
        None => Cow::Borrowed(text),
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (status, code) = self.status();
        let message = self.message().into_owned();
        let mut error = ErrorView { code: code.into(), message, ..ErrorView::default() };
        match self {
            Self::Locked { path, proof } => (error.token_file, error.proof) = (Some(path), proof),
            Self::Conflict { run, .. } => error.run = run.map(|run| run.to_string()),
            Self::Unusable { field, position, .. } => {
                (error.field, error.position) = (field, position);
            }
            _ => {}
        }
        let mut response = (status, Json(ErrorBody { error })).into_response();
        if status == StatusCode::UNAUTHORIZED {
            let scheme = HeaderValue::from_static("Bearer");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, scheme);
        }
        response
    }
}

impl From<CommandError> for Refusal {
    fn from(error: CommandError) -> Self {
        match error {
            CommandError::NotFound(_) => Self::NotFound(error.to_string()),
            CommandError::Conflict { message, run } => Self::Conflict { message, run },
            CommandError::Gone(message) => Self::Stale(message),
            CommandError::Invalid(message) => Self::unusable(message),
            CommandError::Store(_)
            | CommandError::Stopped
            | CommandError::ClusterStopped { .. } => Self::Unavailable(chain(&error)),
        }
    }
}

impl From<ObserveError> for Refusal {
    fn from(error: ObserveError) -> Self {
        Self::Unavailable(chain(&error))
    }
}
