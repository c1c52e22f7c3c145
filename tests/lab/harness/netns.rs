//! Hosts as network namespaces: `h1` and on at 10.99.0.1 and on, and the test itself at 10.99.0.100.
//!
//! Nothing is routed to the machine's own network, so the test has to run inside: it starts itself
//! again in the control namespace. Needs root.

use std::{
    env,
    net::{IpAddr, Ipv4Addr},
    process::{self, Command},
    sync::atomic::{AtomicU32, Ordering},
};

use super::Slot;

/// Set for the inner run: the common part of the namespaces' names.
const INSIDE: &str = "QUORATE_LAB_HOSTS";

const PEER_PORT: &str = "2380";

/// Namespaces of one test.
#[derive(Debug)]
pub(crate) struct Hosts {
    id: String,
    count: u8,
    outer: bool,
}

impl Hosts {
    /// Runs `body` of the test called `test` (as the test runner names it) among `count` hosts.
    #[track_caller]
    pub(crate) fn with(count: u8, test: &str, body: impl FnOnce(&Self)) {
        if let Ok(id) = env::var(INSIDE) {
            return body(&Self { id, count, outer: false });
        }
        let _slot = Slot::take();
        let hosts = Self::create(count);
        let inner = Command::new("ip")
            .args(["netns", "exec", &hosts.control()])
            .arg(env::current_exe().unwrap())
            .args(["--exact", test, "--nocapture"])
            .env(INSIDE, &hosts.id)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&inner.stdout);
        // A name that is not a test's would pass without having run.
        let passed = inner.status.success() && said.contains("1 passed");
        let errors = String::from_utf8_lossy(&inner.stderr);
        assert!(passed, "{test} in its namespaces:\n{said}\n{errors}");
    }

    /// The address of host `n`, from 1.
    pub(crate) fn address(&self, n: u8) -> IpAddr {
        assert!((1..=self.count).contains(&n), "no host {n}");
        Ipv4Addr::new(10, 99, 0, n).into()
    }

    /// What makes a command run on host `n`.
    pub(crate) fn prefix(&self, n: u8) -> String {
        format!("ip netns exec {}", self.host(n))
    }

    /// Drops what goes between the peer ports of host `n` and all others; the test still reaches it.
    pub(crate) fn cut_peer_port(&self, n: u8) {
        for other in (1..=self.count).filter(|other| *other != n) {
            let from = self.address(other).to_string();
            for side in ["--dport", "--sport"] {
                let rule = ["-A", "INPUT", "-s", &from, "-p", "tcp", side, PEER_PORT, "-j", "DROP"];
                iptables(&self.host(n), &rule);
            }
        }
    }

    /// Drops everything between host `n` and the test.
    pub(crate) fn cut_from_control(&self, n: u8) {
        let from = self.address(n).to_string();
        iptables(&self.control(), &["-A", "INPUT", "-s", &from, "-j", "DROP"]);
    }

    /// Takes back every cut.
    pub(crate) fn heal(&self) {
        iptables(&self.control(), &["-F", "INPUT"]);
        (1..=self.count).for_each(|n| iptables(&self.host(n), &["-F", "INPUT"]));
    }

    fn create(count: u8) -> Self {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let made = MADE.fetch_add(1, Ordering::Relaxed);
        let hosts = Self { id: format!("quorate-{}-{made}", process::id()), count, outer: true };
        let control = hosts.control();
        run(&["ip", "netns", "add", &control]);
        let inside = ["ip", "-n", &control];
        let in_control = |args: &[&str]| run(&[&inside[..], args].concat());
        in_control(&["link", "set", "lo", "up"]);
        in_control(&["link", "add", "br0", "type", "bridge"]);
        in_control(&["addr", "add", "10.99.0.100/24", "dev", "br0"]);
        in_control(&["link", "set", "br0", "up"]);
        for n in 1..=count {
            let (host, port) = (hosts.host(n), format!("port{n}"));
            let address = format!("{}/24", hosts.address(n));
            run(&["ip", "netns", "add", &host]);
            run(&[
                "ip", "link", "add", &port, "netns", &control, "type", "veth", "peer", "name",
                "eth0", "netns", &host,
            ]);
            in_control(&["link", "set", &port, "master", "br0", "up"]);
            run(&["ip", "-n", &host, "addr", "add", &address, "dev", "eth0"]);
            run(&["ip", "-n", &host, "link", "set", "eth0", "up"]);
            run(&["ip", "-n", &host, "link", "set", "lo", "up"]);
        }
        hosts
    }

    fn control(&self) -> String {
        format!("{}-control", self.id)
    }

    fn host(&self, n: u8) -> String {
        format!("{}-h{n}", self.id)
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        if !self.outer {
            return;
        }
        let hosts = (1..=self.count).map(|n| self.host(n));
        for namespace in hosts.chain([self.control()]) {
            // What an inner run that was cut short left; these namespaces hold nothing else.
            if let Ok(left) = Command::new("ip").args(["netns", "pids", &namespace]).output() {
                for pid in String::from_utf8_lossy(&left.stdout).split_whitespace() {
                    drop(Command::new("kill").args(["-9", pid]).status());
                }
            }
            drop(Command::new("ip").args(["netns", "del", &namespace]).status());
        }
    }
}

fn iptables(namespace: &str, rule: &[&str]) {
    run(&[&["ip", "netns", "exec", namespace, "iptables", "-w"], rule].concat());
}

#[track_caller]
fn run(argv: &[&str]) {
    let output = Command::new(argv[0]).args(&argv[1..]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {said} (network namespaces need root)", argv.join(" "));
}
