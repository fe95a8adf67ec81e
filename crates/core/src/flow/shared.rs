//! What the queues of several gateways know of each other.

use super::RequestQueue;
use super::elsewhere::FlowElsewhere;
use crate::time::{Instant, Seconds};

impl<T> RequestQueue<T> {
    /// Charges a flow for requests that other gateways have dispatched.
    pub(crate) fn serve_elsewhere(
        &mut self,
        now: Instant,
        flow: FlowElsewhere,
        requests: u32,
        service: Seconds,
    ) {
        self.now = self.now.max(now);
        self.ledger.serve_elsewhere(self.now, flow, requests, service);
    }

    /// Sets whether requests of a flow wait at other gateways. Computes in **O(log flows)**.
    pub(crate) fn wait_elsewhere(&mut self, now: Instant, flow: FlowElsewhere) {
        self.now = self.now.max(now);
        self.ledger.wait_elsewhere(self.now, flow, self.config.max_bands);
    }

    /// Whether a request of a flow, of this service, comes after a flow that waits elsewhere.
    /// Computes in **O(1)**.
    pub(crate) fn is_ahead_of_others(&self, priority: i32, flow: u64, service: Seconds) -> bool {
        self.ledger.is_ahead_of_others(self.now, priority, flow, service)
    }

    /// Whether requests of a flow wait, and its weight. Computes in **O(log bands)**.
    pub(crate) fn waits_here(&self, priority: i32, flow: u64) -> (bool, f64) {
        self.ledger.waits_here(priority, flow)
    }

    /// Follows for which endpoints requests wait, and requests of which flows, from now on.
    pub(crate) fn follow(&mut self) {
        self.queues.follow_parked();
        self.ledger.changed.get_or_insert_default();
    }

    /// The next flow, by priority and id, that has begun or ceased to wait.
    pub(crate) fn poll_flow(&mut self) -> Option<(i32, u64)> {
        self.ledger.poll_changed()
    }

    /// The next endpoint for which requests of other bands wait than before.
    pub(crate) fn poll_parked(&mut self) -> Option<u32> {
        self.queues.poll_parked()
    }

    /// The highest priority of the requests that wait for an endpoint. Computes in **O(bands)**.
    pub(crate) fn highest_parked(&self, slot: u32) -> Option<i32> {
        self.queues.parked_bands(slot).map(|band| self.ledger.bands[band].priority).max()
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;
    use core::time::Duration;

    use proptest::prelude::*;

    use super::super::scenarios::{ADMISSION, HASH_STATE};
    use super::super::{Admission, Fairness, FlowConfig};
    use super::*;
    use crate::rng::Rng;

    const SECOND: Seconds = Seconds::new(1.0);

    fn elsewhere(id: u64, waits: bool) -> FlowElsewhere {
        FlowElsewhere { priority: 0, id, weight: Some(1.0), waits }
    }

    #[test]
    fn a_flow_that_waits_elsewhere_keeps_its_lag() {
        let now = Instant::ORIGIN;
        let mut room = RequestQueue::new(&FlowConfig::default(), HASH_STATE);
        let come = |room: &mut RequestQueue<()>| {
            room.enqueue(now, Admission { flow: 1, ..ADMISSION }, ()).expect("room")
        };
        let mut here = come(&mut room);
        room.wait_elsewhere(now, elsewhere(2, true));
        for ahead in [false, false, true, true] {
            assert_eq!(room.is_ahead_of_others(0, 1, SECOND), ahead);
            let next = come(&mut room);
            room.take(now, here);
            here = next;
        }
        room.serve_elsewhere(now, elsewhere(2, true), 2, SECOND * 2.0);
        assert!(room.is_ahead_of_others(0, 1, SECOND), "four and two");
        room.serve_elsewhere(now, elsewhere(2, true), 1, SECOND);
        assert!(!room.is_ahead_of_others(0, 1, SECOND), "four and three");
        room.wait_elsewhere(now, elsewhere(2, false));
        room.wait_elsewhere(now, elsewhere(3, true));
        assert!(!room.is_ahead_of_others(0, 1, SECOND), "a new flow begins at the clock");
    }

    #[test]
    fn flows_that_come_and_go_between_polls_take_no_memory() {
        let now = Instant::ORIGIN;
        let mut room = RequestQueue::new(&FlowConfig::default(), HASH_STATE);
        room.follow();
        let come = |room: &mut RequestQueue<()>, flow| {
            room.enqueue(now, Admission { flow, ..ADMISSION }, ()).expect("room")
        };
        let first = come(&mut room, 0);
        assert_eq!(room.poll_flow(), Some((0, 0)));
        for flow in 1..1_000 {
            let ticket = come(&mut room, flow);
            room.take(now, ticket);
        }
        room.take(now, first);
        let again = come(&mut room, 0);
        room.take(now, again);
        assert_eq!(room.poll_flow(), Some((0, 0)), "it waited when it was polled");
        assert_eq!(room.poll_flow(), None);
    }

    #[test]
    fn a_band_that_waits_elsewhere_remembers_who_was_served() {
        let now = Instant::ORIGIN;
        let mut room = RequestQueue::new(&FlowConfig::default(), HASH_STATE);
        room.wait_elsewhere(now, elsewhere(2, true));
        for _ in 0..3 {
            let ticket = room.enqueue(now, Admission { flow: 1, ..ADMISSION }, ()).expect("room");
            room.take(now, ticket);
        }
        room.enqueue(now, Admission { flow: 1, ..ADMISSION }, ()).expect("room");
        assert!(room.is_ahead_of_others(0, 1, SECOND));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

        /// Whatever peers say: all structures agree, and idle flows stay within their limit.
        #[test]
        fn any_claims(
            fairness in prop::sample::select(Vec::from([
                Fairness::StartTime,
                Fairness::RoundRobin,
                Fairness::GlobalStrict,
                Fairness::LeastAttainedService,
            ])),
            max_idle_flows in 0usize..8,
            seed in any::<u64>(),
        ) {
            let config = FlowConfig { fairness, max_idle_flows, max_bands: 3, ..FlowConfig::default() };
            let mut room = RequestQueue::new(&config, HASH_STATE);
            room.follow();
            let (mut rng, mut now, mut tickets) = (Rng::new(seed), Instant::ORIGIN, Vec::new());
            for _ in 0..400 {
                now = now + Duration::from_millis(rng.below(20_000));
                let (priority, id) = (rng.below(5) as i32 - 2, rng.below(6));
                let weight = (rng.below(3) > 0).then(|| 0.5 + rng.unit());
                let flow = FlowElsewhere { priority, id, weight, waits: rng.below(2) == 0 };
                match rng.below(6) {
                    0 => room.wait_elsewhere(now, flow),
                    1 => room.serve_elsewhere(now, flow, 2, SECOND * rng.unit()),
                    2 | 3 => {
                        let admission = Admission { priority, flow: id, ..ADMISSION };
                        tickets.extend(room.enqueue(now, admission, ()));
                    }
                    4 => room.settle(priority, id, SECOND, SECOND * (2.0 * rng.unit())),
                    _ if tickets.is_empty() => {}
                    _ => {
                        let ticket = tickets.swap_remove(rng.below(tickets.len() as u64) as usize);
                        prop_assert!(room.take(now, ticket).is_some());
                    }
                }
                room.check();
                room.is_ahead_of_others(priority, id, SECOND);
            }
            // Each flow has been reported in its last state.
            while room.poll_flow().is_some() {}
            for ticket in tickets {
                room.take(now, ticket);
            }
            while let Some((priority, id)) = room.poll_flow() {
                prop_assert!(!room.waits_here(priority, id).0);
            }
        }
    }
}
