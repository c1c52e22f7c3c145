//! Times in rows, written and read without a calendar's help: a start reads millions of them.
//!
//! The text is the one that [`Time`] shows and reads; what does not look like it is left to [`Time`].

use std::fmt;

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, Visitor},
};

use crate::domain::base::time::Time;

/// A time as rows have it.
#[derive(Clone, Copy)]
pub(super) struct Stamp(pub(super) Time);

/// `2026-11-21T03:33:52.240Z`
const LENGTH: usize = 24;

const DAY_MS: i64 = 86_400_000;

/// Milliseconds since the epoch that have a text of this form which every reader of times takes: from
/// the year 0 to two days before the year 10,000.
const WRITTEN: std::ops::Range<i64> = -62_167_219_200_000..253_402_207_200_000;

impl Serialize for Stamp {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let text = write(self.0);
        match text.as_ref().map(|text| std::str::from_utf8(text)) {
            Some(Ok(text)) => to.serialize_str(text),
            Some(Err(_)) | None => self.0.serialize(to),
        }
    }
}

impl<'de> Deserialize<'de> for Stamp {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Stamp;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an RFC 3339 time")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Stamp, E> {
                match read(text.as_bytes()) {
                    Some(time) => Ok(Stamp(time)),
                    None => text.parse().map(Stamp).map_err(de::Error::custom),
                }
            }
        }
        from.deserialize_str(Text)
    }
}

/// The text of a time, where it has this form.
fn write(time: Time) -> Option<[u8; LENGTH]> {
    if !WRITTEN.contains(&time.0) {
        return None;
    }
    let (days, ms) = (time.0.div_euclid(DAY_MS), time.0.rem_euclid(DAY_MS));
    let (year, month, day) = date(days);
    let mut text = *b"0000-00-00T00:00:00.000Z";
    for (at, digits, number) in [
        (0, 4, year),
        (5, 2, month),
        (8, 2, day),
        (11, 2, ms / 3_600_000),
        (14, 2, ms / 60_000 % 60),
        (17, 2, ms / 1000 % 60),
        (20, 3, ms % 1000),
    ] {
        put(&mut text[at..at + digits], number);
    }
    Some(text)
}

fn put(to: &mut [u8], mut number: i64) {
    for digit in to.iter_mut().rev() {
        *digit = b'0' + u8::try_from(number % 10).unwrap_or(0);
        number /= 10;
    }
}

/// The time of such a text; `None` where it is of another form, or no date.
fn read(text: &[u8]) -> Option<Time> {
    const FORM: &[u8; LENGTH] = b"0000-00-00T00:00:00.000Z";
    let fits = |(byte, form): (&u8, &u8)| {
        if *form == b'0' { byte.is_ascii_digit() } else { byte == form }
    };
    if text.len() != LENGTH || !text.iter().zip(FORM).all(fits) {
        return None;
    }
    let number = |at: usize, digits: usize| {
        text[at..at + digits].iter().fold(0, |sum, digit| sum * 10 + i64::from(digit - b'0'))
    };
    let (year, month, day) = (number(0, 4), number(5, 2), number(8, 2));
    let (hour, minute, second) = (number(11, 2), number(14, 2), number(17, 2));
    let days = days(year, month, day);
    // a day that is not there, as the 30th of February, comes back as another
    let is_date = (1..=12).contains(&month) && date(days) == (year, month, day);
    let is_time = hour < 24 && minute < 60 && second < 60;
    let seconds = (hour * 60 + minute) * 60 + second;
    let ms = days * DAY_MS + seconds * 1000 + number(20, 3);
    (is_date && is_time && WRITTEN.contains(&ms)).then_some(Time(ms))
}

// Both count in years that begin in March, so that the leap day comes last, and in eras of 400 of them,
// which are all alike: 146,097 days. 719,468 days lie between the first such year and the epoch.

/// The date of a day since the epoch.
fn date(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (era * 400 + year + next, month, day)
}

/// The day since the epoch of a date.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(time: Time) {
        let text = serde_json::to_string(&Stamp(time)).unwrap();
        assert_eq!(text, serde_json::to_string(&time).unwrap());
        assert_eq!(serde_json::from_str::<Stamp>(&text).unwrap().0, time, "{text}");
    }

    #[test]
    fn the_edges_of_years_and_of_what_is_written_are_read() {
        for year in ["0000", "0001", "1970", "1999", "2000", "2024", "2100", "9998"] {
            for end in ["01-01T00:00:00.000Z", "02-28T23:59:59.999Z", "12-31T23:59:59.999Z"] {
                let text = format!("{year}-{end}");
                let time: Time = text.parse().unwrap();
                assert_eq!(read(text.as_bytes()), Some(time), "{text}");
                check(time);
                check(time.after(std::time::Duration::from_millis(1)));
            }
        }
        check(Time(WRITTEN.start));
        check(Time(WRITTEN.end - 1));
        assert_eq!((write(Time(WRITTEN.start - 1)), write(Time(WRITTEN.end))), (None, None));
    }

    #[test]
    fn what_is_of_another_form_is_read_as_every_time_is() {
        let read = |text: &str| serde_json::from_str::<Stamp>(&format!("{text:?}")).map(|s| s.0);
        assert_eq!(
            read("2026-11-24T11:00:00+01:00").unwrap().to_string(),
            "2026-11-24T10:00:00.000Z"
        );
        for wrong in ["2026-02-30T00:00:00.000Z", "2026-13-01T00:00:00.000Z", "yesterday", ""] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn a_stamp_is_the_text_of_the_time(ms in WRITTEN) {
            check(Time(ms));
        }

        #[test]
        fn digits_are_read_as_a_calendar_reads_them(
            year in 0..10_000, month in 0..15, day in 0..35, hour in 0..26, minute in 0..62,
        ) {
            let text = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:07.089Z");
            let stamp = serde_json::from_str::<Stamp>(&format!("{text:?}")).ok().map(|stamp| stamp.0);
            prop_assert_eq!(stamp, text.parse().ok());
        }
    }
}
