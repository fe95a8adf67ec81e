//! The tokens in a model's answers.
//!
//! The price of delaying an answer depends on its length: a second more is `1 / n` seconds per
//! token of an answer of `n` tokens. Long answers run longer, so they are more frequent among the
//! *running* answers, in proportion to `n`. The mean of `1 / n` over running answers is therefore
//! the inverse of the mean length of all answers, which is learned here.

use alloc::collections::{BTreeMap, BTreeSet};

use super::mean::MovingMean;

/// The mean length of answers, of the most recently observed models.
#[derive(Debug)]
pub(crate) struct AnswerLengths {
    models: BTreeMap<u64, Model>,
    /// Models by their last observations, oldest first.
    order: BTreeSet<(u64, u64)>,
    /// Number of observations so far.
    observed: u64,
    limit: usize,
    /// Of all models together, and the weight that follows.
    all: MovingMean,
    mean_weight: f64,
}

#[derive(Clone, Copy, Debug)]
struct Model {
    /// The number of its last observation.
    last: u64,
    tokens: MovingMean,
}

/// The length of an answer for which the prices are given: the mean of the trace on which they were
/// chosen. It is the prior of each model.
const REFERENCE: f64 = 343.0;
/// Down to half the reference, all prices are those of the reference. A mean over answers is noisy,
/// and prices that follow the noise were measured to cost more than they gain.
const DEAD_BAND: f64 = 2.0;
/// Number of answers that count.
const MEMORY: u32 = 64;
/// Upper limit of the ratio of the reference to the mean.
const LARGEST_RATIO: f64 = 20.0;

impl AnswerLengths {
    /// Remembers the last `limit` observed models; the others have the mean of all.
    pub(crate) const fn new(limit: usize) -> Self {
        let all = MovingMean::new(REFERENCE, MEMORY);
        Self {
            models: BTreeMap::new(),
            order: BTreeSet::new(),
            observed: 0,
            limit,
            all,
            mean_weight: 1.0,
        }
    }

    /// Records an answer of the model. Computes in **O(log models)**.
    pub(crate) fn observe(&mut self, model: u64, tokens: u32) {
        self.all.observe(f64::from(tokens));
        self.mean_weight = weight(ratio(self.all));
        if self.limit == 0 {
            return;
        }
        if self.models.len() >= self.limit && !self.models.contains_key(&model) {
            let oldest = self.order.pop_first();
            oldest.and_then(|(_, model)| self.models.remove(&model));
        }
        self.observed += 1;
        let new = Model { last: self.observed, tokens: MovingMean::new(REFERENCE, MEMORY) };
        let known = self.models.entry(model).or_insert(new);
        self.order.remove(&(known.last, model));
        known.last = self.observed;
        self.order.insert((known.last, model));
        known.tokens.observe(f64::from(tokens));
    }

    /// How many times more a delay of an answer of the model counts than one of the reference
    /// length.
    pub(crate) fn weight(&self, model: u64) -> f64 {
        weight(self.ratio(model))
    }

    /// The weight of an answer of unknown model.
    pub(crate) const fn mean_weight(&self) -> f64 {
        self.mean_weight
    }

    /// The share of the KV cache's price that a request of the model pays: proportional to the
    /// length of its answers up to half the reference, and whole from there on.
    pub(crate) fn kv_share(&self, model: u64) -> f64 {
        (DEAD_BAND / self.ratio(model)).min(1.0)
    }

    /// The reference length over the mean length of the model's answers.
    fn ratio(&self, model: u64) -> f64 {
        ratio(self.models.get(&model).map_or(self.all, |known| known.tokens))
    }
}

fn ratio(mean: MovingMean) -> f64 {
    (REFERENCE / mean.get().max(1.0)).min(LARGEST_RATIO)
}

/// The weight of answers that are `ratio` times shorter than the reference, in three pieces: 1 up
/// to the dead band, the ratio from twice the band on, and a line between.
///
/// Longer answers count no less than the reference. Each of them fills the KV cache for longer, and
/// a smaller weight was measured to gather them on few endpoints.
fn weight(ratio: f64) -> f64 {
    ratio.min(1.5 * ratio - DEAD_BAND).max(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_model_has_its_own_mean_and_others_that_of_all() {
        let mut answers = AnswerLengths::new(8);
        assert!((answers.weight(1) - 1.0).abs() < 1e-12);
        for _ in 0..1_000 {
            answers.observe(1, 34);
            answers.observe(2, 3_430);
        }
        assert!((answers.weight(1) - 10.0).abs() < 0.2 && (answers.kv_share(1) - 0.2).abs() < 0.01);
        assert!(answers.weight(2) <= 1.0 && answers.kv_share(2) >= 1.0);
        assert!((answers.weight(3) - answers.mean_weight()).abs() < 1e-12);
    }

    #[test]
    fn the_weight_is_monotone_and_one_near_the_reference() {
        let weights: alloc::vec::Vec<f64> =
            (1..4_000).map(|tokens| weight(REFERENCE / f64::from(tokens))).collect();
        assert!(
            weights.windows(2).all(|pair| pair[0] >= pair[1] && pair[0] < 2.0 * pair[1] + 1e-9)
        );
        assert!(weights[171..].iter().all(|weight| (weight - 1.0).abs() < 1e-9));
    }

    #[test]
    fn no_length_gives_a_ratio_beyond_the_limits() {
        let mut answers = AnswerLengths::new(8);
        for _ in 0..1_000 {
            answers.observe(1, 0);
            answers.observe(2, u32::MAX);
        }
        assert!((answers.weight(1) - LARGEST_RATIO).abs() < 1e-9);
        assert!((answers.weight(2) - 1.0).abs() < 1e-9);
    }

    #[test]
    fn the_least_recently_observed_model_is_forgotten() {
        let mut answers = AnswerLengths::new(2);
        [1, 2, 1, 3].into_iter().for_each(|model| answers.observe(model, 10));
        assert_eq!(answers.models.keys().copied().collect::<alloc::vec::Vec<_>>(), [1, 3]);
        assert_eq!(answers.order.len(), 2);
    }
}
