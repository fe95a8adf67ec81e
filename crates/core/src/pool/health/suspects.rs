//! Flows with bad outcomes: is it the endpoint, or the client?
//!
//! A client whose requests are bad has bad outcomes on every endpoint. So for each of some flows it is counted where their
//! outcomes were good and bad; what a flow meets on one endpoint is held against its rate on the others.

use alloc::vec::Vec;

use super::evidence::rate;

/// The flows that have had bad outcomes, the latest `ROOM` of them.
#[derive(Debug, Default)]
pub(crate) struct Suspects {
    /// Most recently bad last.
    flows: Vec<Flow>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Flow {
    key: u64,
    total: Count,
    /// The endpoints where it has had its outcomes; what has no place here is only in `total`.
    places: [(u32, Count); PLACES],
}

#[derive(Clone, Copy, Debug, Default)]
struct Count {
    good: u32,
    bad: u32,
}

/// 88 bytes each.
const ROOM: usize = 256;
const PLACES: usize = 4;
/// Counts are halved here, so that a client that mends its ways is believed.
const MANY: u32 = 128;

impl Suspects {
    /// A bad outcome of the flow with this key, if it has one, in `slot`: its rate elsewhere, or none if it is no
    /// evidence, since all that is known of the flow is this endpoint.
    pub(crate) fn bad(&mut self, key: Option<u64>, slot: u32) -> Option<f64> {
        let Some(key) = key else { return Some(0.0) };
        let mut flow = match self.flows.iter().position(|flow| flow.key == key) {
            Some(at) => self.flows.remove(at),
            None => Flow { key, places: [(u32::MAX, Count::default()); PLACES], ..Flow::default() },
        };
        let (here, elsewhere) = flow.split(slot);
        flow.note(slot, true);
        if self.flows.len() >= ROOM {
            self.flows.remove(0);
        }
        self.flows.push(flow);
        let unknown = elsewhere.good == 0 && elsewhere.bad == 0;
        if unknown && here.bad > 0 { None } else { Some(rate(elsewhere.good, elsewhere.bad)) }
    }

    /// A good outcome of a flow, which counts only if it is suspected.
    pub(crate) fn good(&mut self, key: Option<u64>, slot: u32) {
        let Some(key) = key.filter(|_| !self.flows.is_empty()) else { return };
        if let Some(flow) = self.flows.iter_mut().find(|flow| flow.key == key) {
            flow.note(slot, false);
        }
    }

    /// The endpoint in this slot has left.
    pub(crate) fn leave(&mut self, slot: u32) {
        for place in self.flows.iter_mut().flat_map(|flow| &mut flow.places) {
            if place.0 == slot {
                *place = (u32::MAX, Count::default());
            }
        }
    }
}

impl Flow {
    /// What it met here, and elsewhere.
    fn split(&self, slot: u32) -> (Count, Count) {
        let here =
            self.places.iter().find(|(at, _)| *at == slot).map_or_else(Count::default, |(_, count)| *count);
        let good = self.total.good.saturating_sub(here.good);
        (here, Count { good, bad: self.total.bad.saturating_sub(here.bad) })
    }

    fn note(&mut self, slot: u32, bad: bool) {
        let at = self.places.iter().position(|(at, _)| *at == slot);
        if let Some(at) = at.or_else(|| bad.then(|| self.least())) {
            if self.places[at].0 != slot {
                self.places[at] = (slot, Count::default());
            }
            self.places[at].1.add(bad);
        }
        self.total.add(bad);
        if self.total.good + self.total.bad >= MANY {
            self.total.halve();
            self.places.iter_mut().for_each(|(_, count)| count.halve());
        }
    }

    /// The place that says least.
    fn least(&self) -> usize {
        (0..PLACES).min_by_key(|at| self.places[*at].1.bad).unwrap_or(0)
    }
}

impl Count {
    fn add(&mut self, bad: bool) {
        *(if bad { &mut self.bad } else { &mut self.good }) += 1;
    }

    fn halve(&mut self) {
        (self.good, self.bad) = (self.good / 2, self.bad / 2);
    }
}

#[cfg(test)]
mod tests {
    use super::super::evidence::BAD_RATE;
    use super::*;

    #[test]
    fn a_flow_that_fails_everywhere_is_evidence_against_no_endpoint() {
        let mut suspects = Suspects::default();
        let rates: Vec<f64> = (0..12).filter_map(|n| suspects.bad(Some(1), n % 4)).collect();
        assert!(rates[0] < BAD_RATE);
        assert!(rates[11] >= BAD_RATE);
    }

    #[test]
    fn a_flow_that_is_served_elsewhere_is_a_witness() {
        let mut suspects = Suspects::default();
        for _ in 0..100 {
            (1..4).for_each(|slot| suspects.good(Some(1), slot));
            assert!(
                suspects.bad(Some(1), 0).is_some_and(|rate| rate < 0.02) || suspects.flows[0].total.good < 3
            );
        }
    }

    #[test]
    fn what_is_known_of_one_endpoint_only_counts_once() {
        let mut suspects = Suspects::default();
        assert!(suspects.bad(Some(1), 0).is_some());
        assert!(suspects.bad(Some(1), 0).is_none());
        suspects.good(Some(1), 2);
        assert!(suspects.bad(Some(1), 0).is_some());
    }

    #[test]
    fn memory_is_bounded() {
        let mut suspects = Suspects::default();
        for key in 0..10_000 {
            suspects.bad(Some(key), 0);
        }
        assert_eq!(suspects.flows.len(), ROOM);
    }
}
