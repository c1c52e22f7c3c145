//! Strings with `${…}` in them. `$${` is a literal `${`; a string that is exactly one `${…}` keeps
//! the type of the value.
//!
//! The end of an expression is found with the parser's own tokens, so brackets, strings and
//! comments inside it do not end it early.

use std::ops::Range;

use super::{
    EvalError, Expr, FUEL, Problem, Schema, Type, Value, Variables,
    lex::{Lexer, Token},
};

/// Most bytes of a filled template.
pub const MAX_RESULT: usize = 64 << 10;

/// A compiled string.
#[derive(Clone, Debug, PartialEq)]
pub struct Template {
    source: Box<str>,
    pieces: Vec<Piece>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Piece {
    Text(String),
    /// An expression, and the byte of the source at which it starts.
    Expr(usize, Expr),
}

impl Template {
    /// Splits and checks a string. Fails with at least one problem.
    pub fn compile(source: &str, schema: &Schema) -> Result<Self, Vec<Problem>> {
        let parts = split(source).map_err(|problem| vec![problem])?;
        let is_whole = parts.len() == 1;
        let mut pieces = vec![];
        let mut problems = vec![];
        for part in parts {
            match part {
                Part::Text(text) => pieces.push(Piece::Text(text)),
                Part::Expr(span) => match Expr::compile(&source[span.clone()], schema) {
                    Ok(expr) if is_whole || fits_in_text(expr.ty()) => {
                        pieces.push(Piece::Expr(span.start, expr));
                    }
                    Ok(expr) => {
                        let message = format!("a {} inside a longer string", expr.ty());
                        problems.push(Problem::new(span, message));
                    }
                    Err(found) => {
                        let found = found.into_iter();
                        problems.extend(found.map(|problem| problem.shifted(span.start)));
                    }
                },
            }
        }
        if problems.is_empty() { Ok(Self { source: source.into(), pieces }) } else { Err(problems) }
    }

    /// A template of these pieces, as it was stored.
    pub(super) fn of(source: Box<str>, pieces: Vec<Piece>) -> Self {
        Self { source, pieces }
    }

    /// Its texts and expressions in order.
    pub(super) fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// The type of the value when the string is exactly one `${…}`, else a string's.
    pub fn ty(&self) -> Type {
        match self.pieces.as_slice() {
            [Piece::Expr(_, expr)] => expr.ty().clone(),
            _ => Type::Str,
        }
    }

    /// Whether it holds no expression.
    pub fn is_literal(&self) -> bool {
        self.pieces.iter().all(|piece| matches!(piece, Piece::Text(_)))
    }

    /// The text it was compiled from.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The value in this world. All expressions together share [`FUEL`] steps; the result is at
    /// most [`MAX_RESULT`].
    pub fn fill(&self, world: &dyn Variables) -> Result<Value, EvalError> {
        let mut fuel = FUEL;
        let value = match self.pieces.as_slice() {
            [Piece::Expr(at, expr)] => evaluate(expr, *at, world, &mut fuel)?,
            _ => self.fill_text(world, &mut fuel)?,
        };
        if value.is_larger_than(MAX_RESULT) { Err(self.too_large()) } else { Ok(value) }
    }

    fn fill_text(&self, world: &dyn Variables, fuel: &mut u64) -> Result<Value, EvalError> {
        let mut filled = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => filled.push_str(text),
                Piece::Expr(at, expr) => {
                    let value = evaluate(expr, *at, world, fuel)?;
                    let text = value.to_text().ok_or_else(|| {
                        let message = format!("a {} inside a longer string", value.type_name());
                        EvalError::error(&(*at..*at + expr.source().len()), message)
                    })?;
                    filled.push_str(&text);
                }
            }
            if filled.len() > MAX_RESULT {
                return Err(self.too_large());
            }
        }
        Ok(Value::str(filled))
    }

    fn too_large(&self) -> EvalError {
        let message = format!("the result is larger than {} KiB", MAX_RESULT >> 10);
        EvalError::error(&(0..self.source.len()), message)
    }
}

fn evaluate(
    expr: &Expr,
    at: usize,
    world: &dyn Variables,
    fuel: &mut u64,
) -> Result<Value, EvalError> {
    expr.eval_within(world, fuel).map_err(|stop| stop.shifted(at))
}

fn fits_in_text(ty: &Type) -> bool {
    match ty {
        Type::Any
        | Type::Bool
        | Type::Int
        | Type::Double
        | Type::Str
        | Type::Word(_)
        | Type::Duration
        | Type::Time => true,
        Type::Null | Type::List(_) | Type::Map(_) | Type::Record(_) => false,
    }
}

/// A stretch of a template.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// Text as it is meant, `$${` already resolved.
    Text(String),
    /// The bytes between `${` and `}`.
    Expr(Range<usize>),
}

/// Splits at `${…}`. There is at least one part, and no two texts follow each other.
pub(super) fn split(source: &str) -> Result<Vec<Part>, Problem> {
    let mut parts = vec![];
    let mut text = String::new();
    let mut at = 0;
    while let Some(dollar) = source[at..].find('$').map(|found| found + at) {
        text.push_str(&source[at..dollar]);
        let rest = &source[dollar..];
        if rest.starts_with("$${") {
            text.push_str("${");
            at = dollar + 3;
        } else if rest.starts_with("${") {
            let inside = dollar + 2..closing(source, dollar)?;
            at = inside.end + 1;
            if source[inside.clone()].trim().is_empty() {
                let problem = Problem::new(dollar..at, "an empty ${}");
                return Err(problem.help("a literal ${ is written $${"));
            }
            if !text.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut text)));
            }
            parts.push(Part::Expr(inside));
        } else {
            text.push('$');
            at = dollar + 1;
        }
    }
    text.push_str(&source[at..]);
    if !text.is_empty() || parts.is_empty() {
        parts.push(Part::Text(text));
    }
    Ok(parts)
}

/// Where the `}` is that closes the `${` at byte `dollar`.
fn closing(source: &str, dollar: usize) -> Result<usize, Problem> {
    let mut lexer = Lexer::new(source, dollar + 2);
    let mut open = 0_usize;
    loop {
        let (token, span) = lexer.token()?;
        match token {
            Token::Sign("{") => open += 1,
            Token::Sign("}") if open == 0 => return Ok(span.start),
            Token::Sign("}") => open -= 1,
            Token::End => {
                let problem = Problem::new(dollar..source.len(), "${ is not closed");
                return Err(problem.help("a literal ${ is written $${"));
            }
            Token::Name(_) | Token::Int(_) | Token::Double(_) | Token::Text(_) | Token::Sign(_) => {
            }
        }
    }
}
