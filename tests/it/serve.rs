//! The built program as a server: start, a second one on its store, stop.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, process::Stdio, time::Duration};

use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStderr, Command},
};

use crate::app::said;

fn config(dir: &Path) -> String {
    let file = dir.join("quorate.yaml");
    fs::write(&file, "listen: 127.0.0.1:0\nrules: []\nstore: {embedded: {path: data}}\n").unwrap();
    file.to_str().unwrap().to_owned()
}

/// Starts a server and waits until it says that it is ready.
async fn start(config: &str) -> (Child, String, Lines<BufReader<ChildStderr>>) {
    let (child, url, log, _) = start_heard(config).await;
    (child, url, log)
}

/// The same, with what was logged before.
async fn start_heard(config: &str) -> (Child, String, Lines<BufReader<ChildStderr>>, String) {
    // through a shell that lowers the soft limit, as most systems do
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -Sn 500; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_quorate")]);
    command.args(["serve", "--log-format", "json", "--config", config]).kill_on_drop(true);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut heard = String::new();
    loop {
        let line = log.next_line().await.unwrap().expect("it ended before it was ready");
        let json: serde_json::Value = serde_json::from_str(&line).unwrap();
        if json["message"] == "ready" {
            let url = format!("http://{}", json["listen"].as_str().unwrap());
            return (child, url, log, heard);
        }
        heard.push_str(&line);
    }
}

#[tokio::test]
async fn a_second_server_on_the_same_store_is_refused_and_sigterm_stops_the_first() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    let (mut child, url, _log) = start(&config).await;
    assert_eq!(said(&["clusters", "--server", &url], &[]).await.stdout, "no clusters\n");
    let holder = child.id().unwrap().to_string();
    let second = said(&["serve", "--config", &config], &[]).await;
    assert_eq!(second.code, 1, "{}", second.stderr);
    assert!(second.stderr.contains(&holder), "no pid in: {}", second.stderr);
    kill_process(pid(&child), Signal::TERM).unwrap();
    let ended = tokio::time::timeout(Duration::from_mins(1), child.wait()).await;
    assert!(ended.unwrap().unwrap().success());
    let (mut again, ..) = start(&config).await;
    again.kill().await.unwrap();
}

/// Rows: E21, E22. What it would acknowledge from then on would be gone with it.
#[tokio::test]
async fn a_server_whose_store_is_deleted_ends_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let (mut child, _, mut log) = start(&config(dir.path())).await;
    for entry in fs::read_dir(dir.path().join("data")).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
    }
    let ended = tokio::time::timeout(Duration::from_mins(1), child.wait()).await;
    assert_eq!(ended.unwrap().unwrap().code(), Some(1));
    let mut last = String::new();
    while let Some(line) = log.next_line().await.unwrap() {
        last = line;
    }
    assert!(last.contains("was deleted or moved away while the server worked with it"), "{last}");
}

/// Waits for a line of the log that holds a text.
async fn logged(log: &mut Lines<BufReader<ChildStderr>>, text: &str) -> String {
    let line = async {
        loop {
            let line = log.next_line().await.unwrap();
            let line = line.unwrap_or_else(|| panic!("it ended and never logged {text:?}"));
            if line.contains(text) {
                return line;
            }
        }
    };
    let line = tokio::time::timeout(Duration::from_mins(1), line).await;
    line.unwrap_or_else(|_| panic!("never logged: {text:?}"))
}

fn pid(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id().unwrap()).unwrap()).unwrap()
}

#[tokio::test]
async fn as_many_files_may_be_open_as_the_system_allows() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    let (mut child, ..) = start(&config).await;
    let limits = fs::read_to_string(format!("/proc/{}/limits", child.id().unwrap())).unwrap();
    let files = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let files: Vec<_> = files.split_whitespace().collect();
    assert_eq!(files[3], files[4], "soft and hard");
    child.kill().await.unwrap();
}

#[tokio::test]
async fn a_hangup_reloads_what_is_right_and_keeps_what_was_loaded_where_it_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    let (mut child, url, mut log) = start(&config).await;
    kill_process(pid(&child), Signal::HUP).unwrap();
    logged(&mut log, "the configuration was reloaded").await;
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, format!("{text}watch: {{every: 20s}}\n")).unwrap();
    kill_process(pid(&child), Signal::HUP).unwrap();
    logged(&mut log, "watch.every: 10s becomes 20s").await;
    fs::write(&config, format!("{text}wacht: {{every: 20s}}\n")).unwrap();
    kill_process(pid(&child), Signal::HUP).unwrap();
    logged(&mut log, "quorate.yaml:4:1: error").await;
    logged(&mut log, "stays in force").await;
    assert_eq!(said(&["clusters", "--server", &url], &[]).await.stdout, "no clusters\n");
    child.kill().await.unwrap();
}

#[tokio::test]
async fn a_wrong_configuration_is_refused_with_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("quorate.yaml");
    fs::write(&file, "listne: 127.0.0.1:0\n").unwrap();
    let answer = said(&["serve", "--config", file.to_str().unwrap()], &[]).await;
    assert_eq!(answer.code, 1);
    assert!(
        answer.stderr.contains("listne") && answer.stderr.contains(":1:1"),
        "{}",
        answer.stderr
    );
}

/// Same user, no flag: the command line finds what the server made, over restarts too.
#[tokio::test]
async fn orders_on_loopback_find_the_token_that_the_server_made_and_told() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    let file = dir.path().join("data/local.token");
    let mut tokens = Vec::new();
    for _ in 0..2 {
        let (mut child, url, _log, heard) = start_heard(&config).await;
        assert!(heard.contains(file.to_str().unwrap()), "{heard}");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        let token = fs::read_to_string(&file).unwrap();
        assert!(!heard.contains(token.trim()), "a secret is not logged");
        tokens.push(token);
        let pause = ["pause", "nowhere", "--reason", "x", "--server", &url];
        assert_eq!(said(&pause, &[]).await.code, 1, "let in, and there is no such cluster");
        let wrong = dir.path().join("wrong");
        fs::write(&wrong, "x").unwrap();
        let wrong = said(&pause, &[("QUORATE_TOKEN_FILE", wrong.to_str().unwrap())]).await;
        assert_eq!(wrong.code, 4, "{}", wrong.stderr);
        child.kill().await.unwrap();
    }
    assert_eq!(tokens[0], tokens[1]);
}

#[tokio::test]
async fn a_token_file_that_everybody_can_read_is_warned_of() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    let mut text = fs::read_to_string(&config).unwrap();
    text.push_str("api: {tokens: [{name: a, role: viewer, file: open}, {name: b, role: viewer, file: shut}]}\n");
    fs::write(&config, text).unwrap();
    for (name, mode) in [("open", 0o644), ("shut", 0o600)] {
        fs::write(dir.path().join(name), name).unwrap();
        fs::set_permissions(dir.path().join(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    let (mut child, _, _, heard) = start_heard(&config).await;
    assert!(heard.contains("can read this secret") && heard.contains("/open\""), "{heard}");
    assert!(!heard.contains("/shut\""), "{heard}");
    child.kill().await.unwrap();
}
