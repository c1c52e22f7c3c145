//! `guards` of a response.

use std::time::Duration;

use super::SPAN;
use crate::domain::rules::{
    codes,
    response::{Attempts, Backoff, Guards},
    yaml::{
        Node,
        read::{Bounds, Fields, Sink, count, duration, number, text, word},
    },
};

/// A factor below 1 would shorten the wait after each failure.
const FACTOR: Bounds<f64> = 1.0..=10.0;
const JITTER: Bounds<f64> = 0.0..=1.0;
/// The first wait: below a second it is no wait.
const INITIAL: Bounds<Duration> = Duration::from_secs(1)..=Duration::from_hours(24);
const ATTEMPTS: Bounds<u32> = 1..=100;
/// The window attempts are counted in.
const WINDOW: Bounds<Duration> = Duration::from_mins(1)..=Duration::from_hours(30 * 24);

pub(super) fn read(node: &Node, sink: &mut Sink<'_>) -> Option<Guards> {
    let mut fields = Fields::of(node, sink)?;
    let defaults = Guards::default();
    let tolerance = fields.get("tolerance").and_then(|node| duration(node, &SPAN, sink));
    let cooldown = fields.get("cooldown").and_then(|node| duration(node, &SPAN, sink));
    let backoff = fields.get("backoff").and_then(|node| backoff(node, sink));
    let attempts = fields.get("attempts").and_then(|node| attempts(node, sink));
    let share = fields.get("max_unhealthy_nodes").and_then(|node| share(node, sink));
    fields.finish(sink);
    Some(Guards {
        tolerance: tolerance.unwrap_or(defaults.tolerance),
        cooldown: cooldown.unwrap_or(defaults.cooldown),
        backoff: backoff.unwrap_or(defaults.backoff),
        attempts: attempts.unwrap_or(defaults.attempts),
        max_unhealthy_nodes: share,
    })
}

fn backoff(node: &Node, sink: &mut Sink<'_>) -> Option<Backoff> {
    let mut fields = Fields::of(node, sink)?;
    let defaults = Backoff::default();
    let initial = fields.get("initial").and_then(|node| duration(node, &INITIAL, sink));
    let factor = fields.get("factor").and_then(|node| number(node, &FACTOR, sink));
    let most = fields.get("max");
    let max = most.and_then(|node| duration(node, &INITIAL, sink));
    let jitter = fields.get("jitter").and_then(|node| number(node, &JITTER, sink));
    fields.finish(sink);
    let backoff = Backoff {
        initial: initial.unwrap_or(defaults.initial),
        factor: factor.unwrap_or(defaults.factor),
        max: max.unwrap_or(defaults.max),
        jitter: jitter.unwrap_or(defaults.jitter),
    };
    if let Some(node) = most.filter(|_| backoff.max < backoff.initial) {
        sink.add(&codes::OUT_OF_RANGE, &node.span, "`max` is shorter than `initial`");
    }
    Some(backoff)
}

fn attempts(node: &Node, sink: &mut Sink<'_>) -> Option<Attempts> {
    let mut fields = Fields::of(node, sink)?;
    let defaults = Attempts::default();
    let max = fields.get("max").and_then(|node| count(node, &ATTEMPTS, sink));
    let per = fields.get("per").and_then(|node| duration(node, &WINDOW, sink));
    if let Some(then) = fields.get("then") {
        word(then, &["escalate"], sink);
    }
    fields.finish(sink);
    Some(Attempts { max: max.unwrap_or(defaults.max), per: per.unwrap_or(defaults.per) })
}

/// `40%` as 0.4.
fn share(node: &Node, sink: &mut Sink<'_>) -> Option<f64> {
    let got = text(node, sink)?;
    let percent = got.strip_suffix('%').and_then(|digits| digits.parse::<u8>().ok());
    let share = percent.filter(|percent| *percent <= 100).map(|percent| f64::from(percent) / 100.0);
    if share.is_none() {
        let message = format!("`{got}` is no share");
        sink.add_help(&codes::BAD_UNIT, &node.span, message, "write 0% to 100%");
    }
    share
}
