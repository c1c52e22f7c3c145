//! Readers of values that only a configuration has: paths, URLs, sizes, ports.

use std::{
    ops::RangeInclusive,
    path::{Component, Path, PathBuf},
};

use crate::domain::rules::{
    codes,
    yaml::{
        Node,
        read::{Fields, Sink, int, text},
    },
};

/// What readers need besides the node: where relative paths begin.
pub(super) struct Folder<'f>(pub(super) &'f Path);

impl Folder<'_> {
    /// A path on this machine, relative ones from the file's folder.
    pub(super) fn path(&self, node: &Node, sink: &mut Sink<'_>) -> Option<PathBuf> {
        let got = text(node, sink)?;
        if got.is_empty() || got.contains('\0') || got.contains("${") {
            let help = "neither the environment nor variables are expanded here";
            sink.add_help(&codes::BAD_PATH, &node.span, format!("{got:?} is no path"), help);
            return None;
        }
        Some(plain(&self.0.join(got)))
    }

    /// A file that must be there (its content is read when it is needed).
    pub(super) fn file(&self, node: &Node, sink: &mut Sink<'_>) -> Option<PathBuf> {
        let path = self.path(node, sink)?;
        if !path.is_file() {
            let what = if path.exists() { "is no regular file" } else { "is not there" };
            let message = format!("{} {what}", path.display());
            let relative = node.as_str().is_some_and(|text| !text.starts_with('/'));
            let help = "a relative path begins at the folder of this file".to_owned();
            sink.push(&codes::FILE_MISSING, &node.span, message, relative.then_some(help));
        }
        Some(path)
    }
}

/// Without `.` and `..`, so that paths can be compared; links are not followed.
pub(super) fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                plain.pop();
            }
            Component::Prefix(_) | Component::RootDir | Component::Normal(_) => plain.push(part),
        }
    }
    plain
}

/// Where a path really leads: links of the part that exists are followed.
pub(super) fn real(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    for known in path.ancestors() {
        if let (Ok(found), Ok(rest)) = (known.canonicalize(), path.strip_prefix(known)) {
            return found.join(rest);
        }
    }
    path
}

/// An absolute path on a member's host; `${member}` is its name.
pub(super) fn host_path(node: &Node, member: &str, sink: &mut Sink<'_>) -> Option<PathBuf> {
    let path = PathBuf::from(filled(node, member, sink)?);
    if !path.is_absolute() || path.components().any(|part| part == Component::ParentDir) {
        // As written: what is shared by all members is one problem.
        let written = node.as_str().unwrap_or_default();
        let message = format!("{written:?} is no absolute path without `..`");
        sink.add(&codes::BAD_PATH, &node.span, message);
        return None;
    }
    Some(plain(&path))
}

/// A text with `${member}` filled in; nothing else is.
pub(super) fn filled(node: &Node, member: &str, sink: &mut Sink<'_>) -> Option<String> {
    let written = text(node, sink)?;
    let got = written.replace("${member}", member);
    if got.contains("${") || got.contains('\0') {
        let message = format!("{written:?} holds something that is not filled in");
        sink.add_help(
            &codes::BAD_PATH,
            &node.span,
            message,
            "only `${member}` stands for something",
        );
        return None;
    }
    Some(got)
}

/// An `http` or `https` URL without user, query and trailing slash; `bare` allows no path either.
pub(super) fn url(node: &Node, bare: bool, sink: &mut Sink<'_>) -> Option<String> {
    let got = text(node, sink)?.trim_end_matches('/');
    let parsed = reqwest::Url::parse(got).ok().filter(|url| {
        let web = matches!(url.scheme(), "http" | "https") && url.has_host();
        let plain = url.username().is_empty() && url.password().is_none() && url.query().is_none();
        let port = !bare || (url.path() == "/" && explicit_port(got).is_some());
        web && plain && port
    });
    if parsed.is_none() {
        let message = format!("{got:?} is no URL that can be used here");
        let help = if bare {
            "write scheme, host and port only, as https://10.0.0.1:2379"
        } else {
            "write scheme, host and path only, as https://prometheus.example.net"
        };
        sink.add_help(&codes::BAD_URL, &node.span, message, help);
        return None;
    }
    Some(got.to_owned())
}

/// The port as it is written.
pub(super) fn explicit_port(url: &str) -> Option<u16> {
    url.rsplit_once(':').and_then(|(_, port)| port.parse().ok())
}

/// The host of a URL or of `host:port`.
pub(super) fn host_of(target: &str) -> Option<String> {
    if let Ok(url) = reqwest::Url::parse(target)
        && let Some(host) = url.host_str()
    {
        return Some(host.trim_matches(['[', ']']).to_owned());
    }
    target.rsplit_once(':').map(|(host, _)| host.trim_matches(['[', ']']).to_owned())
}

/// A URL, or `host:port`.
pub(super) fn target(node: &Node, sink: &mut Sink<'_>) -> Option<String> {
    let got = text(node, sink)?;
    if got.contains("://") {
        return url(node, false, sink);
    }
    let parts = got.rsplit_once(':');
    if parts.is_none_or(|(host, port)| host.is_empty() || port.parse::<u16>().is_err()) {
        let message = format!("{got:?} is neither a URL nor host:port");
        sink.add(&codes::BAD_URL, &node.span, message);
        return None;
    }
    Some(got.to_owned())
}

/// `10MiB` in bytes, within bounds.
pub(super) fn size(node: &Node, bounds: &RangeInclusive<u64>, sink: &mut Sink<'_>) -> Option<u64> {
    let got = text(node, sink)?;
    let units = [("KiB", 10), ("MiB", 20), ("GiB", 30)];
    let read = units.iter().find_map(|(unit, shift)| {
        let whole = got.strip_suffix(unit)?.parse::<u64>().ok()?;
        whole.checked_mul(1 << shift)
    });
    match read {
        None => {
            let message = format!("`{got}` is no size");
            sink.add_help(&codes::BAD_UNIT, &node.span, message, "write KiB, MiB or GiB, as 10MiB");
            None
        }
        Some(bytes) if !bounds.contains(&bytes) => {
            let (low, high) = (bounds.start() >> 10, bounds.end() >> 10);
            let message = format!("{got} is not within {low}KiB and {high}KiB");
            sink.add(&codes::OUT_OF_RANGE, &node.span, message);
            None
        }
        Some(bytes) => Some(bytes),
    }
}

/// `23790-23799`.
pub(super) fn ports(node: &Node, sink: &mut Sink<'_>) -> Option<RangeInclusive<u16>> {
    let got = text(node, sink)?;
    let read = got.split_once('-').and_then(|(low, high)| {
        Some((low.trim().parse::<u16>().ok()?, high.trim().parse::<u16>().ok()?))
    });
    let Some((low, high)) = read else {
        let message = format!("`{got}` is no range of ports");
        sink.add_help(
            &codes::BAD_UNIT,
            &node.span,
            message,
            "write first and last, as 23790-23799",
        );
        return None;
    };
    // A scratch copy takes a client and a peer port; one more to try where one is in use.
    if low < 1024 || high < low || high - low < 3 {
        let message = format!("{got} is not a range of at least 4 ports from 1024 on");
        sink.add(&codes::OUT_OF_RANGE, &node.span, message);
        return None;
    }
    Some(low..=high)
}

/// `2x` as 2.0.
pub(super) fn factor(node: &Node, sink: &mut Sink<'_>) -> Option<f64> {
    let got = text(node, sink)?;
    let read = got.strip_suffix('x').and_then(|number| number.parse::<f64>().ok());
    let read = read.filter(|factor| (1.0..=100.0).contains(factor));
    if read.is_none() {
        let message = format!("`{got}` is no factor from 1x to 100x");
        sink.add_help(&codes::BAD_UNIT, &node.span, message, "write 2x: twice the data's size");
    }
    read
}

/// A name of a member or host: it stands in paths and commands.
pub(super) fn name(name: &str, span: &std::ops::Range<usize>, sink: &mut Sink<'_>) -> bool {
    let fits = name.len() <= 63
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
    if !fits {
        let message = format!("{name:?} is no name that can stand here");
        let help = "use letters, digits, `.`, `_` and `-`, no sign first, 63 at most";
        sink.add_help(&codes::BAD_NAME, span, message, help);
    }
    fits
}

/// A whole number from 0 on.
pub(super) fn unsigned(node: &Node, sink: &mut Sink<'_>) -> Option<u64> {
    int(node, &(0..=i64::MAX), sink).and_then(|whole| u64::try_from(whole).ok())
}

/// A map with one known key, or what is reported.
pub(super) fn only<'n>(node: &'n Node, key: &'static str, sink: &mut Sink<'_>) -> Option<&'n Node> {
    let mut fields = Fields::of(node, sink)?;
    let found = fields.need(key, sink);
    fields.finish(sink);
    found
}
