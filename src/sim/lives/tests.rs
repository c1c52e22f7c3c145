//! Thousands of cluster-hours, and proof that the laws see what is planted.

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{SystemTime, UNIX_EPOCH},
};

use super::{Report, Sabotage, Script, live, shrink};
use crate::{
    domain::rules::{self, Rules},
    targets::catalogue::catalogue,
};

/// Lives that a failing script may cost while it is made smaller.
const SHRINKS: u32 = 150;

/// The rules as they are shipped.
fn shipped() -> Arc<Rules> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("rules");
    let folders = ["responses", "playbooks"].map(|folder| root.join(folder));
    let files = folders.iter().flat_map(|folder| fs::read_dir(folder).unwrap());
    let files: Vec<(String, String)> = files
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.display().to_string(), fs::read_to_string(path).unwrap()))
        .collect();
    let (loaded, found) = rules::load(&files, &catalogue());
    assert!(!rules::has_errors(&found), "{found:#?}");
    Arc::new(loaded)
}

/// Lives a script; a panic is a law that is broken, too.
fn lived(script: &Script, rules: &Arc<Rules>, sabotage: Sabotage) -> Result<Report, String> {
    let life = catch_unwind(AssertUnwindSafe(|| live(script, rules, sabotage)));
    life.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Err(format!("seed {}: a panic: {}", script.seed, text.unwrap_or_default()))
    })
}

/// Seeds that are always lived, and as many as are new each time.
fn seeds(fixed: u64, fresh: u64) -> Vec<u64> {
    let nanos = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().subsec_nanos();
    let first = 1_000_000 + u64::from(nanos);
    println!("seeds 1 to {fixed}, and {fresh} from {first} on");
    (1..=fixed).chain(first..first + fresh).collect()
}

/// Lives all scripts, on two threads; a script that fails is made smaller and told.
fn all(scripts: &[Script]) -> Report {
    let (rules, next) = (shipped(), AtomicUsize::new(0));
    let total = Mutex::new(Report::default());
    let worker = || {
        while let Some(script) = scripts.get(next.fetch_add(1, Ordering::Relaxed)) {
            match lived(script, &rules, Sabotage::None) {
                Ok(report) => total.lock().unwrap().add(&report),
                Err(broken) => {
                    let fails = |less: &Script| lived(less, &rules, Sabotage::None).is_err();
                    let small = shrink(script.clone(), SHRINKS, fails);
                    let last = lived(&small, &rules, Sabotage::None);
                    panic!("{broken}\nmade smaller, {last:?}:\n{small:#?}");
                }
            }
        }
    };
    thread::scope(|scope| (0..2).map(|_| scope.spawn(worker)).for_each(drop));
    let report = total.into_inner().unwrap();
    println!("{report:#?}");
    report
}

/// Of a hundred majorities that are gone for good at least 95 are built anew, whatever happens to
/// quorate meanwhile. Rows: A1, E1.
#[test]
fn majorities_that_are_gone_are_recovered() {
    let scripts: Vec<Script> =
        seeds(50, 5).into_iter().map(|seed| Script::losses(seed, 2, 40)).collect();
    let report = all(&scripts);
    assert!(report.losses >= 100 && report.hours >= 4_000.0, "{report:#?}");
    assert!(report.recovered * 100 >= report.losses * 95, "{report:#?}");
}

/// Whatever happens, in whatever order, no law is broken, and in the end everything is at rest.
#[test]
fn nothing_that_happens_breaks_a_law() {
    let scripts: Vec<Script> =
        seeds(3, 1).into_iter().map(|seed| Script::wild(seed, 3, 84)).collect();
    let report = all(&scripts);
    assert!(report.hours >= 1_000.0, "{report:#?}");
    assert!(report.kills > 0 && report.hurt > 0 && report.wrongs > 0, "{report:#?}");
}

/// An engine that does this is no engine: each is caught by one of the first lives.
#[test]
fn what_is_planted_is_found() {
    let rules = shipped();
    let planted = [
        Sabotage::NeverActs,
        Sabotage::ActsBeforeCommit,
        Sabotage::ForgetsRecords,
        Sabotage::ForgetsAlerts,
    ];
    for sabotage in planted {
        let scripts = (1..=12).map(|seed| Script::losses(seed, 2, 8));
        let mut lives = scripts.map(|script| lived(&script, &rules, sabotage));
        let found = lives.find_map(Result::err);
        assert!(found.is_some(), "{sabotage:?} was not noticed");
    }
}

/// A script that fails comes back with what made it fail, and little else.
#[test]
fn a_script_that_fails_is_made_smaller() {
    use super::script::Happening;
    let script = Script::wild(7, 12, 24);
    let is_a_kill = |what: &Happening| matches!(what, Happening::Kill(_));
    let count =
        |script: &Script| script.events.iter().filter(|event| is_a_kill(&event.what)).count();
    assert!(count(&script) > 1 && script.events.len() > 20);
    let small = shrink(script, 10_000, |less| count(less) > 0);
    assert_eq!((count(&small), small.events.len()), (1, 1));
}
