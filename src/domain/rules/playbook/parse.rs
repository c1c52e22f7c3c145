//! From a YAML document to a valid [`Playbook`], with everything that is wrong with it.
//!
//! One pass: each step is read with a `Scope` that knows what earlier steps gave, so that
//! an expression is typed where it stands. Laws over the whole playbook (one point of no return,
//! ask before fencing) are noted on the way in `Laws` and checked at the end.

use std::{collections::BTreeMap, ops::Range, time::Duration};

use sha2::{Digest, Sha256};

use super::{
    model::{Destroys, Playbook, Step},
    params::{Param, ParamType},
};
use crate::domain::{
    base::id::PlaybookName,
    rules::{
        action::Catalogue,
        codes,
        document::Head,
        expr::{Expr, Schema},
        vocabulary,
        yaml::{
            Kind, Node, ScalarValue,
            read::{Bounds, Fields, Sink, duration, list, text, word},
        },
    },
};

mod control;
mod params;
mod scope;
mod steps;
#[cfg(test)]
mod tests;

pub(in crate::domain) use params::literal;
use scope::Scope;

/// Limits of one try, of a whole run, and of a wait: a run that takes a day is no repair.
const SPAN: Bounds<Duration> = Duration::from_millis(1)..=Duration::from_hours(24);
/// A whole run where the playbook does not say: the rebuild of three members takes 14 s by hand.
const TIMEOUT: Duration = Duration::from_hours(1);
/// Steps of one list: the rebuild has 22; what is longer cannot be read by a person who approves.
const STEPS_MAX: usize = 100;

/// Reads the spec of a playbook. `text` is the document it came from.
///
/// The result may be there although problems were reported; it must not be used then.
pub fn playbook(
    head: &Head<'_>,
    document: &str,
    catalogue: &Catalogue,
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
        let words = ["nothing", "member", "data"];
        let kinds = [Destroys::Nothing, Destroys::Member, Destroys::Data];
        let got = word(node, &words, sink);
        let kind = words.iter().zip(kinds).find(|(word, _)| Some(**word) == got);
        (kind.map_or(Destroys::Data, |(_, kind)| kind), node.span.clone())
    });
    let params = declared.map(|node| params::declared(node, sink)).unwrap_or_default();
    let mut scope = Scope::new(vocabulary::playbook_schema(params::record(&params)));
    let mut parser = Parser { catalogue, sink, laws: Laws::default() };
    let steps = steps.map(|node| parser.list(node, &mut scope, 0)).unwrap_or_default();
    let laws = parser.laws;
    laws.check(destroys.as_ref(), &params, sink);
    let verify = verify.and_then(|node| condition(node, &scope.schema(), sink));
    Some(Playbook {
        name: PlaybookName::from(head.name.as_str()),
        description: head.description.clone(),
        destroys: destroys.map_or(Destroys::Nothing, |(kind, _)| kind),
        params,
        timeout: timeout.unwrap_or(TIMEOUT),
        steps,
        verify,
        text: document.to_owned(),
        digest: digest(document),
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

/// Reads steps; knows the catalogue and what was seen so far.
struct Parser<'s, 't> {
    catalogue: &'s Catalogue,
    sink: &'s mut Sink<'t>,
    laws: Laws,
}

impl Parser<'_, '_> {
    /// Reads a list of steps. `depth` counts the loops around it.
    fn list(&mut self, node: &Node, scope: &mut Scope, depth: usize) -> Vec<Step> {
        let Some(items) = list(node, self.sink) else { return Vec::new() };
        if items.is_empty() || items.len() > STEPS_MAX {
            let message = format!("a list of steps holds 1 to {STEPS_MAX} of them");
            self.sink.add(&codes::OUT_OF_RANGE, &node.span, message);
        }
        items.iter().filter_map(|item| self.step(item, scope, depth)).collect()
    }
}

/// What the laws over a whole playbook need, noted while its steps are read.
#[derive(Debug, Default)]
struct Laws {
    /// Where each step name was first used.
    names: BTreeMap<String, Range<usize>>,
    /// Irreversible steps.
    irreversible: Vec<Range<usize>>,
    /// Whether the run has asked for sure by now.
    approved: bool,
    chose_survivor: bool,
    recorded_loss: bool,
}

impl Laws {
    fn check(
        &self,
        destroys: Option<&(Destroys, Range<usize>)>,
        params: &[Param],
        sink: &mut Sink<'_>,
    ) {
        for second in self.irreversible.iter().skip(1) {
            let help = "split the playbook: a failure after the first is never undone";
            let message = "there is a point of no return before this one";
            sink.add_help(&codes::SECOND_IRREVERSIBLE, second, message, help);
        }
        match (destroys, self.irreversible.first()) {
            (None, Some(step)) => {
                let message = "a playbook with an irreversible step must say what it destroys";
                let help = "add `destroys: nothing`, `member` or `data` to the spec";
                sink.add_help(&codes::DESTROYS_MISSING, step, message, help);
            }
            (Some((Destroys::Data, span)), _) if !(self.chose_survivor && self.recorded_loss) => {
                let message =
                    "data is destroyed without etcd.choose_survivor and record: {loss: …}";
                let help = "without them nobody can tell afterwards what was lost";
                sink.add_help(&codes::LOSS_NOT_RECORDED, span, message, help);
            }
            (Some((Destroys::Member, span)), _)
                if !params.iter().any(|param| param.ty == ParamType::Member) =>
            {
                let message = "no parameter of type `member` names the member that is destroyed";
                let help = "the guard asks permanence of every such parameter";
                sink.add_help(&codes::NO_MEMBER_PARAM, span, message, help);
            }
            (Some(_) | None, _) => {}
        }
    }
}
