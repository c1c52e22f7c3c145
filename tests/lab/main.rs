//! quorate on real components: etcd, Prometheus and Alertmanager as real processes on loopback.
//!
//! Does not install anything (`tests/run` does). `harness` starts and ends the processes; `parts`
//! holds the facts about them that everything else relies on.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]
#![expect(clippy::print_stderr, reason = "what a failed test kept on disk has to be found")]
#![expect(clippy::float_cmp, reason = "what counters hold are whole numbers")]

mod abandoned;
mod approval;
mod children;
mod crash;
mod durable;
mod failures;
mod harness;
mod kills;
mod partition;
mod parts;
mod pipeline;
mod recovery;
mod refusals;
mod reload;
mod restart;
mod stopped;
mod story;
mod targets;
mod zombies;
