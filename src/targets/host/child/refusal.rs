//! How a failure that is ours, and not the child's, comes out of the program in the child's place.

use crate::domain::rules::action::Failure;

/// The exit code where it is we who failed, and not the child; as `docker run` has it.
pub(super) const OURS: u8 = 125;
/// Before the failure, in the last line of the errors.
pub(super) const MARK: &str = "quorate child: ";

/// The failure that was ours, where a child ended so.
pub(crate) fn refusal(code: Option<i32>, stderr: &str) -> Option<Failure> {
    if code != Some(OURS.into()) {
        return None;
    }
    let told = stderr.lines().rev().find_map(|line| line.strip_prefix(MARK))?;
    serde_json::from_str(told).ok()
}
