//! One small file per diagnostic, with its place.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    Rules,
    action::{ActionSpec, ArgSpec, ArgType, Catalogue, Changes, OnResume},
    codes,
    expr::Type,
    load,
};

mod calls;
mod playbooks;
mod responses;

/// A catalogue that has one of everything.
pub(crate) fn catalogue() -> Catalogue {
    let base = |name, changes, args: &[(&'static str, ArgType, bool)]| ActionSpec {
        args: args
            .iter()
            .map(|(name, ty, required)| ArgSpec {
                name,
                ty: ty.clone(),
                required: *required,
                help: "for tests",
            })
            .collect(),
        output: Type::record([
            ("id", Type::Str),
            ("revision", Type::Int),
            ("member_id", Type::Str),
        ]),
        ..ActionSpec::new(name, changes, OnResume::Rerun, "For tests.")
    };
    let member = ("member", ArgType::Member, true);
    let rows = [
        base("etcd.look", Changes::Nothing, &[]),
        base("etcd.add", Changes::Membership, std::slice::from_ref(&member)),
        base("etcd.out", Changes::Data, &[member.clone(), ("to", ArgType::Place, true)]),
        ActionSpec {
            is_final: true,
            ..base("etcd.remove", Changes::Membership, &[("id", ArgType::Id, true)])
        },
        ActionSpec {
            chooses: true,
            ..base("etcd.choose_survivor", Changes::Nothing, &[("among", ArgType::Any, true)])
        },
        base(
            "etcd.args",
            Changes::Service,
            &[
                member,
                ("args", ArgType::Map(Box::new(ArgType::Text)), true),
                ("bump", ArgType::Int, false),
            ],
        ),
        ActionSpec {
            fences: true,
            ..base(
                "host.stop",
                Changes::Service,
                &[
                    ("member", ArgType::Member, false),
                    ("host", ArgType::Host, false),
                    ("service", ArgType::Text, false),
                ],
            )
        },
    ];
    Arc::new(rows.into_iter().map(|row| (row.name, row)).collect::<BTreeMap<_, _>>())
}

/// Loads one file and compares its problems: id, line, column.
#[track_caller]
pub(super) fn check(text: &str, expected: &[(&str, usize, usize)]) -> Rules {
    let files = [("a.yaml".to_owned(), text.to_owned())];
    let (rules, found) = load(&files, &catalogue());
    let places: Vec<_> = found.iter().map(|found| (found.id, found.line, found.column)).collect();
    assert_eq!(places, expected, "{text}\n{found:#?}");
    for found in &found {
        let known = codes::ALL.iter().find(|code| code.id == found.id);
        assert_eq!(known.map(|code| code.severity), Some(found.severity));
    }
    rules
}

#[test]
fn names_are_unique_over_files_and_both_places_are_named() {
    let playbook = playbooks::with_steps("    - {name: look, etcd.look: {}}\n");
    let files = [("a.yaml".to_owned(), playbook.clone()), ("b.yaml".to_owned(), playbook)];
    let (rules, found) = load(&files, &catalogue());
    assert_eq!(rules.playbooks.len(), 1);
    let found: Vec<_> =
        found.iter().map(|one| (one.id, one.file.as_str(), one.message.as_str())).collect();
    assert_eq!(found, [("Q303", "b.yaml", "there is a playbook `p` already, at a.yaml:3:18")]);
}

#[test]
fn a_file_holds_several_documents_and_each_problem_is_told() {
    let good = playbooks::with_steps("    - {name: look, etcd.look: {}}\n");
    let text = format!(
        "{good}---\nkind: Playbook\n---\n# nothing\n---\n{}",
        good.replace("name: p,", "name: q,")
    );
    let rules = check(&text, &[("Q102", 10, 1), ("Q102", 10, 1), ("Q102", 10, 1)]);
    assert_eq!(rules.playbooks.len(), 2);
    assert!(rules.playbooks["p"].text.starts_with("apiVersion"));
    let alone = check(&rules.playbooks["q"].text, &[]);
    assert_eq!(alone.playbooks["q"].digest, rules.playbooks["q"].digest);
}

#[test]
fn the_head_says_what_a_document_is() {
    let good = playbooks::with_steps("    - {name: look, etcd.look: {}}\n");
    check(&good.replace("quorate/v1", "quorate/v2"), &[("Q109", 1, 13)]);
    check(&good.replace("kind: Playbook", "kind: Playbok"), &[("Q109", 2, 7)]);
    check(&good.replace("kind: Playbook", "kind: Scenario"), &[("Q108", 2, 7)]);
    check(&good.replace("name: p,", "name: P,"), &[("Q105", 3, 18)]);
    check(&good.replace("metadata", "metdata"), &[("Q102", 1, 1), ("Q101", 3, 1)]);
    check("- 1\n", &[("Q103", 1, 1)]);
    check("a: [\n", &[("Q001", 1, 4)]);
}
