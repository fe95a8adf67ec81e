//! Weighs a request that waits, when its turn has come: it goes, it can never go, or it is parked.

use alloc::boxed::Box;

use super::asker::Asker;
use super::{Scheduler, Scratch};
use crate::decision::{Decision, EvictReason, RejectReason};
use crate::endpoint::EndpointId;
use crate::flow::{self, Position, Ticket};
use crate::placement::{self, Lookup, Placement, Query, Ranking, SearchFrontier};
use crate::prefix::BlockHash;
use crate::request::Request;
use crate::time::{Instant, Seconds};

impl Scheduler {
    /// Who should be tried next, of the bands that may dispatch.
    pub(super) fn next_to_try(&mut self, now: Instant) -> Option<Ticket> {
        let prefill = self.fleet.config.prefill;
        let uncached = |Lookup { tokens, best_hit, .. }: &Lookup| {
            prefill.work(tokens.saturating_sub(*best_hit), *best_hit)
        };
        if self.fleet.config.flow.never_closes() {
            return self.waiting.best_by(now, |_| true, |asker| uncached(&asker.lookup));
        }
        self.rounds += 1;
        let (saturation, ceiling) = (self.saturation(now), &self.fleet.config.flow.ceiling);
        let bands = self.waiting.active_bands(now);
        let open = |priority| ceiling.is_open(saturation, Position::among(&bands, priority), self.rounds);
        self.waiting.best_by(now, open, |asker| uncached(&asker.lookup))
    }

    /// Weighs a request that waits: it goes, it can never go, or it waits for something.
    pub(super) fn try_to_place(&mut self, now: Instant, ticket: Ticket) -> Option<Decision> {
        let mut scratch = core::mem::take(&mut self.scratch);
        let trial = self.trial(now, ticket, &mut scratch);
        let decision = match trial {
            Trial::Goes(ranking, best) => self.send(now, ticket, &mut scratch.lookup, &ranking, best),
            Trial::WaitsFor(slot) => {
                self.waiting.park(ticket, slot);
                self.wake_later(now, slot);
                None
            }
            Trial::WaitsForAny(kind) => {
                self.waiting.park(ticket, kind);
                self.kinds.insert(kind);
                None
            }
            Trial::Never(reason) => {
                let asker = self.waiting.remove(now, ticket);
                asker.map(|asker| self.evict(now, &asker, reason))
            }
        };
        self.scratch = scratch;
        decision
    }

    fn trial(&mut self, now: Instant, ticket: Ticket, scratch: &mut Scratch) -> Trial {
        let Some(asker) = self.waiting.get(ticket) else { return Trial::WaitsForAny(KINDS) };
        scratch.lookup.copy_from(&asker.lookup);
        scratch.lookup.refresh(&self.fleet);
        let labels = asker.labels();
        let request = asker.request(&labels);
        let starts = self.guard.as_ref().is_some_and(|guard| {
            let chain = scratch.lookup.first_chain();
            matches!(
                guard.identify(flow::SessionIdentity { id: asker.session, chain }),
                flow::SessionMatch::New
            )
        });
        let kind = KINDS
            + (self.kind(&request, scratch.lookup.home) ^ u64::from(starts)) as u32 % (u32::MAX - KINDS);
        let guard = self.guard.as_ref().filter(|_| starts);
        let query = Query { guard, can_wait: true, ..Query::immediate(now, &request, &scratch.lookup) };
        let Placement { ranking, refusal, relaxation } =
            placement::place(&self.fleet, query, &self.fleet.profile(), &mut scratch.frontier);
        let query = Query { relaxation, ..query };
        let Some(best) = ranking.split().map(|((id, _), _)| *id) else {
            let reason = refusal.into_rejected().reason;
            if let Some(guard) = self.guard.as_mut().filter(|_| starts) {
                guard.record_limited();
            }
            return match reason {
                RejectReason::ThreadNotFound => Trial::Never(EvictReason::ThreadNotFound),
                RejectReason::TooLarge => Trial::Never(EvictReason::TooLarge),
                RejectReason::DeadlineUnreachable => Trial::Never(EvictReason::DeadlineUnreachable),
                _ => Trial::WaitsForAny(kind),
            };
        };
        if self.requests.len() >= self.fleet.config.max_in_flight {
            return Trial::WaitsForAny(kind);
        }
        match self.fleet.pool.get(best) {
            Ok(slot) if self.holds(now, slot) => {
                let (free, choosy_since) =
                    self.settle_for_less(query, asker, &ranking, &mut scratch.frontier);
                if let Some((ranking, best)) = free {
                    return Trial::Goes(ranking, best);
                }
                if let Some(asker) = self.waiting.get_mut(ticket) {
                    asker.choosy_since = choosy_since;
                }
                Trial::WaitsFor(best.slot)
            }
            Ok(_) => Trial::Goes(ranking, best),
            Err(_) => Trial::WaitsForAny(kind),
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
        query: Query<'_>,
        asker: &Asker,
        ranking: &Ranking,
        frontier: &mut SearchFrontier,
    ) -> (Option<(Ranking, EndpointId)>, Option<Instant>) {
        let mine = asker.fare.priority.0;
        if !self.waiting.bands().any(|(band, sum, _)| band < mine && sum.requests > 0) {
            return (None, asker.choosy_since);
        }
        let mut free = Ranking::new(self.fleet.config.alternatives.saturating_add(1));
        placement::search(&self.fleet, query, &self.fleet.profile(), frontier, &mut free, |slot| {
            !self.holds(query.now, slot)
        });
        let (Some(((_, best), _)), Some(((id, other), _))) = (ranking.split(), free.split()) else {
            return (None, asker.choosy_since);
        };
        let since = asker.choosy_since.unwrap_or(query.now);
        let waited = Seconds::from(query.now.saturating_since(since));
        let id = *id;
        ((other.cost - best.cost <= waited).then_some((free, id)), Some(since))
    }

    /// Reserves the endpoint for a request that waits no longer.
    fn send(
        &mut self,
        now: Instant,
        ticket: Ticket,
        lookup: &mut Lookup,
        ranking: &Ranking,
        best: EndpointId,
    ) -> Option<Decision> {
        let asker = self.waiting.take(now, ticket)?;
        self.tickets.remove(&asker.id.0);
        let chain: Option<Box<[BlockHash]>> = self.guard.is_some().then(|| lookup.first_chain().into());
        match self.dispatch(now, asker.id, asker.adapter.as_deref(), asker.suspect, lookup, ranking) {
            Ok(mut dispatch) => {
                dispatch.queued = now.saturating_since(asker.since);
                self.counters.queue_time.observe(dispatch.queued);
                self.counters.queued = self.counters.queued.saturating_add(dispatch.queued);
                let session = self.guard.as_mut().zip(chain).map(|(guard, chain)| {
                    let identity = flow::SessionIdentity { id: asker.session, chain: &chain };
                    guard.begin(now, identity, best.slot, lookup.tokens)
                });
                if let Some(in_flight) = self.requests.get_mut(asker.id) {
                    (in_flight.fare, in_flight.session) = (Some(asker.fare), session);
                }
                if self.fleet.pool.get(best).is_ok_and(|slot| self.holds(now, slot)) {
                    self.waiting.close(best.slot);
                }
                Some(Decision::Dispatch(dispatch))
            }
            Err(_) => Some(self.evict(now, &asker, EvictReason::NoEndpoints)),
        }
    }

    /// A number that is the same for requests that the same endpoints can have. A model that no endpoint names is served by those
    /// that serve any: clients invent names, and as many kinds as names would all be tried at each event.
    fn kind(&self, request: &Request<'_>, home: Option<EndpointId>) -> u64 {
        let model = if self.fleet.pool.names_model(request.model) { request.model } else { "" };
        let mut kind = self.fleet.hasher.mix(self.fleet.hasher.name(model), request.role as u64);
        if let Some(home) = home {
            kind = self.fleet.hasher.mix(kind, home.as_u64());
        }
        for (key, value) in request.labels {
            kind = self
                .fleet
                .hasher
                .mix(kind, self.fleet.hasher.mix(self.fleet.hasher.name(key), self.fleet.hasher.name(value)));
        }
        kind
    }
}

/// What came of weighing a request that waits.
enum Trial {
    Goes(Ranking, EndpointId),
    WaitsFor(u32),
    /// Any change may help requests of its kind.
    WaitsForAny(u32),
    Never(EvictReason),
}

/// From this number on, what requests are parked for is no endpoint: it is any that takes their kind of request, the same model, role
/// and labels. Kinds may share a number.
const KINDS: u32 = u32::MAX - 1_024;
