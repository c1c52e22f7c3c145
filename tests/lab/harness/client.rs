//! A client that writes to the cluster all the time, and remembers what was acknowledged.
//!
//! It asks every member, also those that somebody else would call dead: who takes a write is
//! writable, whatever quorate thinks of it.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use super::Etcd;

/// Between two writes: they fill the journal of no member, and many fall into every second.
const PACE: Duration = Duration::from_millis(20);

/// A write that was acknowledged.
#[derive(Clone, Debug)]
pub(crate) struct Ack {
    /// The key.
    pub(crate) key: String,
    /// The id of the cluster that took it.
    pub(crate) cluster: u64,
    /// Its revision there.
    pub(crate) revision: i64,
}

/// What a client has seen so far.
#[derive(Debug, Default)]
pub(crate) struct Client {
    acks: Mutex<Vec<Ack>>,
    stopped: AtomicBool,
}

impl Client {
    /// Writes while `body` runs.
    pub(crate) fn beside<T>(etcd: &Etcd, body: impl FnOnce(&Self) -> T) -> T {
        let client = Self::default();
        thread::scope(|scope| {
            scope.spawn(|| client.write(etcd));
            let _stop = Stop(&client);
            body(&client)
        })
    }

    /// Every write that was acknowledged so far, in order.
    pub(crate) fn acks(&self) -> Vec<Ack> {
        self.acks.lock().unwrap().clone()
    }

    fn write(&self, etcd: &Etcd) {
        let names: Vec<&str> = etcd.names().collect();
        for n in 0.. {
            if self.stopped.load(Ordering::SeqCst) {
                return;
            }
            let key = format!("w{n:06}");
            if let Some((cluster, revision)) = etcd.write(names[n % names.len()], &key) {
                self.acks.lock().unwrap().push(Ack { key, cluster, revision });
            }
            thread::sleep(PACE);
        }
    }
}

/// Ends the writing also where the test fails: the scope waits for it.
struct Stop<'c>(&'c Client);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.stopped.store(true, Ordering::SeqCst);
    }
}
