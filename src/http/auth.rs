//! Who asks, and whether that is enough: bearer tokens from files, and three roles.
//!
//! With no token configured and on loopback everybody is an approver named `local`: whoever can
//! reach the port can also read the store and stop the process. Browsers can reach it too, so in
//! that mode a request must name a loopback host (a page of another origin cannot, even if its name
//! resolves to here) and orders must be JSON (which a page of another origin may not send).

use std::{
    fmt, fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, header, request::Parts},
};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::{ApiState, error::Refusal};
use crate::domain::rules::response::Role;

/// A secret in a file; the file is read again when it changes.
pub struct Secret {
    path: PathBuf,
    kept: Mutex<Kept>,
}

/// The digest stands for the secret: two of them compare in constant time whatever the lengths.
struct Kept {
    stamp: Option<Stamp>,
    digest: [u8; 32],
}

/// What tells one version of a file from the next, also when a link to it is moved.
type Stamp = (Option<SystemTime>, u64, u64);

/// A secret that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file cannot be read.
    #[error("the secret in {path} cannot be read", path = path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file is empty: it would let in who sends nothing.
    #[error("the secret in {path} is empty", path = path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
}

impl Secret {
    /// Reads the file; a trailing line break is no part of the secret.
    pub fn open(path: &Path) -> Result<Self, SecretError> {
        let (stamp, digest) = (stamp(path), read(path)?);
        Ok(Self { path: path.into(), kept: Mutex::new(Kept { stamp, digest }) })
    }

    /// Whether this is the secret. A file that cannot be read any more leaves the last one in force.
    pub fn is(&self, given: &str) -> bool {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let stamp = stamp(&self.path);
        if stamp != kept.stamp {
            kept.stamp = stamp;
            match read(&self.path) {
                Ok(digest) => kept.digest = digest,
                Err(error) => {
                    let error = crate::engine::chain(&error);
                    tracing::warn!(error, "the secret read before stays in force");
                }
            }
        }
        digest(given.as_bytes()).ct_eq(&kept.digest).into()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secret").field("path", &self.path).finish_non_exhaustive()
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let meta = fs::metadata(path).ok()?;
    Some((meta.modified().ok(), meta.len(), meta.ino()))
}

fn read(path: &Path) -> Result<[u8; 32], SecretError> {
    let text = fs::read_to_string(path);
    let text = text.map_err(|source| SecretError::Unreadable { path: path.into(), source })?;
    let secret = text.trim_end_matches(['\r', '\n']);
    if secret.is_empty() {
        return Err(SecretError::Empty { path: path.into() });
    }
    Ok(digest(secret.as_bytes()))
}

fn digest(secret: &[u8]) -> [u8; 32] {
    Sha256::digest(secret).into()
}

/// A token of the API.
#[derive(Debug)]
pub struct Token {
    /// Whose it is: the `by` of what is done with it.
    pub name: String,
    /// What its holder may.
    pub role: Role,
    /// The token.
    pub secret: Secret,
}

/// Who may use the API.
#[derive(Debug)]
pub enum Access {
    /// Everybody, as an approver: only where nobody but this machine can ask.
    Local,
    /// Who holds one of these; with none, nobody.
    Tokens(Vec<Token>),
}

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The token's name, or `local`.
    pub name: String,
    /// What they may.
    pub role: Role,
}

impl Caller {
    /// Whether their role is enough.
    pub fn require(&self, least: Role) -> Result<(), Refusal> {
        if self.role >= least {
            return Ok(());
        }
        let (name, role, least) = (&self.name, self.role.label(), least.label());
        Err(Refusal::Forbidden(format!("{name} is {role}; this needs the role {least}")))
    }
}

impl Access {
    /// Who sent these headers.
    pub fn caller(&self, headers: &HeaderMap) -> Result<Caller, Refusal> {
        match self {
            Self::Local if names_loopback(headers) => {
                Ok(Caller { name: "local".into(), role: Role::Approver })
            }
            Self::Local => Err(Refusal::Forbidden(
                "without tokens the API answers only to 127.0.0.1, [::1] or localhost".into(),
            )),
            Self::Tokens(tokens) => {
                let given = bearer(headers)?;
                // all are compared: the time does not tell which one was close
                let mut hits: Vec<_> =
                    tokens.iter().filter(|token| token.secret.is(given)).collect();
                let token = hits.pop();
                let token = token.ok_or_else(|| Refusal::Unauthorized("unknown token".into()))?;
                Ok(Caller { name: token.name.clone(), role: token.role })
            }
        }
    }
}

/// The bearer token of a request.
pub(super) fn bearer(headers: &HeaderMap) -> Result<&str, Refusal> {
    let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = given.and_then(|given| {
        let (scheme, token) = given.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    });
    token.ok_or_else(|| Refusal::Unauthorized("a bearer token is needed".into()))
}

fn names_loopback(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(header::HOST).and_then(|host| host.to_str().ok()) else {
        return false;
    };
    let host = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    let is_loopback = host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    is_loopback || host.eq_ignore_ascii_case("localhost")
}

impl FromRequestParts<Arc<ApiState>> for Caller {
    type Rejection = Refusal;

    /// The gate has found out who it is.
    async fn from_request_parts(parts: &mut Parts, _: &Arc<ApiState>) -> Result<Self, Refusal> {
        let caller = parts.extensions.get().cloned();
        caller.ok_or_else(|| Refusal::Unauthorized("nobody knows who asks".into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(name: &str) -> HeaderMap {
        HeaderMap::from_iter([(header::HOST, name.parse().unwrap())])
    }

    #[test]
    fn without_tokens_only_requests_to_a_loopback_name_are_local() {
        for name in ["127.0.0.1:9912", "localhost", "LOCALHOST:1", "[::1]:9912", "127.3.2.1"] {
            assert!(Access::Local.caller(&host(name)).is_ok(), "{name}");
        }
        for name in ["evil.example:9912", "10.0.0.1", "localhost.evil.example", ""] {
            assert!(Access::Local.caller(&host(name)).is_err(), "{name}");
        }
        assert!(Access::Local.caller(&HeaderMap::new()).is_err());
    }

    #[test]
    fn a_secret_follows_its_file_and_an_empty_one_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        assert!(matches!(Secret::open(&path), Err(SecretError::Unreadable { .. })));
        fs::write(&path, "\n").unwrap();
        assert!(matches!(Secret::open(&path), Err(SecretError::Empty { .. })));
        fs::write(&path, "first\n").unwrap();
        let secret = Secret::open(&path).unwrap();
        assert!(secret.is("first") && !secret.is("first\n") && !secret.is(""));
        fs::write(&path, "the second").unwrap();
        assert!(secret.is("the second") && !secret.is("first"));
        fs::remove_file(&path).unwrap();
        assert!(secret.is("the second"), "a file that is gone leaves the last secret in force");
        assert!(!format!("{secret:?}").contains("second"));
    }
}
