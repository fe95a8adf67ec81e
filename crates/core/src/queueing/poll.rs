//! What the queue returns next, and when to poll it again.

use alloc::boxed::Box;

use super::Queueing;
use super::attempt::Attempt;
use super::queued_request::QueuedRequest;
use crate::decision::Evicted;
use crate::endpoint::EndpointId;
use crate::fleet::Fleet;
use crate::flow::{self, SessionId};
use crate::placement::Workspace;
use crate::plan::Plan;
use crate::prefix::BlockHash;
use crate::time::{Instant, Seconds};

/// What the scheduler carries out next.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "each lives for one call; a box would allocate")]
pub(crate) enum Next {
    Dispatch(ReadyRequest),
    Evict(Evicted),
}

/// A request that has left the queue for an endpoint.
#[derive(Debug)]
pub(crate) struct ReadyRequest {
    pub(crate) queued: Box<QueuedRequest>,
    pub(crate) plan: Plan,
    pub(crate) endpoint: EndpointId,
    /// The prompt's blocks, if sessions are admitted.
    pub(crate) chain: Option<Box<[BlockHash]>>,
}

impl Queueing {
    /// The next request to dispatch or to evict; `None` if there is none before the next input or
    /// [`next_timeout`](Self::next_timeout).
    pub(crate) fn poll(
        &mut self,
        fleet: &Fleet,
        in_flight: usize,
        workspace: &mut Workspace,
    ) -> Option<Next> {
        if self.session_admission.as_mut().is_some_and(|admission| admission.expire(fleet.now)) {
            self.open_classes();
        }
        self.wake(fleet);
        self.open_yielded();
        self.waiting.expire(fleet.now);
        self.watch_flows(fleet.now);
        loop {
            let evicted = self.next_evicted(fleet, in_flight);
            if let Some(evicted) = evicted.or_else(|| self.next_stranded(fleet, in_flight)) {
                return Some(Next::Evict(evicted));
            }
            let Some(ticket) = self.next_to_try(fleet) else {
                if self.open_next_load(fleet) {
                    continue;
                }
                // The search for a ticket may have expired others.
                return self.next_evicted(fleet, in_flight).map(Next::Evict);
            };
            match self.attempt(fleet, in_flight, ticket, workspace) {
                Attempt::Dispatch(plan, endpoint) => {
                    if let Some(mut queued) = self.waiting.take(fleet.now, ticket) {
                        self.tickets.remove(queued.id.0);
                        self.loads.remove(&mut queued);
                        let chain = self
                            .session_admission
                            .is_some()
                            .then(|| workspace.lookup.first_chain().into());
                        return Some(Next::Dispatch(ReadyRequest {
                            queued,
                            plan,
                            endpoint,
                            chain,
                        }));
                    }
                }
                Attempt::ParkFor(slot, work) => {
                    self.leave_loads(ticket);
                    self.waiting.park(ticket, slot, work);
                    self.wake_later(fleet, slot);
                }
                Attempt::ParkForAny(class) => {
                    self.leave_loads(ticket);
                    self.waiting.park(ticket, class, Seconds::ZERO);
                    self.classes.insert(class);
                }
                Attempt::ParkForLoad(adapter, slot) => {
                    self.park_for_load(ticket, adapter);
                    self.wake_later(fleet, slot);
                }
                Attempt::Evict(reason) => {
                    if let Some(mut queued) = self.waiting.remove(fleet.now, ticket) {
                        return Some(Next::Evict(self.evict(
                            fleet,
                            in_flight,
                            &mut queued,
                            reason,
                        )));
                    }
                }
            }
        }
    }

    /// When [`poll`](Self::poll) may have something to return by the clock alone. `lingering` is
    /// when the next booking of a cancelled request ends.
    pub(crate) fn next_timeout(
        &self,
        fleet: &Fleet,
        lingering: Option<Instant>,
    ) -> Option<Instant> {
        let session_admission =
            self.session_admission.as_ref().filter(|_| self.waiting.sum().requests > 0);
        let sessions = session_admission.and_then(|admission| admission.next_timeout());
        let wakeup = self.wakeups.first().map(|(at, _)| *at);
        let stranded = self.stranded(fleet).map(|(at, _)| at);
        let leave = self.waiting.next_inactive(fleet.now);
        let prefill = fleet.pool.next_unreported();
        let recovery = [fleet.pool.next_opening(), lingering, prefill].into_iter().flatten().min();
        let recovery = recovery.filter(|_| self.waiting.sum().requests > 0);
        let saturation = [self.next_stale(fleet), leave, self.next_opening(fleet), recovery];
        let all = [self.waiting.next_timeout(), stranded, sessions, wakeup];
        all.into_iter().chain(saturation).flatten().min()
    }

    /// Records that a request that [`poll`](Self::poll) returned was dispatched. Returns its
    /// session, if sessions are admitted.
    pub(crate) fn dispatched(
        &mut self,
        fleet: &Fleet,
        queued: &QueuedRequest,
        endpoint: EndpointId,
        chain: Option<&[BlockHash]>,
        tokens: u32,
    ) -> Option<SessionId> {
        let session = self.session_admission.as_mut().zip(chain).map(|(admission, chain)| {
            let identity = flow::SessionIdentity { id: queued.session, chain };
            admission.begin(fleet.now, identity, endpoint.slot, tokens)
        });
        self.yielding.room_was_used(fleet.now, endpoint.slot);
        if fleet.pool.get(endpoint).is_ok_and(|slot| !self.has_room(fleet, slot)) {
            self.waiting.close(endpoint.slot);
            self.wake_later(fleet, endpoint.slot);
        }
        session
    }
}
