//! Points in time and durations as quorate counts them: whole milliseconds, UTC.
//!
//! Nothing here reads a clock: `now` always comes in as an argument. Durations are written as
//! Prometheus writes them (`1h30m`, `500ms`); jiff's own parser knows no `1d`.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The longest duration that is taken from anybody: ten years. Nothing is kept, waited for or paused
/// longer than that, and now and this together stay far below [`Time::MAX`].
pub const DURATION_MAX: Duration = Duration::from_hours(24 * 3650);

/// Milliseconds since the Unix epoch, UTC. Shown as RFC 3339 with milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(pub i64);

impl Time {
    /// The earliest time that RFC 3339 can write: the beginning of the year 0.
    pub const MIN: Self = Self(-62_167_219_200_000);
    /// The latest time that can be written and read back: one day before the year 10000.
    pub const MAX: Self = Self(253_402_207_200_000);

    /// This time and `span` later, never later than [`Time::MAX`].
    #[must_use]
    pub fn after(self, span: Duration) -> Self {
        let later = self.0.saturating_add(i64::try_from(span.as_millis()).unwrap_or(i64::MAX));
        Self(later).min(Self::MAX)
    }

    /// This time and `span` earlier, without overflow.
    #[must_use]
    pub fn before(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)))
    }

    /// How long before `self` was `earlier`; zero if it was later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(at) => write!(f, "{at:.3}"),
            Err(_) => write!(f, "{}ms", self.0),
        }
    }
}

impl FromStr for Time {
    type Err = TimeError;

    /// RFC 3339, with any offset and any number of decimals (cut to milliseconds).
    fn from_str(text: &str) -> Result<Self, TimeError> {
        let at = text.parse::<jiff::Timestamp>().map(|at| Self(at.as_millisecond()));
        at.ok().filter(|at| *at >= Self::MIN).ok_or_else(|| TimeError(text.into()))
    }
}

/// A text that is no RFC 3339 time.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0:?} is no RFC 3339 time, as 2026-11-21T03:33:52.240Z is")]
pub struct TimeError(String);

/// A text that is no duration, or one too long.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum DurationError {
    /// It is not written as durations are.
    #[error("{0:?} is not a duration: write whole numbers with units, as 90s or 1h30m")]
    Syntax(String),
    /// It is longer than [`DURATION_MAX`].
    #[error("{0:?} is longer than {max}, the longest duration there is", max = format_duration(DURATION_MAX))]
    TooLong(String),
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(from)?;
        text.parse().map_err(de::Error::custom)
    }
}

/// Parses `1d2h3m4s5ms`: whole numbers, each unit with its own, no spaces; at most [`DURATION_MAX`].
pub fn parse_duration(text: &str) -> Result<Duration, DurationError> {
    let syntax = || DurationError::Syntax(text.into());
    let mut rest = text;
    let mut total: u64 = 0;
    if rest.is_empty() {
        return Err(syntax());
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).filter(|n| *n > 0);
        let digits = digits.ok_or_else(syntax)?;
        let unit =
            rest[digits..].find(|c: char| c.is_ascii_digit()).map_or(rest.len(), |n| n + digits);
        let factor: u64 = match &rest[digits..unit] {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            "w" => 604_800_000,
            _ => return Err(syntax()),
        };
        // only digits, so what does not parse is too large
        let count = rest[..digits].parse().unwrap_or(u64::MAX);
        total = total.saturating_add(count.saturating_mul(factor));
        rest = &rest[unit..];
    }
    let span = Duration::from_millis(total);
    if span > DURATION_MAX { Err(DurationError::TooLong(text.into())) } else { Ok(span) }
}

/// Writes a duration so that [`parse_duration`] reads it back: `1h30m`, `90s` becomes `1m30s`.
pub fn format_duration(span: Duration) -> String {
    let mut left = span.as_millis();
    let mut text = String::new();
    for (factor, unit) in
        [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1000, "s"), (1, "ms")]
    {
        if left >= factor {
            text.push_str(&(left / factor).to_string());
            text.push_str(unit);
            left %= factor;
        }
    }
    if text.is_empty() { "0s".into() } else { text }
}

/// Serde for a [`Duration`] field in Prometheus' notation: `#[serde(with = "time::duration")]`.
pub mod duration {
    use super::{
        Deserialize, Deserializer, Duration, Serializer, de, format_duration, parse_duration,
    };

    /// Writes `1m30s`.
    pub fn serialize<S: Serializer>(span: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&format_duration(*span))
    }

    /// Reads `1m30s`.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        let text = String::deserialize(from)?;
        parse_duration(&text).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_and_write_as_prometheus_does() {
        for (text, millis) in
            [("90s", 90_000), ("1h30m", 5_400_000), ("5ms", 5), ("1d2h", 93_600_000)]
        {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)), "{text}");
            assert_eq!(
                parse_duration(&format_duration(Duration::from_millis(millis)))
                    .unwrap()
                    .as_millis(),
                u128::from(millis)
            );
        }
        for text in ["", "5", "s", "1.5s", "1 s", "-1s", "3000000"] {
            assert_eq!(parse_duration(text), Err(DurationError::Syntax(text.into())), "{text}");
        }
    }

    #[test]
    fn a_duration_is_bounded_and_the_error_says_the_bound() {
        assert_eq!(parse_duration("3650d"), Ok(DURATION_MAX));
        for text in ["3650d1ms", "9999999d", "99999999999999999999s", "9999999999999999w"] {
            let error = parse_duration(text).unwrap_err();
            assert_eq!(error, DurationError::TooLong(text.into()));
            assert!(error.to_string().contains("longer than 3650d"), "{error}");
        }
    }

    #[test]
    fn every_time_that_can_be_made_is_written_so_that_it_reads_back() {
        assert_eq!(Time::MAX.0, jiff::Timestamp::MAX.as_second() * 1000);
        let now = Time(1_795_000_000_000);
        for time in [Time::MIN, Time::MAX, now.after(Duration::MAX), now.after(DURATION_MAX)] {
            assert_eq!(time.to_string().parse(), Ok(time));
        }
        assert!("-000001-12-31T00:00:00Z".parse::<Time>().is_err());
    }

    #[test]
    fn times_keep_milliseconds_whatever_the_offset() {
        let time: Time = "2026-11-21T04:33:52.240999999+01:00".parse().unwrap();
        assert_eq!(time.to_string(), "2026-11-21T03:33:52.240Z");
        assert!("0001-01-01T00:00:00Z".parse::<Time>().is_ok());
    }
}
