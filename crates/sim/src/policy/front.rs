//! The shipped scheduler behind a front: another way for requests to enter and verdicts to leave.

use ::slotwise::Instant;

use super::slotwise::Slotwise;
use super::{Booked, Finished, Incoming, Needs, Policy, Reloaded, Report, Verdict};
use crate::replica::KvChange;

/// How requests enter the scheduler and verdicts leave it. The methods are those of [`Policy`],
/// with the gateway that the scheduler belongs to.
pub(super) trait Front {
    fn submit(
        &mut self,
        gateway: &mut Slotwise,
        now: Instant,
        request: &Incoming<'_>,
    ) -> Option<Verdict>;

    fn poll(&mut self, gateway: &mut Slotwise, now: Instant) -> Option<(u32, Verdict)> {
        let _ = (gateway, now);
        None
    }

    fn next_timeout(&self, gateway: &Slotwise) -> Option<Instant> {
        let _ = gateway;
        None
    }

    fn prefilled(&mut self, gateway: &mut Slotwise, now: Instant, id: u32, usage: Finished) {
        let _ = (gateway, now, id, usage);
    }

    fn reloads(&self) -> &[Reloaded] {
        &[]
    }
}

/// A gateway with a front. What engines and clients report goes to the gateway alone.
pub(super) struct Fronted<F> {
    pub(super) gateway: Slotwise,
    pub(super) front: F,
}

impl<F: Front> Policy for Fronted<F> {
    fn pick(&mut self, now: Instant, request: &Incoming<'_>) -> Option<usize> {
        self.gateway.pick(now, request)
    }

    fn submit(&mut self, now: Instant, request: &Incoming<'_>) -> Option<Verdict> {
        self.front.submit(&mut self.gateway, now, request)
    }

    fn poll(&mut self, now: Instant) -> Option<(u32, Verdict)> {
        self.front.poll(&mut self.gateway, now)
    }

    fn next_timeout(&self) -> Option<Instant> {
        self.front.next_timeout(&self.gateway)
    }

    fn prefilled(&mut self, now: Instant, id: u32, usage: Finished) {
        self.front.prefilled(&mut self.gateway, now, id, usage);
    }

    fn first_token(&mut self, now: Instant, id: u32) {
        self.gateway.first_token(now, id);
    }

    fn complete(&mut self, now: Instant, id: u32, usage: Finished) {
        self.gateway.complete(now, id, usage);
    }

    fn report(&mut self, now: Instant, replica: usize, report: &Report) {
        self.gateway.report(now, replica, report);
    }

    fn kv_event(&mut self, now: Instant, replica: usize, change: &KvChange) {
        self.gateway.kv_event(now, replica, change);
    }

    fn needs(&self) -> Needs {
        self.gateway.needs()
    }

    fn booked(&self) -> Option<Booked> {
        Some(Booked::of(&self.gateway.scheduler))
    }

    fn reloads(&self) -> &[Reloaded] {
        self.front.reloads()
    }
}
