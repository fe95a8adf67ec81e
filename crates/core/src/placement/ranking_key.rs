//! The order of endpoints for one request.

use core::cmp::Ordering;

use super::tie_break::TieRank;

/// The order of endpoints: cost, then requests in flight, then a rendezvous hash.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct RankingKey {
    /// In nanoseconds: integers have a total order and no rounding noise.
    pub(crate) cost: u64,
    pub(crate) in_flight: u32,
    pub(crate) rendezvous: TieRank,
    /// Makes the order total.
    pub(crate) slot: u32,
}

impl Ord for RankingKey {
    /// Compares field by field: the derived order takes twice as long where most fields are equal.
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
    #[inline]
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
