//! How many bytes of text make a token, for each model.

use alloc::collections::BTreeMap;

/// Learned from the lengths of text prompts and what engines count for them; 4 until then.
#[derive(Debug)]
pub(crate) struct BytesPerToken {
    models: BTreeMap<u64, Sums>,
    limit: usize,
}

#[derive(Clone, Copy, Debug)]
struct Sums {
    bytes: u64,
    tokens: u64,
}

/// What is taken as observed from the beginning: a thousand tokens of four bytes.
const PRIOR: Sums = Sums { bytes: 4_000, tokens: 1_000 };
/// Both sums are halved beyond this many tokens, so that new text counts.
const MEMORY: u64 = 1 << 20;
/// Bytes a token that are believed; outside lie prompts with images, or engines that count otherwise.
const BELIEVED: core::ops::RangeInclusive<u64> = 1..=64;

impl BytesPerToken {
    /// Remembers at most `limit` models; the others keep the prior.
    pub(crate) const fn new(limit: usize) -> Self {
        Self { models: BTreeMap::new(), limit }
    }

    /// The engine counted `tokens` for a prompt of `bytes` bytes.
    pub(crate) fn observe(&mut self, model: u64, bytes: u64, tokens: u32) {
        let tokens = u64::from(tokens);
        if tokens == 0 || !BELIEVED.contains(&(bytes / tokens)) {
            return;
        }
        if self.models.len() >= self.limit && !self.models.contains_key(&model) {
            return;
        }
        let sums = self.models.entry(model).or_insert(PRIOR);
        sums.bytes = sums.bytes.saturating_add(bytes);
        sums.tokens += tokens;
        while sums.tokens > MEMORY {
            sums.bytes /= 2;
            sums.tokens /= 2;
        }
    }

    /// Tokens in `bytes` bytes of text for the model, rounded up.
    pub(crate) fn tokens(&self, model: u64, bytes: usize) -> u32 {
        let sums = self.models.get(&model).unwrap_or(&PRIOR);
        let tokens = (bytes as u128 * u128::from(sums.tokens)).div_ceil(u128::from(sums.bytes.max(1)));
        u32::try_from(tokens).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_bytes_until_the_model_has_shown_its_own_ratio() {
        let mut ratio = BytesPerToken::new(2);
        assert_eq!(ratio.tokens(1, 4_000), 1_000);
        for _ in 0..1_000 {
            ratio.observe(1, 3_000, 1_000);
        }
        assert!((995..=1_000).contains(&ratio.tokens(1, 3_000)));
        assert_eq!(ratio.tokens(2, 4_000), 1_000);
    }

    #[test]
    fn nonsense_is_not_believed_and_memory_is_bounded() {
        let mut ratio = BytesPerToken::new(2);
        ratio.observe(1, 10, 0);
        ratio.observe(1, 10, 1_000);
        ratio.observe(1, u64::MAX, 1);
        assert_eq!(ratio.tokens(1, 400), 100);
        for model in 0..100 {
            ratio.observe(model, 200, 100);
        }
        assert_eq!(ratio.models.len(), 2);
        assert_eq!(ratio.tokens(1, usize::MAX), u32::MAX);
    }
}
