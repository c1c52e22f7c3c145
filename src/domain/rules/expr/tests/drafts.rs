//! The expressions of the shipped responses and playbooks compile against a schema shaped like
//! the documented variables, and mean what they should on a small lost cluster.

use std::collections::BTreeMap;

use serde_json::json;

use super::{Fixed, outcome, stored};
use crate::domain::rules::{
    expr::{Expr, Schema, Template, Type, Value},
    vocabulary,
};

fn response() -> Schema {
    vocabulary::response_schema(["quorum", "not_ready"], ["cluster", "node"])
}

fn playbook() -> Schema {
    let params = Type::record([
        ("node", Type::Str),
        ("member", Type::Str),
        ("bump", Type::Int),
        ("max_lag", Type::Int),
        ("with_etcd", Type::Bool),
    ]);
    let output = |ty: Type| Type::record([("output", ty)]);
    let added = || Type::record([("id", Type::Str), ("initial_cluster", Type::Str)]);
    let rejoined = Type::map(Type::record([("add", added())]));
    let compared = Type::record([("equal", Type::Bool), ("sentinel_read", Type::Bool)]);
    let steps = Type::record([
        ("save", output(Type::map(Type::record([("snapshot", Type::Any)])))),
        ("space", output(Type::record([("enough", Type::Bool)]))),
        ("fence", output(Type::map(Type::record([])))),
        ("add", output(added())),
        ("leader", output(Type::record([("leader", Type::Str)]))),
        ("rejoin", output(rejoined)),
        ("compare", output(compared)),
    ]);
    let chosen = Type::record([
        ("member", Type::Str),
        ("revision", Type::Int),
        ("snapshot", Type::Str),
        ("others", Type::list(Type::Str)),
    ]);
    let restored = Type::record([
        ("member_id", Type::Str),
        ("cluster_id", Type::Str),
        ("revision", Type::Int),
    ]);
    vocabulary::playbook_schema(params)
        .with("steps", steps)
        .with("chosen", chosen)
        .with("restored", restored)
        .with("self", output(added()))
        .with("m", Type::Str)
}

#[track_caller]
fn compiles(schema: &Schema, conditions: &[&str]) {
    for source in conditions {
        let found = Expr::compile_bool(source, schema);
        let expr = found.unwrap_or_else(|problems| panic!("{source}: {}", problems[0]));
        stored(&expr);
    }
}

#[test]
fn conditions_of_responses_compile() {
    compiles(
        &response(),
        &[
            "signals.quorum.firing > 0",
            "signals.not_ready.firing > 0",
            "etcd.verdict == \"lost\"",
            "nodes.all(n, nodes[n].lease_fresh)",
            "cluster.etcd.layout == \"hosts\"",
            "api.verdict == \"up\" && nodes[subject.node].verdict in [\"not_ready\", \"unreachable\"]",
        ],
    );
}

#[test]
fn conditions_of_playbooks_compile() {
    compiles(
        &playbook(),
        &[
            "!etcd.members[m].serving",
            "etcd.members[m].held",
            "etcd.members[m].learner",
            "steps.space.output.enough",
            "chosen.others.all(x, x in steps.fence.output
            || etcd.members[x].permanence in [\"host_off\", \"fenced\", \"attested\"])",
            "etcd.members[chosen.member].held
            || etcd.members[chosen.member].revision == chosen.revision",
            "size(etcd.voters) == 1 && etcd.members[chosen.member].leader
            && etcd.members[chosen.member].id == restored.member_id
            && etcd.members[chosen.member].revision >= restored.revision",
            "etcd.members[m].revision + params.max_lag >= etcd.members[chosen.member].revision",
            "m in etcd.voters && etcd.members[m].alive",
            "steps.compare.output.equal && steps.compare.output.sentinel_read",
            "etcd.verdict == \"healthy\" && size(etcd.voters) == size(chosen.others) + 1",
            "etcd.verdict == \"degraded\" && params.member in etcd.voters
            && !etcd.members[params.member].alive && has(etcd.members[params.member].permanence)
            && hosts[hosts.of_member(params.member)].reachable",
            "etcd.voters.filter(v, etcd.members[v].alive).size() >= quorum(size(etcd.voters))
            && etcd.voters.filter(v, etcd.members[v].alive).size()
            >= quorum(size(etcd.voters) - 1)",
            "etcd.members[params.member].revision + params.max_lag
            >= etcd.members[steps.leader.output.leader].revision",
            "api.verdict == \"up\" && !(params.node in nodes)
            && (!params.with_etcd
                || (etcd.verdict == \"healthy\" && !(params.member in etcd.voters)))",
            "params.with_etcd",
            "etcd.voters.all(v, etcd.members[params.member].revision + params.max_lag
            >= etcd.members[v].revision)",
            "nodes[params.node].ready && (!params.with_etcd || etcd.verdict == \"healthy\")",
            "api.verdict == \"up\" && !nodes[params.node].deleting
            && nodes[params.node].verdict in [\"not_ready\", \"unreachable\"]",
        ],
    );
}

#[test]
fn strings_of_playbooks_compile_with_their_types() {
    let names = || Type::list(Type::Str);
    let schema = playbook();
    for (source, wanted) in [
        ("${m}", Type::Str),
        ("${etcd.members[m].held ? 'scratch' : 'member'}", Type::Str),
        ("${hosts.of_member(params.member)}", Type::Str),
        ("${hosts.of_node(params.node)}", Type::Str),
        ("${params.bump}", Type::Int),
        ("${self.output.id}", Type::Str),
        ("${steps.add.output.initial_cluster}", Type::Str),
        ("${chosen.member} lacks room for a copy and a restored directory.", Type::Str),
        (
            "${[restored.member_id] + steps.rejoin.output.map(x, steps.rejoin.output[x].add.id)}",
            names(),
        ),
        ("${chosen.others.filter(x, hosts[hosts.of_member(x)].reachable)}", names()),
        ("${[params.member]}", names()),
    ] {
        let template = Template::compile(source, &schema);
        let template = template.unwrap_or_else(|problems| panic!("{source}: {}", problems[0]));
        assert_eq!(template.ty(), wanted, "{source}");
        stored(&template);
    }
    let record = Template::compile("${chosen}", &schema).unwrap();
    assert!(matches!(record.ty(), Type::Record(_)));
}

#[test]
fn the_best_members_are_saved_and_an_unread_one_stops_the_choice() {
    let source = "etcd.members.filter(x, (etcd.members[x].alive || (has(etcd.members[x].data) \
                  && etcd.members[x].data == \"present\")) && !etcd.members[x].learner)";
    let expr = Expr::compile(source, &playbook()).unwrap();
    let with = |m3: serde_json::Value| {
        let members = json!({
            "m1": {"alive": true, "learner": false},
            "m2": {"alive": false, "learner": false, "data": "present"},
            "m3": m3,
        });
        let etcd = Value::from_json(&json!({"verdict": "lost", "members": members})).unwrap();
        outcome(expr.eval(&Fixed(BTreeMap::from([("etcd".into(), etcd)]))))
    };
    assert_eq!(with(json!({"alive": false})), "[\"m1\",\"m2\"]");
    assert_eq!(with(json!({"alive": true, "learner": true})), "[\"m1\",\"m2\"]");
    assert_eq!(with(json!({"alive": true})), "? etcd.members.m3.learner");
    assert_eq!(with(json!({"learner": true})), "[\"m1\",\"m2\"]");
    assert_eq!(with(json!({"learner": false})), "? etcd.members.m3.alive");
}
