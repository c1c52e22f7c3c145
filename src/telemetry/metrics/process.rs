//! The metrics that every process has, read from `/proc/self` at scrape, under their usual names.
//!
//! What cannot be read is left out.

use std::{fmt, fs};

use prometheus_client::{collector::Collector, encoding::DescriptorEncoder};
use rustix::process;

use super::table::{Series, counter, gauge};

/// What Linux counts time in towards programs, on every machine.
const TICKS_PER_SECOND: f64 = 100.0;

/// The collector of this process's own figures.
#[derive(Debug)]
pub(super) struct Process {
    /// When this process started, in seconds since the epoch.
    started: Option<f64>,
}

impl Process {
    pub(super) fn new() -> Self {
        Self { started: started() }
    }
}

impl Collector for Process {
    fn encode(&self, mut to: DescriptorEncoder<'_>) -> fmt::Result {
        let to = &mut to;
        let help = "Seconds of processor time spent by this process";
        counter(to, "process_cpu_seconds", help, &one(cpu()))?;
        let help = "Bytes of memory that this process has in RAM";
        gauge(to, "process_resident_memory_bytes", help, &one(resident()))?;
        let help = "Files that this process has open";
        gauge(to, "process_open_fds", help, &one(open_fds()))?;
        let help = "Files that this process may have open";
        gauge(to, "process_max_fds", help, &one(max_fds()))?;
        let help = "When this process started, in seconds since the epoch";
        gauge(to, "process_start_time_seconds", help, &one(self.started))
    }
}

fn one(value: Option<f64>) -> Series {
    value.map(|value| (Vec::new(), value)).into_iter().collect()
}

/// Numbers of `/proc/self/stat` from the third one on: the second may hold anything but `)`.
fn stat(field: usize) -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(field - 3)?.parse().ok()
}

fn cpu() -> Option<f64> {
    Some((stat(14)? + stat(15)?) / TICKS_PER_SECOND)
}

fn resident() -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(kib.trim().strip_suffix(" kB")?.parse::<f64>().ok()? * 1024.0)
}

#[expect(clippy::cast_precision_loss, reason = "counts of files are small")]
fn open_fds() -> Option<f64> {
    // one of them is the directory itself
    Some(fs::read_dir("/proc/self/fd").ok()?.count().saturating_sub(1) as f64)
}

#[expect(clippy::cast_precision_loss, reason = "limits are small or unlimited")]
fn max_fds() -> Option<f64> {
    process::getrlimit(process::Resource::Nofile).current.map(|max| max as f64)
}

fn started() -> Option<f64> {
    let stat_text = fs::read_to_string("/proc/stat").ok()?;
    let booted = stat_text.lines().find_map(|line| line.strip_prefix("btime "))?;
    Some(booted.trim().parse::<f64>().ok()? + stat(22)? / TICKS_PER_SECOND)
}
