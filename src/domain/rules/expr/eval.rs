//! Evaluates a checked tree within its fuel.
//!
//! An absent reading stops with [`EvalError::Unknown`]. `&&`, `||`, `all` and `exists` absorb it where
//! another operand decides. Of two stops an unknown outranks an error: once it is read, the error
//! may be gone. Spent fuel outranks both and is never absorbed.

use std::sync::Arc;

use super::{
    Compiled, EvalError, Value, Variables,
    tree::{By, Fold, Loop, Node, NodeKind, Pattern, Step},
};

/// Bytes of text that cost one step.
const BYTES_PER_STEP: usize = 16;

/// Evaluates; what is left of the fuel stays in `fuel`.
pub(super) fn eval(
    compiled: &Compiled,
    world: &dyn Variables,
    fuel: &mut u64,
) -> Result<Value, EvalError> {
    let empty = Slot { value: Value::Null, origin: None };
    let slots = vec![empty; compiled.slots];
    let source = &compiled.source;
    Evaluation { world, source, slots, fuel }.eval(&compiled.root)
}

/// The present item of a loop.
#[derive(Clone)]
struct Slot {
    value: Value,
    /// The path of the list it comes from and its place there.
    origin: Option<(Arc<str>, usize)>,
}

pub(super) struct Evaluation<'a> {
    pub(super) world: &'a dyn Variables,
    source: &'a str,
    slots: Vec<Slot>,
    fuel: &'a mut u64,
}

type Truth = Result<bool, EvalError>;
/// The items of a loop, and the path of their list.
type Items = (Arc<Vec<Value>>, Option<Arc<str>>);

impl Evaluation<'_> {
    pub(super) fn pay(&mut self, steps: usize) -> Result<(), EvalError> {
        let left = u64::try_from(steps).ok().and_then(|steps| self.fuel.checked_sub(steps));
        *self.fuel = left.unwrap_or(0);
        left.map(|_| ()).ok_or(EvalError::Spent)
    }

    /// For work that grows with a text.
    pub(super) fn pay_for_text(&mut self, bytes: usize) -> Result<(), EvalError> {
        self.pay(bytes / BYTES_PER_STEP)
    }

    pub(super) fn eval(&mut self, node: &Node) -> Result<Value, EvalError> {
        self.pay(1)?;
        match &node.kind {
            NodeKind::Literal(value) => Ok(value.clone()),
            NodeKind::Now => Ok(Value::Time(self.world.now())),
            NodeKind::Root(name) => self.world.root(name).ok_or_else(|| unknown(node, name)),
            NodeKind::Slot(slot, _) => Ok(self.slots[*slot].value.clone()),
            NodeKind::Path(base, steps) => self.walk(base, steps, &mut vec![]),
            NodeKind::Not(x) => self.truth(x).map(|flag| Value::Bool(!flag)),
            NodeKind::Negate(x) => self.negate(node, x),
            NodeKind::And(x, y) => self.logic(x, y, false).map(Value::Bool),
            NodeKind::Or(x, y) => self.logic(x, y, true).map(Value::Bool),
            NodeKind::Choose(parts) => {
                let [condition, yes, no] = &**parts;
                if self.truth(condition)? { self.eval(yes) } else { self.eval(no) }
            }
            NodeKind::Binary(op, x, y) => {
                let (x, y) = (self.eval(x)?, self.eval(y)?);
                self.binary(node, *op, &x, &y)
            }
            NodeKind::Has(path) => match self.eval(path) {
                Ok(_) => Ok(Value::Bool(true)),
                Err(EvalError::Unknown { .. }) => Ok(Value::Bool(false)),
                Err(stop) => Err(stop),
            },
            NodeKind::Fold(fold) => self.fold(fold),
            NodeKind::Call(function, args) => {
                let args = self.all(args)?;
                self.call(node, *function, &args)
            }
            NodeKind::Matches(x, pattern) => self.matches(x, pattern),
            NodeKind::List(items) => self.all(items).map(Value::list),
            NodeKind::Map(entries) => {
                let entries = entries.iter().map(|(key, x)| Ok((key.clone(), self.eval(x)?)));
                entries.collect::<Result<_, EvalError>>().map(|map| Value::Map(Arc::new(map)))
            }
        }
    }

    fn all(&mut self, nodes: &[Node]) -> Result<Vec<Value>, EvalError> {
        nodes.iter().map(|node| self.eval(node)).collect()
    }

    fn truth(&mut self, node: &Node) -> Truth {
        let value = self.eval(node)?;
        value.as_bool().ok_or_else(|| {
            EvalError::error(&node.span, format!("is {}, wanted bool", value.type_name()))
        })
    }

    /// `&&` is decided by a false operand, `||` by a true one, whatever the other is.
    fn logic(&mut self, x: &Node, y: &Node, decisive: bool) -> Truth {
        let first = self.truth(x);
        if first == Ok(decisive) || first == Err(EvalError::Spent) {
            return first;
        }
        let second = self.truth(y);
        if second == Ok(decisive) { second } else { worse(first, second) }
    }

    fn negate(&mut self, node: &Node, x: &Node) -> Result<Value, EvalError> {
        let value = self.eval(x)?;
        let negated = if let Value::Int(whole) = value {
            whole.checked_neg().map(Value::Int)
        } else if let Value::Duration(millis) = value {
            millis.checked_neg().map(Value::Duration)
        } else if let Value::Double(number) = value {
            Some(Value::Double(-number))
        } else {
            return Err(EvalError::error(&node.span, format!("- of {}", value.type_name())));
        };
        negated.ok_or_else(|| EvalError::error(&node.span, "overflow"))
    }

    fn matches(&mut self, x: &Node, pattern: &Pattern) -> Result<Value, EvalError> {
        let value = self.eval(x)?;
        let Value::Str(text) = &value else {
            let message = format!("matches of {}", value.type_name());
            return Err(EvalError::error(&x.span, message));
        };
        self.pay(text.len())?;
        Ok(Value::Bool(pattern.is_match(text)))
    }

    /// Follows a path. The values of its indexes are left in `indexes`.
    fn walk(
        &mut self,
        base: &Node,
        steps: &[Step],
        indexes: &mut Vec<Value>,
    ) -> Result<Value, EvalError> {
        let start = self.eval(base)?;
        let mut here = &start;
        for (done, step) in steps.iter().enumerate() {
            self.pay(1)?;
            let next = match &step.by {
                By::Field(name) => {
                    let Value::Map(entries) = here else {
                        let message = format!("{} has no fields", here.type_name());
                        return Err(EvalError::error(&step.span, message));
                    };
                    entries.get(name)
                }
                By::Index(index) => {
                    let index = self.eval(index)?;
                    self.pay_for_text(index.as_str().map_or(0, str::len))?;
                    let found = element(here, &index, step)?;
                    indexes.push(index);
                    found
                }
            };
            let Some(next) = next else {
                let path = self.spell(base, &steps[..=done], indexes);
                return Err(EvalError::Unknown { path, span: step.span.clone() });
            };
            here = next;
        }
        Ok(here.clone())
    }

    /// A path as people read it, with the values of its indexes.
    fn spell(&self, base: &Node, steps: &[Step], indexes: &[Value]) -> String {
        let mut path = if let NodeKind::Root(name) = &base.kind {
            String::from(&**name)
        } else if let NodeKind::Slot(slot, name) = &base.kind {
            match &self.slots[*slot].origin {
                Some((list, place)) => format!("{list}.{place}"),
                None => String::from(&**name),
            }
        } else {
            self.source.get(base.span.clone()).unwrap_or("…").into()
        };
        let mut indexes = indexes.iter();
        for step in steps {
            path.push('.');
            match &step.by {
                By::Field(name) => path.push_str(name),
                By::Index(_) => {
                    let index = indexes.next().and_then(Value::to_text);
                    path.push_str(index.as_deref().unwrap_or("…"));
                }
            }
        }
        path
    }

    /// What a loop goes over, and its path if it has one.
    fn items(&mut self, over: &Node) -> Result<Items, EvalError> {
        let mut indexes = vec![];
        let (value, path) = if let NodeKind::Path(base, steps) = &over.kind {
            let value = self.walk(base, steps, &mut indexes)?;
            (value, Some(self.spell(base, steps, &indexes)))
        } else {
            let is_named = matches!(over.kind, NodeKind::Root(_) | NodeKind::Slot(..));
            (self.eval(over)?, is_named.then(|| self.spell(over, &[], &[])))
        };
        if let Value::List(items) = &value {
            return Ok((items.clone(), path.map(Arc::from)));
        }
        let Value::Map(entries) = &value else {
            let message = format!("{} is neither a list nor a map", value.type_name());
            return Err(EvalError::error(&over.span, message));
        };
        self.pay(entries.len())?;
        let keys = entries.keys().map(|key| Value::Str(key.clone()));
        Ok((Arc::new(keys.collect()), None))
    }

    fn fold(&mut self, looped: &Loop) -> Result<Value, EvalError> {
        let (items, path) = self.items(&looped.over)?;
        let mut kept = vec![];
        let mut count = 0_usize;
        let mut verdict = Ok(looped.fold == Fold::All);
        for (place, item) in items.iter().enumerate() {
            let origin = path.clone().map(|path| (path, place));
            self.slots[looped.slot] = Slot { value: item.clone(), origin };
            match looped.fold {
                Fold::All | Fold::Exists => {
                    let decisive = looped.fold == Fold::Exists;
                    let truth = self.truth(&looped.body);
                    if truth == Ok(decisive) || truth == Err(EvalError::Spent) {
                        return truth.map(Value::Bool);
                    }
                    verdict = worse(verdict, truth);
                }
                Fold::ExistsOne => count += usize::from(self.truth(&looped.body)?),
                Fold::Filter => {
                    if self.truth(&looped.body)? {
                        kept.push(item.clone());
                    }
                }
                Fold::Map => kept.push(self.eval(&looped.body)?),
            }
        }
        match looped.fold {
            Fold::All | Fold::Exists => verdict.map(Value::Bool),
            Fold::ExistsOne => Ok(Value::Bool(count == 1)),
            Fold::Filter | Fold::Map => Ok(Value::list(kept)),
        }
    }
}

fn unknown(node: &Node, path: &str) -> EvalError {
    EvalError::Unknown { path: path.into(), span: node.span.clone() }
}

/// The item at an index or key; `None` is an absent reading.
fn element<'v>(of: &'v Value, index: &Value, step: &Step) -> Result<Option<&'v Value>, EvalError> {
    match (of, index) {
        (Value::Map(entries), Value::Str(key)) => Ok(entries.get(key)),
        (Value::List(items), Value::Int(place)) => {
            Ok(usize::try_from(*place).ok().and_then(|place| items.get(place)))
        }
        _ => {
            let message = format!("{} indexed by {}", of.type_name(), index.type_name());
            Err(EvalError::error(&step.span, message))
        }
    }
}

/// Of two operands of which neither decides.
fn worse(a: Truth, b: Truth) -> Truth {
    let rank = |truth: &Truth| match truth {
        Ok(_) => 0,
        Err(EvalError::Error { .. }) => 1,
        Err(EvalError::Unknown { .. }) => 2,
        Err(EvalError::Spent) => 3,
    };
    if rank(&b) > rank(&a) { b } else { a }
}
