//! Totals of an endpoint's spans.

use core::ops::{AddAssign, SubAssign};

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
    #[inline]
    pub(super) fn change(
        &mut self,
        blocks: u32,
        before: Option<State>,
        after: Option<State>,
        lost: bool,
    ) {
        match (before, after) {
            (Some(old), Some(new)) if old.counts_as(&new) => {
                let tokens = u64::from(new.tokens) * u64::from(blocks);
                if !lost {
                    self.warm.remove(old.bucket, tokens);
                }
                self.warm.add(new.bucket, tokens);
            }
            _ => self.count_again(blocks, before, after, lost),
        }
    }

    /// The same where other totals change, too.
    #[inline(never)]
    fn count_again(
        &mut self,
        blocks: u32,
        before: Option<State>,
        after: Option<State>,
        lost: bool,
    ) {
        if let Some(old) = before {
            let count = BlockCount::of(blocks, &old);
            self.held -= count.blocks;
            if old.estimated.is_some() {
                self.estimated -= count;
            }
            if old.stored() {
                self.stored -= count;
            }
            if !old.is_in_first_tier() {
                self.below -= count.blocks;
            }
            if !lost {
                self.warm.remove(old.bucket, count.tokens);
            }
        }
        if let Some(new) = after {
            let count = BlockCount::of(blocks, &new);
            self.held += count.blocks;
            if new.estimated.is_some() {
                self.estimated += count;
            }
            if new.stored() {
                self.stored += count;
            }
            if !new.is_in_first_tier() {
                self.below += count.blocks;
            }
            self.warm.add(new.bucket, count.tokens);
        }
    }
}

impl BlockCount {
    fn of(blocks: u32, state: &State) -> Self {
        Self { blocks: blocks as usize, tokens: u64::from(state.tokens) * u64::from(blocks) }
    }
}

impl AddAssign for BlockCount {
    fn add_assign(&mut self, more: Self) {
        self.blocks += more.blocks;
        self.tokens += more.tokens;
    }
}

impl SubAssign for BlockCount {
    fn sub_assign(&mut self, less: Self) {
        self.blocks -= less.blocks;
        self.tokens -= less.tokens;
    }
}
