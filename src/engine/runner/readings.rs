//! What a run's expressions see: the run itself, and the patient as it is now.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::time::Instant;

use super::Runner;
use crate::{
    domain::{
        rules::{
            bindings::{self, Bindings},
            expr::{EvalError, Expr, Template, Value},
            playbook::model::Arg,
        },
        run::{path::Path, state::Run, values},
    },
    engine::{looks, state::Look, variables},
    targets::Depth,
};

/// Oldest reading an expression outside of a `wait` may see.
pub(super) const AGE_MAX: Duration = Duration::from_secs(5);

/// The last look of this run.
#[derive(Debug, Default)]
pub(super) struct Cache {
    look: Option<(Instant, Arc<Look>)>,
}

impl Cache {
    /// After an effect nothing that was read before counts.
    pub(super) fn forget(&mut self) {
        self.look = None;
    }
}

impl Runner {
    /// A look that is no older than `age_max`, judged with what this run holds.
    pub(super) async fn look(&mut self, run: &Run, age_max: Duration) -> Option<Arc<Look>> {
        if let Some((at, look)) = &self.readings.look
            && at.elapsed() <= age_max
            && age_max > Duration::ZERO
        {
            return Some(look.clone());
        }
        let clock = self.context.clock;
        let now = move || clock.now();
        let asked = Instant::now();
        // past the point of no return it waits for members it started itself
        let past_return = run.past_return.is_some();
        let depth = if past_return { Depth::FailFast } else { Depth::Full };
        let evidence = self.context.patient.assess(depth, &now).await;
        let (name, held) = (self.context.cluster.clone(), run.held.clone());
        let look = self.context.handle.read(move |state| {
            let watched = state.clusters.get(&name)?;
            let mut look = looks::judge_held(watched, evidence, &held, state.now());
            if past_return {
                look.judgement.trust_only_a_current_list();
            }
            Some(Arc::new(look))
        });
        let look = look.await??;
        self.readings.look = Some((asked, look.clone()));
        Some(look)
    }

    /// The variables at a place. The patient is read only where the text names it.
    pub(super) async fn roots(
        &mut self,
        run: &Run,
        scope: &Path,
        source: &str,
        age_max: Duration,
    ) -> Bindings {
        let mut values = values::names(run, scope);
        values.insert("cluster".into(), bindings::cluster_value(&self.context.inventory));
        if (source.contains("etcd.") || source.contains("hosts["))
            && let Some(look) = self.look(run, age_max).await
        {
            variables::add_look(&mut values, &look);
        }
        Bindings { values, cluster: self.context.inventory.clone(), now: self.now() }
    }

    /// Whether a condition holds.
    pub(super) async fn truth(
        &mut self,
        run: &Run,
        scope: &Path,
        condition: &Expr,
        age_max: Duration,
    ) -> Result<bool, EvalError> {
        let source = condition.source().to_owned();
        let roots = self.roots(run, scope, &source, age_max).await;
        condition.truth(&roots)
    }

    /// Fills arguments in; `extra` are further names (`self`).
    pub(super) async fn fill(
        &mut self,
        run: &Run,
        scope: &Path,
        args: &BTreeMap<String, Arg>,
        extra: &[(&str, Value)],
    ) -> Result<BTreeMap<String, Value>, EvalError> {
        let source: String = args.values().map(sources).collect();
        let mut roots = self.roots(run, scope, &source, AGE_MAX).await;
        roots.values.extend(extra.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
        args.iter().map(|(name, arg)| Ok((name.clone(), arg.fill(&roots)?))).collect()
    }

    /// Fills one template in.
    pub(super) async fn text(
        &mut self,
        run: &Run,
        scope: &Path,
        template: &Template,
    ) -> Result<Value, EvalError> {
        let source = template.source().to_owned();
        let roots = self.roots(run, scope, &source, AGE_MAX).await;
        template.fill(&roots)
    }
}

fn sources(arg: &Arg) -> String {
    match arg {
        Arg::Template(template) => format!("{} ", template.source()),
        Arg::Literal(_) => String::new(),
        Arg::List(items) => items.iter().map(sources).collect(),
        Arg::Map(fields) => fields.values().map(sources).collect(),
    }
}
