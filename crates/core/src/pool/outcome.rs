//! Updates an endpoint's health from the outcome of a request, compared with other endpoints.

use super::health::{
    BAD_RATE, BackoffCause, BackoffPeriods, Class, FlowEvidence, HealthState, Mark, Outcome,
    OutcomeContext, rate,
};
use super::{Pool, Slot, UnknownEndpoint};
use crate::endpoint::EndpointId;
use crate::time::Instant;

impl Pool {
    /// Records the outcome of a request. Computes in **O(1)**, or in **O(endpoints)** when a soft
    /// cause backs an endpoint off.
    pub(crate) fn record_outcome(
        &mut self,
        now: Instant,
        context: OutcomeContext,
        outcome: Outcome,
        backoff_periods: BackoffPeriods,
    ) {
        let OutcomeContext { endpoint, order, flow, since } = context;
        let Ok(slot) = self.get(endpoint) else { return };
        let (counts, in_rotation) = (slot.health.counts(order), slot.health.is_in_rotation());
        let (class, cause) = match outcome {
            Outcome::Answered { late: false } => return self.record_good(now, context),
            Outcome::Answered { late: true } => (Class::Late, BackoffCause::Late),
            Outcome::Unanswered => (Class::Unanswered, BackoffCause::Unanswered),
            Outcome::Failed { reached: true } => (Class::Failed, BackoffCause::Failed),
            Outcome::Failed { reached: false } => (Class::Failed, BackoffCause::Unreachable),
        };
        let rates = self.all_elsewhere(now, slot);
        let (elsewhere, alone) = rates[class as usize];
        let rates = Some(rates.map(|(rate, _)| rate));
        let own = self.suspects.bad(flow, endpoint.slot);
        self.note(now, endpoint, in_rotation && counts, outcome);
        let (rate, alone) = match own {
            // A refused connection does not depend on the request.
            _ if cause == BackoffCause::Unreachable => (Some(elsewhere), alone),
            FlowEvidence::Repeats => (None, false),
            FlowEvidence::Counts { rate, alone: seen } => {
                (Some(rate.max(elsewhere)), alone && seen)
            }
        };
        // A client that fails everywhere is no evidence about the endpoint's other clients.
        if class != Class::Late && rate.is_none_or(|rate| rate < BAD_RATE) {
            self.leave_residue(now, endpoint, order, since);
        }
        if !counts {
            return;
        }
        let dispatches = self.dispatches;
        let Some(slot) = self.slot_mut(endpoint) else { return };
        let mark = Mark { order: slot.uses, dispatches };
        let late = class == Class::Late;
        let back_off = match (in_rotation, rate) {
            (true, Some(rate)) => {
                let enough = slot.health.suspect(class, rate, alone);
                if late {
                    slot.health.answered(rates, true);
                }
                enough
            }
            (true, None) => false,
            // A late answer counts as an answer, unless the backoff was for lateness.
            (false, _) if late && slot.health.cause() != Some(BackoffCause::Late) => {
                slot.health.answered(rates, true);
                false
            }
            (false, Some(rate)) if rate < BAD_RATE => true,
            (false, _) => {
                slot.health.renew(now, mark);
                false
            }
        };
        // Counting the endpoints out of rotation scans all of them, so it happens only where it
        // matters.
        let may = !back_off || !in_rotation || !cause.is_soft() || self.may_lose_another(endpoint);
        if let Some(slot) = self.slot_mut(endpoint).filter(|_| back_off && may) {
            slot.health.back_off(now, cause, mark, backoff_periods);
            slot.counters.backoffs += 1;
        }
        self.reschedule_opening(endpoint);
        self.refresh_bounds(endpoint);
    }

    /// Records an answer in time.
    fn record_good(&mut self, now: Instant, context: OutcomeContext) {
        let OutcomeContext { endpoint, order, flow, .. } = context;
        let Ok(slot) = self.get(endpoint) else { return };
        let (counts, in_rotation) = (slot.health.counts(order), slot.health.is_in_rotation());
        let rates = slot.health.is_suspected().then(|| self.all_elsewhere(now, slot));
        self.suspects.good(flow, endpoint.slot);
        self.note(now, endpoint, in_rotation && counts, Outcome::Answered { late: false });
        let Some(slot) = self.slot_mut(endpoint).filter(|_| counts) else { return };
        let gate =
            |slot: &Slot| (slot.health.state(), slot.health.is_closed(slot.in_flight.requests()));
        let before = gate(slot);
        slot.health.answered(rates.map(|rates| rates.map(|(rate, _)| rate)), false);
        if gate(slot) != before {
            self.refresh_bounds(endpoint);
        }
    }

    /// Keeps what remains of the predicted prefill of a request that ended before its first token.
    fn leave_residue(&mut self, now: Instant, id: EndpointId, order: u64, since: Instant) {
        if let Some(slot) = self.slot_mut(id) {
            let work = slot.in_flight.work_of(order);
            slot.in_flight.leave_residue(now, work.saturating_sub(now.saturating_since(since)));
        }
    }

    /// Records the result of a probe.
    pub(crate) fn probe(
        &mut self,
        now: Instant,
        id: EndpointId,
        passed: bool,
        backoff_periods: BackoffPeriods,
    ) -> Result<(), UnknownEndpoint> {
        let dispatches = self.dispatches;
        let slot = self.get_mut(id)?;
        if passed {
            slot.health.contact(now, true);
        } else {
            let mark = Mark { order: slot.uses, dispatches };
            let again = slot.health.cause() == Some(BackoffCause::Probe);
            if again && slot.health.state() == HealthState::BackedOff {
                slot.health.renew(now, mark);
            } else {
                slot.health.back_off(now, BackoffCause::Probe, mark, backoff_periods);
                slot.counters.backoffs += 1;
            }
        }
        self.reschedule_opening(id);
        self.refresh_bounds(id);
        Ok(())
    }

    /// Records that a metrics page of the endpoint was read.
    pub(crate) fn record_contact(&mut self, now: Instant, id: EndpointId) {
        if let Some(slot) = self.slot_mut(id) {
            slot.health.contact(now, false);
        }
        self.refresh_bounds(id);
    }

    /// Number of requests dispatched so far, by which trials are spaced.
    pub(crate) const fn dispatches(&self) -> u64 {
        self.dispatches
    }

    /// When the next endpoint that is closed by a timeout must be checked.
    pub(crate) fn next_opening(&self) -> Option<Instant> {
        self.opens.next()
    }

    /// Checks one endpoint whose timeout has expired, and returns its slot.
    pub(crate) fn open_due(&mut self, now: Instant) -> Option<u32> {
        let (_, number) = self.opens.pop_due(now)?;
        if let Some(slot) = self.at_mut(number) {
            let (id, next) = (slot.id, slot.health.come_due(now));
            slot.health.noted = next;
            self.opens.replace(number, None, next);
            self.refresh_bounds(id);
        }
        Some(number)
    }

    /// Schedules the check at the end of the endpoint's timeout.
    pub(super) fn reschedule_opening(&mut self, id: EndpointId) {
        let Ok(slot) = self.get_mut(id) else { return };
        let at = slot.health.opens_at();
        let before = core::mem::replace(&mut slot.health.noted, at);
        self.opens.replace(id.slot, before, at);
    }

    /// The [rates](Self::elsewhere) of all classes.
    fn all_elsewhere(&self, now: Instant, slot: &Slot) -> [(f64, bool); 3] {
        [Class::Failed, Class::Unanswered, Class::Late]
            .map(|class| self.elsewhere(now, slot, class))
    }

    /// The rate of a class on the other endpoints, and whether they had no such outcome.
    fn elsewhere(&self, now: Instant, slot: &Slot, class: Class) -> (f64, bool) {
        let (good, bad) = self.outcomes.sums(now, class);
        let (own_good, own_bad) = slot.health.window_of_outcomes.sums(now, class);
        let (good, bad) = (good.saturating_sub(own_good), bad.saturating_sub(own_bad));
        (rate(good, bad), bad == 0)
    }

    /// Records an outcome in the windows of the endpoint and of the pool.
    fn note(&mut self, now: Instant, id: EndpointId, counts: bool, outcome: Outcome) {
        let noted: &[(Class, bool)] = match outcome {
            Outcome::Answered { late } => {
                &[(Class::Failed, false), (Class::Unanswered, false), (Class::Late, late)]
            }
            Outcome::Failed { .. } => &[(Class::Failed, true)],
            Outcome::Unanswered => &[(Class::Unanswered, true)],
        };
        let Some(slot) = self.at_mut(id.slot) else { return };
        slot.counters.late += u64::from(outcome == Outcome::Answered { late: true });
        slot.counters.unanswered += u64::from(outcome == Outcome::Unanswered);
        let noted = noted.iter().filter(|_| counts);
        for (class, bad) in noted.clone() {
            slot.health.window_of_outcomes.note(now, *class, *bad);
        }
        for (class, bad) in noted {
            self.outcomes.note(now, *class, *bad);
        }
    }

    /// Whether another endpoint may be backed off for a cause that clients can produce: half of the
    /// pool stays in rotation.
    fn may_lose_another(&self, id: EndpointId) -> bool {
        let lost = self
            .iter()
            .filter(|slot| slot.id != id && slot.health.cause().is_some_and(BackoffCause::is_soft));
        2 * (lost.count() + 1) <= self.len()
    }

    fn slot_mut(&mut self, id: EndpointId) -> Option<&mut Slot> {
        self.get_mut(id).ok()
    }
}
