//! The patient that this crate repairs today: an etcd cluster whose members run on hosts.
//!
//! It hands each call to its action. What it deliberately does not do: retry, journal or decide.

use std::{sync::Arc, time::Duration};

use futures::future::BoxFuture;

use super::{
    AlertState, Deadline, Depth, Target, Toolset,
    action::{Action, On, locks},
    alertmanager,
    catalogue::registry,
    effect, etcd,
    host::{files::looked, lock, mounts},
    http, prometheus,
};
use crate::domain::{
    base::time::Time,
    etcd::evidence::Evidence,
    inventory::Cluster,
    rules::{
        action::{ActionSpec, ArgType, Call, Changes, Done, ErrorKind, Failure, Probed},
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

/// The action of a call; none of this name is a plan of another version of quorate.
fn action(call: &Call) -> Result<&'static dyn Action, Failure> {
    registry()
        .get(&call.action)
        .ok_or_else(|| Failure::new(ErrorKind::Invalid, format!("no action {}", call.action)))
}

impl HostsTarget {
    fn on<'a>(&'a self, call: &'a Call) -> On<'a> {
        On { cluster: &self.cluster, call }
    }

    /// Holds the member's lock for what changes something of it on its host.
    async fn lock(
        &self,
        spec: &ActionSpec,
        call: &Call,
        patience: Duration,
    ) -> Result<(), Failure> {
        if locks(spec) {
            effect::hold(lock::take(self.on(call).places()?.lock(), patience).await?);
        }
        Ok(())
    }

    async fn run(&self, call: &Call, before: &Value, patience: Duration) -> Result<Done, Failure> {
        let action = action(call)?;
        self.lock(action.spec(), call, patience).await?;
        action.act(self.on(call), before).await
    }

    async fn ask(&self, call: &Call, before: &Value) -> Result<Probed, Failure> {
        let action = action(call)?;
        // What is still at work may yet take effect: only then is there something to find.
        self.lock(action.spec(), call, lock::PATIENCE).await?;
        action.probe(self.on(call), before).await
    }
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
        Box::pin(async move { action(call)?.before(self.on(call)).await })
    }

    fn act<'a>(
        &'a self,
        call: &'a Call,
        before: &'a Value,
        deadline: &'a Deadline,
    ) -> BoxFuture<'a, Result<Done, Failure>> {
        let patience = deadline.left().min(lock::PATIENCE);
        Box::pin(effect::whole(deadline, self.run(call, before, patience)))
    }

    fn probe<'a>(&'a self, call: &'a Call, before: &'a Value) -> BoxFuture<'a, Probed> {
        Box::pin(async move {
            self.ask(call, before).await.unwrap_or_else(|failure| Probed::Unknown(failure.message))
        })
    }

    fn commands(&self, call: &Call) -> Vec<String> {
        let Ok(action) = action(call) else { return Vec::new() };
        let (spec, on) = (action.spec(), self.on(call));
        let names_member = spec.args.iter().any(|arg| arg.required && arg.ty == ArgType::Member);
        if names_member && on.member().is_err() && spec.changes != Changes::Nothing {
            // Which member it will be is for an earlier step to say.
            return vec![format!("{} {}", call.action, call.text("member").unwrap_or("<member>"))];
        }
        action.commands(on)
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
            let (etcd, limit) = (&self.cluster.etcd.tools.etcd, self.cluster.probe_timeout);
            let at = etcd.clone();
            let is_there = looked(etcd, limit, move |_| Ok(at.metadata().is_ok())).await;
            if !is_there.map_err(|failure| failure.message)? {
                return Err(format!("etcd is not at {} (etcd.tools.etcd)", etcd.display()));
            }
            let tools = etcd::tool::toolset(&self.cluster).await;
            let tools = tools.map_err(|failure| failure.message)?;
            mounts::movable(&self.cluster).await?;
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
