//! Syntax tree to checked tree: names, fields, types and words are settled here, so that at run
//! time a missing key can only be an absent reading. It goes on after a problem where it can.

use std::{ops::Range, sync::Arc};

use super::{
    Problem, Schema, Type, Value,
    ast::{Ast, Kind, Op},
    near::suggestion,
    tree::{By, Node, NodeKind, Step},
    typing,
};

/// An expression that holds nothing but what the schema knows.
pub(super) struct Checked {
    pub(super) root: Node,
    pub(super) ty: Type,
    /// How many slots its loops need.
    pub(super) slots: usize,
}

/// Checks a whole expression. Fails with at least one problem.
pub(super) fn check(ast: &Ast, schema: &Schema) -> Result<Checked, Vec<Problem>> {
    let mut checker = Checker { schema, scope: vec![], slots: 0, problems: vec![] };
    match checker.check(ast) {
        Some((root, ty)) if checker.problems.is_empty() => {
            Ok(Checked { root, ty, slots: checker.slots })
        }
        _ => Err(checker.problems),
    }
}

/// The variable of a loop that is being checked.
pub(super) struct Bound {
    pub(super) name: Arc<str>,
    pub(super) slot: usize,
    pub(super) ty: Type,
}

pub(super) struct Checker<'a> {
    pub(super) schema: &'a Schema,
    /// Loops around the present node, the outermost first.
    pub(super) scope: Vec<Bound>,
    pub(super) slots: usize,
    problems: Vec<Problem>,
}

/// A checked node and its type; `None` when a problem has been noted.
pub(super) type Typed = Option<(Node, Type)>;
/// The same, before the span is put to it.
pub(super) type Checks = Option<(NodeKind, Type)>;

impl Checker<'_> {
    pub(super) fn fail<T>(&mut self, problem: Problem) -> Option<T> {
        self.problems.push(problem);
        None
    }

    pub(super) fn check(&mut self, ast: &Ast) -> Typed {
        // no temporaries here: this frame is on the stack once for every level of the tree
        let checked = match &ast.kind {
            Kind::Literal(value) => Some((NodeKind::Literal(value.clone()), type_of(value))),
            Kind::Name(name) => self.name(ast, name),
            Kind::Select(of, name) => self.select(ast, of, name),
            Kind::Index(of, index) => self.index(ast, of, index),
            Kind::Not(x) => self.not(x),
            Kind::Negate(x) => self.negate(x),
            Kind::And(x, y) => self.junction(NodeKind::And, x, y),
            Kind::Or(x, y) => self.junction(NodeKind::Or, x, y),
            Kind::Choose(parts) => self.choose(ast, parts),
            Kind::Binary(op, x, y) => self.binary(ast, *op, x, y),
            Kind::Call { target, name, args } => {
                self.call(&ast.span, target.as_deref(), name, args)
            }
            Kind::List(items) => self.list(items),
            Kind::Map(entries) => self.map(entries),
        };
        checked.map(|(kind, ty)| (Node { span: ast.span.clone(), kind }, ty))
    }

    /// A node of one of these types, or of one that only the run can tell.
    pub(super) fn want(&mut self, ast: &Ast, wanted: &[Type]) -> Typed {
        let (node, ty) = self.check(ast)?;
        if ty == Type::Any || wanted.contains(&ty.plain()) {
            return Some((node, ty));
        }
        let wanted: Vec<String> = wanted.iter().map(Type::to_string).collect();
        let message = format!("is {ty}, wanted {}", wanted.join(" or "));
        self.fail(Problem::new(ast.span.clone(), message))
    }

    pub(super) fn condition(&mut self, ast: &Ast) -> Option<Node> {
        self.want(ast, &[Type::Bool]).map(|(node, _)| node)
    }

    fn not(&mut self, x: &Ast) -> Checks {
        Some((NodeKind::Not(Box::new(self.condition(x)?)), Type::Bool))
    }

    fn negate(&mut self, x: &Ast) -> Checks {
        let (x, ty) = self.want(x, &[Type::Int, Type::Double, Type::Duration])?;
        Some((NodeKind::Negate(Box::new(x)), ty))
    }

    fn junction(&mut self, join: fn(Box<Node>, Box<Node>) -> NodeKind, x: &Ast, y: &Ast) -> Checks {
        // both, so that problems of both are told
        let (x, y) = (self.condition(x), self.condition(y));
        Some((join(Box::new(x?), Box::new(y?)), Type::Bool))
    }

    fn name(&mut self, ast: &Ast, name: &str) -> Checks {
        if let Some(bound) = self.scope.iter().find(|bound| &*bound.name == name) {
            return Some((NodeKind::Slot(bound.slot, bound.name.clone()), bound.ty.clone()));
        }
        if name == "now" {
            return Some((NodeKind::Now, Type::Time));
        }
        if let Some((name, ty)) = self.schema.roots.get_key_value(name) {
            return Some((NodeKind::Root(name.clone()), ty.clone()));
        }
        let roots = self.schema.roots.keys().map(|root| &**root);
        let bound = self.scope.iter().map(|bound| &*bound.name);
        let help = suggestion(name, roots.chain(bound).chain(["now"]));
        self.fail(Problem::new(ast.span.clone(), format!("no variable {name:?}")).help(help))
    }

    fn select(&mut self, ast: &Ast, of: &Ast, name: &str) -> Checks {
        let (of, ty) = self.check(of)?;
        let ty = match &ty {
            Type::Any => Type::Any,
            Type::Map(value) => value.as_ref().clone(),
            Type::Record(fields) => {
                let Some(ty) = fields.get(name) else {
                    let help = suggestion(name, fields.keys().map(|field| &**field));
                    let problem = Problem::new(ast.span.clone(), format!("no field {name:?}"));
                    return self.fail(problem.help(help));
                };
                ty.clone()
            }
            Type::Null
            | Type::Bool
            | Type::Int
            | Type::Double
            | Type::Str
            | Type::Word(_)
            | Type::Duration
            | Type::Time
            | Type::List(_) => {
                return self.fail(Problem::new(ast.span.clone(), format!("{ty} has no fields")));
            }
        };
        Some((extend(of, ast.span.clone(), By::Field(name.into())), ty))
    }

    fn index(&mut self, ast: &Ast, of: &Ast, index: &Ast) -> Checks {
        let (of, ty) = self.check(of)?;
        let (index, ty) = match &ty {
            Type::Any => (self.want(index, &[Type::Int, Type::Str])?.0, Type::Any),
            Type::List(item) => (self.want(index, &[Type::Int])?.0, item.as_ref().clone()),
            Type::Map(value) => (self.want(index, &[Type::Str])?.0, value.as_ref().clone()),
            Type::Null
            | Type::Bool
            | Type::Int
            | Type::Double
            | Type::Str
            | Type::Word(_)
            | Type::Duration
            | Type::Time
            | Type::Record(_) => {
                let problem = Problem::new(ast.span.clone(), format!("{ty} takes no index"));
                let is_record = matches!(ty, Type::Record(_));
                return self.fail(if is_record { problem.help("write .field") } else { problem });
            }
        };
        Some((extend(of, ast.span.clone(), By::Index(index)), ty))
    }

    fn choose(&mut self, ast: &Ast, parts: &[Ast; 3]) -> Checks {
        let [condition, yes, no] = parts;
        let (condition, yes, no) = (self.condition(condition), self.check(yes), self.check(no));
        let (condition, (yes, yes_ty), (no, no_ty)) = (condition?, yes?, no?);
        let Some(ty) = typing::join(&yes_ty, &no_ty) else {
            let message = format!("one branch is {yes_ty}, the other {no_ty}");
            return self.fail(Problem::new(ast.span.clone(), message));
        };
        Some((NodeKind::Choose(Box::new([condition, yes, no])), ty))
    }

    fn binary(&mut self, ast: &Ast, op: Op, x: &Ast, y: &Ast) -> Checks {
        let (x, y) = (self.check(x), self.check(y));
        let ((x, x_ty), (y, y_ty)) = (x?, y?);
        let ty = self.operator(&ast.span, op, &x_ty, &y_ty)?;
        self.comparable_words(&ast.span, op, (&x, &x_ty), (&y, &y_ty))?;
        Some((NodeKind::Binary(op, Box::new(x), Box::new(y)), ty))
    }

    /// The type of an operator's result.
    fn operator(&mut self, at: &Range<usize>, op: Op, x: &Type, y: &Type) -> Option<Type> {
        let ty = typing::result(op, x, y);
        if ty.is_none() {
            let message = format!("{} {op} {} has no meaning", x.plain(), y.plain());
            self.problems.push(with_help(Problem::new(at.clone(), message), op, x, y));
        }
        ty
    }

    /// Words of a closed list are compared only with what they can be.
    fn comparable_words(
        &mut self,
        at: &Range<usize>,
        op: Op,
        (x, x_ty): (&Node, &Type),
        (y, y_ty): (&Node, &Type),
    ) -> Option<()> {
        if matches!(op, Op::Equal | Op::NotEqual) {
            self.words(at, x_ty, y, y_ty)?;
            return self.words(at, y_ty, x, x_ty);
        }
        let (Op::In, Type::List(item_ty)) = (op, y_ty) else { return Some(()) };
        self.words(at, item_ty, x, x_ty)?;
        self.words(at, x_ty, y, item_ty)?;
        if let NodeKind::List(items) = &y.kind {
            items.iter().try_for_each(|item| self.literal_words(x_ty, item))?;
        }
        Some(())
    }

    /// Something of type `ty` is compared with `other`: can they ever be equal words?
    fn words(&mut self, at: &Range<usize>, ty: &Type, other: &Node, other_ty: &Type) -> Option<()> {
        if let (Type::Word(a), Type::Word(b)) = (ty, other_ty)
            && !a.iter().any(|word| b.contains(word))
        {
            let message = format!("never equal: {} and {} share no word", a.join("|"), b.join("|"));
            return self.fail(Problem::new(at.clone(), message));
        }
        self.literal_words(ty, other)
    }

    fn literal_words(&mut self, ty: &Type, node: &Node) -> Option<()> {
        let Type::Word(words) = ty else { return Some(()) };
        if let NodeKind::Choose(parts) = &node.kind {
            let [_, yes, no] = &**parts;
            return self.literal_words(ty, yes).and(self.literal_words(ty, no));
        }
        if let NodeKind::Literal(Value::Str(text)) = &node.kind
            && !words.contains(&&**text)
        {
            let help = suggestion(text, words.iter().copied());
            let message = format!("{text:?} is never a value here");
            return self.fail(Problem::new(node.span.clone(), message).help(help));
        }
        Some(())
    }

    fn list(&mut self, items: &[Ast]) -> Checks {
        let items = items.iter().map(|item| self.check(item)).collect::<Option<Vec<_>>>()?;
        let mut types = items.iter().map(|(_, ty)| ty.clone());
        let first = types.next().unwrap_or(Type::Any);
        let ty = types.fold(first, |all, ty| typing::join(&all, &ty).unwrap_or(Type::Any));
        Some((NodeKind::List(items.into_iter().map(|(node, _)| node).collect()), Type::list(ty)))
    }

    fn map(&mut self, entries: &[(Ast, Ast)]) -> Checks {
        let mut checked: Vec<(Arc<str>, Node)> = vec![];
        for (key, value) in entries {
            let Kind::Literal(Value::Str(name)) = &key.kind else {
                let message = "the keys of a map are string literals";
                return self.fail(Problem::new(key.span.clone(), message));
            };
            if checked.iter().any(|(other, _)| other == name) {
                let message = format!("the key {name:?} is there twice");
                return self.fail(Problem::new(key.span.clone(), message));
            }
            checked.push((name.clone(), self.check(value)?.0));
        }
        Some((NodeKind::Map(checked), Type::map(Type::Any)))
    }
}

/// What to write instead, where a usual mistake is seen.
fn with_help(problem: Problem, op: Op, x: &Type, y: &Type) -> Problem {
    let is_either = |wanted: &Type| x == wanted || y == wanted;
    if is_either(&Type::Null) {
        return problem.help("an unknown reading is absent, not null: has(x) tells");
    }
    if matches!(op, Op::Equal | Op::NotEqual | Op::In) {
        let is_record = |ty: &Type| matches!(ty, Type::Record(_));
        return if is_record(x) || is_record(y) {
            problem.help("compare the fields that matter")
        } else {
            problem
        };
    }
    if is_either(&Type::Int) && is_either(&Type::Double) {
        return problem.help("double(x) and int(x) convert");
    }
    if is_either(&Type::Duration) && is_either(&Type::Int) {
        return problem.help("a duration is written duration(\"5m\")");
    }
    problem
}

/// A path with one more step; a node that is none becomes one.
fn extend(of: Node, span: Range<usize>, by: By) -> NodeKind {
    let step = Step { span, by };
    if let NodeKind::Path(base, mut steps) = of.kind {
        steps.push(step);
        NodeKind::Path(base, steps)
    } else {
        NodeKind::Path(Box::new(of), vec![step])
    }
}

/// The type of a literal.
fn type_of(value: &Value) -> Type {
    match value {
        Value::Null => Type::Null,
        Value::Bool(_) => Type::Bool,
        Value::Int(_) => Type::Int,
        Value::Double(_) => Type::Double,
        Value::Str(_) => Type::Str,
        Value::Duration(_) => Type::Duration,
        Value::Time(_) => Type::Time,
        Value::List(_) => Type::list(Type::Any),
        Value::Map(_) => Type::map(Type::Any),
    }
}
