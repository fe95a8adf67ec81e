//! When a request goes: the queue and its dispatch attempts.
//!
//! | file | content |
//! |---|---|
//! | `submit` | admission to the queue |
//! | `queued_request` | what is kept of a request while it waits |
//! | `attempt` | one dispatch attempt: dispatch, park or evict |
//! | `wakeup` | what unparks requests: first tokens, ends, changes of the pool, the clock |
//! | `capacity` | whether an endpoint has room, and how saturated the pool is |
//! | `evict` | requests that leave the queue without a dispatch |
//! | `retry`, `retry_slots` | when rejected requests should come back |
//!
//! The queue reads the [`Fleet`] and never changes it: the scheduler carries out what
//! [`poll`](Queueing::poll) returns.

mod attempt;
mod capacity;
mod evict;
mod queued_request;
mod retry;
mod retry_slots;
mod submit;
mod wakeup;

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use core::time::Duration;

pub(crate) use queued_request::{FlowCharge, QueuedRequest};
pub(crate) use retry_slots::RetrySlots;

use attempt::Attempt;

use crate::config::Config;
use crate::decision::Evicted;
use crate::endpoint::EndpointId;
use crate::fleet::Fleet;
use crate::flow::{self, RequestQueue, SessionAdmission, SessionId, Ticket};
use crate::placement::{Ranking, Workspace};
use crate::prefix::BlockHash;
use crate::prefix::keyed_state::KeyedState;
use crate::request::RequestId;
use crate::time::{Instant, Seconds};

/// The queue.
#[derive(Debug)]
pub(crate) struct Queueing {
    waiting: RequestQueue<Box<QueuedRequest>>,
    /// The tickets of queued requests by id, which is the order of their arrival.
    tickets: BTreeMap<u64, Ticket>,
    /// When the last endpoint left, while the pool is empty.
    empty_since: Option<Instant>,
    guard: Option<SessionAdmission>,
    retry_slots: RetrySlots,
    /// Eligibility classes for which requests are parked: see [`attempt`].
    classes: BTreeSet<u32>,
    /// When endpoints for which requests are parked should have room.
    wakeups: BTreeSet<(Instant, u32)>,
    /// The slot that was last opened for requests that are parked for other endpoints.
    next_other: u32,
    /// Rounds of attempts, where saturation counts.
    rounds: u64,
}

/// What the scheduler carries out next.
#[derive(Debug)]
pub(crate) enum Next {
    Dispatch(ReadyRequest),
    Evict(Evicted),
}

/// A request that has left the queue for an endpoint.
#[derive(Debug)]
pub(crate) struct ReadyRequest {
    pub(crate) queued: Box<QueuedRequest>,
    pub(crate) ranking: Ranking,
    pub(crate) endpoint: EndpointId,
    /// Its prompt's blocks, for the session guard if there is one.
    pub(crate) chain: Option<Box<[BlockHash]>>,
}

/// The shortest wait.
const TICK: Duration = Duration::from_micros(1);

impl Queueing {
    pub(crate) fn new(config: &Config, hash_state: KeyedState) -> Self {
        Self {
            waiting: RequestQueue::new(&config.flow, hash_state),
            tickets: BTreeMap::new(),
            empty_since: Some(Instant::ORIGIN),
            guard: config
                .flow
                .session_admission
                .as_ref()
                .map(|guard| SessionAdmission::new(guard, hash_state)),
            retry_slots: RetrySlots::default(),
            classes: BTreeSet::new(),
            wakeups: BTreeSet::new(),
            next_other: 0,
            rounds: 0,
        }
    }

    /// The next request to dispatch or to evict; `None` if there is none before the next input or
    /// [`next_timeout`](Self::next_timeout).
    pub(crate) fn poll(
        &mut self,
        fleet: &Fleet,
        in_flight: usize,
        workspace: &mut Workspace,
    ) -> Option<Next> {
        if self.guard.as_mut().is_some_and(|guard| guard.expire(fleet.now)) {
            self.open_classes();
        }
        self.wake(fleet);
        self.waiting.expire(fleet.now);
        loop {
            let evicted = self.next_evicted(fleet, in_flight);
            if let Some(evicted) = evicted.or_else(|| self.next_stranded(fleet, in_flight)) {
                return Some(Next::Evict(evicted));
            }
            let Some(ticket) = self.next_to_try(fleet) else {
                // The search for one may have expired others.
                return self.next_evicted(fleet, in_flight).map(Next::Evict);
            };
            match self.attempt(fleet, in_flight, ticket, workspace) {
                Attempt::Dispatch(ranking, endpoint) => {
                    if let Some(queued) = self.waiting.take(fleet.now, ticket) {
                        self.tickets.remove(&queued.id.0);
                        let chain =
                            self.guard.is_some().then(|| workspace.lookup.first_chain().into());
                        return Some(Next::Dispatch(ReadyRequest {
                            queued,
                            ranking,
                            endpoint,
                            chain,
                        }));
                    }
                }
                Attempt::ParkFor(slot) => {
                    self.waiting.park(ticket, slot);
                    self.wake_later(fleet, slot);
                }
                Attempt::ParkForAny(class) => {
                    self.waiting.park(ticket, class);
                    self.classes.insert(class);
                }
                Attempt::Evict(reason) => {
                    if let Some(queued) = self.waiting.remove(fleet.now, ticket) {
                        return Some(Next::Evict(self.evict(fleet, in_flight, &queued, reason)));
                    }
                }
            }
        }
    }

    /// When [`poll`](Self::poll) may have something to return by the clock alone. `lingering` is when
    /// the next booking of a cancelled request ends.
    pub(crate) fn next_timeout(
        &self,
        fleet: &Fleet,
        lingering: Option<Instant>,
    ) -> Option<Instant> {
        let guard = self.guard.as_ref().filter(|_| self.waiting.sum().requests > 0);
        let sessions = guard.and_then(|guard| guard.next_timeout());
        let wakeup = self.wakeups.first().map(|(at, _)| *at);
        let stranded = self.stranded(fleet).map(|(at, _)| at);
        let leave = self.waiting.next_inactive(fleet.now);
        let recovery = fleet.pool.next_opening().into_iter().chain(lingering).min();
        let recovery = recovery.filter(|_| self.waiting.sum().requests > 0);
        let saturation = [self.next_stale(fleet), leave, self.next_opening(fleet), recovery];
        let all = [self.waiting.next_timeout(), stranded, sessions, wakeup];
        all.into_iter().chain(saturation).flatten().min()
    }

    /// Takes a request out of the queue; whether it was queued.
    pub(crate) fn cancel(&mut self, now: Instant, id: RequestId) -> bool {
        let Some(ticket) = self.tickets.remove(&id.0) else { return false };
        self.waiting.remove(now, ticket).is_some()
    }

    /// A request that [`poll`](Self::poll) returned was dispatched. Returns its session, if there is a
    /// session guard.
    pub(crate) fn dispatched(
        &mut self,
        fleet: &Fleet,
        queued: &QueuedRequest,
        endpoint: EndpointId,
        chain: Option<&[BlockHash]>,
        tokens: u32,
    ) -> Option<SessionId> {
        let session = self.guard.as_mut().zip(chain).map(|(guard, chain)| {
            let identity = flow::SessionIdentity { id: queued.session, chain };
            guard.begin(fleet.now, identity, endpoint.slot, tokens)
        });
        if fleet.pool.get(endpoint).is_ok_and(|slot| !capacity::has_room(fleet, slot)) {
            self.waiting.close(endpoint.slot);
        }
        session
    }

    /// A dispatched request has ended: its flow pays what it has cost.
    pub(crate) fn settle(&mut self, charge: FlowCharge, actual: Seconds) {
        self.waiting.settle(charge.priority.0, charge.flow, charge.charged, actual);
    }

    /// An endpoint has joined the pool.
    pub(crate) fn endpoint_added(&mut self, fleet: &Fleet) {
        self.empty_since = None;
        self.pool_changed(fleet);
    }

    /// An endpoint takes no new requests: those parked for it look elsewhere.
    pub(crate) fn endpoint_drained(&mut self, id: EndpointId) {
        self.waiting.release(id.slot);
    }

    /// An endpoint has left the pool.
    pub(crate) fn endpoint_removed(&mut self, fleet: &Fleet, id: EndpointId) {
        self.empty_since = (fleet.pool.len() == 0).then_some(fleet.now);
        self.waiting.release(id.slot);
        if let Some(guard) = &mut self.guard {
            guard.leave(id.slot);
        }
    }

    /// The highest priority of which requests are queued.
    pub(crate) fn highest_band(&self) -> Option<i32> {
        self.waiting.bands().find(|(_, sum, _)| sum.requests > 0).map(|(priority, ..)| priority)
    }

    /// How many eligibility classes have parked requests.
    #[cfg(test)]
    pub(crate) fn eligibility_classes(&self) -> usize {
        self.classes.len()
    }

    pub(crate) const fn waiting(&self) -> &RequestQueue<Box<QueuedRequest>> {
        &self.waiting
    }

    pub(crate) const fn guard(&self) -> Option<&SessionAdmission> {
        self.guard.as_ref()
    }

    pub(crate) const fn guard_mut(&mut self) -> Option<&mut SessionAdmission> {
        self.guard.as_mut()
    }

    pub(crate) const fn retry_slots(&self) -> &RetrySlots {
        &self.retry_slots
    }

    pub(crate) const fn retry_slots_mut(&mut self) -> &mut RetrySlots {
        &mut self.retry_slots
    }
}
