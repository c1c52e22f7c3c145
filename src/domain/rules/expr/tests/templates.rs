//! Strings with `${…}`: where they are split, what they are filled with, where they fail.

use super::{outcome, schema, stored, world};
use crate::domain::rules::expr::{
    EvalError, Template, Type, Value,
    template::{MAX_RESULT, Part, split},
};

/// Texts as `T:…`, expressions as `E:…`.
fn parts(source: &str) -> Vec<String> {
    let parts = split(source).unwrap_or_else(|problem| panic!("{source}: {problem}"));
    let show = |part| match part {
        Part::Text(text) => format!("T:{text}"),
        Part::Expr(span) => format!("E:{}", &source[span]),
    };
    parts.into_iter().map(show).collect()
}

fn fill(source: &str) -> String {
    match Template::compile(source, &schema()) {
        Ok(template) => outcome(stored(&template).fill(&world())),
        Err(problems) => {
            let shown = problems.iter().map(|found| format!("{:?} {found}", found.span));
            shown.collect::<Vec<_>>().join("; ")
        }
    }
}

#[test]
fn an_expression_ends_where_its_own_brackets_and_strings_say() {
    for (source, wanted) in [
        ("", vec!["T:"]),
        ("${a}", vec!["E:a"]),
        ("x${a}y", vec!["T:x", "E:a", "T:y"]),
        ("${a}${b}", vec!["E:a", "E:b"]),
        ("$${a}", vec!["T:${a}"]),
        ("$$${a}", vec!["T:$${a}"]),
        ("$a $", vec!["T:$a $"]),
        ("$${${a}", vec!["T:${", "E:a"]),
        ("${{'k': {'v': 1}}['k']}", vec!["E:{'k': {'v': 1}}['k']"]),
        ("${'}'}${\"}\\\"}\"}", vec!["E:'}'", "E:\"}\\\"}\""]),
        ("${r'\\'}!", vec!["E:r'\\'", "T:!"]),
        ("${'''a}'b'''}", vec!["E:'''a}'b'''"]),
        ("${'$${x}'}", vec!["E:'$${x}'"]),
        ("${a // }\n}", vec!["E:a // }\n"]),
        ("é${'🦀}'}é", vec!["T:é", "E:'🦀}'", "T:é"]),
    ] {
        assert_eq!(parts(source), wanted, "{source}");
    }
}

#[test]
fn a_string_that_does_not_close_is_refused_where_it_opens() {
    for (source, span, message) in [
        ("${a", 0..3, "${ is not closed"),
        ("x ${a", 2..5, "${ is not closed"),
        ("${{a}", 0..5, "${ is not closed"),
        ("x ${'a}", 4..7, "string not closed"),
        ("${'a\n'}", 2..4, "string not closed"),
        ("${\"\\", 3..4, "no such escape"),
        ("x${}", 1..4, "an empty ${}"),
        ("${ }", 0..4, "an empty ${}"),
    ] {
        let problem = split(source).unwrap_err();
        assert_eq!((problem.span, problem.message.as_str()), (span, message), "{source}");
    }
}

#[test]
fn a_lone_expression_keeps_its_type_and_others_become_text() {
    for (source, wanted) in [
        ("${etcd.voters}", "3"),
        ("n=${etcd.voters}", "\"n=3\""),
        ("${nodes.map(n, n)}", "[\"n1\",\"n2\"]"),
        ("${params.node}-x", "\"nX-x\""),
        (
            "${duration('90s')} since ${nodes['n1'].since}",
            "\"1m30s since 1970-01-01T00:06:40.000Z\"",
        ),
        ("plain $${text}", "\"plain ${text}\""),
        ("v=${params}", "! a map inside a longer string"),
        ("v=${etcd.verdict}", "? etcd.verdict"),
        ("é ${nodes.map(n, n)}", "5..20 a list of string inside a longer string"),
        ("é ${etcd.verdct}", "5..16 no field \"verdct\", did you mean \"verdict\"?"),
        ("${t +} ${1 +}", "5..5 a value was expected here; 12..12 a value was expected here"),
    ] {
        assert_eq!(fill(source), wanted, "{source}");
    }
    let ty = |source| Template::compile(source, &schema()).unwrap().ty();
    assert_eq!(ty("${etcd.voters}"), Type::Int);
    assert_eq!(ty("${etcd.voters} "), Type::Str);
    assert_eq!(ty("3"), Type::Str);
}

#[test]
fn a_template_knows_whether_it_is_literal_and_its_source() {
    let literal = Template::compile("a $${b}", &schema()).unwrap();
    assert_eq!((literal.is_literal(), literal.source()), (true, "a $${b}"));
    assert!(!Template::compile("a ${t}", &schema()).unwrap().is_literal());
}

#[test]
fn stops_point_into_the_whole_string() {
    let template = Template::compile("é v=${etcd.verdict}", &schema()).unwrap();
    let stop = template.fill(&world()).unwrap_err();
    assert_eq!(stop, EvalError::Unknown { path: "etcd.verdict".into(), span: 7..19 });
}

#[test]
fn a_result_over_its_limit_is_refused_whatever_it_is() {
    let mut world = world();
    let long = Value::str("x".repeat(MAX_RESULT));
    world.0.insert("params".into(), Value::map([("long", long)]));
    for (source, fits) in [
        ("${params.long}", true),
        ("x${params.long}", false),
        ("${[params.long, params.long]}", false),
        ("${{'a': params.long}}", false),
    ] {
        let result = Template::compile(source, &schema()).unwrap().fill(&world);
        assert_eq!(result.is_ok(), fits, "{source}");
    }
}

/// All expressions of one string share one fuel.
#[test]
fn many_expensive_expressions_spend_the_fuel_together() {
    let world = super::large_world();
    let one = "${size(nodes.filter(n, nodes[n].ready))} ";
    let filled = |times| Template::compile(&one.repeat(times), &schema()).unwrap().fill(&world);
    assert!(filled(1).is_ok());
    assert_eq!(filled(200), Err(EvalError::Spent));
}
