//! Which guards a playbook's declarations come to.

use std::{sync::Arc, time::Duration};

use super::{super::Setup, *};
use crate::domain::{
    cell::Commands,
    inventory::sample,
    journal::cluster::ClusterState,
    rules::{
        Rules,
        action::{Call, Catalogue},
    },
};

#[derive(Debug)]
struct NoCommands;

impl Commands for NoCommands {
    fn commands(&self, _call: &Call) -> Vec<String> {
        Vec::new()
    }
}

fn cell(mode: Mode) -> Cell {
    let mut cluster = sample::cluster(["m1", "m2", "m3"]);
    (cluster.mode, cluster.loss_budget_revisions) = (mode, 2);
    let setup = Setup {
        cluster: Arc::new(cluster),
        rules: Arc::new(Rules::default()),
        catalogue: Catalogue::default(),
        commands: Arc::new(NoCommands),
        look_every: Duration::from_secs(10),
        store_on_target: true,
        is_retired: false,
    };
    Cell::new(Arc::new(setup), ClusterState::default(), None, 0, Time(0))
}

#[track_caller]
fn check(guards: &[Guard], expected: &[&str]) {
    // the variant's name alone: what each found is said elsewhere
    let names: Vec<String> = guards
        .iter()
        .map(|guard| format!("{guard:?}").split([' ', '(', '{']).next().unwrap_or("").to_owned())
        .collect();
    assert_eq!(names, expected);
}

#[track_caller]
fn check_at_dispatch(mode: Mode, destroys: Destroys, expected: &[&str]) {
    let cell = cell(mode);
    let guards = declared(&cell, &Declares::at_dispatch(&cell, destroys), cell.look());
    check(&guards, expected);
}

#[test]
fn what_a_playbook_may_destroy_decides_its_guards() {
    check_at_dispatch(Mode::Auto, Destroys::Nothing, &[]);
    let member = ["Version", "Capability", "Permanence", "OwnStore"];
    check_at_dispatch(Mode::Auto, Destroys::Member, &member);
    check_at_dispatch(Mode::Propose, Destroys::Member, &member);
    check_at_dispatch(
        Mode::Auto,
        Destroys::Data,
        &[
            "Version",
            "Capability",
            "Survivor",
            "Permanence",
            "LossBudget",
            "LossOpen",
            "DailyLimit",
            "OwnStore",
        ],
    );
}

/// Rows: E16.
#[test]
fn a_person_who_is_asked_weighs_the_loss_and_nothing_else() {
    let data = ["Version", "Capability", "Survivor", "Permanence", "OwnStore"];
    check_at_dispatch(Mode::Propose, Destroys::Data, &data);
    let cell = cell(Mode::Auto);
    let approved =
        Declares { destroys: Destroys::Data, by_person: true, loss: Expected::Chosen(None) };
    check(&declared(&cell, &approved, None), &data);
}

#[test]
fn a_run_is_not_held_back_by_tools_that_a_restart_forgot_and_a_dispatch_is() {
    let cell = cell(Mode::Auto);
    let dispatch = Declares::at_dispatch(&cell, Destroys::Data);
    assert!(matches!(declared(&cell, &dispatch, None)[1], Guard::Capability(Err(_))));
    let run =
        Declares { destroys: Destroys::Data, by_person: false, loss: Expected::Chosen(Some(3)) };
    let guards = declared(&cell, &run, None);
    assert!(matches!(guards[1], Guard::Capability(Ok(()))));
    assert!(guards.contains(&Guard::LossBudget { upper: Some(3), budget: 2 }));
}
