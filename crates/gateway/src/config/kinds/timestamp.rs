//! Times as Kubernetes writes them: RFC 3339, such as `2026-03-01T09:30:00Z`.

use core::fmt;

use serde::de::{Deserialize, Deserializer, Error, Unexpected, Visitor};

/// Seconds since 1970.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Timestamp(pub(super) u64);

/// The whole seconds since 1970; `None` for an earlier time, or another format.
fn parse(text: &str) -> Option<u64> {
    let (date, rest) = text.split_at_checked(10)?;
    let (time, zone) = rest.strip_prefix(['T', 't', ' '])?.split_at_checked(8)?;
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    let [hour, minute, second] = numbers(time, ':', [2, 2, 2])?;
    let valid = (1..=12).contains(&month) && (1..=31).contains(&day);
    if !(valid && hour < 24 && minute < 60 && second <= 60) {
        return None;
    }
    let digits = |c: char| c.is_ascii_digit();
    let zone = zone.strip_prefix('.').map_or(zone, |rest| rest.trim_start_matches(digits));
    let seconds = days(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second;
    u64::try_from(seconds - offset(zone)?).ok()
}

/// Three numbers with these counts of digits.
fn numbers(text: &str, separator: char, digits: [usize; 3]) -> Option<[i64; 3]> {
    let mut parts = text.split(separator);
    let mut numbers = [0; 3];
    for (number, digits) in numbers.iter_mut().zip(digits) {
        let part = parts.next().filter(|part| part.len() == digits)?;
        *number = part.bytes().all(|digit| digit.is_ascii_digit()).then(|| part.parse().ok())??;
    }
    parts.next().is_none().then_some(numbers)
}

/// The seconds by which a zone is ahead.
fn offset(zone: &str) -> Option<i64> {
    if matches!(zone, "Z" | "z") {
        return Some(0);
    }
    let sign = if zone.starts_with('-') { -1 } else { 1 };
    let (hours, minutes) = zone.strip_prefix(['+', '-'])?.split_once(':')?;
    let [hours, minutes] = [hours, minutes].map(|part| {
        let number: u8 = part.parse().ok()?;
        (part.len() == 2).then_some(i64::from(number))
    });
    Some(sign * (hours? * 3_600 + minutes? * 60))
}

/// The days from 1970 to a date of the Gregorian calendar.
fn days(year: i64, month: i64, day: i64) -> i64 {
    // Years begin in March, so the leap day is the last one.
    let year = if month <= 2 { year - 1 } else { year };
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let leap = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    year * 365 + leap + of_year - 719_468
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_str(TimestampVisitor)
    }
}

struct TimestampVisitor;

impl Visitor<'_> for TimestampVisitor {
    type Value = Timestamp;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a time such as \"2026-03-01T09:30:00Z\"")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Timestamp, E> {
        let invalid = || E::invalid_value(Unexpected::Str(text), &self);
        parse(text).map(Timestamp).ok_or_else(invalid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read() {
        for (text, seconds) in [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("2000-02-29T23:59:59Z", Some(951_868_799)),
            ("2026-03-01T09:30:00Z", Some(1_772_357_400)),
            ("2026-03-01T09:30:00.123456Z", Some(1_772_357_400)),
            ("2026-03-01T10:30:00+01:00", Some(1_772_357_400)),
            ("1969-12-31T23:59:59Z", None),
            ("2026-03-01", None),
            ("2026-13-01T00:00:00Z", None),
            ("2026-03-01T09:30:00", None),
            ("2026-03-01T09:30:00+1", None),
            ("é026-03-01T09:30:00Z", None),
            ("", None),
        ] {
            assert_eq!(parse(text), seconds, "{text:?}");
        }
    }
}
