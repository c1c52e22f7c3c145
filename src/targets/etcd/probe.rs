//! One look at a cluster: every member by every vantage, all in parallel.
//!
//! Nothing here judges and nothing changes anything. A vantage that does not answer is a reading
//! with a cause; the look as a whole never fails and no silent member delays it by more than the
//! probe timeout (twice, where a member that names a leader then does not answer a read).

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    time::{Duration, Instant},
};

use futures::{
    StreamExt as _,
    future::{join, join_all, join4},
    stream::FuturesUnordered,
};
use serde::Deserialize;

use super::{
    client::{Api, Trouble},
    metrics,
};
use crate::{
    domain::{
        base::{
            id::{EtcdId, HostName, MemberName, RunId},
            time::Time,
        },
        etcd::{
            evidence::{
                ControlReading, Evidence, HostEvidence, ListedMember, MemberEvidence, MetricsView,
                PeerView, Status, VoterSet,
            },
            reading::{Cause, Reading},
        },
        inventory::{Cluster, Member},
        rules::action::Failure,
    },
    targets::{
        BRIEF, Depth,
        host::{files, places::Places, service},
        http::{self, Silence, Trust},
    },
};

type Now<'a> = &'a (dyn Fn() -> Time + Send + Sync);

/// One look.
pub(crate) async fn look(cluster: &Cluster, depth: Depth, now: Now<'_>) -> Evidence {
    let brief: Cluster;
    let cluster = if depth == Depth::Brief {
        let probe_timeout = cluster.probe_timeout.min(BRIEF);
        brief = Cluster { probe_timeout, ..cluster.clone() };
        &brief
    } else {
        cluster
    };
    let plain = http::client(Trust::Nobody, cluster.probe_timeout);
    let peers = http::client(
        cluster.etcd.tls.as_ref().map_or(Trust::Nobody, Trust::Files),
        cluster.probe_timeout,
    );
    let clients = Clients { plain: &plain, peers: &peers };
    let api_trust = Trust::of(cluster.prometheus.iter().map(|api| &api.url));
    let prometheus = http::client(api_trust, cluster.probe_timeout);
    let members = async {
        let looks = cluster
            .etcd
            .members
            .iter()
            .map(|member| look_at(cluster, member, depth, &clients, now));
        let members: BTreeMap<MemberName, MemberEvidence> =
            join_all(looks).await.into_iter().collect();
        let voters = voter_set(cluster, &members).await;
        (members, voters)
    };
    let up = async {
        match (&cluster.prometheus, depth, &prometheus) {
            (Some(endpoint), Depth::Full | Depth::FailFast | Depth::Brief, Ok(client)) => {
                Some(read(now, crate::targets::prometheus::up(client, endpoint, cluster)).await)
            }
            _ => None,
        }
    };
    let backups = &cluster.etcd.backups.dir;
    let free = async {
        let dir = backups.clone();
        files::looked(backups, cluster.probe_timeout, move |_| files::free(&dir)).await.ok()
    };
    let all = join4(members, up, control(cluster, &plain), free).await;
    let ((mut members, voters), up, control, free_bytes) = all;
    if let Some(up) = up {
        spread(&mut members, &up);
    }
    let hosts = cluster.hosts.keys().map(|name| {
        let reachable = is_reachable(name, &members);
        (name.clone(), HostEvidence { reachable, free_bytes: free_bytes.filter(|_| reachable) })
    });
    let hosts = hosts.collect();
    Evidence { cluster: cluster.name.clone(), at: now(), control, members, hosts, voters }
}

/// Whether a host's transport answered: some question about a process on it was answered, or none
/// was asked.
fn is_reachable(host: &HostName, members: &BTreeMap<MemberName, MemberEvidence>) -> bool {
    let mut asked =
        members.values().filter(|member| member.host == *host && member.process.asked());
    let answered = asked.clone().any(|member| member.process.value().is_some());
    answered || asked.next().is_none()
}

struct Clients<'a> {
    plain: &'a Result<reqwest::Client, Silence>,
    peers: &'a Result<reqwest::Client, Silence>,
}

impl Clients<'_> {
    /// Who asks this URL: TLS files of the members' ports for https, nothing special for http.
    fn of(&self, url: &str) -> Result<&reqwest::Client, Silence> {
        let client = if url.starts_with("https://") { self.peers } else { self.plain };
        client.as_ref().map_err(Clone::clone)
    }
}

/// Puts a question and keeps when and how long.
async fn read<T>(now: Now<'_>, question: impl Future<Output = Result<T, Silence>>) -> Reading<T> {
    let asked = Instant::now();
    let answer = question.await;
    let took = u32::try_from(asked.elapsed().as_millis()).unwrap_or(u32::MAX);
    match answer {
        Ok(value) => Reading::known(value, now(), took),
        Err(silence) => Reading::unknown(silence.cause, silence.detail, now(), took),
    }
}

fn not_asked<T>(now: Now<'_>, detail: &str) -> Reading<T> {
    Reading::unknown(Cause::NotConfigured, detail, now(), 0)
}

impl From<Trouble> for Silence {
    fn from(trouble: Trouble) -> Self {
        Self { cause: trouble.cause, detail: trouble.detail }
    }
}

/// A host's answer: that a command or a file fails is no statement about the member.
fn host_silence(failure: Failure) -> Silence {
    use crate::domain::rules::action::ErrorKind;
    let cause = match failure.kind {
        ErrorKind::Timeout => Cause::Timeout,
        ErrorKind::Denied => Cause::Auth,
        _ => Cause::Unsupported,
    };
    Silence { cause, detail: failure.message }
}

async fn look_at(
    cluster: &Cluster,
    member: &Member,
    depth: Depth,
    clients: &Clients<'_>,
    now: Now<'_>,
) -> (MemberName, MemberEvidence) {
    let limit = cluster.probe_timeout;
    let client = read(now, status(cluster, &member.client, limit));
    let data = read(now, async {
        // Places of no run: only where the data stands is asked.
        let places = Places::new(cluster, member, RunId(uuid::Uuid::nil()));
        files::looked(&member.data_dir, limit, move |_| files::data(&places))
            .await
            .map_err(host_silence)
    });
    let (client, peer, metrics, process, data) = if depth == Depth::Watch {
        let (client, data) = join(client, data).await;
        let skipped = "not asked in a watch";
        (client, not_asked(now, skipped), not_asked(now, skipped), not_asked(now, skipped), data)
    } else {
        let peer = read(now, peer(clients, &member.peer));
        let metrics = async {
            match &member.metrics {
                Some(url) => read(now, metrics_view(clients, url)).await,
                None => not_asked(now, "no metrics listener is configured"),
            }
        };
        let process =
            read(now, async { service::status(member, limit).await.map_err(host_silence) });
        let others = join4(peer, metrics, process, data);
        let (client, (peer, metrics, process, data)) =
            Box::pin(beside(client, others, depth, now)).await;
        (client, peer, metrics, process, data)
    };
    let up = not_asked(now, "no Prometheus was asked");
    (
        member.name.clone(),
        MemberEvidence { host: member.host.clone(), client, peer, metrics, process, data, up },
    )
}

/// How much longer than a member's other ports its client port may be silent in a brisk look.
const BEHIND: Duration = Duration::from_millis(500);

type Others = (
    Reading<PeerView>,
    Reading<MetricsView>,
    Reading<Option<crate::domain::etcd::evidence::Process>>,
    Reading<crate::domain::etcd::evidence::Data>,
);

/// The client port beside everything else; given up early only in a brisk look, and only where the
/// member's other ports show that the network is not the reason.
async fn beside(
    client: impl Future<Output = Reading<Status>>,
    others: impl Future<Output = Others>,
    depth: Depth,
    now: Now<'_>,
) -> (Reading<Status>, Others) {
    if depth != Depth::FailFast {
        return join(client, others).await;
    }
    let (mut client, mut others) = (std::pin::pin!(client), std::pin::pin!(others));
    let others = tokio::select! {
        client = &mut client => return (client, others.await),
        others = &mut others => others,
    };
    if others.0.value().is_none() && others.1.value().is_none() {
        return (client.await, others);
    }
    let given_up = "silent although the member's other ports answered";
    let client = tokio::time::timeout(BEHIND, client).await;
    (client.unwrap_or_else(|_| Reading::unknown(Cause::Timeout, given_up, now(), 500)), others)
}

/// `Status` of a client port, without a user: it needs none, and signing in would need a leader.
pub(crate) async fn status(
    cluster: &Cluster,
    url: &str,
    limit: Duration,
) -> Result<Status, Silence> {
    let mut api = Api::connect(&cluster.etcd, url, false, limit).await?;
    Ok(api.status().await?)
}

#[derive(Deserialize)]
struct Version {
    etcdserver: String,
}

#[derive(Deserialize)]
struct Peer {
    id: u64,
    #[serde(default)]
    name: String,
    #[serde(default, rename = "peerURLs")]
    urls: Vec<String>,
    #[serde(default, rename = "clientURLs")]
    clients: Vec<String>,
    #[serde(default, rename = "isLearner")]
    learner: bool,
}

async fn peer(clients: &Clients<'_>, url: &str) -> Result<PeerView, Silence> {
    let client = clients.of(url)?;
    let (version_url, members_url) = (format!("{url}/version"), format!("{url}/members"));
    let (version, members) =
        join(http::get(client, &version_url, &[]), http::get(client, &members_url, &[])).await;
    let garbled = |error: serde_json::Error| Silence {
        cause: Cause::Unsupported,
        detail: format!("its answer cannot be read: {error}"),
    };
    let version: Version = serde_json::from_slice(&version?).map_err(garbled)?;
    let members: Vec<Peer> = serde_json::from_slice(&members?).map_err(garbled)?;
    let listed = |peer: Peer| ListedMember {
        id: EtcdId(peer.id),
        name: peer.name,
        peer_urls: peer.urls,
        client_urls: peer.clients,
        learner: peer.learner,
    };
    Ok(PeerView { version: version.etcdserver, members: members.into_iter().map(listed).collect() })
}

async fn metrics_view(clients: &Clients<'_>, url: &str) -> Result<MetricsView, Silence> {
    let page = http::get(clients.of(url)?, &format!("{url}/metrics"), &[]).await?;
    Ok(metrics::view(&String::from_utf8_lossy(&page)))
}

/// Gives each member its part of the one answer of Prometheus.
fn spread(
    members: &mut BTreeMap<MemberName, MemberEvidence>,
    up: &Reading<BTreeMap<MemberName, Result<bool, Silence>>>,
) {
    for (name, member) in members {
        let own = up.value().and_then(|all| all.get(name));
        member.up = match (own, &up.answer) {
            (Some(Ok(up_now)), _) => Reading::known(*up_now, up.at, up.took_ms),
            (Some(Err(silence)), _) => {
                Reading::unknown(silence.cause, silence.detail.as_str(), up.at, up.took_ms)
            }
            (None, crate::domain::etcd::reading::Answer::Unknown { cause, detail }) => {
                Reading::unknown(*cause, detail.as_str(), up.at, up.took_ms)
            }
            (None, crate::domain::etcd::reading::Answer::Known(_)) => Reading::unknown(
                Cause::Vanished,
                "Prometheus has no such target",
                up.at,
                up.took_ms,
            ),
        };
    }
}

/// The systems by which we see that we ourselves are not cut off: those off the patient's hosts.
async fn control(
    cluster: &Cluster,
    client: &Result<reqwest::Client, Silence>,
) -> Vec<ControlReading> {
    let asked = control_targets(cluster).into_iter().map(async |target| {
        let reachable = if target.contains("://") {
            match client {
                Ok(client) => http::answers(client, &target).await,
                Err(_) => false,
            }
        } else {
            let connect = tokio::net::TcpStream::connect(&target);
            matches!(tokio::time::timeout(cluster.probe_timeout, connect).await, Ok(Ok(_)))
        };
        ControlReading { target: shown(&target), reachable }
    });
    join_all(asked).await
}

/// A target as it may be shown: without credentials or query.
fn shown(target: &str) -> String {
    match target.split_once("://") {
        Some((scheme, _)) => format!("{scheme}://{}", http::authority(target)),
        None => target.into(),
    }
}

fn control_targets(cluster: &Cluster) -> Vec<String> {
    let apis =
        [&cluster.prometheus, &cluster.alertmanager].into_iter().flatten().map(|api| &api.url);
    let own: BTreeSet<&str> =
        cluster.hosts.values().filter_map(|host| host.address.as_deref()).collect();
    let all = apis.chain(&cluster.control_targets);
    all.filter(|target| !own.contains(http::host(target))).cloned().collect()
}

/// The voter set by a linearizable read: the first member that names a leader and answers. None
/// where leaders of two clusters are named: which of them is the patient is not for a look to say.
async fn voter_set(
    cluster: &Cluster,
    members: &BTreeMap<MemberName, MemberEvidence>,
) -> Option<VoterSet> {
    let naming = || {
        let statuses =
            members.iter().filter_map(|(name, member)| Some((name, member.client.value()?)));
        statuses.filter(|(_, status)| status.leader.is_some() && !status.learner)
    };
    let clusters: BTreeSet<EtcdId> = naming().map(|(_, status)| status.cluster_id).collect();
    if clusters.len() != 1 {
        return None;
    }
    let mut reads: FuturesUnordered<_> =
        naming().map(|(name, status)| linearized(cluster, name, status)).collect();
    while let Some(read) = reads.next().await {
        if read.is_some() {
            return read;
        }
    }
    None
}

async fn linearized(cluster: &Cluster, name: &MemberName, status: &Status) -> Option<VoterSet> {
    let member = cluster.member(name.as_str())?;
    let mut api =
        Api::connect(&cluster.etcd, &member.client, true, cluster.probe_timeout).await.ok()?;
    let revision = api.linearize().await.ok()?;
    let listed = api.members().await.ok()?;
    let members = listed.into_iter().map(|one| (name_of(cluster, &one), one)).collect();
    Some(VoterSet {
        cluster_id: status.cluster_id,
        members,
        revision,
        index: status.raft_index,
        from: name.clone(),
    })
}

/// The inventory's name of a listed member, by peer URL; its first peer URL where there is none.
pub(crate) fn name_of(cluster: &Cluster, listed: &ListedMember) -> MemberName {
    let plain = |url: &str| url.trim_end_matches('/').to_owned();
    let urls: Vec<String> = listed.peer_urls.iter().map(|url| plain(url)).collect();
    let known = cluster.etcd.members.iter().find(|member| urls.contains(&plain(&member.peer)));
    known.map_or_else(
        || urls.first().map_or("?", String::as_str).into(),
        |member| member.name.clone(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::inventory::Endpoint,
        targets::testing::{mk_cluster, no_tools},
    };

    #[test]
    fn what_stands_on_the_patients_hosts_is_no_control_target() {
        let mut cluster = mk_cluster(std::path::Path::new("/x"), &[1, 2, 3], no_tools());
        let api = |url: &str| Some(Endpoint { url: url.into(), bearer_file: None });
        cluster.prometheus = api("http://10.0.0.1:9090");
        cluster.alertmanager = api("http://u:secret@10.0.0.9:9093/base");
        cluster.control_targets = vec!["10.0.0.1:22".into(), "gateway:22".into()];
        cluster.hosts.values_mut().for_each(|host| host.address = Some("10.0.0.1".into()));
        let targets: Vec<String> =
            control_targets(&cluster).iter().map(|target| shown(target)).collect();
        assert_eq!(targets, ["http://10.0.0.9:9093", "gateway:22"]);
    }

    #[test]
    fn members_are_matched_by_peer_url_and_not_by_name() {
        let cluster = mk_cluster(std::path::Path::new("/x"), &[1, 2, 3, 4, 5, 6], no_tools());
        let listed = |name: &str, url: &str| ListedMember {
            id: EtcdId(1),
            name: name.into(),
            peer_urls: vec![url.into()],
            client_urls: Vec::new(),
            learner: true,
        };
        assert_eq!(name_of(&cluster, &listed("m1", "http://127.0.0.1:5")).as_str(), "m2");
        assert_eq!(name_of(&cluster, &listed("", "http://127.0.0.1:2/")).as_str(), "m1");
        assert_eq!(
            name_of(&cluster, &listed("m1", "http://10.9.9.9:2")).as_str(),
            "http://10.9.9.9:2"
        );
    }
}
