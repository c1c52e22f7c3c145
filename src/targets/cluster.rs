//! The patient that this crate repairs today: an etcd cluster whose members run on hosts.
//!
//! It only routes: which module answers for which action. What it deliberately does not do:
//! retry, wait, journal or decide.

use std::sync::Arc;

use futures::future::BoxFuture;

use super::{
    AlertState, Depth, Target, Toolset, alertmanager, commands, etcd,
    host::{data, files::blocking, mounts, service},
    http, prometheus,
};
use crate::domain::{
    base::time::Time,
    etcd::evidence::Evidence,
    inventory::Cluster,
    rules::{
        action::{Call, Done, ErrorKind, Failure, Probed},
        expr::Value,
    },
};

/// One cluster of the inventory, layout `hosts`.
#[derive(Clone, Debug)]
pub struct HostsTarget {
    cluster: Arc<Cluster>,
}

/// The patient of an inventory entry.
pub fn target(cluster: Arc<Cluster>) -> Arc<dyn Target> {
    Arc::new(HostsTarget { cluster })
}

/// Nothing worth knowing before: the action changes only what is its own.
fn nothing() -> Value {
    Value::map::<&str>([])
}

impl HostsTarget {
    async fn read(&self, call: &Call) -> Result<Value, Failure> {
        match call.action.as_str() {
            action if action.starts_with("host.service.") => {
                service::before(&self.cluster, call).await
            }
            "etcd.data_out" | "etcd.data_in" | "etcd.data_copy" | "etcd.restore" => {
                data::before(&self.cluster, call)
            }
            action if action.starts_with("etcd.member_") => {
                etcd::membership::before(&self.cluster, call).await
            }
            _ => Ok(nothing()),
        }
    }

    async fn run(&self, call: &Call, before: &Value) -> Result<Done, Failure> {
        let cluster = &self.cluster;
        match call.action.as_str() {
            "etcd.assess" => Ok(Done { output: self.seen().await, changed: false }),
            "etcd.snapshot" => etcd::snapshot::act(cluster, call).await,
            "etcd.scratch_start" | "etcd.scratch_stop" => etcd::scratch::act(cluster, call).await,
            "etcd.choose_survivor" => etcd::survivor::choose(cluster, call).await,
            "etcd.restore" => etcd::survivor::restore(cluster, call).await,
            "etcd.compare" => etcd::compare::act(cluster, call).await,
            "etcd.data_out" | "etcd.data_in" | "etcd.data_copy" | "host.file.free_space" => {
                data::act(cluster, call).await
            }
            action if action.starts_with("etcd.member_") => {
                etcd::membership::act(cluster, call, before).await
            }
            action if action.starts_with("host.service.") => service::act(cluster, call).await,
            other => Err(Failure::new(ErrorKind::Invalid, format!("no action {other}"))),
        }
    }

    async fn ask(&self, call: &Call, before: &Value) -> Result<Probed, Failure> {
        match call.action.as_str() {
            "host.service.start" | "host.service.stop" => {
                service::probe(&self.cluster, call, before).await
            }
            "etcd.data_out" | "etcd.data_in" => data::probe(&self.cluster, call, before),
            "etcd.scratch_start" => etcd::scratch::probe(&self.cluster, call).await,
            action if action.starts_with("etcd.member_") => {
                etcd::membership::probe(&self.cluster, call, before).await
            }
            // All others are run again: they clean up after themselves.
            other => Ok(Probed::Unknown(format!("{other} is done again, not asked about"))),
        }
    }

    /// The readings, as JSON has them: the engine adds what it concludes.
    async fn seen(&self) -> Value {
        let evidence = etcd::probe::look(&self.cluster, Depth::Full, &wall).await;
        let json = serde_json::to_value(&evidence).unwrap_or_default();
        Value::map([("evidence", Value::from_json(&json).unwrap_or_else(nothing))])
    }
}

/// The wall clock, for readings nobody gave a clock for.
fn wall() -> Time {
    Time(jiff::Timestamp::now().as_millisecond())
}

impl Target for HostsTarget {
    fn assess<'a>(
        &'a self,
        depth: Depth,
        now: &'a (dyn Fn() -> Time + Send + Sync),
    ) -> BoxFuture<'a, Evidence> {
        Box::pin(etcd::probe::look(&self.cluster, depth, now))
    }

    fn before<'a>(&'a self, call: &'a Call) -> BoxFuture<'a, Result<Value, Failure>> {
        Box::pin(self.read(call))
    }

    fn act<'a>(
        &'a self,
        call: &'a Call,
        before: &'a Value,
    ) -> BoxFuture<'a, Result<Done, Failure>> {
        Box::pin(self.run(call, before))
    }

    fn probe<'a>(&'a self, call: &'a Call, before: &'a Value) -> BoxFuture<'a, Probed> {
        Box::pin(async move {
            self.ask(call, before).await.unwrap_or_else(|failure| Probed::Unknown(failure.message))
        })
    }

    fn commands(&self, call: &Call) -> Vec<String> {
        commands::commands(&self.cluster, call)
    }

    fn revision_max(&self, from: Time, until: Time) -> BoxFuture<'_, Option<i64>> {
        Box::pin(async move {
            let endpoint = self.cluster.prometheus.as_ref()?;
            let trust = http::Trust::of([&endpoint.url]);
            let client = http::client(trust, self.cluster.probe_timeout).ok()?;
            prometheus::revision_max(&client, endpoint, &self.cluster, from, until).await
        })
    }

    fn tools(&self) -> BoxFuture<'_, Result<Toolset, String>> {
        Box::pin(async move {
            let etcd = &self.cluster.etcd.tools.etcd;
            if std::fs::metadata(etcd).is_err() {
                return Err(format!("etcd is not at {} (etcd.tools.etcd)", etcd.display()));
            }
            let tools = etcd::tool::toolset(&self.cluster).await;
            let tools = tools.map_err(|failure| failure.message)?;
            let cluster = self.cluster.clone();
            let movable = blocking(move |_| Ok(mounts::movable(&cluster))).await;
            movable.map_err(|failure| failure.message)??;
            Ok(tools)
        })
    }

    fn alerts(&self) -> BoxFuture<'_, Option<Result<Vec<AlertState>, Failure>>> {
        Box::pin(async move {
            let endpoint = self.cluster.alertmanager.as_ref()?;
            let client = http::client(http::Trust::of([&endpoint.url]), self.cluster.probe_timeout);
            let client = client.map_err(|silence| silence.failure("asking the Alertmanager"));
            Some(match client {
                Ok(client) => alertmanager::alerts(&client, endpoint).await,
                Err(failure) => Err(failure),
            })
        })
    }
}
