//! Expressions, templates and values as a plan stores them: the checked tree itself.
//!
//! A run goes on after an upgrade with what was checked when it was planned. Nothing is parsed or
//! typed again, so a stricter checker or another vocabulary cannot stop it. The tree is stored flat,
//! children before their parent, so that reading it back needs no deep stack and no deep JSON.
//! The static type is not stored: it has done its work, and a read expression says [`Type::Any`].

use std::{ops::Range, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{
    Compiled, Expr, MAX_HEIGHT, Template, Type, Value,
    ast::Op,
    template::Piece,
    tree::{By, Fold, Function, Loop, Node, NodeKind, Pattern, Step},
};

/// A node: its span in the source, and what it is. Children are places in the list.
#[derive(Debug, Serialize, Deserialize)]
struct Flat(usize, usize, Kind);

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Literal(#[serde(with = "exact")] Value),
    Now,
    Root(Arc<str>),
    Slot(usize, Arc<str>),
    Path(usize, Vec<FlatStep>),
    Not(usize),
    Negate(usize),
    And(usize, usize),
    Or(usize, usize),
    Choose(usize, usize, usize),
    Binary(Op, usize, usize),
    Has(usize),
    Fold(Fold, usize, usize, usize),
    Call(Function, Vec<usize>),
    Matches(usize, String),
    List(Vec<usize>),
    Map(Vec<(Arc<str>, usize)>),
}

#[derive(Debug, Serialize, Deserialize)]
struct FlatStep(usize, usize, FlatBy);

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum FlatBy {
    Field(Arc<str>),
    Index(usize),
}

/// Lays a tree out; the root comes last.
fn flatten(root: &Node) -> Vec<Flat> {
    let mut out = Vec::new();
    push(root, &mut out);
    out
}

fn push(node: &Node, out: &mut Vec<Flat>) -> usize {
    let kind = match &node.kind {
        NodeKind::Literal(value) => Kind::Literal(value.clone()),
        NodeKind::Now => Kind::Now,
        NodeKind::Root(name) => Kind::Root(name.clone()),
        NodeKind::Slot(slot, name) => Kind::Slot(*slot, name.clone()),
        NodeKind::Path(base, steps) => {
            let base = push(base, out);
            let steps = steps.iter().map(|step| {
                let by = match &step.by {
                    By::Field(name) => FlatBy::Field(name.clone()),
                    By::Index(index) => FlatBy::Index(push(index, out)),
                };
                FlatStep(step.span.start, step.span.end, by)
            });
            let steps = steps.collect();
            Kind::Path(base, steps)
        }
        NodeKind::Not(x) => Kind::Not(push(x, out)),
        NodeKind::Negate(x) => Kind::Negate(push(x, out)),
        NodeKind::And(x, y) => Kind::And(push(x, out), push(y, out)),
        NodeKind::Or(x, y) => Kind::Or(push(x, out), push(y, out)),
        NodeKind::Choose(parts) => {
            let [condition, yes, no] = &**parts;
            Kind::Choose(push(condition, out), push(yes, out), push(no, out))
        }
        NodeKind::Binary(op, x, y) => Kind::Binary(*op, push(x, out), push(y, out)),
        NodeKind::Has(x) => Kind::Has(push(x, out)),
        NodeKind::Fold(looped) => {
            let over = push(&looped.over, out);
            Kind::Fold(looped.fold, over, looped.slot, push(&looped.body, out))
        }
        NodeKind::Call(function, args) => {
            Kind::Call(*function, args.iter().map(|arg| push(arg, out)).collect())
        }
        NodeKind::Matches(x, pattern) => Kind::Matches(push(x, out), pattern.as_str().to_owned()),
        NodeKind::List(items) => Kind::List(items.iter().map(|item| push(item, out)).collect()),
        NodeKind::Map(entries) => {
            let entries = entries.iter().map(|(key, value)| (key.clone(), push(value, out)));
            Kind::Map(entries.collect())
        }
    };
    out.push(Flat(node.span.start, node.span.end, kind));
    out.len() - 1
}

/// Builds a tree from what was laid out. Each node is used once, and none is out of bounds.
struct Builder<'s> {
    source: &'s str,
    slots: usize,
    /// What is built and not used yet, with its height.
    built: Vec<Option<(Node, usize)>>,
    /// The height of the tallest child of the node that is being built.
    tallest: usize,
}

type Read<T> = Result<T, String>;

fn build(source: &str, slots: usize, flat: Vec<Flat>) -> Read<Node> {
    let mut builder = Builder { source, slots, built: Vec::with_capacity(flat.len()), tallest: 0 };
    for Flat(from, to, kind) in flat {
        builder.tallest = 0;
        let span = builder.span(from, to)?;
        let kind = builder.kind(kind)?;
        let height = builder.tallest + 1;
        if height > MAX_HEIGHT {
            return Err(format!("an expression is more than {MAX_HEIGHT} nodes high"));
        }
        builder.built.push(Some((Node { span, kind }, height)));
    }
    let root = builder.built.pop().flatten();
    let (root, _) = root.ok_or("an expression without a node")?;
    if builder.built.iter().any(Option::is_some) {
        return Err("an expression with a node that nothing uses".into());
    }
    Ok(root)
}

impl Builder<'_> {
    fn span(&self, from: usize, to: usize) -> Read<Range<usize>> {
        let fits = self.source.get(from..to).is_some();
        fits.then_some(from..to).ok_or_else(|| format!("{from}..{to} is not in its source"))
    }

    fn slot(&self, slot: usize) -> Read<usize> {
        (slot < self.slots).then_some(slot).ok_or_else(|| format!("there is no slot {slot}"))
    }

    fn take(&mut self, index: usize) -> Read<Node> {
        let found = self.built.get_mut(index).and_then(Option::take);
        let (node, height) = found.ok_or_else(|| format!("node {index} is not there"))?;
        self.tallest = self.tallest.max(height);
        Ok(node)
    }

    fn boxed(&mut self, index: usize) -> Read<Box<Node>> {
        self.take(index).map(Box::new)
    }

    fn all(&mut self, indexes: &[usize]) -> Read<Vec<Node>> {
        indexes.iter().map(|index| self.take(*index)).collect()
    }

    fn kind(&mut self, kind: Kind) -> Read<NodeKind> {
        Ok(match kind {
            Kind::Literal(value) => NodeKind::Literal(value),
            Kind::Now => NodeKind::Now,
            Kind::Root(name) => NodeKind::Root(name),
            Kind::Slot(slot, name) => NodeKind::Slot(self.slot(slot)?, name),
            Kind::Path(base, steps) => {
                let base = self.boxed(base)?;
                let steps = steps.into_iter().map(|step| self.step(step));
                NodeKind::Path(base, steps.collect::<Read<_>>()?)
            }
            Kind::Not(x) => NodeKind::Not(self.boxed(x)?),
            Kind::Negate(x) => NodeKind::Negate(self.boxed(x)?),
            Kind::And(x, y) => NodeKind::And(self.boxed(x)?, self.boxed(y)?),
            Kind::Or(x, y) => NodeKind::Or(self.boxed(x)?, self.boxed(y)?),
            Kind::Choose(condition, yes, no) => {
                let parts = [self.take(condition)?, self.take(yes)?, self.take(no)?];
                NodeKind::Choose(Box::new(parts))
            }
            Kind::Binary(op, x, y) => NodeKind::Binary(op, self.boxed(x)?, self.boxed(y)?),
            Kind::Has(x) => NodeKind::Has(self.boxed(x)?),
            Kind::Fold(fold, over, slot, body) => {
                let (over, body) = (self.take(over)?, self.take(body)?);
                NodeKind::Fold(Box::new(Loop { fold, over, slot: self.slot(slot)?, body }))
            }
            Kind::Call(function, args) => NodeKind::Call(function, self.all(&args)?),
            Kind::Matches(x, pattern) => {
                let pattern = Pattern::new(&pattern).map_err(|error| error.to_string())?;
                NodeKind::Matches(self.boxed(x)?, pattern)
            }
            Kind::List(items) => NodeKind::List(self.all(&items)?),
            Kind::Map(entries) => {
                let entries = entries.into_iter().map(|(key, value)| Ok((key, self.take(value)?)));
                NodeKind::Map(entries.collect::<Read<_>>()?)
            }
        })
    }

    fn step(&mut self, FlatStep(from, to, by): FlatStep) -> Read<Step> {
        let by = match by {
            FlatBy::Field(name) => By::Field(name),
            FlatBy::Index(index) => By::Index(self.take(index)?),
        };
        Ok(Step { span: self.span(from, to)?, by })
    }
}

fn expr(source: &str, slots: usize, flat: Vec<Flat>) -> Read<Expr> {
    if slots > flat.len() {
        return Err(format!("{slots} slots are more than an expression of that size has"));
    }
    let root = build(source, slots, flat)?;
    Ok(Expr(Arc::new(Compiled { source: source.into(), ty: Type::Any, root, slots })))
}

#[derive(Serialize, Deserialize)]
struct StoredExpr {
    source: String,
    #[serde(default, skip_serializing_if = "is_zero")]
    slots: usize,
    tree: Vec<Flat>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(n: &usize) -> bool {
    *n == 0
}

impl Serialize for Expr {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let source = self.source().to_owned();
        StoredExpr { source, slots: self.0.slots, tree: flatten(&self.0.root) }.serialize(to)
    }
}

impl<'de> Deserialize<'de> for Expr {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let stored = StoredExpr::deserialize(from)?;
        expr(&stored.source, stored.slots, stored.tree).map_err(de::Error::custom)
    }
}

#[derive(Serialize, Deserialize)]
struct StoredTemplate {
    source: String,
    /// None where the source is the text.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pieces: Vec<StoredPiece>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StoredPiece {
    Text(String),
    /// Where in the template it stands, its length, its slots, its tree.
    Expr(usize, usize, usize, Vec<Flat>),
}

impl Serialize for Template {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let source = self.source().to_owned();
        let pieces = match self.pieces() {
            [Piece::Text(text)] if *text == source => Vec::new(),
            pieces => pieces.iter().map(stored_piece).collect(),
        };
        StoredTemplate { source, pieces }.serialize(to)
    }
}

fn stored_piece(piece: &Piece) -> StoredPiece {
    match piece {
        Piece::Text(text) => StoredPiece::Text(text.clone()),
        Piece::Expr(at, expr) => {
            StoredPiece::Expr(*at, expr.source().len(), expr.0.slots, flatten(&expr.0.root))
        }
    }
}

impl<'de> Deserialize<'de> for Template {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let StoredTemplate { source, pieces } = StoredTemplate::deserialize(from)?;
        if pieces.is_empty() {
            let text = Piece::Text(source.clone());
            return Ok(Self::of(source.into(), vec![text]));
        }
        let pieces = pieces.into_iter().map(|piece| match piece {
            StoredPiece::Text(text) => Ok(Piece::Text(text)),
            StoredPiece::Expr(at, len, slots, tree) => {
                let inside = at.checked_add(len).and_then(|end| source.get(at..end));
                let inside = inside.ok_or("an expression is not in its template")?;
                expr(inside, slots, tree).map(|expr| Piece::Expr(at, expr))
            }
        });
        let pieces = pieces.collect::<Read<_>>().map_err(de::Error::custom)?;
        Ok(Self::of(source.into(), pieces))
    }
}

/// Serde for a [`Value`] that comes back as it was: what JSON has no word for is tagged.
pub mod exact {
    use std::sync::Arc;

    use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
    use serde_json::{Value as Json, json};

    use super::Value;

    /// Writes texts, whole numbers, flags, lists and null as they are, all else as `{type: value}`.
    pub fn serialize<S: Serializer>(value: &Value, to: S) -> Result<S::Ok, S::Error> {
        write(value).serialize(to)
    }

    /// Reads what was written.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Value, D::Error> {
        let json = Json::deserialize(from)?;
        read(&json).ok_or_else(|| de::Error::custom(format!("{json} is no value")))
    }

    pub(super) fn write(value: &Value) -> Json {
        match value {
            Value::Null => Json::Null,
            Value::Bool(flag) => (*flag).into(),
            Value::Int(whole) => (*whole).into(),
            Value::Str(text) => (&**text).into(),
            Value::List(items) => items.iter().map(write).collect(),
            // as text: JSON has no infinity, and a parser may round
            Value::Double(number) => json!({ "double": number.to_string() }),
            Value::Duration(millis) => json!({ "duration": millis }),
            Value::Time(millis) => json!({ "time": millis }),
            Value::Map(entries) => {
                let entries = entries.iter().map(|(key, value)| (key.to_string(), write(value)));
                json!({ "map": entries.collect::<serde_json::Map<_, _>>() })
            }
        }
    }

    pub(super) fn read(json: &Json) -> Option<Value> {
        Some(match json {
            Json::Null => Value::Null,
            Json::Bool(flag) => Value::Bool(*flag),
            Json::Number(number) => Value::Int(number.as_i64()?),
            Json::String(text) => Value::str(text.as_str()),
            Json::Array(items) => Value::list(items.iter().map(read).collect::<Option<_>>()?),
            Json::Object(tagged) => {
                let (tag, inner) = tagged.iter().next().filter(|_| tagged.len() == 1)?;
                match tag.as_str() {
                    "double" => Value::Double(inner.as_str()?.parse().ok()?),
                    "duration" => Value::Duration(inner.as_i64()?),
                    "time" => Value::Time(inner.as_i64()?),
                    "map" => {
                        let entries = inner.as_object()?.iter();
                        let entries =
                            entries.map(|(key, value)| Some((key.as_str().into(), read(value)?)));
                        Value::Map(Arc::new(entries.collect::<Option<_>>()?))
                    }
                    _ => return None,
                }
            }
        })
    }
}

/// Serde for named values, each as [`exact`] has it.
pub mod exact_map {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
    use serde_json::Value as Json;

    use super::{Value, exact};

    /// Writes them by name.
    pub fn serialize<S: Serializer>(
        values: &BTreeMap<String, Value>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        let all: BTreeMap<_, _> =
            values.iter().map(|(name, value)| (name, exact::write(value))).collect();
        all.serialize(to)
    }

    /// Reads them back.
    pub fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<BTreeMap<String, Value>, D::Error> {
        let all = BTreeMap::<String, Json>::deserialize(from)?;
        let all = all.into_iter().map(|(name, json)| {
            let value = exact::read(&json);
            let value = value.ok_or_else(|| de::Error::custom(format!("{json} is no value")))?;
            Ok((name, value))
        });
        all.collect()
    }
}
