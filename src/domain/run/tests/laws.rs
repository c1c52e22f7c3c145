//! Laws over random plans and random lives of a run: effects that fail, answer late or never, kills,
//! people. Whatever happens, each prefix of the journal is the run that was, and the run ends.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Run, approved, asked, at,
    author::{Dice, some_run},
    called, denied, done, entry_done, entry_failed, entry_started, failed, failure, is_action,
    is_loop, items, started, words,
};
use crate::domain::{
    base::time::Time,
    rules::playbook::model::StepKind,
    run::{
        apply::apply,
        event::{EntryKey, List, Outcome, RunEvent},
        lists,
        next::next,
        path::Path,
        resume,
        state::Stage,
        todo::{At, Todo},
    },
};

/// What is under way in the world: effects that were started and have not answered.
type UnderWay = BTreeSet<String>;

/// One life of a run, with everything that is held against the laws.
struct Life<'d> {
    dice: &'d mut Dice,
    run: Run,
    /// What a process that starts now would know.
    replayed: Run,
    under_way: UnderWay,
    checked: BTreeSet<Path>,
    now: i64,
    /// The steps of which an undo has begun, by the order in which they first started.
    undone: Vec<usize>,
    log: Vec<String>,
    /// How gladly things go wrong: one in so many.
    trouble: usize,
}

impl Life<'_> {
    /// Journals: live, and as a later process reads it.
    fn journal(&mut self, events: Vec<RunEvent>) {
        for event in events {
            self.now += i64::try_from(self.dice.below(3000)).unwrap();
            self.log.push(format!("{} {event:?}", event.kind()).chars().take(160).collect());
            let text = serde_json::to_string(&event).unwrap();
            let read: RunEvent = serde_json::from_str(&text).unwrap();
            assert_eq!(read, event);
            self.watch(&event);
            let applied = apply(&mut self.run, &event, Time(self.now));
            applied.unwrap_or_else(|illegal| panic!("{illegal}\n{}", self.log.join("\n")));
            apply(&mut self.replayed, &read, Time(self.now)).unwrap();
            assert_eq!(self.replayed, self.run, "a replay is the same run");
            let nothing = BTreeSet::new();
            assert_eq!(next(&self.replayed, &nothing), next(&self.run, &nothing));
        }
        self.laws();
    }

    /// Laws over what happens.
    fn watch(&mut self, event: &RunEvent) {
        if let RunEvent::StepStarted { step, .. } = event {
            let stage = self.run.steps.get(step).map(|row| &row.stage);
            let fresh = !matches!(stage, Some(Stage::Done { .. } | Stage::Started));
            assert!(fresh && self.run.unwind.is_none(), "{step} is done twice");
        } else if let RunEvent::EntryStarted { entry, .. } = event {
            self.undoes(entry);
        } else if let RunEvent::RunResumed { retry, .. } = event {
            self.undone.clear();
            for path in retry {
                assert!(!resume::is_before_return(&self.run, path), "{path}");
            }
        } else if let RunEvent::RunFinished { outcome, .. } = event {
            self.ends(*outcome);
        }
    }

    /// Undo goes backwards, and never past the point of no return.
    fn undoes(&mut self, entry: &EntryKey) {
        if entry.list == List::Undo {
            assert!(self.run.past_return.is_none(), "{entry:?}");
            let order = self.run.steps[&entry.step].order;
            let backwards = self.undone.last().is_none_or(|last| order <= *last);
            assert!(backwards, "{entry:?}\n{}", self.log.join("\n"));
            self.undone.push(order);
        }
    }

    /// What an end says is true.
    fn ends(&self, outcome: Outcome) {
        let broken = self.run.entries.values().any(|row| row.stage.is_broken());
        assert!(!broken || outcome == Outcome::Failed, "{outcome:?}\n{}", self.log.join("\n"));
        for (row, at) in lists::started(&self.run) {
            assert_ne!(row.stage, Stage::Started, "{} is under way", at.path);
            for list in [List::Undo, List::Finally] {
                let undoes = self.run.unwind.as_ref().is_some_and(|unwind| unwind.undo);
                if outcome == Outcome::Failed || (list == List::Undo && !undoes) {
                    continue;
                }
                let open = lists::next(&self.run, row, &at, list);
                assert!(matches!(open, lists::Listed::Clear), "{} is armed", at.path);
            }
        }
    }

    /// Laws over every state.
    fn laws(&self) {
        let todos = next(&self.run, &self.checked);
        let shown = || {
            format!("{:?}\n{}", todos.iter().map(words).collect::<Vec<_>>(), self.log.join("\n"))
        };
        assert_eq!(todos.is_empty(), !self.run.is_active(), "{}", shown());
        let whole = todos.iter().any(Todo::is_whole);
        assert!(todos.len() == 1 || !whole, "{}", shown());
        let rows = self.run.steps.values().chain(self.run.entries.values());
        let under_way = rows.filter(|row| row.stage == Stage::Started).count();
        assert!(!whole || under_way == 0, "{}", shown());
        if self.run.past_return.is_some() {
            let undoes = |todo: &Todo<'_>| {
                let undo = todo.entry().is_some_and(|key| key.list == List::Undo);
                undo || matches!(todo, Todo::Unwind(..))
            };
            assert!(!todos.iter().any(undoes), "{}", shown());
        }
        self.at_once(&todos);
    }

    /// No loop works on more items than it may.
    fn at_once(&self, todos: &[Todo<'_>]) {
        let mut open: BTreeMap<Path, BTreeSet<Path>> = BTreeMap::new();
        for todo in todos {
            let resolved = if let Todo::Resolve(at) = todo { Some(&at.path) } else { None };
            let of_entry = todo.entry().map(|key| &key.step);
            let Some(path) = todo.begins().or(resolved).or(of_entry) else { continue };
            let mut scope = path.scope();
            while !scope.is_root() {
                if let Some(looped) = scope.of_loop() {
                    open.entry(looped).or_default().insert(scope.clone());
                }
                scope = scope.scope();
            }
        }
        for (looped, iterations) in open.into_iter().filter(|_| self.run.unwind.is_none()) {
            let step = self.run.plan.step(&looped).unwrap();
            let StepKind::Foreach { at_once, .. } = &step.kind else {
                panic!("{looped} is a loop")
            };
            assert!(iterations.len() <= *at_once, "{looped}: {iterations:?}");
        }
    }

    /// One thing happens; `false` once the run has ended.
    fn happens(&mut self) -> bool {
        if self.run.finished.is_some() {
            return false;
        }
        if self.run.parked.is_some() {
            self.person();
            return true;
        }
        if self.dice.one_in(self.trouble * 12) {
            self.under_way.clear(); // a kill: nobody waits for an answer any more
        }
        if self.dice.one_in(self.trouble * 40)
            && self.run.unwind.is_none()
            && self.run.past_return.is_none()
        {
            let failure = failure();
            let undo = true;
            let outcome = Outcome::Cancelled;
            self.journal(vec![RunEvent::UnwindStarted { outcome, failure, undo }]);
            return true;
        }
        let run = self.run.clone();
        let todos = next(&run, &self.checked);
        let todo = &todos[self.dice.below(todos.len())];
        self.answer(todo);
        true
    }

    fn person(&mut self) {
        let past = self.run.past_return.is_some();
        let event = if self.dice.one_in(6) {
            let outcome = Outcome::Parked;
            RunEvent::UnwindStarted { outcome, failure: failure(), undo: !past }
        } else {
            let retry = resume::retry(&self.run);
            RunEvent::RunResumed { by: "ann".into(), reason: "looked".into(), retry }
        };
        self.journal(vec![event]);
        // the world gets better, or nobody would resume for ever
        self.trouble += 1;
    }

    fn answer(&mut self, todo: &Todo<'_>) {
        let what = words(todo);
        let goes_wrong = self.dice.one_in(self.trouble);
        match todo {
            Todo::Begin(at) | Todo::Retry(at, _) => self.begins(at, goes_wrong),
            Todo::Resolve(at) => {
                let is_under_way = self.under_way.remove(&what);
                self.step_ends(at, is_under_way, goes_wrong);
            }
            Todo::Expand(at) => self.expands(at, goes_wrong),
            Todo::Until(at, _, item) => {
                if self.dice.one_in(3) {
                    let (step, item) = (at.path.clone(), item.clone());
                    self.journal(vec![RunEvent::ForeachStopped { step, item }]);
                } else {
                    self.checked.insert(at.path.iteration(item.clone()));
                }
            }
            Todo::Await(at, _) => {
                let path = at.path.to_string();
                let event = match self.dice.below(self.trouble * 2) {
                    0 => denied(),
                    1 => failed(&path, true),
                    _ => approved(),
                };
                self.journal(vec![event]);
            }
            Todo::Entry(key, _, entry) | Todo::RetryEntry(key, _, entry, _) => {
                let tries = self.run.entries.get(key).map_or(1, super::StepRun::next_try);
                let last = entry.retry.is_last(tries, &failure());
                self.entry_begins(key, last, goes_wrong);
            }
            Todo::ResolveEntry(key, _, entry) => {
                // a try that is under way is one of those that count already
                let row = &self.run.entries[key];
                let last = entry.retry.is_last(row.attempts - row.forgiven, &failure());
                let event = if goes_wrong {
                    entry_failed(key.clone(), last)
                } else {
                    entry_done(key.clone())
                };
                self.journal(vec![event]);
            }
            Todo::Unwind(outcome, failure) => {
                let (outcome, failure, undo) = (*outcome, failure.clone(), true);
                self.journal(vec![RunEvent::UnwindStarted { outcome, failure, undo }]);
            }
            Todo::Park(parking) => {
                let (why, armed) = (parking.why.clone(), parking.armed.clone());
                self.journal(vec![RunEvent::RunParked { why, armed }]);
            }
            Todo::Verify(_) if goes_wrong => {
                self.journal(vec![RunEvent::VerifyFailed { failure: failure() }]);
            }
            Todo::Verify(_) => self.journal(vec![RunEvent::Verified]),
            Todo::Finish(outcome, failure) => {
                let (outcome, failure) = (*outcome, failure.clone());
                self.journal(vec![RunEvent::RunFinished { outcome, failure }]);
            }
        }
    }

    fn begins(&mut self, at: &At<'_>, goes_wrong: bool) {
        let path = at.path.to_string();
        let tries = self.run.steps.get(&at.path).map_or(1, super::StepRun::next_try);
        let last = at.step.retry.is_last(tries, &failure());
        let fresh = !self.run.steps.contains_key(&at.path);
        let asks = matches!(at.step.kind, StepKind::Approve(_));
        let events = if fresh && at.step.when.is_some() && self.dice.one_in(3) {
            vec![RunEvent::StepSkipped { step: at.path.clone() }]
        } else if goes_wrong && self.dice.one_in(2) {
            vec![failed(&path, last)] // before it could act
        } else if asks && self.run.approval.is_none() && self.dice.one_in(2) {
            vec![asked(&path)]
        } else if is_action(at) {
            self.under_way.insert(format!("? {path}"));
            vec![started(&self.run, &path)]
        } else if goes_wrong {
            vec![failed(&path, true)]
        } else {
            vec![done(&path, false)]
        };
        self.journal(events);
    }

    fn step_ends(&mut self, at: &At<'_>, is_under_way: bool, goes_wrong: bool) {
        let path = at.path.to_string();
        let row = &self.run.steps[&at.path];
        let counted = row.attempts - row.forgiven.min(row.attempts);
        let last = self.run.unwind.is_some() || at.step.retry.is_last(counted, &failure());
        let changed = self.dice.below(4) > 0;
        // where nobody waits for it, reality is asked; that may tell nothing
        let asked = !is_under_way || row.stage != Stage::Started;
        let event = if asked && self.dice.one_in(2) {
            if goes_wrong { super::doubted(&path) } else { super::disproved(&path) }
        } else if goes_wrong {
            failed(&path, last)
        } else {
            done(&path, changed)
        };
        self.journal(vec![event]);
    }

    fn expands(&mut self, at: &At<'_>, goes_wrong: bool) {
        let path = at.path.to_string();
        let event = if goes_wrong {
            failed(&path, true)
        } else if at.step.when.is_some() && self.dice.one_in(3) {
            RunEvent::StepSkipped { step: at.path.clone() }
        } else if is_loop(at.step) {
            let all = ["m1", "m2", "m3", "m4"];
            items(&path, &all[..self.dice.below(5)])
        } else {
            called(&path)
        };
        self.journal(vec![event]);
    }

    fn entry_begins(&mut self, key: &EntryKey, last: bool, goes_wrong: bool) {
        let event = match (goes_wrong, self.dice.below(4)) {
            (true, 0) => {
                RunEvent::EntryDoubted { entry: key.clone(), why: "it is silent".to_owned() }
            }
            (true, _) => entry_failed(key.clone(), last),
            (false, 0) => {
                RunEvent::EntrySkipped { entry: key.clone(), why: "`when` is false".to_owned() }
            }
            (false, _) => entry_started(&self.run, key.clone()),
        };
        self.journal(vec![event]);
    }
}

/// Records that nobody should write are refused as a whole, or lead to a run that is one.
fn mischief(life: &mut Life<'_>) {
    let paths: Vec<_> = life.run.steps.keys().map(ToString::to_string).collect();
    let path = if paths.is_empty() {
        "s1".to_owned()
    } else {
        paths[life.dice.below(paths.len())].clone()
    };
    if life.run.plan.step(&at(&path)).is_none() {
        return;
    }
    let wrong = [
        done(&path, true),
        failed(&path, false),
        super::disproved(&path),
        RunEvent::Verified,
        RunEvent::RunFinished { outcome: Outcome::Succeeded, failure: None },
        entry_done(super::key(&path, List::Undo, 0)),
        super::parked(),
        started(&life.run, &path),
    ];
    let event = &wrong[life.dice.below(wrong.len())];
    let mut other = life.run.clone();
    if apply(&mut other, event, Time(life.now)).is_err() {
        assert_eq!(other, life.run, "what is refused changes nothing");
    }
    let _todos = next(&other, &BTreeSet::new());
}

fn live(seed: u64) -> (Outcome, usize) {
    let mut dice = Dice(seed);
    let run = some_run(&mut dice);
    let trouble = 2 + dice.below(12);
    let mut life = Life {
        replayed: run.clone(),
        run,
        dice: &mut dice,
        under_way: UnderWay::new(),
        checked: BTreeSet::new(),
        now: 0,
        undone: Vec::new(),
        log: vec![format!("seed {seed}")],
        trouble,
    };
    for _ in 0..5000 {
        if !life.happens() {
            let outcome = life.run.finished.as_ref().unwrap().0;
            return (outcome, life.log.len());
        }
        if life.dice.one_in(4) {
            mischief(&mut life);
        }
    }
    panic!("no end: {}\n{}", life.run.plan.text, life.log.join("\n"));
}

/// Rows: A1, A2, A3, A6, E22, E23.
#[test]
fn whatever_happens_to_a_run_it_keeps_the_laws_and_ends() {
    let mut ends: BTreeMap<Outcome, usize> = BTreeMap::new();
    let mut records = 0;
    for seed in 0..600 {
        let (outcome, count) = live(seed);
        *ends.entry(outcome).or_default() += 1;
        records += count;
    }
    println!("{records} records, ends: {ends:?}");
    for outcome in Outcome::ALL {
        assert!(ends.get(&outcome).is_some_and(|count| *count >= 5), "{outcome:?}: {ends:?}");
    }
}

/// The same with a seed of its own each time.
#[test]
fn a_fresh_life_keeps_the_laws_too() {
    let fresh = u64::from(std::process::id()).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    println!("fresh seed: {fresh}");
    for n in 0..100 {
        live(fresh.wrapping_add(n));
    }
}
