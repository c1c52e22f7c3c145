//! What was acknowledged is there, whatever ends quorate; and what must survive a restart does.
//!
//! The store is watched from outside: by SIGKILL, by a trace of system calls, by a full disk. How it
//! writes is no business of these tests.

use std::{
    collections::BTreeSet,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Mutex,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::json;

use crate::{
    harness::{GENEROUS, Layout, Quorate, Setup, TestDir, Webhook, eventually, http, store},
    story::{CLUSTER, incidents, script},
};

/// quorate with a store and nothing to look at.
fn without_clusters() -> Setup {
    let etcd = Layout::of(1).start();
    Setup::of(&etcd, CLUSTER).set("/clusters", json!([]))
}

fn fires(name: &str) -> Webhook {
    Webhook::firing(name, "2026-11-21T03:33:52.24Z")
}

/// The names of all alerts that quorate knows, over all pages.
fn known(quorate: &Quorate) -> BTreeSet<String> {
    let (mut names, mut after) = (BTreeSet::new(), String::new());
    loop {
        let page = quorate.get(&format!("alerts?limit=1000{after}")).json();
        for alert in page["items"].as_array().unwrap() {
            names.insert(alert["labels"]["alertname"].as_str().unwrap().to_owned());
        }
        let Some(next) = page["next"].as_str() else { return names };
        after = format!("&after={next}");
    }
}

/// Rows: E22, for alerts.
#[test]
fn every_acknowledged_alert_survives_a_kill_right_after_the_answer() {
    let mut quorate = without_clusters().start();
    let acknowledged = Mutex::new(BTreeSet::new());
    let sent = AtomicU32::new(0);
    for round in 1..=10 {
        let webhook = quorate.webhook();
        let enough = acknowledged.lock().unwrap().len() + 20;
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    loop {
                        let name = format!("Alert{}", sent.fetch_add(1, Ordering::Relaxed));
                        if http::post(&webhook, fires(&name).body()).code != 200 {
                            break;
                        }
                        acknowledged.lock().unwrap().insert(name);
                    }
                });
            }
            eventually(GENEROUS, "20 answers", || acknowledged.lock().unwrap().len() >= enough);
            quorate.kill9();
        });
        quorate.start();
        let (acknowledged, known) = (acknowledged.lock().unwrap(), known(&quorate));
        let lost: Vec<_> = acknowledged.difference(&known).collect();
        assert!(lost.is_empty(), "lost in round {round}: {lost:?}");
    }
}

/// Rows: E22, for alerts: the order of the system calls around one webhook.
#[test]
fn the_log_is_synced_before_the_answer_goes_out() {
    let mut quorate = without_clusters().write();
    let trace = quorate.path("trace");
    let calls = "trace=fsync,fdatasync,pwrite64,write,writev,sendto,sendmsg,read,recvfrom";
    let out = trace.to_str().unwrap();
    quorate
        .daemon()
        .wrapped_in(&["strace", "-D", "-f", "-y", "-s", "20000", "-o", out, "-e", calls]);
    quorate.start();
    assert_eq!(quorate.receive(&fires("TracedAlert")).code, 200);
    quorate.kill9();
    let text = fs::read_to_string(&trace).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let find = |from: usize, is: &dyn Fn(&str) -> bool| {
        lines[from..].iter().position(|line| is(line)).map(|at| from + at)
    };
    let is_log = |line: &str| line.contains("journal.db-wal>");
    let asked = find(0, &|line| {
        line.contains("TracedAlert") && (line.contains("recvfrom(") || line.contains("read("))
    });
    let asked = asked.or_else(|| find(0, &|line| line.contains("TracedAlert")));
    let asked = asked.expect("the request was read");
    let answered = find(asked, &|line| line.contains("HTTP/1.1 200")).expect("it was answered");
    // The last write before the answer: a log that begins anew syncs its head by itself.
    let is_write = |line: &&str| line.contains("pwrite64(") && is_log(line);
    let written = lines[asked..answered].iter().rposition(is_write);
    let written = asked + written.expect("the log was written");
    let synced = find(written, &|line| line.contains("sync(") && is_log(line));
    let synced = synced.expect("the log was synced");
    let synced = if lines[synced].ends_with("<unfinished ...>") {
        let thread = lines[synced].split_whitespace().next().unwrap();
        let resumed = |line: &str| line.starts_with(thread) && line.contains("sync resumed");
        find(synced, &resumed).expect("the sync ended")
    } else {
        synced
    };
    assert!(lines[synced].ends_with("= 0"), "{}", lines[synced]);
    let around = lines[asked..=answered.max(synced)].join("\n");
    assert!(written < synced && synced < answered, "{around}");
    let later = find(synced, &|line| line.contains("pwrite64(") && is_log(line));
    assert!(later.is_none_or(|later| later > answered), "written after the sync:\n{around}");
}

/// A small file system. Dropping it unmounts it.
struct SmallDisk {
    dir: TestDir,
}

impl SmallDisk {
    fn new(size: &str) -> Self {
        let dir = TestDir::new("disk");
        let options = format!("size={size}");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &options, "quorate-lab"]).arg(dir.path());
        assert!(mount.status().unwrap().success(), "mounting needs root");
        Self { dir }
    }

    /// Takes all the room there is.
    fn fill(&self) {
        let ballast = self.dir.join("ballast");
        let mut file = fs::File::create(ballast).unwrap();
        let is_full = (0..1 << 16).any(|_| file.write_all(&[0; 4096]).is_err());
        assert!(is_full, "the disk has no end");
    }

    fn make_room(&self) {
        fs::remove_file(self.dir.join("ballast")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("--lazy").arg(self.dir.path()).status());
    }
}

/// Rows: E15, for our own disk.
#[test]
fn a_full_disk_is_answered_503_until_there_is_room_and_nothing_acknowledged_is_lost() {
    let disk = SmallDisk::new("8m");
    let data = disk.dir.join("data");
    let setup = without_clusters().set("/store/embedded/path", json!(data));
    let mut quorate = setup.start();
    assert_eq!(quorate.receive(&fires("Before")).code, 200);
    disk.fill();
    let mut acknowledged = BTreeSet::from(["Before".to_owned()]);
    // Pages that the log already has may take a few more.
    let refused = (0..2000).find_map(|n| {
        let name = format!("Full{n}");
        let answer = quorate.receive(&fires(&name));
        match answer.code {
            200 => drop(acknowledged.insert(name)),
            503 => return Some(name),
            code => panic!("{code}: {}", answer.text),
        }
        None
    });
    let refused = refused.expect("a full disk is noticed");
    assert_eq!(quorate.receive(&fires(&refused)).code, 503, "a repeat is not taken for known");
    assert!(!known(&quorate).contains(&refused), "what is not durable is not shown");
    assert_eq!(http::get(&format!("{}/-/healthy", quorate.url())).code, 200);
    disk.make_room();
    eventually(GENEROUS, "the repeat is taken", || quorate.receive(&fires(&refused)).code == 200);
    acknowledged.insert(refused);
    quorate.kill9();
    quorate.start();
    assert_eq!(known(&quorate), acknowledged);
}

/// Rows: E21, for two responders on one store.
#[test]
fn a_second_server_on_the_same_store_is_refused_with_the_holders_pid() {
    let mut first = without_clusters().start();
    let pid = first.daemon().pid().unwrap();
    assert_eq!(first.receive(&fires("Held")).code, 200);
    let path = first.path("data");
    let mut second = without_clusters().set("/store/embedded/path", json!(path)).write();
    second.daemon().start();
    assert_eq!(second.daemon().wait().code(), Some(1));
    let said = second.log();
    assert!(said.contains("held by") && said.contains(&pid.to_string()), "{pid}: {said}");
    assert_eq!(first.receive(&fires("StillHeld")).code, 200, "the first one is not disturbed");
    // Told to stop while idle, it lets go; the next one has everything.
    let began = Instant::now();
    assert_eq!(first.sigterm().code(), Some(0), "{}", first.log());
    assert!(began.elapsed() < Duration::from_secs(10), "an idle server has nothing to wait for");
    second.start();
    assert_eq!(known(&second), BTreeSet::from(["Held".to_owned(), "StillHeld".to_owned()]));
}

/// A program to start quorate through: while `slow` is there, each write to its files takes a while.
fn slow_writes(dir: &Path, slow: &Path) -> PathBuf {
    let body = format!(
        "[ -e '{}' ] || exec \"$@\"\nexec strace -D -f -qq -o '{}' -e trace=pwrite64 \
         -e inject=pwrite64:delay_enter=100000 \"$@\"",
        slow.display(),
        dir.join("trace").display()
    );
    script(dir, "slow-writes", &body)
}

/// Between an alert and its incident lies one write; nothing repeats the alert.
/// Rows: E22.
#[test]
fn an_acknowledged_alert_opens_its_incident_where_quorate_was_killed_between_the_two() {
    let etcd = Layout::of(1).start();
    let mut quorate = Setup::of(&etcd, CLUSTER).write();
    let slow = quorate.path("slow");
    let through = slow_writes(&quorate.path(""), &slow);
    quorate.daemon().wrapped_in(&[through.to_str().unwrap()]);
    let node = fires("KubeNodeNotReady").label("cluster", CLUSTER).label("node", "n1");
    let quorum = fires("etcdInsufficientMembers").label("cluster", CLUSTER);
    for (alert, response) in [(node, "node-not-ready"), (quorum, "etcd-quorum-lost")] {
        fs::write(&slow, "").unwrap();
        quorate.start();
        assert_eq!(quorate.receive(&alert).code, 200);
        quorate.kill9();
        let rows = store::rows(&quorate.path("data"));
        let name = alert.body()["alerts"][0]["labels"]["alertname"].as_str().unwrap();
        assert!(rows.alerts.iter().any(|row| row.contains(name)), "{:#?}", rows.alerts);
        let opened = rows.journal.iter().any(|row| row.contains(response));
        assert!(!opened, "killed too late: {:#?}", rows.journal);
        fs::remove_file(&slow).unwrap();
        quorate.start();
        eventually(GENEROUS, &format!("an incident of {response} opens"), || {
            !incidents(&quorate, response).is_empty()
        });
        assert_eq!(incidents(&quorate, response).len(), 1);
        quorate.kill9();
    }
}
