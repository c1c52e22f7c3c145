//! What comes in by webhook: kept, refused, counted.

use std::{fs, time::Duration};

use reqwest::{Body, Method};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::app::{TestApp, alert, repository, send, webhook};

const PATH: &str = "/api/v1/webhook";

async fn metric(app: &TestApp, series: &str) -> f64 {
    let page = app.get("/metrics").await.text;
    let line = page.lines().find(|line| line.starts_with(&format!("{series} ")));
    line.unwrap_or_else(|| panic!("no {series} in\n{page}"))
        .rsplit(' ')
        .next()
        .unwrap()
        .parse()
        .unwrap()
}

#[tokio::test]
async fn every_recorded_body_is_accepted_and_a_repeat_writes_nothing() {
    let app = TestApp::start().await;
    let mut bodies = 0;
    for entry in fs::read_dir(repository("tests/fixtures/alertmanager")).unwrap() {
        let path = entry.unwrap().path();
        let recorded: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        let body = &recorded["payload"];
        let count = body["alerts"].as_array().unwrap().len();
        let answer = app.post(PATH, body).await;
        assert_eq!(answer.code, 200, "{}: {}", path.display(), answer.text);
        assert_eq!(answer.json["accepted"], count, "{}", path.display());
        assert_eq!(answer.json["invalid"], 0, "{}", path.display());
        // the bodies come in any order: one that an earlier one resolved is held back once
        assert_eq!(app.post(PATH, body).await.code, 200);
        let before = app.get("/api/v1/alerts?limit=1000").await.json;
        let known = metric(&app, "quorate_alerts_deduplicated_total").await;
        assert_eq!(app.post(PATH, body).await.code, 200);
        let after = metric(&app, "quorate_alerts_deduplicated_total").await;
        assert_eq!((after - known).to_string(), count.to_string(), "{}", path.display());
        let now = app.get("/api/v1/alerts?limit=1000").await.json;
        assert_eq!(states(&now), states(&before), "{}", path.display());
        bodies += 1;
    }
    assert!(bodies >= 10, "only {bodies} recorded bodies");
    app.stop().await;
}

/// What must not change by a repeat.
fn states(page: &Value) -> Vec<(String, String, String)> {
    let text = |alert: &Value, key: &str| alert[key].as_str().unwrap_or_default().to_owned();
    let items = page["items"].as_array().unwrap().iter();
    items.map(|a| (text(a, "fingerprint"), text(a, "state"), text(a, "changed_at"))).collect()
}

#[tokio::test]
async fn put_is_accepted_as_post_is() {
    let app = TestApp::start().await;
    let body = webhook(&json!([alert(&json!({"alertname": "x"}))]));
    let answer = send(app.request(Method::PUT, PATH).json(&body)).await;
    assert_eq!(
        (answer.code, &answer.json),
        (200, &json!({"accepted": 1, "unmatched": 1, "invalid": 0}))
    );
    app.stop().await;
}

#[tokio::test]
async fn hostile_labels_are_kept_as_they_are_and_obeyed_by_nobody() {
    let app = TestApp::start().await;
    // as much as is kept of one alert, but for the other labels
    let long = "x".repeat(65_000);
    let labels = json!({
        "alertname": "$(touch /x); `reboot`", "path": "../../etc/passwd", "lines": "a\nb\r\u{1b}[2J",
        "quotes": "\"'\\", "größe.ß/日本": "é", "long": long, "empty": "", "__proto__": "${run.id}",
    });
    let answer = app.alerts(&json!([alert(&labels)])).await;
    assert_eq!(answer.json, json!({"accepted": 1, "unmatched": 1, "invalid": 0}));
    let kept = app.get("/api/v1/alerts").await.json;
    let mut wanted = labels;
    wanted.as_object_mut().unwrap().remove("empty");
    assert!(kept["items"][0]["labels"] == wanted, "the labels were changed");
    app.stop().await;
}

#[tokio::test]
async fn a_bad_alert_is_named_and_the_good_ones_of_its_body_are_kept() {
    let app = TestApp::start().await;
    let good = |n: u32| alert(&json!({"alertname": "x", "n": n.to_string()}));
    let mut late = good(9);
    late["startsAt"] = json!("yesterday");
    for (bad, field) in [
        (json!("text"), "labels"),
        (json!({"status": "firing", "startsAt": "2026-11-21T03:37:48Z"}), "labels"),
        (
            json!({"status": "firing", "labels": {"a": 1}, "startsAt": "2026-11-21T03:37:48Z"}),
            "labels",
        ),
        (json!({"status": "firing", "labels": {}, "startsAt": "2026-11-21T03:37:48Z"}), "labels"),
        (json!({"status": "odd", "labels": {"a": "b"}}), "status"),
        (json!({"status": "firing", "labels": {"a": "b"}}), "startsAt"),
        (late, "startsAt"),
    ] {
        let answer = app.alerts(&json!([good(1), bad, good(2)])).await;
        assert_eq!(
            answer.json,
            json!({"accepted": 2, "unmatched": answer.json["unmatched"], "invalid": 1}),
            "{bad}"
        );
        let answer = app.alerts(&json!([bad])).await;
        assert_eq!((answer.code, answer.error()), (422, "unusable"), "{bad}");
        assert_eq!(answer.json["error"]["field"], field, "{bad}: {}", answer.text);
        assert_eq!(answer.json["error"]["position"], "alerts[0]", "{bad}");
    }
    assert!(metric(&app, "quorate_alerts_invalid_total").await >= 14.0);
    app.stop().await;
}

#[tokio::test]
async fn what_is_no_delivery_of_alertmanager_is_refused_with_what_is_missing() {
    let app = TestApp::start().await;
    for (body, part) in [
        (json!({"version": "1", "alerts": [], "orgId": 1}), "Grafana"),
        (json!({"version": "3", "alerts": []}), "\"3\""),
        (json!({"text": "a custom payload"}), "`version`"),
        (json!({"version": "4"}), "`alerts`"),
        (json!([1, 2]), "no JSON object"),
    ] {
        let answer = app.post(PATH, &body).await;
        assert_eq!((answer.code, answer.error()), (422, "unusable"), "{body}");
        assert!(answer.message().contains(part), "{body}: {}", answer.message());
    }
    let broken = app.request(Method::POST, PATH).header("content-type", "application/json");
    let answer = send(broken.body("{\"version\": \"4\",\n \"alerts\": [}")).await;
    assert_eq!(answer.code, 422);
    assert_eq!(answer.json["error"]["position"], "line 2 column 13");
    app.stop().await;
}

#[tokio::test]
async fn too_many_alerts_or_labels_or_bytes_are_refused() {
    let app = TestApp::with(|config| config.webhook.max_body = 3 << 20).await;
    let small =
        json!({"status": "firing", "labels": {"a": "b"}, "startsAt": "2026-11-21T03:37:48Z"});
    let answer = app.alerts(&Value::Array(vec![small.clone(); 10_001])).await;
    assert_eq!((answer.code, answer.error()), (413, "too_large"), "{}", answer.text);
    assert_eq!(app.alerts(&Value::Array(vec![small; 10_000])).await.code, 200);
    let labels: serde_json::Map<_, _> = (0..129).map(|n| (format!("l{n}"), json!("x"))).collect();
    assert_eq!(app.alerts(&json!([alert(&Value::Object(labels))])).await.code, 422);
    let long = alert(&json!({"alertname": "x", "long": "x".repeat(64 << 10)}));
    let answer = app.alerts(&json!([long])).await;
    assert_eq!((answer.code, answer.error()), (422, "unusable"), "{}", answer.text);
    assert_eq!(answer.json["error"]["field"], "labels", "{}", answer.text);
    let answer = app.alerts(&json!([long, alert(&json!({"alertname": "x"}))])).await;
    assert_eq!(answer.json, json!({"accepted": 1, "unmatched": 1, "invalid": 1}));
    let large = json!({"a": "x".repeat(4 << 20)});
    let announced = app.alerts(&json!([alert(&large)])).await;
    assert_eq!((announced.code, announced.error()), (413, "too_large"));
    let text = webhook(&json!([alert(&large)])).to_string();
    let chunks: Vec<Result<Vec<u8>, std::io::Error>> =
        text.as_bytes().chunks(64 << 10).map(|chunk| Ok(chunk.to_vec())).collect();
    let streamed = Body::wrap_stream(futures::stream::iter(chunks));
    let request = app.request(Method::POST, PATH).header("content-type", "application/json");
    let streamed = send(request.body(streamed)).await;
    assert_eq!((streamed.code, streamed.error()), (413, "too_large"));
    let series = "quorate_webhook_requests_total{source=\"alertmanager\",code=\"413\"}";
    assert!(metric(&app, series).await >= 3.0);
    app.stop().await;
}

#[tokio::test]
async fn truncated_groups_are_counted() {
    let app = TestApp::start().await;
    let mut body = webhook(&json!([alert(&json!({"alertname": "x"}))]));
    body["truncatedAlerts"] = json!(3);
    assert_eq!(app.post(PATH, &body).await.code, 200);
    assert_eq!(metric(&app, "quorate_alerts_truncated_total").await.to_string(), "3");
    app.stop().await;
}

#[tokio::test]
async fn what_cannot_be_made_durable_is_refused_and_taken_when_it_comes_again() {
    let app = TestApp::start().await;
    app.eventually("/api/v1/clusters/c1", |c| c["verdict"] == "healthy").await;
    // a look's own row may meet the broken disk first, and the store heal before the alert comes
    let mut refused = None;
    for n in 0..100 {
        app.store.fail_next(1);
        let body = json!([alert(&json!({"alertname": "kept", "n": n.to_string()}))]);
        let answer = app.alerts(&body).await;
        if answer.code != 200 {
            refused = Some((body, answer));
            break;
        }
    }
    let (body, answer) = refused.expect("the broken disk was never met");
    assert_eq!((answer.code, answer.error()), (503, "unavailable"), "{}", answer.text);
    let until = tokio::time::Instant::now() + Duration::from_secs(30);
    while app.alerts(&body).await.code != 200 {
        assert!(tokio::time::Instant::now() < until, "the store never healed");
    }
    app.stop().await;
}

#[tokio::test]
async fn an_answer_waits_for_the_journal() {
    let app = TestApp::start().await;
    app.store.hold();
    let body = webhook(&json!([alert(&json!({"alertname": "x"}))]));
    let request = app.request(Method::POST, PATH).json(&body);
    let answer = tokio::spawn(send(request));
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!answer.is_finished(), "answered before it was durable");
    app.store.release();
    assert_eq!(answer.await.unwrap().code, 200);
    app.stop().await;
}

#[tokio::test]
async fn a_body_that_trickles_in_is_given_up_within_ten_seconds() {
    let app = TestApp::start().await;
    let began = tokio::time::Instant::now();
    let mut stream = TcpStream::connect(app.url.trim_start_matches("http://")).await.unwrap();
    let head = "POST /api/v1/webhook HTTP/1.1\r\nHost: localhost\r\nContent-Type: \
                application/json\r\nContent-Length: 900\r\n\r\n{";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = vec![0; 4096];
    let read = stream.read(&mut answer).await.unwrap();
    let answer = String::from_utf8_lossy(&answer[..read]).into_owned();
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    app.stop().await;
}

#[tokio::test]
async fn a_header_that_never_ends_is_cut_off() {
    let app = TestApp::start().await;
    let mut stream = TcpStream::connect(app.url.trim_start_matches("http://")).await.unwrap();
    stream.write_all(b"POST /api/v1/webhook HTTP/1.1\r\nHo").await.unwrap();
    let mut rest = Vec::new();
    let cut = tokio::time::timeout(Duration::from_secs(40), stream.read_to_end(&mut rest)).await;
    assert!(cut.is_ok(), "the connection is still open");
    app.stop().await;
}

#[tokio::test]
async fn the_bearer_token_is_asked_for_and_follows_its_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("token");
    fs::write(&file, "s3cret\n").unwrap();
    let path = file.clone();
    let app = TestApp::with(move |config| config.webhook.bearer_file = Some(path)).await;
    let body = webhook(&json!([alert(&json!({"alertname": "x"}))]));
    let post = |token: Option<&str>| {
        let request = app.request(Method::POST, PATH).json(&body);
        send(match token {
            Some(token) => request.bearer_auth(token),
            None => request,
        })
    };
    for wrong in [None, Some("wrong"), Some("s3cret2"), Some("")] {
        let answer = post(wrong).await;
        assert_eq!((answer.code, answer.error()), (401, "unauthorized"), "{wrong:?}");
    }
    assert_eq!(post(Some("s3cret")).await.code, 200);
    fs::write(&file, "another one").unwrap();
    assert_eq!(post(Some("s3cret")).await.code, 401);
    assert_eq!(post(Some("another one")).await.code, 200);
    app.stop().await;
}

/// Rows: E22. What the page cache shows after a failed sync proves nothing.
#[tokio::test]
async fn a_sync_that_fails_is_503_and_ends_the_server() {
    let mut app = TestApp::start().await;
    app.store.fail_sync_next(false);
    let answer = app.alerts(&json!([alert(&json!({"alertname": "Lost"}))])).await;
    assert_eq!(answer.code, 503, "{}", answer.text);
    let error = app.broken().await;
    assert!(error.starts_with("the store is broken, and this process has to end: "), "{error}");
}

#[tokio::test]
async fn a_server_whose_commits_fail_is_not_ready_until_one_succeeds() {
    let app = TestApp::start().await;
    app.eventually("/api/v1/clusters/c1", |c| c["verdict"] == "healthy").await;
    assert_eq!(app.get("/-/ready").await.code, 200);
    app.store.fail_next(1_000_000);
    let lost = app.alerts(&json!([alert(&json!({"alertname": "Lost"}))])).await;
    assert_eq!(lost.code, 503, "{}", lost.text);
    app.eventually("/-/ready", |answer| answer["error"]["code"] == "unavailable").await;
    assert_eq!(app.get("/-/healthy").await.code, 200);
    app.store.fail_next(0);
    let until = tokio::time::Instant::now() + Duration::from_secs(25);
    while app.get("/-/ready").await.code != 200 {
        assert!(tokio::time::Instant::now() < until, "a commit that succeeds was not noticed");
    }
    app.stop().await;
}

/// Who gave up and went away leaves its alerts behind, and the room that they take.
/// Rows: E22.
#[tokio::test]
async fn what_waits_for_a_disk_that_hangs_counts_among_the_bodies() {
    let body = webhook(&json!([alert(&json!({"alertname": "x"}))]));
    let room = body.to_string().len() as u64 * 3 / 2;
    let app = TestApp::with(|config| config.webhook.bodies_max = room).await;
    app.store.hang();
    let request = app.request(Method::POST, PATH).json(&body).timeout(Duration::from_secs(3));
    assert!(request.send().await.is_err_and(|error| error.is_timeout()));
    for _ in 0..20 {
        let refused = app.post(PATH, &body).await;
        assert_eq!(refused.code, 503);
        assert!(refused.message().contains("bodies_max"), "{}", refused.text);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    app.store.release();
    let until = tokio::time::Instant::now() + Duration::from_mins(1);
    while app.post(PATH, &body).await.code != 200 {
        assert!(tokio::time::Instant::now() < until, "the room is never given back");
    }
    app.stop().await;
}

/// Rows: E22.
#[tokio::test]
async fn a_server_whose_disk_hangs_stops_all_the_same() {
    let app = TestApp::start().await;
    app.store.hang();
    let body = webhook(&json!([alert(&json!({"alertname": "x"}))]));
    let request = app.request(Method::POST, PATH).json(&body).timeout(Duration::from_secs(3));
    assert!(request.send().await.is_err_and(|error| error.is_timeout()));
    let error = app.stopped().await.unwrap_err();
    assert!(error.contains("cannot tell"), "{error}");
}

/// What was sent is repeated to be known again, not to be sent back whole.
#[tokio::test]
async fn a_wrong_value_is_echoed_in_part() {
    let app = TestApp::start().await;
    let huge = "\u{1}".repeat(1 << 20);
    let mut status = alert(&json!({"alertname": "x"}));
    status["status"] = json!(huge);
    let mut time = alert(&json!({"alertname": "x"}));
    time["startsAt"] = json!(huge);
    for body in [
        json!({"version": huge, "alerts": []}),
        json!({"version": "4", "alerts": huge}),
        json!(huge),
        webhook(&json!([status])),
        webhook(&json!([time])),
    ] {
        let answer = app.post(PATH, &body).await;
        assert_eq!((answer.code, answer.error()), (422, "unusable"));
        assert!(answer.text.len() < 4000, "{} bytes came back", answer.text.len());
    }
    let long = "x".repeat(30_000);
    let attest = json!({"member": long, "reason": "x", "for": "1h"});
    for answer in [
        app.get(&format!("/api/v1/clusters/{long}")).await,
        app.get(&format!("/{long}")).await,
        app.get(&format!("/api/v1/runs?state={long}&{long}=1")).await,
        app.post(&format!("/api/v1/clusters/{long}/pause"), &json!({"reason": "x"})).await,
        app.post("/api/v1/clusters/c1/attest", &attest).await,
        app.post("/api/v1/clusters/c1/pause", &json!({&long: "x"})).await,
        app.post("/api/v1/clusters/c1/pause", &json!({"reason": "x", "for": long})).await,
    ] {
        assert!((400..500).contains(&answer.code), "{}", answer.text);
        assert!(answer.text.len() < 4000, "{} bytes came back", answer.text.len());
    }
    app.stop().await;
}
