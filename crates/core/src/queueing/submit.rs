//! Admits a request to the queue, or rejects it at once.

use alloc::boxed::Box;
use core::time::Duration;

use super::queued_request::{FlowCharge, QueuedRequest};
use super::{Queueing, TICK, capacity};
use crate::decision::{RejectReason, Rejected};
use crate::fleet::Fleet;
use crate::flow::{Admission, Full};
use crate::placement::Lookup;
use crate::plan::answer_role;
use crate::pool::Slot;
use crate::request::{Priority, Request, RequestId};
use crate::time::Seconds;

impl Queueing {
    /// Queues a request, or reports why it need not wait.
    ///
    /// # Errors
    ///
    /// [`Rejected`] if the request cannot be queued. Only the activity of its band is recorded
    /// then.
    pub(crate) fn submit(
        &mut self,
        fleet: &Fleet,
        id: RequestId,
        request: &Request<'_>,
        lookup: &Lookup,
    ) -> Result<(), Rejected> {
        let now = fleet.now;
        let ttl = request.ttl.unwrap_or(fleet.config.flow.ttl);
        let reject = |reason, after: Option<Duration>| Err(Rejected { reason, retry_after: after });
        if request.has_long_name() {
            return reject(RejectReason::NameTooLong, None);
        }
        let role = answer_role(fleet, request);
        let suits = |slot: &Slot| slot.endpoint.suits(request.model, role, request.labels);
        if fleet.pool.len() > 0 && !fleet.pool.iter().any(suits) {
            return reject(RejectReason::NotServed, None);
        }
        if lookup
            .home
            .is_some_and(|home| !fleet.takes_requests(home) || request.exclude.contains(&home))
        {
            return reject(RejectReason::ThreadNotFound, None);
        }
        let outside = |slot: &Slot| {
            request.subset.is_some_and(|subset| !subset.allows(slot.id, &slot.endpoint.name))
        };
        let excluded =
            |slot: &Slot| !suits(slot) || outside(slot) || request.exclude.contains(&slot.id);
        let restricted = !request.exclude.is_empty() || request.subset.is_some();
        if restricted && fleet.pool.len() > 0 && fleet.pool.iter().all(excluded) {
            return Err(Rejected::NO_ENDPOINTS);
        }
        let band = Priority(self.waiting.band_for(request.priority.0));
        self.waiting.record_arrival(now, band.0);
        let wait = || self.expected_wait(fleet, band);
        if request.priority.is_sheddable() && capacity::is_saturated(fleet, now) {
            return reject(RejectReason::Shed, Some(wait().to_duration()));
        }
        let own = lookup.least_work(fleet.config.prefill);
        let deadline = request.must_start_by(now);
        if let Some(deadline) = deadline {
            let wait = wait();
            if now + (wait + own).to_duration() > deadline {
                let late = wait + own - Seconds::from(deadline.saturating_since(now));
                let helps = (late <= wait).then(|| late.to_duration());
                return reject(RejectReason::DeadlineUnreachable, helps);
            }
        }
        let work = own + fleet.output_cost(request.expected_output_tokens);
        let answer = request.expected_output_tokens;
        let service = fleet.config.flow.fairness.service(work, lookup.tokens, answer);
        let charge = FlowCharge { priority: band, flow: lookup.flow, work, service };
        let session = request.session.map(|session| fleet.hasher.name(session));
        // A request with a TTL of zero is attempted once.
        let expires = deadline.into_iter().chain([now + ttl.max(TICK)]).min();
        let admission = Admission {
            priority: band.0,
            flow: lookup.flow,
            weight: request.weight,
            bytes: request.bytes(),
            cost: work,
            service: Some(service),
            slo: request.first_token_due(now),
            expires,
        };
        let mut queued = Box::new(QueuedRequest::new(id, now, charge, session, request, lookup));
        queued.suspect = fleet.suspect(request, lookup.flow);
        match self.waiting.enqueue(now, admission, queued) {
            Ok(ticket) => {
                self.tickets.push(id.0, ticket);
                Ok(())
            }
            Err((_, Full::BandRequests | Full::BandBytes | Full::Requests | Full::Bytes)) => {
                reject(RejectReason::QueueFull, Some(self.expected_wait(fleet, band).to_duration()))
            }
        }
    }
}
