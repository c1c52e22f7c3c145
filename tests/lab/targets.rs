//! The actions on real members one by one, where no shipped playbook would lead them.

use std::{collections::BTreeMap, sync::Arc};

use quorate::{
    domain::{
        base::{id::RunId, time::Time},
        etcd::evidence::Evidence,
        inventory::{Cluster, Member, Service, Tls, Tools as Paths, sample},
        rules::{
            action::{Call, Done, ErrorKind, Failure, OnResume, Probed},
            expr::Value,
        },
    },
    targets::{Deadline, Depth, Target, bind_children_by, catalogue::catalogue, cluster::target},
};

use crate::harness::{
    Etcd, GENEROUS, Layout, Tools, eventually, eventually_some, free_ports, use_ring, wait_for,
};

/// A cluster and quorate's hands on it, without quorate.
struct Bench {
    etcd: Etcd,
    patient: Arc<dyn Target>,
    run: RunId,
}

impl Bench {
    fn of(layout: Layout<'_>) -> Self {
        let etcd = layout.start();
        use_ring();
        bind_children_by(env!("CARGO_BIN_EXE_quorate").into());
        let patient = target(Arc::new(inventory(&etcd)));
        Self { etcd, patient, run: RunId(uuid::Uuid::now_v7()) }
    }

    fn call(&self, action: &str, args: &[(&str, Value)]) -> Call {
        let args: BTreeMap<String, Value> =
            args.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        Call { action: action.into(), args, run: self.run, started_at: Time(0) }
    }

    /// Reads before, acts; what is probed on resume must then be found done.
    fn try_(&self, action: &str, args: &[(&str, Value)]) -> Result<Done, Failure> {
        let call = self.call(action, args);
        wait_for(async {
            let before = self.patient.before(&call).await?;
            let done = self.patient.act(&call, &before, &Deadline::after(GENEROUS)).await?;
            if catalogue()[action].on_resume == OnResume::Probe {
                let probed = self.patient.probe(&call, &before).await;
                assert_eq!(probed, Probed::Done(done.clone()), "{action}");
            }
            Ok(done)
        })
    }

    #[track_caller]
    fn act(&self, action: &str, member: &str, more: &[(&str, Value)]) -> Value {
        self.try_member(action, member, more).unwrap().output
    }

    fn try_member(
        &self,
        action: &str,
        member: &str,
        more: &[(&str, Value)],
    ) -> Result<Done, Failure> {
        let mut args = vec![("member", Value::str(member))];
        args.extend(more.iter().cloned());
        self.try_(action, &args)
    }

    fn look(&self) -> Evidence {
        wait_for(self.patient.assess(Depth::Full, &|| Time(0)))
    }

    /// A stopped member's data as `etcd.choose_survivor` wants it, read by a copy; `write` may
    /// change the copy before.
    fn by_copy(&self, member: &str, write: impl FnOnce(&str)) -> Value {
        self.act("etcd.data_copy", member, &[("to", Value::str("scratch"))]);
        let scratch = self.act("etcd.scratch_start", member, &[]);
        write(text(&scratch, "endpoint"));
        let snapshot = self.act("etcd.snapshot", member, &[("of", Value::str("scratch"))]);
        self.act("etcd.scratch_stop", member, &[]);
        Value::map([("scratch", scratch), ("snapshot", snapshot)])
    }

    /// Restores a stopped member's snapshot in its place.
    fn restore(&self, member: &str, snapshot: &Value) -> Value {
        let path = ("snapshot", snapshot.get("path").unwrap().clone());
        let restore = [path, ("to", Value::str("new")), ("bump", Value::Int(1_000_000))];
        let restored = self.act("etcd.restore", member, &restore);
        assert_eq!(self.act("etcd.restore", member, &restore), restored, "one token, one id");
        self.act("etcd.data_out", member, &[("to", Value::str("old"))]);
        self.act("etcd.data_in", member, &[("from", Value::str("new"))]);
        restored
    }

    /// The same, and starts it.
    fn rebuild(&self, member: &str, snapshot: &Value) -> Value {
        let restored = self.restore(member, snapshot);
        self.act("host.service.start", member, &[]);
        eventually(GENEROUS, "the restored member leads itself", || self.look().voters.is_some());
        restored
    }
}

fn text<'v>(value: &'v Value, field: &str) -> &'v str {
    value.get(field).and_then(Value::as_str).unwrap()
}

fn inventory(etcd: &Etcd) -> Cluster {
    let script = Etcd::service_script().display().to_string();
    let member = |member: &crate::harness::Member| {
        let command = |verb: &str| {
            vec![
                script.clone(),
                etcd.dir().display().to_string(),
                verb.to_owned(),
                member.name.clone(),
            ]
        };
        Member {
            client: member.client.clone(),
            peer: member.peer.clone(),
            metrics: Some(member.metrics.clone()),
            host: member.host.as_str().into(),
            data_dir: member.data.clone(),
            service: Service {
                start: command("start"),
                stop: command("stop"),
                status: command("status"),
                mask: Some(command("mask")),
                unmask: Some(command("unmask")),
                is_masked: None,
            },
            ..sample::member(&member.name)
        }
    };
    let mut cluster = sample::cluster_of("lab", etcd.members().iter().map(member).collect());
    cluster.etcd.tls = etcd.certs().map(|certs| Tls {
        ca_file: certs.ca(),
        cert_file: Some(certs.file("client", "crt")),
        key_file: Some(certs.file("client", "key")),
    });
    let ports = free_ports(4);
    let tools = Tools::find();
    cluster.etcd.tools = Paths { etcdutl: tools.etcdutl.clone(), etcd: tools.etcd.clone() };
    cluster.etcd.backups.dir = etcd.dir().join("backups");
    cluster.etcd.scratch_ports = ports..=ports + 3;
    cluster.control_targets.clear();
    cluster
}

/// Rows: E2. Over mutual TLS: the peer port offers HTTP/2 there and serves only gRPC on it.
#[test]
fn a_silent_survivor_is_read_by_a_copy_and_its_peer_port_still_speaks() {
    let bench = Bench::of(Layout::of(3).with_tls());
    let written = bench.etcd.put_many("m2", "k", 40);
    bench.etcd.kill9("m1");
    bench.etcd.kill9("m3");
    bench.etcd.wait_leaderless("m2");
    bench.act("host.service.stop", "m2", &[]);
    bench.act("host.service.start", "m2", &[]);
    eventually(GENEROUS, "m2 speaks on its peer port only", || {
        let seen = bench.look();
        let m2 = &seen.members["m2"];
        m2.client.value().is_none() && m2.peer.value().is_some() && m2.metrics.value().is_some()
    });
    bench.act("host.service.stop", "m2", &[]);
    let read = bench.by_copy("m2", |_| ());
    let snapshot = read.get("snapshot").unwrap().clone();
    assert_eq!(snapshot.get("revision"), Some(&Value::Int(written)));
    let among = Value::map([("m2", read)]);
    let chosen = bench.try_("etcd.choose_survivor", &[("among", among)]).unwrap().output;
    assert_eq!(text(&chosen, "member"), "m2");
    bench.rebuild("m2", &snapshot);
    assert_eq!(bench.etcd.count_keys("m2", "k"), Some(40));
}

/// Rows: E22, E23. The process is gone, and so is what its files' times could tell: what a member
/// acknowledged stands in its log.
#[test]
fn a_start_that_served_is_not_disproved_by_its_end_and_one_that_never_was_is() {
    let bench = Bench::of(Layout::of(3));
    bench.etcd.put_many("m1", "k", 10);
    bench.etcd.kill9("m2");
    bench.etcd.kill9("m3");
    bench.etcd.wait_leaderless("m1");
    let snapshot = bench.act("etcd.snapshot", "m1", &[]);
    bench.act("host.service.stop", "m1", &[]);
    bench.restore("m1", &snapshot);
    let call = bench.call("host.service.start", &[("member", Value::str("m1"))]);
    let before = wait_for(bench.patient.before(&call)).unwrap();
    let probe = || wait_for(bench.patient.probe(&call, &before));
    assert!(matches!(probe(), Probed::NotDone { .. }), "{:?}", probe());
    wait_for(bench.patient.act(&call, &before, &Deadline::after(GENEROUS))).unwrap();
    eventually(GENEROUS, "the restored member takes a write", || {
        bench.etcd.put("m1", "acknowledged", "v").is_ok()
    });
    bench.etcd.kill9("m1");
    let wal = bench.etcd.member("m1").data.join("member/wal");
    for entry in std::fs::read_dir(&wal).unwrap() {
        let file = std::fs::File::options().write(true).open(entry.unwrap().path()).unwrap();
        file.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    }
    assert!(matches!(probe(), Probed::Unknown(_)), "{:?}", probe());
    std::fs::rename(&wal, wal.with_extension("away")).unwrap();
    assert!(matches!(probe(), Probed::Unknown(_)), "{:?}", probe());
}

/// Rows: E13, E14.
#[test]
fn a_copy_of_corrupt_data_says_what_etcd_says_and_the_tools_tell_their_versions() {
    let bench = Bench::of(Layout::of(3));
    bench.etcd.put_many("m1", "k", 20);
    let serving = bench.look().members["m2"].client.value().unwrap().version.clone();
    let tools = wait_for(bench.patient.tools()).unwrap();
    assert_eq!((tools.etcd.version, tools.etcdutl.version), (serving.clone(), serving));
    bench.act("host.service.stop", "m2", &[]);
    let database = bench.etcd.dir().join("m2/data/member/snap/db");
    let file = std::fs::File::options().write(true).open(&database).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &[0; 8192], 0).unwrap();
    bench.act("etcd.data_copy", "m2", &[("to", Value::str("scratch"))]);
    let said = bench.try_member("etcd.scratch_start", "m2", &[]).unwrap_err();
    let away = format!("move {} away", bench.etcd.dir().join("m2/data/member").display());
    for told in ["the copy of m2 ended at once: ", "invalid database", "scratch.log", &away] {
        assert!(said.message.contains(told), "{told}: {said}");
    }
}

/// Rows: E13. The lower one is compared as it is, the higher one by its snapshot.
#[test]
fn two_histories_are_refused_and_one_history_is_not() {
    let bench = Bench::of(Layout::of(3));
    bench.etcd.put_many("m1", "k", 20);
    for member in ["m1", "m2"] {
        bench.act("host.service.stop", member, &[]);
    }
    let put = |endpoint: &str, values: &[&str]| {
        wait_for(async {
            let mut client = etcd_client::Client::connect([endpoint], None).await.unwrap();
            for value in values {
                client.put("fork", *value, None).await.unwrap();
            }
        });
    };
    let m1 = bench.by_copy("m1", |at| put(at, &["one"]));
    let m2 = bench.by_copy("m2", |at| put(at, &["other", "more"]));
    let choose = |m1: Value, m2: Value| {
        bench.try_("etcd.choose_survivor", &[("among", Value::map([("m1", m1), ("m2", m2)]))])
    };
    let refused = choose(m1.clone(), m2).unwrap_err();
    assert_eq!(refused.kind, ErrorKind::RefusedByGuard, "{refused}");
    let m2 = bench.by_copy("m2", |at| put(at, &["one", "more"]));
    let chosen = choose(m1, m2).unwrap().output;
    assert_eq!(text(&chosen, "member"), "m2");
}

/// Rows: E4, E5. The old pair comes back at the same addresses and forms its old cluster.
#[test]
fn changes_of_membership_go_to_the_cluster_that_the_run_built() {
    let bench = Bench::of(Layout::of(3));
    bench.etcd.put_many("m1", "k", 10);
    bench.etcd.kill9("m2");
    bench.etcd.kill9("m3");
    bench.etcd.wait_leaderless("m1");
    let snapshot = bench.act("etcd.snapshot", "m1", &[]);
    bench.act("host.service.stop", "m1", &[]);
    let restored = bench.rebuild("m1", &snapshot);
    bench.etcd.start("m2");
    bench.etcd.start("m3");
    eventually(GENEROUS, "the old pair has a leader", || {
        bench.etcd.status("m2").is_some_and(|status| status.leader.is_some())
    });
    assert!(bench.look().voters.is_none(), "two clusters name leaders");
    let compared = bench.try_("etcd.compare", &[]).unwrap().output;
    let ids = compared.get("cluster_ids").and_then(Value::as_list).unwrap();
    assert_eq!(ids, [restored.get("cluster_id").unwrap().clone()]);
    let added = bench.act("etcd.member_add_learner", "m2", &[]);
    let id = ("id", added.get("id").unwrap().clone());
    let second = bench.try_member("etcd.member_add_learner", "m3", &[]).unwrap_err();
    assert_eq!(second.kind, ErrorKind::TooManyLearners);
    assert!(bench.try_("etcd.member_remove", std::slice::from_ref(&id)).unwrap().changed);
    assert!(!bench.try_("etcd.member_remove", &[id]).unwrap().changed);
    let taken = bench.try_member("etcd.data_out", "m2", &[("to", Value::str("old"))]).unwrap_err();
    assert_eq!(taken.kind, ErrorKind::Conflict, "it runs");
    let other = Bench { run: RunId(uuid::Uuid::now_v7()), ..bench };
    assert_eq!(other.try_("etcd.compare", &[]).unwrap_err().kind, ErrorKind::Conflict);
}

/// Rows: A20, A21, A24, A25. What took effect already is no failure, and changes nothing again; a
/// member that never started has no name and goes by its id.
#[test]
fn a_change_of_membership_is_made_once_however_often_it_is_asked_for() {
    let bench = Bench::of(Layout::of(3));
    bench.etcd.put_many("m1", "k", 10);
    let id = format!("{:016x}", bench.etcd.status("m3").unwrap().id);
    bench.etcd.destroy("m3");
    let by_id = |action: &str, id: &Value| bench.try_(action, &[("id", id.clone())]);
    let again = |action: &str, id: &Value| {
        let first = eventually_some(GENEROUS, action, || match by_id(action, id) {
            Ok(done) => Some(done.changed),
            Err(failure) => {
                let waits = [ErrorKind::NotInSync, ErrorKind::UnhealthyCluster];
                assert!(waits.contains(&failure.kind), "{action}: {failure}");
                None
            }
        });
        (first, by_id(action, id).unwrap().changed)
    };
    assert_eq!(again("etcd.member_remove", &Value::str(id)), (true, false));
    let add = || {
        eventually_some(GENEROUS, "it is added", || {
            bench.try_member("etcd.member_add_learner", "m3", &[]).ok()
        })
    };
    let unstarted = add().output.get("id").unwrap().clone();
    assert_eq!(again("etcd.member_remove", &unstarted), (true, false));
    let added = add().output;
    assert_eq!(add().output, added, "the one that is there is taken");
    let arguments = Value::map([
        ("initial-cluster-state", Value::str("existing")),
        ("initial-cluster", added.get("initial_cluster").unwrap().clone()),
    ]);
    bench.act("host.service.set_args", "m3", &[("args", arguments)]);
    bench.act("host.service.start", "m3", &[]);
    assert_eq!(again("etcd.member_promote", added.get("id").unwrap()), (true, false));
    assert_eq!(bench.look().voters.unwrap().voters().count(), 3);
}
