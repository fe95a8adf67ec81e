//! What an endpoint's spans add up to.

use super::event::Tier;
use super::holding::State;
use super::warm::WarmWindow;

/// The sums.
#[derive(Debug)]
pub(super) struct Account {
    pub(super) assumed: Tally,
    pub(super) stored: Tally,
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
pub(super) struct Tally {
    pub(super) blocks: usize,
    pub(super) tokens: u64,
}

impl Account {
    /// Blocks changed their state. Those that are `lost` against expectation go on to count as warm.
    pub(super) fn change(&mut self, blocks: u32, before: Option<State>, after: Option<State>, lost: bool) {
        for (state, sign) in [(before, false), (after, true)] {
            let Some(state) = state else { continue };
            let tokens = u64::from(state.tokens) * u64::from(blocks);
            let blocks = blocks as usize;
            let tally = |tally: &mut Tally| tally.change(blocks, tokens, sign);
            if state.assumed.is_some() {
                tally(&mut self.assumed);
            }
            if state.stored() {
                tally(&mut self.stored);
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

impl Tally {
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
