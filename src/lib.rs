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
//!  http::webhook ──► engine::Handle::observe ──► rows in the store, synced ──► 200 (never before)
//!                                                   │
//!                     domain::incident::correlation ──► which subjects, which signals
//!                                                   │ incident open: a look every max_gap/2
//!                     targets::Target::assess ──► readings (value | unknown) from two vantages
//!                                                   │
//!                     domain::verdict::judge ──► verdict ──► one sample of the grace
//!                                                   │
//!                     domain::decision::decide ──► run | wait | skip | ask | escalate, with a reason
//!                                                   │ run
//!                     domain::run::plan ──► the resolved tree, stored with the run
//!                                                   │
//!                     engine::runner ──► journal Started ─► Target::act ─► journal the result ─► next
//! ```
//!
//! Beside it [`engine`] looks at every cluster, also at healthy ones: the last linearizable voter
//! set (the latch), the last revision seen, and what no alert says.
//!
//! One direction, no way back: effects never call into decisions, decisions never perform effects.
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
//! 7. The journal never lives on the patient.
//! 8. After an irreversible step there is no rollback, only finalizers and fix-forward.
//! 9. Every queue, retry and loop has a named bound with a reason. Every skip has a counted reason.
//! 10. Nothing that came in a label, annotation or API body ever reaches a shell.
//! 11. All of a file's problems are reported at once; a bad file never replaces a good one.
//!
//! # Walkthroughs
//!
//! - *Why was nothing done?* `quorate why` shows [`domain::decision::Decision`]; the guards stand in
//!   their order in [`domain::decision::decide`].
//! - *What happens after a crash?* [`engine::Engine::start`] folds the journal; a step without a result
//!   is in doubt, and its action is asked before anything is repeated ([`engine::runner`]).
//! - *How is a new action added?* One file in its system's room (`targets/etcd/actions`,
//!   `targets/host/actions`) with its row, what it reads before, what it does, what a probe finds and
//!   what a person would type; one line in that room's list. [`targets::catalogue`], `check`, plans and
//!   approvals follow from the row; the modelled world wants one of the same name.
//! - *How is a new verdict reached?* One row in the table of [`domain::verdict`], with a test.
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
