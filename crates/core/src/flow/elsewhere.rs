//! What other gateways of the pool do with the flows: they serve them, and requests wait there.
//!
//! A flow that waits elsewhere keeps its account and its lag, as if its requests waited here. A
//! flow that waits here can then see that it is ahead of one that only other gateways can serve.

use super::fairness::Virtual;
use super::heap::Heaps;
use super::ledger::Ledger;
use crate::time::{Instant, Seconds};

/// A flow as another gateway reports it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FlowElsewhere {
    pub(crate) priority: i32,
    pub(crate) id: u64,
    /// Its weight, if that is known.
    pub(crate) weight: Option<f64>,
    /// Whether requests of it wait at any other gateway.
    pub(crate) waits: bool,
}

impl Ledger {
    /// Charges a flow for requests that other gateways have dispatched. The clock advances as if
    /// they had been dispatched here. Where no request of its band waits, nothing is charged.
    pub(super) fn serve_elsewhere(
        &mut self,
        now: Instant,
        flow: FlowElsewhere,
        requests: u32,
        service: Seconds,
    ) {
        let Some(number) = self.band_at(flow.priority) else { return };
        let at = self.flow_of(number, self.fairness.flow(flow.id));
        self.set_weight(at, flow.weight);
        let charge = self.fairness.charge_all(requests, service, self.flows[at].weight);
        self.serve(now, at, charge);
        self.rekey(at);
        self.forget(now, number);
    }

    /// Sets whether requests of a flow wait at other gateways. At most `most` bands have requests;
    /// flows that would exceed it or the limit of idle flows are not noted.
    pub(super) fn wait_elsewhere(&mut self, now: Instant, flow: FlowElsewhere, most: usize) {
        let id = self.fairness.flow(flow.id);
        let band = self.band_at(flow.priority);
        if !flow.waits {
            let Some(number) = band else { return };
            if let Some(at) = self.bands[number].flows.get(&id).copied() {
                self.cease(at);
                self.forget(now, number);
            }
            return;
        }
        let number = match band {
            Some(number) => number,
            None if self.by_priority.len() >= most => return,
            None => self.band_of(flow.priority),
        };
        let is_known = self.bands[number].flows.contains_key(&id);
        if is_known || self.idle + self.absent < self.max_idle {
            let at = self.flow_of(number, id);
            self.set_weight(at, flow.weight);
            self.begin(at);
        }
        self.forget(now, number);
    }

    /// Whether a flow that waits elsewhere has its turn before one that waits here, also after
    /// another charge. Computes in **O(1)**.
    pub(super) fn is_ahead_of_others(
        &self,
        now: Instant,
        priority: i32,
        id: u64,
        service: Seconds,
    ) -> bool {
        let Some(band) = self.band_at(priority).map(|number| &self.bands[number]) else {
            return false;
        };
        let flow = band.flows.get(&self.fairness.flow(id)).map(|at| &self.flows[*at]);
        let Some(flow) = flow.filter(|_| !band.elsewhere.is_empty()) else { return false };
        let (least, _) = self.lags.key(band.elsewhere.first);
        let charge = i128::from(self.fairness.charge(service, flow.weight));
        let after: Virtual = self.fairness.after(least, charge, now);
        after < flow.served
    }

    /// Whether requests of a flow wait here, and its weight.
    pub(super) fn waits_here(&self, priority: i32, id: u64) -> (bool, f64) {
        let band = self.band_at(priority).map(|number| &self.bands[number]);
        let flow = band.and_then(|band| band.flows.get(&self.fairness.flow(id)));
        let flow = flow.map(|at| &self.flows[*at]);
        flow.map_or((false, 1.0), |flow| (flow.len > 0, flow.weight))
    }

    /// The next flow that has begun or ceased to wait here, or has another weight.
    pub(super) fn poll_changed(&mut self) -> Option<(i32, u64)> {
        Some(self.changed.as_mut()?.pop_first()?.0)
    }

    fn begin(&mut self, at: u32) {
        let flow = &mut self.flows[at];
        if core::mem::replace(&mut flow.elsewhere, true) {
            return;
        }
        let standing = (flow.served, flow.id);
        let band = &mut self.bands[flow.band];
        self.lags.insert(&mut band.elsewhere, at, standing);
        if flow.len == 0 {
            self.standings.remove(&mut band.idle, at);
            self.idle -= 1;
            self.absent += 1;
        }
    }

    fn cease(&mut self, at: u32) {
        let flow = &mut self.flows[at];
        if !core::mem::take(&mut flow.elsewhere) {
            return;
        }
        let (number, is_absent) = (flow.band, flow.len == 0);
        self.lags.remove(&mut self.bands[number].elsewhere, at);
        if is_absent {
            self.absent -= 1;
            self.rest(at);
        }
    }

    /// Requests that wait here know the weight of their flow best.
    fn set_weight(&mut self, at: u32, weight: Option<f64>) {
        let flow = &mut self.flows[at];
        if let Some(weight) = weight.filter(|_| flow.len == 0) {
            flow.weight = weight;
        }
    }
}
