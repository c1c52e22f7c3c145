//! The built program as a server: start, a second one on its store, stop.

use std::{fs, path::Path, process::Stdio, time::Duration};

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
    let mut command = Command::new(env!("CARGO_BIN_EXE_quorate"));
    command.args(["serve", "--log-format", "json", "--config", config]).kill_on_drop(true);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
    loop {
        let line = log.next_line().await.unwrap().expect("it ended before it was ready");
        let json: serde_json::Value = serde_json::from_str(&line).unwrap();
        if json["message"] == "ready" {
            let url = format!("http://{}", json["listen"].as_str().unwrap());
            return (child, url, log);
        }
    }
}

#[tokio::test]
async fn a_second_server_on_the_same_store_is_refused_and_sigterm_stops_the_first() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    let (mut child, url, _log) = start(&config).await;
    assert_eq!(said(&["clusters", "--server", &url], &[]).await.stdout, "no clusters\n");
    let pid = child.id().unwrap();
    let second = said(&["serve", "--config", &config], &[]).await;
    assert_eq!(second.code, 1, "{}", second.stderr);
    assert!(second.stderr.contains(&pid.to_string()), "no pid in: {}", second.stderr);
    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
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
