//! SIGKILL of quorate at any instant of a repair of real etcd, again and again, on its way and back.
//!
//! `crash` kills around the steps that are known to matter; here a seed picks the instants, and every
//! command takes its time before and after its effect, so that many kills fall into one. A client
//! writes all along: what the cluster took is there in the end, or the loss record names it.

use std::{collections::BTreeSet, fs, thread, time::Duration};

use serde_json::{Value, json};

use crate::{
    harness::{
        Ack, Client, Dice, Etcd, GENEROUS, Layout, Quorate, Setup, Tools, eventually, store,
    },
    story::{
        REPAIR, alert, assert_rebuilt, automatic, await_run, await_seen, cli, own_revision, runs,
        script,
    },
};

/// Keys that were written before.
const KEYS: u32 = 100;
/// Kills of one life. After each the run gets on for less than `SPAN`, so they reach its end.
const KILLS: usize = 6;
/// The longest quorate lives between two kills: a few steps.
const SPAN: Duration = Duration::from_millis(2500);
/// The same on the way back, which has fewer steps and no waits.
const SPAN_BACK: Duration = Duration::from_millis(900);
/// How often a run may park for a person; each kill leaves at most one step in doubt.
const PARKS_MAX: usize = KILLS;
/// The seed of every time, beside one that nobody chose.
const SEED: u64 = 20_261_121;

/// One life: a cluster whose majority is gone for good, and quorate.
struct Life<'e> {
    etcd: &'e Etcd,
    quorate: Quorate,
    dice: Dice,
    /// The survivor's own revision once the majority was gone.
    own: Option<i64>,
}

/// A service script whose effects come late and are told late; being asked for the status does not.
fn slow_services(setup: Setup, etcd: &Etcd) -> Setup {
    let body = format!(
        "[ \"$2\" = status ] && exec '{real}' \"$@\"\nsleep 0.15\n'{real}' \"$@\"\ncode=$?\n\
         sleep 0.15\nexit $code",
        real = Etcd::service_script().display()
    );
    let service = script(setup.dir(), "service", &body);
    let command = |verb: &str| json!([service, etcd.dir(), verb, "${member}"]);
    let verbs = ["start", "stop", "status", "mask", "unmask"];
    let commands: serde_json::Map<String, Value> =
        verbs.iter().map(|verb| ((*verb).to_owned(), command(verb))).collect();
    setup.set("/clusters/0/etcd/service/command", commands.into())
}

/// An `etcdutl` that restores nothing while `broken` is there.
fn breakable_restore(setup: Setup) -> Setup {
    let body = format!(
        "if [ \"$2\" = restore ] && [ -e '{}' ]; then sleep 0.2; echo 'no' >&2; exit 1; fi\n\
         exec '{}' \"$@\"",
        setup.dir().join("broken").display(),
        Tools::find().etcdutl.display()
    );
    let etcdutl = script(setup.dir(), "etcdutl", &body);
    setup.set("/clusters/0/etcd/tools/etcdutl", json!(etcdutl))
}

/// The kinds of the records since the newest run began.
fn of_newest_run(quorate: &Quorate) -> Vec<String> {
    let mut kinds = store::kinds(&quorate.path("data"));
    let began = kinds.iter().rposition(|kind| kind == "run_started");
    kinds.split_off(began.unwrap_or(kinds.len()))
}

impl Life<'_> {
    /// Ends quorate at instants that the seed picks and starts it again, until the newest run is
    /// over; how many kills met it on its way, and how many on its way back.
    fn kill(&mut self, kills: usize, span: Duration) -> (usize, usize) {
        let mut met = (0, 0);
        for _ in 0..kills {
            // the length is what is tried out: there is nothing to wait for
            thread::sleep(self.dice.span(span));
            self.quorate.kill9();
            let kinds = of_newest_run(&self.quorate);
            self.quorate.start();
            let has = |kind: &str| kinds.iter().any(|found| found == kind);
            match (has("run_finished"), has("unwind_started")) {
                (true, _) => break,
                (false, true) => met.1 += 1,
                (false, false) => met.0 += 1,
            }
        }
        met
    }

    /// The run ends; where it parks, a person who looked lets it go on.
    fn end(&self) -> Value {
        for _ in 0..PARKS_MAX {
            let run = await_run(&self.quorate, &["succeeded", "failed", "parked"]);
            if run["state"] != "parked" {
                return run;
            }
            let id = run["id"].as_str().unwrap();
            self.assert_told(id);
            cli(&self.quorate, &["resume", id, "--reason", "looked at it"]);
        }
        panic!("it parks again and again: {:#?}\n{}", runs(&self.quorate), self.quorate.log());
    }

    /// What is left while the run is parked is what `why` says is left.
    fn assert_told(&self, run: &str) {
        let why = cli(&self.quorate, &["why", run]);
        let page = cli(&self.quorate, &["runs", run]);
        assert!(why.contains("quorate resume"), "{why}");
        for member in self.etcd.members() {
            let args = member.data.join(".quorate/args").exists();
            assert!(!args || page.contains("host.service.reset_args"), "{page}");
        }
        let others = self.strangers();
        assert!(others.is_empty() || page.contains("etcd.scratch_stop"), "{others:?}\n{page}");
    }

    /// Processes that are no member's.
    fn strangers(&self) -> BTreeSet<u32> {
        let members: BTreeSet<u32> =
            self.etcd.names().filter_map(|name| self.etcd.pid(name)).collect();
        self.etcd.processes().difference(&members).copied().collect()
    }

    /// Nothing of a run is left: no arguments, no masks, no copies that run.
    #[track_caller]
    fn assert_tidy(&self) {
        for member in self.etcd.members() {
            let home = self.etcd.dir().join(&member.name);
            for left in ["masked", "data/.quorate/args"] {
                assert!(!home.join(left).exists(), "{left} is left on {}", member.name);
            }
        }
        assert_eq!(self.strangers(), BTreeSet::new(), "a copy still runs");
    }

    /// Every acknowledged write is on every member, or named by the loss record.
    #[track_caller]
    fn assert_nothing_else_is_gone(&self, acks: &[Ack]) {
        let losses = self.quorate.get("losses").json()["items"].clone();
        assert_eq!(losses.as_array().map(Vec::len), Some(1), "{losses:#}");
        let kept = losses[0]["retained_revision"].as_i64().unwrap();
        let most = losses[0]["upper"].as_i64().map(|upper| kept + upper);
        let old = acks[0].cluster;
        let is_named = |ack: &Ack| {
            ack.cluster == old
                && ack.revision > kept
                && most.is_none_or(|most| ack.revision <= most)
        };
        for name in self.etcd.names() {
            let mut gone: Vec<&Ack> = Vec::new();
            eventually(GENEROUS, &format!("{name} has caught up"), || {
                let Some(keys) = self.etcd.keys(name, "w") else { return false };
                gone = acks.iter().filter(|ack| !keys.contains(&ack.key)).collect();
                gone.iter().all(|ack| ack.cluster == old)
            });
            assert!(gone.iter().all(|ack| is_named(ack)), "{gone:#?}\n{losses:#}");
        }
    }
}

/// Writes were taken by the old cluster, then by the new one, and by nobody else.
#[track_caller]
fn assert_one_after_the_other(acks: &[Ack], etcd: &Etcd) {
    let mut ids: Vec<u64> = acks.iter().map(|ack| ack.cluster).collect();
    ids.dedup();
    assert_eq!(ids.len(), 2, "{ids:x?}");
    for name in etcd.names() {
        assert_eq!(etcd.write(name, "last").map(|(id, _)| id), ids.last().copied(), "{name}");
    }
}

/// Loses the majority of a cluster that a client writes to, and lives through `story`.
fn lives(seed: u64, breaks: bool, story: impl FnOnce(&mut Life<'_>)) {
    let dice = Dice::of(seed);
    let etcd = Layout::of(3).start();
    let revision = etcd.put_many("m1", "k", KEYS);
    let setup = automatic(&etcd)
        .grace("{for: 4s, samples: 3, max_gap: 4s}")
        .set("/watch/timeout", json!("1s"))
        .edit_rules("responses", |text| text.replace("initial: 1m", "initial: 8s"));
    let setup = breakable_restore(slow_services(setup, &etcd));
    if breaks {
        fs::write(setup.dir().join("broken"), "").unwrap();
    }
    let mut life = Life { quorate: setup.start(), etcd: &etcd, dice, own: None };
    let acks = Client::beside(&etcd, |client| {
        await_seen(&life.quorate, revision);
        eventually(GENEROUS, "the client writes", || client.acks().len() > 20);
        etcd.destroy("m2");
        etcd.destroy("m3");
        life.own = own_revision(&etcd, "m1");
        alert(&life.quorate);
        eventually(REPAIR, "a run begins", || !runs(&life.quorate).is_empty());
        story(&mut life);
        let run = life.end();
        assert_eq!(run["state"], "succeeded", "{run:#}\n{}", life.quorate.log());
        let before = client.acks().len();
        eventually(GENEROUS, "the client writes again", || client.acks().len() > before + 10);
        client.acks()
    });
    assert_one_after_the_other(&acks, &etcd);
    life.assert_nothing_else_is_gone(&acks);
    assert_rebuilt(&etcd, &life.quorate, KEYS as usize);
    life.assert_tidy();
}

/// Kills from the first step to the last.
fn killed_on_the_way(seed: u64) {
    lives(seed, false, |life| {
        let (met, back) = life.kill(KILLS, SPAN);
        assert_eq!((met > KILLS / 2, back), (true, 0), "{met} kills met the run");
    });
}

/// The restore fails: kills until what was done is taken back, and in the next attempt.
fn killed_on_the_way_back(seed: u64) {
    lives(seed, true, |life| {
        eventually(REPAIR, "it goes back", || {
            runs(&life.quorate).last().is_some_and(|run| run["state"] == "undoing")
        });
        let (ahead, back) = life.kill(KILLS, SPAN_BACK);
        assert_eq!((ahead, back > 0), (0, true), "{back} kills met the way back");
        let run = life.end();
        assert_eq!((&run["outcome"], &run["past_return"]), (&json!("undone"), &Value::Null));
        eventually(GENEROUS, "the survivor runs on its own data", || {
            life.own.is_some() && own_revision(life.etcd, "m1") == life.own
        });
        life.assert_tidy();
        fs::remove_file(life.quorate.path("broken")).unwrap();
        eventually(GENEROUS, "a second attempt begins", || runs(&life.quorate).len() == 2);
        life.kill(KILLS / 2, SPAN);
    });
}

/// Rows: E22, B12, E4, E23.
#[test]
fn a_repair_that_is_killed_at_any_instant_ends_whole() {
    killed_on_the_way(SEED);
}

/// Rows: E22, B12, E4, E23.
#[test]
fn a_repair_that_is_killed_at_any_other_instant_ends_whole() {
    killed_on_the_way(Dice::fresh());
}

/// Rows: A6, E22, B12, B18.
#[test]
fn a_repair_that_is_killed_at_any_instant_on_its_way_back_takes_all_back() {
    killed_on_the_way_back(SEED);
}

/// Rows: A6, E22, B12, B18.
#[test]
fn a_repair_that_is_killed_at_any_other_instant_on_its_way_back_takes_all_back() {
    killed_on_the_way_back(Dice::fresh());
}
