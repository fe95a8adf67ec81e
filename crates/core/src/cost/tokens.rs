//! The bytes of text per token, for each model.
//!
//! Each flow learns its own ratio, from the lengths of its text prompts and the engines' token
//! counts. An unknown flow gets the median of the known ones, among which the prior of four bytes
//! has two votes. No single flow can move the estimate of the others.

use alloc::collections::{BTreeMap, BTreeSet};

use smallvec::SmallVec;

/// Learned ratios of the most recently observed models.
#[derive(Debug)]
pub(crate) struct BytesPerToken {
    models: BTreeMap<u64, Model>,
    /// Models by their last observations, oldest first.
    order: BTreeSet<(u64, u64)>,
    /// Number of observations so far.
    observed: u64,
    limit: usize,
}

/// The most recently observed flows of a model, each with its observations.
#[derive(Debug, Default)]
struct Model {
    /// The number of its last observation.
    last: u64,
    flows: SmallVec<[Flow; 1]>,
}

#[derive(Clone, Copy, Debug)]
struct Flow {
    key: u64,
    last: u64,
    sums: Sums,
}

#[derive(Clone, Copy, Debug)]
struct Sums {
    bytes: u64,
    tokens: u64,
}

/// Prior: a thousand tokens of four bytes.
const PRIOR: Sums = Sums { bytes: 4_000, tokens: 1_000 };
/// Both sums are halved above this number of tokens, so that recent text dominates.
const MEMORY: u64 = 1 << 20;
/// Plausible bytes per token; prompts with images, and engines with other counts, lie outside.
const BELIEVED: core::ops::RangeInclusive<u64> = 1..=64;
/// Limit of remembered flows of a model, of 32 bytes each.
const MAX_FLOWS: usize = 16;

impl BytesPerToken {
    /// Remembers the last `limit` observed models; the others use the prior.
    pub(crate) const fn new(limit: usize) -> Self {
        Self { models: BTreeMap::new(), order: BTreeSet::new(), observed: 0, limit }
    }

    /// Records that the engine counted `tokens` for a prompt of `bytes` bytes of this flow.
    /// Computes in **O(log models)**.
    pub(crate) fn observe(&mut self, model: u64, flow: u64, bytes: u64, tokens: u32) {
        let tokens = u64::from(tokens);
        if tokens == 0 || !BELIEVED.contains(&(bytes / tokens)) || self.limit == 0 {
            return;
        }
        if self.models.len() >= self.limit && !self.models.contains_key(&model) {
            let oldest = self.order.pop_first();
            oldest.and_then(|(_, model)| self.models.remove(&model));
        }
        self.observed += 1;
        let known = self.models.entry(model).or_default();
        self.order.remove(&(known.last, model));
        known.last = self.observed;
        self.order.insert((known.last, model));
        known.flow(flow, self.observed).add(bytes, tokens);
    }

    /// Tokens in `bytes` bytes of text of this flow for the model, rounded up.
    pub(crate) fn tokens(&self, model: u64, flow: u64, bytes: usize) -> u32 {
        let sums = self.models.get(&model).map_or(PRIOR, |model| model.estimate(flow));
        let tokens =
            (bytes as u128 * u128::from(sums.tokens)).div_ceil(u128::from(sums.bytes.max(1)));
        u32::try_from(tokens).unwrap_or(u32::MAX)
    }
}

impl Model {
    /// The entry of a flow; a new one replaces the least recently observed.
    fn flow(&mut self, key: u64, now: u64) -> &mut Sums {
        let new = Flow { key, last: now, sums: PRIOR };
        let known = self.flows.iter().position(|flow| flow.key == key);
        let at = known.unwrap_or_else(|| {
            if self.flows.len() < MAX_FLOWS {
                self.flows.push(new);
                return self.flows.len() - 1;
            }
            let oldest = (0..self.flows.len()).min_by_key(|at| self.flows[*at].last).unwrap_or(0);
            self.flows[oldest] = new;
            oldest
        });
        self.flows[at].last = now;
        &mut self.flows[at].sums
    }

    fn estimate(&self, key: u64) -> Sums {
        if let Some(own) = self.flows.iter().find(|flow| flow.key == key) {
            return own.sums;
        }
        let votes = [PRIOR, PRIOR].into_iter().chain(self.flows.iter().map(|flow| flow.sums));
        let mut votes: SmallVec<[Sums; MAX_FLOWS + 2]> = votes.collect();
        // Compares bytes / tokens without a division.
        votes.sort_by_key(|sums| (u128::from(sums.bytes) << 64) / u128::from(sums.tokens.max(1)));
        votes[(votes.len() - 1) / 2]
    }
}

impl Sums {
    fn add(&mut self, bytes: u64, tokens: u64) {
        self.bytes = self.bytes.saturating_add(bytes);
        self.tokens += tokens;
        while self.tokens > MEMORY {
            self.bytes /= 2;
            self.tokens /= 2;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_bytes_until_the_flow_has_shown_its_own_ratio() {
        let mut ratio = BytesPerToken::new(2);
        assert_eq!(ratio.tokens(1, 0, 4_000), 1_000);
        for _ in 0..1_000 {
            ratio.observe(1, 0, 3_000, 1_000);
        }
        assert!((995..=1_000).contains(&ratio.tokens(1, 0, 3_000)));
        assert_eq!(ratio.tokens(2, 0, 4_000), 1_000);
    }

    #[test]
    fn one_flow_moves_only_its_own_estimate_and_many_move_that_of_a_new_one() {
        let mut ratio = BytesPerToken::new(2);
        for bytes in [1_000, 64_000] {
            (0..1_000).for_each(|_| ratio.observe(1, 7, bytes, 1_000));
            assert_eq!(ratio.tokens(1, 8, 4_000), 1_000);
        }
        for flow in 20..23 {
            (0..1_000).for_each(|_| ratio.observe(1, flow, 2_000, 1_000));
        }
        assert!((990..=1_000).contains(&ratio.tokens(1, 8, 2_000)), "three of them agree");
    }

    #[test]
    fn nonsense_is_not_believed_and_memory_is_bounded() {
        let mut ratio = BytesPerToken::new(2);
        ratio.observe(1, 0, 10, 0);
        ratio.observe(1, 0, 10, 1_000);
        ratio.observe(1, 0, u64::MAX, 1);
        assert_eq!(ratio.tokens(1, 0, 400), 100);
        for model in 0..100 {
            (0..100).for_each(|flow| ratio.observe(model, flow, 200, 100));
        }
        assert_eq!((ratio.models.len(), ratio.order.len()), (2, 2));
        assert!(ratio.models.values().all(|model| model.flows.len() == MAX_FLOWS));
        assert_eq!(ratio.tokens(1, 0, usize::MAX), u32::MAX);
    }

    #[test]
    fn the_model_that_was_not_observed_for_longest_gives_way() {
        let mut ratio = BytesPerToken::new(2);
        for model in [1, 2, 1, 3] {
            (0..1_000).for_each(|_| ratio.observe(model, 0, 2_000, 1_000));
        }
        assert!(ratio.tokens(1, 0, 2_000) > 990);
        assert_eq!(ratio.tokens(2, 0, 2_000), 500);
    }
}
