//! Label sets as one text: a million of them are held at once, and most of a label set is names that
//! all share.
//!
//! Each label is its name and its value. A name that most alerts carry is one character, its place in
//! [`KNOWN`]; any other is a zero, its length and itself. A value is its length and itself. Lengths are
//! written in characters of six bits each, so that the whole stays a text. None of it is ever stored.

/// Names that Prometheus, Alertmanager and the usual rules give. Sorted by length, then by text, so
/// that one is found by comparing a few numbers.
const KNOWN: &[&str] = &[
    "app",
    "env",
    "job",
    "pod",
    "host",
    "node",
    "team",
    "zone",
    "group",
    "phase",
    "shard",
    "stage",
    "device",
    "fstype",
    "reason",
    "region",
    "status",
    "cluster",
    "replica",
    "service",
    "endpoint",
    "hostname",
    "instance",
    "provider",
    "severity",
    "alertname",
    "component",
    "condition",
    "container",
    "daemonset",
    "interface",
    "namespace",
    "datacenter",
    "deployment",
    "mountpoint",
    "prometheus",
    "environment",
    "statefulset",
    "metrics_path",
    "persistentvolumeclaim",
];

/// A name that is not among the known ones follows.
const UNKNOWN: char = '\0';

/// More characters of this length follow.
const MORE: u8 = 0x40;

/// Writes one label behind what there is.
pub(super) fn push(to: &mut String, name: &str, value: &str) {
    let place = KNOWN.binary_search_by_key(&(name.len(), name), |known| (known.len(), known));
    let tag = place.ok().and_then(|place| u8::try_from(place + 1).ok());
    to.push(tag.map_or(UNKNOWN, char::from));
    if tag.is_none() {
        push_text(to, name);
    }
    push_text(to, value);
}

fn push_text(to: &mut String, text: &str) {
    let mut left = text.len();
    loop {
        let low = u8::try_from(left & 0x3f).unwrap_or(0);
        left >>= 6;
        to.push(char::from(if left > 0 { low | MORE } else { low }));
        if left == 0 {
            break;
        }
    }
    to.push_str(text);
}

/// Reads labels in the order they were written.
pub(super) struct Reader<'a> {
    rest: &'a str,
}

impl<'a> Reader<'a> {
    pub(super) fn new(packed: &'a str) -> Self {
        Self { rest: packed }
    }

    fn text(&mut self) -> Option<&'a str> {
        let (mut length, mut shift) = (0, 0);
        for (at, byte) in self.rest.bytes().enumerate() {
            length |= usize::from(byte & 0x3f) << shift;
            shift += 6;
            if byte & MORE == 0 {
                let (text, rest) = self.rest.get(at + 1..)?.split_at_checked(length)?;
                self.rest = rest;
                return Some(text);
            }
        }
        None
    }
}

impl<'a> Iterator for Reader<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        let (tag, rest) = (*self.rest.as_bytes().first()?, self.rest.get(1..)?);
        self.rest = rest;
        let name = match usize::from(tag).checked_sub(1) {
            Some(place) => KNOWN.get(place)?,
            None => self.text()?,
        };
        Some((name, self.text()?))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_known_names_are_sorted_and_few_enough_for_a_character() {
        assert!(KNOWN.is_sorted_by_key(|known| (known.len(), known)));
        assert!(KNOWN.len() < 127 && !KNOWN.contains(&""));
        assert!(KNOWN.windows(2).all(|two| two[0] != two[1]));
    }

    #[test]
    fn a_known_name_is_one_character_and_a_short_length_another() {
        let mut packed = String::new();
        push(&mut packed, KNOWN[0], "x");
        assert_eq!(packed, "\u{1}\u{1}x");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            labels in prop::collection::vec(("(alertname|job|.{0,70})", "(?s).{0,300}"), 0..6),
            long in 4_000..300_000_usize,
        ) {
            let long = "é".repeat(long);
            let mut packed = String::new();
            for (name, value) in &labels {
                push(&mut packed, name, value);
            }
            push(&mut packed, "long", &long);
            let read: Vec<_> = Reader::new(&packed).collect();
            let mut written: Vec<_> = labels.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
            written.push(("long", &long));
            prop_assert_eq!(read, written);
        }
    }
}
