//! Points in time: microseconds since 1970, printed as RFC 3339 in UTC.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::id::BadId;

/// Microseconds since 1970-01-01T00:00:00Z, between the years 0 and 9999.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The first instant of the year 0 and the last of 9999: what RFC 3339 can write.
    pub(crate) const RANGE: std::ops::RangeInclusive<i64> = -62_167_219_200_000_000..=253_402_300_799_999_999;

    /// The instant `micros` after 1970, or `None` outside the years 0 to 9999.
    pub fn from_micros(micros: i64) -> Option<Timestamp> {
        Timestamp::RANGE.contains(&micros).then_some(Timestamp(micros))
    }

    /// Microseconds since 1970.
    pub fn micros(self) -> i64 {
        self.0
    }

    /// The text of every time: `2026-08-01T10:00:00.000000Z`.
    pub(crate) fn text(self) -> [u8; 27] {
        let (days, rest) = (self.0.div_euclid(86_400_000_000), self.0.rem_euclid(86_400_000_000));
        // Days to a date, proleptic Gregorian: Howard Hinnant's civil_from_days, counted from 0000-03-01.
        let z = days + 719_468;
        let era = z.div_euclid(146_097);
        let day_of_era = z.rem_euclid(146_097);
        let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_index = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month_index + 2) / 5 + 1;
        let month = if month_index < 10 { month_index + 3 } else { month_index - 9 };
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        let (seconds, micros) = (rest / 1_000_000, rest % 1_000_000);
        let mut out = *b"0000-00-00T00:00:00.000000Z";
        for (at, width, mut value) in [
            (0, 4, year),
            (5, 2, month),
            (8, 2, day),
            (11, 2, seconds / 3600),
            (14, 2, seconds / 60 % 60),
            (17, 2, seconds % 60),
            (20, 6, micros),
        ] {
            for i in (at..at + width).rev() {
                out[i] = b'0' + u8::try_from(value % 10).unwrap_or_default();
                value /= 10;
            }
        }
        out
    }

    /// The time that has this text, none where no time has.
    pub(crate) fn of_text(text: &[u8; 27]) -> Option<Timestamp> {
        let number = |at: usize, width: usize| {
            let digits = &text[at..at + width];
            let sum = digits.iter().fold(0, |sum, digit| sum * 10 + i64::from(digit.wrapping_sub(b'0')));
            digits.iter().all(u8::is_ascii_digit).then_some(sum)
        };
        let (year, month, day) = (number(0, 4)?, number(5, 2)?, number(8, 2)?);
        // A date to days, as in `text`: years begin with March.
        let (year, month_index) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
        let day_of_year = (153 * month_index + 2) / 5 + day - 1;
        let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
        let days = era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468;
        let seconds = (number(11, 2)? * 60 + number(14, 2)?) * 60 + number(17, 2)?;
        let time = Timestamp::from_micros((days * 86_400 + seconds) * 1_000_000 + number(20, 6)?)?;
        // The thirtieth of February is some other day, which has another text.
        (time.text() == *text).then_some(time)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.text()).unwrap_or_default())
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Timestamp {
    type Err = BadId;
    fn from_str(text: &str) -> Result<Timestamp, BadId> {
        if let Some(at) = text.as_bytes().try_into().ok().and_then(Timestamp::of_text) {
            return Ok(at);
        }
        text.parse::<jiff::Timestamp>()
            .ok()
            .and_then(|at| Timestamp::from_micros(at.as_microsecond()))
            .ok_or_else(|| BadId::new("time", text, "an RFC 3339 time with an offset, in the years 0 to 9999"))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: serde::Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: serde::Deserializer<'de>>(input: D) -> Result<Timestamp, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(input)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn only_a_time_is_read_without_jiff(text in "[0-9]{4}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-6][0-9]:[0-6][0-9][.][0-9]{6}Z") {
            let theirs = text.parse::<jiff::Timestamp>().ok().map(|at| at.as_microsecond());
            if let Some(at) = Timestamp::of_text(text.as_bytes().try_into().unwrap()) {
                prop_assert_eq!(Some(at.micros()), theirs);
            }
        }

        #[test]
        fn prints_as_jiff_does_and_parses_back(micros in Timestamp::RANGE) {
            let at = Timestamp::from_micros(micros).unwrap();
            let theirs = jiff::Timestamp::from_microsecond(micros).unwrap();
            prop_assert_eq!(at.to_string(), format!("{theirs:.6}"));
            prop_assert_eq!(Timestamp::of_text(&at.text()), Some(at));
            prop_assert_eq!(at.to_string().parse::<Timestamp>(), Ok(at));
        }
    }
}
