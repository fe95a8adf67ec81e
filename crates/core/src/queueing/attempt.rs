//! Weighs a request that waits, when its turn has come: it goes, it can never go, or it is parked.

use super::queued_request::QueuedRequest;
use super::{Queueing, capacity};
use crate::decision::{EvictReason, RejectReason};
use crate::endpoint::EndpointId;
use crate::fleet::Fleet;
use crate::flow::{self, Position, Ticket};
use crate::placement::{self, Placement, Query, Ranking, SearchFrontier, Workspace};
use crate::request::Request;
use crate::time::{Instant, Seconds};

impl Queueing {
    /// Who should be tried next, of the bands that may dispatch.
    pub(super) fn next_to_try(&mut self, fleet: &Fleet) -> Option<Ticket> {
        let now = fleet.now;
        let prefill = fleet.config.prefill;
        let uncached = |queued: &QueuedRequest| queued.lookup.least_work(prefill);
        if fleet.config.flow.never_closes() {
            return self.waiting.best_by(now, |_| true, |queued| uncached(queued));
        }
        self.rounds += 1;
        let (saturation, usage_limit) =
            (capacity::saturation(fleet, now), &fleet.config.flow.usage_limit);
        let bands = self.waiting.active_bands(now);
        let open = |priority| {
            usage_limit.is_open(saturation, Position::among(&bands, priority), self.rounds)
        };
        self.waiting.best_by(now, open, |queued| uncached(queued))
    }

    pub(super) fn attempt(
        &mut self,
        fleet: &Fleet,
        in_flight: usize,
        ticket: Ticket,
        workspace: &mut Workspace,
    ) -> Attempt {
        let Some(queued) = self.waiting.get(ticket) else { return Attempt::ParkForAny(CLASSES) };
        workspace.lookup.copy_from(&queued.lookup);
        workspace.lookup.refresh(fleet);
        let labels = queued.labels();
        let request = queued.request(&labels);
        let starts = self.guard.as_ref().is_some_and(|guard| {
            let chain = workspace.lookup.first_chain();
            matches!(
                guard.identify(flow::SessionIdentity { id: queued.session, chain }),
                flow::SessionMatch::New
            )
        });
        let class = CLASSES
            + (eligibility_class(fleet, &request, workspace.lookup.home) ^ u64::from(starts))
                as u32
                % (u32::MAX - CLASSES);
        let guard = self.guard.as_ref().filter(|_| starts);
        let query = Query {
            guard,
            can_wait: true,
            ..Query::immediate(fleet.now, &request, &workspace.lookup)
        };
        let Placement { ranking, refusal, relaxation } =
            placement::place(fleet, query, &fleet.profile(), &mut workspace.frontier);
        let query = Query { relaxation, ..query };
        let Some(best) = ranking.split().map(|((id, _), _)| *id) else {
            let reason = refusal.into_rejected().reason;
            if let Some(guard) = self.guard.as_mut().filter(|_| starts) {
                guard.record_limited();
            }
            return match reason {
                RejectReason::ThreadNotFound => Attempt::Evict(EvictReason::ThreadNotFound),
                RejectReason::TooLarge => Attempt::Evict(EvictReason::TooLarge),
                RejectReason::DeadlineUnreachable => {
                    Attempt::Evict(EvictReason::DeadlineUnreachable)
                }
                _ => Attempt::ParkForAny(class),
            };
        };
        if in_flight >= fleet.config.max_in_flight {
            return Attempt::ParkForAny(class);
        }
        match fleet.pool.get(best) {
            Ok(slot) if !capacity::has_room(fleet, slot) => {
                let (free, holding_out_since) =
                    self.settle_for_less(fleet, query, queued, &ranking, &mut workspace.frontier);
                if let Some((ranking, best)) = free {
                    return Attempt::Dispatch(ranking, best);
                }
                if let Some(queued) = self.waiting.get_mut(ticket) {
                    queued.holding_out_since = holding_out_since;
                }
                Attempt::ParkFor(best.slot)
            }
            Ok(_) => Attempt::Dispatch(ranking, best),
            Err(_) => Attempt::ParkForAny(class),
        }
    }

    /// The best of the endpoints that have room, for a request that waits for a better one and has had enough of that; and since when
    /// it could have had such a one.
    ///
    /// It waits for as long as the other one costs more, in seconds, and takes it then: as one rents skis until the rent comes to their
    /// price, which is never worse than twice the best (Karlin et al., 1988). Only while less important requests wait, who would have
    /// taken it meanwhile; among equals, whoever waits for its cache is right to.
    fn settle_for_less(
        &self,
        fleet: &Fleet,
        query: Query<'_>,
        queued: &QueuedRequest,
        ranking: &Ranking,
        frontier: &mut SearchFrontier,
    ) -> (Option<(Ranking, EndpointId)>, Option<Instant>) {
        let mine = queued.charge.priority.0;
        if !self.waiting.bands().any(|(band, sum, _)| band < mine && sum.requests > 0) {
            return (None, queued.holding_out_since);
        }
        let mut free = Ranking::new(fleet.config.alternatives.saturating_add(1));
        placement::search(fleet, query, &fleet.profile(), frontier, &mut free, |slot| {
            capacity::has_room(fleet, slot)
        });
        let (Some(((_, best), _)), Some(((id, other), _))) = (ranking.split(), free.split()) else {
            return (None, queued.holding_out_since);
        };
        let since = queued.holding_out_since.unwrap_or(query.now);
        let waited = Seconds::from(query.now.saturating_since(since));
        let id = *id;
        ((other.cost - best.cost <= waited).then_some((free, id)), Some(since))
    }
}

/// A number that is the same for requests that the same endpoints can have. A model that no endpoint names is served by those
/// that serve any: clients invent names, and as many kinds as names would all be tried at each event.
fn eligibility_class(fleet: &Fleet, request: &Request<'_>, home: Option<EndpointId>) -> u64 {
    let model = if fleet.pool.names_model(request.model) { request.model } else { "" };
    let mut class = fleet.hasher.mix(fleet.hasher.name(model), request.role as u64);
    if let Some(home) = home {
        class = fleet.hasher.mix(class, home.as_u64());
    }
    for (key, value) in request.labels {
        class = fleet
            .hasher
            .mix(class, fleet.hasher.mix(fleet.hasher.name(key), fleet.hasher.name(value)));
    }
    class
}

/// The outcome of one dispatch attempt.
pub(super) enum Attempt {
    Dispatch(Ranking, EndpointId),
    ParkFor(u32),
    /// Any change may help requests of its kind.
    ParkForAny(u32),
    Evict(EvictReason),
}

/// From this number on, what requests are parked for is no endpoint: it is any that takes their kind of request, the same model, role
/// and labels. Kinds may share a number.
const CLASSES: u32 = u32::MAX - 1_024;
