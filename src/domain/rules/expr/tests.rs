//! Tests of the expression language, and the small world in which they run.
//!
//! In it `m2` answers nothing, `n2` has no `free` and no `since`, the verdict was not read, and
//! `a.b`, `api`, `steps` and `hosts.h2` are absent altogether.

mod differential;
mod drafts;
mod grammar;
mod hostile;
mod problems;
mod semantics;
mod storing;
mod templates;
mod values;

use std::{collections::BTreeMap, sync::Arc};

use serde_json::json;

use super::{EvalError, Expr, HostOf, Problem, Schema, Type, Value, Variables};

/// Words of the verdict in these tests.
const VERDICTS: &[&str] = &["healthy", "degraded", "lost", "unknown"];
const API_VERDICTS: &[&str] = &["up", "down", "unknown"];
const DATA: &[&str] = &["present", "empty", "missing"];

fn schema() -> Schema {
    let member = Type::record([
        ("name", Type::Str),
        ("alive", Type::Bool),
        ("data", Type::Word(DATA)),
        ("revision", Type::Int),
    ]);
    let node = Type::record([
        ("ready", Type::Bool),
        ("since", Type::Time),
        ("zone", Type::Str),
        ("free", Type::Int),
    ]);
    let etcd = Type::record([
        ("verdict", Type::Word(VERDICTS)),
        ("voters", Type::Int),
        ("members", Type::list(member)),
        ("survivor", Type::Str),
    ]);
    let flags = || Type::list(Type::record([("ready", Type::Bool)]));
    let cluster = Type::record([("name", Type::Str), ("labels", Type::map(Type::Str))]);
    Schema::default()
        .with("a", Type::map(Type::Any))
        .with("t", Type::Bool)
        .with("f", Type::Bool)
        .with("etcd", etcd)
        .with("nodes", Type::map(node))
        .with("params", Type::Any)
        .with("steps", Type::Any)
        .with("hosts", Type::map(Type::record([("reachable", Type::Bool)])))
        .with("open", flags())
        .with("one_false", flags())
        .with("none_true", flags())
        .with("cluster", cluster)
        .with("ledger", Type::record([("attempts", Type::Int), ("unhealthy_for", Type::Duration)]))
        .with("api", Type::record([("verdict", Type::Word(API_VERDICTS))]))
}

/// A world with fixed readings.
#[derive(Clone)]
struct Fixed(BTreeMap<String, Value>);

impl Variables for Fixed {
    fn root(&self, name: &str) -> Option<Value> {
        self.0.get(name).cloned()
    }

    fn host_of(&self, _kind: HostOf, name: &str) -> Option<Value> {
        (name == "n1").then(|| Value::str("h1"))
    }

    fn now(&self) -> i64 {
        1_000_000
    }
}

fn world() -> Fixed {
    let readings = json!({
        "a": {}, "t": true, "f": false,
        "etcd": {"voters": 3, "members": [{"name": "m1", "alive": true}, {"name": "m2"}]},
        "params": {"node": "nX", "ok": "n1", "n": 3},
        "open": [{"ready": true}, {}, {"ready": true}],
        "one_false": [{"ready": true}, {}, {"ready": false}],
        "none_true": [{"ready": false}, {}, {"ready": false}],
        "hosts": {"h1": {"reachable": true}},
        "cluster": {"name": "c1", "labels": {}},
    });
    let readings = readings.as_object().unwrap();
    let mut roots: BTreeMap<String, Value> = readings
        .iter()
        .map(|(name, json)| (name.clone(), Value::from_json(json).unwrap()))
        .collect();
    let first = Value::map([
        ("ready", Value::Bool(true)),
        ("free", Value::Int(10)),
        ("since", Value::Time(400_000)),
    ]);
    let second = Value::map([("ready", Value::Bool(false))]);
    roots.insert("nodes".into(), Value::map([("n1", first), ("n2", second)]));
    let ledger = Value::map([("unhealthy_for", Value::Duration(400_000))]);
    roots.insert("ledger".into(), ledger);
    Fixed(roots)
}

/// What comes of an expression: its value as JSON, `? the missing reading`, `! an error`, `spent`,
/// or `check: the first problem`.
fn run(source: &str) -> String {
    match Expr::compile(source, &schema()) {
        Ok(expr) => outcome(stored(&expr).eval(&world())),
        Err(problems) => format!("check: {}", problems[0].message),
    }
}

/// What a plan that holds it gives back: the same, written and read. Every test of this room
/// evaluates that.
#[track_caller]
fn stored<T>(compiled: &T) -> T
where
    T: serde::Serialize + serde::de::DeserializeOwned + PartialEq + std::fmt::Debug,
{
    let text = serde_json::to_string(compiled).unwrap();
    let back: T = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    assert_eq!(&back, compiled);
    assert_eq!(serde_json::to_string(&back).unwrap(), text);
    back
}

fn outcome(result: Result<Value, EvalError>) -> String {
    match result {
        Ok(value) => value.to_json().to_string(),
        Err(EvalError::Unknown { path, .. }) => format!("? {path}"),
        Err(EvalError::Error { message, .. }) => format!("! {message}"),
        Err(EvalError::Spent) => "spent".into(),
    }
}

/// Runs a table of sources and outcomes and tells all that differ.
#[track_caller]
fn expect(cases: &[(&str, &str)]) {
    let wrong: Vec<String> = cases
        .iter()
        .map(|(source, wanted)| (source, wanted, run(source)))
        .filter(|(_, wanted, got)| **wanted != got)
        .map(|(source, wanted, got)| format!("{source}\n  wanted {wanted}\n  got    {got}"))
        .collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// A node list as long as a large cluster's.
fn large_world() -> Fixed {
    let mut world = world();
    let node = Value::map([("ready", Value::Bool(true)), ("free", Value::Int(1))]);
    let nodes = (0..5000).map(|n| (format!("node-{n:05}"), node.clone()));
    world.0.insert("nodes".into(), Value::map(nodes));
    world
}

#[test]
fn the_api_tells_type_source_and_truth() {
    let expr = Expr::compile("etcd.voters > 2", &schema()).unwrap();
    assert_eq!((expr.ty(), expr.source()), (&Type::Bool, "etcd.voters > 2"));
    assert_eq!(expr.truth(&world()), Ok(true));
    assert_eq!(format!("{:?}", expr.clone()), "Expr(\"etcd.voters > 2\": bool)");

    let not_bool = Expr::compile_bool("etcd.voters", &schema()).unwrap_err();
    assert_eq!(not_bool[0], Problem::new(0..11, "is int, wanted a condition (bool)"));
    let dynamic = Expr::compile_bool("params.n", &schema()).unwrap();
    let stop = EvalError::error(&(0..8), "is int, wanted bool");
    assert_eq!(dynamic.truth(&world()), Err(stop));
}

#[test]
fn an_expression_can_be_shared_between_threads() {
    fn shared<T: Send + Sync + Clone>(_: &T) {}
    shared(&Expr::compile("t", &schema()).unwrap());
    shared(&Arc::new(Value::Null));
}
