//! The length of a prompt, and the part of it that a cache serves.

use core::num::NonZeroU32;

/// A prompt's length in tokens, in blocks, and in the unit of its form: bytes or tokens.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    /// Bytes or tokens of the prompt.
    pub(super) length: u64,
    /// Bytes or tokens of a block.
    pub(super) block: u64,
    /// Tokens of the prompt.
    pub(super) tokens: u32,
}

/// Cached blocks that a request can use.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CachedPrefix {
    /// Blocks.
    pub(crate) blocks: u32,
    /// Tokens.
    pub(crate) tokens: u32,
    /// The cost of loading blocks from lower tiers, in tokens that could be computed in that time.
    pub(crate) reload: f64,
}

impl Span {
    pub(crate) fn of_tokens(tokens: u32, block_size: NonZeroU32) -> Self {
        Self { length: u64::from(tokens), block: u64::from(block_size.get()), tokens }
    }

    /// The part of `depth` cached blocks that a request can use. The last token of the prompt is
    /// always computed, so its block is never used.
    pub(crate) fn cached(self, depth: u32) -> CachedPrefix {
        if depth == 0 {
            return CachedPrefix::default();
        }
        let usable = self.length.saturating_sub(1) / self.block;
        let blocks = u64::from(depth).min(usable);
        let tokens = u128::from(blocks * self.block) * u128::from(self.tokens)
            / u128::from(self.length.max(1));
        CachedPrefix { blocks: blocks as u32, tokens: tokens as u32, reload: 0.0 }
    }

    /// Tokens of the prompt.
    pub(crate) const fn tokens(self) -> u32 {
        self.tokens
    }

    /// Tokens of a block, at least one.
    pub(crate) fn block_tokens(self) -> u32 {
        let tokens = (u128::from(self.block) * u128::from(self.tokens))
            .div_ceil(u128::from(self.length.max(1)));
        u32::try_from(tokens).unwrap_or(u32::MAX).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_block_of_the_last_token_is_never_found() {
        let sixteen = NonZeroU32::new(16).expect("not zero");
        let hit = |tokens: u32, depth: u32| Span::of_tokens(tokens, sixteen).cached(depth).tokens;
        assert_eq!([hit(64, 4), hit(65, 4), hit(64, 2), hit(1, 1), hit(0, 9)], [48, 64, 32, 0, 0]);
    }

    #[test]
    fn blocks_of_text_are_as_many_tokens_as_their_share_of_it() {
        let text = Span { length: 6_400, block: 64, tokens: 1_333 };
        assert_eq!((text.cached(50).tokens, text.cached(100).blocks), (666, 99));
        assert_eq!(text.block_tokens(), 14);
        let longest = Span { length: u64::MAX, block: 1 << 34, tokens: u32::MAX };
        assert!(longest.cached(u32::MAX).tokens > 0 && longest.block_tokens() == 4);
    }
}
