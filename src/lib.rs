//! quorate answers Prometheus alerts about **quorum** and **node readiness** with repairs that it can
//! prove safe, and says why whenever it does not act.
//!
//! This page is the map. Each module's own head says what it is and what it deliberately is not.
//!
//! # The way of an alert
//!
//! ```text
//!  Alertmanager
//!      │ POST /api/v1/webhook
//!      ▼
//!  http::webhook ──► engine::alerts ──► rows in the store, synced ──► 200 (never before)
//!                                          │ handed to the cell they are about
//!  domain::cell, one step:   incident::correlation ──► which subjects; an incident opens
//!                                          │ effect: a look, every max_gap/2
//!                            targets::Target::assess ──► readings (value | unknown) from two vantages
//!                                          │ input: what was looked at
//!                            etcd::verdict::judge ──► verdict ──► one sample of the grace
//!                                          │
//!                            incident::decision::decide ──► run | wait | skip | ask | escalate, and why
//!                                          │ run
//!                            run::plan ──► the resolved tree, stored with the run
//!                                          │
//!                            run::next ──► `Started` committed ──► effect: one call ──► its result committed
//! ```
//!
//! Beside it every cell looks at its cluster, also at a healthy one: the last linearizable voter set,
//! the last revision seen, and what no alert says.
//!
//! One direction, no way back: effects never call into decisions, decisions never perform effects.
//! The same fold takes live records and replayed ones, so a restart is nothing but a replay.
//!
//! # The layers
//!
//! | | module | may use |
//! |---|---|---|
//! | 0 | [`domain`] | nothing: no async, clock, files, network, `HashMap` |
//! | 1 | [`telemetry`], [`store`], [`targets`] | domain; not one another |
//! | 1 | `sim`: a model of the targets, in tests only | domain, targets |
//! | 2 | [`engine`] | layers 0 and 1; the only spawner of work |
//! | 3 | [`http`] | domain, telemetry, engine's handle |
//! | 4 | [`config`] | everything above |
//! | 5 | [`app`] | the composition root |
//! | 6 | [`cli`] | the verbs, and the only printing |
//!
//! A test checks the layers (`tests/tidy.rs`); lints deny clocks, files and `HashMap` in `domain`.
//!
//! # The rooms
//!
//! [`domain`] lists its own. Its heart is [`domain::cell`]: all that changes about one cluster, behind
//! one pure function. [`engine`] is the shell around the cells: it commits what a step decided, takes
//! the next cell over once that is durable, publishes it for readers, and performs its effects.
//!
//! # Invariants
//!
//! 1. `domain` takes `now` as an argument and cannot fail from outside.
//! 2. An alert is acknowledged only after it is durable. What cannot be made durable gets 503.
//! 3. A run changes only through [`domain::run::apply::apply`]. No effect without a journalled
//!    `Started`; a result is journalled before the next step.
//! 4. Every append carries a fence; the store refuses a former owner.
//! 5. At most one run per cluster.
//! 6. *Unknown* never satisfies a condition that leads to an irreversible step, and never counts as
//!    healthy.
//! 7. The journal never lives on the cluster that it is about.
//! 8. After an irreversible step there is no rollback, only finalizers and fix-forward.
//! 9. Every queue, retry and loop has a named bound with a reason. Every skip has a counted reason.
//! 10. Nothing that came in a label, annotation or API body ever reaches a shell.
//! 11. All of a file's problems are reported at once; a bad file never replaces a good one.
//!
//! # Walkthroughs
//!
//! - *Why was nothing done?* `quorate why` shows [`domain::incident::decision::Decision`]; the guards
//!   stand in their order in [`domain::incident::decision::decide`].
//! - *What happens after a crash?* [`engine::Engine::start`] folds the journal, each stream from its
//!   [snapshot](domain::journal::snapshot) on; a step without a
//!   result is in doubt, and its action is asked before anything is repeated ([`domain::run::next`]
//!   says so, [`domain::cell::run`] does it).
//! - *Where does a new action go?* One file in the room of its system (`targets/*/actions`) with its
//!   row, what it reads before, what it does, what a probe finds and what a person would type; one
//!   line in that room's list. [`targets::catalogue`], `check`, plans and approvals follow from the
//!   row; the modelled world wants one of the same name.
//! - *Where does a new fault domain go?* A room in [`domain`] with its evidence and its verdict, one
//!   implementation of [`domain::cell::fault::FaultDomain`], and a word in
//!   [`domain::rules::response::About`].
//! - *Where does a new input go?* A variant of [`domain::cell::input::Input`], and an arm in
//!   [`domain::cell::Cell::step`]; what brings it in is an effect ([`domain::cell::effect::Effect`],
//!   performed in `engine/effects.rs`) or the shell (`engine/shell.rs`).
//! - *How is a new verdict reached?* One row in the table of [`domain::etcd::verdict`], with a test.
pub mod app;
pub mod cli;
pub mod config;
pub mod domain;
pub mod engine;
pub mod http;
#[cfg(any(test, feature = "sim"))]
pub mod sim;
pub mod store;
pub mod targets;
pub mod telemetry;
