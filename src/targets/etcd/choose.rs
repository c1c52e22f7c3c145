//! Which member's data a recovery starts from: the ranking, as pure functions.
//!
//! It decides over what `etcd.snapshot` and `etcd.scratch_start` read; it asks nobody. The one
//! thing to know: candidates must share one history before any of them is better than another,
//! and what ranks is what a recovery keeps: the revision, never an ordinal, a term or the
//! uncommitted tail.
//!
//! The caller may add an argument `observed` to the call: `last_seen_revision`, `last_seen_at`,
//! `loss_upper_extra` (write rate × age; absent: the upper bound is unknown), `voters` (names of
//! the last linearizable voter set) and `cluster_id` (of the current epoch).

use std::collections::BTreeMap;

use crate::domain::{
    base::id::{EtcdId, MemberName},
    rules::{
        action::{ErrorKind, Failure},
        expr::Value,
    },
};

/// One member's data as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub(crate) member: MemberName,
    pub(crate) id: EtcdId,
    pub(crate) cluster_id: EtcdId,
    pub(crate) revision: i64,
    /// Applied index of a serving member, commit index in the log of a scratch copy.
    pub(crate) index: i64,
    pub(crate) term: i64,
    pub(crate) version: String,
    pub(crate) snapshot: String,
    /// Whether it was read by a scratch copy.
    pub(crate) scratch: bool,
    /// Log entries that the forced start of the scratch copy discarded.
    pub(crate) discarded: i64,
    /// Hash of all keys at `revision`.
    pub(crate) hash_kv: i64,
    pub(crate) compact_revision: i64,
    /// Why it cannot be chosen.
    pub(crate) why_not: Option<String>,
}

/// A candidate's hash at the revision where all are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HashAt {
    pub(crate) hash: i64,
    pub(crate) compact_revision: i64,
}

/// What the caller observed before the outage.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    last_seen_revision: Option<i64>,
    last_seen_at: Option<Value>,
    loss_upper_extra: Option<i64>,
    /// Names of the last linearizable voter set.
    pub(crate) voters: Option<Vec<MemberName>>,
    cluster_id: Option<EtcdId>,
}

impl Seen {
    /// Reads the injected argument; nothing where there is none.
    pub(crate) fn read(observed: Option<&Value>) -> Self {
        let Some(observed) = observed else { return Self::default() };
        let names =
            |list: &[Value]| list.iter().filter_map(Value::as_str).map(MemberName::from).collect();
        Self {
            last_seen_revision: observed.get("last_seen_revision").and_then(Value::as_int),
            last_seen_at: observed.get("last_seen_at").cloned(),
            loss_upper_extra: observed.get("loss_upper_extra").and_then(Value::as_int),
            voters: observed.get("voters").and_then(Value::as_list).map(names),
            cluster_id: observed.get("cluster_id").and_then(Value::as_str).and_then(EtcdId::parse),
        }
    }
}

/// Reads the argument `among`, in the order of the inventory.
pub(crate) fn candidates(among: &Value, order: &[MemberName]) -> Result<Vec<Candidate>, Failure> {
    let outputs =
        among.as_map().ok_or_else(|| invalid("among is no map from member to outputs"))?;
    let mut found = Vec::new();
    for member in order {
        let Some(output) = outputs.get(member.as_str()) else { continue };
        let Some(snapshot) = output.get("snapshot") else { continue };
        found.push(candidate(member, snapshot, output.get("scratch"))?);
    }
    Ok(found)
}

fn candidate(
    member: &MemberName,
    snapshot: &Value,
    scratch: Option<&Value>,
) -> Result<Candidate, Failure> {
    let missing = |field: &str| invalid(&format!("the snapshot of {member} has no {field}"));
    let int =
        |field: &str| snapshot.get(field).and_then(Value::as_int).ok_or_else(|| missing(field));
    let text =
        |field: &str| snapshot.get(field).and_then(Value::as_str).ok_or_else(|| missing(field));
    let id = |field: &str| EtcdId::parse(text(field)?).ok_or_else(|| missing(field));
    let of_scratch =
        |field: &str| scratch.and_then(|output| output.get(field)).and_then(Value::as_int);
    Ok(Candidate {
        member: member.clone(),
        id: id("member_id")?,
        cluster_id: id("cluster_id")?,
        revision: int("revision")?,
        index: of_scratch("commit_index").map_or_else(|| int("index"), Ok)?,
        term: int("term")?,
        version: text("version")?.into(),
        snapshot: text("path")?.into(),
        scratch: scratch.is_some(),
        discarded: of_scratch("discarded").unwrap_or(0),
        hash_kv: int("hash_kv")?,
        compact_revision: int("compact_revision")?,
        why_not: snapshot.get("why_not").and_then(Value::as_str).map(Into::into),
    })
}

/// Marks those that cannot be chosen whatever they hold: no voter, another cluster.
pub(crate) fn exclude(candidates: &mut [Candidate], seen: &Seen) -> Result<(), Failure> {
    for one in candidates.iter_mut().filter(|one| one.why_not.is_none()) {
        if seen.voters.as_ref().is_some_and(|voters| !voters.contains(&one.member)) {
            one.why_not = Some("it was no voter when the cluster last had a leader".into());
        } else if seen.cluster_id.is_some_and(|id| id != one.cluster_id) {
            one.why_not = Some(format!("it belongs to another cluster, {}", one.cluster_id));
        }
    }
    let mut ids = standing(candidates).map(|one| (one.cluster_id, &one.member));
    let Some((first, a)) = ids.next() else { return Ok(()) };
    match ids.find(|(id, _)| *id != first) {
        Some((other, b)) => Err(refused(&format!(
            "{a} belongs to cluster {first} and {b} to cluster {other}, and no earlier sighting tells which is the patient's. Stop the wrong one and take its data away"
        ))),
        None => Ok(()),
    }
}

/// Those that nothing speaks against.
pub(crate) fn standing(candidates: &[Candidate]) -> impl Iterator<Item = &Candidate> {
    candidates.iter().filter(|one| one.why_not.is_none())
}

/// The revision at which all standing candidates must be equal; `None` where there are fewer than
/// two to compare.
pub(crate) fn common_revision(candidates: &[Candidate]) -> Result<Option<i64>, Failure> {
    if standing(candidates).count() < 2 {
        return Ok(None);
    }
    let common = standing(candidates).map(|one| one.revision).min().unwrap_or(0);
    match standing(candidates).find(|one| one.compact_revision > common) {
        Some(one) => Err(refused(&format!(
            "{} has compacted up to revision {}, beyond {common}, where the candidates would have to be compared. Take away the data of those that are not to be chosen",
            one.member, one.compact_revision
        ))),
        None => Ok(Some(common)),
    }
}

/// Whether the hashes can tell anything of one another: the same history hashes differently where
/// another part of it is compacted away.
pub(crate) fn are_comparable(hashes: &BTreeMap<MemberName, HashAt>) -> bool {
    let mut compacted = hashes.values().map(|hash| hash.compact_revision);
    let first = compacted.next();
    compacted.all(|compacted| Some(compacted) == first)
}

/// Whether all standing candidates hold the same at revision `at`.
pub(crate) fn one_history(at: i64, hashes: &BTreeMap<MemberName, HashAt>) -> Result<(), Failure> {
    let mut all = hashes.iter();
    let Some((a, first)) = all.next() else { return Ok(()) };
    for (b, hash) in all {
        if hash.compact_revision != first.compact_revision {
            return Err(refused(&format!(
                "{a} has compacted up to revision {} and {b} up to {}: their data cannot be compared. Take away the data of the one that is not to be chosen",
                first.compact_revision, hash.compact_revision
            )));
        }
        if hash.hash != first.hash {
            return Err(refused(&format!(
                "{a} and {b} hold different data at revision {at} (hash {} and {}): one of them is corrupt or of another history. Find out which, and take its data away",
                first.hash, hash.hash
            )));
        }
    }
    Ok(())
}

/// The best standing candidate: the revision, then the index among those read the same way.
/// Equal ones hold the same; then one that serves is preferred, then the inventory's order.
fn best(candidates: &[Candidate]) -> Option<&Candidate> {
    let mut best: Option<&Candidate> = None;
    for one in standing(candidates) {
        let better = best.is_none_or(|held| {
            let index = if one.scratch == held.scratch { one.index } else { held.index };
            (one.revision, index, !one.scratch) > (held.revision, held.index, !held.scratch)
        });
        if better {
            best = Some(one);
        }
    }
    best
}

/// The output of `etcd.choose_survivor`. `order` are the inventory's members.
pub(crate) fn output(
    candidates: &[Candidate],
    order: &[MemberName],
    seen: &Seen,
) -> Result<Value, Failure> {
    let Some(best) = best(candidates) else { return Err(no_survivor(candidates)) };
    let voters = seen.voters.as_deref().unwrap_or(order);
    let others = order.iter().filter(|name| **name != best.member && voters.contains(name));
    let mut fields = vec![
        ("member", Value::str(best.member.as_str())),
        ("id", Value::str(best.id.to_string())),
        ("cluster_id", Value::str(best.cluster_id.to_string())),
        ("revision", Value::Int(best.revision)),
        ("index", Value::Int(best.index)),
        ("term", Value::Int(best.term)),
        ("version", Value::str(best.version.as_str())),
        ("discarded", Value::Int(best.discarded)),
        ("snapshot", Value::str(best.snapshot.as_str())),
        ("others", Value::list(others.map(|name| Value::str(name.as_str())).collect())),
        ("candidates", Value::list(candidates.iter().map(shown).collect())),
    ];
    if let Some(revision) = seen.last_seen_revision {
        let at = seen.last_seen_at.clone().map(|at| ("at", at));
        fields.push((
            "last_seen",
            Value::map(std::iter::once(("revision", Value::Int(revision))).chain(at)),
        ));
    }
    fields.push(("loss", loss(best.revision, seen)));
    Ok(Value::map(fields))
}

/// Bounds of the expected loss, in revisions; no bound that is not known.
fn loss(revision: i64, seen: &Seen) -> Value {
    let lower = seen.last_seen_revision.map(|last| last.saturating_sub(revision).max(0));
    let upper =
        lower.zip(seen.loss_upper_extra).map(|(lower, extra)| lower.saturating_add(extra.max(0)));
    let bounds = [("lower", lower.or(Some(0))), ("upper", upper)];
    Value::map(bounds.into_iter().filter_map(|(name, bound)| Some((name, Value::Int(bound?)))))
}

fn shown(one: &Candidate) -> Value {
    let mut fields = vec![
        ("member", Value::str(one.member.as_str())),
        ("revision", Value::Int(one.revision)),
        ("index", Value::Int(one.index)),
    ];
    if let Some(why_not) = &one.why_not {
        fields.push(("why_not", Value::str(why_not.as_str())));
    }
    Value::map(fields)
}

fn no_survivor(candidates: &[Candidate]) -> Failure {
    let why: Vec<String> = candidates
        .iter()
        .filter_map(|one| Some(format!("{}: {}", one.member, one.why_not.as_ref()?)))
        .collect();
    let why = if why.is_empty() { "no member's data could be read".into() } else { why.join("; ") };
    refused(&format!("no survivor ({why}). Restore the newest backup by hand"))
}

fn invalid(message: &str) -> Failure {
    Failure::new(ErrorKind::Invalid, message)
}

fn refused(message: &str) -> Failure {
    Failure::new(ErrorKind::RefusedByGuard, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mk_candidate(member: &str, revision: i64) -> Candidate {
        Candidate {
            member: member.into(),
            id: EtcdId(1),
            cluster_id: EtcdId(7),
            revision,
            index: revision + 7,
            term: 2,
            version: "3.5.16".into(),
            snapshot: format!("/b/{member}/snapshot.db"),
            scratch: false,
            discarded: 0,
            hash_kv: 5,
            compact_revision: -1,
            why_not: None,
        }
    }

    fn order() -> Vec<MemberName> {
        ["m1", "m2", "m3"].map(MemberName::from).to_vec()
    }

    fn chosen(candidates: &[Candidate]) -> String {
        let output = output(candidates, &order(), &Seen::default()).unwrap();
        output.get("member").and_then(Value::as_str).unwrap().to_owned()
    }

    /// Rows: E1.
    #[test]
    fn the_highest_revision_wins_wherever_it_stands() {
        assert_eq!(chosen(&[mk_candidate("m1", 10), mk_candidate("m3", 12)]), "m3");
        assert_eq!(chosen(&[mk_candidate("m1", 12), mk_candidate("m3", 10)]), "m1");
    }

    #[test]
    fn the_index_counts_only_among_those_read_the_same_way() {
        let ahead = Candidate { index: 99, ..mk_candidate("m2", 10) };
        assert_eq!(chosen(&[mk_candidate("m1", 10), ahead.clone()]), "m2");
        let copied = Candidate { scratch: true, ..ahead };
        assert_eq!(chosen(&[mk_candidate("m1", 10), copied]), "m1");
    }

    /// Rows: E12, E13.
    #[test]
    fn what_may_not_be_chosen_is_not_chosen() {
        let corrupt = Candidate { why_not: Some("corrupt".into()), ..mk_candidate("m1", 99) };
        assert_eq!(chosen(&[corrupt.clone(), mk_candidate("m2", 5)]), "m2");
        let none = output(&[corrupt], &order(), &Seen::default()).unwrap_err();
        assert_eq!(none.kind, ErrorKind::RefusedByGuard);
        let mut all = [mk_candidate("m1", 5), mk_candidate("m2", 9)];
        let seen = Seen { voters: Some(vec!["m1".into()]), ..Seen::default() };
        exclude(&mut all, &seen).unwrap();
        assert_eq!(chosen(&all), "m1");
        let foreign = Candidate { cluster_id: EtcdId(8), ..mk_candidate("m2", 9) };
        assert!(exclude(&mut [mk_candidate("m1", 5), foreign.clone()], &Seen::default()).is_err());
        let mut all = [mk_candidate("m1", 5), foreign];
        exclude(&mut all, &Seen { cluster_id: Some(EtcdId(7)), ..Seen::default() }).unwrap();
        assert_eq!(chosen(&all), "m1");
    }

    /// Rows: E13.
    #[test]
    fn two_that_disagree_are_refused() {
        let at = |hash, compact_revision| HashAt { hash, compact_revision };
        let hashes = |a, b| BTreeMap::from([("m1".into(), a), ("m2".into(), b)]);
        assert!(one_history(5, &hashes(at(1, -1), at(1, -1))).is_ok());
        assert!(one_history(5, &hashes(at(1, -1), at(2, -1))).is_err());
        assert!(one_history(5, &hashes(at(1, -1), at(1, 3))).is_err());
        assert!(are_comparable(&hashes(at(1, 3), at(2, 3))));
        assert!(!are_comparable(&hashes(at(1, -1), at(1, 3))));
    }

    #[test]
    fn candidates_are_compared_at_the_lowest_revision_unless_it_is_compacted() {
        assert_eq!(common_revision(&[mk_candidate("m1", 5)]).unwrap(), None);
        assert_eq!(
            common_revision(&[mk_candidate("m1", 5), mk_candidate("m2", 9)]).unwrap(),
            Some(5)
        );
        let compacted = Candidate { compact_revision: 6, ..mk_candidate("m2", 9) };
        assert!(common_revision(&[mk_candidate("m1", 5), compacted]).is_err());
    }

    #[test]
    fn an_unknown_upper_bound_is_absent_and_never_zero() {
        let bounds = |last, extra| {
            let seen =
                Seen { last_seen_revision: last, loss_upper_extra: extra, ..Seen::default() };
            let loss = loss(100, &seen);
            (loss.get("lower").and_then(Value::as_int), loss.get("upper").and_then(Value::as_int))
        };
        assert_eq!(bounds(Some(130), Some(7)), (Some(30), Some(37)));
        assert_eq!(bounds(Some(90), Some(7)), (Some(0), Some(7)));
        assert_eq!(bounds(Some(130), None), (Some(30), None));
        assert_eq!(bounds(None, Some(7)), (Some(0), None));
    }

    #[test]
    fn the_others_are_the_voters_in_the_order_of_the_inventory() {
        let seen =
            Seen { voters: Some(vec!["m3".into(), "m1".into(), "m2".into()]), ..Seen::default() };
        let output = output(&[mk_candidate("m2", 5)], &order(), &seen).unwrap();
        let others: Vec<&str> = output
            .get("others")
            .unwrap()
            .as_list()
            .unwrap()
            .iter()
            .filter_map(Value::as_str)
            .collect();
        assert_eq!(others, ["m1", "m3"]);
    }
}
