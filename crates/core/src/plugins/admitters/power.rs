//! Powers from `+ - * /`, which round alike on every platform.

/// `base` to the power of `exponent`, to within 1e-9 of the result; zero if the base is
/// not positive, or the exponent negative or NaN. Computes in **O(1)**.
///
/// The whole part of the exponent is squared and multiplied, its fraction is a product of square
/// roots.
pub(super) fn power(base: f64, exponent: f64) -> f64 {
    if !(base > 0.0 && exponent >= 0.0) {
        return 0.0;
    }
    let whole = exponent.min(MOST) as u32;
    let (mut result, mut factor) = (1.0, base);
    let mut left = whole;
    while left > 0 {
        if left & 1 == 1 {
            result *= factor;
        }
        factor *= factor;
        left >>= 1;
    }
    let (mut fraction, mut root) = (exponent.min(MOST) - f64::from(whole), base);
    while fraction > 0.0 {
        fraction *= 2.0;
        root = square_root(root);
        if fraction >= 1.0 {
            fraction -= 1.0;
            result *= root;
        }
    }
    result
}

/// Newton's method. It falls to the root from above, in at most 1,100 steps for any number.
fn square_root(number: f64) -> f64 {
    if !number.is_finite() {
        return number;
    }
    let mut root = number.max(1.0);
    loop {
        let next = 0.5 * (root + number / root);
        if next >= root {
            return root;
        }
        root = next;
    }
}

/// The largest exponent; by then a power of any other number than 1 is 0 or infinite, or close.
const MOST: f64 = 1_000_000.0;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::power;

    #[test]
    fn edges_are_defined() {
        let powers = [
            (0.0, 5.0, 0.0),
            (1.0, f64::MAX, 1.0),
            (2.0, f64::INFINITY, f64::INFINITY),
            (f64::INFINITY, 0.5, f64::INFINITY),
            (f64::NAN, 5.0, 0.0),
            (-1.0, 5.0, 0.0),
            (5.0, f64::NAN, 0.0),
        ];
        for (base, exponent, expected) in powers {
            assert_eq!(power(base, exponent).to_bits(), f64::to_bits(expected));
        }
    }

    proptest! {
        #[test]
        fn it_agrees_with_the_standard_library(base in 0.0f64..10.0, exponent in 0.0f64..20.0) {
            let (ours, theirs) = (power(base, exponent), base.powf(exponent));
            prop_assert!((ours - theirs).abs() <= 1e-9 * theirs, "{} and {}", ours, theirs);
        }
    }
}
