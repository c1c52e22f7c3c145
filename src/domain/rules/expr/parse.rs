//! Tokens to a syntax tree, by CEL's grammar without messages, bytes, unsigned and optionals.
//!
//! It recurses only as deep as [`MAX_NESTING`], and refuses trees taller than [`MAX_HEIGHT`], so
//! no source text can exhaust the stack, here or later.

use std::ops::Range;

use super::{
    MAX_CHAIN, MAX_HEIGHT, MAX_NESTING, MAX_SOURCE, Problem, Value,
    ast::{Ast, Kind, Op},
    lex::{Lexer, Token},
};

/// Names that CEL keeps for itself.
const RESERVED: [&str; 18] = [
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "in",
    "let",
    "loop",
    "namespace",
    "package",
    "return",
    "var",
    "void",
    "while",
];

/// Parses one expression that fills the whole source.
pub(super) fn parse(source: &str) -> Result<Ast, Problem> {
    if source.len() > MAX_SOURCE {
        let message = format!("an expression has at most {MAX_SOURCE} bytes");
        return Err(Problem::new(0..source.len(), message));
    }
    let mut lexer = Lexer::new(source, 0);
    let mut tokens = vec![];
    while tokens.last().is_none_or(|(token, _)| *token != Token::End) {
        tokens.push(lexer.token()?);
    }
    let mut parser = Parser { tokens, at: 0, nesting: 0 };
    let ast = parser.expression().map_err(|problem| *problem)?;
    if *parser.token() != Token::End {
        return parser
            .wrong("an operator or the end was expected here")
            .map_err(|problem| *problem);
    }
    Ok(*ast)
}

/// Boxed on both sides: the parser's frames are on the stack once for every nesting.
type Parsed = Result<Box<Ast>, Box<Problem>>;

struct Parser<'s> {
    /// The last one is [`Token::End`] and never passed.
    tokens: Vec<(Token<'s>, Range<usize>)>,
    at: usize,
    nesting: usize,
}

impl Parser<'_> {
    fn token(&self) -> &Token<'_> {
        &self.tokens[self.at].0
    }

    fn span(&self) -> Range<usize> {
        self.tokens[self.at].1.clone()
    }

    fn is(&self, sign: &str) -> bool {
        matches!(self.token(), Token::Sign(here) if *here == sign)
    }

    fn eat(&mut self, sign: &str) -> bool {
        let found = self.is(sign);
        self.at += usize::from(found);
        found
    }

    fn need(&mut self, sign: &str) -> Result<(), Box<Problem>> {
        if self.eat(sign) { Ok(()) } else { self.wrong(format!("{sign:?} was expected here")) }
    }

    /// A problem with the present token.
    fn wrong<T>(&self, message: impl Into<String>) -> Result<T, Box<Problem>> {
        Err(Box::new(Problem::new(self.span(), message)))
    }

    /// A node from byte `start` to the end of the token just passed.
    fn node(&self, start: usize, kind: Kind) -> Parsed {
        bounded(start..self.tokens[self.at - 1].1.end, kind)
    }

    fn expression(&mut self) -> Parsed {
        if self.nesting == MAX_NESTING {
            return self.wrong(format!("nested deeper than {MAX_NESTING}"));
        }
        self.nesting += 1;
        let start = self.span().start;
        let mut ast = self.any_of()?;
        if self.eat("?") {
            let yes = self.any_of()?;
            self.need(":")?;
            let no = self.expression()?;
            ast = self.node(start, Kind::Choose(Box::new([*ast, *yes, *no])))?;
        }
        self.nesting -= 1;
        Ok(ast)
    }

    fn any_of(&mut self) -> Parsed {
        let mut terms = vec![*self.all_of()?];
        while self.eat("||") {
            terms.push(*self.all_of()?);
        }
        balance(terms, Kind::Or)
    }

    fn all_of(&mut self) -> Parsed {
        let mut terms = vec![*self.binary(0)?];
        while self.eat("&&") {
            terms.push(*self.binary(0)?);
        }
        balance(terms, Kind::And)
    }

    /// Operators that bind at least as tightly as `rank`.
    fn binary(&mut self, rank: usize) -> Parsed {
        let start = self.span().start;
        let mut left = self.unary()?;
        for count in 0.. {
            let Some((op, found)) = self.operator().filter(|(_, found)| *found >= rank) else {
                break;
            };
            if count == MAX_CHAIN {
                return self.wrong(format!("more than {MAX_CHAIN} operators in a row"));
            }
            self.at += 1;
            let right = self.binary(found + 1)?;
            left = self.node(start, Kind::Binary(op, left, right))?;
        }
        Ok(left)
    }

    /// The operator at the present token, and its rank.
    fn operator(&self) -> Option<(Op, usize)> {
        let sign = match self.token() {
            Token::Sign(sign) | Token::Name(sign @ "in") => *sign,
            Token::Name(_) | Token::Int(_) | Token::Double(_) | Token::Text(_) | Token::End => {
                return None;
            }
        };
        let ranked = Op::RANKS.iter().enumerate();
        ranked
            .flat_map(|(rank, operators)| operators.iter().map(move |op| (*op, rank)))
            .find(|(op, _)| op.sign() == sign)
    }

    fn unary(&mut self) -> Parsed {
        let start = self.span().start;
        let mut odd = false;
        if self.is("!") {
            while self.eat("!") {
                odd = !odd;
            }
            let operand = self.member()?;
            return if odd { self.node(start, Kind::Not(operand)) } else { Ok(operand) };
        }
        // a sign directly before a number belongs to it
        while self.is("-") && !self.is_signed_number() {
            self.at += 1;
            odd = !odd;
        }
        let operand = self.member()?;
        if odd { self.node(start, Kind::Negate(operand)) } else { Ok(operand) }
    }

    fn is_signed_number(&self) -> bool {
        self.is("-")
            && matches!(self.tokens.get(self.at + 1), Some((Token::Int(_) | Token::Double(_), _)))
    }

    /// A value and the selections, indexes and calls behind it.
    fn member(&mut self) -> Parsed {
        let start = self.span().start;
        let mut ast = self.primary()?;
        for count in 0.. {
            if count == MAX_CHAIN && (self.is(".") || self.is("[")) {
                return self.wrong(format!("more than {MAX_CHAIN} selections in a row"));
            }
            ast = if self.eat(".") {
                self.selection(start, ast)?
            } else if self.eat("[") {
                let index = self.expression()?;
                self.need("]")?;
                self.node(start, Kind::Index(ast, index))?
            } else {
                break;
            };
        }
        Ok(ast)
    }

    /// A field or method behind its dot.
    fn selection(&mut self, start: usize, of: Box<Ast>) -> Parsed {
        let name = self.field_name()?;
        if !self.eat("(") {
            return self.node(start, Kind::Select(of, name));
        }
        let args = self.arguments()?;
        self.node(start, Kind::Call { target: Some(of), name, args })
    }

    fn field_name(&mut self) -> Result<String, Box<Problem>> {
        let Token::Name(name) = *self.token() else {
            return self.wrong("a field's name was expected here");
        };
        if matches!(name, "in" | "true" | "false" | "null") {
            return self.wrong(format!("{name:?} is reserved"));
        }
        let name = name.into();
        self.at += 1;
        Ok(name)
    }

    /// Up to the closing round bracket; no comma before it.
    fn arguments(&mut self) -> Result<Vec<Ast>, Box<Problem>> {
        if self.eat(")") {
            return Ok(vec![]);
        }
        let mut args = vec![*self.expression()?];
        while self.eat(",") {
            args.push(*self.expression()?);
        }
        self.need(")")?;
        Ok(args)
    }

    fn primary(&mut self) -> Parsed {
        let start = self.span().start;
        if self.eat("(") {
            let inner = self.expression()?;
            self.need(")")?;
            return Ok(inner);
        }
        let kind = if self.eat("[") {
            Kind::List(self.items()?)
        } else if self.eat("{") {
            Kind::Map(self.entries()?)
        } else if let Some(value) = self.literal()? {
            Kind::Literal(value)
        } else {
            let name = self.variable_name()?;
            if self.eat("(") {
                Kind::Call { target: None, name, args: self.arguments()? }
            } else {
                Kind::Name(name)
            }
        };
        self.node(start, kind)
    }

    fn literal(&mut self) -> Result<Option<Value>, Box<Problem>> {
        let negative = self.is_signed_number();
        self.at += usize::from(negative);
        let value = match self.token() {
            Token::Int(number) => match signed(*number, negative) {
                Some(number) => Value::Int(number),
                None => return self.wrong("number out of range"),
            },
            Token::Double(number) => Value::Double(if negative { -number } else { *number }),
            Token::Text(text) => Value::str(text.as_str()),
            Token::Name("true") => Value::Bool(true),
            Token::Name("false") => Value::Bool(false),
            Token::Name("null") => Value::Null,
            Token::Name(_) | Token::Sign(_) | Token::End => return Ok(None),
        };
        self.at += 1;
        Ok(Some(value))
    }

    fn variable_name(&mut self) -> Result<String, Box<Problem>> {
        let Token::Name(name) = *self.token() else {
            return self.wrong("a value was expected here");
        };
        if RESERVED.contains(&name) {
            return self.wrong(format!("{name:?} is reserved"));
        }
        let name = name.into();
        self.at += 1;
        Ok(name)
    }

    /// Up to the closing square bracket; a last comma is allowed.
    fn items(&mut self) -> Result<Vec<Ast>, Box<Problem>> {
        let mut items = vec![];
        while !self.eat("]") {
            items.push(*self.expression()?);
            if !self.eat(",") {
                self.need("]")?;
                break;
            }
        }
        Ok(items)
    }

    /// Up to the closing curly bracket; a last comma is allowed.
    fn entries(&mut self) -> Result<Vec<(Ast, Ast)>, Box<Problem>> {
        let mut entries = vec![];
        while !self.eat("}") {
            let key = self.expression()?;
            self.need(":")?;
            entries.push((*key, *self.expression()?));
            if !self.eat(",") {
                self.need("}")?;
                break;
            }
        }
        Ok(entries)
    }
}

fn signed(number: u64, negative: bool) -> Option<i64> {
    if negative { 0_i64.checked_sub_unsigned(number) } else { i64::try_from(number).ok() }
}

/// A tree of depth log n: `&&` and `||` are associative, so a long chain need not be deep.
fn balance(mut terms: Vec<Ast>, join: fn(Box<Ast>, Box<Ast>) -> Kind) -> Parsed {
    if terms.len() > 1 {
        let right = balance(terms.split_off(terms.len().div_ceil(2)), join)?;
        let left = balance(terms, join)?;
        return bounded(left.span.start..right.span.end, join(left, right));
    }
    Ok(Box::new(terms.pop().expect("a chain has at least one term")))
}

/// A node, unless its tree would be too tall.
fn bounded(span: Range<usize>, kind: Kind) -> Parsed {
    let height = kind.child_height() + 1;
    if height > MAX_HEIGHT {
        let message = format!("operators nested deeper than {MAX_HEIGHT}");
        return Err(Box::new(Problem::new(span, message)));
    }
    Ok(Box::new(Ast { span, height, kind }))
}
