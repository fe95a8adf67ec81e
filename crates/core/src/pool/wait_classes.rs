//! The least waits of all endpoints in a byte each, so that a search of many holders of a prefix
//! passes over those that wait too long.
//!
//! The best case of a word counts all its slots. Where few of them hold a prefix and the others are
//! idle, it rules out nothing. The classes of the 64 slots fill one cache line, and are compared
//! eight at a time.

use alloc::vec::Vec;

/// Slots of a word.
pub(crate) const WORD: u32 = 64;

/// Classes of all slots, by word.
#[derive(Debug, Default)]
pub(crate) struct WaitClasses(Vec<[u64; LANES]>);

/// A class of waits: a logarithm in steps of a quarter of an octave, rounded down.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct WaitClass(u8);

/// Numbers of eight classes for each word.
const LANES: usize = WORD as usize / 8;
/// The lowest bit of each byte.
const ONES: u64 = 0x0101_0101_0101_0101;

impl WaitClass {
    /// The class of endpoints that take no requests, and of the longest waits.
    pub(crate) const LAST: Self = Self(127);

    /// The class of a wait in seconds. A longer wait is never in a lower class. The first class
    /// ends at a microsecond, the last one begins after half an hour.
    pub(crate) fn of(wait: f64) -> Self {
        // The exponent and two bits of the mantissa; NaN and negative waits count as zero.
        let steps = (wait.max(0.0).to_bits() >> 50).saturating_sub((1_023 - 20) << 2);
        Self(steps.min(127) as u8)
    }
}

impl WaitClasses {
    /// Adds a word whose endpoints take no requests.
    pub(super) fn push_word(&mut self) {
        self.0.push([u64::from(WaitClass::LAST.0) * ONES; LANES]);
    }

    /// Sets the class of a slot.
    pub(super) fn set(&mut self, slot: u32, class: WaitClass) {
        let lane = &mut self.0[(slot / WORD) as usize][(slot % WORD / 8) as usize];
        let shift = slot % 8 * 8;
        *lane = *lane & !(0xff << shift) | u64::from(class.0) << shift;
    }

    /// The slots of a word that are at most in this class: a bit is set for each.
    #[inline]
    pub(crate) fn up_to(&self, word: u32, class: WaitClass) -> u64 {
        // No class has the highest bit of its byte, so no byte borrows from the next one.
        let most = u64::from(class.0 | 0x80) * ONES;
        let lanes = self.0.get(word as usize).into_iter().flatten();
        lanes.zip((0..).step_by(8)).fold(0, |slots, (lane, at)| {
            let within = (most - lane) >> 7 & ONES;
            // Moves the lowest bits of the bytes into the highest byte.
            slots | within.wrapping_mul(0x0102_0408_1020_4080) >> 56 << at
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn longer_waits_are_never_in_lower_classes() {
        let waits = (-30..20).flat_map(|octave| {
            (0..16).map(move |step| (1.0 + f64::from(step) / 16.0) * f64::powi(2.0, octave))
        });
        let classes: Vec<_> = waits.map(WaitClass::of).collect();
        assert!(classes.is_sorted());
        assert_eq!([WaitClass::of(-1.0), WaitClass::of(f64::NAN)], [WaitClass::of(0.0); 2]);
        assert_eq!(WaitClass::of(f64::INFINITY), WaitClass::LAST);
        assert!(WaitClass::of(0.1) < WaitClass::of(0.13));
    }

    proptest! {
        #[test]
        fn words_compare_as_their_slots_do(
            waits in prop::collection::vec((0u32..128, 0.0f64..3.0), 0..200),
            limit in 0.0f64..3.0,
        ) {
            let mut classes = WaitClasses::default();
            (0..2).for_each(|_| classes.push_word());
            let mut one_by_one = [WaitClass::LAST; 128];
            for (slot, wait) in waits {
                classes.set(slot, WaitClass::of(wait));
                one_by_one[slot as usize] = WaitClass::of(wait);
            }
            for limit in [WaitClass::of(limit), WaitClass::LAST] {
                for slot in 0..128 {
                    let within = classes.up_to(slot / 64, limit) >> (slot % 64) & 1 == 1;
                    prop_assert_eq!(within, one_by_one[slot as usize] <= limit);
                }
            }
        }
    }
}
