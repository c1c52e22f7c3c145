//! A playbook that was read and found valid: a value of this type can be run.
//!
//! Expressions and templates are compiled and typed; names are resolved. Text that a person wrote
//! stays with it ([`Playbook::text`]): the plan stores it, so that a run never depends on the file.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use super::{params::Param, traits::ActionTraits};
use crate::domain::{
    base::{id::PlaybookName, time},
    rules::{
        action::{ErrorKind, Failure},
        expr::{EvalError, Expr, Template, Type, Value, Variables, stored::exact},
    },
};

/// How long `verify` is waited for after the last step.
pub const VERIFY_TIMEOUT: Duration = Duration::from_mins(1);

/// What a playbook may destroy: decides which guards hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Destroys {
    /// Nothing that cannot be had again.
    Nothing,
    /// A member.
    Member,
    /// Possibly acknowledged data.
    Data,
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
    /// The YAML document it was read from, and those of the playbooks it calls.
    pub text: String,
    /// SHA-256 of [`Playbook::text`], hex.
    pub digest: String,
    /// What a playbook that calls it must know.
    pub outline: Outline,
}

/// What a caller must know of a playbook.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct Outline {
    /// Its own document.
    pub document: Arc<str>,
    /// The documents of all that it calls, by name.
    pub called: BTreeMap<PlaybookName, Arc<str>>,
    /// The type of its output: the outputs of its steps, by step.
    pub output: Type,
    /// Whether it has a point of no return.
    pub irreversible: bool,
    /// Whether it asks for sure.
    pub asks: bool,
    /// What its questions show.
    pub questions: Vec<Vec<Show>>,
    /// Whether it chooses a survivor.
    pub chooses: bool,
    /// Whether it records a loss.
    pub records_loss: bool,
    /// Loops inside each other.
    pub loops: usize,
    /// Calls inside each other.
    pub calls: usize,
    /// Steps in all.
    pub steps: usize,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Unique in the playbook.
    pub name: String,
    /// What it does.
    pub kind: StepKind,
    /// False: skipped; unknown: the step fails.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<Expr>,
    /// Limit of one try; of an `expect`, how long an unknown is read again. Without meaning on
    /// `foreach`, `call`, `wait` and `approve`.
    #[serde(with = "time::duration")]
    pub timeout: Duration,
    /// How often it is tried.
    #[serde(default, skip_serializing_if = "Retry::is_once")]
    pub retry: Retry,
    /// A second name for its output.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub register: Option<String>,
    /// What takes it back, in the order written.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub undo: Vec<Entry>,
    /// What is armed at its start and runs when its scope ends, in the order written.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub finally: Vec<Entry>,
    /// The point of no return.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub irreversible: bool,
    /// Whether a failure ends the run (for `foreach`: whether a failed item does).
    #[serde(default)]
    pub on_error: OnError,
}

/// What a failed step means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnError {
    /// The run fails.
    #[default]
    Fail,
    /// It is noted and the run goes on.
    Continue,
}

/// How a step is tried again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Retry {
    /// Tries in all, at least 1.
    pub attempts: u32,
    /// Between two tries.
    #[serde(with = "time::duration")]
    pub delay: Duration,
    /// Only these kinds are tried again; empty: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub on: Vec<ErrorKind>,
}

impl Default for Retry {
    fn default() -> Self {
        Self { attempts: 1, delay: Duration::ZERO, on: Vec::new() }
    }
}

impl Retry {
    /// Whether there is one try and no other.
    pub fn is_once(&self) -> bool {
        self.attempts <= 1
    }

    /// Whether a try that failed like this is the last one; `tries` counts it too.
    pub fn is_last(&self, tries: u32, failure: &Failure) -> bool {
        tries >= self.attempts || !(self.on.is_empty() || self.on.contains(&failure.kind))
    }
}

/// An argument: literal where it holds no `${…}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Arg {
    /// A text that may hold `${…}`.
    Template(Template),
    /// Any other scalar.
    Literal(#[serde(with = "exact")] Value),
    /// A list.
    List(Vec<Arg>),
    /// A map.
    Map(BTreeMap<String, Arg>),
}

impl Destroys {
    /// All, the mildest first.
    pub const ALL: [Self; 3] = [Self::Nothing, Self::Member, Self::Data];

    /// The word in YAML.
    pub fn label(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Member => "member",
            Self::Data => "data",
        }
    }
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
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ActionCall {
    /// The action's name, as the catalogue had it.
    pub action: String,
    /// What the catalogue declared of it.
    pub traits: ActionTraits,
    /// Arguments by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub args: BTreeMap<String, Arg>,
}

/// An entry of `undo` or `finally`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// What it does.
    pub call: ActionCall,
    /// False: skipped; unknown: not run, and the run parks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<Expr>,
    /// Limit of one try.
    #[serde(with = "time::duration")]
    pub timeout: Duration,
    /// How often it is tried.
    #[serde(default, skip_serializing_if = "Retry::is_once")]
    pub retry: Retry,
}

/// What an approval shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Show {
    /// The readings.
    Evidence,
    /// The expected loss.
    Loss,
    /// All commands that follow.
    Commands,
}

/// What a step does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepKind {
    /// An action of the catalogue.
    Action(ActionCall),
    /// The steps once for each item.
    Foreach {
        /// A list of names.
        items: Expr,
        /// The name of the item inside.
        item: String,
        /// How many items are worked on at once; 1 is one after the other.
        at_once: usize,
        /// Stop before the next item when this is true.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until: Option<Expr>,
        /// The steps.
        steps: Vec<Step>,
    },
    /// The steps of another playbook, in a scope of their own.
    Call {
        /// Its name.
        playbook: PlaybookName,
        /// What it was given, by the name of its parameter.
        with: BTreeMap<String, Arg>,
        /// What it takes.
        params: Vec<Param>,
        /// Its steps.
        steps: Vec<Step>,
    },
    /// Wait until a condition holds for a while; unknown is *not yet*.
    Wait {
        /// The condition.
        until: Expr,
        /// How long it must hold without a break.
        #[serde(with = "time::duration")]
        hold: Duration,
        /// How long to wait in all.
        #[serde(with = "time::duration")]
        timeout: Duration,
        /// Between two looks.
        #[serde(with = "time::duration")]
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
