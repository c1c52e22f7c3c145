//! A real Alertmanager of either generation that posts to one webhook, without waiting.

use std::{
    fs,
    time::{Duration, SystemTime},
};

use serde_json::{Value, json};

use super::{GENEROUS, TestDir, Tools, daemon::Daemon, eventually, free_port, http};

/// Which Alertmanager.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Generation {
    /// Of the system's own release.
    Debian,
    /// One generation newer.
    Newer,
}

/// What Alertmanager is to do; `start` runs it.
#[derive(Debug)]
pub(crate) struct Wanted {
    generation: Generation,
    webhook: String,
    bearer: Option<String>,
    group_by: Vec<String>,
    group_interval: String,
    repeat_interval: String,
}

impl Wanted {
    /// Uses this generation instead of the system's own.
    pub(crate) fn generation(mut self, generation: Generation) -> Self {
        self.generation = generation;
        self
    }

    /// Sends `Authorization: Bearer …`.
    pub(crate) fn bearer(mut self, token: &str) -> Self {
        self.bearer = Some(token.to_owned());
        self
    }

    /// Groups by these labels instead of `cluster` and `alertname`.
    pub(crate) fn group_by(mut self, labels: &[&str]) -> Self {
        self.group_by = labels.iter().map(ToString::to_string).collect();
        self
    }

    /// How soon a changed group is sent again (1s), and an unchanged one (1h).
    pub(crate) fn intervals(mut self, group: &str, repeat: &str) -> Self {
        (self.group_interval, self.repeat_interval) = (group.to_owned(), repeat.to_owned());
        self
    }

    /// Starts it and waits until it is ready.
    #[track_caller]
    pub(crate) fn start(self) -> Alertmanager {
        let dir = TestDir::new("alertmanager");
        let http_config = self.bearer.map_or(
            json!({}),
            |token| json!({"authorization": {"type": "Bearer", "credentials": token}}),
        );
        let config = json!({
            "route": {
                "receiver": "quorate", "group_by": self.group_by, "group_wait": "0s",
                "group_interval": self.group_interval, "repeat_interval": self.repeat_interval,
            },
            "receivers": [{
                "name": "quorate",
                "webhook_configs": [{"url": self.webhook, "http_config": http_config}],
            }],
        });
        fs::write(dir.join("alertmanager.yml"), config.to_string()).unwrap();
        let tools = Tools::find();
        let program = match self.generation {
            Generation::Debian => &tools.alertmanager,
            Generation::Newer => &tools.alertmanager_new,
        };
        let address = format!("127.0.0.1:{}", free_port());
        let argv = vec![
            program.display().to_string(),
            "--config.file=alertmanager.yml".to_owned(),
            "--storage.path=data".to_owned(),
            // Empty: alone, without gossip.
            "--cluster.listen-address=".to_owned(),
            format!("--web.listen-address={address}"),
        ];
        let daemon = Daemon::new(argv, dir.path(), &dir.join("log"));
        let mut alertmanager = Alertmanager { daemon, url: format!("http://{address}"), _dir: dir };
        alertmanager.start_again();
        alertmanager
    }
}

/// A running Alertmanager. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Alertmanager {
    daemon: Daemon,
    url: String,
    _dir: TestDir,
}

impl Alertmanager {
    /// Begins with one that posts to `webhook`.
    pub(crate) fn posting_to(webhook: &str) -> Wanted {
        Wanted {
            generation: Generation::Debian,
            webhook: webhook.to_owned(),
            bearer: None,
            group_by: vec!["cluster".to_owned(), "alertname".to_owned()],
            group_interval: "1s".to_owned(),
            repeat_interval: "1h".to_owned(),
        }
    }

    /// Base URL.
    pub(crate) fn url(&self) -> String {
        self.url.clone()
    }

    /// Ends it.
    pub(crate) fn stop(&mut self) {
        self.daemon.sigterm();
    }

    /// Starts it again on the same data and port.
    #[track_caller]
    pub(crate) fn start_again(&mut self) {
        self.daemon.start();
        let ready = format!("{}/-/ready", self.url);
        eventually(GENEROUS, "Alertmanager is ready", || http::is_ready(&ready));
    }

    /// Gives it one firing alert, as Prometheus does.
    #[track_caller]
    pub(crate) fn fire(&self, labels: &Value) {
        self.post_alerts(&json!([{"labels": labels}]));
    }

    /// `POST /api/v2/alerts`.
    #[track_caller]
    pub(crate) fn post_alerts(&self, alerts: &Value) {
        let answer = http::post(&format!("{}/api/v2/alerts", self.url), alerts);
        assert_eq!(answer.code, 200, "{}", answer.text);
    }

    /// `GET /api/v2/alerts`.
    pub(crate) fn alerts(&self) -> Value {
        http::get(&format!("{}/api/v2/alerts", self.url)).json()
    }

    /// Silences what carries all of these labels, for an hour; the silence's id.
    #[track_caller]
    pub(crate) fn silence(&self, labels: &[(&str, &str)]) -> String {
        let matchers: Vec<Value> = labels
            .iter()
            .map(|(name, value)| {
                json!({"name": name, "value": value, "isRegex": false, "isEqual": true})
            })
            .collect();
        let now = SystemTime::now();
        let at = |time: SystemTime| {
            jiff::Timestamp::try_from(time).expect("a time of this century").to_string()
        };
        let silence = json!({
            "matchers": matchers, "startsAt": at(now), "endsAt": at(now + Duration::from_hours(1)),
            "createdBy": "lab", "comment": "a test",
        });
        let answer = http::post(&format!("{}/api/v2/silences", self.url), &silence);
        assert_eq!(answer.code, 200, "{}", answer.text);
        answer.json()["silenceID"].as_str().unwrap().to_owned()
    }

    /// Ends a silence.
    #[track_caller]
    pub(crate) fn unsilence(&self, id: &str) {
        let url = format!("{}/api/v2/silence/{id}", self.url);
        let answer = http::send(http::request(reqwest::Method::DELETE, &url));
        assert_eq!(answer.code, 200, "{}", answer.text);
    }
}
