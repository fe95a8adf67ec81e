//! The room of endpoints that is left to peers, whose requests that come first wait for it.
//!
//! A peer may not know of the room yet: it learns of it within the interval of the gateways'
//! messages. While the prefill of peers goes on there, the room is left to them for up to
//! [`LONGEST`]. A claim that nothing follows holds it for [`YIELD`] and what peers have booked, at
//! most [`MOST_BOOKED`]. No claim about the endpoint counts for [`IGNORED`] then, unless peers go
//! on there.

use alloc::collections::{BTreeMap, BTreeSet};
use core::time::Duration;

use crate::time::Instant;

/// The claims of peers.
#[derive(Debug, Default)]
pub(super) struct Yielding {
    /// By slot.
    claims: BTreeMap<u32, Claim>,
    /// Slots whose room was left to flows that have received less.
    to_flows: BTreeSet<u32>,
    /// Whether accounts of flows have changed since.
    changed: bool,
}

/// For how long the room of an endpoint is left to peers.
#[derive(Clone, Copy, Debug)]
struct Claim {
    until: Instant,
    /// The limit of that, however much they make use of it.
    longest: Instant,
}

impl Yielding {
    /// Until when the room is left to peers, which claim it and have this much prefill booked
    /// there; `None` if their claim does not count.
    pub(super) fn until(&mut self, now: Instant, slot: u32, booked: Duration) -> Option<Instant> {
        let new = Claim { until: end_of(now, booked), longest: now + LONGEST };
        let claim = self.claims.entry(slot).or_insert(new);
        if now >= claim.until + IGNORED {
            *claim = new;
        }
        (now < claim.until).then_some(claim.until)
    }

    /// Whether claims of peers do not count.
    pub(super) fn is_ignored(&self, now: Instant, slot: u32) -> bool {
        self.claims
            .get(&slot)
            .is_some_and(|claim| now >= claim.until && now < claim.until + IGNORED)
    }

    /// The prefill of peers has gone on: they make use of the room.
    pub(super) fn went_on(&mut self, now: Instant, slot: u32, booked: Duration) {
        match self.claims.get_mut(&slot) {
            Some(claim) if now < claim.until => {
                claim.until = claim.longest.min(end_of(now, booked));
            }
            Some(_) => self.forget(slot),
            None => {}
        }
    }

    /// The endpoint has no room any more, or this gateway has used it: the next room is another.
    pub(super) fn room_was_used(&mut self, now: Instant, slot: u32) {
        if self.claims.get(&slot).is_some_and(|claim| now < claim.until) {
            self.forget(slot);
        }
    }

    /// Room is left to flows that have received less.
    pub(super) fn left_to_flows(&mut self, slot: u32) {
        self.to_flows.insert(slot);
    }

    /// The accounts of flows have changed.
    pub(super) const fn accounts_changed(&mut self) {
        self.changed = true;
    }

    /// A slot whose room was left to flows, if accounts have changed since: other requests may come
    /// first now.
    pub(super) fn poll_retry(&mut self) -> Option<u32> {
        let slot = if self.changed { self.to_flows.pop_first() } else { None };
        self.changed &= slot.is_some();
        slot
    }

    /// Forgets the claim to an endpoint.
    pub(super) fn forget(&mut self, slot: u32) {
        self.claims.remove(&slot);
        self.to_flows.remove(&slot);
    }
}

/// When a claim ends that peers do not use any further.
fn end_of(now: Instant, booked: Duration) -> Instant {
    now + YIELD + booked.min(MOST_BOOKED)
}

/// The time in which a peer learns of room. Messages take 0.2 s by default.
const YIELD: Duration = Duration::from_millis(500);
const MOST_BOOKED: Duration = Duration::from_secs(2);
const LONGEST: Duration = Duration::from_secs(30);
const IGNORED: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::ORIGIN + Duration::from_millis(ms)
    }

    #[test]
    fn a_claim_that_nothing_follows_ends_and_is_ignored() {
        let mut yielding = Yielding::default();
        let booked = Duration::from_secs(60);
        assert_eq!(yielding.until(at(0), 1, booked), Some(at(2_500)));
        assert_eq!(yielding.until(at(2_499), 1, booked), Some(at(2_500)));
        for now in [at(2_500), at(7_499)] {
            assert!(yielding.is_ignored(now, 1) && yielding.until(now, 1, booked).is_none());
        }
        assert!(!yielding.is_ignored(at(7_500), 1));
        assert_eq!(yielding.until(at(7_500), 1, Duration::ZERO), Some(at(8_000)));
    }

    #[test]
    fn peers_that_go_on_keep_the_room_for_a_limited_time() {
        let mut yielding = Yielding::default();
        yielding.until(at(0), 1, Duration::ZERO);
        for now in (400..60_000).step_by(400).take_while(|now| *now < 30_000) {
            yielding.went_on(at(now), 1, Duration::ZERO);
        }
        assert_eq!(yielding.until(at(29_999), 1, Duration::ZERO), Some(at(30_000)));
        assert!(yielding.is_ignored(at(30_000), 1));
        yielding.went_on(at(30_000), 1, Duration::ZERO);
        assert!(!yielding.is_ignored(at(30_000), 1), "the next room is another");
    }

    #[test]
    fn room_that_was_used_ends_a_claim() {
        let mut yielding = Yielding::default();
        yielding.until(at(0), 1, Duration::ZERO);
        yielding.room_was_used(at(100), 1);
        assert_eq!(yielding.until(at(200), 1, Duration::ZERO), Some(at(700)));
    }
}
