//! What is read of an action's output beside expressions: only what its row declares.

use super::{action::ActionSpec, expr::Value};
use crate::domain::base::id::{EtcdId, MemberName};

/// What an action that chooses the survivor chose. Its bounds of the loss were drawn while the old
/// epoch was the last one seen, so they stay true after the rebuilt member was seen too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The survivor.
    pub member: MemberName,
    /// Its id in the old cluster.
    pub id: EtcdId,
    /// The revision that is kept.
    pub revision: i64,
    /// Its version, where it was told.
    pub version: Option<String>,
    /// Entries that etcd logged as discarded when it was read by a copy.
    pub discarded: Option<u64>,
    /// The highest revision ever seen.
    pub last_seen: Option<i64>,
    /// At least so many revisions are lost.
    pub lower: u64,
    /// At most so many; `None` is unknown.
    pub upper: Option<u64>,
}

impl Choice {
    /// Reads what expressions see of it; `None` where it is no choice.
    pub fn read(output: &Value) -> Option<Self> {
        let count = |value: &Value| value.as_int().and_then(|count| u64::try_from(count).ok());
        let bound = |name: &str| output.get("loss")?.get(name).and_then(count);
        Some(Self {
            member: output.get("member")?.as_str()?.into(),
            id: id(output, "id")?,
            revision: output.get("revision")?.as_int()?,
            version: output.get("version").and_then(Value::as_str).map(str::to_owned),
            discarded: output.get("discarded").and_then(count),
            last_seen: output.get("last_seen").and_then(|seen| seen.get("revision")?.as_int()),
            lower: bound("lower").unwrap_or(0),
            upper: bound("upper"),
        })
    }
}

impl ActionSpec {
    /// The choice, of an action that chooses.
    pub fn choice(&self, output: &Value) -> Option<Choice> {
        Choice::read(output).filter(|_| self.chooses)
    }

    /// The cluster that was built, of an action that builds one.
    pub fn cluster_built(&self, output: &Value) -> Option<EtcdId> {
        id(output, "cluster_id").filter(|_| self.builds)
    }

    /// Whether all members hold the same, of an action that proves it.
    pub fn proof(&self, output: &Value) -> Option<bool> {
        output.get("equal")?.as_bool().filter(|_| self.proves)
    }
}

/// The id of a member that was rebuilt, as the output of what built it names it.
pub fn rebuilt_member(output: &Value) -> Option<EtcdId> {
    id(output, "member_id")
}

fn id(output: &Value, field: &str) -> Option<EtcdId> {
    EtcdId::parse(output.get(field)?.as_str()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::rules::action::{Changes, OnResume};

    fn choice() -> Value {
        Value::map([
            ("member", Value::str("m1")),
            ("id", Value::str("00000000000000a1")),
            ("revision", Value::Int(9)),
            ("discarded", Value::Int(-1)),
            ("last_seen", Value::map([("revision", Value::Int(12))])),
            ("loss", Value::map([("lower", Value::Int(3))])),
        ])
    }

    #[test]
    fn an_unknown_bound_is_absent_and_a_choice_without_its_survivor_is_none() {
        let read = Choice::read(&choice()).unwrap();
        assert_eq!((read.lower, read.upper, read.last_seen), (3, None, Some(12)));
        assert_eq!((read.discarded, read.version), (None, None));
        assert_eq!(Choice::read(&Value::map([("revision", Value::Int(9))])), None);
    }

    #[test]
    fn an_output_means_what_its_row_declares_and_nothing_else() {
        let row = ActionSpec::new("etcd.x", Changes::Nothing, OnResume::Rerun, "X.");
        let output = Value::map([
            ("cluster_id", Value::str("00000000000000c1")),
            ("equal", Value::Bool(true)),
        ]);
        assert_eq!((row.cluster_built(&output), row.proof(&output)), (None, None));
        assert_eq!(row.choice(&choice()), None);
        let row = ActionSpec { builds: true, proves: true, chooses: true, ..row };
        assert_eq!(row.cluster_built(&output), Some(EtcdId(0xc1)));
        assert_eq!(row.proof(&output), Some(true));
        assert!(row.choice(&choice()).is_some());
    }
}
