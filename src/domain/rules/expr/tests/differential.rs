//! Values agree with the `cel` crate's: random well-typed expressions over readings of which some
//! are absent have the same value in both, or none in both.

use std::{
    cell::Cell,
    collections::BTreeMap,
    hash::{BuildHasher, Hasher, RandomState},
};

use proptest::{
    prelude::*,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use serde::Serialize;

use super::{Fixed, stored};
use crate::domain::rules::expr::{EvalError, Expr, Schema, Type, Value};

/// Enough for the other parser, which recurses without regard to the stack.
const LARGE_STACK: usize = 256 << 20;
const FIXED_SEED: u64 = 0x9e37_79b9_7f4a_7c15;

/// The seed of every run, and one more that nobody has tried yet. A failure names its seed.
pub(super) fn seeds() -> [u64; 2] {
    let fresh = RandomState::new().build_hasher().finish() | 1;
    println!("fresh seed {fresh}");
    [FIXED_SEED, fresh]
}

pub(super) fn on_large_stack(work: impl FnOnce() + Send + 'static) {
    let thread = std::thread::Builder::new().stack_size(LARGE_STACK).spawn(work).unwrap();
    thread.join().unwrap();
}

/// A xorshift generator; its seed is not 0.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from((self.0 >> 33) % u64::try_from(limit).unwrap()).unwrap()
    }
}

/// The readings; the schema has more fields than were read.
#[derive(Serialize)]
struct Readings {
    two: i64,
    most: i64,
    yes: bool,
    no: bool,
    text: &'static str,
    numbers: Vec<i64>,
    flags: Vec<BTreeMap<&'static str, bool>>,
    sizes: BTreeMap<&'static str, i64>,
}

fn readings() -> Readings {
    Readings {
        two: 2,
        most: i64::MAX,
        yes: true,
        no: false,
        text: "x",
        numbers: vec![1, 2, 3],
        flags: vec![
            BTreeMap::from([("ready", true)]),
            BTreeMap::new(),
            BTreeMap::from([("ready", false), ("held", true)]),
        ],
        sizes: BTreeMap::from([("x", 7), ("xy", 8)]),
    }
}

fn schema() -> Schema {
    let flag = Type::record([("ready", Type::Bool), ("held", Type::Bool)]);
    let reading = Type::record([
        ("two", Type::Int),
        ("most", Type::Int),
        ("gone", Type::Int),
        ("yes", Type::Bool),
        ("no", Type::Bool),
        ("unread", Type::Bool),
        ("text", Type::Str),
        ("missing", Type::Str),
        ("numbers", Type::list(Type::Int)),
        ("flags", Type::list(flag)),
        ("absent", Type::list(Type::Int)),
        ("sizes", Type::map(Type::Int)),
    ]);
    Schema::default().with("r", reading)
}

type Sources = BoxedStrategy<String>;

fn one_of(sources: &'static [&'static str]) -> Sources {
    prop::sample::select(sources).prop_map(String::from).boxed()
}

/// Expressions of each type up to a depth; readings, loops and errors among them.
struct Typed {
    bools: Sources,
    ints: Sources,
    texts: Sources,
}

fn leaves() -> Typed {
    Typed {
        bools: one_of(&["true", "false", "r.yes", "r.no", "r.unread", "has(r.gone)", "has(r.two)"]),
        ints: one_of(&[
            "0",
            "1",
            "-3",
            "r.two",
            "r.most",
            "r.gone",
            "r.numbers[1]",
            "r.numbers[7]",
        ]),
        texts: one_of(&["''", "'x'", "'xy'", "r.text", "r.missing"]),
    }
}

fn orders() -> Sources {
    one_of(&["==", "!=", "<", "<=", ">", ">="])
}

fn lists() -> Sources {
    one_of(&["r.numbers", "r.absent", "[]", "[2, 3]", "r.numbers.map(n, n * 2)"])
}

/// Expressions over those `below`. Loops name their variable by the level: an inner one may not
/// take the name of an outer one.
fn deeper(below: &Typed, level: usize) -> Typed {
    let (b, i, t) = (&below.bools, &below.ints, &below.texts);
    let arithmetic = one_of(&["+", "-", "*", "/", "%"]);
    let ints = prop_oneof![
        i.clone(),
        (i.clone(), arithmetic, i.clone()).prop_map(|(x, op, y)| format!("({x} {op} {y})")),
        i.clone().prop_map(|x| format!("-({x})")),
        (b.clone(), i.clone(), i.clone()).prop_map(|(c, x, y)| format!("({c} ? {x} : {y})")),
        (lists(), b.clone()).prop_map(move |(list, x)| {
            format!("size({list}.filter(v{level}, v{level} > 1 && {x}))")
        }),
        t.clone().prop_map(|x| format!("size({x})")),
        t.clone().prop_map(|x| format!("r.sizes[{x}]")),
    ];
    let texts = prop_oneof![
        t.clone(),
        (t.clone(), t.clone()).prop_map(|(x, y)| format!("({x} + {y})")),
        (b.clone(), t.clone(), t.clone()).prop_map(|(c, x, y)| format!("({c} ? {x} : {y})")),
        i.clone().prop_map(|x| format!("string({x})")),
    ];
    Typed { bools: deeper_bools(below, level), ints: ints.boxed(), texts: texts.boxed() }
}

fn deeper_bools(below: &Typed, level: usize) -> Sources {
    let (b, i, t) = (&below.bools, &below.ints, &below.texts);
    let junctions = one_of(&["&&", "||"]);
    let parts = one_of(&["startsWith", "endsWith", "contains"]);
    let folds = one_of(&["all", "exists", "exists_one"]);
    let items = one_of(&["v.ready", "v.held", "!v.ready", "v.ready || v.held", "has(v.ready)"]);
    let items = items.prop_map(move |item| item.replace("v.", &format!("v{level}.")));
    prop_oneof![
        b.clone(),
        b.clone().prop_map(|x| format!("!({x})")),
        (b.clone(), junctions, b.clone()).prop_map(|(x, op, y)| format!("({x} {op} {y})")),
        (b.clone(), b.clone(), b.clone()).prop_map(|(c, x, y)| format!("({c} ? {x} : {y})")),
        (i.clone(), orders(), i.clone()).prop_map(|(x, op, y)| format!("({x} {op} {y})")),
        (t.clone(), orders(), t.clone()).prop_map(|(x, op, y)| format!("({x} {op} {y})")),
        (t.clone(), parts, t.clone()).prop_map(|(x, method, y)| format!("({x}).{method}({y})")),
        (i.clone(), lists()).prop_map(|(x, list)| format!("({x} in {list})")),
        t.clone().prop_map(|x| format!("({x} in r.sizes)")),
        (folds.clone(), items, b.clone()).prop_map(move |(fold, item, x)| {
            format!("r.flags.{fold}(v{level}, ({item}) || {x})")
        }),
        (folds, lists(), orders(), i.clone()).prop_map(move |(fold, list, op, x)| {
            format!("{list}.{fold}(v{level}, v{level} {op} {x})")
        }),
    ]
    .boxed()
}

fn sources(depth: usize) -> Sources {
    let typed = (0..depth).fold(leaves(), |below, level| deeper(&below, level));
    prop_oneof![4 => typed.bools, 1 => typed.ints, 1 => typed.texts].boxed()
}

/// As the other crate sees it: `None` for anything without a value.
fn theirs(source: &str, context: &cel::Context) -> Option<String> {
    let program = cel::Program::compile(source).unwrap();
    let value = program.execute(context).ok()?;
    if let cel::Value::String(text) = value {
        return Some(text.to_string());
    }
    let is_compared = matches!(value, cel::Value::Bool(_) | cel::Value::Int(_));
    assert!(is_compared, "{source}: {value:?}");
    Some(value.json().unwrap().to_string())
}

/// Compiles what is well-typed by construction; `None` if it is too long or has too many loops.
fn within_bounds(source: &str) -> Option<Expr> {
    let problems = match Expr::compile(source, &schema()) {
        Ok(expr) => return Some(stored(&expr)),
        Err(problems) => problems,
    };
    let bounds = ["more than 2 loops", "an expression has at most", "nested deeper"];
    for problem in problems {
        let is_bound = bounds.iter().any(|bound| problem.message.starts_with(bound));
        assert!(is_bound, "{source}: {problem}");
    }
    None
}

/// Our value; `None` for anything without one.
fn ours(expr: &Expr, world: &Fixed) -> Option<String> {
    match expr.eval(world) {
        Ok(value) => value.to_text(),
        Err(EvalError::Unknown { .. } | EvalError::Error { .. }) => None,
        Err(EvalError::Spent) => panic!("{expr:?}: spent"),
    }
}

#[test]
fn values_agree_with_cel_on_random_well_typed_expressions() {
    on_large_stack(|| {
        let mut context = cel::Context::default();
        context.add_variable("r", readings()).unwrap();
        let read = Value::from_json(&serde_json::to_value(readings()).unwrap()).unwrap();
        let world = Fixed(BTreeMap::from([("r".into(), read)]));
        let strategy = sources(4);
        for seed in seeds() {
            let bytes: Vec<u8> = seed.to_le_bytes().repeat(4);
            let config = Config { cases: 400, failure_persistence: None, ..Config::default() };
            let random = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
            let with_value = Cell::new(0);
            let result = TestRunner::new_with_rng(config, random).run(&strategy, |source| {
                let Some(expr) = within_bounds(&source) else {
                    return Err(TestCaseError::reject("larger than an expression may be"));
                };
                let ours = ours(&expr, &world);
                with_value.set(with_value.get() + usize::from(ours.is_some()));
                prop_assert_eq!(&ours, &theirs(&source, &context), "{}", source);
                Ok(())
            });
            assert!(result.is_ok(), "seed {seed}: {}", result.unwrap_err());
            assert!(with_value.get() > 100, "seed {seed}: only {} had a value", with_value.get());
        }
    });
}
