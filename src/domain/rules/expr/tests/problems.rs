//! What is refused when a rule is loaded, where, and with which help.

use super::{expect, schema};
use crate::domain::rules::expr::{Expr, Problem};

fn problems(source: &str) -> Vec<Problem> {
    Expr::compile(source, &schema()).unwrap_err()
}

#[test]
fn names_and_fields_nobody_declared_are_refused() {
    expect(&[
        ("etcd.verdct == 'x'", "check: no field \"verdct\""),
        ("ectd.verdict == 'x'", "check: no variable \"ectd\""),
        ("undeclared || true", "check: no variable \"undeclared\""),
        ("nodes['n1'].redy", "check: no field \"redy\""),
        ("etcd.members.all(m, m.aliv)", "check: no field \"aliv\""),
        ("etcd.members.all(m, m.alive) && m.alive", "check: no variable \"m\""),
        ("etcd.members.all(etcd, true)", "check: \"etcd\" is the name of another variable"),
        ("open.all(now, true)", "check: \"now\" is the name of another variable"),
        ("open.all(x, open.all(x, true))", "check: \"x\" is the name of another variable"),
        ("open.all(x.y, true)", "check: a plain name was expected here"),
        ("f(1)", "check: no function \"f\""),
    ]);
}

#[test]
fn types_that_do_not_go_together_are_refused() {
    expect(&[
        ("1 == 'x'", "check: int == string has no meaning"),
        ("'a' * 3", "check: string * int has no meaning"),
        ("etcd.verdict == 3", "check: string == int has no meaning"),
        ("etcd.verdict == null", "check: string == null has no meaning"),
        ("etcd.voters + 1.0", "check: int + double has no meaning"),
        ("ledger.unhealthy_for > 300", "check: duration > int has no meaning"),
        ("now + now", "check: time + time has no meaning"),
        ("t < f", "check: bool < bool has no meaning"),
        ("nodes['n1'] == nodes['n2']", "check: record == record has no meaning"),
        ("open == open", "check: list of record == list of record has no meaning"),
        ("nodes['n1'] in [1]", "check: record in list of int has no meaning"),
        ("'x' in etcd", "check: string in record has no meaning"),
        ("'x' in [1]", "check: string in list of int has no meaning"),
        ("1 || t", "check: is int, wanted bool"),
        ("!etcd.voters", "check: is int, wanted bool"),
        ("-'a'", "check: is string, wanted int or double or duration"),
        ("t ? 1 : 'a'", "check: one branch is int, the other string"),
        ("size(nodes['n1'])", "check: record has no size"),
        ("nodes['n1'].all(x, true)", "check: record is neither a list nor a map"),
        ("etcd['verdict']", "check: record takes no index"),
        ("a[0]", "check: is int, wanted string"),
        ("etcd.voters.x", "check: int has no fields"),
        ("age(1)", "check: is int, wanted time"),
        ("hosts.of_node(3)", "check: is int, wanted string"),
        ("hosts.of_nod('n1')", "check: no function \"of_nod\""),
        ("has(1)", "check: has() takes the path of a reading"),
        ("has(hosts.of_node('x'))", "check: has() takes the path of a reading"),
        ("size()", "check: size does not take 0 argument(s)"),
    ]);
}

#[test]
fn words_outside_their_closed_list_are_refused_wherever_they_are_compared() {
    let help = "did you mean \"healthy\"?";
    for (source, at) in [
        ("etcd.verdict == \"helthy\"", "\"helthy\""),
        ("'helthy' != etcd.verdict", "'helthy'"),
        ("etcd.verdict in ['lost', 'helthy']", "'helthy'"),
        ("'helthy' in [etcd.verdict]", "'helthy'"),
        ("etcd.verdict == (t ? 'lost' : 'helthy')", "'helthy'"),
        ("(t ? etcd.verdict : etcd.verdict) == 'helthy'", "'helthy'"),
    ] {
        let found = &problems(source)[0];
        assert_eq!(found.message, "\"helthy\" is never a value here", "{source}");
        assert_eq!(found.help.as_deref(), Some(help), "{source}");
        assert_eq!(&source[found.span.clone()], at, "{source}");
    }
    expect(&[
        (
            "etcd.members[0].data == etcd.verdict",
            "check: never equal: present|empty|missing and healthy|degraded|lost|unknown share no word",
        ),
        ("etcd.verdict == 'lost'", "? etcd.verdict"),
        ("etcd.verdict == params.node", "? etcd.verdict"),
        ("etcd.verdict + '!' == 'lot!'", "? etcd.verdict"),
        ("etcd.verdict.startsWith('hel')", "? etcd.verdict"),
        ("etcd.verdict == api.verdict", "? etcd.verdict"),
    ]);
}

#[test]
fn durations_patterns_and_keys_are_literals_parsed_at_once() {
    expect(&[
        ("duration('x')", "check: \"x\" is no duration"),
        ("duration('9999999999999999d')", "check: \"9999999999999999d\" is longer than 3650d"),
        ("duration(params.node)", "check: a duration is a string literal"),
        ("'abc'.matches('[')", "check: bad pattern: unclosed character class"),
        ("'abc'.matches(params.node)", "check: a pattern is a string literal"),
        ("{'a': 1, 'a': 2}", "check: the key \"a\" is there twice"),
        ("{1: 2}", "check: the keys of a map are string literals"),
    ]);
    assert!(super::run("'abc'.matches('(\\\\w{50}){50}')").contains("size limit"));
}

#[test]
fn what_cel_has_and_quorate_has_not_is_refused() {
    expect(&[
        ("3u == 3", "check: there are no unsigned numbers"),
        ("optional.none()", "check: no variable \"optional\""),
        ("a.?b", "check: a field's name was expected here"),
        ("b'x'", "check: an operator or the end was expected here"),
        ("X{y: 1}", "check: an operator or the end was expected here"),
        (".a", "check: a value was expected here"),
        ("`a`", "check: unexpected character"),
    ]);
}

#[test]
fn three_loops_inside_one_another_are_refused() {
    expect(&[
        ("open.all(x, open.all(y, open.all(z, t)))", "check: more than 2 loops inside one another"),
        ("open.all(x, open.all(y, t)) && open.all(x, t) || t", "true"),
    ]);
}

#[test]
fn spans_count_bytes_and_help_is_given() {
    let found = &problems("'éé' == etcd.verdct")[0];
    assert_eq!(found.span, 10..21);
    assert_eq!(found.to_string(), "no field \"verdct\", did you mean \"verdict\"?");
    for (source, span, help) in [
        ("'éé' == == 1", 10..12, None),
        ("t &&", 4..4, None),
        ("t = f", 2..3, Some("equality is written ==")),
        ("nodes['x", 6..8, None),
        ("t é", 2..4, None),
        ("all(open, x)", 0..12, Some("it is written value.all(…)")),
        ("nodes.sise()", 0..12, Some("did you mean \"size\"?")),
        ("ledger.unhealthy_for > 300", 0..26, Some("a duration is written duration(\"5m\")")),
    ] {
        let found = &problems(source)[0];
        assert_eq!((found.span.clone(), found.help.as_deref()), (span, help), "{source}");
    }
}

#[test]
fn all_problems_of_an_expression_are_told_not_only_the_first() {
    let found = problems("etcd.verdct == 1 && nodes['x'].redy || 1 == 'x'");
    assert_eq!(found.len(), 3, "{found:?}");
}
