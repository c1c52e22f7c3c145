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
    // through a shell that lowers the soft limit, as most systems do
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -Sn 500; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_quorate")]);
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
async fn a_hangup_is_logged_and_ends_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    let (mut child, url, mut log) = start(&config).await;
    kill_process(pid(&child), Signal::HUP).unwrap();
    logged(&mut log, "reload is not available").await;
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
