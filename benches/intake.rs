//! The load generator beside the server: how fast alerts become durable, and what a start costs.
//!
//! It measures a server that somebody else started (`benches/run`), as Alertmanager would meet it:
//! keep-alive connections, one request at a time on each. Requests are built before the clock runs;
//! of each only the times are replaced. Every alert of every request is news (firing and resolved in
//! turn, with times that advance), so that each has to be written: an unchanged repeat would cost
//! nothing. What is counted is what a 200 says was accepted.
//!
//! ```text
//! intake rate  ADDRESS CONNECTIONS ALERTS SECONDS    alerts per second, latency of a request
//! intake fill  ADDRESS ALERTS                        so many different alerts, all firing
//! intake ready ADDRESS ROUNDS PROGRAM ARGUMENT…      milliseconds from exec to ready, the median
//! ```
#![expect(clippy::print_stdout, reason = "it prints what it measured")]

use std::{
    net::SocketAddr,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};

/// Different requests of one connection: each label set rests while the others are sent.
const REQUESTS_EACH: usize = 8;

/// What stands for a time until it is replaced by one of the same length.
const UNSET: &str = "2026-01-01T00:00:00.000Z";

/// Alerts in one request of `fill`, as large groups have.
const FILL_EACH: usize = 500;

/// A server that takes longer than this to start has failed.
const START_WITHIN: Duration = Duration::from_secs(30);

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match args.as_slice() {
        ["rate", address, connections, alerts, seconds] => {
            let load = Load {
                address: address.parse().context("ADDRESS")?,
                connections: connections.parse().context("CONNECTIONS")?,
                alerts: alerts.parse().context("ALERTS")?,
                lasts: Duration::from_secs(seconds.parse().context("SECONDS")?),
            };
            runtime.block_on(load.run())
        }
        ["fill", address, alerts] => {
            runtime.block_on(fill(address.parse()?, alerts.parse().context("ALERTS")?))
        }
        ["ready", address, rounds, program, arguments @ ..] => {
            ready(address.parse()?, rounds.parse().context("ROUNDS")?, program, arguments)
        }
        _ => {
            println!("intake measures a server that runs: see benches/run");
            Ok(())
        }
    }
}

struct Load {
    address: SocketAddr,
    connections: usize,
    alerts: usize,
    lasts: Duration,
}

impl Load {
    async fn run(&self) -> Result<()> {
        let mut requests = Vec::new();
        for connection in 0..self.connections {
            let each = (0..REQUESTS_EACH).map(|n| Request::pair(n, connection, self.alerts));
            requests.push(each.collect::<Vec<_>>());
        }
        let began = Instant::now();
        let until = began + self.lasts;
        let mut tasks = JoinSet::new();
        for requests in requests {
            let (address, alerts) = (self.address, self.alerts);
            tasks.spawn(async move { send_until(until, address, alerts, requests).await });
        }
        let (mut accepted, mut waits) = (0, Vec::new());
        while let Some(done) = tasks.join_next().await {
            let (count, took) = done??;
            accepted += count;
            waits.extend(took);
        }
        let rate = u128::from(accepted) * 1000 / began.elapsed().as_millis().max(1);
        waits.sort_unstable();
        let share = |of: usize| waits.get(waits.len() * of / 100).copied().unwrap_or_default();
        let ms = |wait: Duration| format!("{:.1}", wait.as_secs_f64() * 1e3);
        println!("{rate} {} {}", ms(share(50)), ms(share(99)));
        Ok(())
    }
}

/// One connection's work: the number of accepted alerts, and how long each answer took.
async fn send_until(
    until: Instant,
    address: SocketAddr,
    alerts: usize,
    mut requests: Vec<[Request; 2]>,
) -> Result<(u64, Vec<Duration>)> {
    let mut connection = Connection::open(address).await?;
    let (mut accepted, mut waits) = (0, Vec::new());
    // in the past, so that no clock of a sender is ahead of the server's
    let mut second = jiff::Timestamp::now().as_second() - 86_400;
    loop {
        for state in 0..2 {
            second += 1;
            let time = jiff::Timestamp::from_second(second)?.strftime("%Y-%m-%dT%H:%M:%S.000Z");
            let time = time.to_string();
            for pair in &mut requests {
                let began = Instant::now();
                if began >= until {
                    return Ok((accepted, waits));
                }
                connection.send(pair[state].at(&time), alerts).await?;
                waits.push(began.elapsed());
                accepted += alerts as u64;
            }
        }
    }
}

/// A whole HTTP request, ready to be sent.
struct Request {
    bytes: Vec<u8>,
    times: Vec<usize>,
}

impl Request {
    /// The same alerts, firing and resolved. The resolved ones began a while before they ended.
    fn pair(number: usize, connection: usize, alerts: usize) -> [Self; 2] {
        ["firing", "resolved"].map(|status| {
            let first = (connection * REQUESTS_EACH + number) * alerts;
            Self::new(status, first..first + alerts)
        })
    }

    fn new(status: &str, alerts: std::ops::Range<usize>) -> Self {
        let alerts: Vec<String> = alerts.map(|number| alert(status, number)).collect();
        let body = format!(
            r#"{{"receiver":"quorate","status":"{status}","alerts":[{}],"groupLabels":{{"alertname":"HostLoad"}},"commonLabels":{{"alertname":"HostLoad","cluster":"bench"}},"commonAnnotations":{{}},"externalURL":"http://alertmanager:9093","version":"4","groupKey":"{{}}:{{alertname=\"HostLoad\"}}","truncatedAlerts":0}}"#,
            alerts.join(",")
        );
        let head = format!(
            "POST /api/v1/webhook HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let text = head + &body;
        let times = text.match_indices(UNSET).map(|(at, _)| at).collect();
        Self { bytes: text.into_bytes(), times }
    }

    fn at(&mut self, time: &str) -> &[u8] {
        for place in &self.times {
            self.bytes[*place..*place + UNSET.len()].copy_from_slice(time.as_bytes());
        }
        &self.bytes
    }
}

/// As Alertmanager writes it, with the labels a target usually has.
fn alert(status: &str, number: usize) -> String {
    let host = number / 4;
    let end = if status == "firing" { "0001-01-01T00:00:00Z" } else { UNSET };
    format!(
        r#"{{"status":"{status}","labels":{{"alertname":"HostLoad","cluster":"bench","instance":"host-{host:06}.example.net:9100","job":"node","severity":"warning","shard":"{number}"}},"annotations":{{"summary":"The load of this host is high."}},"startsAt":"{UNSET}","endsAt":"{end}","generatorURL":"http://prometheus:9090/graph?g0.expr=node_load1","fingerprint":"{number:016x}"}}"#
    )
}

/// A kept-alive connection.
struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    async fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await.context("the server does not listen")?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::with_capacity(4096) })
    }

    /// Sends and demands that all of it was accepted.
    async fn send(&mut self, request: &[u8], alerts: usize) -> Result<()> {
        self.stream.write_all(request).await?;
        let answer = self.answer().await?;
        let good = answer.starts_with("HTTP/1.1 200 ")
            && answer.contains(&format!("\"accepted\":{alerts},"));
        ensure!(good, "not accepted: {answer}");
        Ok(())
    }

    async fn answer(&mut self) -> Result<&str> {
        self.buffer.clear();
        loop {
            ensure!(self.stream.read_buf(&mut self.buffer).await? > 0, "the connection was closed");
            let text = std::str::from_utf8(&self.buffer)?;
            let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
            let length = head.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
            });
            if body.len() >= length.unwrap_or(0) {
                break;
            }
        }
        Ok(std::str::from_utf8(&self.buffer)?)
    }
}

async fn fill(address: SocketAddr, alerts: usize) -> Result<()> {
    let mut connection = Connection::open(address).await?;
    let time = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.000Z").to_string();
    let mut sent = 0;
    while sent < alerts {
        let count = FILL_EACH.min(alerts - sent);
        let mut request = Request::new("firing", sent..sent + count);
        connection.send(request.at(&time), count).await?;
        sent += count;
    }
    println!("{sent}");
    Ok(())
}

/// Starts a program several times and waits each time until it says that it is ready.
fn ready(address: SocketAddr, rounds: usize, program: &str, arguments: &[&str]) -> Result<()> {
    let mut took = Vec::new();
    for _ in 0..rounds {
        let began = Instant::now();
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = Ended(command.spawn().context("the program does not start")?);
        while !is_ready(address) {
            if let Some(status) = child.0.try_wait()? {
                bail!("it ended: {status}");
            }
            ensure!(began.elapsed() < START_WITHIN, "not ready within {START_WITHIN:?}");
            std::thread::sleep(Duration::from_micros(200));
        }
        took.push(began.elapsed());
    }
    took.sort_unstable();
    let median = took.get(took.len() / 2).context("ROUNDS is 0")?;
    println!("{:.1}", median.as_secs_f64() * 1e3);
    Ok(())
}

fn is_ready(address: SocketAddr) -> bool {
    use std::io::{Read, Write};
    let Ok(mut stream) = std::net::TcpStream::connect(address) else { return false };
    let mut answer = [0; 12];
    stream
        .write_all(b"GET /-/ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .is_ok()
        && stream.read_exact(&mut answer).is_ok()
        && &answer == b"HTTP/1.1 200"
}

/// A child that is ended with its round.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        // it may have ended by itself
        self.0.kill().ok();
        self.0.wait().ok();
    }
}
