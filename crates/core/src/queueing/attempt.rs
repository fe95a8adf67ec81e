//! One dispatch attempt for a queued request: dispatch, park or evict.

use super::queued_request::{FlowCharge, QueuedRequest};
use super::{Queueing, capacity};
use crate::decision::{EvictReason, RejectReason};
use crate::endpoint::EndpointId;
use crate::fleet::Fleet;
use crate::flow::{self, Position, Ticket};
use crate::placement::{self, CycleKeys, Placement, Query, Ranking, SearchFrontier, Workspace};
use crate::plan::{Plan, answer_role, plan};
use crate::pool::Slot;
use crate::request::Request;
use crate::subset::Subset;
use crate::time::Seconds;

impl Queueing {
    /// The next request to attempt, from the bands that may dispatch.
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
        let charge = queued.charge;
        workspace.lookup.copy_from(&queued.lookup);
        workspace.lookup.refresh(fleet);
        let (labels, headers) = (queued.labels(), queued.headers());
        let request = queued.request(&labels, &headers);
        let starts = self.session_admission.as_ref().is_some_and(|admission| {
            let chain = workspace.lookup.first_chain();
            matches!(
                admission.identify(flow::SessionIdentity { id: queued.session, chain }),
                flow::SessionMatch::New
            )
        });
        let home = workspace.lookup.home;
        let class = || {
            let class = eligibility_class(fleet, &request, home) ^ u64::from(starts);
            CLASSES + class as u32 % (u32::MAX - CLASSES)
        };
        let session_admission = self.session_admission.as_ref().filter(|_| starts);
        let Workspace { lookup, frontier, cycle } = workspace;
        let query = Query {
            session_admission,
            can_wait: true,
            parked_work: self.waiting.parked_work(ticket),
            cycle: CycleKeys { request: queued.id.0, session: queued.session, peer: None },
            ..Query::immediate(fleet.now, &request, lookup)
        };
        let mut plan = match cycle {
            // Endpoints with room first, as in the reference: its saturation detector also filters.
            Some(cycle) => plan(fleet, query, &mut |query| {
                cycle.place(fleet, query, |slot| self.has_room(fleet, slot))
            }),
            None => plan(fleet, query, &mut |query| {
                placement::place(fleet, query, &fleet.profile(query.lookup.model), frontier)
            }),
        };
        let query = Query { relaxation: plan.answer.relaxation, ..query };
        if plan.prefill.is_none() && cycle.is_none() {
            self.pass_over_full(fleet, query, &mut plan.answer.ranking, frontier);
        }
        let Placement { ranking, refusal, .. } = &plan.answer;
        let chosen = ranking.split().map(|((id, best), _)| (*id, best.service()));
        let Some((best, work)) = chosen else {
            let reason = refusal.rejected().reason;
            if let Some(admission) = self.session_admission.as_mut().filter(|_| starts) {
                admission.record_limited();
            }
            return match reason {
                RejectReason::ThreadNotFound => Attempt::Evict(EvictReason::ThreadNotFound),
                RejectReason::TooLarge => Attempt::Evict(EvictReason::TooLarge),
                RejectReason::DeadlineUnreachable => {
                    Attempt::Evict(EvictReason::DeadlineUnreachable)
                }
                _ => Attempt::ParkForAny(class()),
            };
        };
        if in_flight >= fleet.config.max_in_flight {
            return Attempt::ParkForAny(class());
        }
        let full =
            |id: &EndpointId| fleet.pool.get(*id).is_ok_and(|slot| !self.has_room(fleet, slot));
        if let Some(leg) = plan.legs().find(full) {
            return Attempt::ParkFor(leg.slot, Seconds::ZERO);
        }
        if let Some(adapter) = self.awaits_load(fleet, query, best) {
            return Attempt::ParkForLoad(adapter, best.slot);
        }
        match fleet.pool.get(best) {
            Ok(slot) if self.has_room(fleet, slot) => {
                let Some(until) = self.yields_until(fleet, slot, charge) else {
                    return Attempt::Dispatch(plan, best);
                };
                self.wakeups.insert((until, best.slot));
                Attempt::ParkFor(best.slot, work)
            }
            // The other endpoint would have to compute the prompt, too; and a scheduling profile
            // has no costs to compare.
            Ok(_) if plan.prefill.is_some() || ranking.chosen.is_some() => {
                Attempt::ParkFor(best.slot, work)
            }
            Ok(_) => {
                let waited = Seconds::from(query.now.saturating_since(queued.since));
                let may_settle = self.settling.may_search(&self.waiting, queued, waited);
                if may_settle {
                    self.settling.record_search(fleet);
                    let settled =
                        self.best_with_room(fleet, query, charge, waited, ranking, frontier);
                    if let Some((ranking, best)) = settled {
                        let answer = Placement { ranking, ..plan.answer };
                        return Attempt::Dispatch(Plan { answer, ..plan }, best);
                    }
                }
                Attempt::ParkFor(best.slot, work)
            }
            Err(_) => Attempt::ParkForAny(class()),
        }
    }

    /// Removes endpoints that `utilization-detector` filters, those above their headroom, from the
    /// ranking. If it filters all, the ranking stays.
    fn pass_over_full(
        &self,
        fleet: &Fleet,
        query: Query<'_>,
        ranking: &mut Ranking,
        frontier: &mut SearchFrontier,
    ) {
        let full = |slot: &Slot| self.is_full(fleet, slot);
        let best = ranking.split().and_then(|((id, _), _)| fleet.pool.get(*id).ok());
        if !fleet.config.flow.saturation.reads_reports() || !best.is_some_and(full) {
            return;
        }
        let kept = search_answer(fleet, query, frontier, |slot| !full(slot));
        if kept.split().is_some() {
            *ranking = kept;
        }
    }

    /// The best endpoint with room and its ranking, if the request has waited longer than its extra
    /// cost.
    fn best_with_room(
        &self,
        fleet: &Fleet,
        query: Query<'_>,
        charge: FlowCharge,
        waited: Seconds,
        ranking: &Ranking,
        frontier: &mut SearchFrontier,
    ) -> Option<(Ranking, EndpointId)> {
        let free = search_answer(fleet, query, frontier, |slot| {
            self.has_room(fleet, slot) && !self.is_left_to_peers(fleet.now, slot, charge)
        });
        let (((_, best), _), ((id, other), _)) = (ranking.split()?, free.split()?);
        let (id, extra) = (*id, other.cost - best.cost);
        (extra <= waited).then_some((free, id))
    }
}

/// The ranking of the endpoints for the answer that pass a filter.
fn search_answer(
    fleet: &Fleet,
    query: Query<'_>,
    frontier: &mut SearchFrontier,
    filter: impl Fn(&Slot) -> bool,
) -> Ranking {
    let mut kept = Ranking::new(fleet.config.alternatives.saturating_add(1));
    let role = answer_role(fleet, query.request);
    let request = Request { role, ..query.request.clone() };
    let query = Query { request: &request, ..query };
    placement::search(
        fleet,
        query,
        &fleet.profile(query.lookup.model),
        frontier,
        &mut kept,
        filter,
    );
    kept
}

/// A key that is equal for requests with the same eligible endpoints. All models that no endpoint
/// names share one key: clients choose names, and each class is attempted at every event.
fn eligibility_class(fleet: &Fleet, request: &Request<'_>, home: Option<EndpointId>) -> u64 {
    let model = if fleet.pool.names_model(request.model) { request.model } else { "" };
    let mut class = fleet.hasher.mix(fleet.hasher.name(model), request.role as u64);
    if let Some(home) = home {
        class = fleet.hasher.mix(class, home.as_u64());
    }
    // Filters of a scheduling profile may read the headers.
    for (key, value) in request.labels.iter().chain(request.headers) {
        class = fleet
            .hasher
            .mix(class, fleet.hasher.mix(fleet.hasher.name(key), fleet.hasher.name(value)));
    }
    match request.subset {
        None => class,
        Some(Subset::Ids(ids)) => {
            let ids = ids.iter().map(|id| id.as_u64());
            ids.fold(fleet.hasher.mix(class, 1), |class, id| fleet.hasher.mix(class, id))
        }
        Some(Subset::Addresses { list, ports }) => {
            fleet.hasher.mix(class, fleet.hasher.mix(fleet.hasher.name(list), 2 + ports as u64))
        }
    }
}

/// The outcome of one dispatch attempt.
#[expect(clippy::large_enum_variant, reason = "each lives for one call; a box would allocate")]
pub(super) enum Attempt {
    Dispatch(Plan, EndpointId),
    /// For the endpoint in this slot, where the request has this much work.
    ParkFor(u32, Seconds),
    /// Any change of the pool may help requests of this class.
    ParkForAny(u32),
    /// The adapter with this key has to be loaded, in this slot.
    ParkForLoad(u64, u32),
    Evict(EvictReason),
}

/// From this number on, a parking place is no slot but an eligibility class: requests with the same
/// model, role and labels. Classes may share a number.
const CLASSES: u32 = u32::MAX - 1_024;
