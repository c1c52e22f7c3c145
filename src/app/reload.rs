//! Reload: configuration, inventory and rules are read again while quorate works.
//!
//! It is asked for by SIGHUP, by `POST /-/reload`, or by a change of the files. All or nothing: what
//! is wrong anywhere leaves what is in force as it is. The one thing to know: there is one task of
//! this, so one reload comes after the other.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use tokio::{sync::mpsc, task::spawn_blocking};
use tokio_util::sync::CancellationToken;

use super::{Targets, declare, door_settings, engine_settings};
use crate::{
    config::{self, Change, Checked, Config, Kind, Reloaded, Sources},
    domain::{
        base::id::ClusterName,
        inventory::Cluster,
        rules::{Rules, action::Catalogue, diagnostic::Severity},
    },
    engine::{self, Handle, chain, clock::Clock},
    http::{
        self, ApiState,
        reload::{Asked, Outcome},
    },
    targets::Target,
    telemetry::metrics::Metrics,
};

/// Between two looks at the files. A change counts once two looks in a row find the same: a file that
/// is half written may be valid, and lack clusters. So it is in force after 5 to 10 s; a look costs a
/// `stat` of each file.
const FILES_EVERY: Duration = Duration::from_secs(5);

/// Problems that a log and an answer tell one by one; `quorate check` tells all.
const PROBLEMS_MAX: usize = 20;

/// Where the configuration is read from.
#[derive(Clone, Debug)]
pub struct Origin {
    /// Its file; without one there are only defaults and rules.
    pub file: Option<PathBuf>,
    /// Where the rules are without a file.
    pub folder: PathBuf,
}

/// What is in force.
#[derive(Debug)]
pub(super) struct InForce {
    pub(super) config: Config,
    pub(super) rules: Arc<Rules>,
    pub(super) clusters: Vec<(Arc<Cluster>, Arc<dyn Target>)>,
}

/// What reloads reach.
#[derive(Debug)]
pub(super) struct Reach {
    pub(super) handle: Handle,
    pub(super) door: Arc<ApiState>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) clock: Clock,
    /// The port that is listened on.
    pub(super) port: u16,
}

/// The one that reloads.
#[derive(Debug)]
pub(super) struct Reloader {
    pub(super) origin: Origin,
    pub(super) catalogue: Catalogue,
    pub(super) targets: Targets,
    pub(super) in_force: Arc<InForce>,
    pub(super) reach: Reach,
    /// Taken out while they are looked at.
    pub(super) sources: Option<Sources>,
    /// The files changed at the last look.
    pub(super) is_changing: bool,
}

/// What was read and may be put in force.
struct Ready {
    config: Config,
    settings: engine::Settings,
    /// Where they are other ones now.
    sources: Option<Sources>,
    door: http::Settings,
    lines: Vec<String>,
    warnings: Vec<String>,
    /// Clusters whose entry is new or different.
    changed: BTreeSet<String>,
}

/// Why nothing was put in force, a line each, and the files to look at.
struct Refused {
    lines: Vec<String>,
    paths: Vec<PathBuf>,
}

impl Reloader {
    /// Reloads whenever somebody asks or the files change, until cancelled.
    pub(super) async fn run(mut self, mut asked: mpsc::Receiver<Asked>, cancel: CancellationToken) {
        let mut looks = tokio::time::interval(FILES_EVERY);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let work = async {
            loop {
                tokio::select! {
                    Some(asked) = asked.recv() => {
                        let outcome = self.reload().await;
                        asked.send(outcome).unwrap_or_default(); // who asked may have gone
                    }
                    _ = looks.tick() => self.look_at_files().await,
                }
            }
        };
        cancel.run_until_cancelled(work).await;
    }

    async fn look_at_files(&mut self) {
        if self.is_changed().await {
            self.is_changing = true;
        } else if self.is_changing {
            tracing::info!("the files of the configuration changed");
            drop(self.reload().await);
        }
    }

    /// Whether the files changed since this was asked last.
    async fn is_changed(&mut self) -> bool {
        self.with_sources(Sources::is_changed).await.unwrap_or_default()
    }

    /// Files may be many, or on a disk that hangs.
    async fn with_sources<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut Sources) -> T + Send + 'static,
    ) -> Option<T> {
        let (file, in_force) = (self.origin.file.clone(), self.in_force.clone());
        let begin = move || Sources::of(file.as_deref(), &in_force.config);
        looked_at(&mut self.sources, begin, work).await
    }

    async fn reload(&mut self) -> Outcome {
        // what changes from here on is seen by the next look
        self.is_changed().await;
        self.is_changing = false;
        match self.take().await {
            Ok(lines) => {
                let at = self.reach.clock.now();
                self.reach.metrics.config_loaded(Some(at));
                for line in &lines {
                    tracing::info!("reload: {line}");
                }
                tracing::info!(changes = lines.len(), "the configuration was reloaded");
                Ok(lines)
            }
            Err(Refused { lines, paths }) => {
                self.reach.metrics.config_loaded(None);
                for line in &lines {
                    tracing::error!("reload: {line}");
                }
                tracing::error!("the reload is refused; what was loaded before stays in force");
                self.with_sources(|sources| sources.watch_also(paths)).await;
                Err(lines.join("\n"))
            }
        }
    }

    async fn take(&mut self) -> Result<Vec<String>, Refused> {
        let (origin, catalogue) = (self.origin.clone(), self.catalogue.clone());
        let (in_force, port) = (self.in_force.clone(), self.reach.port);
        let ready = spawn_blocking(move || read(&origin, &catalogue, &in_force, port)).await;
        let ready = ready.map_err(|_| refused("reading broke off: a bug of quorate's".into()))?;
        let Ready { config, settings, sources, door, lines, warnings, changed } = ready?;
        for warning in &warnings {
            tracing::warn!("reload: {warning}");
        }
        let clusters = self.clusters(&config, &changed);
        let rules = settings.rules.clone();
        let reload = engine::Reload { settings, clusters: clusters.clone() };
        let taken = self.reach.handle.reload(reload).await;
        taken.map_err(|error| refused(chain(&error)))?;
        self.reach.door.replace_settings(door);
        declare(&self.reach.metrics, &clusters, &rules);
        if let Some(sources) = sources {
            self.sources = Some(sources);
            self.is_changing = true; // they were read before they were watched: once more
        } else {
            self.with_sources(|sources| sources.watch_also(Vec::new())).await;
        }
        self.in_force = Arc::new(InForce { config, rules, clusters });
        Ok(lines)
    }

    /// The clusters with their systems. Where an entry is the same, both are.
    fn clusters(
        &self,
        config: &Config,
        changed: &BTreeSet<String>,
    ) -> Vec<(Arc<Cluster>, Arc<dyn Target>)> {
        let same =
            self.in_force.clusters.iter().filter(|(c, _)| !changed.contains(c.name.as_str()));
        let same: BTreeMap<&ClusterName, _> = same.map(|both| (&both.0.name, both)).collect();
        let both = |cluster: &Arc<Cluster>| match same.get(&cluster.name) {
            Some(both) => (*both).clone(),
            None => (cluster.clone(), (self.targets.0)(cluster.clone())),
        };
        config.clusters.iter().map(both).collect()
    }
}

/// Has files looked at. A look that breaks off is told, and the next one begins with them anew: they
/// are watched for as long as quorate works.
async fn looked_at<S: Send + 'static, T: Send + 'static>(
    sources: &mut Option<S>,
    begin: impl FnOnce() -> S + Send + 'static,
    work: impl FnOnce(&mut S) -> T + Send + 'static,
) -> Option<T> {
    let known = sources.take();
    let done = spawn_blocking(move || {
        let mut sources = known.unwrap_or_else(begin);
        let done = work(&mut sources);
        (sources, done)
    });
    let Ok((looked_at, done)) = done.await else {
        tracing::error!("a look at the files of the configuration broke off: a bug of quorate's");
        return None;
    };
    *sources = Some(looked_at);
    Some(done)
}

/// Reads everything; changes nothing.
fn read(
    origin: &Origin,
    catalogue: &Catalogue,
    in_force: &InForce,
    port: u16,
) -> Result<Ready, Refused> {
    let old = (&in_force.config, in_force.rules.as_ref());
    let reloaded = config::reload(origin.file.as_deref(), &origin.folder, catalogue, old);
    let reloaded = reloaded.map_err(|checked| problems(&checked))?;
    let Reloaded { mut config, rules, changes, warnings } = reloaded;
    let mut lines = config::told(&changes);
    lines.extend(pin(&mut config, &in_force.config));
    let door = door_settings(&config, port).map_err(|error| refused(format!("{error:#}")))?;
    let changed = changes.into_iter().filter_map(|change| match change {
        Change::Cluster(name, Kind::Added | Kind::Changed(_)) => Some(name),
        _ => None,
    });
    let changed = changed.collect();
    let warnings = warnings.iter().take(PROBLEMS_MAX).map(ToString::to_string).collect();
    let are_same = (&config.rules, &config.cluster_files) == (&old.0.rules, &old.0.cluster_files);
    let sources = (!are_same).then(|| Sources::of(origin.file.as_deref(), &config));
    let settings = engine_settings(&config, Arc::new(rules), catalogue.clone());
    Ok(Ready { config, settings, sources, door, lines, warnings, changed })
}

/// Leaves in force what only a restart can change. Who may come in was decided on for the address in
/// the files: elsewhere the same would let everybody in. Says what else waits.
fn pin(config: &mut Config, in_force: &Config) -> Option<String> {
    config.store.clone_from(&in_force.store);
    if config.listen == in_force.listen {
        return None;
    }
    config.listen = in_force.listen;
    config.webhook.bearer_file.clone_from(&in_force.webhook.bearer_file);
    config.tokens.clone_from(&in_force.tokens);
    Some(
        "webhook.auth and api.tokens stay as they are until the restart: they belong to the new \
          `listen`"
            .into(),
    )
}

fn refused(line: String) -> Refused {
    Refused { lines: vec![line], paths: Vec::new() }
}

fn problems(checked: &Checked) -> Refused {
    let errors = checked.found.iter().filter(|one| one.severity == Severity::Error);
    let mut lines: Vec<String> = errors.take(PROBLEMS_MAX).map(ToString::to_string).collect();
    let all = checked.count(Severity::Error);
    if all > lines.len() {
        lines.push(format!("and {} more; `quorate check` tells all", all - lines.len()));
    }
    Refused { lines, paths: checked.paths() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn files_are_watched_on_after_a_look_that_broke_off() {
        let mut sources = Some(7);
        let broken = looked_at(&mut sources, || 0, |_: &mut i32| -> i32 { panic!("for the test") });
        assert_eq!(broken.await, None);
        let next = looked_at(&mut sources, || 1, |begun| *begun + 1);
        assert_eq!(next.await, Some(2), "from the beginning");
    }
}
