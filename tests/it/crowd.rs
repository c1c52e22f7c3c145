//! Many connections at once: nobody keeps others out.

use std::time::Duration;

use rustix::process::{Resource, getrlimit, setrlimit};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, timeout},
};

use crate::app::{Answer, TestApp, alert};

/// Far below the time after which an idle connection or an unfinished request is given up.
const AT_ONCE: Duration = Duration::from_secs(5);

/// Both ends of every connection are in this process.
fn allow_many_files() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).unwrap();
}

async fn connect(app: &TestApp) -> TcpStream {
    let address = app.url.trim_start_matches("http://");
    timeout(AT_ONCE, TcpStream::connect(address)).await.unwrap().unwrap()
}

/// Writes a request and reads the first bytes of what comes back.
async fn first_words(stream: &mut TcpStream, request: &str) -> String {
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = vec![0; 4096];
    let read = timeout(AT_ONCE, stream.read(&mut answer)).await.expect("no answer at once");
    String::from_utf8_lossy(&answer[..read.unwrap_or(0)]).into_owned()
}

/// A connection whose webhook never ends.
async fn unfinished(app: &TestApp, path: &str) -> TcpStream {
    let mut stream = connect(app).await;
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Content-Length: 900\r\n\r\n{{"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream
}

async fn at_once(answer: impl Future<Output = Answer>) -> Answer {
    timeout(AT_ONCE, answer).await.expect("not answered at once")
}

#[tokio::test]
async fn idle_connections_give_their_places_to_new_ones() {
    allow_many_files();
    let app = TestApp::start().await;
    let get = "GET /-/healthy HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let mut idle = Vec::new();
    for _ in 0..600 {
        let mut stream = connect(&app).await;
        let answer = first_words(&mut stream, get).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer:?}");
        idle.push(stream);
    }
    let alert = json!([alert(&json!({"alertname": "x"}))]);
    assert_eq!(at_once(app.alerts(&alert)).await.code, 200);
    assert_eq!(at_once(app.get("/-/ready")).await.code, 200);
    let pause = json!({"reason": "a test"});
    assert_eq!(at_once(app.post("/api/v1/clusters/c1/pause", &pause)).await.code, 200);
    let last = idle.last_mut().unwrap();
    assert!(first_words(last, get).await.starts_with("HTTP/1.1 200 "), "the youngest stays");
    app.stop().await;
}

#[tokio::test]
async fn webhooks_that_never_end_keep_neither_orders_nor_probes_out() {
    allow_many_files();
    let app = TestApp::start().await;
    let mut open = Vec::new();
    for _ in 0..600 {
        open.push(unfinished(&app, "/api/v1/webhook").await);
    }
    let began = Instant::now();
    assert_eq!(at_once(app.get("/-/ready")).await.code, 200);
    assert_eq!(at_once(app.get("/metrics")).await.code, 200);
    assert_eq!(at_once(app.get("/api/v1/clusters")).await.code, 200);
    let pause = json!({"reason": "a test"});
    assert_eq!(at_once(app.post("/api/v1/clusters/c1/pause", &pause)).await.code, 200);
    let webhook = at_once(app.alerts(&json!([alert(&json!({"alertname": "x"}))]))).await;
    assert!(began.elapsed() < AT_ONCE, "this machine is too slow to tell");
    assert_eq!((webhook.code, webhook.error()), (503, "unavailable"), "{}", webhook.text);
    app.stop().await;
}

/// Who has no token takes no place, however long it goes on sending.
#[tokio::test]
async fn strangers_keep_no_webhook_out() {
    allow_many_files();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("token");
    std::fs::write(&file, "s3cret").unwrap();
    let app = TestApp::with(move |config| config.webhook.bearer_file = Some(file)).await;
    let mut strangers = Vec::new();
    for _ in 0..600 {
        strangers.push(unfinished(&app, "/api/v1/webhook").await);
    }
    let body = crate::app::webhook(&json!([alert(&json!({"alertname": "x"}))]));
    let known = app.request(reqwest::Method::POST, "/api/v1/webhook").bearer_auth("s3cret");
    assert_eq!(at_once(crate::app::send(known.json(&body))).await.code, 200);
    let answer = first_words(&mut strangers[599], "").await;
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer:?}");
    app.stop().await;
}

/// HTTP/2 would be many requests on one connection, with none of the bounds.
#[tokio::test]
async fn http_2_is_not_spoken() {
    let app = TestApp::start().await;
    let mut stream = connect(&app).await;
    // the preface and an empty SETTINGS frame: a server that speaks it answers with its own
    let hello = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\u{4}\0\0\0\0\0";
    let answer = first_words(&mut stream, hello).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer:?}");
    let mut rest = Vec::new();
    let closed = timeout(AT_ONCE, stream.read_to_end(&mut rest)).await;
    assert!(closed.is_ok(), "the connection stays open");
    let upgrade = "GET /-/healthy HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade, \
                   HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n";
    let answer = first_words(&mut connect(&app).await, upgrade).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer:?}");
    app.stop().await;
}

/// Bodies that never end: beyond `webhook.bodies_max` they are refused, and what they held is free
/// again when they go.
#[tokio::test]
async fn all_bodies_in_flight_together_are_bounded() {
    const PART: usize = 300 << 10;
    let app = TestApp::with(|config| {
        (config.webhook.max_body, config.webhook.bodies_max) = (1 << 20, 1 << 20);
    });
    let app = app.await;
    let mut open = Vec::new();
    let mut refused = 0;
    for _ in 0..12 {
        let mut stream = connect(&app).await;
        let head = format!(
            "POST /api/v1/webhook HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n",
            PART + 1
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&vec![b' '; PART]).await.unwrap();
        open.push(stream);
    }
    for stream in &mut open {
        let mut answer = vec![0; 4096];
        let read = timeout(Duration::from_secs(1), stream.read(&mut answer)).await;
        let Ok(read) = read else { continue };
        let answer = String::from_utf8_lossy(&answer[..read.unwrap()]).into_owned();
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
        assert!(answer.contains("webhook.bodies_max"), "{answer}");
        refused += 1;
    }
    assert!((8..12).contains(&refused), "{refused} of 12 bodies of 300 KiB were refused");
    drop(open);
    let large = alert(&json!({"alertname": "x"}));
    let alerts = serde_json::Value::Array(vec![large; 4000]);
    let until = Instant::now() + Duration::from_mins(1);
    while app.alerts(&alerts).await.code != 200 {
        assert!(Instant::now() < until, "what they held was never given back");
    }
    app.stop().await;
}
