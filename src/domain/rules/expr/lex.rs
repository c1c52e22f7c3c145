//! Source text to tokens, one at a time, so that a template can find the end of its `${…}` with
//! the very rules the parser uses.

use std::ops::Range;

use super::Problem;

/// A token. `in`, `true`, `false` and `null` are names here.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token<'s> {
    Name(&'s str),
    /// At most 2^63, which is legal only behind a sign.
    Int(u64),
    Double(f64),
    Text(String),
    Sign(&'static str),
    End,
}

/// Longer signs before their beginnings.
const SIGNS: [&str; 24] = [
    "==", "!=", "<=", ">=", "&&", "||", "(", ")", "[", "]", "{", "}", ".", ",", "?", ":", "<", ">",
    "+", "-", "*", "/", "%", "!",
];

/// Reads tokens from a text.
#[derive(Debug)]
pub(super) struct Lexer<'s> {
    source: &'s str,
    at: usize,
}

impl<'s> Lexer<'s> {
    /// Starts at byte `at` of `source`.
    pub(super) fn new(source: &'s str, at: usize) -> Self {
        Self { source, at }
    }

    /// The next token and its bytes; [`Token::End`] at the end, as often as asked.
    pub(super) fn token(&mut self) -> Result<(Token<'s>, Range<usize>), Problem> {
        self.skip_blanks();
        let from = self.at;
        let token = match self.peek(0) {
            None => Token::End,
            Some(b'r' | b'R') if matches!(self.peek(1), Some(b'"' | b'\'')) => {
                self.at += 1;
                self.text(true)?
            }
            Some(b'"' | b'\'') => self.text(false)?,
            Some(b'_' | b'a'..=b'z' | b'A'..=b'Z') => {
                self.skip_while(|byte| byte == b'_' || byte.is_ascii_alphanumeric());
                Token::Name(&self.source[from..self.at])
            }
            Some(b'0'..=b'9') => self.number()?,
            Some(b'.') if self.is_digit(1) => self.number()?,
            Some(_) => self.sign()?,
        };
        Ok((token, from..self.at))
    }

    fn rest(&self) -> &'s str {
        &self.source[self.at..]
    }

    fn peek(&self, ahead: usize) -> Option<u8> {
        self.source.as_bytes().get(self.at + ahead).copied()
    }

    fn is_digit(&self, ahead: usize) -> bool {
        self.peek(ahead).is_some_and(|byte| byte.is_ascii_digit())
    }

    /// Only for sets of ASCII bytes, so that it stops between characters.
    fn skip_while(&mut self, wanted: impl Fn(u8) -> bool) {
        while self.peek(0).is_some_and(&wanted) {
            self.at += 1;
        }
    }

    fn skip_blanks(&mut self) {
        loop {
            self.skip_while(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | b'\x0c'));
            if !self.rest().starts_with("//") {
                return;
            }
            self.at += self.rest().find('\n').unwrap_or(self.rest().len());
        }
    }

    fn sign(&mut self) -> Result<Token<'s>, Problem> {
        let rest = self.rest();
        if let Some(sign) = SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
            self.at += sign.len();
            return Ok(Token::Sign(sign));
        }
        let length = rest.chars().next().map_or(0, char::len_utf8);
        let problem = Problem::new(self.at..self.at + length, "unexpected character");
        Err(match rest.as_bytes().first() {
            Some(b'=') => problem.help("equality is written =="),
            Some(b'&') => problem.help("\"and\" is written &&"),
            Some(b'|') => problem.help("\"or\" is written ||"),
            _ => problem,
        })
    }

    fn number(&mut self) -> Result<Token<'s>, Problem> {
        let from = self.at;
        let is_hex = self.rest().starts_with("0x")
            && self.peek(2).is_some_and(|byte| byte.is_ascii_hexdigit());
        if is_hex {
            self.at += 2;
            self.skip_while(|byte| byte.is_ascii_hexdigit());
            return self.int(from, u64::from_str_radix(&self.source[from + 2..self.at], 16).ok());
        }
        self.skip_while(|byte| byte.is_ascii_digit());
        let mut has_decimals = false;
        if self.peek(0) == Some(b'.') && self.is_digit(1) {
            has_decimals = true;
            self.at += 1;
            self.skip_while(|byte| byte.is_ascii_digit());
        }
        if matches!(self.peek(0), Some(b'e' | b'E')) {
            let sign = usize::from(matches!(self.peek(1), Some(b'+' | b'-')));
            if self.is_digit(1 + sign) {
                has_decimals = true;
                self.at += 1 + sign;
                self.skip_while(|byte| byte.is_ascii_digit());
            }
        }
        let text = &self.source[from..self.at];
        if !has_decimals {
            return self.int(from, text.parse().ok());
        }
        match text.parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(Token::Double(number)),
            _ => Err(Problem::new(from..self.at, "number out of range")),
        }
    }

    fn int(&self, from: usize, number: Option<u64>) -> Result<Token<'s>, Problem> {
        if matches!(self.peek(0), Some(b'u' | b'U')) {
            let problem = Problem::new(from..self.at + 1, "there are no unsigned numbers");
            return Err(problem.help("leave the u out"));
        }
        match number {
            Some(number) if number <= i64::MIN.unsigned_abs() => Ok(Token::Int(number)),
            _ => Err(Problem::new(from..self.at, "number out of range")),
        }
    }

    /// A text from its quote on; in a raw one the backslash is a letter like others.
    fn text(&mut self, raw: bool) -> Result<Token<'s>, Problem> {
        let from = self.at;
        let quote = if self.peek(0) == Some(b'"') { '"' } else { '\'' };
        let thrice = if quote == '"' { "\"\"\"" } else { "'''" };
        let is_long = self.rest().starts_with(thrice);
        let end = if is_long { thrice } else { &thrice[..1] };
        self.at += end.len();
        let mut text = String::new();
        loop {
            let start = self.at;
            if self.rest().starts_with(end) {
                self.at += end.len();
                return Ok(Token::Text(text));
            }
            let Some(letter) = self.letter().filter(|c| is_long || !matches!(c, '\n' | '\r'))
            else {
                return Err(Problem::new(from..start, "string not closed"));
            };
            match letter {
                '\r' => {
                    // a line ends in \n, whatever the file's habit
                    self.at += usize::from(self.peek(0) == Some(b'\n'));
                    text.push('\n');
                }
                '\\' if !raw => text.push(self.escape(start)?),
                letter => text.push(letter),
            }
        }
    }

    fn letter(&mut self) -> Option<char> {
        let letter = self.rest().chars().next()?;
        self.at += letter.len_utf8();
        Some(letter)
    }

    /// The character behind a backslash that stands at `start`.
    fn escape(&mut self, start: usize) -> Result<char, Problem> {
        let character = match self.letter() {
            Some('a') => Some('\x07'),
            Some('b') => Some('\x08'),
            Some('f') => Some('\x0c'),
            Some('n') => Some('\n'),
            Some('r') => Some('\r'),
            Some('t') => Some('\t'),
            Some('v') => Some('\x0b'),
            Some(same @ ('\\' | '\'' | '"' | '`' | '?')) => Some(same),
            Some('x' | 'X') => self.code(2, 16),
            Some('u') => self.code(4, 16),
            Some('U') => self.code(8, 16),
            Some('0'..='3') => {
                self.at -= 1;
                self.code(3, 8)
            }
            _ => None,
        };
        character.ok_or_else(|| {
            Problem::new(start..self.at, "no such escape")
                .help("a backslash is written \\\\, or the string r'…'")
        })
    }

    fn code(&mut self, digits: usize, radix: u32) -> Option<char> {
        let text = self.source.get(self.at..self.at + digits)?;
        if !text.chars().all(|c| c.is_digit(radix)) {
            return None;
        }
        self.at += digits;
        char::from_u32(u32::from_str_radix(text, radix).ok()?)
    }
}
