//! Usage that the gateways of one pool share: what this one counts, and what its peers report.
//!
//! Each gateway counts its own usage in steps of its clock. Its peers count the same amounts in
//! windows of their own, beside their accounts.

use alloc::collections::BTreeMap;
use core::time::Duration;

use sha2::{Digest, Sha256};

use super::ledger::AccountName;
use super::limits::Measure;
use super::window::SlidingWindow;
use slotwise::Instant;

/// What was used of one limit of one account in one step, in addition to earlier changes.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct UsageChange {
    /// The limit and its account: a hash of their names, equal in all gateways.
    pub key: u64,
    /// The length of a step in microseconds; 0 for requests in flight, which have no steps.
    pub step_us: u64,
    /// The number of the step: its time divided by its length.
    pub step: u64,
    /// What was counted.
    pub booked: u64,
    /// What was taken back of it.
    pub refunded: u64,
}

impl UsageChange {
    /// A change of one step.
    pub const fn new(key: u64, step_us: u64, step: u64, booked: u64, refunded: u64) -> Self {
        Self { key, step_us, step, booked, refunded }
    }
}

/// The changes that peers have not been sent, and the usage of peers.
#[derive(Clone, Debug, Default)]
pub(super) struct SharedUsage {
    /// By key, length and number of the step.
    changes: BTreeMap<(u64, u64, u64), (u64, u64)>,
    windows: BTreeMap<u64, SlidingWindow>,
    in_flight: BTreeMap<u64, u64>,
}

impl SharedUsage {
    /// Notes own usage for the peers.
    pub(super) fn note(&mut self, change: UsageChange) {
        let at = (change.key, change.step_us, change.step);
        let is_full = self.changes.len() >= MOST && !self.changes.contains_key(&at);
        if is_full || (change.booked, change.refunded) == (0, 0) {
            return;
        }
        let (booked, refunded) = self.changes.entry(at).or_default();
        *booked = booked.saturating_add(change.booked);
        *refunded = refunded.saturating_add(change.refunded);
    }

    /// The next own change.
    pub(super) fn poll(&mut self) -> Option<UsageChange> {
        let ((key, step_us, step), (booked, refunded)) = self.changes.pop_first()?;
        Some(UsageChange { key, step_us, step, booked, refunded })
    }

    /// Counts the usage of a peer, whose step is one of this gateway's clock.
    pub(super) fn count(&mut self, now: Instant, change: UsageChange) {
        let UsageChange { key, step_us, step, booked, refunded } = change;
        if step_us == 0 {
            let known = self.in_flight.get(&key).copied().unwrap_or(0);
            let left = known.saturating_add(booked).saturating_sub(refunded);
            if left == 0 {
                self.in_flight.remove(&key);
            } else if known > 0 || self.in_flight.len() < MOST {
                self.in_flight.insert(key, left);
            }
            return;
        }
        if !self.windows.contains_key(&key) && self.windows.len() >= MOST {
            self.windows.retain(|_, window| window.empty_at(now) > now);
            if self.windows.len() >= MOST {
                return;
            }
        }
        let window = self.windows.entry(key).or_insert_with(|| SlidingWindow::of_step(step_us));
        window.count_in(now, step, booked);
        window.refund_near(step, refunded);
    }

    /// What peers have used of a quota.
    pub(super) fn window(&self, key: u64) -> Option<&SlidingWindow> {
        self.windows.get(&key)
    }

    /// Requests of peers in flight.
    pub(super) fn in_flight(&self, key: u64) -> u64 {
        self.in_flight.get(&key).copied().unwrap_or(0)
    }
}

/// The key of a limit; `window` is `None` for requests in flight.
pub(super) fn key_of(name: &AccountName, measure: Measure, window: Option<Duration>) -> u64 {
    let (kind, name) = match name {
        AccountName::Key(name) => (b'k', name),
        AccountName::Tenant(name) => (b't', name),
        AccountName::Client(name) => (b'c', name),
    };
    let micros = window.map_or(0, |window| u64::try_from(window.as_micros()).unwrap_or(u64::MAX));
    let digest = Sha256::new()
        .chain_update([kind])
        .chain_update(micros.to_le_bytes())
        .chain_update(measure.as_str())
        .chain_update([0])
        .chain_update(name.as_bytes())
        .finalize();
    u64::from_le_bytes(digest[..8].try_into().unwrap_or_default())
}

/// Limits of peers that are counted, and own changes that wait to be sent.
const MOST: usize = 65_536;
