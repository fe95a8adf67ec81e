//! A JSON number.

use crate::error::{ErrorKind, WireError};

/// A number as its digits, so that integers beyond 2^53 stay exact.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Number<'a> {
    digits: &'a str,
    at: usize,
}

impl<'a> Number<'a> {
    pub(super) const fn new(digits: &'a str, at: usize) -> Self {
        Self { digits, at }
    }

    /// The digits as written.
    pub(crate) const fn digits(self) -> &'a str {
        self.digits
    }

    /// The number as a non-negative integer. `1e3` is one; `1.5` and 2^64 are not.
    pub(crate) fn whole(self, what: &'static str) -> Result<u64, WireError> {
        if let Ok(number) = self.digits.parse() {
            return Ok(number);
        }
        let number = self.float();
        // A float-to-integer `as` saturates, so a number out of range does not survive the round
        // trip.
        #[expect(clippy::float_cmp, reason = "whether it is whole is a matter of all its bits")]
        let whole =
            (0.0..18_446_744_073_709_551_616.0).contains(&number) && number as u64 as f64 == number;
        if whole { Ok(number as u64) } else { Err(self.out_of_range(what)) }
    }

    /// The number as an integer below 2^32.
    pub(crate) fn small(self, what: &'static str) -> Result<u32, WireError> {
        u32::try_from(self.whole(what)?).map_err(|_| self.out_of_range(what))
    }

    /// The number as a signed integer of 32 bits.
    pub(crate) fn signed(self, what: &'static str) -> Result<i32, WireError> {
        if let Ok(number) = self.digits.parse() {
            return Ok(number);
        }
        let number = self.float();
        #[expect(clippy::float_cmp, reason = "whether it is whole is a matter of all its bits")]
        let whole = f64::from(number as i32) == number;
        if whole { Ok(number as i32) } else { Err(self.out_of_range(what)) }
    }

    /// The nearest `f64`.
    pub(crate) fn float(self) -> f64 {
        // Rust parses every number of JSON's grammar.
        self.digits.parse().unwrap_or(f64::NAN)
    }

    const fn out_of_range(self, what: &'static str) -> WireError {
        WireError::new(self.at, ErrorKind::OutOfRange(what))
    }
}

/// Returns the end of the number that starts at `start`.
pub(super) fn end(bytes: &[u8], start: usize) -> Result<usize, WireError> {
    let digits = |from: usize| {
        let count = bytes
            .get(from..)
            .unwrap_or_default()
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .count();
        if count == 0 { Err(WireError::expected(from, "a digit")) } else { Ok(from + count) }
    };
    let first = start + usize::from(bytes.get(start) == Some(&b'-'));
    let mut at = if bytes.get(first) == Some(&b'0') { first + 1 } else { digits(first)? };
    if bytes.get(at) == Some(&b'.') {
        at = digits(at + 1)?;
    }
    if matches!(bytes.get(at), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(at + 1), Some(b'+' | b'-')));
        at = digits(at + 1 + sign)?;
    }
    Ok(at)
}
