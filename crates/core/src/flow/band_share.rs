//! The share of lower bands: none by default.
//!
//! While a lower band wants to go too, the highest one that wants to go owes a share of what it dispatches to those below, and stands
//! aside for whatever it owes. Then the choice is the next one's, which has debts of its own: of three bands that never run dry,
//! the shares are `1 - s`, `s (1 - s)` and `s²`.
//!
//! A debt belongs to a place in that row, not to a band: a band that runs dry for a moment would be forgotten with its debts.

use super::admission::Ticket;
use crate::time::Seconds;

/// Places that can have debts. From there on down, priority is strict.
const PLACES: usize = 8;

/// Who owes how much, and what the latest offer would change.
#[derive(Debug, Default)]
pub(super) struct BandShare {
    /// Nanoseconds that the bands below each place have not had, of their share; less than nothing if they had more.
    owed: [f64; PLACES],
    offered: Option<Ticket>,
    /// Places of bands that stood aside for it: those before this one.
    place: usize,
    /// Whether a lower band wanted to go too.
    contested: bool,
}

impl BandShare {
    /// Whose turn it is, of the bands that want to go, highest first.
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

    /// A request of that work goes. What was not offered by turn changes no debt.
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

    /// When nobody waits, nobody is owed anything.
    pub(super) fn reset(&mut self) {
        self.owed = [0.0; PLACES];
    }
}
