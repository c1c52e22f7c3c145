//! The version guard: one minor wrote all the data that may be read, and the tools are of it.
//!
//! A start of another minor changes a data directory for good, so no copy of it is started and
//! nothing is restored before this is known. A member that says nothing counts with the version it
//! was last seen with, as long as its data is there: it is that data a copy would be made of.

use std::{collections::BTreeMap, path::PathBuf};

use super::{
    evidence::{DataState, Held, MemberEvidence, Observed},
    observation::Observation,
};
use crate::domain::base::id::MemberName;

/// The tools that a repair starts on the members' data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Toolset {
    /// `etcd`, for scratch copies.
    pub etcd: Tool,
    /// `etcdutl`, for restores.
    pub etcdutl: Tool,
}

/// One tool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tool {
    /// Where it is.
    pub path: PathBuf,
    /// Its version by its own word, as `3.5.16`.
    pub version: String,
}

/// The first minor that this repair is made for.
const FIRST: (u32, u32) = (3, 5);

/// Versions must be known, of one minor, new enough for restore mode, and the tools' own.
pub fn version_gate(
    look: &Observation,
    held: &Held,
    observed: Option<&Observed>,
    tools: Option<&Toolset>,
) -> Result<(), String> {
    let mut minors: BTreeMap<(u32, u32), Vec<String>> = BTreeMap::new();
    let mut untold = Vec::new();
    for (name, readings) in &look.evidence.members {
        let told = own_word(held.get(name).unwrap_or(readings));
        let may_be_read =
            look.judgement.members.get(name).is_some_and(|m| m.data == Some(DataState::Present));
        let seen = observed.and_then(|row| row.versions.get(name)).filter(|_| may_be_read);
        let version = told.map(|version| (version, ""));
        match version.or(seen.map(|version| (version.as_str(), ", as last seen"))) {
            Some((version, how)) => {
                let minor = minor_of(version)
                    .ok_or_else(|| format!("{name} names its version as {version:?}"))?;
                minors.entry(minor).or_default().push(format!("{name} ({version}{how})"));
            }
            None if may_be_read => untold.push(name),
            None => {}
        }
    }
    one_minor(&minors, &untold)?;
    match (minors.into_iter().next(), tools) {
        (Some((minor, members)), Some(tools)) => fit(minor, &members, tools),
        _ => Ok(()),
    }
}

/// What a member says by itself: on its client port, else on its peer port.
fn own_word(readings: &MemberEvidence) -> Option<&str> {
    let version = readings.client.value().map(|status| &status.version);
    version.or_else(|| readings.peer.value().map(|peer| &peer.version)).map(String::as_str)
}

fn one_minor(
    minors: &BTreeMap<(u32, u32), Vec<String>>,
    untold: &[&MemberName],
) -> Result<(), String> {
    if minors.is_empty() && !untold.is_empty() {
        let names: Vec<&str> = untold.iter().map(|name| name.as_str()).collect();
        return Err(format!(
            "nothing tells which etcd wrote the data of {}: start one of them once, its peer port tells it",
            names.join(", ")
        ));
    }
    if let Some(((major, minor), members)) = minors.iter().find(|(minor, _)| **minor < FIRST) {
        return Err(format!(
            "etcd {major}.{minor} is what {} runs; this repair needs 3.5 or newer",
            members.join(", ")
        ));
    }
    if minors.len() > 1 {
        let found = minors
            .iter()
            .map(|((major, minor), names)| format!("{major}.{minor} on {}", names.join(", ")));
        return Err(format!(
            "members of different minors: {}; finish the upgrade by hand",
            found.collect::<Vec<_>>().join(" and ")
        ));
    }
    Ok(())
}

fn fit((major, minor): (u32, u32), members: &[String], tools: &Toolset) -> Result<(), String> {
    for (key, tool) in [("etcd", &tools.etcd), ("etcdutl", &tools.etcdutl)] {
        let Tool { path, version } = tool;
        if minor_of(version) == Some((major, minor)) {
            continue;
        }
        return Err(format!(
            "etcd.tools.{key} ({}) is {version}, and {major}.{minor} wrote the data of {}; another minor changes it for good: install {key} {major}.{minor} and name it in etcd.tools.{key}",
            path.display(),
            members.join(", ")
        ));
    }
    Ok(())
}

/// `3.5` of `3.5.16`.
fn minor_of(version: &str) -> Option<(u32, u32)> {
    let mut numbers = version.trim_start_matches('v').split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::etcd::verdict::fixtures::{Case, Readings, evidence, gone, stopped, up};

    fn tools(etcd: &str, etcdutl: &str) -> Toolset {
        let tool = |path: &str, version: &str| Tool { path: path.into(), version: version.into() };
        Toolset { etcd: tool("/opt/etcd", etcd), etcdutl: tool("/opt/etcdutl", etcdutl) }
    }

    /// The case with what its members ran while they were last seen healthy.
    fn last_seen(mut case: Case, versions: &[(&str, &str)]) -> Case {
        let row = case.observed.as_mut().unwrap();
        row.versions =
            versions.iter().map(|(name, version)| ((*name).into(), (*version).into())).collect();
        case
    }

    fn gate(case: &Case, tools: Option<&Toolset>) -> Result<(), String> {
        let (evidence, judgement) = (case.evidence.clone(), case.judge());
        let look = Observation { evidence, judgement, survivor: None, loss: None };
        version_gate(&look, &case.held, case.observed.as_ref(), tools)
    }

    #[track_caller]
    fn refused(case: &Case, tools: Option<&Toolset>, told: &[&str]) {
        let why = gate(case, tools).expect_err("it is refused");
        for told in told {
            assert!(why.contains(told), "{told}: {why}");
        }
    }

    fn serving(version: &str) -> Case {
        let lost = gone(DataState::Missing);
        evidence().member("m1", up(100).version(version)).members(&["m2", "m3"], &lost)
    }

    fn all(readings: &Readings) -> Case {
        evidence().members(&["m1", "m2", "m3"], readings)
    }

    /// Rows: E14.
    #[test]
    fn tools_of_another_minor_than_what_serves_are_refused_by_name() {
        let case = serving("3.5.16");
        assert_eq!(gate(&case, Some(&tools("3.5.30", "3.5.10"))), Ok(()));
        assert_eq!(gate(&case, None), Ok(()), "not asked yet: another guard says so");
        let told =
            ["etcd.tools.etcd ", "/opt/etcd)", "3.6.1", "3.5 wrote", "m1 (3.5.16)", "install"];
        refused(&case, Some(&tools("3.6.1", "3.5.16")), &told);
        let told =
            ["etcd.tools.etcdutl", "/opt/etcdutl", "3.4.27", "m1 (3.5.16)", "install etcdutl 3.5"];
        refused(&case, Some(&tools("3.5.16", "3.4.27")), &told);
        refused(&serving("3.10.0"), Some(&tools("3.1.0", "3.1.0")), &["3.10 wrote"]);
    }

    /// Rows: E14.
    #[test]
    fn where_nobody_serves_the_versions_last_seen_count() {
        let seen = [("m1", "3.6.16"), ("m2", "3.6.16"), ("m3", "3.6.16")];
        let case = last_seen(all(&stopped()), &seen);
        assert_eq!(gate(&case, Some(&tools("3.6.1", "3.6.1"))), Ok(()));
        let told = ["/opt/etcd", "3.5.16", "m1 (3.6.16, as last seen)"];
        refused(&case, Some(&tools("3.5.16", "3.6.1")), &told);
        refused(&all(&stopped()), None, &["nothing tells", "m1, m2, m3", "start one of them"]);
    }

    /// Rows: E14.
    #[test]
    fn a_stopped_member_counts_by_its_data_and_a_lost_one_does_not() {
        let seen = [("m1", "3.5.16"), ("m2", "3.6.1"), ("m3", "3.6.1")];
        let fits = tools("3.5.16", "3.5.16");
        assert_eq!(gate(&last_seen(serving("3.5.16"), &seen), Some(&fits)), Ok(()));
        let case = last_seen(serving("3.5.16").member("m2", stopped()), &seen);
        refused(&case, Some(&fits), &["different minors", "m2 (3.6.1, as last seen)"]);
        refused(&serving("3.4.23"), Some(&fits), &["3.4", "needs 3.5"]);
    }

    /// Rows: E14, E25.
    #[test]
    fn what_a_run_stopped_keeps_the_version_it_told_before() {
        let case = all(&stopped()).held("m1", up(100).version("3.6.1"));
        refused(&case, Some(&tools("3.5.16", "3.5.16")), &["m1 (3.6.1)"]);
        assert_eq!(gate(&case, Some(&tools("3.6.2", "3.6.2"))), Ok(()));
    }
}
