//! The stream of what is committed.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    api::asking,
    app::{TestApp, quorum_alert},
};

const GENEROUS: Duration = Duration::from_secs(30);

/// One event, as it came.
#[derive(Clone, Debug, Default, PartialEq)]
struct Event {
    name: String,
    id: Option<u64>,
    data: Value,
}

/// A reader of the stream.
struct Reader {
    response: reqwest::Response,
    text: String,
}

impl Reader {
    async fn open(app: &TestApp, last: Option<u64>) -> Self {
        let mut request = app.request(Method::GET, "/api/v1/stream");
        if let Some(last) = last {
            request = request.header("Last-Event-ID", last.to_string());
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { response, text: String::new() }
    }

    /// The next event; `None` at the end.
    async fn next(&mut self) -> Option<Event> {
        loop {
            while let Some(end) = self.text.find("\n\n") {
                let event = parse(&self.text[..end]);
                self.text.drain(..end + 2);
                if !event.name.is_empty() {
                    return Some(event);
                }
            }
            let chunk = tokio::time::timeout(GENEROUS, self.response.chunk()).await;
            let chunk = chunk.expect("nothing comes").unwrap()?;
            self.text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }

    /// Events up to the first of this kind.
    async fn until(&mut self, kind: &str) -> Vec<Event> {
        let mut seen = Vec::new();
        loop {
            seen.push(self.next().await.expect("it ended"));
            if seen.last().unwrap().data["kind"] == kind {
                return seen;
            }
        }
    }
}

fn parse(block: &str) -> Event {
    let mut event = Event::default();
    for line in block.lines() {
        match line.split_once(':').map(|(field, value)| (field, value.trim_start())) {
            Some(("event", name)) => name.clone_into(&mut event.name),
            Some(("id", id)) => event.id = Some(id.parse().unwrap()),
            Some(("data", data)) => event.data = serde_json::from_str(data).unwrap(),
            _ => {}
        }
    }
    event
}

#[tokio::test]
async fn a_repair_is_followed_from_its_alert_to_its_question_and_on_after_a_break() {
    let app = TestApp::start().await;
    let mut reader = Reader::open(&app, None).await;
    let first = reader.next().await.unwrap();
    assert_eq!(first.name, "resync", "who is new reads everything first");
    app.eventually("/api/v1/clusters/c1", |c| c["verdict"] == "healthy").await;
    app.patient.set("m2", quorate::sim::State::Gone);
    app.patient.set("m3", quorate::sim::State::Gone);
    app.alerts(&json!([quorum_alert()])).await;
    let seen = reader.until("approval_asked").await;
    for (name, kind) in [
        ("alert", "alerts"),
        ("incident", "incident_opened"),
        ("decision", "decided"),
        ("incident", "incident_confirmed"),
        ("run", "run_started"),
        ("step", "step_started"),
        ("step", "step_done"),
        ("run", "approval_asked"),
    ] {
        let found = seen.iter().find(|event| event.name == name && event.data["kind"] == kind);
        let found = found.unwrap_or_else(|| panic!("no {name} {kind} in {seen:#?}"));
        assert_eq!(found.data["cluster"], "c1");
        assert_eq!(found.id.is_none(), name == "alert", "records have a place, alerts none");
    }
    let ids: Vec<u64> = seen.iter().filter_map(|event| event.id).collect();
    assert!(ids.is_sorted_by(|a, b| a < b), "one cluster's records ascend: {ids:?}");

    drop(reader);
    let middle = ids[ids.len() / 2];
    let mut again = Reader::open(&app, Some(middle)).await;
    let rest: Vec<u64> = again.until("approval_asked").await.iter().filter_map(|e| e.id).collect();
    assert_eq!(rest, ids[ids.len() / 2 + 1..], "no gap and nothing twice");
    let mut lost = Reader::open(&app, Some(1_000_000)).await;
    assert_eq!(lost.next().await.unwrap().name, "resync");
    app.stop().await;
}

#[tokio::test]
async fn a_stop_ends_the_streams_and_does_not_wait_for_their_readers() {
    let (app, _) = asking().await;
    let mut reader = Reader::open(&app, None).await;
    assert_eq!(reader.next().await.unwrap().name, "resync");
    tokio::time::timeout(Duration::from_secs(8), app.stop())
        .await
        .expect("a reader holds the stop up");
    assert_eq!(reader.next().await, None);
}

#[tokio::test]
async fn the_places_of_streams_are_bounded_free_again_when_a_reader_goes_and_no_other_s() {
    let app = TestApp::start().await;
    let mut readers = Vec::new();
    for _ in 0..64 {
        readers.push(Reader::open(&app, None).await);
    }
    let refused = app.get("/api/v1/stream").await;
    assert_eq!((refused.code, refused.error()), (503, "unavailable"));
    assert_eq!(app.get("/api/v1/clusters").await.code, 200, "what is read has places of its own");
    assert_eq!(app.alerts(&json!([quorum_alert()])).await.code, 200);
    readers.pop();
    let until = tokio::time::Instant::now() + GENEROUS;
    loop {
        let response = app.request(Method::GET, "/api/v1/stream").send().await.unwrap();
        if response.status() == 200 {
            break;
        }
        assert!(tokio::time::Instant::now() < until, "the place is never free again");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    drop(readers);
    app.stop().await;
}
