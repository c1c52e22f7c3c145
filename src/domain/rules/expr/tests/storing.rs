//! Stored trees: what is read back is the same, and what is no tree is refused.

use proptest::prelude::*;

use super::{schema, stored, world};
use crate::domain::rules::expr::{
    Expr, Template, Value,
    stored::{exact, exact_map},
};

#[test]
fn a_tree_is_stored_with_its_source_and_without_its_type() {
    let expr = Expr::compile("etcd.voters > 2 && t", &schema()).unwrap();
    let json = serde_json::to_string(&expr).unwrap();
    let expected = concat!(
        r#"{"source":"etcd.voters > 2 && t","tree":[[0,4,{"root":"etcd"}],"#,
        r#"[0,11,{"path":[0,[[0,11,{"field":"voters"}]]]}],[14,15,{"literal":2}],"#,
        r#"[0,15,{"binary":["greater",1,2]}],[19,20,{"root":"t"}],[0,20,{"and":[3,4]}]]}"#
    );
    assert_eq!(json, expected);
    let plain = Template::compile("old", &schema()).unwrap();
    assert_eq!(serde_json::to_string(&plain).unwrap(), r#"{"source":"old"}"#);
    for source in ["$${x}", "", "a ${t} b", "${t}", "é ${etcd.voters}", "$${${t}"] {
        stored(&Template::compile(source, &schema()).unwrap());
    }
}

#[test]
fn what_is_no_tree_is_refused() {
    let of = |source: &str, tree: &str| format!(r#"{{"source":"{source}","tree":{tree}}}"#);
    let deep = |height: usize| {
        let nots = (0..height).map(|n| format!(r#"[0,1,{{"not":{n}}}]"#));
        let nodes: Vec<_> =
            std::iter::once(r#"[0,1,{"root":"t"}]"#.to_owned()).chain(nots).collect();
        of("t", &format!("[{}]", nodes.join(",")))
    };
    assert!(serde_json::from_str::<Expr>(&deep(100)).is_ok());
    for wrong in [
        of("t", "[]"),
        of("t", r#"[[0,2,{"root":"t"}]]"#),
        of("é", r#"[[1,2,{"root":"t"}]]"#),
        of("t", r#"[[0,1,{"not":0}]]"#),
        of("t", r#"[[0,1,{"root":"t"}],[0,1,{"and":[0,0]}]]"#),
        of("t", r#"[[0,1,{"root":"t"}],[0,1,{"root":"t"}]]"#),
        of("t", r#"[[0,1,{"slot":[0,"x"]}]]"#),
        of("t", r#"[[0,1,{"root":"t"}],[0,1,{"matches":[0,"("]}]]"#),
        of("t", r#"[[0,1,{"teleport":"t"}]]"#),
        r#"{"source":"t","slots":99999999999,"tree":[[0,1,{"root":"t"}]]}"#.into(),
        deep(1000),
    ] {
        assert!(serde_json::from_str::<Expr>(&wrong).is_err(), "{wrong}");
    }
    let outside = r#"{"source":"x","pieces":[{"expr":[0,9,0,[[0,1,{"root":"t"}]]]}]}"#;
    assert!(serde_json::from_str::<Template>(outside).is_err());
}

#[test]
fn a_stored_pattern_and_a_stored_loop_work() {
    for (source, wanted) in [
        (r#""abc".matches("^a.c$")"#, "true"),
        ("nodes.map(n, nodes[n].ready).exists(r, !r)", "true"),
        (r#"duration("5m") > duration("4m59s") && 1.5 < 1.6"#, "true"),
    ] {
        let expr = stored(&Expr::compile(source, &schema()).unwrap());
        assert_eq!(super::outcome(expr.eval(&world())), wanted, "{source}");
    }
}

fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Int),
        any::<f64>()
            .prop_filter("NaN is equal to nothing", |n| !n.is_nan())
            .prop_map(Value::Double),
        ".{0,8}".prop_map(Value::str),
        any::<i64>().prop_map(Value::Duration),
        any::<i64>().prop_map(Value::Time),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::list),
            prop::collection::btree_map(".{0,4}", inner, 0..4).prop_map(Value::map),
        ]
    })
}

proptest! {
    /// Also that no type becomes another: 1 and 1.0 are equal as numbers.
    #[test]
    fn every_value_is_read_back_exactly(value in values()) {
        #[derive(serde::Serialize, serde::Deserialize)]
        struct Holds {
            #[serde(with = "exact")]
            one: Value,
            #[serde(with = "exact_map")]
            more: std::collections::BTreeMap<String, Value>,
        }
        let holds = Holds { one: value.clone(), more: [("a".to_owned(), value.clone())].into() };
        let json = serde_json::to_string(&holds).unwrap();
        let back: Holds = serde_json::from_str(&json).unwrap();
        prop_assert_eq!(format!("{:?}", &back.one), format!("{value:?}"));
        prop_assert_eq!(format!("{:?}", back.more["a"]), format!("{value:?}"));
    }
}
