//! Distinguishes bad clients from bad endpoints by the outcomes of flows.
//!
//! A client with bad requests has bad outcomes on every endpoint. For a bounded number of flows,
//! good and bad outcomes are counted by endpoint. A flow's outcome on one endpoint is compared with
//! its rate on the others.

use alloc::vec::Vec;

use super::evidence::rate;

/// The last `ROOM` flows with bad outcomes.
#[derive(Debug, Default)]
pub(crate) struct SuspectFlows {
    /// In the order of their last bad outcomes.
    flows: Vec<Flow>,
}

/// The evidence of a flow's bad outcome against the endpoint.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum FlowEvidence {
    /// No new evidence: the flow has been on no other endpoint.
    Repeats,
    /// Evidence of this weight: `rate` is the flow's rate elsewhere. `alone` is whether the flow
    /// had good outcomes elsewhere, so that it needs no other flow to confirm it.
    Counts { rate: f64, alone: bool },
}

#[derive(Clone, Copy, Debug, Default)]
struct Flow {
    key: u64,
    total: Count,
    /// The endpoints of its outcomes; outcomes without a place count only in `total`.
    places: [(u32, Count); PLACES],
}

#[derive(Clone, Copy, Debug, Default)]
struct Count {
    good: u32,
    bad: u32,
}

/// Each takes 88 bytes.
const ROOM: usize = 256;
const PLACES: usize = 4;
/// Counts are halved at this sum, so that recent behaviour dominates.
const MANY: u32 = 128;

impl SuspectFlows {
    /// Records a bad outcome of a flow in `slot`, and returns its evidence.
    pub(crate) fn bad(&mut self, key: Option<u64>, slot: u32) -> FlowEvidence {
        let Some(key) = key else { return FlowEvidence::Counts { rate: 0.0, alone: true } };
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
        let known = elsewhere.good + elsewhere.bad > 0;
        if !known && here.bad > 0 {
            return FlowEvidence::Repeats;
        }
        FlowEvidence::Counts {
            rate: rate(elsewhere.good, elsewhere.bad),
            alone: elsewhere.good > 0,
        }
    }

    /// Records a good outcome of a flow; only suspected flows are counted.
    pub(crate) fn good(&mut self, key: Option<u64>, slot: u32) {
        let Some(key) = key.filter(|_| !self.flows.is_empty()) else { return };
        if let Some(flow) = self.flows.iter_mut().find(|flow| flow.key == key) {
            flow.note(slot, false);
        }
    }

    /// Removes the endpoint in this slot.
    pub(crate) fn leave(&mut self, slot: u32) {
        for place in self.flows.iter_mut().flat_map(|flow| &mut flow.places) {
            if place.0 == slot {
                *place = (u32::MAX, Count::default());
            }
        }
    }
}

impl Flow {
    /// Its counts on this endpoint, and on the others.
    fn split(&self, slot: u32) -> (Count, Count) {
        let here = self
            .places
            .iter()
            .find(|(at, _)| *at == slot)
            .map_or_else(Count::default, |(_, count)| *count);
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

    /// The place with the fewest bad outcomes.
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

    fn parts(evidence: FlowEvidence) -> (f64, bool) {
        match evidence {
            FlowEvidence::Repeats => (1.0, false),
            FlowEvidence::Counts { rate, alone } => (rate, alone),
        }
    }

    #[test]
    fn a_flow_that_fails_everywhere_is_evidence_against_no_endpoint() {
        let mut suspects = SuspectFlows::default();
        let all: Vec<_> = (0..12).map(|n| parts(suspects.bad(Some(1), n % 4))).collect();
        assert!(all[0].0 < BAD_RATE && all[11].0 >= BAD_RATE);
        assert!(all.iter().all(|(_, alone)| !alone));
    }

    #[test]
    fn a_flow_that_is_served_elsewhere_is_a_witness() {
        let mut suspects = SuspectFlows::default();
        suspects.bad(Some(1), 0);
        for _ in 0..100 {
            (1..4).for_each(|slot| suspects.good(Some(1), slot));
            let (rate, alone) = parts(suspects.bad(Some(1), 0));
            assert!(rate < 0.02 && alone);
        }
    }

    #[test]
    fn what_is_known_of_one_endpoint_only_counts_once() {
        let mut suspects = SuspectFlows::default();
        assert_eq!(parts(suspects.bad(Some(1), 0)), (0.01, false));
        assert_eq!(suspects.bad(Some(1), 0), FlowEvidence::Repeats);
        suspects.good(Some(1), 2);
        assert!(parts(suspects.bad(Some(1), 0)).1);
    }

    #[test]
    fn memory_is_bounded() {
        let mut suspects = SuspectFlows::default();
        for key in 0..10_000 {
            suspects.bad(Some(key), 0);
        }
        assert_eq!(suspects.flows.len(), ROOM);
    }
}
