//! Whether an endpoint has room for a queued request, and how saturated the pool is.

use super::TICK;
use crate::endpoint::Role;
use crate::fleet::Fleet;
use crate::flow::EndpointLoad;
use crate::pool::{ExternalLoad, Slot};
use crate::time::Instant;

/// Whether queued requests may be dispatched to the endpoint now. Without room, a later first token
/// or end of a request on the endpoint reopens it. `has_other_flows` states whether requests of
/// several flows waited lately.
pub(super) fn has_room(fleet: &Fleet, slot: &Slot, has_other_flows: bool) -> bool {
    let now = fleet.now;
    let flow = &fleet.config.flow;
    let booked = slot.falls_to(flow.max_queued_prefill, now) > now;
    // A policy that reads reports can close an endpoint without own requests; reports, and their
    // age, reopen it.
    let can_close = flow.saturation.reads_reports() || slot.in_flight.requests() > 0;
    !(booked || can_close && is_full(fleet, slot, has_other_flows))
}

/// Whether the policy of saturation closes this endpoint, whatever the rest of the pool does.
pub(super) fn is_full(fleet: &Fleet, slot: &Slot, has_other_flows: bool) -> bool {
    let load = endpoint_load(fleet, fleet.now, slot);
    !fleet.config.flow.saturation.has_room(&load, has_other_flows)
}

/// The saturation of the endpoints that accept requests.
pub(super) fn saturation(fleet: &Fleet, now: Instant) -> f64 {
    fleet.config.flow.saturation.of_pool(loads(fleet, now))
}

/// Whether [`saturation`] is at least 1.
pub(super) fn is_saturated(fleet: &Fleet, now: Instant) -> bool {
    fleet.config.flow.saturation.is_full(|| loads(fleet, now))
}

/// The roles and loads of the endpoints that accept requests.
fn loads(fleet: &Fleet, now: Instant) -> impl Iterator<Item = (Role, EndpointLoad)> {
    let takes_requests = fleet.pool.iter().filter(|slot| !slot.draining);
    takes_requests.map(move |slot| (slot.endpoint.role, endpoint_load(fleet, now, slot)))
}

// In line, so that what a policy does not read is not computed.
#[inline(always)]
fn endpoint_load(fleet: &Fleet, now: Instant, slot: &Slot) -> EndpointLoad {
    let capacity = f64::from(slot.kv_cache_tokens);
    let fresh = stale_at(fleet, slot).is_some_and(|at| at > now);
    // For costs, an endpoint without reports is assumed to resemble its peers. A closed endpoint
    // needs an event that reopens it, so only its own recent report may keep it closed.
    let external = if fresh { reported(fleet, now, slot) } else { ExternalLoad::default() };
    let whole = slot.reports.whole();
    let (waiting, kv_tokens) = if fresh && fleet.config.flow.saturation.reads_reports() {
        (f64::from(whole.waiting), whole.kv_usage * capacity)
    } else {
        (0.0, 0.0)
    };
    EndpointLoad {
        booked: slot.wait(now, external, fleet.mean_work.get()),
        in_flight: slot.in_flight.requests(),
        tokens_in_flight: slot.in_flight.kv_tokens(),
        kv_tokens: kv_tokens.max(slot.in_flight.kv_tokens() as f64 + external.kv_tokens),
        kv_cache_tokens: capacity,
        waiting: waiting.max(external.waiting + f64::from(slot.in_flight.pending())),
    }
}

/// The external load of an endpoint's own last report.
fn reported(fleet: &Fleet, now: Instant, slot: &Slot) -> ExternalLoad {
    let (reports, lifetime) = (&slot.reports, fleet.config.report_lifetime);
    reports.reported_part(reports.estimate(
        now,
        fleet.pool.reports(),
        slot.kv_cache_tokens,
        lifetime,
    ))
}

/// When an endpoint's last load report becomes too old to keep it closed.
pub(super) fn stale_at(fleet: &Fleet, slot: &Slot) -> Option<Instant> {
    let sampled = slot.reports.sampled_at()?;
    let staleness = fleet.config.flow.saturation.staleness(fleet.config.report_lifetime)?;
    Some(sampled + staleness + TICK)
}
