//! What a run's expressions see: the run itself, and its cluster as it is now.

use std::{collections::BTreeMap, sync::Arc};

use super::{AGE_MAX, Seen};
use crate::domain::{
    base::id::RunId,
    base::time::Time,
    cell::{
        Draft,
        effect::{Effect, Pace},
        fault::{FaultDomain, domain_of},
        input::RunLooked,
        variables::add_look,
    },
    etcd::{observation::Observation, verdict::Quorum},
    rules::{
        bindings::{self, Bindings},
        expr::{EvalError, Expr, Template, Value},
        playbook::model::Arg,
        response::About,
    },
    run::{path::Path, state::Run, todo::At, values},
};

/// A look, or that it brought nothing.
pub(super) type MaybeLook = Option<Arc<Observation>>;

impl Draft {
    /// A look for the run that began no earlier than this; `None`: it was asked for, come again.
    pub(super) fn look_since(&mut self, run: &Run, not_before: Time) -> Option<MaybeLook> {
        let pace = if run.past_return.is_some() {
            // it waits for members it started itself
            Pace::FailFast
        } else {
            Pace::Full
        };
        self.look_at_pace(not_before, pace)
    }

    /// A look for the point of no return, over by the time its readings are too old: who does not
    /// answer at once is silent. The looks before it waited for longer.
    pub(super) fn last_look(&mut self, not_before: Time) -> Option<MaybeLook> {
        let not_before = not_before.max(self.now.before(AGE_MAX)).max(self.cell.driving.floor);
        self.look_at_pace(not_before, Pace::Brief)
    }

    fn look_at_pace(&mut self, not_before: Time, pace: Pace) -> Option<MaybeLook> {
        if let Some(seen) = self.cell.driving.look.as_ref().filter(|seen| seen.began >= not_before)
        {
            return Some(seen.look.clone());
        }
        if self.cell.driving.looking.is_none() {
            self.cell.driving.looking = Some(self.now);
            self.effects.push(Effect::RunLook(pace));
        }
        None
    }

    pub(in crate::domain::cell) fn take_run_look(&mut self, looked: &RunLooked) {
        self.cell.driving.looking = None;
        let Some(run) = self.cell.state.open_run().filter(|run| run.is_active()).cloned() else {
            return;
        };
        let look = looked.evidence.clone().map(|evidence| {
            let mut look = self.judge(evidence);
            if run.past_return.is_some() {
                look.judgement.trust_only_a_current_list();
            }
            Arc::new(look)
        });
        self.cell.driving.look = Some(Seen { began: looked.began, at: self.now, look });
    }

    /// The oldest look that an expression outside of a `wait` may see. A look takes as long as its
    /// most silent vantage: one that only just came in is as fresh as looks get, however long ago it
    /// began.
    pub(super) fn fresh(&self) -> Time {
        let just_in = self.cell.driving.look.as_ref().filter(|seen| seen.at == self.now);
        let oldest = self.now.before(AGE_MAX);
        let oldest = just_in.map_or(oldest, |seen| seen.began.min(oldest));
        self.cell.driving.floor.max(oldest)
    }

    /// The variables at a place. The cluster is read only where the text names it; `None`: come
    /// again.
    pub(super) fn bindings(
        &mut self,
        run: &Run,
        at: Option<&At<'_>>,
        source: &str,
        not_before: Time,
    ) -> Option<Bindings> {
        let mut values = values::names(run, &at.map_or_else(Path::root, At::scope));
        values.insert("cluster".into(), bindings::cluster_value(self.cell.inventory()));
        if reads_the_cluster(source)
            && let Some(look) = self.look_since(run, not_before)?
        {
            add_look(&mut values, &look);
        }
        Some(Bindings { values, cluster: self.cell.inventory().clone(), now: self.now })
    }

    /// Whether a condition holds; `None`: come again.
    pub(super) fn truth(
        &mut self,
        run: &Run,
        at: Option<&At<'_>>,
        condition: &Expr,
        not_before: Time,
        extra: &[(&str, Value)],
    ) -> Option<Result<bool, EvalError>> {
        let mut bindings = self.bindings(run, at, condition.source(), not_before)?;
        add(&mut bindings, extra);
        Some(condition.truth(&bindings))
    }

    /// Fills arguments in; `extra` are further names (`self`). `None`: come again.
    pub(super) fn fill(
        &mut self,
        run: &Run,
        at: &At<'_>,
        args: &BTreeMap<String, Arg>,
        extra: &[(&str, Value)],
    ) -> Option<Result<BTreeMap<String, Value>, EvalError>> {
        let source: String = args.values().map(sources).collect();
        let fresh = self.fresh();
        let mut bindings = self.bindings(run, Some(at), &source, fresh)?;
        add(&mut bindings, extra);
        let filled = args.iter().map(|(name, arg)| Ok((name.clone(), arg.fill(&bindings)?)));
        Some(filled.collect())
    }

    /// Fills one template in; `None`: come again.
    pub(super) fn text(
        &mut self,
        run: &Run,
        at: &At<'_>,
        template: &Template,
    ) -> Option<Result<Value, EvalError>> {
        let fresh = self.fresh();
        let bindings = self.bindings(run, Some(at), template.source(), fresh)?;
        Some(template.fill(&bindings))
    }

    /// The fault domain that a run's incident is about; by hand it is etcd's.
    pub(super) fn domain_of_run(&self, run: RunId) -> &'static dyn FaultDomain {
        let incident = self.cell.state.runs.get(&run).and_then(|run| run.incident);
        let subject = incident.and_then(|id| Some(&self.incident(id)?.subject));
        let response = subject.and_then(|subject| self.cell.response(subject.response.as_str()));
        domain_of(response.map_or(About::Etcd, |response| response.about))
    }
}

/// Whether a look says that there is a quorum.
pub(super) fn has_quorum(look: &Observation) -> bool {
    matches!(look.judgement.quorum, Quorum::Healthy | Quorum::Degraded { .. })
}

fn reads_the_cluster(source: &str) -> bool {
    source.contains("etcd.") || source.contains("hosts[")
}

fn add(bindings: &mut Bindings, extra: &[(&str, Value)]) {
    let extra = extra.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
    bindings.values.extend(extra);
}

fn sources(arg: &Arg) -> String {
    match arg {
        Arg::Template(template) => format!("{} ", template.source()),
        Arg::Literal(_) => String::new(),
        Arg::List(items) => items.iter().map(sources).collect(),
        Arg::Map(fields) => fields.values().map(sources).collect(),
    }
}
