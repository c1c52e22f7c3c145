//! A real Prometheus: scrapes and evaluates every second.

use std::fs;

use serde_json::{Value, json};

use super::{
    Alertmanager, Etcd, GENEROUS, TestDir, Tools, daemon::Daemon, eventually, free_port, http,
    tools::repository,
};

/// What Prometheus is to do; `start` runs it.
#[derive(Debug)]
pub(crate) struct Wanted {
    scrapes: Vec<Value>,
    rules: Option<String>,
    alertmanagers: Vec<String>,
}

impl Wanted {
    /// Scrapes the metrics listeners of a cluster as job `etcd`, labelled with the cluster's name.
    pub(crate) fn scrape_etcd(self, etcd: &Etcd, cluster: &str) -> Self {
        let urls: Vec<String> =
            etcd.members().iter().map(|member| member.metrics.clone()).collect();
        self.scrape("etcd", &urls, Some(cluster))
    }

    /// Scrapes `http://` URLs as a job.
    pub(crate) fn scrape(mut self, job: &str, urls: &[String], cluster: Option<&str>) -> Self {
        let targets: Vec<&str> = urls.iter().map(|url| host_of(url)).collect();
        let labels = cluster.map_or(json!({}), |cluster| json!({"cluster": cluster}));
        self.scrapes.push(json!({
            "job_name": job, "static_configs": [{"targets": targets, "labels": labels}],
        }));
        self
    }

    /// The shipped alert rules, each `for` replaced by this duration.
    pub(crate) fn shipped_rules(mut self, wait: &str) -> Self {
        let text = fs::read_to_string(repository("rules/alerts/etcd.yaml")).unwrap();
        let lines = text.lines().map(|line| match line.split_once("for: ") {
            Some((indent, _)) if indent.trim().is_empty() => format!("{indent}for: {wait}\n"),
            _ => format!("{line}\n"),
        });
        self.rules = Some(lines.collect());
        self
    }

    /// Sends alerts there.
    pub(crate) fn alert_to(mut self, alertmanager: &Alertmanager) -> Self {
        self.alertmanagers.push(alertmanager.url());
        self
    }

    /// Starts it and waits until it is ready.
    #[track_caller]
    pub(crate) fn start(self) -> Prometheus {
        let dir = TestDir::new("prometheus");
        let rules = self.rules.map(|rules| {
            fs::write(dir.join("rules.yml"), rules).unwrap();
            "rules.yml"
        });
        let targets: Vec<&str> = self.alertmanagers.iter().map(|url| host_of(url)).collect();
        let config = json!({
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": rules.into_iter().collect::<Vec<_>>(),
            "alerting": {"alertmanagers": [{"static_configs": [{"targets": targets}]}]},
            "scrape_configs": self.scrapes,
        });
        fs::write(dir.join("prometheus.yml"), config.to_string()).unwrap();
        let address = format!("127.0.0.1:{}", free_port());
        let argv = vec![
            Tools::find().prometheus.display().to_string(),
            "--config.file=prometheus.yml".to_owned(),
            "--storage.tsdb.path=data".to_owned(),
            // Alerts are sent again this often while they fire; the default is a minute.
            "--rules.alert.resend-delay=5s".to_owned(),
            format!("--web.listen-address={address}"),
        ];
        let daemon = Daemon::new(argv, dir.path(), &dir.join("log"));
        let mut prometheus = Prometheus { daemon, url: format!("http://{address}"), _dir: dir };
        prometheus.start_again();
        prometheus
    }
}

/// A running Prometheus. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Prometheus {
    daemon: Daemon,
    url: String,
    _dir: TestDir,
}

impl Prometheus {
    /// Begins with nothing to do.
    pub(crate) fn wanted() -> Wanted {
        Wanted { scrapes: Vec::new(), rules: None, alertmanagers: Vec::new() }
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
        eventually(GENEROUS, "Prometheus is ready", || http::is_ready(&ready));
    }

    /// The names of the alerts that fire now, sorted, once per series.
    pub(crate) fn firing(&self) -> Vec<String> {
        let answer = http::get(&format!("{}/api/v1/alerts", self.url)).json();
        let alerts = answer["data"]["alerts"].as_array().unwrap();
        let firing = alerts.iter().filter(|alert| alert["state"] == "firing");
        let mut names: Vec<String> =
            firing.map(|alert| alert["labels"]["alertname"].as_str().unwrap().to_owned()).collect();
        names.sort_unstable();
        names
    }

    /// The value of an expression that yields at most one series now.
    #[track_caller]
    pub(crate) fn query(&self, expr: &str) -> Option<f64> {
        let url = format!("{}/api/v1/query", self.url);
        let request = http::request(reqwest::Method::GET, &url).query(&[("query", expr)]);
        let answer = http::send(request).json();
        let value = answer["data"]["result"][0]["value"][1].as_str()?;
        Some(value.parse().unwrap())
    }
}

fn host_of(url: &str) -> &str {
    url.trim_start_matches("http://").trim_end_matches('/')
}
