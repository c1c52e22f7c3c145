//! Values to and from JSON, and how they compare.

use serde_json::json;

use crate::domain::rules::expr::{Type, Value};

#[test]
fn what_json_leaves_null_is_absent() {
    let value = Value::from_json(&json!({"a": null, "b": [1, null], "c": {"d": null}})).unwrap();
    assert_eq!(value.to_json(), json!({"c": {}}));
    assert_eq!(Value::from_json(&json!(null)), None);
}

#[test]
fn whole_numbers_of_json_are_ints_as_far_as_they_reach() {
    let int = |json| Value::from_json(&json).unwrap().as_int();
    assert_eq!(int(json!(5)), Some(5));
    assert_eq!(int(json!(i64::MAX)), Some(i64::MAX));
    let beyond = Value::from_json(&json!(u64::MAX)).unwrap();
    assert_eq!(beyond.type_name(), "double");
}

#[test]
fn durations_and_times_are_text_in_json() {
    let value = Value::list(vec![Value::Duration(90_000), Value::Time(0), Value::Duration(-5)]);
    assert_eq!(value.to_json(), json!(["1m30s", "1970-01-01T00:00:00.000Z", "-5ms"]));
    assert_eq!(Value::Double(f64::NAN).to_json(), json!(null));
}

#[test]
fn accessors_answer_only_for_their_own_type() {
    let map = Value::map([("k", Value::str("v")), ("k", Value::Bool(true))]);
    assert_eq!(map.get("k").and_then(Value::as_bool), Some(true));
    assert_eq!((map.get("x"), Value::Int(1).get("k")), (None, None));
    assert_eq!(map.as_map().map(std::collections::BTreeMap::len), Some(1));
    assert_eq!(Value::str("v").as_str(), Some("v"));
    assert_eq!(Value::list(vec![]).as_list().map(<[Value]>::len), Some(0));
    assert_eq!(Value::Int(1).as_str(), None);
}

#[test]
fn numbers_are_equal_by_exact_value_and_nothing_else_is_equal_to_them() {
    assert_eq!(Value::Int(3), Value::Double(3.0));
    assert_ne!(Value::Int(9_007_199_254_740_993), Value::Double(9_007_199_254_740_992.0));
    assert_ne!(Value::Int(i64::MAX), Value::Double(9_223_372_036_854_775_808.0));
    assert_ne!(Value::Int(3), Value::Duration(3));
    assert_ne!(Value::Double(f64::NAN), Value::Double(f64::NAN));
}

#[test]
fn types_read_as_people_say_them() {
    let record = Type::record([("a", Type::Int)]);
    assert_eq!(Type::list(Type::map(record)).to_string(), "list of map of record");
    assert_eq!(Type::Word(&["up", "down"]).to_string(), "string (up|down)");
}
