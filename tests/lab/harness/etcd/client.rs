//! Asks and writes, each call to one named member and with a bound on its time.
//!
//! Reads are serializable: what this member has on its own disk, with or without a quorum.

use std::{collections::BTreeSet, future::Future, time::Duration};

use etcd_client::{
    Certificate, Client, ConnectOptions, Error, GetOptions, Identity, KeyValue, TlsOptions,
};

use super::Etcd;
use crate::harness::{GENEROUS, eventually_some, wait_for};

/// A call that takes longer has no answer.
const TIMEOUT: Duration = Duration::from_secs(3);

/// What a member says of itself.
#[derive(Clone, Debug)]
pub(crate) struct Status {
    /// The member's id.
    pub(crate) id: u64,
    /// The cluster's id.
    pub(crate) cluster: u64,
    /// The leader's id, if it sees one.
    pub(crate) leader: Option<u64>,
    /// Revision of its store.
    pub(crate) revision: i64,
    /// Raft index.
    pub(crate) index: u64,
    /// Raft term.
    pub(crate) term: u64,
    /// Whether it is a learner.
    pub(crate) learner: bool,
}

/// A row of the member list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listed {
    /// The member's id.
    pub(crate) id: u64,
    /// Its name, empty before its first start.
    pub(crate) name: String,
    /// Whether it is a learner.
    pub(crate) learner: bool,
    /// Its peer URLs.
    pub(crate) peers: Vec<String>,
}

/// A hash over all keys at a revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hash {
    /// The hash itself.
    pub(crate) value: u32,
    /// The compact revision it depends on.
    pub(crate) compact_revision: i64,
    /// The member's revision when it answered.
    pub(crate) revision: i64,
}

impl Etcd {
    /// What the member says of itself; `None` when it does not answer.
    pub(crate) fn status(&self, name: &str) -> Option<Status> {
        let answer = self.ask(name, async |mut client| client.status().await).ok()?;
        let header = answer.header()?;
        Some(Status {
            id: header.member_id(),
            cluster: header.cluster_id(),
            leader: Some(answer.leader()).filter(|leader| *leader != 0),
            revision: header.revision(),
            index: answer.raft_index(),
            term: answer.raft_term(),
            learner: answer.is_learner(),
        })
    }

    /// Waits until all members that run agree on a leader among them; returns its name.
    #[track_caller]
    pub(crate) fn wait_leader(&self) -> String {
        eventually_some(GENEROUS, "the running members agree on a leader", || {
            let running: Vec<&str> = self.names().filter(|name| self.pid(name).is_some()).collect();
            let mut leader = None;
            let mut seen = None;
            for name in running {
                let status = self.status(name)?;
                if *seen.get_or_insert(status.leader?) != status.leader? {
                    return None;
                }
                if status.leader == Some(status.id) {
                    leader = Some(name.to_owned());
                }
            }
            leader
        })
    }

    /// Waits until the member answers and sees no leader.
    #[track_caller]
    pub(crate) fn wait_leaderless(&self, name: &str) -> Status {
        eventually_some(GENEROUS, &format!("{name} sees no leader"), || {
            self.status(name).filter(|status| status.leader.is_none())
        })
    }

    /// Writes one key; returns its revision.
    pub(crate) fn put(&self, name: &str, key: &str, value: &str) -> Result<i64, Error> {
        let answer = self.ask(name, async |mut client| client.put(key, value, None).await)?;
        Ok(answer.header().expect("etcd always sends a header").revision())
    }

    /// Writes one key; the id of the cluster that took it and its revision there, where one did.
    pub(crate) fn write(&self, name: &str, key: &str) -> Option<(u64, i64)> {
        let answer = self.ask(name, async |mut client| client.put(key, "v", None).await).ok()?;
        let header = answer.header()?;
        Some((header.cluster_id(), header.revision()))
    }

    /// Every key with this prefix that the member has; `None` when it does not answer.
    pub(crate) fn keys(&self, name: &str, prefix: &str) -> Option<BTreeSet<String>> {
        let options = GetOptions::new().with_serializable().with_prefix().with_keys_only();
        let ask = self.ask(name, async |mut client| client.get(prefix, Some(options)).await);
        let keys = ask.ok()?;
        Some(keys.kvs().iter().map(|pair| pair.key_str().unwrap().to_owned()).collect())
    }

    /// Writes `prefix00000` and on, each key a revision of its own; returns the last revision.
    #[track_caller]
    pub(crate) fn put_many(&self, name: &str, prefix: &str, count: u32) -> i64 {
        let value = "v".repeat(64);
        wait_for(async {
            let mut client = self.connect(name).await.unwrap();
            let mut revision = 0;
            for n in 0..count {
                let answer = client.put(format!("{prefix}{n:05}"), value.as_str(), None).await;
                revision = answer.unwrap().header().unwrap().revision();
            }
            revision
        })
    }

    /// The value this member has for the key.
    pub(crate) fn get_serializable(&self, name: &str, key: &str) -> Option<String> {
        let options = GetOptions::new().with_serializable();
        let answer =
            self.ask(name, async |mut client| client.get(key, Some(options)).await).ok()?;
        answer.kvs().first().map(|pair: &KeyValue| pair.value_str().unwrap().to_owned())
    }

    /// How many keys with this prefix the member has; `None` when it does not answer.
    pub(crate) fn count_keys(&self, name: &str, prefix: &str) -> Option<i64> {
        let options = GetOptions::new().with_serializable().with_prefix().with_count_only();
        let ask = self.ask(name, async |mut client| client.get(prefix, Some(options)).await);
        ask.ok().map(|answer| answer.count())
    }

    /// The member list as this member has it, by id; `None` when it does not answer.
    pub(crate) fn member_list(&self, name: &str) -> Option<Vec<Listed>> {
        let answer = self.ask(name, async |mut client| client.member_list().await).ok()?;
        let mut members: Vec<Listed> = answer
            .members()
            .iter()
            .map(|member| Listed {
                id: member.id(),
                name: member.name().to_owned(),
                learner: member.is_learner(),
                peers: member.peer_urls().to_vec(),
            })
            .collect();
        members.sort_by_key(|member| member.id);
        Some(members)
    }

    /// The hash over all keys at `revision`, or at the member's newest for 0.
    pub(crate) fn hashkv(&self, name: &str, revision: i64) -> Option<Hash> {
        let ask = self.ask(name, async |mut client| client.hash_kv(revision).await);
        let answer = ask.ok()?;
        Some(Hash {
            value: answer.hash(),
            compact_revision: answer.compact_version(),
            revision: answer.header()?.revision(),
        })
    }

    fn ask<T, F: Future<Output = Result<T, Error>>>(
        &self,
        name: &str,
        call: impl FnOnce(Client) -> F,
    ) -> Result<T, Error> {
        wait_for(async { call(self.connect(name).await?).await })
    }

    async fn connect(&self, name: &str) -> Result<Client, Error> {
        let mut options = ConnectOptions::new().with_timeout(TIMEOUT).with_connect_timeout(TIMEOUT);
        if let Some(certs) = self.certs() {
            let read = |name: &str, kind: &str| std::fs::read(certs.file(name, kind)).unwrap();
            let tls = TlsOptions::new()
                .ca_certificate(Certificate::from_pem(read("ca", "crt")))
                .identity(Identity::from_pem(read("client", "crt"), read("client", "key")));
            options = options.with_tls(tls);
        }
        Client::connect([self.member(name).client.as_str()], Some(options)).await
    }
}
