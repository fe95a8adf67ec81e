//! The order of endpoints for one request.

use core::cmp::Ordering;

use super::tie_break::TieRank;

/// The order of endpoints: cost, then requests in flight, then chance that is the same for equal prompts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct RankingKey {
    /// In nanoseconds: an integer has one order, and no rounding noise.
    pub(crate) cost: u64,
    pub(crate) in_flight: u32,
    pub(crate) rendezvous: TieRank,
    /// Only to have an order in any case.
    pub(crate) slot: u32,
}

impl Ord for RankingKey {
    /// Field by field. The derived one takes twice as long where most are equal, as on an idle pool.
    #[inline]
    fn cmp(&self, other: &Self) -> Ordering {
        if self.cost != other.cost {
            return self.cost.cmp(&other.cost);
        }
        if self.in_flight != other.in_flight {
            return self.in_flight.cmp(&other.in_flight);
        }
        if self.rendezvous != other.rendezvous {
            return self.rendezvous.cmp(&other.rendezvous);
        }
        self.slot.cmp(&other.slot)
    }
}

impl PartialOrd for RankingKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
