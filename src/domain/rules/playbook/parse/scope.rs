//! What an expression can name at one place of a playbook.

use std::{collections::BTreeMap, ops::Range, sync::Arc};

use crate::domain::rules::{
    codes,
    expr::{Schema, Type},
    vocabulary,
    yaml::read::{Names, Sink},
};

/// The variables before a step. A loop's steps get a clone, so that their names end with it.
#[derive(Clone, Debug)]
pub(super) struct Scope {
    base: Schema,
    steps: BTreeMap<Arc<str>, Type>,
    /// Names given by `register` and `as`.
    names: BTreeMap<Arc<str>, Type>,
}

impl Scope {
    pub(super) fn new(base: Schema) -> Self {
        Self { base, steps: BTreeMap::new(), names: BTreeMap::new() }
    }

    /// Everything that is known now.
    pub(super) fn schema(&self) -> Schema {
        let steps = self.steps.iter().map(|(name, ty)| (Arc::clone(name), ty.clone()));
        let mut schema = self.base.with("steps", Type::record_of(steps));
        schema.roots.extend(self.names.iter().map(|(name, ty)| (Arc::clone(name), ty.clone())));
        schema
    }

    /// The same with `self`, for undo and finalizers of a step with this output.
    pub(super) fn schema_of_entry(&self, output: &Type) -> Schema {
        let own = Type::record([("output", output.clone()), ("changed", Type::Bool)]);
        self.schema().with("self", own)
    }

    /// What a step gives to later ones.
    pub(super) fn give(&mut self, step: &str, ty: Type) {
        self.steps.insert(step.into(), ty);
    }

    /// A step that could not be read: whatever is said of it later is let pass.
    pub(super) fn forgive(&mut self, step: &str, register: Option<&str>) {
        for (names, name) in [(&mut self.steps, Some(step)), (&mut self.names, register)] {
            if let Some(name) = name {
                names.entry(name.into()).or_insert(Type::Any);
            }
        }
    }

    /// The outputs of the steps that `outer` does not have.
    pub(super) fn outputs_beyond(&self, outer: &Self) -> Vec<(Arc<str>, Type)> {
        let own = self.steps.keys().filter(|step| !outer.steps.contains_key(*step));
        own.filter_map(|step| Some((Arc::clone(step), self.output(step)?))).collect()
    }

    /// The output of a step, where it gives one.
    fn output(&self, step: &str) -> Option<Type> {
        self.steps.get(step)?.field("output")
    }

    /// A name given by `register` or `as`; reported where it hides another.
    pub(super) fn name(&mut self, name: &str, span: &Range<usize>, ty: Type, sink: &mut Sink<'_>) {
        if !Names::Snake.check(name, span, sink) {
            return;
        }
        if vocabulary::ROOTS.contains(&name) || self.names.contains_key(name) {
            let message = format!("`{name}` is the name of something else here");
            sink.add_help(&codes::NAME_TAKEN, span, message, "choose another name");
        }
        self.names.insert(name.into(), ty);
    }
}
