//! Reload: what the files say now is in force without a restart, or nothing of it is.

use std::fs;

use reqwest::Method;
use serde_json::{Value, json};

use crate::app::{Answer, TestApp, alert, cluster_file, quorum_alert, send};

#[track_caller]
fn taken(answer: &Answer, lines: &[&str]) {
    assert_eq!(answer.code, 200, "{}", answer.text);
    assert_eq!(answer.text.lines().collect::<Vec<_>>(), lines);
}

/// The whole page of metrics has this line.
async fn has_metric(app: &TestApp, line: &str) -> bool {
    app.get("/metrics").await.text.lines().any(|found| found == line)
}

fn is_looked_at(cluster: &Value) -> bool {
    cluster["verdict"] == "healthy"
}

async fn opened(app: &TestApp, cluster: &str) -> String {
    let labels = json!({"alertname": "etcdInsufficientMembers", "cluster": cluster});
    assert_eq!(app.alerts(&json!([alert(&labels)])).await.code, 200);
    let path = format!("/api/v1/incidents?cluster={cluster}");
    let list = app.eventually(&path, |list| list["items"][0]["id"].is_string()).await;
    list["items"][0]["id"].as_str().unwrap().to_owned()
}

/// Nobody is told to read: the files are looked at.
#[tokio::test]
async fn a_cluster_whose_file_is_added_is_looked_at_without_a_restart() {
    let app = TestApp::from_files().await;
    app.eventually("/api/v1/clusters/c1", is_looked_at).await;
    fs::write(app.path("clusters.d/c2.yaml"), cluster_file("c2")).unwrap();
    app.eventually("/api/v1/clusters/c2", is_looked_at).await;
    opened(&app, "c2").await;
    let series = "quorate_cluster_stopped{cluster=\"c2\"}";
    assert!(app.get("/metrics").await.text.contains(series));
    app.stop().await;
}

#[tokio::test]
async fn a_cluster_that_is_removed_closes_its_incident_and_says_why_and_works_again_once_back() {
    let app = TestApp::from_files().await;
    fs::write(app.path("clusters.d/c2.yaml"), cluster_file("c2")).unwrap();
    taken(&app.reload().await, &["cluster c2 added"]);
    app.eventually("/api/v1/clusters/c2", is_looked_at).await;
    let incident = opened(&app, "c2").await;
    fs::remove_file(app.path("clusters.d/c2.yaml")).unwrap();
    taken(&app.reload().await, &["cluster c2 removed"]);
    let gone = "cluster c2 is not in the inventory any more";
    let why = format!("/api/v1/why/{incident}");
    app.eventually(&why, |why| why.to_string().contains(gone)).await;
    let closed = format!("/api/v1/incidents/{incident}");
    app.eventually(&closed, |incident| incident["phase"] == "closed").await;
    let labels = json!({"alertname": "etcdInsufficientMembers", "cluster": "c2", "x": "1"});
    assert_eq!(app.alerts(&json!([alert(&labels)])).await.json["unmatched"], 1);
    fs::write(app.path("clusters.d/c2.yaml"), cluster_file("c2")).unwrap();
    taken(&app.reload().await, &["cluster c2 added"]);
    app.eventually("/api/v1/clusters/c2", is_looked_at).await;
    assert_eq!(app.alerts(&json!([alert(&labels)])).await.json["unmatched"], 0);
    app.stop().await;
}

#[tokio::test]
async fn a_broken_file_changes_nothing_and_is_told_and_once_mended_all_is_taken() {
    let app = TestApp::from_files().await;
    assert!(has_metric(&app, "quorate_config_last_reload_successful 1").await);
    fs::write(app.path("clusters.d/c2.yaml"), cluster_file("c2")).unwrap();
    app.edit("clusters.d/c1.yaml", "layout: hosts", "layout: host");
    let refused = app.reload().await;
    assert_eq!((refused.code, refused.error()), (422, "unusable"), "{}", refused.text);
    assert!(refused.message().contains("c1.yaml:4:"), "{}", refused.text);
    assert!(has_metric(&app, "quorate_config_last_reload_successful 0").await);
    assert_eq!(app.get("/api/v1/clusters/c2").await.code, 404, "all or nothing");
    app.eventually("/api/v1/clusters/c1", is_looked_at).await;
    app.edit("clusters.d/c1.yaml", "layout: host", "layout: hosts");
    taken(&app.reload().await, &["cluster c2 added"]);
    assert!(has_metric(&app, "quorate_config_last_reload_successful 1").await);
    app.stop().await;
}

/// Nobody asks again: the file that only the refused configuration names is looked at.
#[tokio::test]
async fn a_file_that_made_a_reload_fail_is_looked_at_until_it_is_mended() {
    let app = TestApp::from_files().await;
    let broken = cluster_file("c2").replace("layout: hosts", "layout: host");
    fs::write(app.path("more.yaml"), broken).unwrap();
    app.edit("quorate.yaml", "clusters: [clusters.d]", "clusters: [clusters.d, more.yaml]");
    assert_eq!(app.reload().await.code, 422);
    app.edit("more.yaml", "layout: host", "layout: hosts");
    app.eventually("/api/v1/clusters/c2", is_looked_at).await;
    app.stop().await;
}

#[tokio::test]
async fn a_response_that_is_removed_closes_its_incident() {
    let app = TestApp::from_files().await;
    app.eventually("/api/v1/clusters/c1", is_looked_at).await;
    assert_eq!(app.alerts(&json!([quorum_alert()])).await.code, 200);
    let list = app.eventually("/api/v1/incidents", |list| list["items"][0]["id"].is_string()).await;
    let incident = list["items"][0]["id"].as_str().unwrap().to_owned();
    fs::remove_file(app.path("rules/responses/etcd-quorum-lost.yaml")).unwrap();
    taken(&app.reload().await, &["response etcd-quorum-lost removed"]);
    let why = format!("/api/v1/why/{incident}");
    let gone = "response etcd-quorum-lost is not loaded any more";
    app.eventually(&why, |why| why.to_string().contains(gone)).await;
    app.stop().await;
}

#[tokio::test]
async fn settings_of_the_door_change_and_what_needs_a_restart_stays_and_is_told() {
    let app = TestApp::from_files().await;
    app.edit("quorate.yaml", "watch:", "webhook: {max_body: 1KiB}\nwatch:");
    let lines = ["webhook.max_body: 10485760 bytes becomes 1024 bytes"];
    taken(&app.reload().await, &lines);
    let large = alert(&json!({"alertname": "x".repeat(2000)}));
    assert_eq!(app.alerts(&json!([large])).await.code, 413);
    fs::write(app.path("token"), "secret").unwrap();
    app.edit("quorate.yaml", "listen: 127.0.0.1:0", "listen: 127.0.0.1:1");
    app.edit(
        "quorate.yaml",
        "watch:",
        "api: {tokens: [{name: a, role: viewer, file: token}]}\nwatch:",
    );
    let told = app.reload().await;
    assert!(told.text.contains("becomes 127.0.0.1:1; it needs a restart"), "{}", told.text);
    assert!(told.text.contains("stay as they are until the restart"), "{}", told.text);
    app.edit("quorate.yaml", "listen: 127.0.0.1:1", "listen: 127.0.0.1:0");
    assert_eq!(app.reload().await.code, 200, "the local token still counts: nothing else did");
    assert_eq!(app.reload().await.code, 401, "and now the tokens of the file do");
    let viewer = app.request(Method::POST, "/-/reload").bearer_auth("secret");
    assert_eq!(send(viewer).await.code, 403);
    app.stop().await;
}

#[tokio::test]
async fn who_may_not_order_may_not_reload() {
    let app = TestApp::from_files().await;
    assert_eq!(send(app.request(Method::POST, "/-/reload")).await.code, 401);
    let page = app.request(Method::POST, "/-/reload").header("origin", "http://elsewhere");
    assert_eq!(send(page.bearer_auth(app.token.clone().unwrap())).await.code, 403);
    app.stop().await;
}
