//! Connections to one member's API, and what its errors mean.
//!
//! A connection is made for one question or one action and then dropped: certificates and
//! passwords are read at use, so a renewed one counts at once. `connect` of the client library is
//! lazy: nothing was reached until a call answered. Every call here has a limit.

use std::{future::Future, path::Path, time::Duration};

use etcd_client::{
    Certificate, Client, ConnectOptions, GetOptions, Identity, Member as ApiMember, TlsOptions,
};

use crate::domain::{
    base::id::EtcdId,
    etcd::{
        evidence::{ListedMember, Status},
        reading::Cause,
    },
    inventory::Etcd,
    rules::action::{ErrorKind, Failure},
};

/// Limit of a call that waits on raft: etcd itself gives up after 7 s.
pub(crate) const RAFT: Duration = Duration::from_secs(9);

/// Bytes of a database that are hashed in a second at the very least: a warm one takes 1.0 to 1.6 s
/// for a gigabyte, a cold one as long as its disk needs.
const HASHED: u64 = 32 * 1024 * 1024;

/// A call that did not succeed, as a reading and as a failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Trouble {
    pub(crate) cause: Cause,
    pub(crate) kind: ErrorKind,
    pub(crate) detail: String,
}

impl Trouble {
    /// The failure of what was being done, on what.
    pub(crate) fn failure(&self, what: &str) -> Failure {
        Failure::new(self.kind, format!("{what}: {}", self.detail))
    }

    fn new(cause: Cause, kind: ErrorKind, detail: impl Into<String>) -> Self {
        Self { cause, kind, detail: detail.into() }
    }
}

impl From<etcd_client::Error> for Trouble {
    fn from(error: etcd_client::Error) -> Self {
        let (code, detail) = match &error {
            etcd_client::Error::GRpcStatus(status) => {
                let mut detail = status.message().to_owned();
                let mut source = std::error::Error::source(status);
                while let Some(inner) = source {
                    detail = format!("{detail}: {inner}");
                    source = inner.source();
                }
                (status.code() as i32, detail)
            }
            etcd_client::Error::TransportError(inner) => {
                let mut detail = inner.to_string();
                let mut source = std::error::Error::source(inner);
                while let Some(inner) = source {
                    detail = format!("{detail}: {inner}");
                    source = inner.source();
                }
                (UNAVAILABLE, detail)
            }
            other => (UNKNOWN, other.to_string()),
        };
        let (cause, kind) = classify(code, &detail);
        Self::new(cause, kind, detail)
    }
}

const CANCELLED: i32 = 1;
const UNKNOWN: i32 = 2;
const DEADLINE_EXCEEDED: i32 = 4;
const NOT_FOUND: i32 = 5;
const PERMISSION_DENIED: i32 = 7;
const OUT_OF_RANGE: i32 = 11;
const UNIMPLEMENTED: i32 = 12;
const UNAVAILABLE: i32 = 14;
const UNAUTHENTICATED: i32 = 16;

/// What a gRPC code with this message means: etcd's own sentences first, then the transport's,
/// then the code. A message is matched by its stable middle, never as a whole.
pub(crate) fn classify(code: i32, message: &str) -> (Cause, ErrorKind) {
    let sentences = [
        ("learner member which is in sync with leader", Cause::Conflicting, ErrorKind::NotInSync),
        ("too many learner members", Cause::Conflicting, ErrorKind::TooManyLearners),
        ("unhealthy cluster", Cause::Conflicting, ErrorKind::UnhealthyCluster),
        ("not enough started members", Cause::Conflicting, ErrorKind::UnhealthyCluster),
        ("member not found", Cause::Vanished, ErrorKind::NotFound),
        (NOT_LEARNER, Cause::Conflicting, ErrorKind::Conflict),
        ("Peer URLs already exists", Cause::Conflicting, ErrorKind::Conflict),
        ("member ID already exist", Cause::Conflicting, ErrorKind::Conflict),
        ("rpc not supported for learner", Cause::Unsupported, ErrorKind::Unavailable),
        ("required revision", Cause::Vanished, ErrorKind::Moved),
        ("no leader", Cause::Timeout, ErrorKind::Unavailable),
        ("leader changed", Cause::Timeout, ErrorKind::Unavailable),
        ("not capable", Cause::Unsupported, ErrorKind::Unavailable),
        ("request timed out", Cause::Timeout, ErrorKind::Timeout),
        ("authentication", Cause::Auth, ErrorKind::Denied),
        ("auth token", Cause::Auth, ErrorKind::Denied),
        ("user name is empty", Cause::Auth, ErrorKind::Denied),
        ("permission denied", Cause::Auth, ErrorKind::Denied),
        ("certificate", Cause::Tls, ErrorKind::Denied),
        ("handshake", Cause::Tls, ErrorKind::Denied),
        ("received corrupt message", Cause::Tls, ErrorKind::Denied),
        ("refused", Cause::Refused, ErrorKind::Unavailable),
        ("reset", Cause::Refused, ErrorKind::Unavailable),
        ("broken pipe", Cause::Refused, ErrorKind::Unavailable),
    ];
    if let Some((_, cause, kind)) = sentences.iter().find(|(part, ..)| message.contains(part)) {
        return (*cause, *kind);
    }
    match code {
        CANCELLED | DEADLINE_EXCEEDED => (Cause::Timeout, ErrorKind::Timeout),
        NOT_FOUND => (Cause::Vanished, ErrorKind::NotFound),
        PERMISSION_DENIED | UNAUTHENTICATED => (Cause::Auth, ErrorKind::Denied),
        OUT_OF_RANGE => (Cause::Vanished, ErrorKind::Moved),
        UNIMPLEMENTED => (Cause::Unsupported, ErrorKind::Invalid),
        UNAVAILABLE => (Cause::Timeout, ErrorKind::Unavailable),
        _ => (Cause::Refused, ErrorKind::Other),
    }
}

/// The part of etcd's answer to a promotion of what is no learner (any more).
pub(crate) const NOT_LEARNER: &str = "can only promote a learner member";

/// One member's API.
pub(crate) struct Api {
    client: Client,
    limit: Duration,
}

impl Api {
    /// A connection with client certificates. `signed_in` uses etcd's own user too, which needs a
    /// leader: reads that must work without one go without.
    pub(crate) async fn connect(
        etcd: &Etcd,
        url: &str,
        signed_in: bool,
        limit: Duration,
    ) -> Result<Self, Trouble> {
        let mut options = ConnectOptions::new().with_connect_timeout(limit);
        if url.starts_with("https://") {
            options = options.with_tls(tls(etcd)?);
        }
        if let Some(auth) = etcd.auth.as_ref().filter(|_| signed_in) {
            let password = read(&auth.password_file)?;
            let password =
                String::from_utf8_lossy(&password).trim_end_matches(['\r', '\n']).to_owned();
            options = options.with_user(auth.username.as_str(), password);
        }
        let client = within(limit, Client::connect([url], Some(options))).await?;
        Ok(Self { client, limit })
    }

    /// `Maintenance.Status`.
    pub(crate) async fn status(&mut self) -> Result<Status, Trouble> {
        let answer = within(self.limit, self.client.status()).await?;
        let header = answer
            .header()
            .map(|header| (header.member_id(), header.cluster_id(), header.revision()));
        let (member, cluster, revision) = header.unwrap_or_default();
        Ok(Status {
            member_id: EtcdId(member),
            cluster_id: EtcdId(cluster),
            leader: Some(answer.leader()).filter(|id| *id != 0).map(EtcdId),
            learner: answer.is_learner(),
            revision,
            raft_term: answer.raft_term(),
            raft_index: answer.raft_index(),
            applied_index: answer.raft_applied_index(),
            version: answer.version().into(),
            db_size: answer.db_size(),
            errors: answer.errors().to_vec(),
        })
    }

    /// The member list as this member has it: it is linearizable only right after a linearizable
    /// read on the same connection.
    pub(crate) async fn members(&mut self) -> Result<Vec<ListedMember>, Trouble> {
        let answer = within(self.limit, self.client.member_list()).await?;
        Ok(answer.members().iter().map(listed).collect())
    }

    /// A linearizable read; the revision it was answered at.
    pub(crate) async fn linearize(&mut self) -> Result<i64, Trouble> {
        let options = GetOptions::new().with_count_only();
        let answer = within(self.limit, self.client.get("\0", Some(options))).await?;
        Ok(answer.header().map_or(0, etcd_client::ResponseHeader::revision))
    }

    /// A linearizable read and then the member list: the membership that raft agreed on.
    pub(crate) async fn linearizable_members(&mut self) -> Result<Vec<ListedMember>, Trouble> {
        self.linearize().await?;
        self.members().await
    }

    /// The hash of all keys at a revision, and the compacted revision; `status` is this member's.
    ///
    /// At the revision of its last compaction etcd answers from memory with what it hashed before it
    /// removed anything, until it restarts: equal members would differ. What is asked for as "the
    /// current one" it hashes anew.
    pub(crate) async fn hash_kv(
        &mut self,
        revision: i64,
        status: &Status,
    ) -> Result<(i64, i64), Trouble> {
        let limit = hashing(status.db_size);
        if status.revision == revision {
            let answer = within(limit, self.client.hash_kv(0)).await?;
            if answer.header().is_some_and(|header| header.revision() == revision) {
                return Ok((answer.hash().into(), answer.compact_version()));
            }
        }
        let answer = within(limit, self.client.hash_kv(revision)).await?;
        Ok((answer.hash().into(), answer.compact_version()))
    }

    /// The client itself, for calls that only one action makes; [`within`] bounds them.
    pub(crate) fn client(&mut self) -> &mut Client {
        &mut self.client
    }
}

/// Limit of a hash of all keys: etcd reads the whole database for it.
fn hashing(bytes: i64) -> Duration {
    let read = u64::try_from(bytes).unwrap_or(0) / HASHED;
    RAFT + Duration::from_secs(read)
}

/// Bounds a call.
pub(crate) async fn within<T>(
    limit: Duration,
    call: impl Future<Output = Result<T, etcd_client::Error>>,
) -> Result<T, Trouble> {
    // Boxed: the client's futures are large, and every action holds several.
    if let Ok(answer) = tokio::time::timeout(limit, Box::pin(call)).await {
        return answer.map_err(Trouble::from);
    }
    let detail = format!("no answer within {} ms", limit.as_millis());
    Err(Trouble::new(Cause::Timeout, ErrorKind::Timeout, detail))
}

/// One row of a member list.
pub(crate) fn listed(member: &ApiMember) -> ListedMember {
    ListedMember {
        id: EtcdId(member.id()),
        name: member.name().into(),
        peer_urls: member.peer_urls().to_vec(),
        client_urls: member.client_urls().to_vec(),
        learner: member.is_learner(),
    }
}

fn tls(etcd: &Etcd) -> Result<TlsOptions, Trouble> {
    let Some(files) = &etcd.tls else { return Ok(TlsOptions::new()) };
    let mut options =
        TlsOptions::new().ca_certificate(Certificate::from_pem(read(&files.ca_file)?));
    if let Some((cert, key)) = files.cert_file.as_ref().zip(files.key_file.as_ref()) {
        options = options.identity(Identity::from_pem(read(cert)?, read(key)?));
    }
    Ok(options)
}

/// Reads a certificate, key or password at use.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, Trouble> {
    std::fs::read(path).map_err(|error| {
        let detail = format!("reading {} failed: {error}", path.display());
        Trouble::new(Cause::Tls, ErrorKind::Denied, detail)
    })
}

#[cfg(test)]
mod tests;
