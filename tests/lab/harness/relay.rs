//! A webhook receiver that keeps what it gets and answers what the test wants, or passes it on.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{Method, StatusCode},
};
use reqwest::header::CONTENT_TYPE;
use serde_json::Value;
use tokio::net::TcpListener;

use super::{http, wait_for};

/// What the relay does with the next request.
#[derive(Clone, Debug)]
enum Mode {
    Answer(u16),
    Forward(String),
}

/// One request and what was answered.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// The body.
    pub(crate) body: Value,
    /// The status code it got.
    pub(crate) code: u16,
}

#[derive(Debug)]
struct Inner {
    mode: Mutex<Mode>,
    seen: Mutex<Vec<Seen>>,
}

/// A receiver on loopback that lives as long as the test process.
#[derive(Clone, Debug)]
pub(crate) struct Relay {
    address: SocketAddr,
    inner: Arc<Inner>,
}

impl Relay {
    /// Listens, and answers 200.
    pub(crate) fn start() -> Self {
        let inner = Arc::new(Inner { mode: Mutex::new(Mode::Answer(200)), seen: Mutex::default() });
        let app = Router::new().fallback(receive).with_state(Arc::clone(&inner));
        let address = wait_for(async {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
            let address = listener.local_addr().unwrap();
            tokio::spawn(async move { axum::serve(listener, app).await });
            address
        });
        Self { address, inner }
    }

    /// Where to post to.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// Answers this from now on, and passes nothing on.
    pub(crate) fn answer(&self, code: u16) {
        *self.inner.mode.lock().unwrap() = Mode::Answer(code);
    }

    /// Passes requests on from now on, and answers what `url` answers, or 502.
    pub(crate) fn forward_to(&self, url: &str) {
        *self.inner.mode.lock().unwrap() = Mode::Forward(url.to_owned());
    }

    /// Everything that came, oldest first.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.inner.seen.lock().unwrap().clone()
    }
}

async fn receive(State(inner): State<Arc<Inner>>, method: Method, bytes: Bytes) -> StatusCode {
    let mode = inner.mode.lock().unwrap().clone();
    let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
    let code = match mode {
        Mode::Answer(code) => code,
        Mode::Forward(url) => {
            let request =
                http::request(method, &url).header(CONTENT_TYPE, "application/json").body(bytes);
            request.send().await.map_or(502, |response| response.status().as_u16())
        }
    };
    inner.seen.lock().unwrap().push(Seen { body, code });
    StatusCode::from_u16(code).unwrap()
}
