//! Which requests are displaced when the queue is full.
//!
//! - A full *band* displaces the newest request of the flow that is farthest ahead, if that flow is
//!   ahead of the new request's flow. A flow that floods a band displaces only its own requests.
//! - A full *queue* displaces requests of the lowest band in the same order, but none of the new
//!   request's priority or above.
//!
//! Removed requests take up space until the host fetches their decisions. A new request that
//! displaces none needs space beside them, and no more can be displaced than may wait.
//!
//! A plan is made first: a rejected request changes nothing.

use alloc::vec::Vec;

use super::fairness::Virtual;
use super::ledger::QueueTotals;
use super::slab::NONE;
use super::{Full, RequestQueue};

/// Limit of requests that one request displaces, so that a large request costs no more time than
/// others.
pub(super) const MOST_DISPLACED: usize = 64;

/// The requests to displace.
#[derive(Debug, Default)]
struct Plan {
    preemption_candidates: Vec<u32>,
    losing: Vec<LosingFlow>,
    freed: QueueTotals,
}

/// A flow that loses requests by the plan.
#[derive(Debug)]
struct LosingFlow {
    flow: u32,
    /// The newest request that it keeps.
    newest: u32,
    /// The charges of the requests that it loses.
    charge: Virtual,
}

impl<T> RequestQueue<T> {
    /// Plans which requests to displace for a new request of this flow, charge and size.
    pub(super) fn make_room(
        &mut self,
        priority: i32,
        id: u64,
        charge: u64,
        newcomer: QueueTotals,
    ) -> Result<Vec<u32>, Full> {
        let mut plan = Plan::default();
        let made = self.plan(&mut plan, priority, id, charge, newcomer);
        for losing in &plan.losing {
            self.ledger.restore(losing.flow, losing.newest != NONE);
        }
        made.map(|()| plan.preemption_candidates)
    }

    fn plan(
        &mut self,
        plan: &mut Plan,
        priority: i32,
        id: u64,
        charge: u64,
        newcomer: QueueTotals,
    ) -> Result<(), Full> {
        let band = self.ledger.band_at(priority);
        let in_band = band.map_or_else(QueueTotals::default, |band| self.ledger.bands[band].sum);
        let limits = self.config.band;
        while let Some(full) =
            excess(in_band, newcomer, plan.freed, limits.max_requests, limits.max_bytes)
        {
            let Some(band) = band else { return Err(full.of_band()) };
            let lead = self.ledger.lead_of(band, id, charge);
            if !self.take_newest(plan, band, Some(lead)) {
                return Err(full.of_band());
            }
        }
        let (max_requests, max_bytes) = self.limits();
        if excess(self.sum, newcomer, plan.freed, max_requests, max_bytes).is_none() {
            let mut kept = self.sum;
            kept.add(self.undelivered);
            let full = excess(kept, newcomer, QueueTotals::default(), max_requests, max_bytes);
            return full.filter(|_| plan.preemption_candidates.is_empty()).map_or(Ok(()), Err);
        }
        let lower = self.ledger.descending().rev().take_while(|(_, band)| band.priority < priority);
        let lower: Vec<u32> = lower.take(MOST_DISPLACED).map(|(band, _)| band).collect();
        let mut lower = lower.into_iter().peekable();
        while let Some(full) = excess(self.sum, newcomer, plan.freed, max_requests, max_bytes) {
            let Some(band) = lower.peek() else { return Err(full) };
            if !self.take_newest(plan, *band, None) {
                lower.next();
            }
        }
        Ok(())
    }

    /// Limits of requests and bytes in the queue.
    fn limits(&self) -> (usize, u64) {
        // Request numbers have 32 bits.
        let max_requests = self.config.max_requests.unwrap_or(usize::MAX).min(NONE as usize - 1);
        (max_requests, self.config.max_bytes.unwrap_or(u64::MAX))
    }

    /// Adds to the plan the newest request of the band's flow that is farthest ahead, and ahead of
    /// `least`. Returns whether there was one.
    fn take_newest(&mut self, plan: &mut Plan, band: u32, least: Option<Virtual>) -> bool {
        let most = MOST_DISPLACED.min(self.limits().0.saturating_sub(self.undelivered.requests));
        let Some((flow, lead)) = self.ledger.farthest_ahead(band) else { return false };
        if plan.preemption_candidates.len() >= most || least.is_some_and(|least| lead <= least) {
            return false;
        }
        let at = plan.losing.iter().position(|losing| losing.flow == flow).unwrap_or_else(|| {
            plan.losing.push(LosingFlow {
                flow,
                newest: self.ledger.flows[flow].newest,
                charge: 0,
            });
            plan.losing.len() - 1
        });
        let losing = &mut plan.losing[at];
        let request = &self.requests[losing.newest];
        plan.preemption_candidates.push(losing.newest);
        plan.freed.add(request.sum());
        losing.newest = self.queues.places.older(losing.newest);
        losing.charge += Virtual::from(request.charge);
        let lead = (losing.newest != NONE).then(|| self.ledger.lead_without(flow, losing.charge));
        self.ledger.pretend(flow, lead);
        true
    }
}

/// The limit that is exceeded with the new request and without the displaced ones.
fn excess(
    sum: QueueTotals,
    newcomer: QueueTotals,
    freed: QueueTotals,
    max_requests: usize,
    max_bytes: u64,
) -> Option<Full> {
    let bytes = sum.bytes - freed.bytes + newcomer.bytes;
    if sum.requests - freed.requests >= max_requests {
        Some(Full::Requests)
    } else if bytes > u128::from(max_bytes) {
        Some(Full::Bytes)
    } else {
        None
    }
}

impl Full {
    const fn of_band(self) -> Self {
        match self {
            Self::Requests | Self::BandRequests => Self::BandRequests,
            Self::Bytes | Self::BandBytes => Self::BandBytes,
        }
    }
}
