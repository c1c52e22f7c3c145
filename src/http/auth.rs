//! Who asks, and whether that is enough: bearer tokens from files, and three roles.
//!
//! With no token configured and on loopback everybody on the machine may read, and who has the
//! [`LocalToken`] is an approver named `local`. Browsers are on the machine too. What changes
//! something must be JSON, which a page of another origin may not send without being asked, and must
//! not name another origin; where only the place a request comes from lets it in, it must name a
//! loopback host, which a page cannot, even if its own name resolves to here.

use std::sync::Arc;

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, header, request::Parts},
};

use super::{ApiState, error::Refusal, local::LocalToken, secret::Secret};
use crate::domain::rules::response::Role;

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
    /// Everybody may read, who holds the token may order: only where nobody but this machine can
    /// ask.
    Local(LocalToken),
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
    /// Who sent these headers, where that is somebody who may give orders.
    pub fn commander(&self, headers: &HeaderMap) -> Result<Caller, Refusal> {
        match self {
            Self::Local(token) if !headers.contains_key(header::AUTHORIZATION) => {
                Err(token.wanted(headers))
            }
            Self::Local(_) | Self::Tokens(_) => self.caller(headers),
        }
    }

    /// Who sent these headers.
    pub fn caller(&self, headers: &HeaderMap) -> Result<Caller, Refusal> {
        match self {
            Self::Local(token) => {
                let role = match headers.contains_key(header::AUTHORIZATION) {
                    false => Role::Viewer,
                    true if token.is(bearer(headers)?) => Role::Approver,
                    true => return Err(Refusal::Unauthorized("unknown token".into())),
                };
                Ok(Caller { name: "local".into(), role })
            }
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

/// Refuses what does not name a loopback host.
pub(super) fn on_loopback(headers: &HeaderMap) -> Result<(), Refusal> {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    let is_loopback = name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    if is_loopback || name.eq_ignore_ascii_case("localhost") {
        return Ok(());
    }
    Err(Refusal::Forbidden(
        "without a token only requests to 127.0.0.1, [::1] or localhost are answered; write one of \
         these in the URL, or configure tokens"
            .into(),
    ))
}

/// Refuses what a page of another origin sends; browsers tell the origin of all that is no plain
/// reading.
pub(super) fn same_origin(headers: &HeaderMap) -> Result<(), Refusal> {
    let Some(origin) = headers.get(header::ORIGIN) else { return Ok(()) };
    let origin = origin.to_str().unwrap_or_default();
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let authority = origin.split_once("://").map(|(_, authority)| authority);
    match (authority, host) {
        (Some(authority), Some(host)) if authority.eq_ignore_ascii_case(host) => Ok(()),
        _ => Err(Refusal::Forbidden("pages of another origin may change nothing here".into())),
    }
}

/// Refuses what is not JSON by its content type.
pub(super) fn is_json(headers: &HeaderMap) -> Result<(), Refusal> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let mut parts = kind.unwrap_or_default().split(';').map(str::trim);
    let is_json = parts.next().is_some_and(|kind| kind.eq_ignore_ascii_case("application/json"));
    let utf_8 = |part: &str| {
        let charset = part.split_once('=').filter(|(key, _)| key.eq_ignore_ascii_case("charset"));
        charset.is_some_and(|(_, value)| value.trim_matches('"').eq_ignore_ascii_case("utf-8"))
    };
    if is_json && parts.all(utf_8) {
        return Ok(());
    }
    Err(Refusal::Usage("the content type must be application/json".into()))
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
    fn only_requests_to_a_loopback_name_are_local() {
        for name in ["127.0.0.1:9912", "localhost", "LOCALHOST:1", "[::1]:9912", "127.3.2.1"] {
            assert!(on_loopback(&host(name)).is_ok(), "{name}");
        }
        for name in ["evil.example:9912", "10.0.0.1", "localhost.evil.example", ""] {
            assert!(on_loopback(&host(name)).is_err(), "{name}");
        }
        assert!(on_loopback(&HeaderMap::new()).is_err());
    }

    #[test]
    fn a_page_changes_only_what_is_of_its_own_origin() {
        let from = |origin: &str, host: &str| {
            let mut headers = self::host(host);
            headers.insert(header::ORIGIN, origin.parse().unwrap());
            same_origin(&headers).is_ok()
        };
        assert!(same_origin(&host("a:1")).is_ok(), "no browser");
        assert!(from("http://a:1", "a:1") && from("https://A.example", "a.example"));
        for origin in ["http://a:2", "http://evil", "null", "", "file://", "http://a:1/x"] {
            assert!(!from(origin, "a:1"), "{origin}");
        }
    }

    #[test]
    fn json_is_told_by_its_content_type() {
        let kind = |kind: &str| {
            is_json(&HeaderMap::from_iter([(header::CONTENT_TYPE, kind.parse().unwrap())])).is_ok()
        };
        for json in [
            "application/json",
            "application/json; charset=utf-8",
            "APPLICATION/JSON;charset=\"UTF-8\"",
        ] {
            assert!(kind(json), "{json}");
        }
        for other in [
            "",
            "text/plain",
            "text/json",
            "application/json, text/plain",
            "application/json; charset=latin1",
            "application/jsonp",
            "application/x-www-form-urlencoded",
            "text/plain; application/json",
        ] {
            assert!(!kind(other), "{other}");
        }
        assert!(is_json(&HeaderMap::new()).is_err());
    }
}
