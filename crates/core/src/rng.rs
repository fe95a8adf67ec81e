//! A small random generator. Its seed fixes the stream, on every platform and in every version.
//! `rand` and `fastrand` were weighed: their streams may change between versions, and no draw may.

/// SplitMix64 (Steele, Lea and Flood, 2014): 64 bits of state, period 2^64, one multiply-xor
/// cascade a draw.
///
/// Suitable for spreading choices and deriving keys, not for secrets.
///
/// ```
/// use slotwise::Rng;
///
/// let mut rng = Rng::new(42);
/// assert_eq!(rng.next_u64(), 13_679_457_532_755_275_413);
/// assert!(rng.below(10) < 10);
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Rng(u64);

impl Rng {
    /// A generator; equal seeds give equal streams.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 uniform bits.
    pub const fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A uniform integer below `bound`, or zero if `bound` is zero.
    ///
    /// By multiplication (Lemire, 2019) without the rejection step: the bias is below `bound /
    /// 2^64`.
    pub const fn below(&mut self, bound: u64) -> u64 {
        ((self.next_u64() as u128 * bound as u128) >> 64) as u64
    }

    /// A uniform number in `[0, 1)`, a multiple of 2^-53.
    pub fn unit(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }

    /// An independent generator, whose use leaves this stream unchanged.
    pub const fn fork(&mut self) -> Self {
        Self(self.next_u64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stream_is_fixed_for_ever() {
        let mut rng = Rng::new(1_234_567);
        let drawn: [u64; 3] = core::array::from_fn(|_| rng.next_u64());
        assert_eq!(
            drawn,
            [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]
        );
    }

    #[test]
    fn draws_stay_in_their_bounds() {
        let mut rng = Rng::new(0);
        assert_eq!(rng.below(0), 0);
        for bound in 1..200 {
            assert!(rng.below(bound) < bound);
            assert!((0.0..1.0).contains(&rng.unit()));
        }
    }
}
