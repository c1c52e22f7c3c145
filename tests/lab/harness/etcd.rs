//! A real etcd cluster: its members are started, stopped, killed and wiped here; `client` asks them.
//!
//! Every start and stop goes through `deploy/demo/etcd-service`, the script that quorate's
//! `command` service manager gets too: what one starts the other can stop.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    fs,
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};

use super::{
    Certs, GENEROUS, Hosts, Slot, TestDir, Tools, daemon::Daemon, eventually, free_ports,
    tools::repository,
};

mod client;

/// What a cluster is to look like; `start` makes it.
#[derive(Debug)]
pub(crate) struct Layout<'h> {
    members: u8,
    tls: bool,
    hosts: Option<&'h Hosts>,
    args: Vec<String>,
}

impl<'h> Layout<'h> {
    /// So many members, `m1` and on, on free ports of loopback and without TLS.
    pub(crate) fn of(members: u8) -> Self {
        Self { members, tls: false, hosts: None, args: Vec::new() }
    }

    /// Mutual TLS on client and peer ports.
    pub(crate) fn with_tls(mut self) -> Self {
        self.tls = true;
        self
    }

    /// Member `m1` on the first host, and so on, with etcd's usual ports.
    pub(crate) fn on(mut self, hosts: &'h Hosts) -> Self {
        self.hosts = Some(hosts);
        self
    }

    /// A flag for every member.
    pub(crate) fn arg(mut self, flag: &str) -> Self {
        self.args.push(flag.to_owned());
        self
    }

    /// Starts all members and waits for a leader.
    #[track_caller]
    pub(crate) fn start(self) -> Etcd {
        let slot = Slot::take();
        let dir = TestDir::new("etcd");
        let members: Vec<Member> = (1..=self.members).map(|n| self.member(n, &dir)).collect();
        let certs = self.tls.then(|| {
            let mut addresses: Vec<IpAddr> = members.iter().map(|member| member.address).collect();
            addresses.push(Ipv4Addr::LOCALHOST.into());
            Certs::write(&dir.join("tls"), &addresses)
        });
        let mut args = self.args;
        args.extend(certs.iter().flat_map(Certs::etcd_args));
        fs::write(dir.join("members.env"), members_env(&members, &args)).unwrap();
        let etcd = Etcd { dir, members, args, certs, _slot: slot };
        etcd.start_all();
        etcd.wait_leader();
        etcd
    }

    fn member(&self, n: u8, dir: &TestDir) -> Member {
        let name = format!("m{n}");
        let scheme = if self.tls { "https" } else { "http" };
        let (address, port, prefix) = match self.hosts {
            Some(hosts) => (hosts.address(n), 2379, hosts.prefix(n)),
            None => (Ipv4Addr::LOCALHOST.into(), free_ports(3), String::new()),
        };
        Member {
            client: format!("{scheme}://{address}:{port}"),
            peer: format!("{scheme}://{address}:{}", port + 1),
            metrics: format!("http://{address}:{}", port + 2),
            data: dir.join(&name).join("data"),
            host: format!("h{n}"),
            name,
            address,
            prefix,
        }
    }
}

/// One member, whether it runs or not.
#[derive(Debug)]
pub(crate) struct Member {
    /// `m1` and on.
    pub(crate) name: String,
    /// Client URL.
    pub(crate) client: String,
    /// Peer URL.
    pub(crate) peer: String,
    /// URL of the metrics listener, always plain HTTP.
    pub(crate) metrics: String,
    /// Data directory.
    pub(crate) data: PathBuf,
    /// The host's name in quorate's configuration.
    pub(crate) host: String,
    /// Address of all its ports.
    pub(crate) address: IpAddr,
    prefix: String,
}

/// A process of a former member. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Revived {
    /// The process.
    pub(crate) daemon: Daemon,
    /// Client URL.
    pub(crate) client: String,
    /// URL of the metrics listener.
    pub(crate) metrics: String,
}

/// A cluster of real processes. Dropping it ends them.
#[derive(Debug)]
pub(crate) struct Etcd {
    dir: TestDir,
    members: Vec<Member>,
    args: Vec<String>,
    certs: Option<Certs>,
    _slot: Slot,
}

impl Etcd {
    /// The cluster's folder, which holds everything of it.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// All members of the layout.
    pub(crate) fn members(&self) -> &[Member] {
        &self.members
    }

    /// The names of all members.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.members.iter().map(|member| member.name.as_str())
    }

    /// The certificates, with TLS.
    pub(crate) fn certs(&self) -> Option<&Certs> {
        self.certs.as_ref()
    }

    /// A member by name.
    #[track_caller]
    pub(crate) fn member(&self, name: &str) -> &Member {
        let found = self.members.iter().find(|member| member.name == name);
        found.unwrap_or_else(|| panic!("no member {name}"))
    }

    /// The script that runs the members, to be called with the folder, a verb and a name.
    pub(crate) fn service_script() -> PathBuf {
        repository("deploy/demo/etcd-service")
    }

    /// Starts every member.
    #[track_caller]
    pub(crate) fn start_all(&self) {
        self.names().for_each(|name| self.start(name));
    }

    /// Starts a member.
    #[track_caller]
    pub(crate) fn start(&self, name: &str) {
        self.start_with(name, &[]);
    }

    /// Starts a member with more flags, which win over the usual ones.
    #[track_caller]
    pub(crate) fn start_with(&self, name: &str, flags: &[&str]) {
        self.try_start(name, flags).unwrap();
    }

    /// Starts a member that may refuse; the error is what the script said.
    pub(crate) fn try_start(&self, name: &str, flags: &[&str]) -> Result<(), String> {
        self.service("start", name, flags)
    }

    /// SIGTERM, and proof that the process is gone.
    #[track_caller]
    pub(crate) fn stop(&self, name: &str) {
        self.service("stop", name, &[]).unwrap();
    }

    /// The member's pid while it runs.
    pub(crate) fn pid(&self, name: &str) -> Option<u32> {
        let output = self.script("status", name).output().unwrap();
        String::from_utf8_lossy(&output.stdout).trim().parse().ok()
    }

    /// SIGKILL, and waits until the process is gone.
    #[track_caller]
    pub(crate) fn kill9(&self, name: &str) {
        kill(self.pid(name).unwrap_or_else(|| panic!("{name} does not run")));
        eventually(GENEROUS, &format!("{name} is gone"), || self.pid(name).is_none());
    }

    /// Removes a stopped member's data directory, as a lost disk does.
    #[track_caller]
    pub(crate) fn wipe(&self, name: &str) {
        assert!(self.pid(name).is_none(), "{name} runs: a wipe would not be one");
        fs::remove_dir_all(&self.member(name).data).unwrap();
    }

    /// SIGKILL and a wiped disk: the member is gone for good.
    #[track_caller]
    pub(crate) fn destroy(&self, name: &str) {
        self.kill9(name);
        self.wipe(name);
    }

    /// Starts a member's process on other data and other ports: an old host that comes back while
    /// its place is taken. `data` is best in the cluster's folder.
    pub(crate) fn revive(&self, name: &str, data: &Path) -> Revived {
        let member = self.member(name);
        let scheme = if self.certs.is_some() { "https" } else { "http" };
        let port = free_ports(3);
        let client = format!("{scheme}://{}:{port}", member.address);
        let peer = format!("{scheme}://{}:{}", member.address, port + 1);
        let metrics = format!("http://{}:{}", member.address, port + 2);
        let peers: Vec<String> =
            self.members.iter().map(|member| format!("{}={}", member.name, member.peer)).collect();
        let mut argv: Vec<String> = member.prefix.split_whitespace().map(str::to_owned).collect();
        argv.extend([
            Tools::find().etcd.display().to_string(),
            format!("--name={name}"),
            format!("--data-dir={}", data.display()),
            format!("--listen-client-urls={client}"),
            format!("--advertise-client-urls={client}"),
            format!("--listen-peer-urls={peer}"),
            format!("--initial-advertise-peer-urls={}", member.peer),
            format!("--listen-metrics-urls={metrics}"),
            format!("--initial-cluster={}", peers.join(",")),
            "--initial-cluster-token=lab".to_owned(),
        ]);
        argv.extend(self.args.iter().cloned());
        let mut daemon =
            Daemon::new(argv, self.dir(), &self.dir.join(&format!("{name}-revived.log")));
        daemon.start();
        Revived { daemon, client, metrics }
    }

    /// What a member has printed, from all its starts.
    pub(crate) fn log(&self, name: &str) -> String {
        let text = fs::read(self.dir.join(name).join("etcd.log")).unwrap_or_default();
        String::from_utf8_lossy(&text).into_owned()
    }

    /// The pids of all etcd processes that run on something of this cluster, members or not.
    pub(crate) fn processes(&self) -> BTreeSet<u32> {
        processes_in(self.dir()).into_iter().collect()
    }

    fn service(&self, verb: &str, name: &str, flags: &[&str]) -> Result<(), String> {
        let output = self.script(verb, name).args(flags).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.success() { Ok(()) } else { Err(said) }
    }

    fn script(&self, verb: &str, name: &str) -> Command {
        let mut command = Command::new(Self::service_script());
        command.arg(self.dir()).args([verb, name]);
        command
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        // Members, and copies that something started from this folder and did not end.
        // A process that is ending still writes: gone first, so that the folder can be removed.
        for _ in 0..100 {
            let left = processes_in(self.dir());
            if left.is_empty() {
                break;
            }
            left.into_iter().for_each(kill);
            thread::sleep(Duration::from_millis(20));
        }
    }
}

/// The etcd processes whose command line names something in `dir`, which only this test knows.
fn processes_in(dir: &Path) -> Vec<u32> {
    let needle = format!("{}/", dir.display());
    let mut pids = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // Empty for a process that has just ended.
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line);
        let program = line.split('\0').next().unwrap_or_default();
        if program.ends_with("/etcd") && line.contains(&needle) {
            pids.push(pid);
        }
    }
    pids
}

fn kill(pid: u32) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a pid of a process");
    // It may have ended by itself meanwhile.
    kill_process(pid, Signal::KILL).ok();
}

fn members_env(members: &[Member], args: &[String]) -> String {
    let names: Vec<&str> = members.iter().map(|member| member.name.as_str()).collect();
    let etcd = Tools::find().etcd.display();
    let mut text = format!("etcd={etcd}\ntoken=lab\nmembers=({})\n", names.join(" "));
    for member in members {
        let Member { name, client, peer, metrics, data, prefix, .. } = member;
        let data = data.display();
        writeln!(text, "client[{name}]={client}\npeer[{name}]={peer}").unwrap();
        writeln!(text, "metrics[{name}]={metrics}\ndata[{name}]={data}").unwrap();
        writeln!(text, "prefix[{name}]='{prefix}'").unwrap();
    }
    writeln!(text, "args=({})", args.join(" ")).unwrap();
    text
}
