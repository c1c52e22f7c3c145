//! Who may order what.

use std::{
    fs,
    path::Path,
    sync::{Arc, Mutex},
};

use quorate::{
    config::Token,
    domain::rules::response::Role,
    http::local::{self, LocalToken},
};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use crate::app::{TestApp, alert, said, send, webhook};

const RUN: &str = "run_018f6b7e-7c1a-7000-8000-000000000001";
const LOSS: &str = "loss_018f6b7e-7c1a-7000-8000-000000000001";

/// Every order with the least role and the answer to who may, about things that are not there.
fn orders() -> Vec<(String, Value, Role, u16)> {
    let because = json!({"reason": "a test"});
    let run = |verb: &str| format!("/api/v1/runs/{RUN}/{verb}");
    let cluster = |verb: &str| format!("/api/v1/clusters/nowhere/{verb}");
    let attest = json!({"member": "m1", "reason": "a test", "for": "1h"});
    let plan = json!({"playbook": "none", "cluster": "nowhere", "params": {}});
    vec![
        ("/api/v1/plans".into(), plan, Role::Viewer, 404),
        (run("approve"), because.clone(), Role::Approver, 404),
        (run("deny"), because.clone(), Role::Operator, 404),
        (run("resume"), because.clone(), Role::Operator, 404),
        (run("abandon"), because.clone(), Role::Operator, 404),
        (format!("/api/v1/losses/{LOSS}/ack"), because.clone(), Role::Operator, 404),
        (cluster("attest"), attest, Role::Approver, 404),
        (cluster("pause"), because.clone(), Role::Operator, 404),
        (cluster("unpause"), because, Role::Operator, 404),
    ]
}

#[tokio::test]
async fn every_order_needs_its_role_and_a_reason() {
    let dir = tempfile::tempdir().unwrap();
    let tokens = Role::ALL.map(|role| {
        let file = dir.path().join(role.label());
        fs::write(&file, format!("token-of-{}", role.label())).unwrap();
        Token { name: role.label().into(), role, file }
    });
    let app = TestApp::with(move |config| config.tokens = tokens.into()).await;
    for (path, body, least, allowed) in orders() {
        let answer = send(app.request(Method::POST, &path).json(&body)).await;
        assert_eq!((answer.code, answer.error()), (401, "unauthorized"), "{path}");
        let wrong = app.request(Method::POST, &path).json(&body).bearer_auth("token-of-nobody");
        assert_eq!(send(wrong).await.code, 401, "{path}");
        for role in Role::ALL {
            let token = format!("token-of-{}", role.label());
            let request = app.request(Method::POST, &path).json(&body).bearer_auth(&token);
            let answer = send(request).await;
            let expected = if role >= least { allowed } else { 403 };
            assert_eq!(answer.code, expected, "{path} as {}: {}", role.label(), answer.text);
        }
        if path != "/api/v1/plans" {
            let mut silent = body.clone();
            silent["reason"] = json!("  ");
            let request = app.request(Method::POST, &path).json(&silent);
            let answer = send(request.bearer_auth("token-of-approver")).await;
            assert_eq!((answer.code, answer.error()), (400, "usage"), "{path}: {}", answer.text);
        }
    }
    for path in ["clusters", "alerts", "incidents", "runs", "losses"] {
        let path = format!("/api/v1/{path}");
        assert_eq!(app.get(&path).await.code, 401, "{path}");
        let seen = send(app.request(Method::GET, &path).bearer_auth("token-of-viewer")).await;
        assert_eq!(seen.code, 200, "{path}");
    }
    assert_eq!(app.get("/-/healthy").await.code, 200);
    app.stop().await;
}

const PAUSE: &str = "/api/v1/clusters/c1/pause";

#[tokio::test]
async fn a_page_of_another_origin_can_change_nothing() {
    let app = TestApp::start().await;
    let token = app.token.clone().unwrap();
    let because = json!({"reason": "x"});
    let alerts = webhook(&json!([alert(&json!({"alertname": "x"}))]));
    let plan = json!({"playbook": "etcd-rebuild-hosts", "cluster": "c1", "params": {}});
    for (path, body) in [(PAUSE, because), ("/api/v1/webhook", alerts), ("/api/v1/plans", plan)] {
        let request = || app.request(Method::POST, path).bearer_auth(&token);
        for kind in ["text/plain", "application/x-www-form-urlencoded", "application/json; a=b"] {
            let form = request().header("content-type", kind).body(body.to_string());
            let answer = send(form).await;
            assert_eq!((answer.code, answer.error()), (400, "usage"), "{path} {kind}");
        }
        assert_eq!(send(request().body(body.to_string())).await.code, 400, "{path}");
        for host in ["evil.example:9912", "10.0.0.1"] {
            let rebound = send(request().header("host", host).json(&body)).await;
            assert_eq!((rebound.code, rebound.error()), (403, "forbidden"), "{path} {host}");
        }
        for origin in ["http://evil.example", "null", "http://localhost:1"] {
            let foreign = send(request().header("origin", origin).json(&body)).await;
            assert_eq!((foreign.code, foreign.error()), (403, "forbidden"), "{path} {origin}");
        }
        let own = send(request().header("origin", &app.url).json(&body)).await;
        assert_eq!(own.code, 200, "{path}: {}", own.text);
        let kind = request().header("content-type", "application/json; charset=utf-8");
        assert_eq!(send(kind.body(body.to_string())).await.code, 200, "{path}");
    }
    app.stop().await;
}

/// Rows: E25.
#[tokio::test]
async fn without_tokens_everybody_reads_and_who_has_the_servers_own_orders() {
    let app = TestApp::start().await;
    assert_eq!(app.get("/api/v1/clusters").await.code, 200);
    let plan = json!({"playbook": "etcd-rebuild-hosts", "cluster": "c1", "params": {}});
    assert_eq!(send(app.request(Method::POST, "/api/v1/plans").json(&plan)).await.code, 200);
    for (path, body, ..) in orders().into_iter().filter(|(path, ..)| path != "/api/v1/plans") {
        let answer = send(app.request(Method::POST, &path).json(&body)).await;
        assert_eq!((answer.code, answer.error()), (401, "unauthorized"), "{path}");
        let file = answer.json["error"]["token_file"].as_str().unwrap();
        assert!(Path::new(file).is_absolute(), "{file}");
        assert_eq!(local::read(Path::new(file)).ok(), app.token);
        let wrong = app.request(Method::POST, &path).json(&body).bearer_auth("quorate_0");
        assert_eq!(send(wrong).await.code, 401, "{path}");
        assert_eq!(app.post(&path, &body).await.code, 404, "{path}");
    }
    app.stop().await;
}

/// Anybody may listen where a server did; the token is not for them.
#[tokio::test]
async fn the_command_line_sends_the_token_to_nobody_who_does_not_know_it() {
    let dir = tempfile::tempdir().unwrap();
    let file = LocalToken::open(dir.path(), 1).unwrap().path().to_owned();
    let token = local::read(&file).unwrap();
    for (named, said_on_stderr) in [
        (file.as_path(), "does not know the token"),
        (Path::new("/etc/hostname"), "cannot be used"),
        (dir.path(), "cannot be used"),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let error = json!({"error": {"code": "unauthorized", "message": "x",
            "token_file": named, "proof": "0".repeat(64)}})
        .to_string();
        let heard = Arc::new(Mutex::new(String::new()));
        let impostor = tokio::spawn(answer_all(listener, error, Arc::clone(&heard)));
        let pause = ["pause", "c1", "--reason", "x", "--server", &url];
        let answer = said(&pause, &[]).await;
        impostor.abort();
        assert_eq!(answer.code, 4, "{}", answer.stderr);
        assert!(answer.stderr.contains(said_on_stderr), "{}", answer.stderr);
        let heard = heard.lock().unwrap().clone();
        assert!(heard.contains("pause") && !heard.contains(&token), "{heard}");
        assert!(!heard.to_lowercase().contains("authorization"), "{heard}");
    }
}

/// Answers 401 to everything, and keeps what it hears.
async fn answer_all(listener: TcpListener, body: String, heard: Arc<Mutex<String>>) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let mut bytes = vec![0; 64 << 10];
        let read = stream.read(&mut bytes).await.unwrap_or(0);
        heard.lock().unwrap().push_str(&String::from_utf8_lossy(&bytes[..read]));
        let first =
            "HTTP/1.1 401 Unauthorized\r\nContent-Type: application/json\r\nConnection: close";
        let answer = format!("{first}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        stream.write_all(answer.as_bytes()).await.unwrap();
    }
}
