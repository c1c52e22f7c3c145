//! What `quorate child` makes of a process when the one that started it is killed.

use std::{
    fs::{self, File},
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

const QUORATE: &str = env!("CARGO_BIN_EXE_quorate");

#[track_caller]
fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(20), "never: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

fn is_there(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z'))
}

/// A shell in quorate's place, which starts `quorate child BOND -- sh -c SCRIPT` and waits for it.
fn parent(bond: &str, script: &Path, lock: &Path) -> Child {
    let line = format!("{QUORATE} child {bond} -- sh {}; true", script.display());
    let lock = File::create(lock).unwrap();
    lock.try_lock().unwrap();
    let mut shell = Command::new("sh");
    shell.args(["-c", &line]).stdin(lock).stdout(Stdio::null()).stderr(Stdio::null());
    // `sh` gives its standard input to what it waits for, as quorate does.
    shell.process_group(0).spawn().unwrap()
}

fn is_locked(path: &Path) -> bool {
    File::open(path).unwrap().try_lock().is_err()
}

/// Rows: E22.
#[test]
fn a_tool_ends_with_its_parent_and_holds_the_lock_until_then() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    fs::write(at("script"), format!("echo $$ >{}; exec sleep 1000", at("pid").display())).unwrap();
    let mut parent = parent("--end-with $$", &at("script"), &at("lock"));
    let pid = || fs::read_to_string(at("pid")).unwrap_or_default();
    eventually("it runs", || !pid().is_empty());
    assert!(is_locked(&at("lock")));
    parent.kill().unwrap();
    parent.wait().unwrap();
    eventually("it ended with its parent", || !is_there(&pid()));
    eventually("its lock is free", || !is_locked(&at("lock")));
}

/// Rows: E22.
#[test]
fn a_command_of_a_service_ends_by_itself_and_the_lock_is_held_until_then() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let (began, go, ended) = (at("began"), at("go"), at("ended"));
    let script = format!(
        "sleep 1000 >/dev/null 2>&1 & echo $! >{}; while [ ! -e {} ]; do sleep 0.01; done; echo said; echo done >{}",
        began.display(),
        go.display(),
        ended.display()
    );
    fs::write(at("script"), script).unwrap();
    let mut parent = parent("--for 60", &at("script"), &at("lock"));
    eventually("it runs", || began.exists());
    parent.kill().unwrap();
    parent.wait().unwrap();
    assert!(is_locked(&at("lock")));
    fs::write(&go, "").unwrap();
    eventually("it came to its end", || ended.exists());
    eventually("its lock is free", || !is_locked(&at("lock")));
    let daemon = fs::read_to_string(&began).unwrap();
    assert!(is_there(&daemon), "what a start leaves behind is not ended, and holds no lock");
    let daemon = Pid::from_raw(daemon.trim().parse().unwrap()).unwrap();
    kill_process(daemon, Signal::KILL).unwrap();
}

#[test]
fn what_cannot_be_started_is_told_and_not_mistaken_for_a_tool_that_failed() {
    let own = std::process::id().to_string();
    for bond in [["--end-with", &own], ["--for", "5"]] {
        let mut child = Command::new(QUORATE);
        child.arg("child").args(bond).args(["--", "/nowhere/etcdutl"]);
        let output = child.output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(125), "{told}");
        assert!(told.contains("/nowhere/etcdutl is not there: install it"), "{told}");
    }
}
