//! "Did you mean": the known name nearest to a mistyped one.

/// Most letters inserted, left out or exchanged in a typo.
const MAX_DISTANCE: usize = 2;

/// The name nearest to `got` by edit distance, if it is at most 2 away and shares a letter with
/// it. Of equally near ones the first by the alphabet.
pub fn near<'a>(got: &str, all: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let letters: Vec<char> = got.chars().collect();
    let candidates = all.into_iter().filter_map(|name| {
        let other: Vec<char> = name.chars().collect();
        let longer = letters.len().max(other.len());
        if longer - letters.len().min(other.len()) > MAX_DISTANCE {
            return None;
        }
        let distance = distance(&letters, &other);
        (distance <= MAX_DISTANCE && distance < longer).then_some((distance, name))
    });
    candidates.min().map(|(_, name)| name)
}

/// "did you mean …?" if something is near, else what there is.
pub(super) fn suggestion<'a>(got: &str, all: impl IntoIterator<Item = &'a str>) -> String {
    const SHOWN: usize = 16;
    let all: Vec<&str> = all.into_iter().collect();
    if let Some(name) = near(got, all.iter().copied()) {
        return format!("did you mean {name:?}?");
    }
    if all.is_empty() {
        return "there is none here".into();
    }
    let more = if all.len() > SHOWN { ", …" } else { "" };
    format!("there is {}{more}", all[..all.len().min(SHOWN)].join(", "))
}

/// Levenshtein's distance, one row at a time.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, left) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, right) in b.iter().enumerate() {
            let above = row[j + 1];
            let exchange = diagonal + usize::from(left != right);
            row[j + 1] = exchange.min(above + 1).min(row[j] + 1);
            diagonal = above;
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typo_finds_its_name_and_a_stranger_finds_none() {
        let all = ["etcd", "nodes", "hosts", "now"];
        for (got, wanted) in [
            ("ectd", Some("etcd")),
            ("node", Some("nodes")),
            ("noow", Some("now")),
            ("cluster", None),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(near(got, all), wanted, "{got}");
        }
    }

    #[test]
    fn a_suggestion_without_anything_near_lists_what_there_is() {
        assert_eq!(suggestion("verdct", ["reason", "verdict"]), "did you mean \"verdict\"?");
        assert_eq!(suggestion("x", ["reason", "verdict"]), "there is reason, verdict");
    }
}
