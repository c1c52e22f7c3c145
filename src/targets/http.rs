//! HTTP questions to the systems around a cluster: peer ports, metrics listeners, Prometheus,
//! Alertmanager. Reads only.
//!
//! No proxy of the environment is ever used: a question to a member must take the member's route.

use std::{error::Error as _, time::Duration};

use reqwest::{Certificate, Client, Identity, redirect};

use crate::domain::{
    etcd::reading::Cause,
    inventory::{Endpoint, Tls},
    rules::action::{ErrorKind, Failure},
};

/// Most bytes of one answer that are read.
const BODY_MAX: usize = 32 * 1024 * 1024;

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Silence {
    pub(crate) cause: Cause,
    pub(crate) detail: String,
}

impl Silence {
    fn new(cause: Cause, detail: impl Into<String>) -> Self {
        Self { cause, detail: detail.into() }
    }

    /// The failure of what was asked.
    pub(crate) fn failure(&self, what: &str) -> Failure {
        let kind = match self.cause {
            Cause::Timeout => ErrorKind::Timeout,
            Cause::Auth => ErrorKind::Denied,
            _ => ErrorKind::Unavailable,
        };
        Failure::new(kind, format!("{what}: {}", self.detail))
    }
}

/// Which servers a client believes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Trust<'a> {
    /// None: for `http://` only. Nothing of the system is loaded, so a machine without any
    /// authorities can still ask.
    Nobody,
    /// Those whose authority the system trusts.
    System,
    /// Those of the members' authority; we show our own certificate.
    Files(&'a Tls),
}

impl Trust<'_> {
    /// What the APIs around a cluster need.
    pub(crate) fn of<'u>(urls: impl IntoIterator<Item = &'u String>) -> Self {
        let https = urls.into_iter().any(|url| url.starts_with("https://"));
        if https { Self::System } else { Self::Nobody }
    }
}

/// A client; files are read now.
pub(crate) fn client(trust: Trust<'_>, limit: Duration) -> Result<Client, Silence> {
    // A peer port offers HTTP/2 over TLS and serves nothing but gRPC on it.
    let mut builder =
        Client::builder().http1_only().no_proxy().timeout(limit).redirect(redirect::Policy::none());
    if matches!(trust, Trust::Nobody) {
        builder = builder.tls_certs_only([]);
    }
    if let Trust::Files(files) = trust {
        let read = |path: &std::path::Path| {
            std::fs::read(path).map_err(|error| {
                Silence::new(Cause::Tls, format!("reading {} failed: {error}", path.display()))
            })
        };
        let roots = Certificate::from_pem_bundle(&read(&files.ca_file)?)
            .map_err(|error| silence(&error))?;
        builder = builder.tls_certs_only(roots);
        if let Some((cert, key)) = files.cert_file.as_ref().zip(files.key_file.as_ref()) {
            let mut pem = read(cert)?;
            pem.push(b'\n');
            pem.extend(read(key)?);
            builder = builder.identity(Identity::from_pem(&pem).map_err(|error| silence(&error))?);
        }
    }
    builder.build().map_err(|error| silence(&error))
}

/// The body of a 200; everything else is silence with a cause.
pub(crate) async fn get(
    client: &Client,
    url: &str,
    query: &[(&str, String)],
) -> Result<Vec<u8>, Silence> {
    answer(client.get(url).query(query)).await
}

/// Like [`get`], with the endpoint's bearer token, read now.
pub(crate) async fn get_api(
    client: &Client,
    endpoint: &Endpoint,
    path: &str,
    query: &[(&str, String)],
) -> Result<Vec<u8>, Silence> {
    let mut request = client.get(format!("{}{path}", endpoint.url)).query(query);
    if let Some(file) = &endpoint.bearer_file {
        let token = std::fs::read_to_string(file).map_err(|error| {
            Silence::new(Cause::Auth, format!("reading {} failed: {error}", file.display()))
        })?;
        request = request.bearer_auth(token.trim());
    }
    answer(request).await
}

async fn answer(request: reqwest::RequestBuilder) -> Result<Vec<u8>, Silence> {
    let mut response = request.send().await.map_err(|error| silence(&error))?;
    let status = response.status();
    if matches!(status.as_u16(), 401 | 403) {
        return Err(Silence::new(Cause::Auth, format!("it answers {status}")));
    }
    if !status.is_success() {
        return Err(Silence::new(Cause::Unsupported, format!("it answers {status}")));
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| silence(&error))? {
        if body.len() + chunk.len() > BODY_MAX {
            return Err(Silence::new(
                Cause::Unsupported,
                format!("its answer is longer than {BODY_MAX} bytes"),
            ));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// Whether anything answers there at all, whatever it says: an answer that we do not trust shows as
/// well as any other that we are not cut off.
pub(crate) async fn answers(client: &Client, url: &str) -> bool {
    match client.get(url).send().await {
        Ok(_) => true,
        Err(error) => silence(&error).cause == Cause::Tls,
    }
}

/// The cause of a request that got no answer. The URL is left out: it is in what was asked.
fn silence(error: &reqwest::Error) -> Silence {
    let mut detail =
        if error.is_timeout() { "no answer in time".to_owned() } else { "no answer".to_owned() };
    let mut source = error.source();
    while let Some(inner) = source {
        detail = format!("{detail}: {inner}");
        source = inner.source();
    }
    let has = |words: &[&str]| words.iter().any(|word| detail.contains(word));
    let cause = if error.is_timeout() {
        Cause::Timeout
    } else if has(&["certificate", "handshake", "tls", "corrupt message"]) {
        Cause::Tls
    } else if has(&["refused", "reset", "closed", "incomplete"]) {
        Cause::Refused
    } else {
        Cause::Timeout
    };
    Silence { cause, detail }
}

/// `host:port` of a URL, as Prometheus writes an instance.
pub(crate) fn authority(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let rest = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    rest.rsplit_once('@').map_or(rest, |(_, host)| host)
}

/// The host of a URL or `host:port`, without brackets.
pub(crate) fn host(target: &str) -> &str {
    let authority = authority(target);
    if let Some(rest) = authority.strip_prefix('[') {
        return rest.split(']').next().unwrap_or(rest);
    }
    match authority.rsplit_once(':') {
        Some((host, port))
            if !host.contains(':') && port.bytes().all(|byte| byte.is_ascii_digit()) =>
        {
            host
        }
        _ => authority,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_instances_are_read_from_urls() {
        for (target, instance, name) in [
            ("http://10.0.0.1:2379", "10.0.0.1:2379", "10.0.0.1"),
            ("https://u:p@prom.example:9090/base?x", "prom.example:9090", "prom.example"),
            ("gateway:22", "gateway:22", "gateway"),
            ("http://[fd00::1]:9090", "[fd00::1]:9090", "fd00::1"),
            ("fd00::1", "fd00::1", "fd00::1"),
            ("https://prom.example", "prom.example", "prom.example"),
        ] {
            assert_eq!((authority(target), host(target)), (instance, name), "{target}");
        }
    }

    #[tokio::test]
    async fn a_plain_question_needs_no_authority_of_the_system() {
        // A provider may have been installed by another test of this process.
        drop(rustls::crypto::ring::default_provider().install_default());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        drop(listener);
        let client = client(Trust::Nobody, Duration::from_secs(2)).unwrap();
        assert_eq!(get(&client, &url, &[]).await.unwrap_err().cause, Cause::Refused);
        assert!(!answers(&client, &url).await);
    }
}
