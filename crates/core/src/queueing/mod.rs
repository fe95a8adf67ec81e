//! When a request is dispatched: the queue and its dispatch attempts.
//!
//! | file | content |
//! |---|---|
//! | `submit` | admission to the queue |
//! | `queued_request` | what is kept of a request while it waits |
//! | `poll` | what is returned next, and when to poll again |
//! | `attempt` | one dispatch attempt: dispatch, park or evict |
//! | `wakeup` | what unparks requests: first tokens, ends, changes of the pool, the clock |
//! | `settling` | when a request takes an endpoint that is not its best |
//! | `capacity` | whether an endpoint has room, and how saturated the pool is |
//! | `loads`, `load_queue` | requests that wait until their adapter is loaded |
//! | `peers` | what the queues of several gateways owe each other |
//! | `yielding` | for how long room is left to requests of peers |
//! | `evict` | requests that leave the queue without a dispatch |
//! | `tickets` | the tickets of queued requests, by id |
//! | `retry`, `retry_slots` | when rejected requests should come back |
//!
//! The queue reads the [`Fleet`] and never changes it: the scheduler carries out what
//! [`poll`](Queueing::poll) returns.

mod attempt;
mod capacity;
mod evict;
mod load_queue;
mod loads;
mod peers;
mod poll;
mod queued_request;
mod retry;
mod retry_slots;
mod settling;
mod submit;
mod tickets;
mod wakeup;
mod yielding;

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use core::time::Duration;

pub(crate) use poll::{Next, ReadyRequest};
pub(crate) use queued_request::{FlowCharge, QueuedRequest};
pub(crate) use retry_slots::RetrySlots;

use load_queue::LoadQueue;
use settling::Settling;
use tickets::Tickets;
use yielding::Yielding;

use crate::config::Config;
use crate::endpoint::EndpointId;
use crate::fleet::Fleet;
use crate::flow::{FlowConfig, RequestQueue, SessionAdmission, Ticket};
use crate::pool::Slot;
use crate::prefix::keyed_state::KeyedState;
use crate::request::RequestId;
use crate::time::{Instant, Seconds};

/// The queue.
#[derive(Debug)]
pub(crate) struct Queueing {
    waiting: RequestQueue<Box<QueuedRequest>>,
    /// The tickets of queued requests by id, which is the order of their arrival.
    tickets: Tickets<Ticket>,
    /// When the last endpoint left, while the pool is empty.
    empty_since: Option<Instant>,
    session_admission: Option<SessionAdmission>,
    retry_slots: RetrySlots,
    /// Eligibility classes for which requests are parked: see [`attempt`].
    classes: BTreeSet<u32>,
    /// When endpoints for which requests are parked should have room.
    wakeups: BTreeSet<(Instant, u32)>,
    /// The slot that was last opened for requests that are parked for other endpoints.
    next_other: u32,
    /// Room that is left to requests of peers.
    yielding: Yielding,
    /// Requests whose adapter has to be loaded in the window.
    loads: LoadQueue,
    /// Searches for endpoints with room since the last event.
    settling: Settling,
    /// Until then, requests of several flows count as waiting.
    several_flows_until: Instant,
    /// Rounds of attempts, where saturation counts.
    rounds: u64,
}

/// How long a flow is expected to return after requests of several flows waited.
const FLOWS_RETURN: Duration = Duration::from_secs(60);

/// The shortest wait.
const TICK: Duration = Duration::from_micros(1);

impl Queueing {
    pub(crate) fn new(config: &Config, hash_state: KeyedState) -> Self {
        Self {
            waiting: RequestQueue::new(&config.flow, hash_state),
            tickets: Tickets::default(),
            empty_since: Some(Instant::ORIGIN),
            session_admission: config
                .flow
                .session_admission
                .as_ref()
                .map(|admission| SessionAdmission::new(admission, hash_state)),
            retry_slots: RetrySlots::default(),
            classes: BTreeSet::new(),
            wakeups: BTreeSet::new(),
            next_other: 0,
            yielding: Yielding::default(),
            loads: LoadQueue::default(),
            settling: Settling::default(),
            several_flows_until: Instant::ORIGIN,
            rounds: 0,
        }
    }

    /// Records that requests of several flows wait, if they do. Computes in **O(1)**.
    fn watch_flows(&mut self, now: Instant) {
        if self.waiting.waiting_flows() > 1 {
            self.several_flows_until = now + FLOWS_RETURN;
        }
    }

    /// Whether requests of several flows waited lately.
    fn has_other_flows(&self, now: Instant) -> bool {
        now < self.several_flows_until
    }

    /// Whether queued requests may be dispatched to the endpoint now.
    fn has_room(&self, fleet: &Fleet, slot: &Slot) -> bool {
        capacity::has_room(fleet, slot, self.has_other_flows(fleet.now))
    }

    /// Whether the policy of saturation closes this endpoint, whatever the rest of the pool does.
    fn is_full(&self, fleet: &Fleet, slot: &Slot) -> bool {
        capacity::is_full(fleet, slot, self.has_other_flows(fleet.now))
    }

    /// The saturation of the pool.
    pub(crate) fn saturation(&self, fleet: &Fleet) -> f64 {
        capacity::saturation(fleet, fleet.now)
    }

    /// Takes a request out of the queue; whether it was queued.
    pub(crate) fn cancel(&mut self, now: Instant, id: RequestId) -> bool {
        let Some(ticket) = self.tickets.remove(id.0) else { return false };
        let mut queued = self.waiting.remove(now, ticket);
        if let Some(queued) = &mut queued {
            self.loads.remove(queued);
        }
        queued.is_some()
    }

    /// Charges a request's flow the actual cost, once the request has ended.
    pub(crate) fn settle(&mut self, charge: FlowCharge, actual: Seconds) {
        self.waiting.settle(charge.priority.0, charge.flow, charge.service, actual);
    }

    /// Applies the limits of a new configuration with equal policies of order and fairness.
    pub(crate) fn reconfigure(&mut self, now: Instant, config: &FlowConfig) {
        self.waiting.reconfigure(now, config);
    }

    /// Handles an endpoint that has joined the pool.
    pub(crate) fn endpoint_added(&mut self, fleet: &Fleet) {
        self.empty_since = None;
        self.pool_changed(fleet);
    }

    /// Handles an endpoint that accepts no new requests: those parked for it are attempted again.
    pub(crate) fn endpoint_drained(&mut self, id: EndpointId) {
        self.waiting.release(id.slot);
    }

    /// Handles an endpoint that has left the pool.
    pub(crate) fn endpoint_removed(&mut self, fleet: &Fleet, id: EndpointId) {
        self.empty_since = (fleet.pool.len() == 0).then_some(fleet.now);
        self.waiting.release(id.slot);
        self.yielding.forget(id.slot);
        if let Some(admission) = &mut self.session_admission {
            admission.leave(id.slot);
        }
    }

    /// The highest priority with queued requests.
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

    pub(crate) const fn session_admission(&self) -> Option<&SessionAdmission> {
        self.session_admission.as_ref()
    }

    pub(crate) const fn session_admission_mut(&mut self) -> Option<&mut SessionAdmission> {
        self.session_admission.as_mut()
    }

    pub(crate) const fn retry_slots(&self) -> &RetrySlots {
        &self.retry_slots
    }

    pub(crate) const fn retry_slots_mut(&mut self) -> &mut RetrySlots {
        &mut self.retry_slots
    }
}
