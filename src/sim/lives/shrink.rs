//! A script that fails, with as little in it as still fails.

use super::script::Script;

/// Leaves out events, then clusters' worth of them, as long as the life still fails; `fails` lives it.
/// At most so many lives are lived.
pub fn shrink(script: Script, mut lives: u32, fails: impl Fn(&Script) -> bool) -> Script {
    let mut best = script;
    let mut chunk = best.events.len().div_ceil(2).max(1);
    while lives > 0 {
        let mut at = 0;
        let mut is_smaller = false;
        while at < best.events.len() && lives > 0 {
            let mut less = best.clone();
            let end = (at + chunk).min(less.events.len());
            less.events.drain(at..end);
            lives -= 1;
            if fails(&less) {
                (best, is_smaller) = (less, true);
            } else {
                at += chunk;
            }
        }
        if chunk == 1 && !is_smaller {
            break;
        }
        chunk = (chunk / 2).max(1);
    }
    best
}
