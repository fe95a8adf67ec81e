//! Weighs one endpoint for a request: what it costs, and whether it can have the request.

use core::time::Duration;

use super::exclusion::Exclusion;
use super::latency::{FirstToken, PredictedLatency, predicted_tpot};
use super::present_load::PresentLoad;
use super::query::{Query, Work};
use super::ranking_key::RankingKey;
use super::refusal::Relaxation;
use super::span::CachedPrefix;
use super::tie_break::{TieBreaker, TieRank};
use crate::endpoint::Role;
use crate::fleet::Fleet;
use crate::pool::{HealthState, Slot};
use crate::profile::{CostInputs, CostTerms, Profile};
use crate::subset::Subset;
use crate::time::{Instant, Seconds};

/// The result of weighing one endpoint for a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Assessment {
    pub(crate) cached: CachedPrefix,
    pub(crate) terms: CostTerms,
    /// The cost that decides: the sum of the terms, or the caller's own function of them.
    pub(crate) cost: Seconds,
    pub(crate) wait: Seconds,
    /// Of the wait, the part for space in the KV cache.
    pub(crate) room: Seconds,
    pub(crate) first_token_in: Seconds,
    pub(crate) key: RankingKey,
    pub(crate) excluded: Option<Exclusion>,
}

impl PredictedLatency {
    /// The latency of a request of `tokens` prompt tokens.
    pub(crate) fn of(
        fleet: &Fleet,
        now: Instant,
        work: Work,
        tokens: u32,
        slot: &Slot,
        assessment: &Assessment,
    ) -> Self {
        let ttft = assessment.first_token(tokens).predicted(fleet, now, work, slot);
        Self { ttft, tpot: predicted_tpot(fleet, now, slot) }
    }
}

impl Assessment {
    /// The time that the endpoint would spend on the request before its first token.
    pub(crate) fn service(&self) -> Seconds {
        self.first_token_in - self.wait
    }

    /// What the time to first token of a request of `tokens` prompt tokens is predicted from.
    pub(super) const fn first_token(&self, tokens: u32) -> FirstToken {
        let hit = self.cached.tokens;
        FirstToken {
            miss: tokens.saturating_sub(hit),
            hit,
            first_token_in: self.first_token_in,
            room: self.room,
        }
    }
}

/// What is known of an endpoint before it is weighed for a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    /// The part of the prompt that it has cached.
    pub(super) cached: CachedPrefix,
    pub(super) load: PresentLoad,
    /// Its rank among endpoints of equal cost.
    pub(super) rendezvous: TieRank,
}

impl Known {
    pub(super) fn of(
        fleet: &Fleet,
        query: Query<'_>,
        ties: &TieBreaker<'_>,
        slot: &Slot,
        cached: CachedPrefix,
    ) -> Self {
        let load = PresentLoad::of(fleet, query.now, slot);
        Self { cached, load, rendezvous: ties.rank(slot.id.slot, slot.key) }
    }
}

/// Weighs one endpoint that has `cached` of the prompt: its cost, and whether it is excluded.
pub(super) fn assess<P: Profile>(
    fleet: &Fleet,
    query: Query<'_>,
    slot: &Slot,
    cached: CachedPrefix,
    profile: &P,
) -> Assessment {
    let ties = TieBreaker::for_prompt(fleet, query.lookup);
    let known = Known::of(fleet, query, &ties, slot, cached);
    assess_known(fleet, query, slot, known, profile)
}

/// The same of what is known of the endpoint.
pub(super) fn assess_known<P: Profile>(
    fleet: &Fleet,
    query: Query<'_>,
    slot: &Slot,
    known: Known,
    profile: &P,
) -> Assessment {
    let Query { now, lookup, .. } = query;
    let PresentLoad { wait, kv_tokens, running } = known.load;
    let cached = lookup.located(slot, known.cached, &fleet.prefixes, &fleet.config.tiers);
    let tokens = if let Work::Encode = query.work { 0 } else { lookup.tokens };
    let miss = tokens.saturating_sub(cached.tokens);
    let (work, transfer) = match query.work {
        Work::Prompt => {
            let described = described_work(slot, miss, cached) * lookup.traits.slowdown;
            (described * slot.speed.factor(), Seconds::ZERO)
        }
        Work::Answer { .. } => (Seconds::ZERO, fleet.kv_transfer(slot).seconds(miss)),
        Work::Encode => (Seconds::ZERO, Seconds::ZERO),
    };
    let adapter = lookup
        .adapter
        .filter(|_| !matches!(query.work, Work::Encode))
        .map_or_else(AdapterCost::default, |key| AdapterCost::of(fleet, query, slot, key));
    let needed = kv_tokens + f64::from(tokens);
    let parked = query.parked_work.map_or(Seconds::ZERO, |work| work.of(slot.id.slot));
    let inputs = CostInputs {
        // Residue and parked work count as cost only. An engine that notices a disconnect does no
        // work for the residue, and parked requests may yet go elsewhere.
        wait: wait + Seconds::from(slot.in_flight.residue(now)) + parked,
        room: slot.wait_for_tokens(kv_tokens, needed, fleet.config.kv_limit),
        work,
        recompute: slot.prefill.per_token_of(tokens) * f64::from(miss),
        reuse: fleet.reuse.probability(),
        miss: f64::from(miss),
        tokens: f64::from(tokens),
        warm: fleet.prefixes.warm_tokens(slot.id.slot, now) as f64,
        kv_tokens,
        capacity: f64::from(slot.kv_cache_tokens),
        running,
        yields: query.parked_work.is_some_and(|work| work.is_lowest),
        adapter: adapter.priced,
        adapter_load: adapter.load,
        backoff_remaining: slot.backoff_remaining(now),
    };
    let mut first_token_in = wait + inputs.room + inputs.work + adapter.delay;
    let mut terms = profile.terms(&inputs);
    if let Work::Answer { ready_in } = query.work {
        // The endpoint's queue advances while the other one computes the prompt.
        first_token_in = first_token_in.max(ready_in) + transfer;
        terms.prefill = transfer;
    }
    let cost = profile.cost(slot.id, &terms);
    Assessment {
        cached,
        terms,
        cost,
        wait: wait + inputs.room,
        room: inputs.room,
        first_token_in,
        key: RankingKey {
            cost: cost.to_nanos(),
            in_flight: slot.all_in_flight(),
            rendezvous: known.rendezvous,
            slot: slot.id.slot,
        },
        excluded: exclusion(fleet, query, slot, || {
            let hit = cached.tokens;
            let first_token = FirstToken { miss, hit, first_token_in, room: inputs.room };
            first_token.earliest(fleet, now, query.work, slot)
        }),
    }
}

/// The price, in load times, of displacing an adapter that is more popular or nearly so.
const PROTECTION: f64 = 4.0;

/// What a request's adapter costs on one endpoint; all zero where it is loaded.
#[derive(Clone, Copy, Debug, Default)]
struct AdapterCost {
    /// How long the request waits for it.
    delay: Seconds,
    /// How long loading it stops the engine.
    load: Seconds,
    /// The delay and the reload of the displaced adapter, less the credit for past losses.
    priced: Seconds,
}

impl AdapterCost {
    fn of(fleet: &Fleet, query: Query<'_>, slot: &Slot, key: u64) -> Self {
        if slot.adapters.is_resident(key) {
            return Self::default();
        }
        let (now, outlook) = (query.now, query.lookup.outlook);
        let slots = query.lookup.traits.slots;
        let load_of = |adapter| fleet.adapter_load(slot, adapter, outlook);
        let load = load_of(key);
        let residence = Seconds::new(fleet.mean_residence.get());
        let delay = slot.adapters.delay(key, slots, now, load, residence);
        let displacement = slot.adapters.displacement(key, slots, now, load_of);
        // Only a request that can wait leaves a popular adapter where it is.
        let crowded = fleet.is_crowded() && query.can_wait;
        let allowed = !crowded || slot.is_window || fleet.may_displace(slot, key, now);
        let protection = if allowed { Seconds::ZERO } else { load * PROTECTION };
        let credited = if crowded {
            // Losses move a popular adapter out of the window.
            allowed && !slot.is_window
        } else {
            fleet.adapters.active().saturating_mul(2) <= slot.adapters.slots()
        };
        let credit = if credited { outlook.credit(now) } else { Seconds::ZERO };
        let priced = delay + displacement + protection - credit;
        Self { delay, load, priced: Seconds::new(priced.get().max(0.0)) }
    }
}

/// Why the endpoint cannot have the request. `ttft` is the earliest time to the first token, which
/// only requests with a deadline need.
pub(super) fn exclusion(
    fleet: &Fleet,
    query: Query<'_>,
    slot: &Slot,
    ttft: impl Fn() -> Seconds,
) -> Option<Exclusion> {
    let Query { now, request, lookup, session_admission, relaxation, .. } = query;
    let room = fleet.config.kv_limit * f64::from(slot.kv_cache_tokens);
    let late = |deadline| now + ttft().to_duration() > deadline;
    let slow = |limit: Duration| predicted_tpot(fleet, now, slot) > Seconds::from(limit);
    let outside = |subset: Subset<'_>| !subset.allows(slot.id, &slot.endpoint.name);
    let leaves = slot.draining || request.exclude.contains(&slot.id);
    if lookup.home.is_some_and(|home| home != slot.id || leaves) {
        Some(Exclusion::Elsewhere)
    } else if !slot.endpoint.suits(request.model, request.role, request.labels) {
        Some(Exclusion::NotServed)
    } else if request.subset.is_some_and(outside) {
        Some(Exclusion::NotInSubset)
    } else if request.exclude.contains(&slot.id) {
        Some(Exclusion::Excluded)
    } else if slot.draining {
        Some(Exclusion::Draining)
    } else if slot.reports.asleep() {
        Some(Exclusion::Sleeping)
    } else if needed_tokens(query) > room {
        Some(Exclusion::TooLarge)
    } else if session_admission.is_some_and(|admission| {
        !admission.may_start(slot.id.slot, lookup.tokens, slot.kv_cache_tokens)
    }) {
        Some(Exclusion::SessionLimit)
    } else if slot.is_full() {
        Some(Exclusion::Full)
    } else if request.must_start_by(now).is_some_and(late) {
        Some(Exclusion::TooLate)
    } else if request.tpot_limit().is_some_and(slow) {
        Some(Exclusion::TooSlow)
    } else {
        let held = slot.health.excludes(now, slot.in_flight.requests(), fleet.pool.dispatches())?;
        let (why, lifted) = match held {
            HealthState::Ramping => (Exclusion::Ramping, Relaxation::Ramping),
            _ => (Exclusion::BackedOff, Relaxation::BackedOff),
        };
        (relaxation < lifted).then_some(why)
    }
}

/// Whether the request has no condition that depends on the endpoint, except its size: an endpoint
/// with an [open capacity](crate::pool::ProfileMarks::open_capacities) is excluded only if it is
/// too small.
pub(super) fn is_unconditional(query: Query<'_>) -> bool {
    let Query { now, request, lookup, session_admission, .. } = query;
    lookup.home.is_none()
        && Role::Unified.covers(request.role)
        && request.labels.is_empty()
        && request.subset.is_none()
        && request.exclude.is_empty()
        && session_admission.is_none()
        && request.must_start_by(now).is_none()
        && request.tpot_limit().is_none()
}

/// Tokens that the endpoint's KV cache must hold for the request, prompt and answer.
pub(super) fn needed_tokens(query: Query<'_>) -> f64 {
    if let Work::Encode = query.work { 0.0 } else { f64::from(query.lookup.longest) }
}

/// Time until an excluded endpoint may accept a request like this one, if waiting helps.
pub(super) fn until_change(
    fleet: &Fleet,
    query: Query<'_>,
    why: Exclusion,
    slot: &Slot,
    assessment: &Assessment,
) -> Option<Seconds> {
    match why {
        Exclusion::Elsewhere
        | Exclusion::NotServed
        | Exclusion::NotInSubset
        | Exclusion::Excluded
        | Exclusion::Filtered
        | Exclusion::Draining
        | Exclusion::Sleeping
        | Exclusion::TooLarge
        | Exclusion::SessionLimit => None,
        Exclusion::BackedOff | Exclusion::Ramping => Some(slot.health.backoff_remaining(query.now)),
        // Its next completion.
        Exclusion::Full | Exclusion::TooSlow => Some(Seconds::new(
            fleet.mean_residence.get() / f64::from(slot.in_flight.requests().max(1)),
        )),
        // The time by which the first token would be late, unless the prefill alone takes too long.
        Exclusion::TooLate => {
            let slack =
                Seconds::from(query.request.must_start_by(query.now)?.saturating_since(query.now));
            let late = assessment.first_token_in - slack;
            (late <= assessment.wait).then_some(late)
        }
    }
}

/// Seconds of prefill at the described speed: missing tokens are computed, and tokens in lower
/// tiers are loaded.
pub(crate) fn described_work(slot: &Slot, miss: u32, cached: CachedPrefix) -> Seconds {
    slot.prefill.work(miss, cached.tokens) + slot.prefill.per_token * cached.reload
}
