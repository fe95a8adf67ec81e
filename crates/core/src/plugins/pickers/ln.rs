//! The natural logarithm by IEEE `+ - * /`, which round alike on every platform.

use core::f64::consts::{LN_2, SQRT_2};

/// The natural logarithm of a positive, normal number, to within 4 units in the last place.
///
/// `x = m · 2^e` with `m` in `[√½, √2]`, so `ln x = e · ln 2 + 2 artanh((m - 1) / (m + 1))`. The
/// first eleven terms of the series of `artanh` leave a rest below `2^-58` of the result.
pub(super) fn ln(x: f64) -> f64 {
    const FRACTION: u64 = (1 << 52) - 1;
    let bits = x.to_bits();
    let mut exponent = ((bits >> 52) & 0x7ff) as i32 - 1023;
    let mut mantissa = f64::from_bits(bits & FRACTION | 1.0_f64.to_bits());
    if mantissa > SQRT_2 {
        mantissa *= 0.5;
        exponent += 1;
    }
    let s = (mantissa - 1.0) / (mantissa + 1.0);
    let series =
        (0..=10).rev().fold(0.0, |sum, term| sum * (s * s) + 1.0 / f64::from(2 * term + 1));
    f64::from(exponent) * LN_2 + 2.0 * s * series
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn is_close(x: f64) -> bool {
        let expected = x.ln();
        (ln(x) - expected).abs() <= 4.0 * f64::EPSILON * expected.abs()
    }

    #[test]
    fn numbers_near_one_and_powers_of_two_are_close() {
        assert_eq!(ln(1.0).to_bits(), 0.0_f64.to_bits());
        for exponent in -1022..=1023 {
            let power = ((1023 + exponent) as u64) << 52;
            let root = f64::from_bits(power) * SQRT_2;
            for bits in [power, power + 1, power - 1, root.to_bits(), root.to_bits() + 1] {
                let x = f64::from_bits(bits);
                assert!(x < f64::MIN_POSITIVE || is_close(x), "{x}");
            }
        }
    }

    proptest! {
        #[test]
        fn every_number_is_close(x in prop::num::f64::POSITIVE | prop::num::f64::NORMAL) {
            let x = x.abs();
            prop_assert!(is_close(x), "{} instead of {}", ln(x), x.ln());
        }

        #[test]
        fn every_number_below_one_is_close(x in f64::MIN_POSITIVE..1.0) {
            prop_assert!(is_close(x), "{} instead of {}", ln(x), x.ln());
        }
    }
}
