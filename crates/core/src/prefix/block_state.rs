//! The state of a block that an endpoint holds.

use core::num::NonZeroU64;

use super::event::Tier;
use super::limits::BlockUse;
use super::warm::Bucket;

/// The state of a held block.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct State {
    /// The number of the use by which it was last estimated; `None` if it is not estimated.
    pub(super) estimated: Option<NonZeroU64>,
    /// The stamp of its last use.
    pub(super) used: u64,
    /// Number of engine hashes under which it is stored in each tier. Usually one; more where the
    /// engine distinguishes blocks that have one hash here.
    pub(super) copies: [u16; Tier::ALL.len()],
    pub(super) tokens: u32,
    /// Whether it was computed, and is not only expected.
    pub(super) computed: bool,
    /// The time of its last use, if it counts as warm.
    pub(super) bucket: Option<Bucket>,
}

impl State {
    pub(super) const fn new(used: BlockUse) -> Self {
        let copies = [0; Tier::ALL.len()];
        Self {
            estimated: None,
            used: 0,
            copies,
            tokens: used.block_tokens,
            computed: false,
            bucket: None,
        }
    }

    /// Whether the engine reports it as stored.
    pub(super) fn stored(&self) -> bool {
        self.copies != [0; Tier::ALL.len()]
    }

    /// The nearest tier that holds it; an estimated block is in the first.
    pub(super) fn tier(&self) -> Tier {
        let stored = Tier::ALL.into_iter().find(|tier| self.copies[*tier as usize] > 0);
        stored.filter(|_| self.estimated.is_none()).unwrap_or_default()
    }

    /// Whether the nearest tier that holds it is the first.
    pub(super) fn is_in_first_tier(&self) -> bool {
        self.estimated.is_some() || self.copies[Tier::Gpu as usize] > 0 || !self.stored()
    }

    /// Whether both differ at most in their last use, so that no total but the warm one changes.
    pub(super) fn counts_as(&self, other: &Self) -> bool {
        self.tokens == other.tokens
            && self.copies == other.copies
            && self.estimated.is_some() == other.estimated.is_some()
    }

    /// Number of engine hashes under which it is stored in a tier.
    pub(super) const fn copies(&self, tier: Tier) -> u16 {
        self.copies[tier as usize]
    }

    pub(super) fn is_held(&self) -> bool {
        self.estimated.is_some() || self.stored()
    }

    pub(super) fn without_estimate(self) -> Option<Self> {
        self.stored().then_some(Self { estimated: None, ..self })
    }
}
