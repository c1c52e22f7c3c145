//! A started server on a loopback port of its own, and small requests to it.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use quorate::{
    app::{App, Origin, Parts, Targets},
    config::{self, Config, Sources},
    domain::{
        inventory::{Cluster, Mode},
        rules::{self, Rules},
    },
    engine::clock::Clock,
    http::local,
    sim::FakeTarget,
    store::{MemoryStore, memory},
    targets::{Target, catalogue::catalogue},
};
use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Longer than anything here takes on a busy machine.
const GENEROUS: Duration = Duration::from_mins(1);

/// A server with one modelled cluster `c1` of three members.
#[derive(Debug)]
pub(crate) struct TestApp {
    app: App,
    pub(crate) patient: FakeTarget,
    pub(crate) store: Arc<MemoryStore>,
    pub(crate) url: String,
    client: Client,
    /// What orders need, where no tokens are configured.
    pub(crate) token: Option<String>,
    folder: TempDir,
}

/// Status and JSON body (null where it is none).
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) code: u16,
    pub(crate) text: String,
    pub(crate) json: Value,
}

impl Answer {
    /// The `code` of a refusal.
    pub(crate) fn error(&self) -> &str {
        self.json["error"]["code"].as_str().unwrap_or_default()
    }

    /// The `message` of a refusal.
    pub(crate) fn message(&self) -> &str {
        self.json["error"]["message"].as_str().unwrap_or_default()
    }
}

/// The shipped rules with a grace of one second.
fn quick_rules() -> Vec<(String, String)> {
    let root = repository("rules");
    let mut files = Vec::new();
    for kind in ["responses", "playbooks"] {
        for entry in fs::read_dir(root.join(kind)).unwrap() {
            let path = entry.unwrap().path();
            let text = fs::read_to_string(&path).unwrap();
            let quick = "grace: {for: 1s, samples: 2, max_gap: 1s}";
            let lines = text.lines().map(|line| match line.split_once("grace: {") {
                Some((indent, _)) if indent.trim().is_empty() => format!("{indent}{quick}\n"),
                _ => format!("{line}\n"),
            });
            files.push((path.display().to_string(), lines.collect()));
        }
    }
    files
}

/// An inventory entry of three members.
pub(crate) fn cluster_file(name: &str) -> String {
    let member = |n: u32| {
        format!(
            "    - {{name: m{n}, client: \"http://10.0.0.{n}:2379\", peer: \"http://10.0.0.{n}:2380\", host: h{n}}}\n"
        )
    };
    let members: String = (1..=3).map(member).collect();
    format!(
        "name: {name}\nmatch: '{{cluster=\"{name}\"}}'\netcd:\n  layout: hosts\n  members:\n{members}  \
         service: {{command: {{start: [/a], stop: [/b], status: [/c], mask: [/d], unmask: [/e]}}}}\n  \
         data_dir: \"/srv/etcd/${{member}}\"\nhosts: {{h1: {{transport: local}}, h2: {{transport: local}}, h3: {{transport: local}}}}\n"
    )
}

/// A path in the repository.
pub(crate) fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

impl TestApp {
    /// Without tokens: everybody on this machine reads, and who has the server's own token orders.
    pub(crate) async fn start() -> Self {
        Self::with(|_| {}).await
    }

    /// With a changed configuration.
    pub(crate) async fn with(change: impl FnOnce(&mut Config)) -> Self {
        drop(rustls::crypto::ring::default_provider().install_default());
        let patient = FakeTarget::new(["m1", "m2", "m3"]).named("c1").revision(100);
        let mut cluster = patient.inventory();
        cluster.mode = Mode::Propose;
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config::without_file(folder.path());
        config.listen.set_port(0);
        config.watch.every = Duration::from_millis(200);
        config.shutdown_grace = Duration::from_secs(1);
        config.store = folder.path().to_owned();
        change(&mut config);
        let catalogue = catalogue();
        let (rules, found) = rules::load(&quick_rules(), &catalogue);
        assert!(!rules::has_errors(&found), "{found:#?}");
        let clusters = vec![Arc::new(cluster)];
        Self::begin(folder, None, (config, rules), clusters, patient).await
    }

    /// From files, which a reload reads again: `quorate.yaml`, `clusters.d/c1.yaml` and the shipped
    /// rules in `rules`, with a grace of one second.
    pub(crate) async fn from_files() -> Self {
        drop(rustls::crypto::ring::default_provider().install_default());
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in quick_rules() {
            let path = Path::new(&name).strip_prefix(repository("rules")).unwrap().to_owned();
            let path = folder.path().join("rules").join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        fs::create_dir(folder.path().join("clusters.d")).unwrap();
        fs::write(folder.path().join("clusters.d/c1.yaml"), cluster_file("c1")).unwrap();
        let file = folder.path().join("quorate.yaml");
        let text = "listen: 127.0.0.1:0\nstore: {embedded: {path: .}}\nshutdown_grace: 1s\n\
                    watch: {every: 1s}\nclusters: [clusters.d]\n";
        fs::write(&file, text).unwrap();
        let opened = config::open(Some(&file), folder.path(), &catalogue());
        let valid = opened.valid.unwrap_or_else(|| panic!("{:#?}", opened.checked.found));
        let clusters = valid.0.clusters.clone();
        let patient = FakeTarget::new(["m1", "m2", "m3"]).named("c1").revision(100);
        Self::begin(folder, Some(file), valid, clusters, patient).await
    }

    async fn begin(
        folder: TempDir,
        file: Option<PathBuf>,
        (config, rules): (Config, Rules),
        clusters: Vec<Arc<Cluster>>,
        patient: FakeTarget,
    ) -> Self {
        let store = memory();
        let c1 = patient.clone();
        let targets = move |cluster: Arc<Cluster>| -> Arc<dyn Target> {
            if cluster.name.as_str() == "c1" {
                return Arc::new(c1.clone());
            }
            let other = FakeTarget::new(["m1", "m2", "m3"]).named(cluster.name.as_str());
            Arc::new(other.revision(100))
        };
        let app = App::start(Parts {
            catalogue: catalogue(),
            store: store.clone(),
            clusters: clusters.into_iter().map(|c| (c.clone(), targets(c))).collect(),
            targets: Targets(Arc::new(targets)),
            sources: Sources::of(file.as_deref(), &config),
            origin: Origin { file, folder: folder.path().to_owned() },
            clock: Clock::start(),
            config,
            rules,
        });
        let app = app.await.unwrap();
        let url = format!("http://{}", app.address());
        let client = Client::builder().no_proxy().tls_certs_only([]).timeout(GENEROUS);
        let token = local::read(&folder.path().join(local::FILE)).ok();
        let client = client.build().unwrap();
        Self { app, patient, store, url, client, token, folder }
    }

    /// A path in its folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Exchanges a text in a file of its folder.
    #[track_caller]
    pub(crate) fn edit(&self, name: &str, from: &str, to: &str) {
        let text = fs::read_to_string(self.path(name)).unwrap();
        assert!(text.contains(from), "{name} has no {from:?}");
        fs::write(self.path(name), text.replace(from, to)).unwrap();
    }

    /// Asks for a reload, as a script would: no body.
    pub(crate) async fn reload(&self) -> Answer {
        let request = self.request(Method::POST, "/-/reload");
        send(request.bearer_auth(self.token.as_deref().unwrap_or_default())).await
    }

    /// Resolves when the server cannot go on.
    pub(crate) async fn broken(&mut self) -> String {
        let broken = tokio::time::timeout(GENEROUS, self.app.broken()).await;
        format!("{:#}", broken.expect("it goes on as if nothing was"))
    }

    /// A request to be finished by the caller.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.url))
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        send(self.request(Method::GET, path)).await
    }

    /// With the server's own token, where it has one.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        let request = self.request(Method::POST, path).json(body);
        send(match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        })
        .await
    }

    /// A webhook of Alertmanager.
    pub(crate) async fn alerts(&self, alerts: &Value) -> Answer {
        self.post("/api/v1/webhook", &webhook(alerts)).await
    }

    /// Asks again until the answer is as wished.
    #[track_caller]
    pub(crate) fn eventually<'a>(
        &'a self,
        path: &'a str,
        holds: impl Fn(&Value) -> bool + 'a,
    ) -> impl Future<Output = Value> + 'a {
        let caller = std::panic::Location::caller();
        async move {
            let until = tokio::time::Instant::now() + GENEROUS;
            loop {
                let answer = self.get(path).await;
                if holds(&answer.json) {
                    return answer.json;
                }
                assert!(
                    tokio::time::Instant::now() < until,
                    "{caller}: {path} never came to that: {}",
                    answer.text
                );
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }

    /// Runs a verb of the built program against this server.
    pub(crate) async fn cli(&self, args: &[&str]) -> Ended {
        said(args, &[("QUORATE_SERVER", &self.url)]).await
    }

    /// What an ordered stop comes to.
    pub(crate) async fn stopped(self) -> Result<(), String> {
        let stopped = tokio::time::timeout(GENEROUS, self.app.stop()).await;
        stopped.expect("it never stops").map_err(|error| format!("{error:#}"))
    }

    /// Stops in order.
    pub(crate) async fn stop(self) {
        self.app.stop().await.unwrap();
    }
}

/// What a verb did.
#[derive(Clone, Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs a verb of the built program.
pub(crate) async fn said(args: &[&str], env: &[(&str, &str)]) -> Ended {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_quorate"));
    command.args(args).envs(env.iter().copied()).env("COLUMNS", "100").current_dir(repository(""));
    let output = command.output().await.unwrap();
    Ended {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

pub(crate) async fn send(request: RequestBuilder) -> Answer {
    let response = request.send().await.unwrap();
    let code = response.status().as_u16();
    let text = response.text().await.unwrap();
    let json = serde_json::from_str(&text).unwrap_or(Value::Null);
    Answer { code, text, json }
}

/// A body around alerts.
pub(crate) fn webhook(alerts: &Value) -> Value {
    json!({
        "version": "4", "groupKey": "{}:{}", "truncatedAlerts": 0, "receiver": "quor\\.ate",
        "status": "resolved", "groupLabels": {}, "commonLabels": {}, "commonAnnotations": {},
        "externalURL": "http://alertmanager", "alerts": alerts,
    })
}

/// A firing alert with these labels.
pub(crate) fn alert(labels: &Value) -> Value {
    json!({
        "status": "firing", "labels": labels, "annotations": {"summary": "x"},
        "startsAt": "2026-11-21T03:37:48.87986654+01:00", "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "", "fingerprint": "0",
    })
}

/// The alert that says that the quorum is lost.
pub(crate) fn quorum_alert() -> Value {
    alert(&json!({"alertname": "etcdInsufficientMembers", "cluster": "c1"}))
}
