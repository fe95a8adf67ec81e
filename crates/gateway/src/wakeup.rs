//! The one wake-up signal: what a host polls after its inputs.

use alloc::collections::BTreeSet;

use slotwise::{EndpointId, Instant, Scheduler, UnknownEndpoint};

/// What the host has to do after its inputs. See
/// [`Gateway::take_wakeup`](crate::Gateway::take_wakeup).
///
/// A [default](Self::default) one asks for nothing.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Wakeup {
    /// Call [`Gateway::poll_decision`](crate::Gateway::poll_decision) until it returns `None`.
    pub decisions: bool,
    /// Call [`Gateway::poll_drained`](crate::Gateway::poll_drained) until it returns `None`.
    pub drained: bool,
    /// Call [`Gateway::poll_replay`](crate::Gateway::poll_replay) until it returns `None`.
    pub replays: bool,
    /// When to call [`Gateway::poll_decision`](crate::Gateway::poll_decision) even without an
    /// input. It replaces every earlier time.
    pub timeout: Option<Instant>,
}

/// An endpoint that the host waits for, and that has no request in flight any more.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Drained {
    /// The endpoint.
    pub endpoint_id: EndpointId,
    /// Whether it is still in the pool. An endpoint that was removed has nothing in flight either.
    pub in_pool: bool,
}

/// The endpoints whose last request the host waits for. At most one entry for each endpoint.
#[derive(Clone, Debug, Default)]
pub(crate) struct Drains(BTreeSet<EndpointId>);

impl Drains {
    /// Watches an endpoint of the pool.
    pub(crate) fn watch(
        &mut self,
        scheduler: &Scheduler,
        endpoint: EndpointId,
    ) -> Result<(), UnknownEndpoint> {
        scheduler.in_flight_on(endpoint)?;
        self.0.insert(endpoint);
        Ok(())
    }

    pub(crate) fn unwatch(&mut self, endpoint: EndpointId) {
        self.0.remove(&endpoint);
    }

    pub(crate) fn any(&self, scheduler: &Scheduler) -> bool {
        self.0.iter().any(|endpoint| scheduler.in_flight_on(*endpoint).unwrap_or(0) == 0)
    }

    /// Takes out the first endpoint that is done, in the order of ids.
    pub(crate) fn poll(&mut self, scheduler: &Scheduler) -> Option<Drained> {
        let in_flight = |endpoint: &EndpointId| scheduler.in_flight_on(*endpoint);
        let endpoint = *self.0.iter().find(|endpoint| in_flight(endpoint).unwrap_or(0) == 0)?;
        self.0.remove(&endpoint);
        Some(Drained { endpoint_id: endpoint, in_pool: in_flight(&endpoint).is_ok() })
    }
}
