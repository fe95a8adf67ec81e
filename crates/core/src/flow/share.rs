//! The share of lower bands: none by default.
//!
//! While a lower band wants to go too, each band owes it a share of what it dispatches, and stands aside once for whatever it owes. A
//! band that stands aside leaves the choice to the next one, which has debts of its own: of three bands that never run dry, the
//! shares are `1 - s`, `s (1 - s)` and `s²`.

use alloc::vec::Vec;
use core::cmp::Reverse;

use super::Ticket;
use super::ledger::{Band, Ledger};
use crate::time::Seconds;

/// What the latest offer would change in the bands' debts.
#[derive(Debug, Default)]
pub(super) struct Contest {
    offered: Option<Ticket>,
    /// The priorities of bands that stood aside.
    aside: Vec<i32>,
    /// The priority of the band that was chosen, if a lower one wanted to go too.
    before_others: Option<i32>,
}

impl Contest {
    /// Whose turn it is, of the bands that want to go, highest first.
    pub(super) fn choose<'a>(
        &mut self,
        share: f64,
        mut wanting: impl Iterator<Item = (u32, &'a Band)>,
    ) -> Option<u32> {
        *self = Self { aside: core::mem::take(&mut self.aside), ..Self::default() };
        self.aside.clear();
        let (mut chosen, mut band) = wanting.next()?;
        if share <= 0.0 {
            return Some(chosen);
        }
        for (lower, next) in wanting {
            if band.owed <= 0.0 {
                self.before_others = Some(band.priority);
                break;
            }
            self.aside.push(band.priority);
            (chosen, band) = (lower, next);
        }
        Some(chosen)
    }

    pub(super) fn offer(&mut self, ticket: Ticket) {
        self.offered = Some(ticket);
    }

    /// A request of that work goes. What was not offered by turn changes no debt.
    pub(super) fn charge(&mut self, ledger: &mut Ledger, share: f64, ticket: Ticket, cost: Seconds) {
        if self.offered.take() != Some(ticket) {
            return;
        }
        let cost = cost.to_nanos() as f64;
        let mut owe = |priority: i32, more: f64| {
            if let Some(band) = ledger.by_priority.get(&Reverse(priority)) {
                ledger.bands[*band].owed += more;
            }
        };
        for priority in &self.aside {
            owe(*priority, -(1.0 - share) * cost);
        }
        if let Some(priority) = self.before_others {
            owe(priority, share * cost);
        }
    }
}
