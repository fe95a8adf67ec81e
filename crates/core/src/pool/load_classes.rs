//! The least loads of all endpoints in a byte each, so that a search of many holders of a prefix
//! passes over those with too much of it.
//!
//! The best case of a word counts all its slots. Where few of them hold a prefix and the others are
//! idle, it rules out nothing. The classes of the 64 slots fill one cache line. Every eighth one is
//! in the same number, and numbers are compared as a whole, two at a time.
//!
//! A load is a number of seconds: the wait, and the used share of the KV cache. Their sum rules out
//! more than either, since neither is as low as it can be on the same endpoint.

use alloc::vec::Vec;

/// Slots of a word.
pub(crate) const WORD: u32 = 64;

/// Classes of all slots, by word.
#[derive(Debug, Default)]
pub(crate) struct LoadClasses(Vec<[[u64; 2]; 4]>);

/// Seconds of wait that count as much as a full KV cache: the ratio of their default prices.
pub(crate) const FULL_CACHE: f64 = 4.0;

/// A class of loads: a logarithm in steps of an eighth of an octave, rounded down.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct LoadClass(u8);

/// The lowest bit of each byte.
const ONES: u64 = 0x0101_0101_0101_0101;
/// The highest bit of each byte.
const HIGHEST: u64 = 0x80 * ONES;

impl LoadClass {
    /// The class of endpoints that take no requests, and of the highest loads.
    pub(crate) const LAST: Self = Self(127);

    /// The class of a load. A higher load is never in a lower class. The first class ends at a
    /// millisecond, the last one begins after a minute.
    pub(crate) fn of(load: f64) -> Self {
        // The exponent and three bits of the mantissa; NaN and negative loads count as zero.
        let steps = (load.max(0.0).to_bits() >> 49).saturating_sub((1_023 - 10) << 3);
        Self(steps.min(127) as u8)
    }
}

impl LoadClasses {
    /// Adds a word whose endpoints take no requests.
    pub(super) fn push_word(&mut self) {
        self.0.push([[u64::from(LoadClass::LAST.0) * ONES; 2]; 4]);
    }

    /// Sets the class of a slot.
    pub(super) fn set(&mut self, slot: u32, class: LoadClass) {
        let from_last = 7 - slot as usize % 8;
        let lane = &mut self.0[(slot / WORD) as usize][from_last % 4][from_last / 4];
        let shift = slot % WORD / 8 * 8;
        *lane = *lane & !(0xff << shift) | u64::from(class.0) << shift;
    }

    /// The slots of a word that are at most in this class: a bit is set for each.
    #[inline]
    pub(crate) fn up_to(&self, word: u32, class: LoadClass) -> u64 {
        // No class has the highest bit of its byte, so no byte borrows from the next one.
        let most = u64::from(class.0 | 0x80) * ONES;
        let Some(pairs) = self.0.get(word as usize) else { return 0 };
        let mut slots = [0; 2];
        for (pair, shift) in pairs.iter().zip(0..) {
            for (slots, lane) in slots.iter_mut().zip(pair) {
                *slots |= ((most - lane) & HIGHEST) >> shift;
            }
        }
        slots[0] | slots[1] >> 4
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn higher_loads_are_never_in_lower_classes() {
        let loads = (-30..20).flat_map(|octave| {
            (0..16).map(move |step| (1.0 + f64::from(step) / 16.0) * f64::powi(2.0, octave))
        });
        let classes: Vec<_> = loads.map(LoadClass::of).collect();
        assert!(classes.is_sorted());
        assert_eq!([LoadClass::of(-1.0), LoadClass::of(f64::NAN)], [LoadClass::of(0.0); 2]);
        assert_eq!(LoadClass::of(f64::INFINITY), LoadClass::LAST);
        assert!(LoadClass::of(0.1) < LoadClass::of(0.115));
    }

    proptest! {
        #[test]
        fn words_compare_as_their_slots_do(
            loads in prop::collection::vec((0u32..128, 0.0f64..3.0), 0..200),
            limit in 0.0f64..3.0,
        ) {
            let mut classes = LoadClasses::default();
            (0..2).for_each(|_| classes.push_word());
            let mut one_by_one = [LoadClass::LAST; 128];
            for (slot, load) in loads {
                classes.set(slot, LoadClass::of(load));
                one_by_one[slot as usize] = LoadClass::of(load);
            }
            for limit in [LoadClass::of(limit), LoadClass::LAST] {
                for slot in 0..128 {
                    let within = classes.up_to(slot / 64, limit) >> (slot % 64) & 1 == 1;
                    prop_assert_eq!(within, one_by_one[slot as usize] <= limit);
                }
            }
        }
    }
}
