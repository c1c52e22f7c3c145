//! What the API shows and does.

use quorate::{domain::rules::action::ErrorKind, sim::State};
use reqwest::Method;
use serde_json::{Value, json};

use crate::app::{TestApp, alert, quorum_alert, send};

/// A lost majority, up to the question.
pub(crate) async fn asking() -> (TestApp, String) {
    let app = TestApp::start().await;
    app.eventually("/api/v1/clusters/c1", |c| c["verdict"] == "healthy").await;
    app.patient.set("m2", State::Gone);
    app.patient.set("m3", State::Gone);
    assert_eq!(app.alerts(&json!([quorum_alert()])).await.json["unmatched"], 0);
    let runs =
        app.eventually("/api/v1/runs", |runs| runs["items"][0]["state"] == "awaiting_approval");
    let run = runs.await["items"][0]["id"].as_str().unwrap().to_owned();
    (app, run)
}

#[tokio::test]
async fn what_is_not_there_is_answered_in_json() {
    let app = TestApp::start().await;
    for path in [
        "/",
        "/api/v1/nothing",
        "/api/v1/clusters/nowhere",
        "/api/v1/runs/run_x",
        "/api/v1/incidents/inc_018f6b7e-7c1a-7000-8000-000000000001",
        "/api/v1/losses/..%2f",
        "/api/v1/alerts/zz",
        "/api/v1/why/cc75720f9ec8dfe8",
        "/api/v1/webhook",
    ] {
        let answer = app.get(path).await;
        assert_eq!((answer.code, answer.error()), (404, "not_found"), "{path}: {}", answer.text);
    }
    let answer = send(app.request(Method::DELETE, "/api/v1/clusters")).await;
    assert_eq!((answer.code, answer.error()), (404, "not_found"));
    for path in [
        "/api/v1/why/x",
        "/api/v1/runs?limit=0",
        "/api/v1/runs?limit=x",
        "/api/v1/runs?after=1",
        "/api/v1/runs?x=1",
    ] {
        let answer = app.get(path).await;
        assert_eq!((answer.code, answer.error()), (400, "usage"), "{path}: {}", answer.text);
    }
    app.stop().await;
}

#[tokio::test]
async fn health_and_metrics_are_open() {
    let app = TestApp::start().await;
    assert_eq!(app.get("/-/healthy").await.code, 200);
    assert_eq!(app.get("/-/ready").await.code, 200);
    let page = app.get("/metrics").await.text;
    for series in [
        "quorate_build_info{",
        "quorate_config_last_reload_successful 1",
        "quorate_cluster_verdict{cluster=\"c1\",subject=\"etcd\",verdict=\"lost\"} 0",
        "quorate_repair_attempts_total{cluster=\"c1\",playbook=\"etcd-rebuild-hosts\",outcome=\"succeeded\"} 0",
        "quorate_data_loss_possible{cluster=\"c1\"} 0",
    ] {
        assert!(page.contains(series), "no {series} in\n{page}");
    }
    assert!(page.ends_with("# EOF\n"));
    app.stop().await;
}

#[tokio::test]
async fn a_list_is_shown_in_pages_without_gap_or_double() {
    let app = TestApp::start().await;
    let alerts: Vec<_> =
        (0..25).map(|n| alert(&json!({"alertname": "x", "n": n.to_string()}))).collect();
    assert_eq!(app.alerts(&Value::Array(alerts)).await.code, 200);
    let (mut seen, mut after, mut pages) = (Vec::new(), String::new(), 0);
    loop {
        let page = app.get(&format!("/api/v1/alerts?limit=10{after}")).await.json;
        let items = page["items"].as_array().unwrap();
        seen.extend(items.iter().map(|item| item["labels"]["n"].as_str().unwrap().to_owned()));
        pages += 1;
        let Some(next) = page["next"].as_str() else { break };
        after = format!("&after={next}");
    }
    seen.sort();
    seen.dedup();
    assert_eq!((seen.len(), pages), (25, 3));
    let firing = app.get("/api/v1/alerts?state=firing&limit=1000").await.json;
    assert_eq!(firing["items"].as_array().unwrap().len(), 25);
    let resolved = app.get("/api/v1/alerts?state=resolved").await.json;
    assert_eq!(resolved, json!({"items": [], "next": null}));
    app.stop().await;
}

#[tokio::test]
async fn a_plan_shows_everything_and_changes_nothing() {
    let app = TestApp::start().await;
    app.eventually("/api/v1/clusters/c1", |c| c["verdict"] == "healthy").await;
    app.patient.set("m2", State::Gone);
    app.patient.set("m3", State::Gone);
    app.eventually("/api/v1/clusters/c1", |c| c["verdict"] == "lost").await;
    let calls = app.patient.effects();
    let order = json!({"playbook": "etcd-rebuild-hosts", "cluster": "c1", "params": {}});
    let plan = app.post("/api/v1/plans", &order).await;
    assert_eq!(plan.code, 200, "{}", plan.text);
    assert_eq!(plan.json["survivor"], "m1", "{}", plan.text);
    assert_eq!(plan.json["destroys"], "data");
    assert!(plan.json["commands"].as_array().unwrap().len() > 5, "{}", plan.text);
    assert_eq!(plan.json["evidence"]["members"].as_array().unwrap().len(), 3);
    assert_eq!(app.patient.effects(), calls);
    assert_eq!(app.get("/api/v1/runs").await.json["items"], json!([]));
    let wrong = json!({"playbook": "etcd-rebuild-hosts", "cluster": "c1", "params": {"bumb": 1}});
    assert_eq!(app.post("/api/v1/plans", &wrong).await.code, 422);
    app.stop().await;
}

/// Rows: C18.
#[tokio::test]
async fn an_order_that_does_not_fit_is_a_conflict_with_its_run() {
    let (app, run) = asking().await;
    let because = json!({"reason": "a test"});
    let answer = app.post(&format!("/api/v1/runs/{run}/resume"), &because).await;
    assert_eq!((answer.code, answer.error()), (409, "conflict"), "{}", answer.text);
    assert_eq!(answer.json["error"]["run"], run.as_str());
    let stale = json!({"reason": "a test", "digest": "0000"});
    let answer = app.post(&format!("/api/v1/runs/{run}/approve"), &stale).await;
    assert_eq!((answer.code, answer.error()), (410, "stale"), "{}", answer.text);
    let order = json!({"playbook": "etcd-rebuild-hosts", "cluster": "c1", "params": {}});
    let plan = app.post("/api/v1/plans", &order).await.json;
    assert_eq!(plan["decision"]["reason"], "conflict", "{plan}");
    app.stop().await;
}

/// Rows: B5, B8.
#[tokio::test]
async fn an_approved_run_rebuilds_the_cluster_and_the_chain_tells_all_of_it() {
    let (app, run) = asking().await;
    let shown = app.get(&format!("/api/v1/runs/{run}")).await.json;
    assert_eq!(shown["ask"]["open"], true, "{shown}");
    assert_eq!(shown["ask"]["survivor"], "m1", "{shown}");
    assert!(!shown["ask"]["commands"].as_array().unwrap().is_empty(), "{shown}");
    let order = json!({"reason": "the racks burned", "digest": shown["ask"]["digest"]});
    let answer = app.post(&format!("/api/v1/runs/{run}/approve"), &order).await;
    assert_eq!(answer.code, 200, "{}", answer.text);
    let path = format!("/api/v1/runs/{run}");
    let ended =
        app.eventually(&path, |run| !run["finished_at"].is_null() || !run["parked"].is_null());
    let ended = ended.await;
    assert_eq!(ended["outcome"], "succeeded", "{ended:#}");
    assert_eq!(ended["approval"]["by"], "local");
    let why = app.get(&format!("/api/v1/why/{run}")).await.json;
    assert_eq!(why["alerts"][0]["labels"]["alertname"], "etcdInsufficientMembers", "{why:#}");
    assert_eq!(why["matched"][0]["signal"], "quorum");
    assert_eq!(why["runs"][0]["id"], run.as_str());
    let loss = why["losses"][0]["id"].as_str().unwrap().to_owned();
    assert!(why["next"][0].as_str().unwrap().contains("quorate ack"), "{why:#}");
    for id in [
        loss.as_str(),
        why["alerts"][0]["fingerprint"].as_str().unwrap(),
        why["incident"]["id"].as_str().unwrap(),
    ] {
        let chain = app.get(&format!("/api/v1/why/{id}")).await;
        assert_eq!(chain.json["runs"][0]["id"], run.as_str(), "{id}: {}", chain.text);
    }
    let ack = app.post(&format!("/api/v1/losses/{loss}/ack"), &json!({"reason": "told all"})).await;
    assert_eq!(ack.code, 200, "{}", ack.text);
    let kept = app.get(&format!("/api/v1/losses/{loss}")).await.json;
    assert_eq!(
        (&kept["state"], &kept["acknowledged"]["by"]),
        (&json!("acknowledged"), &json!("local"))
    );
    app.stop().await;
}

#[tokio::test]
async fn why_speaks_of_a_parked_run_before_the_loss_it_may_have_made() {
    let (app, run) = asking().await;
    drop(app.patient.clone().fail("etcd.compare", 1, ErrorKind::Tool));
    let order = json!({"reason": "the racks burned"});
    let answer = app.post(&format!("/api/v1/runs/{run}/approve"), &order).await;
    assert_eq!(answer.code, 200, "{}", answer.text);
    app.eventually(&format!("/api/v1/runs/{run}"), |run| !run["parked"].is_null()).await;
    let why = app.get(&format!("/api/v1/why/{run}")).await.json;
    assert_eq!(why["losses"][0]["state"], "possible", "{why:#}");
    let summary = why["summary"].as_str().unwrap();
    assert!(summary.contains("is parked: a person must look; up to "), "{summary}");
    assert!(!summary.contains("recovered"), "{summary}");
    app.stop().await;
}

#[tokio::test]
async fn why_says_where_an_alert_was_left() {
    let app = TestApp::start().await;
    app.alerts(&json!([
        alert(&json!({"alertname": "etcdNoLeader", "cluster": "elsewhere"})),
        alert(&json!({"alertname": "Watchdog", "cluster": "c1"})),
    ]))
    .await;
    let items = app.get("/api/v1/alerts").await.json["items"].clone();
    for item in items.as_array().unwrap() {
        let print = item["fingerprint"].as_str().unwrap();
        let why = app.get(&format!("/api/v1/why/{print}")).await.json;
        let expected = match item["labels"]["alertname"].as_str().unwrap() {
            "Watchdog" => "no response has a signal for this alert",
            _ => "no cluster's `match` fits the alert's labels",
        };
        assert_eq!(why["summary"], expected);
    }
    app.stop().await;
}

#[tokio::test]
async fn an_order_that_lasts_too_long_is_refused_with_the_bound() {
    let app = TestApp::start().await;
    for (order, member) in [("pause", json!({})), ("attest", json!({"member": "m1"}))] {
        let mut body = json!({"reason": "x", "for": "9999999d"});
        body.as_object_mut().unwrap().extend(member.as_object().unwrap().clone());
        let refused = app.post(&format!("/api/v1/clusters/c1/{order}"), &body).await;
        assert_eq!(refused.code, 400, "{}", refused.text);
        assert!(refused.message().contains("longer than 3650d"), "{}", refused.message());
    }
    app.stop().await;
}
