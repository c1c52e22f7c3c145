//! A playbook that was read and found valid: a value of this type can be run.
//!
//! Expressions and templates are compiled and typed; names are resolved. Text that a person wrote
//! stays with it ([`Playbook::text`]): the plan stores it, so that a run never depends on the file.

use std::{collections::BTreeMap, time::Duration};

use crate::domain::{
    base::id::PlaybookName,
    rules::{
        action::ErrorKind,
        expr::{EvalError, Expr, Template, Value, Variables},
    },
};

/// What a playbook may destroy: decides which guards hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Destroys {
    /// Nothing that cannot be had again.
    Nothing,
    /// A member.
    Member,
    /// Possibly acknowledged data.
    Data,
}

/// The type of a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParamType {
    /// Text.
    String,
    /// A whole number.
    Int,
    /// True or false.
    Bool,
    /// As `5m`.
    Duration,
    /// A list of texts.
    List,
    /// A member of the plan's list.
    Member,
    /// A host of the plan's list.
    Host,
    /// A node of the plan's list.
    Node,
}

/// A declared parameter.
#[derive(Clone, Debug)]
pub struct Param {
    /// Its name.
    pub name: String,
    /// Its type.
    pub ty: ParamType,
    /// Whether it must be given.
    pub required: bool,
    /// Its value where none is given.
    pub default: Option<Value>,
    /// Smallest value of an int.
    pub min: Option<i64>,
    /// Largest value of an int.
    pub max: Option<i64>,
    /// What a string must match, anchored.
    pub pattern: Option<regex::Regex>,
}

/// One valid playbook.
#[derive(Clone, Debug)]
pub struct Playbook {
    /// Its name.
    pub name: PlaybookName,
    /// One line for people.
    pub description: String,
    /// What it may destroy.
    pub destroys: Destroys,
    /// Its parameters.
    pub params: Vec<Param>,
    /// Limit of the whole run; waiting for approval, undo and finalizers excluded.
    pub timeout: Duration,
    /// Its steps.
    pub steps: Vec<Step>,
    /// Must come true (within 60 s) after the last step.
    pub verify: Option<Expr>,
    /// The YAML document it was read from.
    pub text: String,
    /// SHA-256 of [`Playbook::text`], hex.
    pub digest: String,
}

/// One step.
#[derive(Clone, Debug)]
pub struct Step {
    /// Unique in the playbook.
    pub name: String,
    /// What it does.
    pub kind: StepKind,
    /// False: skipped; unknown: the step fails.
    pub when: Option<Expr>,
    /// Limit of one try; of an `expect`, how long an unknown is read again. Without meaning on
    /// `foreach`, `wait` and `approve`.
    pub timeout: Duration,
    /// How often it is tried.
    pub retry: Retry,
    /// A second name for its output.
    pub register: Option<String>,
    /// What takes it back, in the order written.
    pub undo: Vec<Entry>,
    /// What is armed at its start and runs when its scope ends, in the order written.
    pub finally: Vec<Entry>,
    /// The point of no return.
    pub irreversible: bool,
    /// Whether a failure ends the run (for `foreach`: whether a failed item does).
    pub on_error: OnError,
}

/// What a failed step means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnError {
    /// The run fails.
    Fail,
    /// It is noted and the run goes on.
    Continue,
}

/// How a step is tried again.
#[derive(Clone, Debug)]
pub struct Retry {
    /// Tries in all, at least 1.
    pub attempts: u32,
    /// Between two tries.
    pub delay: Duration,
    /// Only these kinds are tried again; empty: all.
    pub on: Vec<ErrorKind>,
}

/// An argument: literal where it holds no `${…}`.
#[derive(Clone, Debug)]
pub enum Arg {
    /// A text that may hold `${…}`.
    Template(Template),
    /// Any other scalar.
    Literal(Value),
    /// A list.
    List(Vec<Arg>),
    /// A map.
    Map(BTreeMap<String, Arg>),
}

impl Arg {
    /// The argument with every `${…}` filled in.
    pub fn fill(&self, world: &dyn Variables) -> Result<Value, EvalError> {
        Ok(match self {
            Self::Template(template) => template.fill(world)?,
            Self::Literal(value) => value.clone(),
            Self::List(items) => {
                Value::list(items.iter().map(|item| item.fill(world)).collect::<Result<_, _>>()?)
            }
            Self::Map(fields) => {
                let fields = fields.iter().map(|(name, arg)| Ok((name.as_str(), arg.fill(world)?)));
                Value::map(fields.collect::<Result<Vec<_>, EvalError>>()?)
            }
        })
    }
}

/// An action with unfilled arguments.
#[derive(Clone, Debug)]
pub struct ActionCall {
    /// The action's name, one of the catalogue.
    pub action: &'static str,
    /// Arguments by name.
    pub args: BTreeMap<String, Arg>,
}

/// An entry of `undo` or `finally`.
#[derive(Clone, Debug)]
pub struct Entry {
    /// What it does.
    pub call: ActionCall,
    /// False: skipped; unknown: not run, and the run parks.
    pub when: Option<Expr>,
    /// Limit of one try.
    pub timeout: Duration,
    /// How often it is tried.
    pub retry: Retry,
}

/// What an approval shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Show {
    /// The readings.
    Evidence,
    /// The expected loss.
    Loss,
    /// All commands that follow.
    Commands,
}

/// What a step does.
#[derive(Clone, Debug)]
pub enum StepKind {
    /// An action of the catalogue.
    Action(ActionCall),
    /// The steps once for each item, one after the other.
    Foreach {
        /// A list of names.
        items: Expr,
        /// The name of the item inside.
        item: String,
        /// Stop before the next item when this is true.
        until: Option<Expr>,
        /// The steps.
        steps: Vec<Step>,
    },
    /// Wait until a condition holds for a while; unknown is *not yet*.
    Wait {
        /// The condition.
        until: Expr,
        /// How long it must hold without a break.
        hold: Duration,
        /// How long to wait in all.
        timeout: Duration,
        /// Between two looks.
        poll: Duration,
    },
    /// A condition that must hold now; unknown is read again until the step's timeout.
    Expect {
        /// The condition.
        that: Expr,
        /// What a person reads when it does not hold.
        message: Template,
    },
    /// Write down what may have been lost.
    RecordLoss {
        /// The output of `etcd.choose_survivor`.
        survivor: Template,
        /// The output of `etcd.restore`.
        rebuilt: Template,
    },
    /// Write a note into the journal.
    RecordNote(Template),
    /// Where the run asks.
    Approve(Vec<Show>),
}
