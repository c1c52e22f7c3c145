//! The digest that binds an approval to what it was given for.
//!
//! Only what would change a person's mind is in it: who votes, whose data is kept, who is dead and
//! why for good, how it is done. Ages, latencies, terms and loss estimates are not: they move while
//! nothing happens, and the loss has a bound of its own.

use std::{collections::BTreeMap, fmt::Write};

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::{
    evidence::{Epoch, Permanence},
    verdict::Judgement,
};
use crate::domain::{
    base::id::{EtcdId, MemberName},
    inventory::Mode,
};

/// The chosen survivor, as the approval shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Survivor {
    /// Its member id.
    pub id: EtcdId,
    /// Its revision.
    pub revision: i64,
}

/// What is digested. Keys and lists are sorted and absent values are `null`, so the JSON of equal
/// values is equal byte for byte; a change of its shape voids every approval that waits.
#[derive(Serialize)]
struct Canonical<'a> {
    dead: Vec<(Option<EtcdId>, Option<Permanence>)>,
    epoch: Epoch,
    mode: &'a str,
    playbook: &'a str,
    survivor: Option<(EtcdId, i64)>,
    versions: &'a BTreeMap<MemberName, String>,
    voters: Vec<Option<EtcdId>>,
}

/// The digest of a judgement and the choice made on it: SHA-256 as 64 hex digits.
///
/// `versions` are the etcd versions by member, `playbook` the digest of the playbook's text;
/// `epoch` is that of the row the judgement was drawn with.
pub fn digest(
    judgement: &Judgement,
    epoch: Epoch,
    survivor: Option<Survivor>,
    mode: Mode,
    versions: &BTreeMap<MemberName, String>,
    playbook: &str,
) -> String {
    let states = || judgement.voters.iter().filter_map(|name| judgement.members.get(name));
    let mut voters: Vec<_> = states().map(|member| member.id).collect();
    voters.sort();
    let dead = states().filter(|member| member.alive == Some(false));
    let mut dead: Vec<_> = dead.map(|member| (member.id, member.permanence)).collect();
    dead.sort();
    let canonical = Canonical {
        dead,
        epoch,
        mode: mode.label(),
        playbook,
        survivor: survivor.map(|survivor| (survivor.id, survivor.revision)),
        versions,
        voters,
    };
    let json = serde_json::to_vec(&canonical).expect("plain values with text keys are JSON");
    let mut hex = String::with_capacity(64);
    for byte in Sha256::digest(&json) {
        write!(hex, "{byte:02x}").expect("a string takes all");
    }
    hex
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        base::time::Time,
        etcd::{
            evidence::DataState,
            verdict::fixtures::{CLUSTER, Case, NOW, evidence, gone, id, stopped, up},
        },
    };

    struct Inputs {
        case: Case,
        epoch: Epoch,
        survivor: Survivor,
        mode: Mode,
        versions: BTreeMap<MemberName, String>,
        playbook: &'static str,
    }

    fn inputs() -> Inputs {
        Inputs {
            case: lost(stopped()),
            epoch: Epoch { cluster_id: CLUSTER, recoveries: 0 },
            survivor: Survivor { id: id("m1"), revision: 100 },
            mode: Mode::Propose,
            versions: [("m1".into(), "3.5.16".into())].into(),
            playbook: "aa",
        }
    }

    fn lost(m3: crate::domain::etcd::verdict::fixtures::Readings) -> Case {
        evidence().member("m1", up(100)).member("m2", gone(DataState::Missing)).member("m3", m3)
    }

    impl Inputs {
        fn digest(&self) -> String {
            let survivor = Some(self.survivor);
            let judgement = self.case.judge();
            digest(&judgement, self.epoch, survivor, self.mode, &self.versions, self.playbook)
        }
    }

    /// Rows: E25.
    #[test]
    fn each_listed_input_changes_it() {
        let mut seen = vec![inputs().digest()];
        let mut differs = |change: fn(&mut Inputs)| {
            let mut inputs = inputs();
            change(&mut inputs);
            let digest = inputs.digest();
            assert!(!seen.contains(&digest), "change {}", seen.len());
            seen.push(digest);
        };
        differs(|i| i.epoch.recoveries = 1);
        differs(|i| i.epoch.cluster_id = EtcdId(7));
        differs(|i| i.case = lost(stopped()).seen(&["m1", "m2", "m3", "m4", "m5"], 100));
        differs(|i| i.survivor.id = id("m2"));
        differs(|i| i.survivor.revision = 99);
        differs(|i| i.case = lost(gone(DataState::Empty)));
        differs(|i| i.case = lost(gone(DataState::Missing)));
        differs(|i| i.case = lost(stopped()).attested("m3", Time(NOW.0 + 1)));
        differs(|i| i.case = lost(up(100)));
        differs(|i| i.mode = Mode::Auto);
        differs(|i| _ = i.versions.insert("m1".into(), "3.5.17".into()));
        differs(|i| _ = i.versions.insert("m2".into(), "3.5.16".into()));
        differs(|i| i.playbook = "bb");
        assert_eq!(seen[0].len(), 64);
    }

    #[test]
    fn ages_latencies_terms_and_words_do_not_change_it() {
        let before = inputs().digest();
        let mut after = inputs();
        let case = &mut after.case;
        case.evidence.at = Time(NOW.0 + 9000);
        for member in case.evidence.members.values_mut() {
            (member.client.at, member.client.took_ms) = (Time(NOW.0 + 9000), 777);
            if let crate::domain::etcd::reading::Answer::Known(status) = &mut member.client.answer {
                status.raft_term += 5;
                status.db_size += 1;
            }
        }
        case.observed.as_mut().unwrap().no_leader_since = Some(NOW);
        case.held.insert("m1".into(), case.evidence.members["m1"].clone());
        assert_eq!(after.digest(), before);
    }

    /// A change of the shape voids approvals that wait: it must not happen by accident.
    #[test]
    fn the_shape_is_fixed() {
        let expected = "409462ce75ed071c15ab4cba7c88ae1dcffe77dc97fc35e70683cc7506c2ec04";
        assert_eq!(inputs().digest(), expected);
    }
}
