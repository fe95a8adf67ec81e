//! The share of dispatched work that lower bands receive; zero by default.
//!
//! While lower bands also have candidates, the highest band with candidates owes them a share of
//! what it dispatches. Once it owes, the next band is chosen, which has debts of its own. Three
//! bands that are never empty receive `1 - s`, `s (1 - s)` and `s²`.
//!
//! A debt belongs to a rank among the bands with candidates, not to a band: the debt of a band that
//! is briefly empty would be lost with it.

use super::admission::Ticket;
use crate::time::Seconds;

/// Ranks with debts. Below them, priority is strict.
const PLACES: usize = 8;

/// The debts, and the change that the latest offer would cause.
#[derive(Debug, Default)]
pub(super) struct BandShare {
    /// Nanoseconds of their share that the bands below each rank have not received; negative if
    /// they received more.
    owed: [f64; PLACES],
    offered: Option<Ticket>,
    /// Number of bands that were passed over for the offer.
    place: usize,
    /// Whether a lower band also had a candidate.
    contested: bool,
}

impl BandShare {
    /// Chooses among the bands with candidates, highest first.
    pub(super) fn choose(
        &mut self,
        share: f64,
        mut wanting: impl Iterator<Item = u32>,
    ) -> Option<u32> {
        (self.offered, self.place, self.contested) = (None, 0, false);
        let mut chosen = wanting.next()?;
        if share <= 0.0 {
            return Some(chosen);
        }
        for lower in wanting {
            self.contested = self.place == PLACES - 1 || self.owed[self.place] <= 0.0;
            if self.contested {
                break;
            }
            self.place += 1;
            chosen = lower;
        }
        Some(chosen)
    }

    pub(super) fn offer(&mut self, ticket: Ticket) {
        self.offered = Some(ticket);
    }

    /// Records the dispatch of a request. A request that was not offered by turn changes no debt.
    pub(super) fn charge(&mut self, share: f64, ticket: Ticket, cost: Seconds) {
        if self.offered.take() != Some(ticket) {
            return;
        }
        let cost = cost.to_nanos() as f64;
        for owed in &mut self.owed[..self.place] {
            *owed -= (1.0 - share) * cost;
        }
        if self.contested {
            self.owed[self.place] += share * cost;
        }
    }

    /// Clears all debts when no request waits.
    pub(super) fn reset(&mut self) {
        self.owed = [0.0; PLACES];
    }
}
