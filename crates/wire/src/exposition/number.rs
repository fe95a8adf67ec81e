//! Values of samples, and their OpenMetrics text: without the formatter where a number is whole.
//!
//! A page of 1,000 endpoints has 33,000 samples, most of which are small counts. The formatter
//! takes longer than all the rest of such a sample.

use core::fmt;

/// A value of a sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Value {
    Whole(u64),
    Real(f64),
}

impl Value {
    pub(super) fn real(self) -> f64 {
        match self {
            Self::Whole(value) => value as f64,
            Self::Real(value) => value,
        }
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Whole(u64::from(value))
    }
}

impl From<u64> for Value {
    fn from(value: u64) -> Self {
        Self::Whole(value)
    }
}

impl From<u32> for Value {
    fn from(value: u32) -> Self {
        Self::Whole(u64::from(value))
    }
}

impl From<usize> for Value {
    fn from(value: usize) -> Self {
        Self::Whole(value as u64)
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::Real(value)
    }
}

/// Writes a value and ends the line.
pub(super) fn write_line(value: Value, out: &mut impl fmt::Write) -> fmt::Result {
    match value {
        Value::Whole(whole) => match SMALL.get(whole as usize) {
            Some(line) => out.write_str(line),
            None => write_whole(whole, "\n", out),
        },
        Value::Real(real) if real.is_nan() => out.write_str("NaN\n"),
        Value::Real(real) if real.is_infinite() => {
            out.write_str(if real > 0.0 { "+Inf\n" } else { "-Inf\n" })
        }
        Value::Real(real) if real.to_bits() == 0 => out.write_str("0.0\n"),
        Value::Real(real) if is_small_whole(real) => write_whole(real as u64, ".0\n", out),
        // The shortest form that parses to the same value.
        Value::Real(real) => writeln!(out, "{real:?}"),
    }
}

/// Whether the formatter writes the value as its digits and `.0`. Of the numbers that equal zero,
/// only the positive one is.
fn is_small_whole(real: f64) -> bool {
    real < MOST && ((real as u64) as f64).to_bits() == real.to_bits()
}

fn write_whole(whole: u64, end: &str, out: &mut impl fmt::Write) -> fmt::Result {
    let (mut digits, mut at, mut rest) = ([b'0'; LONGEST], LONGEST, whole);
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.write_str(core::str::from_utf8(&digits[at..]).map_err(|_| fmt::Error)?)?;
    out.write_str(end)
}

/// Smaller whole numbers have no exponent.
const MOST: f64 = 1e15;
/// Digits of the largest 64-bit number.
const LONGEST: usize = 20;
/// Lines of the most frequent values.
const SMALL: [&str; 10] = ["0\n", "1\n", "2\n", "3\n", "4\n", "5\n", "6\n", "7\n", "8\n", "9\n"];

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::string::String;

    use super::*;
    use proptest::prelude::*;

    fn line(value: Value) -> String {
        let mut text = String::new();
        write_line(value, &mut text).expect("a string takes any text");
        text
    }

    #[test]
    fn edges_are_written_as_the_formatter_does() {
        let edges =
            [0.0, -0.0, 1.0, 9.0, 10.0, -3.0, 0.1, 1e14, 1e15, 1e16, 1e17, f64::MIN_POSITIVE];
        for real in edges.into_iter().flat_map(|real| [real, -real, real + 0.5]) {
            assert_eq!(line(Value::Real(real)), format!("{real:?}\n"));
        }
        for whole in [0, 9, 10, 99, 100, u64::MAX] {
            assert_eq!(line(Value::Whole(whole)), format!("{whole}\n"));
        }
        let special = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY].map(Value::Real).map(line);
        assert_eq!(special, ["NaN\n", "+Inf\n", "-Inf\n"]);
    }

    proptest! {
        #[test]
        fn all_numbers_are_written_as_the_formatter_does(bits: u64, shift in 0u32..64) {
            prop_assert_eq!(line(Value::Whole(bits >> shift)), format!("{}\n", bits >> shift));
            for real in [f64::from_bits(bits), (bits >> shift) as f64] {
                if real.is_finite() {
                    prop_assert_eq!(line(Value::Real(real)), format!("{real:?}\n"));
                }
            }
        }
    }
}
