//! The catalogue: every action a playbook may name, as a value.
//!
//! `check`, plans, the schema and the reference page are made from it; no action exists that is
//! not a row here. What a row says about resuming and holding is what the engine does: it knows no
//! action by name. What it deliberately does not do: run anything.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use crate::domain::rules::{
    action::{ActionSpec, ArgSpec, ArgType, Catalogue, Class, OnResume},
    expr::Type,
};

/// Limit of one try of a read.
const READ: Duration = Duration::from_secs(30);
/// Limit of one try of a write.
const WRITE: Duration = Duration::from_mins(1);
/// Limit of one try of what copies or reads a whole data directory.
const BULK: Duration = Duration::from_mins(10);

/// All actions, by name.
pub fn catalogue() -> Catalogue {
    let rows =
        reads().into_iter().chain(data()).chain(membership()).chain(services()).chain(arguments());
    Arc::new(rows.map(|row| (row.name, row)).collect::<BTreeMap<_, _>>())
}

fn row(name: &'static str, class: Class, on_resume: OnResume, help: &'static str) -> ActionSpec {
    ActionSpec {
        name,
        help,
        args: Vec::new(),
        output: Type::record([]),
        class,
        on_resume,
        undo: None,
        holds: false,
        releases: false,
        builds: false,
        fences: false,
        chooses: false,
        timeout: if class == Class::Read { READ } else { WRITE },
    }
}

fn arg(name: &'static str, ty: ArgType, help: &'static str) -> ArgSpec {
    ArgSpec { name, ty, required: true, help }
}

fn optional(name: &'static str, ty: ArgType, help: &'static str) -> ArgSpec {
    ArgSpec { name, ty, required: false, help }
}

fn member() -> ArgSpec {
    arg("member", ArgType::Member, "The member; host, paths and service come from the inventory.")
}

/// An etcd id as the output has it: 16 hex digits.
const ID: Type = Type::Str;

fn reads() -> Vec<ActionSpec> {
    vec![
        ActionSpec {
            // The engine gives the `etcd` variable, the digest and the leader's name.
            output: Type::Any,
            ..row(
                "etcd.assess",
                Class::Read,
                OnResume::Rerun,
                "Looks at every member by every vantage and journals what was seen.",
            )
        },
        ActionSpec {
            args: vec![arg(
                "among",
                ArgType::Any,
                "Per member, the outputs of its etcd.snapshot and, where it was read by a copy, etcd.scratch_start.",
            )],
            output: chosen(),
            chooses: true,
            timeout: Duration::from_mins(2),
            ..row(
                "etcd.choose_survivor",
                Class::Read,
                OnResume::Rerun,
                "Chooses the member whose data a recovery starts from: one history, then the highest revision.",
            )
        },
        compare(),
        ActionSpec {
            args: vec![member()],
            output: Type::record([
                ("free_bytes", Type::Int),
                ("data_bytes", Type::Int),
                ("enough", Type::Bool),
            ]),
            ..row(
                "host.file.free_space",
                Class::Read,
                OnResume::Rerun,
                "Reads the free space for copies and data; enough is etcd.backups.min_free times the data.",
            )
        },
    ]
}

fn compare() -> ActionSpec {
    ActionSpec {
        args: vec![
            optional("cluster_id", ArgType::Id, "The cluster id that all must have."),
            optional("ids", ArgType::List(Box::new(ArgType::Id)), "The voters' ids, all of them."),
            optional(
                "members",
                ArgType::List(Box::new(ArgType::Member)),
                "The members to compare; all voters where it is not given.",
            ),
            optional(
                "sentinel_on",
                ArgType::Member,
                "The member that must answer by itself; every voter but the leader where it is not given.",
            ),
        ],
        output: Type::record([
            ("equal", Type::Bool),
            ("revision", Type::Int),
            ("hashes", Type::map(Type::Int)),
            ("cluster_ids", Type::list(ID)),
            ("ids", Type::list(ID)),
            ("sentinel_read", Type::Bool),
        ]),
        timeout: WRITE,
        ..row(
            "etcd.compare",
            Class::Read,
            OnResume::Rerun,
            "Compares the hash of all members' keys at one revision, their ids, and one key read node-locally.",
        )
    }
}

/// The output of `etcd.choose_survivor`.
fn chosen() -> Type {
    Type::record([
        ("member", Type::Str),
        ("id", ID),
        ("cluster_id", ID),
        ("revision", Type::Int),
        ("index", Type::Int),
        ("term", Type::Int),
        ("version", Type::Str),
        ("discarded", Type::Int),
        ("snapshot", Type::Str),
        ("others", Type::list(Type::Str)),
        (
            "candidates",
            Type::list(Type::record([
                ("member", Type::Str),
                ("revision", Type::Int),
                ("index", Type::Int),
                ("why_not", Type::Str),
            ])),
        ),
        ("last_seen", Type::record([("revision", Type::Int), ("at", Type::Time)])),
        ("loss", Type::record([("lower", Type::Int), ("upper", Type::Int)])),
    ])
}

fn place(name: &'static str, help: &'static str) -> ArgSpec {
    arg(name, ArgType::Place, help)
}

fn data() -> Vec<ActionSpec> {
    let mut rows = saving();
    rows.extend(moving());
    rows
}

fn saving() -> Vec<ActionSpec> {
    vec![
        ActionSpec {
            args: vec![
                member(),
                optional(
                    "of",
                    ArgType::Word(&["member", "scratch"]),
                    "Which process is read: the member itself (default) or its scratch copy.",
                ),
            ],
            output: Type::record([
                ("path", Type::Str),
                ("revision", Type::Int),
                ("hash", Type::Str),
                ("keys", Type::Int),
                ("bytes", Type::Int),
                ("sha256", Type::Str),
                ("of", Type::Str),
                ("member_id", ID),
                ("cluster_id", ID),
                ("version", Type::Str),
                ("index", Type::Int),
                ("term", Type::Int),
                ("hash_kv", Type::Int),
                ("compact_revision", Type::Int),
                ("why_not", Type::Str),
            ]),
            timeout: BULK,
            ..row(
                "etcd.snapshot",
                Class::Write,
                OnResume::Rerun,
                "Takes a snapshot through the member's API, without needing a leader, and verifies it.",
            )
        },
        ActionSpec {
            args: vec![member()],
            output: Type::record([
                ("pid", Type::Int),
                ("endpoint", Type::Str),
                ("cluster_id", ID),
                ("revision", Type::Int),
                ("commit_index", Type::Int),
                ("discarded", Type::Int),
            ]),
            undo: Some("etcd.scratch_stop"),
            ..row(
                "etcd.scratch_start",
                Class::Write,
                OnResume::Probe,
                "Starts the scratch copy of a stopped member alone on loopback, to be read and thrown away.",
            )
        },
        ActionSpec {
            args: vec![member()],
            ..row(
                "etcd.scratch_stop",
                Class::Write,
                OnResume::Rerun,
                "Ends the member's scratch process and removes the scratch copy.",
            )
        },
    ]
}

fn moving() -> Vec<ActionSpec> {
    vec![
        ActionSpec {
            args: vec![member(), place("to", "scratch or backup.")],
            output: Type::record([
                ("path", Type::Str),
                ("files", Type::Int),
                ("bytes", Type::Int),
                ("sha256", Type::Str),
            ]),
            timeout: BULK,
            ..row(
                "etcd.data_copy",
                Class::Write,
                OnResume::Rerun,
                "Copies the whole data directory of a stopped member and verifies the copy.",
            )
        },
        ActionSpec {
            args: vec![member(), place("to", "old, new or failed.")],
            output: Type::record([("path", Type::Str), ("moved", Type::list(Type::Str))]),
            undo: Some("etcd.data_in"),
            holds: true,
            fences: true,
            ..row(
                "etcd.data_out",
                Class::Write,
                OnResume::Probe,
                "Renames the data of a stopped member to a place of this run; nothing is deleted.",
            )
        },
        ActionSpec {
            args: vec![member(), place("from", "old, new or failed.")],
            output: Type::record([("path", Type::Str)]),
            undo: Some("etcd.data_out"),
            holds: true,
            ..row(
                "etcd.data_in",
                Class::Write,
                OnResume::Probe,
                "Renames data of a place of this run back to where the member looks for it.",
            )
        },
        ActionSpec {
            args: vec![
                member(),
                arg("snapshot", ArgType::Path, "A snapshot that etcd.snapshot took."),
                place("to", "new."),
                arg(
                    "bump",
                    ArgType::Int,
                    "Added to the revision, so that no client's cache is ahead.",
                ),
            ],
            output: Type::record([
                ("path", Type::Str),
                ("member_id", ID),
                ("cluster_id", ID),
                ("revision", Type::Int),
            ]),
            builds: true,
            timeout: BULK,
            ..row(
                "etcd.restore",
                Class::Write,
                OnResume::Rerun,
                "Builds a one-member data directory from a snapshot, beside the old one; its token is the run's id.",
            )
        },
    ]
}

fn membership() -> Vec<ActionSpec> {
    let id = || arg("id", ArgType::Id, "The member's id.");
    vec![
        ActionSpec {
            args: vec![member()],
            output: Type::record([("id", ID), ("initial_cluster", Type::Str)]),
            undo: Some("etcd.member_remove"),
            ..row(
                "etcd.member_add_learner",
                Class::Write,
                OnResume::Probe,
                "Adds the member to the cluster as a learner; it votes only once it is promoted.",
            )
        },
        ActionSpec {
            args: vec![id()],
            undo: Some("etcd.member_remove"),
            ..row("etcd.member_promote", Class::Write, OnResume::Probe, "Makes a learner a voter.")
        },
        ActionSpec {
            args: vec![id()],
            ..row(
                "etcd.member_remove",
                Class::Final,
                OnResume::Probe,
                "Removes a member by id; refuses a voter whose removal would break quorum.",
            )
        },
    ]
}

fn services() -> Vec<ActionSpec> {
    vec![
        ActionSpec {
            args: vec![member()],
            output: Type::record([("pid", Type::Int), ("started_at", Type::Time)]),
            undo: Some("host.service.stop"),
            releases: true,
            ..row(
                "host.service.start",
                Class::Write,
                OnResume::Probe,
                "Starts the member with the arguments in force; refused on empty data unless it joins an existing cluster.",
            )
        },
        ActionSpec {
            args: vec![member()],
            output: Type::record([
                ("pid", Type::Int),
                ("ended_by", Type::Word(&["term", "crash", "was_gone"])),
            ]),
            undo: Some("host.service.start"),
            holds: true,
            fences: true,
            timeout: Duration::from_secs(90),
            ..row(
                "host.service.stop",
                Class::Write,
                OnResume::Probe,
                "Stops the member with SIGTERM, never SIGKILL, and proves that its process is gone.",
            )
        },
        ActionSpec {
            args: vec![member()],
            undo: Some("host.service.unmask"),
            holds: true,
            fences: true,
            ..row(
                "host.service.mask",
                Class::Write,
                OnResume::Rerun,
                "Keeps the member from being started by anybody; without a mask command it changes nothing.",
            )
        },
        ActionSpec {
            args: vec![member()],
            undo: Some("host.service.mask"),
            ..row("host.service.unmask", Class::Write, OnResume::Rerun, "Takes a mask back.")
        },
    ]
}

fn arguments() -> Vec<ActionSpec> {
    vec![
        ActionSpec {
            args: vec![
                member(),
                arg(
                    "args",
                    ArgType::Map(Box::new(ArgType::Text)),
                    "Arguments without dashes, with their values.",
                ),
            ],
            output: Type::record([("residue", Type::list(Type::Str))]),
            undo: Some("host.service.reset_args"),
            ..row(
                "host.service.set_args",
                Class::Write,
                OnResume::Rerun,
                "Puts arguments in force for the member's next starts, until they are reset.",
            )
        },
        ActionSpec {
            args: vec![member()],
            ..row(
                "host.service.reset_args",
                Class::Write,
                OnResume::Rerun,
                "Puts the member's own arguments back in force.",
            )
        },
    ]
}

#[cfg(test)]
mod tests;
