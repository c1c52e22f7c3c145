//! What expressions mean when readings are absent, and that arithmetic never panics.

use super::{expect, large_world, outcome, schema, stored};
use crate::domain::rules::expr::{EvalError, Expr};

#[test]
fn and_and_or_absorb_an_unknown_only_when_the_other_side_decides() {
    expect(&[
        ("a.b == 1", "? a.b"),
        ("a.b || t", "true"),
        ("t || a.b", "true"),
        ("a.b || f", "? a.b"),
        ("f || a.b", "? a.b"),
        ("a.b && f", "false"),
        ("f && a.b", "false"),
        ("a.b && t", "? a.b"),
        ("t && a.b", "? a.b"),
        ("!a.b", "? a.b"),
        ("a.b || a.c", "? a.b"),
        ("a.b ? 1 : 2", "? a.b"),
        ("t ? 1 : a.b", "1"),
        ("t ? a.b : 1", "? a.b"),
        ("nodes['nX'].ready || true", "true"),
    ]);
}

#[test]
fn an_unknown_outranks_an_error_and_a_deciding_side_outranks_both() {
    expect(&[
        ("a.b == 1 || 1/0 == 1", "? a.b"),
        ("1/0 == 1 || a.b == 1", "? a.b"),
        ("1/0 == 1 || t", "true"),
        ("1/0 == 1 || f", "! division by zero"),
        ("f || 1/0 == 1", "! division by zero"),
    ]);
}

#[test]
fn loops_are_decided_by_the_known_items_or_unknown() {
    expect(&[
        ("open.all(x, x.ready)", "? open.1.ready"),
        ("one_false.all(x, x.ready)", "false"),
        ("none_true.exists(x, x.ready)", "? none_true.1.ready"),
        ("open.exists(x, x.ready)", "true"),
        ("open.exists_one(x, x.ready)", "? open.1.ready"),
        ("open.filter(x, x.ready)", "? open.1.ready"),
        ("open.map(x, x.ready)", "? open.1.ready"),
        ("size(open.filter(x, has(x.ready) && x.ready)) == 2", "true"),
        ("[].all(x, x)", "true"),
        ("[].exists(x, x)", "false"),
        ("[1, 2, 3].exists_one(x, x > 2)", "true"),
        ("[1, 2, 3].map(x, x * x)", "[1,4,9]"),
        ("nodes.map(n, n) == ['n1', 'n2']", "true"),
        ("nodes.all(n, nodes[n].ready)", "false"),
        ("nodes.all(n, nodes[n].free > 1)", "? nodes.n2.free"),
        ("nodes.exists(n, nodes[n].free > 1)", "true"),
        ("steps.x.output.all(m, m == 'a')", "? steps"),
    ]);
}

#[test]
fn an_unread_root_list_or_index_is_unknown_and_named_with_its_values() {
    expect(&[
        ("api.verdict == 'up'", "? api"),
        ("etcd.verdict != \"healthy\"", "? etcd.verdict"),
        ("!(etcd.verdict == \"healthy\")", "? etcd.verdict"),
        ("etcd.verdict in ['lost']", "? etcd.verdict"),
        ("nodes[params.node].ready", "? nodes.nX"),
        ("nodes[params.ok].ready", "true"),
        ("nodes[params.ok].zone == 'z'", "? nodes.n1.zone"),
        ("nodes[params.gone].ready", "? params.gone"),
        ("etcd.members[7].alive", "? etcd.members.7"),
        ("etcd.members[-1].alive", "? etcd.members.-1"),
        ("etcd.members[0].alive", "true"),
        ("etcd.members[1].alive", "? etcd.members.1.alive"),
        ("etcd.members.all(m, m.alive)", "? etcd.members.1.alive"),
        ("etcd.members.filter(m, t).all(m, m.alive)", "? m.alive"),
        ("hosts[hosts.of_node('n1')].reachable", "true"),
        ("hosts[hosts.of_node('n9')].reachable", "? hosts.of_node(n9)"),
        ("hosts[hosts.of_member(params.node)].reachable", "? hosts.of_member(nX)"),
        ("cluster.labels.zone == 'a'", "? cluster.labels.zone"),
        ("cluster.labels['a.b/c'] == 'a'", "? cluster.labels.a.b/c"),
        ("'x' + etcd.survivor == 'x'", "? etcd.survivor"),
        ("1 in [a.b, 1]", "? a.b"),
        ("{'k': a.b}.k == 1", "? a.b"),
    ]);
}

#[test]
fn the_span_of_an_unknown_is_the_part_that_is_missing() {
    let source = "t && nodes['n2'].free > 3";
    let stop = Expr::compile(source, &schema()).unwrap().eval(&super::world()).unwrap_err();
    assert_eq!(stop.to_string(), "nodes.n2.free is not known");
    let EvalError::Unknown { span, .. } = stop else { panic!("{stop:?}") };
    assert_eq!(&source[span], "nodes['n2'].free");
}

#[test]
fn has_is_false_only_for_what_is_unknown() {
    expect(&[
        ("has(nodes[params.node].ready)", "false"),
        ("has(nodes[params.node])", "false"),
        ("has(nodes['n1'])", "true"),
        ("has(etcd.verdict)", "false"),
        ("has(etcd)", "true"),
        ("has(api)", "false"),
        ("has(api.verdict)", "false"),
        ("has(cluster.labels.zone)", "false"),
        ("has(nodes[string(1/0)])", "! division by zero"),
        ("params.node in nodes", "false"),
        ("'n1' in nodes", "true"),
    ]);
}

#[test]
fn numbers_compare_exactly_and_overflow_is_an_error() {
    expect(&[
        ("etcd.voters == 3.0", "true"),
        ("etcd.voters > 2.5", "true"),
        ("9007199254740993 == 9007199254740992.0", "false"),
        ("9223372036854775807 < 9223372036854775808.0", "true"),
        ("-9223372036854775808 >= -9223372036854775808.0", "true"),
        ("double(etcd.voters) + 1.0", "4.0"),
        ("etcd.voters * 2", "6"),
        ("params.n * 2", "6"),
        ("-7 / 2", "-3"),
        ("-7 % 2", "-1"),
        ("9223372036854775807 + 1", "! overflow"),
        ("-9223372036854775808 / -1", "! overflow"),
        ("-9223372036854775808 % -1", "! overflow"),
        ("-(-9223372036854775807 - 1)", "! overflow"),
        ("1/0", "! division by zero"),
        ("1%0", "! division by zero"),
        ("0.0 / 0.0 == 0.0 / 0.0", "false"),
        ("int(1e300)", "! not a whole number"),
        ("int(2.9) + int('40')", "42"),
        ("int('x')", "! not a whole number"),
        ("double('1.5')", "1.5"),
    ]);
}

#[test]
fn times_and_durations_calculate() {
    expect(&[
        ("duration('5m') < duration('1h')", "true"),
        ("duration('90s') == duration('1m30s')", "true"),
        ("-duration('90s')", "\"-1m30s\""),
        ("ledger.unhealthy_for > duration('5m')", "true"),
        ("ledger.attempts < 3", "? ledger.attempts"),
        ("age(nodes['n1'].since) >= duration('10m')", "true"),
        ("age(nodes['n2'].since) >= duration('10m')", "? nodes.n2.since"),
        ("now - duration('1s') < now", "true"),
        ("now - nodes['n1'].since", "\"10m\""),
        ("nodes['n1'].since + duration('1s')", "\"1970-01-01T00:06:41.000Z\""),
        ("string(duration('1h'))", "\"1h\""),
    ]);
}

#[test]
fn functions_answer_for_texts_lists_and_maps() {
    expect(&[
        ("quorum(etcd.voters)", "2"),
        ("quorum(0 - 1)", "! quorum of a negative number"),
        ("'é'.size() == 1 && size('é') == 1", "true"),
        ("size(nodes)", "2"),
        ("size([1, 2])", "2"),
        ("'abc'.matches('a.c')", "true"),
        ("'abc'.startsWith('ab') && 'abc'.endsWith('bc') && 'abc'.contains('b')", "true"),
        ("'a' + 'b'", "\"ab\""),
        ("[1] + [2]", "[1,2]"),
        ("string(1.5) + string(true)", "\"1.5true\""),
        ("{'b': 1, 'a': [null]}", "{\"a\":[null],\"b\":1}"),
        ("{'a': [1, 2.0]} == {'a': [1.0, 2]}", "true"),
        ("params.n.x", "! int has no fields"),
        ("params[0]", "! map indexed by int"),
        ("params.n || t", "true"),
        ("params.n || f", "! is int, wanted bool"),
    ]);
}

/// Fuel is spent within bounded work, whatever the loop does, and nothing absorbs that.
#[test]
fn two_loops_over_five_thousand_nodes_spend_the_fuel_and_one_does_not() {
    let long = "x".repeat(60_000);
    let mut world = large_world();
    let params = crate::domain::rules::expr::Value::map([(
        "long",
        crate::domain::rules::expr::Value::str(long),
    )]);
    world.0.insert("params".into(), params);
    let shared =
        format!("nodes.map(n, n).all(s, [[{0}]].all(x, [{1}] == [{1}]))", "'a', s", "x, x");
    for (source, wanted) in [
        ("nodes.all(n, nodes[n].ready)", "true"),
        ("size(nodes.filter(n, !nodes[n].ready && nodes[n].free > 0)) == 0", "true"),
        ("nodes.all(n, n.matches('^node-[0-9]+$'))", "true"),
        (shared.as_str(), "true"),
        ("nodes.all(x, nodes.all(y, x == x))", "spent"),
        ("nodes.all(x, nodes.all(y, x == x)) || t", "spent"),
        ("t && nodes.all(x, nodes.all(y, x == x)) && f", "spent"),
        ("size(nodes.map(x, nodes.map(y, x + y))) > 0", "spent"),
        ("nodes.all(x, params.long == params.long)", "spent"),
        ("nodes.all(x, !params.long.matches('(y|z)+$'))", "spent"),
        ("[nodes.map(n, n)].all(x, [[x, x, x]].all(y, [y, y, y] == [y, y, y]))", "true"),
        (
            "[nodes.map(n, n)].all(x, [[x,x,x,x,x,x,x,x]].all(y, \
             [y,y,y,y,y,y,y,y,y,y,y,y,y,y,y,y,y,y,y,y,y,y,y,y,y,y] \
             == [y,y,y,y,y,y,y,y,y,y,y,y,y,y,y,y,y,y,y,y,y,y,y,y,y,y]))",
            "spent",
        ),
    ] {
        let expr = stored(&Expr::compile(source, &schema()).unwrap());
        assert_eq!(outcome(expr.eval(&world)), wanted, "{source}");
    }
}
