//! What gateways have used of the limits of API keys, as totals that only grow.
//!
//! A total belongs to one limit and one step of its sender's clock. The larger total is the later
//! one, so messages may be lost, repeated and reordered. Steps are placed on the receiver's clock
//! by the shortest delay that was seen.

use alloc::collections::BTreeMap;

use slotwise::Instant;

use crate::gates::UsageChange;

/// Totals by length of the step, number of the step, and key.
#[derive(Clone, Debug, Default)]
pub(super) struct UsageTotals(BTreeMap<(u64, u64, u64), Used>);

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Used {
    booked: u64,
    refunded: u64,
}

impl UsageTotals {
    /// Adds a change of this gateway. Returns whether there was room for it.
    pub(super) fn add(&mut self, change: &UsageChange, limit: usize) -> bool {
        let at = (change.step_us, change.step, change.key);
        if self.0.len() >= limit && !self.0.contains_key(&at) {
            return false;
        }
        let used = self.0.entry(at).or_default();
        used.booked = used.booked.saturating_add(change.booked);
        used.refunded = used.refunded.saturating_add(change.refunded);
        true
    }

    /// Takes a total of a peer. Returns by what it has grown; `None` if there is no room for it.
    pub(super) fn merge(&mut self, total: &UsageChange, limit: usize) -> Option<UsageChange> {
        let at = (total.step_us, total.step, total.key);
        if self.0.len() >= limit && !self.0.contains_key(&at) {
            return None;
        }
        let used = self.0.entry(at).or_default();
        let grown = UsageChange {
            booked: total.booked.saturating_sub(used.booked),
            refunded: total.refunded.saturating_sub(used.refunded),
            ..*total
        };
        used.booked = used.booked.max(total.booked);
        used.refunded = used.refunded.max(total.refunded);
        Some(grown)
    }

    /// The total of a step.
    pub(super) fn get(&self, at: (u64, u64, u64)) -> Option<UsageChange> {
        self.0.get(&at).map(|used| total(at, *used))
    }

    /// All totals.
    pub(super) fn iter(&self) -> impl Iterator<Item = UsageChange> + '_ {
        self.0.iter().map(|(at, used)| total(*at, *used))
    }

    /// The totals of windows: all that have steps.
    pub(super) fn windows(&self) -> impl Iterator<Item = UsageChange> + '_ {
        self.0.range((1, 0, 0)..).map(|(at, used)| total(*at, *used))
    }

    fn pop(&mut self) -> Option<UsageChange> {
        self.0.pop_first().map(|(at, used)| total(at, used))
    }

    /// Requests in flight by their keys, as totals without a step.
    pub(super) fn in_flight(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        let flying = self.0.range(..(1, 0, 0));
        let left = |used: &Used| used.booked.saturating_sub(used.refunded);
        flying.map(move |(at, used)| (at.2, left(used))).filter(|(_, left)| *left > 0)
    }

    /// Forgets steps that no window counts at this time of the sender's clock. Computes in
    /// **O(lengths + forgotten × log totals)**.
    pub(super) fn prune(&mut self, clock: u64) {
        let mut length = 1;
        while let Some((&(step_us, ..), _)) = self.0.range((length, 0, 0)..).next() {
            let oldest = (clock / step_us).saturating_sub(STEPS);
            while let Some((&at, _)) = self.0.range((step_us, 0, 0)..(step_us, oldest, 0)).next() {
                self.0.remove(&at);
            }
            length = step_us.saturating_add(1);
            if step_us == u64::MAX {
                return;
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

const fn total((step_us, step, key): (u64, u64, u64), used: Used) -> UsageChange {
    UsageChange::new(key, step_us, step, used.booked, used.refunded)
}

/// The clock of another gateway, as messages show it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Clock {
    /// Own time less the other's, with the shortest delay of a message.
    ahead: Option<i128>,
}

impl Clock {
    /// A message that was written at `theirs` has arrived.
    pub(super) fn observe(&mut self, now: Instant, theirs: u64) {
        let ahead = i128::from(now.as_micros()) - i128::from(theirs);
        self.ahead = Some(self.ahead.map_or(ahead, |known| known.min(ahead)));
    }

    /// The other clock's time.
    pub(super) fn theirs(&self, now: Instant) -> u64 {
        clamp(i128::from(now.as_micros()) - self.ahead.unwrap_or(0))
    }

    /// The same change in the step of this gateway's clock that has most of it.
    pub(super) fn here(&self, change: UsageChange) -> UsageChange {
        let UsageChange { step_us, step, .. } = change;
        if step_us == 0 {
            return change;
        }
        let middle = i128::from(step) * i128::from(step_us) + i128::from(step_us / 2);
        let at = clamp(middle + self.ahead.unwrap_or(0));
        UsageChange { step: at / step_us, ..change }
    }
}

fn clamp(micros: i128) -> u64 {
    u64::try_from(micros.max(0)).unwrap_or(u64::MAX)
}

/// Usage of a gateway's earlier start, which others return to it.
#[derive(Clone, Debug, Default)]
pub(super) struct Former {
    pub(super) clock: Clock,
    pub(super) totals: UsageTotals,
}

/// Usage of peers that waits for the gates.
#[derive(Debug, Default)]
pub(super) struct UsageNews {
    /// Whether there are gates. Until then, nothing waits.
    pub(super) is_wanted: bool,
    waiting: UsageTotals,
}

impl UsageNews {
    /// A change in a step of this gateway's clock.
    pub(super) fn push(&mut self, change: UsageChange) {
        if self.is_wanted && (change.booked, change.refunded) != (0, 0) {
            self.waiting.add(&change, MOST_WAITING);
        }
    }

    /// The next change.
    pub(super) fn poll(&mut self) -> Option<UsageChange> {
        self.waiting.pop()
    }
}

/// Steps of a window, and the one that is about to leave it.
const STEPS: u64 = 62;
/// Changes that wait for gates that are no longer exchanged.
const MOST_WAITING: usize = 65_536;
