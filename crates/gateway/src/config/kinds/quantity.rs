//! Quantities as Kubernetes writes them: `500`, `1k`, `2Gi`, `1.5M`, `1e3`.

use core::fmt;

use serde::de::{Deserialize, Deserializer, Error, Unexpected, Visitor};

/// A quantity that is not negative; parts of a unit are rounded up.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Quantity(pub(super) u64);

/// Reads a quantity; `None` for one that is negative, or above 2^64 - 1.
fn parse(text: &str) -> Option<u64> {
    let text = text.strip_prefix('+').unwrap_or(text);
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let mut mantissa = 0_u128;
    for digit in whole.bytes().chain(fraction.bytes()) {
        let digit = digit.checked_sub(b'0').filter(|digit| *digit < 10)?;
        mantissa = mantissa.checked_mul(10)?.checked_add(u128::from(digit))?;
    }
    let (factor, power) = unit(suffix)?;
    let power = power.checked_sub(i32::try_from(fraction.len()).ok()?)?;
    let scaled = mantissa.checked_mul(factor)?;
    let ten = 10_u128.checked_pow(power.unsigned_abs());
    let value = match ten {
        Some(ten) if power < 0 => scaled.div_ceil(ten),
        // The quantity is below one unit.
        None if power < 0 => u128::from(scaled > 0),
        Some(ten) => scaled.checked_mul(ten)?,
        None => (scaled == 0).then_some(0)?,
    };
    u64::try_from(value).ok()
}

/// A suffix as a factor and a power of ten.
fn unit(suffix: &str) -> Option<(u128, i32)> {
    const BINARY: [&str; 6] = ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
    const DECIMAL: [(&str, i32); 10] = [
        ("n", -9),
        ("u", -6),
        ("m", -3),
        ("", 0),
        ("k", 3),
        ("M", 6),
        ("G", 9),
        ("T", 12),
        ("P", 15),
        ("E", 18),
    ];
    if let Some(at) = BINARY.iter().position(|name| *name == suffix) {
        return Some((1 << (10 * (at + 1)), 0));
    }
    if let Some((_, power)) = DECIMAL.iter().find(|(name, _)| *name == suffix) {
        return Some((1, *power));
    }
    let power = suffix.strip_prefix(['e', 'E'])?.parse::<i32>().ok()?;
    Some((1, power))
}

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(QuantityVisitor)
    }
}

struct QuantityVisitor;

impl Visitor<'_> for QuantityVisitor {
    type Value = Quantity;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a quantity from 0, such as 500, \"1k\" or \"2Gi\"")
    }

    fn visit_u64<E: Error>(self, quantity: u64) -> Result<Quantity, E> {
        Ok(Quantity(quantity))
    }

    fn visit_f64<E: Error>(self, quantity: f64) -> Result<Quantity, E> {
        // YAML reads `1e3` as a float.
        let whole = quantity.abs() < 9_007_199_254_740_992.0 && quantity >= 0.0;
        let rounded = quantity as u64;
        let fraction = u64::from(quantity > rounded as f64);
        if whole {
            Ok(Quantity(rounded + fraction))
        } else {
            Err(E::invalid_value(Unexpected::Float(quantity), &self))
        }
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Quantity, E> {
        let invalid = || E::invalid_value(Unexpected::Str(text), &self);
        parse(text).map(Quantity).ok_or_else(invalid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read() {
        for (text, value) in [
            ("0", Some(0)),
            ("500", Some(500)),
            ("1k", Some(1_000)),
            ("2Gi", Some(2 << 30)),
            ("1.5M", Some(1_500_000)),
            ("1.5Ki", Some(1_536)),
            ("100m", Some(1)),
            ("1e3", Some(1_000)),
            ("15E-1", Some(2)),
            ("16Ei", None),
            ("15Ei", Some(15 << 60)),
            ("1e400", None),
            ("0e400", Some(0)),
            ("1e-400", Some(1)),
            ("-1", None),
            ("", None),
            (".", None),
            ("1 k", None),
            ("1K", None),
            ("1kB", None),
            ("1.2.3", None),
        ] {
            assert_eq!(parse(text), value, "{text:?}");
        }
    }
}
