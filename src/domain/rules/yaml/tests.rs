//! Values and places of YAML texts, well-formed and hostile.

use super::{Kind, Node, ScalarValue, documents, locate};
use crate::domain::rules::diagnostic::position;

fn root(text: &str) -> Node {
    let (documents, problems) = documents(text);
    assert_eq!(problems, [], "{text}");
    documents.into_iter().next().unwrap().root
}

#[track_caller]
fn check(text: &str, expected: &[(&str, usize, usize)]) {
    let (_, problems) = documents(text);
    let found: Vec<_> = problems
        .iter()
        .map(|(code, span, ..)| {
            let (line, column) = position(text, span.start);
            (code.id, line, column)
        })
        .collect();
    assert_eq!(found, expected, "{text}\n{problems:?}");
}

#[test]
fn what_is_no_good_yaml_is_said_with_its_place() {
    check("a: 1\nb: [1, 2\nc: 3\n", &[("Q001", 3, 2)]);
    check("a: 1\nb: 2\na: 3\nc: {x: 1, x: 2}\n", &[("Q002", 4, 11), ("Q002", 3, 1)]);
    check("a: &x 1\nb: *x\n", &[("Q003", 2, 4)]);
    check("a: &x {b: 1}\nc: {<<: *x}\n", &[("Q003", 2, 5)]);
    check(
        "a: [&x {b: 1}, &y {c: 1}]\nd:\n  <<: [*x, *y]\n",
        &[("Q003", 3, 3), ("Q003", 3, 8), ("Q003", 3, 12)],
    );
    check("a: {'<<': 1}\n", &[]);
    check("when: !ready\n", &[("Q004", 1, 7)]);
    check("x:\n  - when: !etcd.members[m].serving\n", &[("Q004", 2, 11)]);
    check("a: {m: ${m}, n: \"${n}\"}\nb: [${x}]\n", &[("Q005", 1, 8), ("Q005", 2, 5)]);
    check(&format!("{}1{}", "[".repeat(40), "]".repeat(40)), &[("Q006", 1, 33)]);
    check(&"- 1\n".repeat(super::NODES_MAX), &[("Q006", super::NODES_MAX - 2, 3)]);
    check(&" ".repeat(super::FILE_BYTES_MAX + 1), &[("Q006", 1, 1)]);
    check("? [a]\n: 1\n", &[("Q007", 1, 3)]);
    check("a: 'not closed\n", &[("Q001", 2, 1)]);
}

#[test]
fn hints_pass_over_quotes_comments_and_blocks() {
    let fine = "a: '{x: ${y}}' # {${z}}\nb: >-\n  {${x}}\n  when: !x\nc: x ! y ${z}\nd: {e: 'it''s', f: \"!x\"}\n";
    check(fine, &[]);
    check(&format!("{fine}g: {{h: ${{i}}}}\n"), &[("Q005", 7, 8)]);
}

#[test]
fn scalars_have_the_values_of_yaml() {
    let node = root(
        "a: 1\nb: true\nc: y\nd: '1'\ne: 1.5\nf:\ng: 30s\nh: >-\n  x\n  y\ni: |\n  x\n   y\nj: 010\n",
    );
    let Kind::Map(pairs) = &node.kind else { panic!() };
    let values: Vec<_> = pairs
        .iter()
        .map(|(_, node)| match &node.kind {
            Kind::Scalar(value, _) => value.clone(),
            Kind::Seq(_) | Kind::Map(_) => panic!("{node:?}"),
        })
        .collect();
    let text = |text: &str| ScalarValue::Str(text.into());
    assert_eq!(values[0], ScalarValue::Int(1));
    assert_eq!(values[1], ScalarValue::Bool(true));
    assert_eq!(values[2..4], [text("y"), text("1")]);
    assert_eq!(values[4..6], [ScalarValue::Float(1.5), ScalarValue::Null]);
    assert_eq!(values[6..9], [text("30s"), text("x y"), text("x\n y\n")]);
    assert_eq!(values[9], text("010"));
}

#[test]
fn several_documents_keep_their_comments() {
    let text = "# one\na: 1\n---\n# two\nb: 2\n";
    let (documents, problems) = documents(text);
    assert!(problems.is_empty());
    let texts: Vec<_> = documents.iter().map(|document| &text[document.span.clone()]).collect();
    assert_eq!(texts.len(), 2);
    assert!(texts[0].contains("# one") && texts[0].contains("a: 1"), "{texts:?}");
    assert!(texts[1].contains("# two") && texts[1].contains("b: 2"), "{texts:?}");
}

#[track_caller]
fn check_place(text: &str, wanted: &str) {
    let node = root(text);
    let node = node.get("a").unwrap();
    let value = node.as_str().unwrap();
    let at = value.find(wanted).unwrap();
    let place = locate(text, node, &(at..at + wanted.len()));
    let found = &text[place.clone()];
    let squeezed = found.split_whitespace().collect::<Vec<_>>().join(" ");
    let expected = wanted.split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(squeezed, expected, "{text} {place:?}");
}

#[test]
fn places_in_values_are_found_in_the_file() {
    check_place("a: x && yy\n", "yy");
    check_place("a: 'x && yy'\n", "yy");
    check_place("a: \"x && yy\"\n", "yy");
    check_place("a: 'it''s yy'\n", "yy");
    check_place("a: \"it\\\"s \\u00e4 yy\"\n", "yy");
    check_place("a: >-\n    x &&\n    zz\n    && yy.b\nb: 1\n", "yy.b");
    check_place("a: >-\n    x &&\n      zz\n    && yy.b\nb: 1\n", "zz");
    check_place("a: |\n    x &&\n      zz\n    && yy.b\nb: 1\n", "zz\n&& yy");
    check_place("a: x\n  and yy\n", "yy");
    check_place("b:\n- 1\na: >-\n  ä yy\n", "yy");
    check_place("a: \"x\n   \\\n   yy\"\n", "yy");
}

#[test]
fn a_place_behind_the_end_is_the_end() {
    let text = "a: 'x &&'\nb: 1\n";
    let node = root(text);
    assert_eq!(locate(text, node.get("a").unwrap(), &(4..4)), 8..8);
}
