//! Durations as Go writes them, such as `200ms` and `1m30s`, in parameters of the reference.

use alloc::format;
use alloc::string::String;
use core::time::Duration;

/// Reads a non-negative duration as Go writes it: one or more numbers with units, or `0`.
///
/// ```
/// use core::time::Duration;
/// use slotwise::plugins::parse_go_duration;
///
/// assert_eq!(parse_go_duration("1m30s"), Some(Duration::from_secs(90)));
/// assert_eq!(parse_go_duration("90"), None);
/// ```
pub fn parse_go_duration(text: &str) -> Option<Duration> {
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Some(Duration::ZERO);
    }
    let mut total = Duration::ZERO;
    loop {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(end);
        let unit = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit);
        total = total.checked_add(quantity(number, nanos(unit)?)?)?;
        if tail.is_empty() {
            return Some(total);
        }
        rest = tail;
    }
}

/// The nanoseconds of a unit.
const fn nanos(unit: &str) -> Option<u64> {
    Some(match unit.as_bytes() {
        b"ns" => 1,
        // Both signs for micro.
        b"us" | b"\xc2\xb5s" | b"\xce\xbcs" => 1_000,
        b"ms" => 1_000_000,
        b"s" => 1_000_000_000,
        b"m" => 60_000_000_000,
        b"h" => 3_600_000_000_000,
        _ => return None,
    })
}

/// A decimal number of units of so many nanoseconds.
fn quantity(number: &str, unit: u64) -> Option<Duration> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let mut scale = unit;
    let mut nanos = whole.checked_mul(unit)?;
    for digit in fraction.bytes() {
        scale /= 10;
        nanos =
            nanos.checked_add(u64::from(digit.checked_sub(b'0').filter(|d| *d < 10)?) * scale)?;
    }
    Some(Duration::from_nanos(nanos))
}

/// Writes a duration in the largest unit that divides it.
fn format(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    let unit = [(1_000_000_000, "s"), (1_000_000, "ms"), (1_000, "us")]
        .into_iter()
        .find(|(unit, _)| nanos % unit == 0);
    let (unit, name) = unit.unwrap_or((1, "ns"));
    format!("{}{name}", nanos / unit)
}

/// Serializes durations as Go writes them; reads a number as seconds too.
#[cfg(feature = "serde")]
pub(super) mod as_text {
    use core::fmt;
    use core::time::Duration;

    use serde::de::{Deserializer, Error, Visitor};
    use serde::ser::Serializer;

    pub(in crate::plugins) fn serialize<S: Serializer>(
        duration: &Duration,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.serialize_str(&super::format(*duration))
    }

    pub(in crate::plugins) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Duration, D::Error> {
        struct TextOrSeconds;

        impl Visitor<'_> for TextOrSeconds {
            type Value = Duration;

            fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
                to.write_str("a duration such as \"200ms\", or a number of seconds")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Duration, E> {
                super::parse_go_duration(text)
                    .ok_or_else(|| E::invalid_value(serde::de::Unexpected::Str(text), &self))
            }

            fn visit_f64<E: Error>(self, seconds: f64) -> Result<Duration, E> {
                Duration::try_from_secs_f64(seconds).map_err(E::custom)
            }

            fn visit_u64<E: Error>(self, seconds: u64) -> Result<Duration, E> {
                Ok(Duration::from_secs(seconds))
            }

            fn visit_i64<E: Error>(self, seconds: i64) -> Result<Duration, E> {
                self.visit_f64(seconds as f64)
            }
        }

        from.deserialize_any(TextOrSeconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_of_go_are_read() {
        for (text, nanos) in [
            ("200ms", 200_000_000),
            ("1m30s", 90_000_000_000),
            ("1.5s", 1_500_000_000),
            (".5h", 1_800_000_000_000),
            ("1h0.25s", 3_600_250_000_000),
            ("7us", 7_000),
            ("7µs", 7_000),
            ("3ns", 3),
            ("1.000000001s", 1_000_000_001),
            ("+2s", 2_000_000_000),
            ("0", 0),
            ("0s", 0),
        ] {
            assert_eq!(parse_go_duration(text), Some(Duration::from_nanos(nanos)), "{text:?}");
        }
        for text in ["", "5", "s", "-1s", ".s", "1.2.3s", "1d", "1 s", "1s ", "9999999999999h"] {
            assert_eq!(parse_go_duration(text), None, "{text:?}");
        }
    }

    #[test]
    fn durations_survive_as_text() {
        for nanos in [0, 1, 1_500, 200_000_000, 90_000_000_000, 1_234_567_891] {
            let duration = Duration::from_nanos(nanos);
            assert_eq!(parse_go_duration(&format(duration)), Some(duration));
        }
    }
}
