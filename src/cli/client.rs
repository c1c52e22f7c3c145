//! The way to the server.

use std::{fs, net::IpAddr, path::Path, time::Duration};

use reqwest::{Certificate, Client, Method, RequestBuilder, StatusCode, Url};
use serde_json::Value as Json;

use super::{Failed, args::Server};
use crate::http::{LOOK_WITHIN, local, views::ErrorBody};

/// A server answers within 9 s or not at all.
const TIMEOUT: Duration = Duration::from_secs(15);

/// A plan waits for a look at the cluster first.
const PLAN_TIMEOUT: Duration = LOOK_WITHIN.saturating_add(TIMEOUT);

/// Asks one server.
pub(crate) struct Asker {
    client: Client,
    base: Url,
    token: Option<String>,
    /// What a server on this machine has to prove its token with; it is asked for none elsewhere.
    nonce: Option<String>,
    runtime: tokio::runtime::Runtime,
}

impl Asker {
    pub(crate) fn new(server: &Server) -> Result<Self, Failed> {
        let usage = |text: String| Failed::Usage(text);
        let base: Url = server
            .url
            .parse()
            .map_err(|error| usage(format!("--server {:?}: {error}", server.url)))?;
        if !matches!(base.scheme(), "http" | "https") || base.cannot_be_a_base() {
            return Err(usage(format!("--server {:?} is no http or https URL", server.url)));
        }
        let token = match &server.token_file {
            None => None,
            Some(path) => {
                let text = fs::read_to_string(path);
                let text = text.map_err(|error| usage(format!("{}: {error}", path.display())))?;
                Some(text.trim_end_matches(['\r', '\n']).to_owned())
            }
        };
        let mut client = Client::builder().timeout(TIMEOUT);
        if let Some(path) = &server.ca_file {
            let pem =
                fs::read(path).map_err(|error| usage(format!("{}: {error}", path.display())))?;
            let certs = Certificate::from_pem_bundle(&pem);
            let certs = certs.map_err(|error| usage(format!("{}: {error}", path.display())))?;
            client = client.tls_certs_only(certs);
        } else if base.scheme() == "http" {
            // a machine without trust roots can still be asked in the clear
            client = client.tls_certs_only([]);
        }
        let client = client.build().map_err(|error| usage(error.to_string()))?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| usage(error.to_string()))?;
        let nonce = is_loopback(&base).then(local::random_hex::<16>).transpose();
        let nonce = nonce.map_err(|error| usage(error.to_string()))?;
        Ok(Self { client, base, token, nonce, runtime })
    }

    /// `GET /api/v1/<path>`, each part of the path on its own.
    pub(crate) fn get(&self, path: &[&str], query: &[(&str, &str)]) -> Result<Json, Failed> {
        self.send(Method::GET, path, query, None)
    }

    /// `POST /api/v1/<path>`.
    pub(crate) fn post(&self, path: &[&str], body: &Json) -> Result<Json, Failed> {
        self.send(Method::POST, path, &[], Some(body))
    }

    fn send(
        &self,
        method: Method,
        path: &[&str],
        query: &[(&str, &str)],
        body: Option<&Json>,
    ) -> Result<Json, Failed> {
        let mut url = self.base.clone();
        if let Ok(mut parts) = url.path_segments_mut() {
            parts.pop_if_empty().extend(["api", "v1"]).extend(path);
        }
        let mut request = self.client.request(method, url).query(query);
        if path == ["plans"] {
            request = request.timeout(PLAN_TIMEOUT);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let (base, token) = (&self.base, self.token.as_deref());
        let nonce = self.nonce.as_deref().filter(|_| token.is_none());
        let again = request.try_clone();
        let (mut status, mut text) = self.ask(request, token, nonce)?;
        if let (StatusCode::UNAUTHORIZED, Some(nonce), Some(again)) = (status, nonce, again)
            && let Some(token) = local_token(base, &text, nonce)?
        {
            (status, text) = self.ask(again, Some(&token), None)?;
        }
        if status.is_success() {
            let read = serde_json::from_str(&text);
            return read.map_err(|_| Failed::Unreachable(format!("{base} is no quorate server")));
        }
        Err(refusal(base, status, &text))
    }

    fn ask(
        &self,
        mut request: RequestBuilder,
        token: Option<&str>,
        nonce: Option<&str>,
    ) -> Result<(StatusCode, String), Failed> {
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        if let Some(nonce) = nonce {
            request = request.header(local::NONCE, nonce);
        }
        let answer = self.runtime.block_on(async {
            let response = request.send().await?;
            Ok::<_, reqwest::Error>((response.status(), response.text().await?))
        });
        answer.map_err(|error| {
            let why = crate::engine::chain(&error.without_url());
            Failed::Unreachable(format!("{} cannot be reached: {why}", self.base))
        })
    }
}

/// The token of a server on this machine: it tells where the token is, and proves that it knows it,
/// for anybody could listen there in its place.
fn local_token(base: &Url, answer: &str, nonce: &str) -> Result<Option<String>, Failed> {
    let Ok(body) = serde_json::from_str::<ErrorBody>(answer) else { return Ok(None) };
    let Some(file) = body.error.token_file else { return Ok(None) };
    let token = local::read(Path::new(&file)).map_err(|error| {
        Failed::Denied(format!(
            "orders need the token in {file}, which cannot be used ({error}): give them as the \
             server's user or root, or with --token-file"
        ))
    })?;
    let port = base.port_or_known_default().unwrap_or_default();
    if body.error.proof != Some(local::expected_proof(&token, nonce, port)) {
        return Err(Failed::Denied(format!(
            "{base} does not know the token in {file}: another server made it, so it is not sent; \
             give the right one with --token-file"
        )));
    }
    Ok(Some(token))
}

fn is_loopback(base: &Url) -> bool {
    let host = base.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn refusal(base: &Url, status: StatusCode, text: &str) -> Failed {
    let Ok(body) = serde_json::from_str::<ErrorBody>(text) else {
        return Failed::Unreachable(format!("{base} is no quorate server (it answered {status})"));
    };
    let message = match &body.error.run {
        Some(run) if !body.error.message.contains(run) => {
            format!("{} ({run})", body.error.message)
        }
        _ => body.error.message,
    };
    match status {
        StatusCode::BAD_REQUEST => Failed::Usage(message),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Failed::Denied(message),
        status if status.is_server_error() => Failed::Unreachable(message),
        _ => Failed::No(message),
    }
}
