//! Commands of a member whose process is a plain `sleep`.

use std::{fs, path::PathBuf, sync::Arc, time::Duration};

use rustix::fs::{CWD, FileType, Mode, mknodat};

use crate::{
    domain::{
        inventory::Cluster,
        rules::{
            action::{Done, ErrorKind, Failure, Probed},
            expr::Value,
        },
    },
    targets::{
        action::On,
        host::{
            actions::stop::stopped_before,
            process,
            service::{STATUS, must_be_gone, status},
        },
        testing::{act, act_on, before, mk_call, mk_cluster, no_tools, probe},
    },
};

struct Bench {
    dir: tempfile::TempDir,
    cluster: Arc<Cluster>,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().display();
        let write = |name: &str, text: String| fs::write(dir.path().join(name), text).unwrap();
        write(
            "start",
            format!(
                "shift; echo \"$@\" >{at}/args; sleep 1000 >/dev/null 2>&1 & echo $! >{at}/pid"
            ),
        );
        write(
            "stop",
            format!(
                "kill -TERM $(cat {at}/pid); while kill -0 $(cat {at}/pid) 2>/dev/null; do sleep 0.01; done"
            ),
        );
        write(
            "status",
            format!(
                "pid=$(cat {at}/pid 2>/dev/null) && kill -0 $pid 2>/dev/null && echo $pid; true"
            ),
        );
        let cluster = Arc::new(mk_cluster(dir.path(), &[1, 2, 3], no_tools()));
        fs::create_dir_all(dir.path().join("m1/data/member/wal")).unwrap();
        fs::write(dir.path().join("m1/data/member/wal/0.wal"), "x").unwrap();
        Self { dir, cluster }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    async fn act(&self, action: &str) -> Result<Done, Failure> {
        act(&self.cluster, &mk_call(action, &[("member", Value::str("m1"))])).await
    }

    async fn set_args(&self, name: &str, value: &str) -> Result<Done, Failure> {
        let args = Value::map([(name, Value::str(value))]);
        act(
            &self.cluster,
            &mk_call("host.service.set_args", &[("member", Value::str("m1")), ("args", args)]),
        )
        .await
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let pid = fs::read_to_string(self.path("pid")).ok().and_then(|pid| pid.trim().parse().ok());
        if let Some(process) = pid.and_then(process::read) {
            process::signal(process.pid, rustix::process::Signal::KILL).unwrap();
        }
    }
}

#[tokio::test]
async fn a_start_and_a_stop_are_proven_by_the_process() {
    let bench = Bench::new();
    let started = bench.act("host.service.start").await.unwrap();
    assert!(started.changed && started.output.get("started_at").is_some());
    assert!(!bench.act("host.service.start").await.unwrap().changed);
    let stopped = bench.act("host.service.stop").await.unwrap();
    assert_eq!(stopped.output.get("ended_by"), Some(&Value::str("term")));
    let again = bench.act("host.service.stop").await.unwrap();
    assert_eq!(
        (again.changed, again.output.get("ended_by")),
        (false, Some(&Value::str("was_gone")))
    );
}

#[tokio::test]
async fn a_stop_that_leaves_the_process_is_a_failure() {
    let bench = Bench::new();
    bench.act("host.service.start").await.unwrap();
    fs::write(bench.path("stop"), "exit 1").unwrap();
    let before =
        before(&bench.cluster, &mk_call("host.service.stop", &[("member", Value::str("m1"))]))
            .await
            .unwrap();
    assert_eq!(before.get("running"), Some(&Value::Bool(true)));
    let call = mk_call("host.service.stop", &[("member", Value::str("m1"))]);
    let probed = probe(&bench.cluster, &call, &before).await.unwrap();
    assert!(matches!(probed, Probed::NotDone { finding } if finding.contains("runs as process")));
    let limited =
        tokio::time::timeout(Duration::from_millis(500), bench.act("host.service.stop")).await;
    assert!(limited.is_err(), "it goes on looking for the process to end");
}

/// A member that needs long to end: it goes when the file `may_end` is there.
fn ends_slowly(bench: &Bench) {
    let at = bench.dir.path().display();
    let lives = format!("trap : TERM; until [ -e {at}/may_end ]; do sleep 0.02; done");
    fs::write(bench.path("slow"), lives).unwrap();
    let start = format!("sh {at}/slow >/dev/null 2>&1 & echo $! >{at}/pid");
    fs::write(bench.path("start"), start).unwrap();
    fs::write(bench.path("stop"), format!("kill -TERM $(cat {at}/pid)")).unwrap();
}

/// Its stop ran into the limit: it may end at any moment, and then nobody would start it again.
/// Rows: E22.
#[tokio::test]
async fn a_member_that_was_told_to_end_is_not_seen_as_never_stopped() {
    let bench = Bench::new();
    ends_slowly(&bench);
    bench.act("host.service.start").await.unwrap();
    let call = mk_call("host.service.stop", &[("member", Value::str("m1"))]);
    let was = before(&bench.cluster, &call).await.unwrap();
    let late = tokio::time::timeout(Duration::from_millis(500), bench.act("host.service.stop"));
    assert!(late.await.is_err());
    let on = On { cluster: &bench.cluster, call: &call };
    let probed = stopped_before(on, &was, Duration::ZERO).await.unwrap();
    assert!(matches!(&probed, Probed::Unknown(why) if why.contains("told to end")), "{probed:?}");
    let (probed, ()) = tokio::join!(probe(&bench.cluster, &call, &was), async {
        fs::write(bench.path("may_end"), "").unwrap();
    });
    assert!(matches!(&probed, Ok(Probed::Done(done)) if done.changed), "{probed:?}");
}

/// Rows: E22.
#[tokio::test]
async fn a_member_that_is_still_ending_is_no_started_one() {
    let bench = Bench::new();
    ends_slowly(&bench);
    let first = bench.act("host.service.start").await.unwrap();
    let late = tokio::time::timeout(Duration::from_millis(500), bench.act("host.service.stop"));
    assert!(late.await.is_err());
    let call = mk_call("host.service.start", &[("member", Value::str("m1"))]);
    let was = Value::map([("running", Value::Bool(true))]);
    let probed = probe(&bench.cluster, &call, &was).await.unwrap();
    assert!(matches!(&probed, Probed::Unknown(why) if why.contains("told to end")), "{probed:?}");
    let (again, ()) = tokio::join!(bench.act("host.service.start"), async {
        fs::write(bench.path("start"), "sleep 1000 >/dev/null 2>&1 & echo $! >${0%start}pid")
            .unwrap();
        fs::write(bench.path("may_end"), "").unwrap();
    });
    let again = again.unwrap();
    assert!(again.changed && again.output.get("pid") != first.output.get("pid"));
}

/// A stop command that could not be run told nobody anything.
#[tokio::test]
async fn a_stop_that_was_never_run_leaves_a_member_that_runs() {
    let mut bench = Bench::new();
    bench.act("host.service.start").await.unwrap();
    Arc::make_mut(&mut bench.cluster).etcd.members[0].service.stop = vec!["/nowhere/stop".into()];
    assert_eq!(bench.act("host.service.stop").await.unwrap_err().kind, ErrorKind::Tool);
    assert!(!bench.act("host.service.start").await.unwrap().changed, "it runs, and goes on");
}

/// What waits for a service to be ready waits for quorum; the member runs all the same.
#[tokio::test]
async fn a_start_command_that_fails_is_no_failed_start_while_the_member_runs() {
    let bench = Bench::new();
    let start = fs::read_to_string(bench.path("start")).unwrap();
    fs::write(bench.path("start"), format!("{start}; echo 'not ready' >&2; exit 1")).unwrap();
    assert!(bench.act("host.service.start").await.unwrap().changed);
    bench.act("host.service.stop").await.unwrap();
    fs::write(bench.path("start"), "echo 'no such unit' >&2; exit 5").unwrap();
    let failure = bench.act("host.service.start").await.unwrap_err();
    assert!(failure.message.contains("no such unit"), "{failure}");
}

/// Rows: E7.
#[tokio::test]
async fn an_empty_member_starts_only_to_join_a_cluster() {
    let bench = Bench::new();
    fs::remove_dir_all(bench.path("m1/data")).unwrap();
    assert_eq!(bench.act("host.service.start").await.unwrap_err().kind, ErrorKind::Invalid);
    assert!(!bench.path("pid").exists());
    bench.set_args("initial-cluster-state", "new").await.unwrap();
    assert_eq!(bench.act("host.service.start").await.unwrap_err().kind, ErrorKind::Invalid);
    assert!(bench.set_args("initial-cluster-state", "existing").await.unwrap().changed);
    assert!(!bench.set_args("initial-cluster-state", "existing").await.unwrap().changed);
    bench.act("host.service.start").await.unwrap();
    assert_eq!(
        fs::read_to_string(bench.path("args")).unwrap(),
        "--initial-cluster-state=existing\n"
    );
    assert!(bench.act("host.service.reset_args").await.unwrap().changed);
    assert!(!bench.act("host.service.reset_args").await.unwrap().changed);
}

#[tokio::test]
async fn a_process_that_dies_at_once_is_a_failed_start() {
    let bench = Bench::new();
    fs::write(
        bench.path("start"),
        format!("sleep 0.2 >/dev/null 2>&1 & echo $! >{}", bench.path("pid").display()),
    )
    .unwrap();
    let failure = bench.act("host.service.start").await.unwrap_err();
    assert_eq!(failure.kind, ErrorKind::Tool);
}

/// Rows: E8.
#[tokio::test]
async fn arguments_that_must_not_stay_are_refused() {
    let bench = Bench::new();
    for (name, value) in [
        ("force-new-cluster", "true"),
        ("Name", "x"),
        ("a b", "x"),
        ("name", "x\n--y=z"),
        ("", "x"),
    ] {
        assert_eq!(
            bench.set_args(name, value).await.unwrap_err().kind,
            ErrorKind::Invalid,
            "{name:?}"
        );
    }
}

#[tokio::test]
async fn a_mask_without_a_command_changes_nothing() {
    let mut bench = Bench::new();
    assert!(!bench.act("host.service.mask").await.unwrap().changed);
    Arc::make_mut(&mut bench.cluster).etcd.members[0].service.mask = Some(vec!["true".into()]);
    assert!(bench.act("host.service.mask").await.unwrap().changed);
    Arc::make_mut(&mut bench.cluster).etcd.members[0].service.mask = Some(vec!["false".into()]);
    assert_eq!(bench.act("host.service.mask").await.unwrap_err().kind, ErrorKind::Tool);
}

/// Rows: E2.
#[tokio::test]
async fn a_disk_that_hangs_holds_up_nobody_else() {
    let bench = Bench::new();
    let database = bench.path("m1/data/member/snap/db");
    fs::create_dir_all(database.parent().unwrap()).unwrap();
    // nobody writes to it: opening it waits
    mknodat(CWD, &database, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let asked = must_be_gone(&bench.cluster.etcd.members[0]);
    let asked = tokio::time::timeout(Duration::from_millis(500), asked).await;
    fs::File::options().write(true).open(&database).unwrap(); // its reader goes on
    assert!(asked.is_err(), "the only thread of this runtime went on");
}

/// Rows: E19.
#[tokio::test]
async fn a_mask_that_a_person_had_put_is_none_of_ours() {
    let mut bench = Bench::new();
    let file = bench.path("masked").display().to_string();
    let command = |words: &[&str]| Some(words.iter().map(|word| (*word).to_owned()).collect());
    let service = &mut Arc::make_mut(&mut bench.cluster).etcd.members[0].service;
    service.mask = command(&["touch", &file]);
    service.unmask = command(&["rm", &file]);
    service.is_masked = command(&["test", "-e", &file]);
    let call = |action| mk_call(action, &[("member", Value::str("m1"))]);
    let changes = async |bench: &Bench, action| {
        let seen = before(&bench.cluster, &call(action)).await.unwrap();
        act_on(&bench.cluster, &call(action), &seen).await.unwrap().changed
    };
    assert!(!changes(&bench, "host.service.unmask").await);
    fs::write(&file, "by a person").unwrap();
    assert!(!changes(&bench, "host.service.mask").await, "so its undo leaves it");
    assert_eq!(fs::read_to_string(&file).unwrap(), "by a person");
    assert!(changes(&bench, "host.service.unmask").await);
    assert!(changes(&bench, "host.service.mask").await);
    Arc::make_mut(&mut bench.cluster).etcd.members[0].service.is_masked =
        command(&["sh", "-c", "exit 4"]);
    let told = before(&bench.cluster, &call("host.service.mask")).await;
    assert_eq!(told.unwrap_err().kind, ErrorKind::Tool, "what cannot tell says nothing");
}

/// A pid that this machine cannot have: above the largest a kernel gives.
const NOWHERE: &str = "99999999";

/// A process in another pid namespace, or behind hidepid, looks like this.
/// Rows: E2.
#[tokio::test]
async fn a_process_that_is_named_but_never_shown_is_unknown_and_not_gone() {
    let bench = Bench::new();
    fs::write(bench.path("status"), format!("echo {NOWHERE}")).unwrap();
    let m1 = &bench.cluster.etcd.members[0];
    let failure = status(m1, STATUS).await.unwrap_err();
    assert_eq!(failure.kind, ErrorKind::Tool);
    for told in ["m1", NOWHERE, "stale pid file", "pid namespace", "hidepid"] {
        assert!(failure.message.contains(told), "{told}: {}", failure.message);
    }
    assert!(must_be_gone(m1).await.is_err(), "its data must stay where it is");
    for action in ["host.service.start", "host.service.stop"] {
        assert_eq!(bench.act(action).await.unwrap_err().kind, ErrorKind::Tool, "{action}");
    }
    assert!(!bench.path("pid").exists(), "nothing was started beside it");
}

#[tokio::test]
async fn a_process_that_died_between_the_print_and_the_look_is_gone() {
    let bench = Bench::new();
    let once = bench.path("once");
    let script = format!("[ -e {0} ] || {{ touch {0}; echo {NOWHERE}; }}", once.display());
    fs::write(bench.path("status"), script).unwrap();
    assert_eq!(status(&bench.cluster.etcd.members[0], STATUS).await.unwrap(), None);
    fs::write(bench.path("status"), "echo 0").unwrap();
    assert_eq!(status(&bench.cluster.etcd.members[0], STATUS).await.unwrap(), None);
}

/// The pid file outlives the process; it was seen running, so the stop is proven all the same.
#[tokio::test]
async fn a_stop_is_proven_although_the_pid_is_still_printed() {
    let bench = Bench::new();
    fs::write(bench.path("status"), format!("cat {} || true", bench.path("pid").display()))
        .unwrap();
    fs::write(bench.path("pid"), "").unwrap();
    bench.act("host.service.start").await.unwrap();
    let stopped = bench.act("host.service.stop").await.unwrap();
    assert_eq!(stopped.output.get("ended_by"), Some(&Value::str("term")));
    assert_eq!(bench.act("host.service.stop").await.unwrap_err().kind, ErrorKind::Tool);
}
