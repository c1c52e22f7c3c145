//! Where a step stands in a run: its name, and the names and items of the loops and calls around it.
//!
//! `rejoin[m2].add` is the step `add` in the iteration `m2` of the loop `rejoin`; `fix.stop` is the
//! step `stop` of the playbook that the step `fix` calls. A path is typed, never cut out of a text:
//! an item may hold `.`, `]` or `/`. As text, what would be misread is escaped with a backslash.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A place in a run. The empty path is the run itself; a last segment with an item is a whole
/// iteration.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Path(Vec<Seg>);

/// One segment: a step, or one iteration of a loop.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seg {
    /// The step's name.
    pub name: Arc<str>,
    /// The item, where it is an iteration of the loop of that name.
    pub item: Option<Arc<str>>,
}

impl Path {
    /// The run itself: the scope of its outermost steps.
    pub fn root() -> Self {
        Self::default()
    }

    /// A step in this scope.
    #[must_use]
    pub fn step(&self, name: impl Into<Arc<str>>) -> Self {
        self.with(Seg { name: name.into(), item: None })
    }

    /// The iteration of this loop for an item: a scope.
    #[must_use]
    pub fn iteration(&self, item: impl Into<Arc<str>>) -> Self {
        let mut segs = self.0.clone();
        if let Some(last) = segs.last_mut() {
            last.item = Some(item.into());
        }
        Self(segs)
    }

    fn with(&self, seg: Seg) -> Self {
        let mut segs = Vec::with_capacity(self.0.len() + 1);
        segs.extend_from_slice(&self.0);
        segs.push(seg);
        Self(segs)
    }

    /// Its segments, the outermost first.
    pub fn segs(&self) -> &[Seg] {
        &self.0
    }

    /// The scope it stands in; the run's is the run.
    #[must_use]
    pub fn scope(&self) -> Self {
        Self(self.0[..self.0.len().saturating_sub(1)].to_vec())
    }

    /// The step it names or is an iteration of; nothing for the run itself.
    pub fn name(&self) -> &str {
        self.0.last().map_or("", |seg| &seg.name)
    }

    /// The loop that this is an iteration of.
    pub fn of_loop(&self) -> Option<Self> {
        let last = self.0.last().filter(|seg| seg.item.is_some())?;
        Some(self.scope().step(Arc::clone(&last.name)))
    }

    /// Whether it stands in this scope, however deep; a scope is in itself.
    pub fn is_in(&self, scope: &Self) -> bool {
        self.0.starts_with(&scope.0)
    }

    /// Whether it is this step, or stands in it: in its iterations, or in what it calls.
    pub fn is_of(&self, step: &Self) -> bool {
        let Some((last, around)) = step.0.split_last() else { return true };
        self.0.starts_with(around)
            && self.0.get(around.len()).is_some_and(|seg| {
                seg.name == last.name && (last.item.is_none() || seg.item == last.item)
            })
    }

    /// Whether it is the run itself.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// How many loops and calls are around it.
    pub fn depth(&self) -> usize {
        self.0.len().saturating_sub(1)
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, seg) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(".")?;
            }
            escape(&seg.name, &['\\', '.', '[', ']'], f)?;
            if let Some(item) = &seg.item {
                f.write_str("[")?;
                escape(item, &['\\', ']'], f)?;
                f.write_str("]")?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Control characters are escaped too: a path stands in log lines.
fn escape(text: &str, marks: &[char], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for c in text.chars() {
        if c.is_control() {
            write!(f, "\\u{{{:x}}}", u32::from(c))?;
        } else if marks.contains(&c) {
            write!(f, "\\{c}")?;
        } else {
            write!(f, "{c}")?;
        }
    }
    Ok(())
}

/// A text that is no path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no step's path, as rejoin[m2].add is")]
pub struct PathError(String);

impl FromStr for Path {
    type Err = PathError;

    fn from_str(text: &str) -> Result<Self, PathError> {
        if text.is_empty() {
            return Ok(Self::root());
        }
        let wrong = || PathError(text.to_owned());
        let mut rest = text.chars();
        let mut segs = Vec::new();
        loop {
            let (name, end) = token(&mut rest, &['.', '['], &[']']).ok_or_else(wrong)?;
            if name.is_empty() {
                return Err(wrong());
            }
            let mut item = None;
            let mut end = end;
            if end == Some('[') {
                let (inside, closed) = token(&mut rest, &[']'], &[]).ok_or_else(wrong)?;
                closed.ok_or_else(wrong)?;
                item = Some(Arc::from(inside));
                end = rest.next();
            }
            segs.push(Seg { name: name.into(), item });
            match end {
                None => return Ok(Self(segs)),
                Some('.') => {}
                Some(_) => return Err(wrong()),
            }
        }
    }
}

/// Reads up to one of `ends`, which is taken too; `None` for a bad escape or a mark of `refused`.
fn token(
    rest: &mut std::str::Chars<'_>,
    ends: &[char],
    refused: &[char],
) -> Option<(String, Option<char>)> {
    let mut out = String::new();
    while let Some(c) = rest.next() {
        if ends.contains(&c) {
            return Some((out, Some(c)));
        }
        if refused.contains(&c) {
            return None;
        }
        if c != '\\' {
            out.push(c);
            continue;
        }
        match rest.next()? {
            'u' if rest.as_str().starts_with('{') => {
                let (digits, after) = rest.as_str()[1..].split_once('}')?;
                out.push(char::from_u32(u32::from_str_radix(digits, 16).ok()?)?);
                *rest = after.chars();
            }
            escaped => out.push(escaped),
        }
    }
    Some((out, None))
}

impl Serialize for Path {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Path {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(from)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(path: &Path, text: &str) {
        assert_eq!(path.to_string(), text);
        assert_eq!(text.parse::<Path>().as_ref(), Ok(path), "{text}");
    }

    #[test]
    fn an_item_may_hold_anything() {
        let root = Path::root();
        check(&root, "");
        check(&root.step("rejoin"), "rejoin");
        check(&root.step("rejoin").iteration("m2").step("add"), "rejoin[m2].add");
        check(&root.step("fix").step("stop"), "fix.stop");
        check(
            &root.step("a").iteration("http://10.0.0.1:2380/x").step("b"),
            "a[http://10.0.0.1:2380/x].b",
        );
        check(&root.step("a").iteration("x].b").step("c"), r"a[x\].b].c");
        check(&root.step("a").iteration("\\u{41}").step("c"), r"a[\\u{41}].c");
        check(&root.step("a").iteration("\n").step("c"), r"a[\u{a}].c");
        check(&root.step("a").iteration(""), "a[]");
        for wrong in ["a.", ".a", "a[", "a[x", "a[x]b", "a]", "a[x]]", "a\\", r"\u{g}"] {
            assert!(wrong.parse::<Path>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_in_a_scope_follows_it_in_order() {
        let of = |text: &str| text.parse::<Path>().unwrap();
        let scope = of("rejoin[m2]");
        assert!(of("rejoin[m2].add").is_in(&scope) && scope.is_in(&scope));
        assert!(!of("rejoin[m22].add").is_in(&scope) && !of("rejoin").is_in(&scope));
        assert!(of("rejoin[m2].add").is_of(&of("rejoin")) && of("rejoin").is_of(&of("rejoin")));
        assert!(of("fix.a[x].b").is_of(&of("fix")) && !of("fixed").is_of(&of("fix")));
        assert!(of("rejoin[m2].add").is_of(&scope) && !of("rejoin").is_of(&scope));
        assert!(of("anything").is_in(&Path::root()));
        assert_eq!(of("rejoin[m2].add").scope(), scope);
        assert_eq!(scope.of_loop(), Some(of("rejoin")));
        assert!(scope < of("rejoin[m2].add") && of("rejoin[m2].add") < of("rejoin[m3]"));
    }

    proptest! {
        #[test]
        fn every_path_is_read_back(segs in prop::collection::vec(("[a-z_.\\[\\]\\\\]{1,4}", prop::option::of(".{0,5}")), 0..4)) {
            let segs = segs.into_iter().map(|(name, item)| Seg {
                name: name.into(),
                item: item.map(Into::into),
            });
            let path = Path(segs.collect());
            prop_assert_eq!(path.to_string().parse::<Path>(), Ok(path.clone()));
            let json = serde_json::to_string(&path).unwrap();
            prop_assert_eq!(serde_json::from_str::<Path>(&json).unwrap(), path);
        }
    }
}
