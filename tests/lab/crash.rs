//! SIGKILL of quorate right before and right after a step takes effect on real etcd.
//!
//! Commands are met by a wrapper that ends its caller before or after the real one, once; changes of
//! membership have no command and are met on a slow line to the survivor, where an answer is still
//! under way when the change is there. After each kill quorate starts again and goes on.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::{Value, json};

use crate::{
    harness::{
        Etcd, GENEROUS, Layout, Quorate, SlowLine, TestDir, Tools, eventually, eventually_some,
        store,
    },
    story::{REPAIR, alert, assert_rebuilt, attempts, automatic, await_run, await_seen, runs},
};

/// Keys of the survivor, all of which must be there in the end.
const KEYS: u32 = 200;

/// The first change of membership.
const ADD: &str = "rejoin[m2].add";

/// What a command goes through. `point` is its first two words: `start-m1`, `snapshot-restore`.
const WRAPPER: &str = r#"#!/bin/bash
point=$1-$2
end_caller() {
    mv "$0.traps/$point-$1" "$0.traps/met-$point-$1" 2>/dev/null || return 0
    # A service's command is started by one of quorate's own, which stays with it.
    read -r _ caller < <(grep -m 1 PPid "/proc/$PPID/status")
    [ "$(cat "/proc/$caller/comm")" = quorate ] || caller=$PPID
    [ "$(cat "/proc/$caller/comm")" = quorate ] && kill -9 "$caller"
    exit 1
}
end_caller before
REAL "$@"
code=$?
[ "$code" != 0 ] || printf '%s\n' "$point" >>"$0.done"
end_caller after
exit "$code"
"#;

/// Commands that can be made to end quorate.
struct Traps {
    dir: TestDir,
}

impl Traps {
    fn new() -> Self {
        Self { dir: TestDir::new("traps") }
    }

    /// Wraps a command; what to configure instead of it.
    fn wrap(&self, name: &str, real: &str) -> PathBuf {
        let path = self.dir.join(name);
        fs::write(&path, WRAPPER.replace("REAL", real)).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        fs::create_dir(self.dir.join(&format!("{name}.traps"))).unwrap();
        path
    }

    fn set(&self, name: &str, point: &str) {
        for when in ["before", "after"] {
            fs::write(self.dir.join(&format!("{name}.traps/{point}-{when}")), "").unwrap();
        }
    }

    fn was_met(&self, name: &str, point: &str, when: &str) -> bool {
        self.dir.join(&format!("{name}.traps/met-{point}-{when}")).exists()
    }

    /// How often the real command has succeeded.
    fn done(&self, name: &str, point: &str) -> usize {
        let text = fs::read_to_string(self.dir.join(&format!("{name}.done"))).unwrap_or_default();
        text.lines().filter(|line| *line == point).count()
    }
}

/// Three members and quorate, whose commands can be traps and whose line to `m1` can be slow.
struct Scene {
    etcd: Etcd,
    quorate: Quorate,
    traps: Traps,
    line: SlowLine,
}

/// A loss that quorate will answer; the repair begins after a grace of seconds.
fn scene() -> Scene {
    let etcd = Layout::of(3).start();
    let revision = etcd.put_many("m1", "k", KEYS);
    let traps = Traps::new();
    let script = format!("{} {}", Etcd::service_script().display(), etcd.dir().display());
    let service = traps.wrap("service", &script);
    let etcdutl = traps.wrap("etcdutl", &Tools::find().etcdutl.display().to_string());
    let command = |verb: &str| json!([service, verb, "${member}"]);
    let line = SlowLine::to(&etcd.member("m1").client);
    let commands = ["start", "stop", "status", "mask", "unmask"];
    let commands: serde_json::Map<String, Value> =
        commands.iter().map(|verb| ((*verb).to_owned(), command(verb))).collect();
    let quorate = automatic(&etcd)
        .set("/clusters/0/etcd/service/command", commands.into())
        .set("/clusters/0/etcd/tools/etcdutl", json!(etcdutl))
        .set("/clusters/0/etcd/members/0/client", json!(line.url()))
        .start();
    await_seen(&quorate, revision);
    etcd.destroy("m2");
    etcd.destroy("m3");
    Scene { etcd, quorate, traps, line }
}

/// quorate is killed before and after the real command of this point; each time it goes on.
fn killed_around_command(name: &str, point: &str, may_repeat: bool) {
    let mut scene = scene();
    scene.traps.set(name, point);
    alert(&scene.quorate);
    for when in ["before", "after"] {
        eventually(REPAIR, &format!("killed {when} {point}"), || {
            let is_gone = !scene.quorate.daemon().is_running();
            assert!(is_gone || !is_over(&scene.quorate), "the run never met {point}");
            is_gone
        });
        assert!(scene.traps.was_met(name, point, when), "{}", scene.quorate.log());
        let done = scene.traps.done(name, point);
        assert_eq!(done, usize::from(when == "after"), "{when} {point}");
        match when {
            // it may be ended again before anybody sees that it is ready
            "before" => scene.quorate.daemon().start(),
            _ => scene.quorate.start(),
        }
    }
    end(&scene);
    let done = scene.traps.done(name, point);
    assert!(done == 1 || may_repeat && done == 2, "{point} was done {done} times");
}

/// quorate is killed while the request of `step` is under way, and again while its answer is.
fn killed_around_change(step: &str, took_effect: impl Fn(&Etcd) -> bool) {
    let mut scene = scene();
    alert(&scene.quorate);
    eventually(REPAIR, "the restored member was started", || {
        runs(&scene.quorate).last().is_some_and(|run| !run["past_return"].is_null())
    });
    eventually(REPAIR, &format!("the step before {step} is done"), || {
        assert!(!is_over(&scene.quorate), "{:#?}", runs(&scene.quorate).last());
        is_near(&runs(&scene.quorate)[0], step)
    });
    scene.line.slow(Duration::from_millis(700));
    eventually(REPAIR, &format!("{step} runs"), || state(&scene.quorate, step) == "running");
    scene.quorate.kill9();
    assert!(!took_effect(&scene.etcd), "killed too late: {step} had taken effect");
    scene.quorate.start();
    eventually(REPAIR, &format!("{step} takes effect"), || took_effect(&scene.etcd));
    scene.quorate.kill9();
    let recorded = store::rows(&scene.quorate.path("data")).journal;
    let recorded = recorded.iter().any(|row| row.contains("step_done") && is_about(row, step));
    assert!(!recorded, "killed too late: the end of {step} is in the journal");
    scene.line.slow(Duration::ZERO);
    scene.quorate.start();
    end(&scene);
}

fn is_about(row: &str, step: &str) -> bool {
    row.contains(&format!("\"step\":\"{step}\""))
}

/// Whether the run has come so far that the line can be made slow.
fn is_near(run: &Value, step: &str) -> bool {
    let before = if step == ADD { "loss" } else { "rejoin[m2].start_learner" };
    step_of(run, before).is_some_and(|step| step["state"] == "done")
}

fn step_of<'r>(run: &'r Value, path: &str) -> Option<&'r Value> {
    run["steps"].as_array()?.iter().find(|step| step["path"] == path)
}

fn state(quorate: &Quorate, path: &str) -> String {
    let run = runs(quorate).into_iter().last().unwrap_or_default();
    assert!(!is_over(quorate), "the run is over: {run:#}");
    let step = step_of(&run, path);
    step.and_then(|step| step["state"].as_str()).unwrap_or("none").to_owned()
}

/// Whether the newest run has ended; not while quorate does not answer.
fn is_over(quorate: &Quorate) -> bool {
    let answer = quorate.get("runs");
    let over = |run: &Value| {
        ["succeeded", "failed", "cancelled", "parked"].contains(&run["state"].as_str().unwrap())
    };
    answer.code == 200 && answer.json()["items"].as_array().unwrap().first().is_some_and(over)
}

/// The one run succeeds, and what may happen only once has happened once.
fn end(scene: &Scene) {
    let Scene { etcd, quorate, .. } = scene;
    let run = await_run(quorate, &["succeeded"]);
    assert_rebuilt(etcd, quorate, KEYS as usize);
    assert_eq!(runs(quorate).len(), 1);
    assert_eq!(attempts(quorate, "succeeded"), 1.0);
    let losses = quorate.get("losses").json();
    assert_eq!(losses["items"].as_array().unwrap().len(), 1, "{losses:#}");
    assert_joined_once(etcd);
    assert_one_directory(etcd, run["id"].as_str().unwrap());
    let journal = store::rows(&quorate.path("data")).journal;
    for step in run["steps"].as_array().unwrap() {
        let path = step["path"].as_str().unwrap();
        let done = journal.iter().filter(|row| row.contains("step_done") && is_about(row, path));
        assert!(done.count() <= 1, "{path} is recorded as done twice");
    }
}

/// What the restored member's own log says: two learners were added, each was promoted, none was
/// removed.
pub(crate) fn assert_joined_once(etcd: &Etcd) {
    let log = etcd.log("m1");
    let (_, since) = log.rsplit_once("\n# ").unwrap();
    let lines = |what: &str| -> Vec<Value> {
        let found = since.lines().filter(|line| line.contains(&format!("\"msg\":\"{what}\"")));
        found.map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let others = |lines: Vec<Value>, id: &str| {
        lines.into_iter().filter(|line| line[id] != line["local-member-id"]).count()
    };
    assert_eq!(others(lines("added member"), "added-peer-id"), 2, "{since}");
    assert_eq!(others(lines("promote member"), "promoted-member-id"), 2, "{since}");
    assert_eq!(others(lines("removed member"), "removed-remote-peer-id"), 0, "{since}");
}

/// The survivor's old data was put aside once, and nothing half made is left beside it.
fn assert_one_directory(etcd: &Etcd, run: &str) {
    let places = etcd.member("m1").data.join(".quorate");
    let names = |dir: &Path| -> Vec<String> {
        let entries = fs::read_dir(dir).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    let of_runs: Vec<String> =
        names(&places).into_iter().filter(|name| places.join(name).is_dir()).collect();
    assert_eq!(of_runs, [run], "in {}", places.display());
    let kept = names(&places.join(run));
    assert_eq!(kept.iter().filter(|name| name.starts_with("old")).count(), 1, "{kept:?}");
    assert!(places.join(run).join("old/member/wal").is_dir());
    assert!(!places.join(run).join("new/member").exists(), "what was restored is in use");
}

/// Rows: E22, B12.
#[test]
fn killed_around_the_stop_of_the_survivor() {
    killed_around_command("service", "stop-m1", false);
}

/// Rows: E22, B12.
#[test]
fn killed_around_the_fence() {
    // A mask that is there may be set again: the step says so.
    killed_around_command("service", "mask-m2", true);
}

/// Rows: E22, B12, E4.
#[test]
fn killed_around_the_restore() {
    // What nobody started may be made anew: the run's token gives it the same ids.
    killed_around_command("etcdutl", "snapshot-restore", true);
}

/// Rows: E22, B12, E23.
#[test]
fn killed_around_the_point_of_no_return() {
    killed_around_command("service", "start-m1", false);
}

/// Rows: E22, B12, E6.
#[test]
fn killed_around_the_first_learner() {
    killed_around_change(ADD, |etcd| {
        let members = eventually_some(GENEROUS, "m1 lists its members", || etcd.member_list("m1"));
        members.len() > 1
    });
}

/// Rows: E22, B12, A20.
#[test]
fn killed_around_the_promotion() {
    killed_around_change("rejoin[m2].promote", |etcd| {
        let members = eventually_some(GENEROUS, "m1 lists its members", || etcd.member_list("m1"));
        members.iter().filter(|member| !member.learner).count() > 1
    });
}
