//! What etcd's errors mean, sentence by sentence.

use super::*;

/// Code, message, and what they mean for a reading and for a retry.
const ROWS: &[(i32, &str, Cause, ErrorKind)] = &[
    (
        9,
        "etcdserver: can only promote a learner member which is in sync with leader",
        Cause::Conflicting,
        ErrorKind::NotInSync,
    ),
    (9, "etcdserver: can only promote a learner member", Cause::Conflicting, ErrorKind::Conflict),
    (
        9,
        "etcdserver: too many learner members in cluster",
        Cause::Conflicting,
        ErrorKind::TooManyLearners,
    ),
    (14, "etcdserver: unhealthy cluster", Cause::Conflicting, ErrorKind::UnhealthyCluster),
    (
        9,
        "etcdserver: re-configuration failed due to not enough started members",
        Cause::Conflicting,
        ErrorKind::UnhealthyCluster,
    ),
    (5, "etcdserver: member not found", Cause::Vanished, ErrorKind::NotFound),
    (9, "etcdserver: Peer URLs already exists", Cause::Conflicting, ErrorKind::Conflict),
    (14, "etcdserver: rpc not supported for learner", Cause::Unsupported, ErrorKind::Unavailable),
    (
        14,
        "retrying of unary invoker failed: etcdserver: rpc not supported for learner",
        Cause::Unsupported,
        ErrorKind::Unavailable,
    ),
    (
        11,
        "etcdserver: mvcc: required revision has been compacted",
        Cause::Vanished,
        ErrorKind::Moved,
    ),
    (
        11,
        "etcdserver: mvcc: required revision is a future revision",
        Cause::Vanished,
        ErrorKind::Moved,
    ),
    (14, "etcdserver: no leader", Cause::Timeout, ErrorKind::Unavailable),
    (14, "etcdserver: request timed out", Cause::Timeout, ErrorKind::Timeout),
    (4, "context deadline exceeded", Cause::Timeout, ErrorKind::Timeout),
    (1, "Timeout expired", Cause::Timeout, ErrorKind::Timeout),
    (7, "etcdserver: permission denied", Cause::Auth, ErrorKind::Denied),
    (3, "etcdserver: user name is empty", Cause::Auth, ErrorKind::Denied),
    (16, "etcdserver: invalid auth token", Cause::Auth, ErrorKind::Denied),
    (
        14,
        "tcp connect error: Connection refused (os error 111)",
        Cause::Refused,
        ErrorKind::Unavailable,
    ),
    (14, "transport error: invalid peer certificate: UnknownIssuer", Cause::Tls, ErrorKind::Denied),
    (
        14,
        "tcp connect error: No route to host (os error 113)",
        Cause::Timeout,
        ErrorKind::Unavailable,
    ),
    (12, "unknown method", Cause::Unsupported, ErrorKind::Invalid),
    (8, "etcdserver: mvcc: database space exceeded", Cause::Refused, ErrorKind::Other),
];

#[test]
fn errors_mean_what_etcd_says() {
    for (code, message, cause, kind) in ROWS.iter().copied() {
        assert_eq!(classify(code, message), (cause, kind), "{message}");
    }
}

#[tokio::test]
async fn a_closed_port_is_refused_and_a_silent_one_times_out() {
    let etcd = crate::targets::testing::mk_cluster(
        Path::new("/nowhere"),
        &[],
        crate::targets::testing::no_tools(),
    )
    .etcd;
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for (at, cause) in [(closed, Cause::Refused), (silent.local_addr().unwrap(), Cause::Timeout)] {
        let limit = Duration::from_millis(500);
        let mut api = Api::connect(&etcd, &format!("http://{at}"), false, limit).await.unwrap();
        assert_eq!(api.status().await.unwrap_err().cause, cause, "{at}");
    }
}
