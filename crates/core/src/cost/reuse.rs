//! The probability that a cached token is reused, which prices its eviction.

/// The measured reuse probability is about the pool's hit ratio. It is near 0 for traffic without
/// shared prefixes, which disables the eviction term, and above 0.9 for agents that resend their
/// history.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reuse(f64);

/// Prompt tokens over which it is measured.
const MEMORY_TOKENS: f64 = 2e6;
/// Limit of the change by one request.
const MAX_STEP: f64 = 0.05;

impl Default for Reuse {
    fn default() -> Self {
        Self(0.3)
    }
}

impl Reuse {
    /// Records a prompt of `tokens` tokens, of which the best endpoint holds `best`.
    pub(crate) fn observe(&mut self, best: u32, tokens: u32) {
        if tokens > 0 {
            let (best, tokens) = (f64::from(best.min(tokens)), f64::from(tokens));
            self.0 += (tokens / MEMORY_TOKENS).min(MAX_STEP) * (best / tokens - self.0);
        }
    }

    /// The probability, in `[0, 1]`.
    pub(crate) const fn probability(self) -> f64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_follows_the_traffic_and_stays_a_probability() {
        let mut reuse = Reuse::default();
        for _ in 0..1_000 {
            reuse.observe(9_500, 10_000);
        }
        assert!((0.9..=0.95).contains(&reuse.probability()));
        for _ in 0..1_000 {
            reuse.observe(0, 100_000);
        }
        assert!(reuse.probability() < 1e-6);
        reuse.observe(u32::MAX, 1);
        reuse.observe(0, 0);
        assert!((0.0..=1.0).contains(&reuse.probability()));
    }
}
