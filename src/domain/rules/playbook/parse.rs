//! From a YAML document to a valid [`Playbook`], with everything that is wrong with it.
//!
//! One pass: each step is read with a `Scope` that knows what earlier steps gave, so that
//! an expression is typed where it stands. Laws over the whole playbook (one point of no return,
//! ask before fencing) are noted on the way in `Laws` and checked at the end.

use std::{collections::BTreeMap, ops::Range, sync::Arc, time::Duration};

use sha2::{Digest, Sha256};

use super::model::{Destroys, Outline, Playbook, Step};
use crate::domain::{
    base::id::PlaybookName,
    rules::{
        action::Catalogue,
        codes,
        document::Head,
        expr::{Expr, Schema, Type},
        vocabulary,
        yaml::{
            Kind, Node, ScalarValue,
            read::{Bounds, Fields, Sink, duration, list, text, word},
        },
    },
};

pub mod call;
mod control;
mod laws;
mod params;
mod scope;
mod steps;

use call::Callees;
use laws::Laws;
pub(in crate::domain) use params::literal;
use scope::Scope;

/// Limits of one try, of a whole run, and of a wait: a run that takes a day is no repair.
const SPAN: Bounds<Duration> = Duration::from_millis(1)..=Duration::from_hours(24);
/// A whole run where the playbook does not say: the rebuild of three members takes 14 s by hand.
const TIMEOUT: Duration = Duration::from_hours(1);
/// Steps of one list: the rebuild has 22; what is longer cannot be read by a person who approves.
const STEPS_MAX: usize = 100;

/// Reads the spec of a playbook. `text` is the document it came from, `callees` what it may call.
///
/// The result may be there although problems were reported; it must not be used then.
pub fn playbook(
    head: &Head<'_>,
    document: &str,
    catalogue: &Catalogue,
    callees: &Callees,
    sink: &mut Sink<'_>,
) -> Option<Playbook> {
    let mut fields = Fields::of(head.spec, sink)?;
    let destroys = fields.get("destroys");
    let declared = fields.get("params");
    let timeout = fields.get("timeout").and_then(|node| duration(node, &SPAN, sink));
    let steps = fields.need("steps", sink);
    let verify = fields.get("verify");
    fields.finish(sink);

    let destroys = destroys.map(|node| {
        let got = word(node, &Destroys::ALL.map(Destroys::label), sink);
        let kind = Destroys::ALL.into_iter().find(|kind| Some(kind.label()) == got);
        (kind.unwrap_or(Destroys::Data), node.span.clone())
    });
    let kind = destroys.as_ref().map_or(Destroys::Nothing, |(kind, _)| *kind);
    let params = declared.map(|node| params::declared(node, sink)).unwrap_or_default();
    let outer = Scope::new(vocabulary::playbook_schema(params::record(&params)));
    let mut scope = outer.clone();
    let (laws, called) = (Laws::default(), BTreeMap::new());
    let mut parser = Parser { catalogue, callees, sink, destroys: kind, laws, called };
    let steps = steps.map(|node| parser.list(node, &mut scope, Around::default()));
    let Parser { laws, called, .. } = parser;
    laws.check(destroys.as_ref(), &params, verify.is_some(), sink);
    let verify = verify.and_then(|node| condition(node, &scope.schema(), sink));
    let parts = std::iter::once(document).chain(called.values().map(|text| &**text));
    let text = parts.collect::<Vec<_>>().join("\n---\n");
    Some(Playbook {
        name: PlaybookName::from(head.name.as_str()),
        description: head.description.clone(),
        destroys: kind,
        params,
        timeout: timeout.unwrap_or(TIMEOUT),
        steps: steps.unwrap_or_default(),
        verify,
        digest: digest(&text),
        text,
        outline: Outline {
            document: document.into(),
            called,
            output: Type::record_of(scope.outputs_beyond(&outer)),
            irreversible: !laws.irreversible.is_empty(),
            asks: laws.approved,
            questions: laws.questions.into_iter().map(|(_, show)| show).collect(),
            chooses: laws.chose_survivor,
            records_loss: laws.recorded_loss,
            loops: laws.loops,
            calls: laws.calls,
            steps: laws.steps,
        },
    })
}

/// SHA-256 of a text, hex.
pub fn digest(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().fold(String::new(), |mut hex, byte| {
        let digit = |half: u8| char::from_digit(u32::from(half), 16).unwrap_or('0');
        hex.extend([digit(byte >> 4), digit(byte & 15)]);
        hex
    })
}

/// A condition: a text, or the bare words `true` and `false`.
pub fn condition(node: &Node, schema: &Schema, sink: &mut Sink<'_>) -> Option<Expr> {
    compiled(node, sink, |source| Expr::compile_bool(source, schema))
}

/// An expression of any type.
pub fn expression(node: &Node, schema: &Schema, sink: &mut Sink<'_>) -> Option<Expr> {
    compiled(node, sink, |source| Expr::compile(source, schema))
}

fn compiled(
    node: &Node,
    sink: &mut Sink<'_>,
    compile: impl FnOnce(&str) -> Result<Expr, Vec<crate::domain::rules::expr::Problem>>,
) -> Option<Expr> {
    let source = match &node.kind {
        Kind::Scalar(ScalarValue::Bool(flag), _) => {
            if *flag {
                "true"
            } else {
                "false"
            }
        }
        Kind::Scalar(..) | Kind::Seq(_) | Kind::Map(_) => text(node, sink)?,
    };
    compile(source).map_err(|problems| sink.expression(node, problems)).ok()
}

/// Reads steps; knows the catalogue, what may be called, and what was seen so far.
struct Parser<'s, 't> {
    catalogue: &'s Catalogue,
    callees: &'s Callees,
    sink: &'s mut Sink<'t>,
    /// What the playbook says that it destroys.
    destroys: Destroys,
    laws: Laws,
    /// The documents of all playbooks that are called, also by called ones.
    called: BTreeMap<PlaybookName, Arc<str>>,
}

/// The loops around a list of steps.
#[derive(Clone, Copy, Debug, Default)]
struct Around {
    loops: usize,
    /// Whether one of them works on several items at once.
    parallel: bool,
}

impl Parser<'_, '_> {
    /// Reads a list of steps.
    fn list(&mut self, node: &Node, scope: &mut Scope, around: Around) -> Vec<Step> {
        let Some(items) = list(node, self.sink) else { return Vec::new() };
        if items.is_empty() || items.len() > STEPS_MAX {
            let message = format!("a list of steps holds 1 to {STEPS_MAX} of them");
            self.sink.add(&codes::OUT_OF_RANGE, &node.span, message);
        }
        self.laws.steps += items.len();
        items.iter().filter_map(|item| self.step(item, scope, around)).collect()
    }

    /// Notes a point of no return.
    fn irreversible(&mut self, span: &Range<usize>, around: Around) {
        if around.loops > 0 {
            let message = "a loop passes its point of no return once for each item";
            let help = "take it out of the loop: a failure after the first is never undone";
            self.sink.add_help(&codes::SECOND_IRREVERSIBLE, span, message, help);
        }
        self.laws.irreversible.push(span.clone());
    }

    /// Notes where the run asks.
    fn question(&mut self, span: &Range<usize>, around: Around) {
        if around.parallel {
            let message = "a run asks one question at a time, so not in a parallel loop";
            let help = "ask before the loop, or write `mode: serial`";
            self.sink.add_help(&codes::NOT_IN_PARALLEL, span, message, help);
        }
    }
}
