//! Starts real components, asks them, breaks them, and ends exactly what it started.
//!
//! Synchronous on purpose: a test reads as a list of things done, and `Drop` can clean up. Waiting
//! is always for a condition (`eventually`), never for a time. A whole way reads like this:
//!
//! ```text
//! let etcd = Layout::of(3).start();                       // also .with_tls(), .on(hosts)
//! let setup = Setup::of(&etcd, "lab").auto(100).grace("{for: 3s, samples: 3, max_gap: 2s}");
//! let alertmanager = Alertmanager::posting_to(&setup.webhook()).start();
//! let prometheus = Prometheus::wanted().scrape_etcd(&etcd, "lab").shipped_rules("1s")
//!     .alert_to(&alertmanager).start();
//! let quorate = setup.prometheus(&prometheus).alertmanager(&alertmanager).start();
//! etcd.put_many("m1", "k", 500);
//! etcd.destroy("m1");
//! etcd.destroy("m2");
//! eventually(GENEROUS, "it is healed", || quorate.get("clusters/lab").json()["verdict"] == "healthy");
//! ```
#![allow(dead_code, reason = "a set of tools; which ones the tests of the day use varies")]

use std::{
    future::Future,
    sync::{Condvar, LazyLock, Mutex, Once},
    thread,
    time::{Duration, Instant},
};

use tokio::runtime::Runtime;

pub(crate) use self::{
    alertmanager::{Alertmanager, Generation},
    certs::Certs,
    client::{Ack, Client},
    dice::Dice,
    dir::TestDir,
    etcd::{Etcd, Layout, Member},
    netns::Hosts,
    ports::{free_port, free_ports},
    prometheus::Prometheus,
    quorate::{Quorate, Setup},
    relay::Relay,
    slow::SlowLine,
    tools::Tools,
    webhook::Webhook,
};

mod alertmanager;
mod certs;
mod client;
mod daemon;
mod dice;
mod dir;
mod etcd;
pub(crate) mod http;
mod netns;
mod ports;
mod prometheus;
mod quorate;
mod relay;
mod slow;
pub(crate) mod store;
mod tools;
mod webhook;

/// Long enough for a slow machine with two clusters at once; a test that meets it has failed.
pub(crate) const GENEROUS: Duration = Duration::from_mins(1);

/// Real clusters that may run at the same time: two cores are few.
const CLUSTERS_MAX: usize = 2;

/// Waits until `condition` holds, asking 20 times a second; panics with `what` after `within`.
#[track_caller]
pub(crate) fn eventually(within: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    eventually_some(within, what, || condition().then_some(()));
}

/// Waits until `ask` gives a value, and returns it.
#[track_caller]
pub(crate) fn eventually_some<T>(
    within: Duration,
    what: &str,
    mut ask: impl FnMut() -> Option<T>,
) -> T {
    let began = Instant::now();
    loop {
        if let Some(value) = ask() {
            return value;
        }
        assert!(began.elapsed() < within, "not within {within:?}: {what}");
        thread::sleep(Duration::from_millis(50));
    }
}

/// Runs a future to its end on the runtime that all tests of this process share.
pub(crate) fn wait_for<T>(future: impl Future<Output = T>) -> T {
    static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime needs nothing that a test machine lacks")
    });
    RUNTIME.block_on(future)
}

/// TLS in reqwest needs a process-wide provider, as quorate's own `main` sets one.
pub(crate) fn use_ring() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        rustls::crypto::ring::default_provider().install_default().expect("installed only here");
    });
}

/// One of the places for a real cluster; given back on drop.
///
/// Assumes that a test holds one at a time: two tests that each wait for a second one would wait
/// for ever.
#[derive(Debug)]
pub(crate) struct Slot;

static SLOTS_TAKEN: Mutex<usize> = Mutex::new(0);
static SLOT_FREED: Condvar = Condvar::new();

impl Slot {
    /// Waits for a free place.
    pub(crate) fn take() -> Self {
        let taken = SLOTS_TAKEN.lock().unwrap();
        let mut taken = SLOT_FREED.wait_while(taken, |taken| *taken >= CLUSTERS_MAX).unwrap();
        *taken += 1;
        Self
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        *SLOTS_TAKEN.lock().unwrap() -= 1;
        SLOT_FREED.notify_one();
    }
}
