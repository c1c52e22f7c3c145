//! What the tests of quorate on real etcd have in common: seen healthy, alerted, waited, looked at.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::Value;

use crate::harness::{Etcd, GENEROUS, Quorate, Setup, Webhook, eventually, eventually_some, http};

/// The cluster's name in all of these tests.
pub(crate) const CLUSTER: &str = "lab";

/// A whole repair: two learners fed by snapshots may be silent for seven seconds each.
pub(crate) const REPAIR: Duration = Duration::from_mins(3);

/// A grace of seconds: every rule of the shipped one, in less time.
pub(crate) const GRACE: &str = "{for: 3s, samples: 3, max_gap: 2s}";

/// quorate beside `etcd`, in mode `auto`, with a budget that fits the tests' small losses.
pub(crate) fn automatic(etcd: &Etcd) -> Setup {
    Setup::of(etcd, CLUSTER).auto(10_000).grace(GRACE)
}

/// Waits until quorate has seen the cluster healthy at `revision` or later, more than once: a write
/// rate, and with it an upper bound of a loss, needs two sightings.
#[track_caller]
pub(crate) fn await_seen(quorate: &Quorate, revision: i64) {
    let mut first = None;
    eventually(GENEROUS, "quorate has seen the cluster healthy twice", || {
        let cluster = cluster(quorate);
        let seen = &cluster["last_seen"];
        if cluster["verdict"] != "healthy" || seen["revision"].as_i64() < Some(revision) {
            return false;
        }
        let at = seen["at"].as_str().map(str::to_owned);
        *first.get_or_insert_with(|| at.clone()) != at
    });
}

/// `etcdInsufficientMembers` fires, straight to the webhook.
#[track_caller]
pub(crate) fn alert(quorate: &Quorate) {
    let webhook = insufficient();
    let answer = quorate.receive(&webhook);
    assert_eq!(answer.code, 200, "{}", answer.text);
}

/// The same alert resolves.
#[track_caller]
pub(crate) fn resolve(quorate: &Quorate) {
    let answer = quorate.receive(&insufficient().resolved("2026-11-21T04:00:00Z"));
    assert_eq!(answer.code, 200, "{}", answer.text);
}

fn insufficient() -> Webhook {
    Webhook::firing("etcdInsufficientMembers", "2026-11-21T03:33:52.24Z").label("cluster", CLUSTER)
}

/// The cluster as quorate shows it.
pub(crate) fn cluster(quorate: &Quorate) -> Value {
    quorate.get(&format!("clusters/{CLUSTER}")).json()
}

/// All runs, oldest first, with their steps.
pub(crate) fn runs(quorate: &Quorate) -> Vec<Value> {
    let page = quorate.get("runs").json();
    let ids = page["items"].as_array().cloned().unwrap_or_default();
    let mut runs: Vec<Value> = ids
        .iter()
        .map(|run| quorate.get(&format!("runs/{}", run["id"].as_str().unwrap())).json())
        .collect();
    runs.sort_by_key(|run| run["id"].as_str().map(str::to_owned));
    runs
}

/// All incidents of a response, oldest first, with their timelines.
pub(crate) fn incidents(quorate: &Quorate, response: &str) -> Vec<Value> {
    let page = quorate.get("incidents").json();
    let items = page["items"].as_array().cloned().unwrap_or_default();
    let mut found: Vec<Value> = items
        .iter()
        .filter(|incident| incident["response"] == response)
        .map(|incident| {
            quorate.get(&format!("incidents/{}", incident["id"].as_str().unwrap())).json()
        })
        .collect();
    found.sort_by_key(|incident| incident["id"].as_str().map(str::to_owned));
    found
}

/// The reason in force of the newest quorum incident; the action where there is no reason.
pub(crate) fn reason(quorate: &Quorate) -> String {
    let incidents = incidents(quorate, "etcd-quorum-lost");
    let decision = incidents.last().map_or(Value::Null, |incident| incident["decision"].clone());
    let word = decision["reason"].as_str().or(decision["action"].as_str());
    word.unwrap_or("none").to_owned()
}

/// Waits for this reason; what was found instead stands in the failure.
#[track_caller]
pub(crate) fn await_reason(quorate: &Quorate, wanted: &str) {
    let mut last = String::new();
    let mut tries = 0;
    eventually(GENEROUS, &format!("the reason is {wanted}"), || {
        tries += 1;
        last = reason(quorate);
        if tries % 100 == 0 {
            eprintln!("reason so far: {last}");
        }
        last == wanted
    });
}

/// Waits until the newest run rests in one of these states, and returns it.
#[track_caller]
pub(crate) fn await_run(quorate: &Quorate, states: &[&str]) -> Value {
    let run = eventually_some(REPAIR, &format!("a run is {}", states.join(" or ")), || {
        let run = runs(quorate).into_iter().last()?;
        let state = run["state"].as_str()?.to_owned();
        let over = ["succeeded", "failed", "cancelled", "parked"].contains(&state.as_str());
        (over || states.contains(&state.as_str())).then_some(run)
    });
    let state = run["state"].as_str().unwrap();
    assert!(states.contains(&state), "run is {state}:\n{run:#}\n{}", quorate.log());
    run
}

/// The steps of a run by path, with their states.
pub(crate) fn steps(run: &Value) -> Vec<(String, String)> {
    let steps = run["steps"].as_array().cloned().unwrap_or_default();
    let pair = |step: &Value| {
        (step["path"].as_str().unwrap().to_owned(), step["state"].as_str().unwrap().to_owned())
    };
    steps.iter().map(pair).collect()
}

/// Everything that must be true after a rebuild: every key of the survivor on every member by a
/// node-local serializable read, one cluster id, equal hashes, the expected ids, nothing armed.
#[track_caller]
pub(crate) fn assert_rebuilt(etcd: &Etcd, quorate: &Quorate, keys: usize) {
    let names: Vec<&str> = etcd.names().collect();
    let keys = i64::try_from(keys).unwrap();
    for name in &names {
        assert_eq!(etcd.count_keys(name, "k"), Some(keys), "keys on {name}");
        let residue = etcd.dir().join(name).join("data/.quorate/args");
        assert!(!residue.exists(), "arguments of one start are left on {name}");
    }
    let statuses: Vec<_> = names.iter().map(|name| etcd.status(name).unwrap()).collect();
    assert!(statuses.iter().all(|status| status.cluster == statuses[0].cluster), "{statuses:?}");
    let revision = statuses.iter().map(|status| status.revision).min().unwrap();
    let hashes: Vec<_> =
        names.iter().map(|name| etcd.hashkv(name, revision).unwrap().value).collect();
    assert!(hashes.iter().all(|hash| *hash == hashes[0]), "{hashes:?} at {revision}");
    let listed = etcd.member_list(names[0]).unwrap();
    let listed: BTreeSet<u64> = listed.iter().map(|member| member.id).collect();
    let answering: BTreeSet<u64> = statuses.iter().map(|status| status.id).collect();
    assert_eq!(listed, answering, "those that answer are those of the list");
    eventually(GENEROUS, "the verdict is healthy", || cluster(quorate)["verdict"] == "healthy");
}

/// The attempts metric of the rebuild.
pub(crate) fn attempts(quorate: &Quorate, outcome: &str) -> f64 {
    let labels = [("cluster", CLUSTER), ("playbook", "etcd-rebuild-hosts"), ("outcome", outcome)];
    quorate.metric("quorate_repair_attempts_total", &labels).unwrap_or(0.0)
}

/// Member and cluster id of every member that answers.
pub(crate) fn identities(etcd: &Etcd) -> BTreeMap<String, (u64, u64)> {
    let status = |name: &str| etcd.status(name).map(|status| (status.id, status.cluster));
    etcd.names().filter_map(|name| Some((name.to_owned(), status(name)?))).collect()
}

/// After a rebuild: another cluster id than before, and no member kept its id.
#[track_caller]
pub(crate) fn assert_new_cluster(etcd: &Etcd, before: &BTreeMap<String, (u64, u64)>) {
    let after = identities(etcd);
    assert_eq!(after.len(), before.len(), "{after:?}");
    let old: BTreeSet<u64> = before.values().flat_map(|(id, cluster)| [*id, *cluster]).collect();
    let kept = after.values().any(|(id, cluster)| old.contains(id) || old.contains(cluster));
    assert!(!kept, "before {before:?}, after {after:?}");
}

/// Waits until quorate has seen `revision` or later by a linearizable read, more than once; also
/// where the cluster is degraded.
#[track_caller]
pub(crate) fn await_revision(quorate: &Quorate, revision: i64) {
    let mut first = None;
    eventually(GENEROUS, &format!("quorate has seen revision {revision} twice"), || {
        let seen = cluster(quorate)["last_seen"].clone();
        let at = seen["at"].as_str().map(str::to_owned);
        seen["revision"].as_i64() >= Some(revision)
            && *first.get_or_insert_with(|| at.clone()) != at
    });
}

/// Waits until the member itself has this revision.
#[track_caller]
pub(crate) fn await_member_at(etcd: &Etcd, name: &str, revision: i64) {
    eventually(GENEROUS, &format!("{name} has revision {revision}"), || {
        etcd.status(name).is_some_and(|status| status.revision >= revision)
    });
}

/// Waits for this verdict of the last look.
#[track_caller]
pub(crate) fn await_verdict(quorate: &Quorate, wanted: &str) {
    let mut last = Value::Null;
    let mut tries = 0;
    eventually(GENEROUS, &format!("the verdict is {wanted}"), || {
        last = cluster(quorate);
        tries += 1;
        if tries % 200 == 0 {
            eprintln!("verdict so far: {} ({})", last["verdict"], last["reason"]);
        }
        last["verdict"] == wanted
    });
}

/// Waits until the newest incident of the response is closed; returns how it ended.
#[track_caller]
pub(crate) fn await_closed(quorate: &Quorate, response: &str) -> String {
    eventually_some(GENEROUS, &format!("the incident of {response} closes"), || {
        let incident = incidents(quorate, response).into_iter().last()?;
        incident["outcome"].as_str().map(str::to_owned)
    })
}

/// How often this reason of the quorum response was counted.
pub(crate) fn skips(quorate: &Quorate, reason: &str) -> f64 {
    let labels = [("cluster", CLUSTER), ("response", "etcd-quorum-lost"), ("reason", reason)];
    quorate.metric("quorate_repair_skips_total", &labels).unwrap_or(0.0)
}

/// A verb of the CLI that has to succeed; returns what it printed.
#[track_caller]
pub(crate) fn cli(quorate: &Quorate, args: &[&str]) -> String {
    let said = quorate.cli(args);
    assert_eq!(said.code, 0, "quorate {}:\n{}{}", args.join(" "), said.stdout, said.stderr);
    said.stdout
}

/// A person's word that these members will not come back.
#[track_caller]
pub(crate) fn attest(quorate: &Quorate, members: &[&str]) {
    for member in members {
        cli(quorate, &["attest", CLUSTER, member, "--gone", "--reason", "its host burnt down"]);
    }
}

/// The pids of all members, to see later that nobody restarted one.
pub(crate) fn pids(etcd: &Etcd) -> BTreeMap<String, Option<u32>> {
    etcd.names().map(|name| (name.to_owned(), etcd.pid(name))).collect()
}

/// Looks on for several samples of the short grace: nothing is started, nobody is restarted.
///
/// A wait for nothing to happen has no condition to wait for but more looks.
#[track_caller]
pub(crate) fn assert_left_alone(etcd: &Etcd, quorate: &Quorate) {
    let before = pids(etcd);
    let mut looks = BTreeSet::new();
    eventually(GENEROUS, "quorate looks six times", || {
        looks.extend(cluster(quorate)["looked_at"].as_str().map(str::to_owned));
        looks.len() >= 6
    });
    assert_eq!(runs(quorate), Vec::<Value>::new(), "a run was started");
    assert_eq!(pids(etcd), before, "a member was restarted");
}

/// A small program in `dir`, for the places where a tool or a service script is to misbehave.
pub(crate) fn script(dir: &Path, name: &str, body: &str) -> PathBuf {
    let path = dir.join(name);
    fs::write(&path, format!("#!/bin/bash\n{body}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

/// The output of a step of a run.
pub(crate) fn output(run: &Value, path: &str) -> Value {
    let steps = run["steps"].as_array().into_iter().flatten();
    let found = steps.into_iter().find(|step| step["path"] == path);
    found.map_or(Value::Null, |step| step["output"].clone())
}

/// The state of a step of a run.
pub(crate) fn step(run: &Value, path: &str) -> String {
    let found = steps(run).into_iter().find(|(name, _)| name == path);
    found.map_or_else(|| "absent".to_owned(), |(_, state)| state)
}

/// The revision a member says it has on its metrics listener, which answers without a quorum, and
/// also after a restart without one.
pub(crate) fn own_revision(etcd: &Etcd, name: &str) -> Option<i64> {
    let page = http::get(&format!("{}/metrics", etcd.member(name).metrics));
    let name = "etcd_debugging_mvcc_current_revision";
    let value = http::series(&page.text, name, &[])?;
    format!("{value}").parse().ok()
}

/// A survivor whose repair was taken back holds everything, whether anybody can ask it or not: it is
/// started alone here, which is the end of this cluster.
#[track_caller]
pub(crate) fn assert_intact(etcd: &Etcd, name: &str, revision: i64, keys: i64) {
    eventually(GENEROUS, &format!("{name} runs and has its data"), || {
        etcd.pid(name).is_some() && own_revision(etcd, name) == Some(revision)
    });
    etcd.stop(name);
    etcd.start_with(name, &["--force-new-cluster"]);
    etcd.wait_leader();
    assert_eq!(etcd.count_keys(name, "k"), Some(keys), "keys on {name}");
}

/// A program that stands before the service script: while `broken` exists it fails for this member,
/// saying `why`.
pub(crate) fn failing(dir: &Path, verb: &str, member: &str, broken: &Path, why: &str) -> PathBuf {
    let body = format!(
        "if [ \"$4\" = {member} ] && [ -e '{}' ]; then echo '{why}' >&2; exit 1; fi\nexec \"$@\"",
        broken.display()
    );
    script(dir, verb, &body)
}

/// A program that stands before another one: while `hold` exists it waits where `when` holds (a
/// shell condition on the arguments) and says so by making `hold.reached`.
pub(crate) fn holding(dir: &Path, name: &str, hold: &Path, when: &str) -> PathBuf {
    let hold = hold.display();
    let body = format!(
        "if {when}; then\n  while [ -e '{hold}' ]; do : >'{hold}.reached'; sleep 0.05; done\nfi\n\
         exec \"$@\""
    );
    script(dir, name, &body)
}

/// Waits until a program made by `holding` waits.
#[track_caller]
pub(crate) fn await_reached(hold: &Path) {
    let reached = PathBuf::from(format!("{}.reached", hold.display()));
    eventually(REPAIR, "the run reaches the place where it is held", || reached.exists());
}
