//! The scheduler as shipped, while one replica accepts nothing for a time.

use ::slotwise::Instant;

use super::slotwise::{Slotwise, Variant};
use super::{Finished, Fleet, Incoming, Needs, Policy, Report};

/// A gateway whose operator closes the first replica, and opens it again.
pub(super) struct Absence {
    gateway: Slotwise,
    from: Instant,
    until: Instant,
}

impl Absence {
    pub(super) fn new(fleet: &Fleet, from: Instant, until: Instant) -> Self {
        Self { gateway: Slotwise::new(Variant::Shipped, fleet), from, until }
    }
}

impl Policy for Absence {
    fn pick(&mut self, now: Instant, request: &Incoming<'_>) -> Option<usize> {
        if (self.from..self.until).contains(&now) {
            self.gateway.pick_among(now, request, |replica| replica > 0)
        } else {
            self.gateway.pick(now, request)
        }
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

    fn needs(&self) -> Needs {
        self.gateway.needs()
    }
}
