//! Totals of an endpoint's spans.

use super::block_state::State;
use super::warm::WarmWindow;

/// The totals.
#[derive(Debug)]
pub(super) struct HoldingTotals {
    pub(super) estimated: BlockCount,
    pub(super) stored: BlockCount,
    /// Number of blocks that are held in any state.
    pub(super) held: usize,
    /// Of those, the blocks only in tiers below the first.
    pub(super) below: usize,
    pub(super) warm: WarmWindow,
    /// The engine publishes events, so only blocks that it named are warm; others may be duplicates
    /// of the same text.
    pub(super) precise: bool,
}

/// Numbers of blocks and of their tokens.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct BlockCount {
    pub(super) blocks: usize,
    pub(super) tokens: u64,
}

impl HoldingTotals {
    /// Records a change of blocks' states. Blocks `lost` against expectation continue to count as
    /// warm.
    pub(super) fn change(
        &mut self,
        blocks: u32,
        before: Option<State>,
        after: Option<State>,
        lost: bool,
    ) {
        if let (Some(old), Some(new)) = (before, after) {
            if old.counts_as(&new) {
                if !lost {
                    self.warm.remove(old.bucket, u64::from(old.tokens) * u64::from(blocks));
                }
                self.warm.add(new.bucket, u64::from(new.tokens) * u64::from(blocks));
                return;
            }
        }
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
            let below = if state.is_in_first_tier() { 0 } else { blocks };
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
