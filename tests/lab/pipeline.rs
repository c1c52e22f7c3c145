//! The way of an alert through real Prometheus and real Alertmanagers into quorate.
//!
//! What may go wrong on that way: refused webhooks, a restarted Alertmanager, a webhook that never
//! came, silences, tokens, repeats. What quorate does with what arrives is shown elsewhere.

use std::{collections::BTreeSet, fs, path::PathBuf};

use serde_json::{Value, json};

use crate::{
    harness::{
        Alertmanager, Etcd, GENEROUS, Generation, Layout, Prometheus, Quorate, Relay, Setup,
        Webhook, eventually, http, store,
    },
    story::{
        CLUSTER, assert_rebuilt, attempts, automatic, await_reason, await_run, await_seen, cluster,
        incidents, reason, runs,
    },
};

const INSUFFICIENT: &str = "etcdInsufficientMembers";

/// Prometheus with the shipped rules, once it has scraped all of `etcd`.
fn prometheus(etcd: &Etcd, alertmanager: &Alertmanager) -> Prometheus {
    let prometheus = Prometheus::wanted()
        .scrape_etcd(etcd, CLUSTER)
        .shipped_rules("1s")
        .alert_to(alertmanager)
        .start();
    eventually(GENEROUS, "all members are scraped", || {
        prometheus.query("sum(up{job=\"etcd\"})") == Some(3.0)
    });
    prometheus
}

/// The state of the only alert of this name: `firing`, `resolved`, or none.
fn state(quorate: &Quorate, name: &str) -> Option<String> {
    let alert = listed(quorate).into_iter().find(|alert| alert["labels"]["alertname"] == name)?;
    Some(alert["state"].as_str().unwrap().to_owned())
}

fn listed(quorate: &Quorate) -> Vec<Value> {
    quorate.get("alerts?limit=1000").json()["items"].as_array().unwrap().clone()
}

fn healed_through(generation: Generation) {
    let etcd = Layout::of(3).start();
    let revision = etcd.put_many("m1", "k", 200);
    let setup = automatic(&etcd);
    let alertmanager = Alertmanager::posting_to(&setup.webhook()).generation(generation).start();
    let prometheus = prometheus(&etcd, &alertmanager);
    let quorate = setup.prometheus(&prometheus).alertmanager(&alertmanager).start();
    await_seen(&quorate, revision);
    etcd.destroy("m2");
    etcd.destroy("m3");
    await_run(&quorate, &["succeeded"]);
    assert_rebuilt(&etcd, &quorate, 200);
    eventually(GENEROUS, "the alerts resolve on the same way", || {
        state(&quorate, INSUFFICIENT).as_deref() == Some("resolved")
    });
    assert_eq!(runs(&quorate).len(), 1, "one loss, one run, however many alerts told of it");
    assert_eq!(attempts(&quorate, "succeeded"), 1.0);
}

/// Rows: B8, B14.
#[test]
fn what_prometheus_sees_is_healed_through_the_alertmanager_of_the_older_generation() {
    healed_through(Generation::Debian);
}

/// Rows: B8, B14.
#[test]
fn what_prometheus_sees_is_healed_through_the_alertmanager_of_the_newer_generation() {
    healed_through(Generation::Newer);
}

/// Rows: B8. A webhook that is refused, and an Alertmanager that restarts, cost time and no alert.
#[test]
fn nothing_is_lost_while_the_webhook_is_refused_and_alertmanager_restarts() {
    let etcd = Layout::of(3).start();
    let revision = etcd.put_many("m1", "k", 100);
    let relay = Relay::start();
    relay.answer(503);
    let mut alertmanager = Alertmanager::posting_to(&relay.url()).start();
    let prometheus = prometheus(&etcd, &alertmanager);
    // Without its Alertmanager in the inventory: quorate learns from the webhook or not at all.
    let quorate = automatic(&etcd).prometheus(&prometheus).start();
    await_seen(&quorate, revision);
    etcd.destroy("m1");
    etcd.destroy("m2");
    let refused = || relay.seen().iter().filter(|seen| seen.code == 503).count();
    eventually(GENEROUS, "it was refused and sent again", || refused() >= 3);
    alertmanager.stop();
    alertmanager.start_again();
    let before = refused();
    eventually(GENEROUS, "refused after the restart too", || refused() > before);
    assert!(listed(&quorate).is_empty() && runs(&quorate).is_empty(), "nobody else told quorate");
    relay.forward_to(&quorate.webhook());
    await_run(&quorate, &["succeeded"]);
    assert_rebuilt(&etcd, &quorate, 100);
    eventually(GENEROUS, "the alert resolves", || {
        state(&quorate, INSUFFICIENT).as_deref() == Some("resolved")
    });
}

/// Not in the rows: an alert is a state, and its Alertmanager holds it.
#[test]
fn what_no_webhook_told_is_learnt_from_alertmanager_at_start() {
    let etcd = Layout::of(1).start();
    let swallowed = Relay::start();
    let alertmanager = Alertmanager::posting_to(&swallowed.url()).start();
    let fire = |name: &str, cluster: &str| {
        alertmanager.fire(&json!({"alertname": name, "cluster": cluster}));
    };
    fire("etcdNoLeader", CLUSTER);
    fire(INSUFFICIENT, CLUSTER);
    fire("etcdMembersDown", "another");
    alertmanager.silence(&[("alertname", INSUFFICIENT)]);
    eventually(GENEROUS, "Alertmanager takes them for delivered", || swallowed.seen().len() >= 2);
    let mut quorate = automatic(&etcd).alertmanager(&alertmanager).start();
    eventually(GENEROUS, "it is known", || state(&quorate, "etcdNoLeader").is_some());
    let silenced: Vec<(String, bool)> = listed(&quorate)
        .iter()
        .map(|alert| {
            assert_eq!(alert["state"], "firing");
            let name = alert["labels"]["alertname"].as_str().unwrap().to_owned();
            (name, alert["silenced"].as_bool().unwrap())
        })
        .collect();
    let silenced: BTreeSet<(String, bool)> = silenced.into_iter().collect();
    let expected = [("etcdNoLeader".to_owned(), false), (INSUFFICIENT.to_owned(), true)];
    assert_eq!(silenced, BTreeSet::from(expected), "of this cluster only");
    // What no webhook delivered is context, however long it fires: it opens nothing.
    let undelivered = |alert: &Value| alert["undelivered"] == true;
    assert!(listed(&quorate).iter().all(undelivered), "{:#?}", listed(&quorate));
    let mut looks = BTreeSet::new();
    eventually(GENEROUS, "quorate looks four times", || {
        looks.extend(cluster(&quorate)["looked_at"].as_str().map(str::to_owned));
        looks.len() >= 4
    });
    assert_eq!(incidents(&quorate, "etcd-quorum-lost"), Vec::<Value>::new());
    quorate.kill9();
    // It ends while nobody listens; that is learnt at the next start.
    alertmanager.post_alerts(&json!([{
        "labels": {"alertname": "etcdNoLeader", "cluster": CLUSTER},
        "startsAt": "2026-01-01T00:00:00Z", "endsAt": "2026-01-01T00:00:01Z",
    }]));
    quorate.start();
    eventually(GENEROUS, "its end is known", || {
        state(&quorate, "etcdNoLeader").as_deref() == Some("resolved")
    });
}

/// Not in the rows: a person who silenced the alert wants no repair.
#[test]
fn a_silenced_alert_is_context_and_never_a_trigger() {
    let etcd = Layout::of(3).start();
    let revision = etcd.put_many("m1", "k", 50);
    let setup = automatic(&etcd);
    let alertmanager = Alertmanager::posting_to(&setup.webhook()).start();
    let silence = alertmanager.silence(&[("cluster", CLUSTER)]);
    let mut quorate = setup.alertmanager(&alertmanager).start();
    await_seen(&quorate, revision);
    etcd.destroy("m2");
    etcd.destroy("m3");
    alertmanager.fire(&json!({"alertname": INSUFFICIENT, "cluster": CLUSTER}));
    quorate.kill9();
    quorate.start();
    eventually(GENEROUS, "it is known as silenced", || {
        listed(&quorate).iter().any(|alert| alert["silenced"] == true)
    });
    // Every look is a chance to act; the grace takes three of them.
    let mut looks = BTreeSet::new();
    eventually(GENEROUS, "eight looks find the quorum lost", || {
        let cluster = cluster(&quorate);
        if cluster["verdict"] == "lost" {
            looks.insert(cluster["looked_at"].as_str().unwrap().to_owned());
        }
        assert!(runs(&quorate).is_empty(), "a silenced alert led to a run");
        looks.len() >= 8
    });
    assert!(["none", "silenced"].contains(&reason(&quorate).as_str()), "{}", reason(&quorate));
    // Nothing else held it: without the silence it is repaired.
    alertmanager.unsilence(&silence);
    quorate.kill9();
    quorate.start();
    eventually(GENEROUS, "a run begins", || !runs(&quorate).is_empty());
}

/// Not in the rows: what is not signed with the token is not taken.
#[test]
fn alertmanager_is_let_in_by_its_token_only() {
    let etcd = Layout::of(1).start();
    let setup = Setup::of(&etcd, CLUSTER);
    let file = setup.dir().join("webhook-token");
    fs::write(&file, "s3cret\n").unwrap();
    let setup = setup.set("/webhook", json!({"auth": {"bearer_file": file}}));
    let url = setup.webhook();
    let quorate = setup.start();
    let answered = |code: &str| {
        let labels = [("source", "alertmanager"), ("code", code)];
        quorate.metric("quorate_webhook_requests_total", &labels).unwrap_or(0.0)
    };
    for wrong in [Alertmanager::posting_to(&url), Alertmanager::posting_to(&url).bearer("guess")] {
        let (alertmanager, before) = (wrong.start(), answered("401"));
        alertmanager.fire(&json!({"alertname": "etcdNoLeader", "cluster": CLUSTER}));
        eventually(GENEROUS, "it is refused", || answered("401") > before);
    }
    assert_eq!(state(&quorate, "etcdNoLeader"), None);
    let right = Alertmanager::posting_to(&url).generation(Generation::Newer).bearer("s3cret");
    let right = right.start();
    right.fire(&json!({"alertname": "etcdNoLeader", "cluster": CLUSTER}));
    eventually(GENEROUS, "it is taken", || state(&quorate, "etcdNoLeader").is_some());
    eventually(GENEROUS, "it is answered", || answered("200") == 1.0);
}

/// Not in the rows: the bodies of both generations, as they were sent.
#[test]
fn every_recorded_body_of_both_generations_is_taken() {
    let etcd = Layout::of(1).start();
    let quorate = Setup::of(&etcd, CLUSTER).start();
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/alertmanager");
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    names.sort();
    assert!(names.len() >= 12, "{names:?}");
    for name in &names {
        let webhook = Webhook::fixture(name);
        let alerts = webhook.body()["alerts"].as_array().unwrap();
        for method in [reqwest::Method::POST, reqwest::Method::PUT] {
            let request = http::request(method, &quorate.webhook()).json(webhook.body());
            let answer = http::send(request);
            assert_eq!(answer.code, 200, "{name}: {}", answer.text);
            assert_eq!(answer.json()["accepted"], alerts.len(), "{name}");
            assert_eq!(answer.json()["invalid"], 0, "{name}");
        }
        let known: BTreeSet<String> =
            listed(&quorate).iter().map(|alert| alert["fingerprint"].to_string()).collect();
        for alert in alerts {
            assert!(known.contains(&alert["fingerprint"].to_string()), "{name}: {alert:#}");
        }
    }
    let truncated = quorate.metric("quorate_alerts_truncated_total", &[]);
    assert!(truncated > Some(0.0), "{truncated:?}");
}

/// Not in the rows: `repeat_interval` and pairs of Alertmanagers cost nothing.
#[test]
fn an_unchanged_repeat_writes_nothing_and_changes_nothing() {
    let etcd = Layout::of(1).start();
    // One look at the start and no more for minutes: what is written afterwards, the repeats have written.
    let setup = automatic(&etcd).set("/watch/every", json!("5m"));
    let pair = [Generation::Debian, Generation::Newer].map(|generation| {
        let wanted = Alertmanager::posting_to(&setup.webhook()).generation(generation);
        wanted.intervals("1s", "1s").start()
    });
    let quorate = setup.start();
    let data = quorate.path("data");
    let repeated = || quorate.metric("quorate_alerts_deduplicated_total", &[]).unwrap_or(0.0);
    let fire = |labels: Value| pair.iter().for_each(|alertmanager| alertmanager.fire(&labels));

    // One that no response listens to: not a byte.
    fire(json!({"alertname": "Watchdog", "cluster": CLUSTER}));
    // Some seconds, in which the log of the first write is copied back.
    eventually(GENEROUS, "both have sent it again", || repeated() >= 9.0);
    let (before, count) = (store::bytes(&data), repeated());
    eventually(GENEROUS, "four repeats more", || repeated() >= count + 4.0);
    assert!(before == store::bytes(&data), "a repeat wrote to the store");

    // One that has an incident, which goes on being looked at: not a row, and nothing is different.
    fire(json!({"alertname": "etcdNoLeader", "cluster": CLUSTER}));
    await_reason(&quorate, "not_confirmed");
    let (before, count) = (store::rows(&data), repeated());
    let incident = incidents(&quorate, "etcd-quorum-lost");
    eventually(GENEROUS, "repeats of both alerts", || repeated() >= count + 8.0);
    assert_eq!(before, store::rows(&data));
    assert_eq!(incident, incidents(&quorate, "etcd-quorum-lost"));
    assert_eq!(before.alerts.len(), 2);
}
