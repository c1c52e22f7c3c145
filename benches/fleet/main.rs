//! What many clusters cost, and what a long history costs at a start: the engine and the embedded
//! store on a real disk, with modelled clusters, so that nothing is measured of probes and of HTTP.
//!
//! Of the clusters a third answer, a third have lost their majority and refuse, and a third stay
//! silent for as long as a probe may take; they are looked at every ten seconds as in production.
//!
//! ```text
//! fleet clusters DIR CLUSTERS                  start, memory, processor per look and idle, time per webhook
//! fleet storm DIR CLUSTERS INCIDENTS           so many incidents at once, and other webhooks meanwhile
//! fleet history DIR CLUSTERS INCIDENTS RUNS    fills a folder with what is over, cut from one modelled repair
//! fleet restart DIR CLUSTERS                   milliseconds to start on a folder, and what no snapshot stood for
//! fleet settle DIR CLUSTERS                    starts and waits until snapshots stand for all that is worth one
//! ```
//!
//! Each prints lines of a name and a number.
#![expect(clippy::print_stdout, reason = "it prints what it measured")]

mod crowd;
mod history;
mod house;

use std::path::Path;

use anyhow::Result;

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let runtime = || tokio::runtime::Builder::new_multi_thread().enable_all().build();
    match args.as_slice() {
        ["clusters", dir, clusters] => {
            runtime()?.block_on(crowd::clusters(Path::new(dir), clusters.parse()?))
        }
        ["storm", dir, clusters, incidents] => {
            let (clusters, incidents) = (clusters.parse()?, incidents.parse()?);
            runtime()?.block_on(crowd::storm(Path::new(dir), clusters, incidents))
        }
        ["history", dir, clusters, incidents, runs] => {
            let template = history::Template::make()?;
            let (clusters, incidents, runs) =
                (clusters.parse()?, incidents.parse()?, runs.parse()?);
            runtime()?.block_on(template.fill(Path::new(dir), clusters, incidents, runs))
        }
        ["restart", dir, clusters] => {
            runtime()?.block_on(history::restart(Path::new(dir), clusters.parse()?))
        }
        ["settle", dir, clusters] => {
            runtime()?.block_on(history::settle(Path::new(dir), clusters.parse()?))
        }
        _ => {
            println!("fleet measures many clusters and long histories: see benches/fleet/main.rs");
            Ok(())
        }
    }
}
