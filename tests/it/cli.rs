//! The command line: exit codes, and what people read.

use std::{fs, process::Stdio, time::Duration};

use quorate::{config::Token, domain::rules::response::Role};
use serde_json::json;

use crate::{
    api::asking,
    app::{TestApp, alert, said},
};

/// Longer than reading some files takes on a busy machine.
const A_WHILE: Duration = Duration::from_secs(30);

/// What differs from one run of the tests to the next.
fn settled(text: &str) -> String {
    let mut text = text.to_owned();
    for (pattern, with) in [
        (r"(run|inc|loss)_[0-9a-f-]{36}", "${1}_ID"),
        (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "TIME"),
        (r"\b[0-9a-f]{64}\b", "DIGEST"),
        (r"pid \d+", "pid N"),
        (r"\d+\.\d writes", "N writes"),
        // how often it was looked at before decides whether the rate of writes is known
        (r"at least 0 revisions; how many at most is unknown|\b0 revisions", "LOSS"),
        (r" +\n", "\n"),
    ] {
        text = regex::Regex::new(pattern).unwrap().replace_all(&text, with).into_owned();
    }
    text
}

#[tokio::test]
async fn wrong_use_is_2_and_help_is_0() {
    assert_eq!(said(&["clusters", "--nonsense"], &[]).await.code, 2);
    assert_eq!(said(&["approve", "run_x"], &[]).await.code, 2, "a reason is needed");
    assert_eq!(
        said(&["attest", "c1", "m1", "--reason", "x"], &[]).await.code,
        2,
        "--gone is needed"
    );
    assert_eq!(said(&["clusters", "--server", "ftp://x"], &[]).await.code, 2);
    assert_eq!(said(&["check", "not/there"], &[]).await.code, 2);
    let help = said(&["--help"], &[]).await;
    assert_eq!(help.code, 0, "{}", help.stderr);
    insta::assert_snapshot!("help", help.stdout);
    let version = said(&["version"], &[]).await;
    assert!(version.code == 0 && version.stdout.starts_with("quorate "), "{}", version.stdout);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_3() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let answer = said(&["clusters", "--server", &url], &[]).await;
    assert_eq!((answer.code, answer.stdout.as_str()), (3, ""));
    assert!(answer.stderr.contains("cannot be reached"), "{}", answer.stderr);
}

#[tokio::test]
async fn what_is_not_allowed_is_4() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("viewer");
    fs::write(&file, "a-token\n").unwrap();
    let token = Token { name: "eve".into(), role: Role::Viewer, file: file.clone() };
    let app = TestApp::with(move |config| config.tokens = vec![token]).await;
    assert_eq!(app.cli(&["clusters"]).await.code, 4);
    let file = file.to_str().unwrap();
    assert_eq!(app.cli(&["clusters", "--token-file", file]).await.code, 0);
    let pause = ["pause", "c1", "--reason", "x", "--token-file", file];
    let answer = app.cli(&pause).await;
    assert_eq!(answer.code, 4);
    assert_eq!(answer.stderr, "eve is viewer; this needs the role operator\n");
    app.stop().await;
}

#[tokio::test]
async fn a_refused_order_is_1() {
    let app = TestApp::start().await;
    app.eventually("/api/v1/clusters/c1", |c| c["verdict"] == "healthy").await;
    let attest = ["attest", "c1", "m1", "--gone", "--reason", "x"];
    let answer = app.cli(&attest).await;
    assert_eq!(
        (answer.code, answer.stderr.as_str()),
        (1, "m1 is alive: it cannot be attested gone\n")
    );
    assert_eq!(app.cli(&["runs", "run_x"]).await.code, 1);
    assert_eq!(app.cli(&["pause", "c1", "--for", "soon", "--reason", "x"]).await.code, 2);
    app.stop().await;
}

#[tokio::test]
async fn orders_are_confirmed_in_one_sentence() {
    let app = TestApp::start().await;
    let pause = app.cli(&["pause", "c1", "--for", "1h", "--reason", "maintenance"]).await;
    assert_eq!((pause.code, settled(&pause.stdout).as_str()), (0, "c1 is paused until TIME\n"));
    let shown = app.cli(&["clusters", "-o", "json"]).await;
    let shown: serde_json::Value = serde_json::from_str(&shown.stdout).unwrap();
    assert_eq!(shown["items"][0]["paused"]["by"], "local");
    let yaml = app.cli(&["clusters", "c1", "-o", "yaml"]).await.stdout;
    assert!(yaml.contains("paused:\n  by: local\n  reason: maintenance\n"), "{yaml}");
    let unpause = app.cli(&["unpause", "c1", "--reason", "done"]).await;
    assert_eq!(unpause.stdout, "c1 is no longer paused\n");
    app.stop().await;
}

#[tokio::test]
async fn lists_are_aligned_tables_that_no_label_can_break() {
    let app = TestApp::start().await;
    app.eventually("/api/v1/clusters/c1", |c| c["verdict"] == "healthy").await;
    for list in ["alerts", "incidents", "runs", "losses"] {
        assert_eq!(app.cli(&[list]).await.stdout, format!("no {list}\n"));
    }
    insta::assert_snapshot!("clusters", settled(&app.cli(&["clusters"]).await.stdout));
    let evil = json!({"alertname": "a\u{1b}[2Jb", "x": "one\ntwo"});
    app.alerts(&json!([alert(&evil), alert(&json!({"alertname": "Watchdog", "cluster": "c1"}))]))
        .await;
    insta::assert_snapshot!("alerts", settled(&app.cli(&["alerts"]).await.stdout));
    let first = app.cli(&["alerts", "--limit", "1"]).await;
    assert!(first.stderr.starts_with("there are more: --after "), "{}", first.stderr);
    app.stop().await;
}

/// Rows: B8.
#[tokio::test]
async fn the_story_of_a_question_tells_what_to_do() {
    let (app, run) = asking().await;
    insta::assert_snapshot!("run", settled(&app.cli(&["runs", &run]).await.stdout));
    insta::assert_snapshot!("why", settled(&app.cli(&["why", &run]).await.stdout));
    let plan =
        app.cli(&["plan", "etcd-rebuild-hosts", "--cluster", "c1", "--set", "max_lag=5"]).await;
    assert_eq!(plan.code, 0, "{}", plan.stderr);
    insta::assert_snapshot!("plan", settled(&plan.stdout));
    let deny = app.cli(&["deny", &run, "--reason", "not today"]).await;
    assert_eq!(deny.code, 0, "{}", deny.stderr);
    let path = format!("/api/v1/runs/{run}");
    app.eventually(&path, |run| !run["finished_at"].is_null()).await;
    insta::assert_snapshot!("denied", settled(&app.cli(&["runs", &run]).await.stdout));
    app.stop().await;
}

#[tokio::test]
async fn a_closed_pipe_is_no_panic() {
    let app = TestApp::start().await;
    let alerts: Vec<_> = (0..900)
        .map(|n| alert(&json!({"alertname": "x".repeat(200), "n": n.to_string()})))
        .collect();
    app.alerts(&serde_json::Value::Array(alerts)).await;
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_quorate"));
    command.args(["alerts", "--limit", "1000", "--server", &app.url]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().await.unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(0) && !stderr.contains("panicked"), "{stderr}");
    app.stop().await;
}

#[tokio::test]
async fn check_prints_problems_in_three_forms_and_the_shipped_rules_have_none() {
    let shipped = said(&["check", "rules"], &[]).await;
    assert_eq!(shipped.code, 0, "{}{}", shipped.stdout, shipped.stderr);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("bad.yaml");
    fs::write(
        &file,
        "apiVersion: quorate/v1\nkind: Playbook\nmetadata: {name: p}\nspec: {setps: []}\n",
    )
    .unwrap();
    let path = file.to_str().unwrap();
    let concise = said(&["check", path, "--format", "concise"], &[]).await;
    assert_eq!(concise.code, 1);
    assert!(concise.stdout.contains("bad.yaml:4:8: error[Q101]"), "{}", concise.stdout);
    let json = said(&["check", path, "--format", "json"], &[]).await;
    let json: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    assert!(json.as_array().is_some_and(|found| !found.is_empty()));
    let full = said(&["check", path], &[]).await;
    assert!(full.stdout.contains("setps") && !full.stdout.contains('\u{1b}'), "{}", full.stdout);
}

/// A FIFO is never waited for, wherever it stands.
#[tokio::test]
async fn what_is_no_regular_file_is_a_problem_and_no_hang() {
    let dir = tempfile::tempdir().unwrap();
    let mkfifo = |name: &str| {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, mode).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let check = async |path: &str| {
        let args = ["check", path, "--format", "concise"];
        tokio::time::timeout(A_WHILE, said(&args, &[])).await.expect("it hangs")
    };
    for name in ["rules/fifo.yaml", "config/quorate.yaml"] {
        let path = mkfifo(name);
        let folder = dir.path().join(name).parent().unwrap().display().to_string();
        for path in [path, folder] {
            let checked = check(&path).await;
            assert_eq!(checked.code, 1, "{}", checked.stderr);
            assert!(checked.stdout.contains("it is a FIFO, not a regular file"), "{name}");
        }
    }
    mkfifo("whole/clusters.d/a.yaml");
    mkfifo("whole/rules/b.yaml");
    mkfifo("whole/token");
    let file = dir.path().join("whole/quorate.yaml");
    fs::write(
        &file,
        "clusters: [clusters.d]\nrules: [rules]\nwebhook: {auth: {bearer_file: token}}\n",
    )
    .unwrap();
    let checked = check(file.to_str().unwrap()).await;
    for found in ["a.yaml:1:1: error[Q008]", "quorate.yaml:3:31: error[Q404]"] {
        assert!(checked.stdout.contains(found), "no {found}:\n{}", checked.stdout);
    }
    let args = ["serve", "--config", file.to_str().unwrap()];
    let served = tokio::time::timeout(A_WHILE, said(&args, &[])).await;
    assert_eq!(served.expect("it hangs").code, 1);
}
