//! Label sets and Alertmanager matchers.
//!
//! A label set is one allocation, sorted by name, so that a million alerts stay small. Nothing of it
//! is ever a command, a path or a pattern: labels are compared, never run.

use std::{borrow::Cow, fmt, sync::Arc};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{MapAccess, Visitor},
};

use super::packed;

/// Bytes that a packed label set usually has at most; a longer one grows.
const PACKED_USUAL: usize = 256;

/// What a shared block takes beside its contents: two counters, and the allocator's own.
const BLOCK_BYTES: usize = 24;

/// A sorted set of label names and values without empty values (an empty label is no label).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Labels {
    /// See [`packed`]. Equal sets are equal texts.
    packed: Arc<str>,
}

impl Default for Labels {
    fn default() -> Self {
        Self { packed: "".into() }
    }
}

impl Labels {
    /// Sorts by name, drops empty values; of a name given twice the last counts.
    pub fn new<N: AsRef<str>, V: AsRef<str>>(pairs: impl IntoIterator<Item = (N, V)>) -> Self {
        let mut pairs: Vec<(N, V)> = pairs.into_iter().collect();
        pairs.reverse();
        pairs.sort_by(|a, b| a.0.as_ref().cmp(b.0.as_ref()));
        pairs.dedup_by(|a, b| a.0.as_ref() == b.0.as_ref());
        let pairs = pairs.iter().map(|(name, value)| (name.as_ref(), value.as_ref()));
        let mut text = String::with_capacity(PACKED_USUAL);
        for (name, value) in pairs.filter(|(_, value)| !value.is_empty()) {
            packed::push(&mut text, name, value);
        }
        Self { packed: text.into() }
    }

    /// Name and value pairs, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        packed::Reader::new(&self.packed)
    }

    /// The value of a label; a missing one is `""`, as Prometheus has it.
    pub fn get(&self, name: &str) -> &str {
        self.iter().find(|(key, _)| *key == name).map_or("", |(_, value)| value)
    }

    /// How many labels there are.
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// What they take, with what the allocator adds.
    pub fn bytes(&self) -> usize {
        BLOCK_BYTES + self.packed.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.packed.is_empty()
    }
}

impl fmt::Display for Labels {
    /// `{alertname="X", node="n1"}`, values quoted and escaped as Prometheus writes them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (index, (name, value)) in self.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{name}={value:?}")?;
        }
        f.write_str("}")
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Labels {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(self.iter())
    }
}

impl<'de> Deserialize<'de> for Labels {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = Labels;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("label names and values")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Labels, A::Error> {
                let mut pairs: Vec<(Text<'de>, Text<'de>)> = Vec::with_capacity(16);
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Labels::new(pairs))
            }
        }
        from.deserialize_map(Pairs)
    }
}

/// A text that is copied only where it has to be.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl AsRef<str> for Text<'_> {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// The fingerprint of Prometheus and Alertmanager: 64-bit FNV-1a over the sorted names and values,
/// each followed by the byte 255. Not a safe hash: two label sets may share it.
pub fn fingerprint(labels: &Labels) -> u64 {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0100_0000_01b3;
    let parts = labels.iter().flat_map(|(name, value)| [name, value]);
    let bytes = parts.flat_map(|part| part.bytes().chain([0xff]));
    bytes.fold(OFFSET, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME))
}

/// One matcher of Alertmanager.
#[derive(Clone, Debug)]
struct Matcher {
    name: String,
    negated: bool,
    test: Test,
}

#[derive(Clone, Debug)]
enum Test {
    Equal(String),
    Pattern(regex::Regex),
}

/// `{alertname=~"etcd.*", pod=""}`: all must match; patterns are anchored; a missing label is empty.
#[derive(Clone, Debug)]
pub struct Matchers {
    all: Vec<Matcher>,
    text: String,
}

/// Limit of one compiled pattern, as for expressions: a pattern from a file cannot eat the memory.
const PATTERN_BYTES_MAX: usize = 64 << 10;

impl Matchers {
    /// Reads the braces form. The error says what is wrong and at which byte.
    pub fn parse(text: &str) -> Result<Self, MatcherError> {
        let mut at = Cursor { text, at: 0 };
        at.space();
        at.expect('{')?;
        let mut all = Vec::new();
        loop {
            at.space();
            if at.eat('}') {
                break;
            }
            all.push(at.matcher()?);
            at.space();
            if !at.eat(',') {
                at.expect('}')?;
                break;
            }
        }
        at.space();
        if at.at != text.len() {
            return Err(at.wrong("the end was expected here"));
        }
        Ok(Self { all, text: text.to_owned() })
    }

    /// What labels must be equal to: name and value. An empty value is met by a label that is not
    /// there, so it is not among them.
    pub fn equalities(&self) -> impl Iterator<Item = (&str, &str)> {
        self.all.iter().filter_map(|matcher| match &matcher.test {
            Test::Equal(value) if !matcher.negated && !value.is_empty() => {
                Some((matcher.name.as_str(), value.as_str()))
            }
            Test::Equal(_) | Test::Pattern(_) => None,
        })
    }

    /// Matchers that no label set satisfies.
    pub fn none() -> Self {
        let never = "{__name__=\"\", __name__!=\"\"}";
        Self::parse(never).expect("it is well formed")
    }

    /// Whether every matcher matches.
    pub fn matches(&self, labels: &Labels) -> bool {
        self.all.iter().all(|matcher| {
            let value = labels.get(&matcher.name);
            let hit = match &matcher.test {
                Test::Equal(wanted) => wanted == value,
                Test::Pattern(pattern) => pattern.is_match(value),
            };
            hit != matcher.negated
        })
    }
}

impl fmt::Display for Matchers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A text that is no matcher list.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct MatcherError {
    /// What is wrong.
    pub message: String,
    /// The byte it is wrong at.
    pub at: usize,
}

struct Cursor<'t> {
    text: &'t str,
    at: usize,
}

impl Cursor<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn wrong(&self, message: impl Into<String>) -> MatcherError {
        MatcherError { message: message.into(), at: self.at }
    }

    fn space(&mut self) {
        self.at += self.rest().len() - self.rest().trim_start().len();
    }

    fn eat(&mut self, wanted: char) -> bool {
        let hit = self.rest().starts_with(wanted);
        if hit {
            self.at += wanted.len_utf8();
        }
        hit
    }

    fn expect(&mut self, wanted: char) -> Result<(), MatcherError> {
        if self.eat(wanted) {
            Ok(())
        } else {
            Err(self.wrong(format!("`{wanted}` was expected here")))
        }
    }

    fn matcher(&mut self) -> Result<Matcher, MatcherError> {
        let name = self.name()?;
        self.space();
        let operators =
            [("=~", false, true), ("!~", true, true), ("!=", true, false), ("=", false, false)];
        let operator = operators.iter().find(|(sign, ..)| self.rest().starts_with(sign));
        let Some((sign, negated, is_pattern)) = operator else {
            return Err(self.wrong("one of `=`, `!=`, `=~`, `!~` was expected here"));
        };
        self.at += sign.len();
        self.space();
        let start = self.at;
        let value = self.quoted()?;
        let test = if *is_pattern {
            let anchored = format!("^(?:{value})$");
            let built = regex::RegexBuilder::new(&anchored).size_limit(PATTERN_BYTES_MAX).build();
            Test::Pattern(built.map_err(|error| {
                let line = error.to_string().lines().last().unwrap_or("bad pattern").to_owned();
                MatcherError { message: line, at: start }
            })?)
        } else {
            Test::Equal(value)
        };
        Ok(Matcher { name, negated: *negated, test })
    }

    /// A plain label name, or a quoted one (UTF-8 names).
    fn name(&mut self) -> Result<String, MatcherError> {
        if self.rest().starts_with('"') {
            return self.quoted();
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
        let end = self.rest().find(|c| !plain(c)).unwrap_or(self.rest().len());
        if end == 0 || self.rest().starts_with(|c: char| c.is_ascii_digit()) {
            return Err(self.wrong("a label name was expected here"));
        }
        let name = self.rest()[..end].to_owned();
        self.at += end;
        Ok(name)
    }

    fn quoted(&mut self) -> Result<String, MatcherError> {
        self.expect('"')?;
        let start = self.at;
        let mut value = String::new();
        let mut escaped = false;
        for (index, c) in self.rest().char_indices() {
            match (escaped, c) {
                (true, 'n') => value.push('\n'),
                (true, '"' | '\\') => value.push(c),
                (true, _) => value.extend(['\\', c]),
                (false, '\\') => {}
                (false, '"') => {
                    self.at = start + index + 1;
                    return Ok(value);
                }
                (false, _) => value.push(c),
            }
            escaped = !escaped && c == '\\';
        }
        Err(MatcherError { message: "the text is not closed".into(), at: start - 1 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_sorted_and_empty_ones_are_dropped() {
        let labels = Labels::new([("b", "2"), ("a", "1"), ("c", ""), ("b", "3")]);
        assert_eq!(labels.to_string(), r#"{a="1", b="3"}"#);
        assert_eq!((labels.get("b"), labels.get("c"), labels.get("x")), ("3", "", ""));
        assert_eq!(labels, Labels::new([("b", "3"), ("a", "1")]));
        let back: Labels = serde_json::from_str(&serde_json::to_string(&labels).unwrap()).unwrap();
        assert_eq!(back, labels);
    }

    #[track_caller]
    fn check(matchers: &str, labels: &[(&str, &str)], expected: bool) {
        let labels = Labels::new(labels.iter().copied());
        assert_eq!(
            Matchers::parse(matchers).unwrap().matches(&labels),
            expected,
            "{matchers} {labels}"
        );
    }

    #[test]
    fn matchers_are_anchored_and_a_missing_label_is_empty() {
        let alert = [("alertname", "etcdNoLeader"), ("job", "etcd")];
        check(r#"{alertname="etcdNoLeader", pod=""}"#, &alert, true);
        check(r#"{alertname=~"etcdNo"}"#, &alert, false);
        check(r#"{alertname=~"etcdNoLeader|etcdMembersDown",}"#, &alert, true);
        check(r#"{alertname!~"etcd.*"}"#, &alert, false);
        check(r#"{node!=""}"#, &alert, false);
        check(r#"{ "job" != "x" }"#, &alert, true);
        check("{}", &alert, true);
        check(r#"{a="x\n\"\\"}"#, &[("a", "x\n\"\\")], true);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        for (text, at) in [
            ("", 0),
            ("{a}", 2),
            (r#"{a="x""#, 6),
            (r"{a=x}", 3),
            (r#"{a=~"("}"#, 4),
            (r#"{a="x} "#, 3),
            ("{1a=\"\"}", 1),
            ("{} x", 3),
        ] {
            assert_eq!(Matchers::parse(text).unwrap_err().at, at, "{text}");
        }
        assert!(Matchers::parse(r#"{a=~"(\\w{80}){80}"}"#).is_err());
    }
}
