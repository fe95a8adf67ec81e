//! Flows with bad outcomes: is it the endpoint, or the client?
//!
//! A client whose requests are bad has bad outcomes on every endpoint. So for each of some flows it is counted where their
//! outcomes were good and bad; what a flow meets on one endpoint is held against its rate on the others.

use alloc::vec::Vec;

use super::evidence::rate;

/// The flows that have had bad outcomes, the latest `ROOM` of them.
#[derive(Debug, Default)]
pub(crate) struct SuspectFlows {
    /// Most recently bad last.
    flows: Vec<Flow>,
}

/// What a bad outcome of a flow says about the endpoint.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum FlowEvidence {
    /// Nothing new: the flow has been on no other endpoint.
    Repeats,
    /// That the flow fares better elsewhere, if this rate is low; `alone` says whether that has been seen, so that it needs
    /// no other flow to confirm it.
    Counts { rate: f64, alone: bool },
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

impl SuspectFlows {
    /// A bad outcome of the flow with this key, if it has one, in `slot`: what it says.
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

    fn said(evidence: FlowEvidence) -> (f64, bool) {
        match evidence {
            FlowEvidence::Repeats => (1.0, false),
            FlowEvidence::Counts { rate, alone } => (rate, alone),
        }
    }

    #[test]
    fn a_flow_that_fails_everywhere_is_evidence_against_no_endpoint() {
        let mut suspects = SuspectFlows::default();
        let all: Vec<_> = (0..12).map(|n| said(suspects.bad(Some(1), n % 4))).collect();
        assert!(all[0].0 < BAD_RATE && all[11].0 >= BAD_RATE);
        assert!(all.iter().all(|(_, alone)| !alone));
    }

    #[test]
    fn a_flow_that_is_served_elsewhere_is_a_witness() {
        let mut suspects = SuspectFlows::default();
        suspects.bad(Some(1), 0);
        for _ in 0..100 {
            (1..4).for_each(|slot| suspects.good(Some(1), slot));
            let (rate, alone) = said(suspects.bad(Some(1), 0));
            assert!(rate < 0.02 && alone);
        }
    }

    #[test]
    fn what_is_known_of_one_endpoint_only_counts_once() {
        let mut suspects = SuspectFlows::default();
        assert_eq!(said(suspects.bad(Some(1), 0)), (0.01, false));
        assert_eq!(suspects.bad(Some(1), 0), FlowEvidence::Repeats);
        suspects.good(Some(1), 2);
        assert!(said(suspects.bad(Some(1), 0)).1);
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
