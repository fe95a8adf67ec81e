//! Breaks ties by rendezvous hashing, so that equal prompts meet on the same endpoint.
//!
//! Each prompt has a hash for each endpoint, and the least wins. When an endpoint drops out of a
//! tie, only its own prompts move. A tie of thousands must not take thousands of hashes: chunks of
//! endpoints are compared first, then the words of the winning chunk, then the endpoints of that
//! word. A pool of up to 64 endpoints is one word.

use super::lookup::Lookup;
use crate::fleet::Fleet;
use crate::pool::{CHUNK, WORD};
use crate::prefix::PromptHasher;

/// The rank of an endpoint among equals: of its chunk, of its word, then its own.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct TieRank {
    chunk: u64,
    word: u64,
    endpoint: u64,
}

impl TieRank {
    /// The least rank in the chunk with this draw.
    pub(crate) const fn of_chunk(self, chunk: u64) -> Self {
        Self { chunk, ..self }
    }

    /// The least rank in the word with this draw, where `self` is its chunk's.
    pub(crate) const fn of_word(self, word: u64) -> Self {
        Self { word, ..self }
    }

    /// The rank of the endpoint with this draw, where `self` is its word's.
    pub(crate) const fn of_endpoint(self, endpoint: u64) -> Self {
        Self { endpoint, ..self }
    }
}

/// The tie ranks for one prompt.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TieBreaker<'a> {
    hasher: &'a PromptHasher,
    identity: u64,
    slots: u32,
}

impl<'a> TieBreaker<'a> {
    /// For prompts of this identity, in a pool with `slots` slots.
    pub(crate) const fn new(hasher: &'a PromptHasher, identity: u64, slots: u32) -> Self {
        Self { hasher, identity, slots }
    }

    /// For the prompt of a request.
    pub(crate) fn for_prompt(fleet: &'a Fleet, lookup: &Lookup) -> Self {
        Self::new(&fleet.hasher, lookup.identity, fleet.pool.bounds().len())
    }

    /// The draw of the chunk that begins at this slot: its least rank.
    #[inline]
    pub(crate) fn chunk(&self, slot: u32) -> u64 {
        self.draw(slot, CHUNK)
    }

    /// The draw of the word that begins at this slot.
    #[inline]
    pub(crate) fn word(&self, slot: u32) -> u64 {
        self.draw(slot, WORD)
    }

    /// The draw of the endpoint with this key.
    #[inline]
    pub(crate) fn endpoint(&self, key: u64) -> u64 {
        self.hasher.mix(self.identity, key)
    }

    /// The rank of the endpoint in this slot with this key.
    #[inline(always)]
    pub(crate) fn rank(&self, slot: u32, key: u64) -> TieRank {
        let endpoint = self.endpoint(key);
        if self.slots <= WORD {
            return TieRank { chunk: 0, word: 0, endpoint };
        }
        let (chunk, word) = (self.chunk(slot - slot % CHUNK), self.word(slot - slot % WORD));
        TieRank { chunk, word, endpoint }
    }

    /// A group wins in proportion to its slots: only the last group of a pool has fewer than the
    /// others. A single group needs no hash.
    fn draw(&self, first: u32, size: u32) -> u64 {
        if self.slots <= size {
            return 0;
        }
        let key = self.hasher.mix(u64::from(size), u64::from(first));
        let drawn = exponential(self.hasher.mix(self.identity, key));
        let slots = self.slots.saturating_sub(first);
        // Sizes are powers of two, and a division takes as long as the rest.
        if slots >= size { drawn >> size.ilog2() } else { drawn / u64::from(slots.max(1)) }
    }
}

/// `-log2(hash / 2^64)`, times 2^52: of several such values divided by weights, each is the least
/// in proportion to its weight.
///
/// Between powers of two, the logarithm is a parabola: 1 % off at most.
const fn exponential(hash: u64) -> u64 {
    let zeros = (hash | 1).leading_zeros();
    let above = ((hash | 1) << zeros << 1) >> 32;
    let bow = (above * ((1 << 32) - above)) >> 32;
    let log = above + bow * 11 / 32;
    ((zeros as u64 + 1) << 52) - (log << 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of 20,000 prompts meet in each group of `size` slots, of a pool with so many
    /// endpoints that tie.
    fn meetings(endpoints: u32, size: u32) -> alloc::vec::Vec<u32> {
        let hasher = PromptHasher::new(1);
        let mut met = alloc::vec![0; endpoints.div_ceil(size) as usize];
        for identity in 0..20_000 {
            let ties = TieBreaker::new(&hasher, hasher.mix(identity, identity), endpoints);
            let chunk =
                (0..endpoints).step_by(CHUNK as usize).min_by_key(|chunk| ties.chunk(*chunk));
            let chunk = chunk.expect("one at least");
            let words = (chunk..endpoints.min(chunk + CHUNK)).step_by(WORD as usize);
            let word = words.min_by_key(|word| ties.word(*word)).expect("one at least");
            let last = endpoints.min(word + WORD);
            let slot =
                (word..last).min_by_key(|slot| ties.rank(*slot, hasher.mix(0, u64::from(*slot))));
            met[(slot.expect("one at least") / size) as usize] += 1;
        }
        met
    }

    #[test]
    fn every_endpoint_has_the_same_chance() {
        for (endpoints, size) in [(64, 8), (65, 1), (1_000, 64), (4_200, 64), (9_000, 1_024)] {
            for (group, met) in meetings(endpoints, size).into_iter().enumerate() {
                let members = size.min(endpoints - group as u32 * size);
                let expected = 20_000.0 * f64::from(members) / f64::from(endpoints);
                let off = (f64::from(met) - expected).abs();
                assert!(
                    off < 4.5 * expected.sqrt(),
                    "{met} for {expected} in group {group} of {endpoints}"
                );
            }
        }
    }

    #[test]
    fn draws_never_rise_with_the_hash() {
        let mut before = u64::MAX;
        for step in 0..1_u64 << 16 {
            let drawn = exponential(step << 48 | 0xffff_ffff_ffff);
            assert!(drawn <= before, "{step}");
            before = drawn;
        }
        assert!(exponential(0) > exponential(1 << 10) && exponential(u64::MAX) > 0);
    }
}
