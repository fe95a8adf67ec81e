//! What an endpoint's spans add up to.

use super::block_state::State;
use super::event::Tier;
use super::warm::WarmWindow;

/// The sums.
#[derive(Debug)]
pub(super) struct HoldingTotals {
    pub(super) estimated: BlockCount,
    pub(super) stored: BlockCount,
    /// Blocks that are held for either reason.
    pub(super) held: usize,
    /// Those of them that are only in tiers below the first.
    pub(super) below: usize,
    pub(super) warm: WarmWindow,
    /// The engine publishes events: only blocks that it has named are sure to be warm. Others may be the same text twice.
    pub(super) precise: bool,
}

/// Blocks, and their tokens.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct BlockCount {
    pub(super) blocks: usize,
    pub(super) tokens: u64,
}

impl HoldingTotals {
    /// Blocks changed their state. Those that are `lost` against expectation go on to count as warm.
    pub(super) fn change(
        &mut self,
        blocks: u32,
        before: Option<State>,
        after: Option<State>,
        lost: bool,
    ) {
        for (state, sign) in [(before, false), (after, true)] {
            let Some(state) = state else { continue };
            let tokens = u64::from(state.tokens) * u64::from(blocks);
            let blocks = blocks as usize;
            let count = |count: &mut BlockCount| count.change(blocks, tokens, sign);
            if state.estimated.is_some() {
                count(&mut self.estimated);
            }
            if state.stored() {
                count(&mut self.stored);
            }
            let below = if state.tier() == Tier::Gpu { 0 } else { blocks };
            if sign {
                self.held += blocks;
                self.below += below;
                self.warm.add(state.bucket, tokens);
            } else {
                self.held -= blocks;
                self.below -= below;
                if !lost {
                    self.warm.remove(state.bucket, tokens);
                }
            }
        }
    }
}

impl BlockCount {
    fn change(&mut self, blocks: usize, tokens: u64, more: bool) {
        if more {
            self.blocks += blocks;
            self.tokens += tokens;
        } else {
            self.blocks -= blocks;
            self.tokens -= tokens;
        }
    }
}
