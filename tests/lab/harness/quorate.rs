//! quorate itself, as users run it: the built program, a configuration file, HTTP and the CLI.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitStatus},
};

use quorate::http::local;
use rustix::process::Signal;
use serde_json::{Value, json};

use super::{
    Alertmanager, Etcd, GENEROUS, Prometheus, TestDir, Tools, Webhook,
    daemon::Daemon,
    eventually, free_port, free_ports,
    http::{self, Answer},
    tools::repository,
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_quorate");

/// Ports for copies that quorate starts to read them.
const SCRATCH_PORTS: u16 = 10;

/// A configuration to be started, with one cluster and the shipped rules.
#[derive(Debug)]
pub(crate) struct Setup {
    dir: TestDir,
    address: String,
    config: Value,
}

impl Setup {
    /// For `etcd` under the name `cluster`; `propose`, nothing may be lost, looks every second.
    pub(crate) fn of(etcd: &Etcd, cluster: &str) -> Self {
        let dir = TestDir::new("serve");
        let address = format!("127.0.0.1:{}", free_port());
        copy_rules(&repository("rules"), &dir.join("rules"));
        let hosts: serde_json::Map<String, Value> = etcd
            .members()
            .iter()
            .map(|member| {
                let host = json!({"address": member.address, "transport": "local"});
                (member.host.clone(), host)
            })
            .collect();
        let config = json!({
            "listen": address,
            "rules": [dir.join("rules/responses"), dir.join("rules/playbooks")],
            "store": {"embedded": {"path": dir.join("data")}},
            "watch": {"every": "1s"},
            "clusters": [{
                "name": cluster,
                "match": format!("{{cluster=\"{cluster}\"}}"),
                "etcd": etcd_section(etcd),
                "hosts": hosts,
                "mode": "propose",
                "loss_budget": {"revisions": 0},
            }],
        });
        Self { dir, address, config }
    }

    /// Repairs without asking, as long as no more than this is lost.
    pub(crate) fn auto(self, loss_budget: u64) -> Self {
        self.set("/clusters/0/mode", json!("auto"))
            .set("/clusters/0/loss_budget/revisions", json!(loss_budget))
    }

    /// Reads this Prometheus.
    pub(crate) fn prometheus(mut self, prometheus: &Prometheus) -> Self {
        self.config["clusters"][0]["prometheus"] = json!({"url": prometheus.url()});
        self
    }

    /// Reads this Alertmanager, and sends its own alerts there.
    pub(crate) fn alertmanager(mut self, alertmanager: &Alertmanager) -> Self {
        self.config["clusters"][0]["alertmanager"] = json!({"url": alertmanager.url()});
        self
    }

    /// Sets a key of the configuration by JSON pointer; what holds it is made where it is missing.
    pub(crate) fn set(mut self, pointer: &str, value: Value) -> Self {
        let mut place = &mut self.config;
        for part in pointer.split('/').skip(1) {
            place = match part.parse::<usize>() {
                Ok(index) => &mut place[index],
                Err(_) => &mut place[part],
            };
        }
        *place = value;
        self
    }

    /// Works on one more cluster, which is like the first one but for this.
    pub(crate) fn and_another(mut self, name: &str, edit: impl FnOnce(&mut Value)) -> Self {
        let clusters = self.config["clusters"].as_array_mut().unwrap();
        let mut other = clusters[0].clone();
        other["name"] = json!(name);
        other["match"] = json!(format!("{{cluster=\"{name}\"}}"));
        edit(&mut other);
        clusters.push(other);
        self
    }

    /// Gives every response this grace, such as `{for: 3s, samples: 3, max_gap: 2s}`.
    pub(crate) fn grace(self, grace: &str) -> Self {
        self.edit_rules("responses", |text| {
            let lines = text.lines().map(|line| match line.split_once("grace: {") {
                Some((indent, _)) if indent.trim().is_empty() => {
                    format!("{indent}grace: {grace}\n")
                }
                _ => format!("{line}\n"),
            });
            lines.collect()
        })
    }

    /// Changes every copied file of `rules/<kind>`.
    pub(crate) fn edit_rules(self, kind: &str, edit: impl Fn(&str) -> String) -> Self {
        for entry in fs::read_dir(self.dir.join("rules").join(kind)).unwrap().flatten() {
            let text = fs::read_to_string(entry.path()).unwrap();
            fs::write(entry.path(), edit(&text)).unwrap();
        }
        self
    }

    /// Where the configuration, the rules, the store and the log are.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The webhook's URL, known before the start.
    pub(crate) fn webhook(&self) -> String {
        format!("http://{}/api/v1/webhook", self.address)
    }

    /// Writes the configuration and starts nothing.
    pub(crate) fn write(self) -> Quorate {
        let file = self.dir.join("quorate.yaml");
        fs::write(&file, serde_yaml::to_string(&self.config).unwrap()).unwrap();
        let argv = [PROGRAM, "serve", "--config", file.to_str().unwrap()];
        let argv = argv.iter().map(ToString::to_string).collect();
        let daemon = Daemon::new(argv, self.dir.path(), &self.dir.join("log"));
        Quorate { daemon, url: format!("http://{}", self.address), dir: self.dir, token: None }
    }

    /// Starts it and waits until it is ready.
    #[track_caller]
    pub(crate) fn start(self) -> Quorate {
        let mut quorate = self.write();
        quorate.start();
        quorate
    }
}

/// Copies `responses` and `playbooks`, where they are.
fn copy_rules(from: &Path, to: &Path) {
    for kind in ["responses", "playbooks"] {
        fs::create_dir_all(to.join(kind)).unwrap();
        let Ok(entries) = fs::read_dir(from.join(kind)) else { continue };
        for entry in entries.flatten().filter(|entry| entry.path().is_file()) {
            fs::copy(entry.path(), to.join(kind).join(entry.file_name())).unwrap();
        }
    }
}

fn etcd_section(etcd: &Etcd) -> Value {
    let members: Vec<Value> = etcd
        .members()
        .iter()
        .map(|member| {
            json!({
                "name": member.name, "client": member.client, "peer": member.peer,
                "metrics": member.metrics, "host": member.host,
            })
        })
        .collect();
    let (script, dir) = (Etcd::service_script(), etcd.dir());
    let command = |verb: &str| json!([script, dir, verb, "${member}"]);
    let tools = Tools::find();
    let scratch = free_ports(SCRATCH_PORTS);
    let mut section = json!({
        "layout": "hosts",
        "members": members,
        "service": {"command": {
            "start": command("start"), "stop": command("stop"), "status": command("status"),
            "mask": command("mask"), "unmask": command("unmask"),
        }},
        "data_dir": dir.join("${member}/data"),
        "args": "command",
        "tools": {"etcdutl": tools.etcdutl, "etcd": tools.etcd},
        "backups": {"dir": dir.join("backups"), "min_free": "2x"},
        "scratch_ports": format!("{scratch}-{}", scratch + SCRATCH_PORTS - 1),
    });
    if let Some(certs) = etcd.certs() {
        section["tls"] = json!({
            "ca_file": certs.ca(), "cert_file": certs.file("client", "crt"),
            "key_file": certs.file("client", "key"),
        });
    }
    section
}

/// What a verb of the CLI did.
#[derive(Clone, Debug)]
pub(crate) struct Ended {
    /// Exit code.
    pub(crate) code: i32,
    /// Standard output.
    pub(crate) stdout: String,
    /// Standard error.
    pub(crate) stderr: String,
}

/// A server that may be ended and started again on the same store. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Quorate {
    daemon: Daemon,
    url: String,
    dir: TestDir,
    token: Option<String>,
}

impl Quorate {
    /// Sends this token with every request and verb from now on.
    pub(crate) fn set_token(&mut self, token: &str) {
        fs::write(self.dir.join("token"), token).unwrap();
        self.token = Some(token.to_owned());
    }

    /// The process, for wrappers, variables and signals.
    pub(crate) fn daemon(&mut self) -> &mut Daemon {
        &mut self.daemon
    }

    /// Starts it and waits until it is ready.
    #[track_caller]
    pub(crate) fn start(&mut self) {
        self.daemon.start();
        let ready = format!("{}/-/ready", self.url);
        eventually(GENEROUS, "quorate is ready", || {
            assert!(self.daemon.is_running(), "quorate ended:\n{}", self.daemon.log());
            http::is_ready(&ready)
        });
    }

    /// SIGKILL.
    pub(crate) fn kill9(&mut self) {
        self.daemon.kill9();
    }

    /// Changes its configuration file; what is in force stays.
    pub(crate) fn edit(&self, edit: impl FnOnce(&mut Value)) {
        let file = self.path("quorate.yaml");
        let mut config = serde_yaml::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
        edit(&mut config);
        fs::write(file, serde_yaml::to_string(&config).unwrap()).unwrap();
    }

    /// SIGHUP, and waits until its log says this once more than before.
    #[track_caller]
    pub(crate) fn hang_up(&mut self, told: &str) {
        let times = |quorate: &Self| quorate.log().matches(told).count();
        let before = times(self);
        self.daemon.signal(Signal::HUP);
        eventually(GENEROUS, &format!("it is told that {told}"), || times(self) > before);
    }

    /// SIGTERM, and how it ended.
    pub(crate) fn sigterm(&mut self) -> ExitStatus {
        self.daemon.sigterm()
    }

    /// Its log.
    pub(crate) fn log(&self) -> String {
        self.daemon.log()
    }

    /// Base URL.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// The webhook's URL.
    pub(crate) fn webhook(&self) -> String {
        format!("{}/api/v1/webhook", self.url)
    }

    /// A path in its folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// `GET /api/v1/<path>`.
    pub(crate) fn get(&self, path: &str) -> Answer {
        self.send(reqwest::Method::GET, path, None)
    }

    /// `POST /api/v1/<path>`.
    pub(crate) fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(reqwest::Method::POST, path, Some(body))
    }

    /// Posts to the webhook.
    pub(crate) fn receive(&self, webhook: &Webhook) -> Answer {
        self.post("webhook", webhook.body())
    }

    /// The only metric of this name with these labels.
    #[track_caller]
    pub(crate) fn metric(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let answer = http::get(&format!("{}/metrics", self.url));
        assert_eq!(answer.code, 200, "{}", answer.text);
        http::series(&answer.text, name, labels)
    }

    /// Runs a verb of the CLI against this server.
    pub(crate) fn cli(&self, args: &[&str]) -> Ended {
        let mut command = Command::new(PROGRAM);
        command.args(args).env("QUORATE_SERVER", &self.url).current_dir(self.dir.path());
        if self.token.is_some() {
            command.arg("--token-file").arg(self.dir.join("token"));
        }
        let output = command.output().unwrap();
        Ended {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    fn send(&self, method: reqwest::Method, path: &str, body: Option<&Value>) -> Answer {
        let mut request = http::request(method, &format!("{}/api/v1/{path}", self.url));
        if let Some(body) = body {
            request = request.json(body);
        }
        // without tokens of its own: what the server made for orders
        let made = local::read(&self.dir.join("data").join(local::FILE)).ok();
        if let Some(token) = self.token.as_ref().or(made.as_ref()) {
            request = request.bearer_auth(token);
        }
        http::send(request)
    }
}
