//! Who may order what.

use std::fs;

use quorate::{config::Token, domain::rules::response::Role};
use reqwest::Method;
use serde_json::{Value, json};

use crate::app::{TestApp, send};

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

#[tokio::test]
async fn a_page_of_another_origin_can_order_nothing() {
    let app = TestApp::start().await;
    let path = "/api/v1/clusters/c1/pause";
    let form = app.request(Method::POST, path).header("content-type", "text/plain");
    let answer = send(form.body("{\"reason\": \"x\"}")).await;
    assert_eq!((answer.code, answer.error()), (400, "usage"));
    let rebound = app.request(Method::POST, path).header("host", "evil.example:9912");
    let answer = send(rebound.json(&json!({"reason": "x"}))).await;
    assert_eq!((answer.code, answer.error()), (403, "forbidden"));
    assert_eq!(app.post(path, &json!({"reason": "x"})).await.code, 200);
    app.stop().await;
}
