//! Texts made to break a parser: nothing panics, and nothing exhausts a small stack in a debug
//! build.

use super::{run, schema, stored, world};
use crate::domain::rules::expr::{Expr, MAX_SOURCE, template::split};

/// Runs on a stack of its own size; a panic or an exhausted stack fails the test.
fn on_stack(kib: usize, work: impl FnOnce() + Send + 'static) {
    let thread = std::thread::Builder::new().stack_size(kib << 10).spawn(work).unwrap();
    thread.join().unwrap();
}

fn around(open: &str, times: usize, inside: &str, close: &str) -> String {
    format!("{}{inside}{}", open.repeat(times), close.repeat(times))
}

#[test]
fn long_and_deep_texts_are_answered_not_crashed_on() {
    let n = MAX_SOURCE;
    let mut texts = vec![
        around("(", 2000, "1", ")"),
        around("!(", 1300, "t", ")"),
        around("a[", 1300, "0", "]"),
        around("f(", 1300, "1", ")"),
        around("has(", 800, "a.b", ")"),
        around("[1].all(x,", 370, "t", ")"),
        format!("{}t", "!".repeat(n - 1)),
        format!("{}1", "-".repeat(n - 1)),
        format!("a{}", ".b".repeat(2000)),
        format!("a{}", "[0]".repeat(1300)),
        format!("a{}", ".f()".repeat(1000)),
        format!("[1]{}", ".map(x,x)".repeat(440)),
        format!("1{}", "+1".repeat(2040)),
        format!("1{}", "==1".repeat(1300)),
        format!("t{}", "||t".repeat(1300)),
        format!("t{}", "&&t".repeat(1300)),
        format!("{}1", "t?1:".repeat(1000)),
        format!("[{}1]", "1,".repeat(2000)),
        format!("({})", " ".repeat(n)),
    ];
    texts.extend(["(", "[", "{", "'", "@", "\\", "\0"].map(|text| text.repeat(n)));
    texts.push("🦀".repeat(1000));
    on_stack(2048, move || {
        for text in texts {
            let _outcome = run(&text);
            let _split = split(&format!("${{{text}}}")).is_ok();
        }
    });
}

#[test]
fn odd_texts_are_refused_or_answered() {
    for text in [
        "",
        " ",
        "//",
        "\n\n\n(",
        "a.",
        ".a",
        "x{y:1}",
        "'a' 'b'",
        "b'x'",
        "`a`",
        "'\\u'",
        "'\\U00110000'",
        "'\\xé'",
        "99999999999999999999",
        "9223372036854775808",
        "1e999",
        "0x",
        "0xFFFFFFFFFFFFFFFFF",
        "has()",
        "has(1)",
        "[].all()",
        "[].all(1,2)",
        "all(x,y)",
        "duration()",
        "duration('9999999999999h')",
        "quorum()",
        "\u{feff}t",
    ] {
        assert!(run(text).starts_with("check: "), "{text:?}: {}", run(text));
    }
    assert_eq!(run("t\r\n&& f"), "false");
    assert_eq!(run("-9223372036854775808"), "-9223372036854775808");
    assert_eq!(run("'a\\x41\\101\\u00e9\\n'"), "\"aAAé\\n\"");
    assert_eq!(run("'''a'b\r\nc'''"), "\"a'b\\nc\"");
    assert_eq!(run("t // the end"), "true");
}

/// Everything the bounds let through is compiled, evaluated and dropped on a quarter of a
/// worker's stack.
#[test]
fn the_deepest_expressions_that_pass_fit_on_a_small_stack() {
    let deepest = [
        around("(", 46, "1", ")"),
        around("!(", 47, "t", ")"),
        around("[", 47, "t", "]"),
        around("{'k':", 47, "t", "}"),
        around("string(", 47, "t", ")"),
        around("t ? 1 : (", 23, "1", ")"),
        format!("1{}", "+1".repeat(96)),
        format!("{}1{}", "1+(".repeat(47), ")".repeat(47)),
        format!("{}1{}{}", "(".repeat(47), "+1".repeat(96), ")".repeat(47)),
        format!("{}1{}{}", "1+(".repeat(47), "+1".repeat(96), ")".repeat(47)),
        format!("{}t{}", "(t||f&&".repeat(47), ")".repeat(47)),
        format!("params{}", ".b".repeat(96)),
        format!("{}'b'{}", "params[".repeat(47), "]".repeat(47)),
    ];
    on_stack(512, move || {
        for text in &deepest {
            let expr = Expr::compile(text, &schema());
            let expr = expr.unwrap_or_else(|problems| panic!("{text}: {}", problems[0]));
            let _outcome = stored(&expr).eval(&world());
        }
    });
}

#[test]
fn bounds_are_told_by_name() {
    for (text, wanted) in [
        (" ".repeat(4097), "check: an expression has at most 4096 bytes"),
        (around("(", 49, "1", ")"), "check: nested deeper than 48"),
        (format!("1{}", "+1".repeat(97)), "check: more than 96 operators in a row"),
        (format!("a{}", ".b".repeat(97)), "check: more than 96 selections in a row"),
        (
            format!("{}1{}", "(".repeat(20), format!("{})", "+1".repeat(20)).repeat(20)),
            "check: operators nested deeper than 144",
        ),
    ] {
        assert_eq!(run(&text), wanted, "{text}");
    }
    assert_eq!(run(&around("(", 47, "1", ")")), "1");
    assert_eq!(run(&format!("t{}", "&&t".repeat(1300))), "true");
}
