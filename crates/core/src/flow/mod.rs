//! The request queue: which requests wait, which is dispatched next, and which is displaced.
//!
//! | file | content, from low to high: no file imports one below it in this table |
//! |---|---|
//! | `slab`, `heap` | values by number, and the priority queues over them |
//! | `saturation`, `usage_limit` | how busy the pool is, and how busy it may be for each band |
//! | `config` | limits of the queue, and its policies |
//! | `admission` | a request as it enters the queue, and its handle |
//! | `order` | the rank of a request in its flow's queue |
//! | `places` | the neighbours of a request in all orders |
//! | `fairness` | the virtual time of a flow |
//! | `ledger` | the service and the waiting requests of bands and flows |
//! | `elsewhere` | service and waiting requests of flows at other gateways |
//! | `queues` | which requests are candidates, and their order |
//! | `parked_work` | the work that is parked for endpoints, as a request sees it |
//! | `band_share` | when a band is passed over for lower ones |
//! | `active_bands` | the bands for which capacity is reserved |
//! | `session_admission` | whether a cache has space for another session's context |
//! | `mod` | the queue, from all of these |
//! | `shared` | what the queues of several gateways know of each other |
//! | `displacement` | which requests are displaced when the queue is full |
//!
//! A request takes 112 bytes plus its payload. A flow with waiting requests or a lead takes about
//! 150, each of its queues 76, and a queue for an endpoint about 30 more. Vectors double as they
//! grow and keep their peak capacity.

mod active_bands;
mod admission;
mod band_share;
#[cfg(test)]
mod benchmark;
mod config;
mod displacement;
mod elsewhere;
mod fairness;
mod heap;
mod ledger;
#[cfg(test)]
mod model;
#[cfg(test)]
mod model_tests;
mod order;
mod parked_work;
mod places;
mod queues;
mod saturation;
#[cfg(test)]
mod scenarios;
mod session_admission;
mod shared;
mod slab;
mod usage_limit;

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::cmp::Reverse;
use core::time::Duration;

pub(crate) use admission::{Admission, Ticket};
pub use config::{BandLimits, Fairness, FlowConfig, QueueOrder};
pub(crate) use elsewhere::FlowElsewhere;
pub(crate) use ledger::QueueTotals;
pub(crate) use parked_work::ParkedWork;
pub(crate) use saturation::EndpointLoad;
pub use saturation::{
    ConcurrencyDetector, ConcurrencyMode, ContinuousSaturation, SaturationPolicy,
    UtilizationDetector, saturation,
};
pub(crate) use session_admission::{SessionAdmission, SessionId, SessionIdentity, SessionMatch};
pub use session_admission::{SessionAdmissionConfig, SessionAdmissionStats};
pub(crate) use usage_limit::Position;
pub use usage_limit::{
    HoldbackDomain, PriorityHoldback, SoftReflective, StaticUsageLimit, UsageLimitPolicy, ceilings,
};

use active_bands::ActiveBands;
use band_share::BandShare;
use heap::{Heap, Heaps};
use ledger::Ledger;
use order::Rank;
use queues::Queues;
use slab::{NONE, Slab};

use crate::prefix::keyed_state::KeyedState;
use crate::time::{Instant, Seconds};

/// Waiting requests, each with a payload `T`.
///
/// Time never goes backwards: an earlier time counts as the latest one.
#[derive(Debug)]
pub(crate) struct RequestQueue<T> {
    config: FlowConfig,
    now: Instant,
    /// Number of requests that were ever enqueued.
    numbered: u64,
    sum: QueueTotals,
    requests: Slab<Request<T>>,
    /// The first is the request that expires next.
    expiring: Heap,
    ledger: Ledger,
    queues: Queues,
    band_share: BandShare,
    /// Present if usage limits depend on the active bands.
    active_bands: Option<ActiveBands>,
    evicted: VecDeque<Evicted<T>>,
    /// Totals of `evicted`, which take up queue space until they are fetched.
    undelivered: QueueTotals,
}

/// One waiting request.
#[derive(Debug)]
struct Request<T> {
    what: T,
    enqueued: Instant,
    cost: Seconds,
    /// The virtual time that its flow is charged.
    charge: u64,
    bytes: u64,
    queue: u32,
    /// Nanoseconds of its work on the endpoint that it was last parked for.
    parked_work: u64,
    expires: bool,
}

/// A request that the queue removed.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Evicted<T> {
    pub(crate) ticket: Ticket,
    pub(crate) what: T,
    pub(crate) reason: Eviction,
    pub(crate) waited: Duration,
    /// Its totals.
    sum: QueueTotals,
}

/// Why the queue removed a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Eviction {
    /// A request of higher priority, or of another flow, took its place.
    Displaced,
    Expired,
}

/// The limit that leaves no room for a new request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Full {
    BandRequests,
    BandBytes,
    /// Over all bands.
    Requests,
    /// Over all bands.
    Bytes,
}

impl<T> RequestQueue<T> {
    pub(crate) fn new(config: &FlowConfig, hash_state: KeyedState) -> Self {
        Self {
            now: Instant::ORIGIN,
            numbered: 0,
            sum: QueueTotals::default(),
            requests: Slab::new(),
            expiring: Heap::EMPTY,
            ledger: Ledger::new(config.fairness, hash_state, config.max_idle_flows),
            queues: Queues::new(hash_state),
            band_share: BandShare::default(),
            active_bands: config.usage_limit.ranks_bands().then(ActiveBands::default),
            evicted: VecDeque::new(),
            undelivered: QueueTotals::default(),
            config: config.clone(),
        }
    }

    /// Changes limits and the policies of saturation. Waiting requests stay, also above a lowered
    /// limit. The order of requests and of flows must be the same as before.
    pub(crate) fn reconfigure(&mut self, now: Instant, config: &FlowConfig) {
        debug_assert!(
            (self.config.fairness, self.config.order) == (config.fairness, config.order),
            "invariant: ranks and charges have one unit"
        );
        self.now = self.now.max(now);
        self.ledger.set_max_idle(self.now, config.max_idle_flows);
        if !config.usage_limit.ranks_bands() {
            self.active_bands = None;
        } else if self.active_bands.is_none() {
            self.active_bands = Some(ActiveBands::default());
        }
        self.config = config.clone();
    }

    /// Enqueues a request. It may displace others: see [`next_evicted`](Self::next_evicted).
    pub(crate) fn enqueue(
        &mut self,
        now: Instant,
        admission: Admission,
        what: T,
    ) -> Result<Ticket, (T, Full)> {
        self.expire(now);
        let Admission { priority, weight, bytes, cost, service, .. } = admission;
        let weight = if weight.is_finite() && weight > 0.0 { weight } else { 1.0 };
        let id = self.config.fairness.flow(admission.flow);
        let charge = self.config.fairness.charge(service.unwrap_or(cost), weight);
        let expires = admission.expires.is_some();
        let enqueued = self.now;
        let (queue, parked_work) = (NONE, 0);
        let request = Request { what, enqueued, cost, charge, bytes, queue, parked_work, expires };
        let sum = request.sum();
        let displaced = match self.make_room(priority, id, charge, sum) {
            Ok(displaced) => displaced,
            Err(full) => return Err((request.what, full)),
        };
        self.numbered += 1;
        let flow = self.ledger.enter(priority, id, weight, charge, sum);
        let come = self.ledger.ages_of(flow).read(self.now);
        let rank = Rank::new(self.config.order, come, &admission, self.numbered);
        let index = self.requests.insert(request);
        let queue = self.queues.join(&self.ledger.flows, flow, index, rank);
        self.requests[index].queue = queue;
        let places = &mut self.queues.places;
        places.follow(&mut self.ledger.flows[flow].newest, index);
        if let Some(at) = admission.expires {
            places.by_time().insert(&mut self.expiring, index, (at, rank.number));
        }
        self.sum.add(sum);
        for victim in displaced {
            self.evict(victim, Eviction::Displaced);
        }
        Ok(Ticket { index, number: rank.number })
    }

    /// The next request that was displaced or expired, in order. Must be called until it returns
    /// `None`, after every [`enqueue`](Self::enqueue), [`expire`](Self::expire) and
    /// [`best`](Self::best).
    pub(crate) fn next_evicted(&mut self) -> Option<Evicted<T>> {
        let evicted = self.evicted.pop_front()?;
        self.undelivered.subtract(evicted.sum);
        Some(evicted)
    }

    /// Totals of removed requests that were not fetched.
    pub(crate) const fn undelivered(&self) -> QueueTotals {
        self.undelivered
    }

    /// Removes all requests that expire by `now`.
    pub(crate) fn expire(&mut self, now: Instant) {
        self.now = self.now.max(now);
        while let Some(at) = self.next_timeout().filter(|at| *at <= self.now) {
            let index = self.expiring.first;
            let request = &self.requests[index];
            let (queue, waited) = (request.queue, at.saturating_since(request.enqueued));
            self.ledger.ages_of(self.queues.flow_of(queue)).stop(at, waited);
            self.evict(index, Eviction::Expired);
        }
    }

    /// When the next request expires.
    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        (!self.expiring.is_empty()).then(|| self.queues.places.expires(self.expiring.first))
    }

    /// The next candidate for dispatch, of the bands that may dispatch.
    #[cfg(test)]
    pub(crate) fn best(&mut self, now: Instant, open: impl Fn(i32) -> bool) -> Option<Ticket> {
        let (_, request) = self.first(now, open)?;
        Some(self.offer(request))
    }

    /// As [`best`](Self::best), but of flows nearly equal in turn, the one with the cheapest
    /// request.
    pub(crate) fn best_by(
        &mut self,
        now: Instant,
        open: impl Fn(i32) -> bool,
        cost: impl Fn(&T) -> Seconds,
    ) -> Option<Ticket> {
        let (band, first) = self.first(now, open)?;
        let look_ahead = Seconds::from(self.config.look_ahead).to_nanos();
        if look_ahead == 0 || self.config.fairness != Fairness::StartTime {
            return Some(self.offer(first));
        }
        let flows = &self.ledger.flows;
        let served = flows[self.queues.flow_of(self.requests[first].queue)].served;
        let near =
            self.queues.near(flows, band, served.saturating_add(look_ahead.into()), MOST_PREFERRED);
        let costs =
            near.map(|(turn, request)| (cost(&self.requests[request].what).get(), turn, request));
        let best = costs
            .min_by(|(cost, turn, _), (other, then, _)| cost.total_cmp(other).then(turn.cmp(then)));
        let (_, _, request) = best?;
        Some(self.offer(request))
    }

    /// The payload of a waiting request.
    pub(crate) fn get(&self, ticket: Ticket) -> Option<&T> {
        let index = self.find(ticket)?;
        Some(&self.requests[index].what)
    }

    /// The payload of a waiting request, mutable.
    pub(crate) fn get_mut(&mut self, ticket: Ticket) -> Option<&mut T> {
        let index = self.find(ticket)?;
        Some(&mut self.requests[index].what)
    }

    /// Parks a request after a failed attempt: it waits for that endpoint, which counts as closed
    /// until it is opened. `work` is the request's work there.
    pub(crate) fn park(&mut self, ticket: Ticket, slot: u32, work: Seconds) {
        let Some(index) = self.find(ticket) else { return };
        let request = &mut self.requests[index];
        let (flow, rank) = (self.queues.flow_of(request.queue), self.queues.places.rank(index));
        self.queues.leave(request.queue, index, request.parked_work);
        request.parked_work = work.to_nanos().min(MOST_PARKED_WORK);
        let work = request.parked_work;
        request.queue = self.queues.park(&self.ledger.flows, flow, slot, index, rank, work);
    }

    /// The work that is parked for each endpoint, as this request sees it.
    pub(crate) fn parked_work(&self, ticket: Ticket) -> Option<ParkedWork<'_>> {
        let index = self.find(ticket)?;
        let Request { queue, parked_work, .. } = self.requests[index];
        let priority = self.ledger.priority_of(self.queues.flow_of(queue));
        let own = self.queues.waits_for(queue).map(|slot| (slot, parked_work));
        let is_lowest = !self.waits_below(priority);
        Some(ParkedWork { ledger: &self.ledger, queues: &self.queues, priority, is_lowest, own })
    }

    /// Opens an endpoint: requests that wait for it become candidates.
    pub(crate) fn open(&mut self, slot: u32) {
        self.queues.open(slot);
    }

    /// Closes an endpoint: requests that wait for it are no candidates.
    pub(crate) fn close(&mut self, slot: u32) {
        self.queues.close(slot);
    }

    /// Removes an endpoint: requests that waited for it become candidates for any endpoint.
    pub(crate) fn release(&mut self, slot: u32) {
        self.queues.release(slot);
    }

    /// Removes a request for dispatch, and charges its flow.
    pub(crate) fn take(&mut self, now: Instant, ticket: Ticket) -> Option<T> {
        self.now = self.now.max(now);
        let index = self.find(ticket)?;
        let Request { queue, charge, cost, .. } = self.requests[index];
        self.band_share.charge(self.config.lower_share, ticket, cost);
        self.ledger.serve(self.now, self.queues.flow_of(queue), charge);
        self.unlink(index).map(|request| request.what)
    }

    /// Corrects a flow's charge by the actual cost of a finished request.
    pub(crate) fn settle(&mut self, priority: i32, flow: u64, charged: Seconds, actual: Seconds) {
        if let Some(flow) = self.ledger.settle(self.now, priority, flow, charged, actual) {
            self.queues.advance_flow(flow);
        }
    }

    /// Removes a cancelled request.
    pub(crate) fn remove(&mut self, now: Instant, ticket: Ticket) -> Option<T> {
        let index = self.find(ticket)?;
        self.now = self.now.max(now);
        self.unlink(index).map(|request| request.what)
    }

    /// Totals of all waiting requests.
    pub(crate) const fn sum(&self) -> QueueTotals {
        self.sum
    }

    /// The totals of each band, highest priority first, and the number of its flows, idle ones
    /// included.
    pub(crate) fn bands(&self) -> impl Iterator<Item = (i32, QueueTotals, usize)> {
        self.ledger.descending().map(|(_, band)| (band.priority, band.sum, band.flows.len()))
    }

    /// Number of flows with requests that wait, here or elsewhere, over all bands. Computes in
    /// **O(1)**.
    pub(crate) fn waiting_flows(&self) -> usize {
        self.ledger.flows.len() - self.ledger.idle
    }

    /// Whether a request of lower priority waits. Computes in **O(bands)**.
    pub(crate) fn waits_below(&self, priority: i32) -> bool {
        let rising = self.ledger.descending().rev();
        rising
            .take_while(|(_, band)| band.priority < priority)
            .any(|(_, band)| band.sum.requests > 0)
    }

    /// Whether a request of higher priority waits. Computes in **O(bands)**.
    pub(crate) fn waits_above(&self, priority: i32) -> bool {
        self.bands().any(|(band, sum, _)| band > priority && sum.requests > 0)
    }

    /// The band for a request of this priority. Computes in **O(log bands)**.
    pub(crate) fn band_for(&self, priority: i32) -> i32 {
        self.ledger.band_for(priority, self.config.max_bands)
    }

    /// Records the arrival of a request of this priority, whatever its outcome.
    pub(crate) fn record_arrival(&mut self, now: Instant, priority: i32) {
        if let Some(active_bands) = &mut self.active_bands {
            active_bands.record(now, priority);
        }
    }

    /// The active bands, highest first: bands with waiting requests, and bands seen lately. Empty
    /// if usage limits do not depend on them.
    pub(crate) fn active_bands(&self, now: Instant) -> Vec<i32> {
        let Some(active_bands) = &self.active_bands else { return Vec::new() };
        let waiting =
            self.bands().filter(|(_, sum, _)| sum.requests > 0).map(|(priority, ..)| priority);
        let mut bands: Vec<i32> = waiting.chain(active_bands.bands(self.now.max(now))).collect();
        bands.sort_unstable_by_key(|priority| Reverse(*priority));
        bands.dedup();
        bands
    }

    /// While requests wait: when the next band becomes inactive, which can raise the limits of
    /// others.
    pub(crate) fn next_inactive(&self, now: Instant) -> Option<Instant> {
        let active_bands = self.active_bands.as_ref().filter(|_| self.sum.requests > 0)?;
        active_bands.next_inactive(self.now.max(now), |priority| self.ledger.waits(priority))
    }

    fn first(&mut self, now: Instant, open: impl Fn(i32) -> bool) -> Option<(u32, u32)> {
        self.expire(now);
        let wanting = self
            .ledger
            .descending()
            .filter(|(at, band)| self.queues.has_candidate(*at) && open(band.priority));
        let band =
            self.band_share.choose(self.config.lower_share, wanting.map(|(band, _)| band))?;
        Some((band, self.queues.first(&self.ledger.flows, band)?))
    }

    fn offer(&mut self, index: u32) -> Ticket {
        let ticket = self.ticket(index);
        self.band_share.offer(ticket);
        ticket
    }

    fn ticket(&self, index: u32) -> Ticket {
        Ticket { index, number: self.queues.places.rank(index).number }
    }

    fn find(&self, ticket: Ticket) -> Option<u32> {
        self.requests.get(ticket.index)?;
        (self.ticket(ticket.index) == ticket).then_some(ticket.index)
    }

    fn evict(&mut self, index: u32, reason: Eviction) {
        let ticket = self.ticket(index);
        if let Some(request) = self.unlink(index) {
            let (sum, waited) = (request.sum(), self.now.saturating_since(request.enqueued));
            self.undelivered.add(sum);
            self.evicted.push_back(Evicted { ticket, what: request.what, reason, waited, sum });
        }
    }

    /// Removes a request from all structures.
    fn unlink(&mut self, index: u32) -> Option<Request<T>> {
        let request = self.requests.remove(index)?;
        let flow = self.queues.flow_of(request.queue);
        if let Some(active_bands) = &mut self.active_bands {
            active_bands.record(self.now, self.ledger.priority_of(flow));
        }
        let places = &mut self.queues.places;
        places.unfollow(&mut self.ledger.flows[flow].newest, index);
        if request.expires {
            places.by_time().remove(&mut self.expiring, index);
        }
        self.queues.leave(request.queue, index, request.parked_work);
        self.ledger.leave(self.now, flow, request.charge, request.sum());
        self.sum.subtract(request.sum());
        if self.sum.requests == 0 {
            self.band_share.reset();
        }
        Some(request)
    }
}

impl<T> Request<T> {
    fn sum(&self) -> QueueTotals {
        QueueTotals { requests: 1, bytes: self.bytes.into(), work: self.cost.to_nanos().into() }
    }
}

/// The most work of a parked request that counts, ten minutes: no sum overflows.
const MOST_PARKED_WORK: u64 = 600_000_000_000;
/// Limit of queues that a look-ahead examines.
const MOST_PREFERRED: usize = 64;
