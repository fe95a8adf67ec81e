//! The shipped scheduler in front of prefill and decode pools, with each of its deciders.

use ::slotwise::{Decider, Instant, PrefixBasedPdDecider, Stage, Usage};

use super::slotwise::{Slotwise, Variant};
use super::{Finished, Fleet, Incoming, Needs, Policy, Refusal, Report, Verdict};
use crate::replica::KvChange;

/// Every request.
pub(super) const ALWAYS: Decider = Decider::AlwaysPd;
/// No request.
pub(super) const NEVER: Decider = Decider::Never;
/// Requests with 1,024 uncached tokens.
pub(super) const PREFIX_BASED: Decider =
    Decider::PrefixBasedPd(PrefixBasedPdDecider { non_cached_tokens: 1_024, prompt_tokens: 0 });
/// Requests that cost less on two replicas.
pub(super) const PREDICTED: Decider = Decider::PredictedPd;

/// A gateway with one decider.
pub(super) struct Disaggregated {
    gateway: Slotwise,
}

impl Disaggregated {
    pub(super) fn build(decider: Decider, fleet: &Fleet) -> Box<dyn Policy> {
        Box::new(Self { gateway: Slotwise::new(Variant::Disaggregated(decider), fleet) })
    }
}

impl Policy for Disaggregated {
    fn pick(&mut self, now: Instant, request: &Incoming<'_>) -> Option<usize> {
        self.gateway.pick(now, request)
    }

    fn submit(&mut self, now: Instant, request: &Incoming<'_>) -> Option<Verdict> {
        let asked = self.gateway.ask(request);
        let Ok(dispatch) = self.gateway.scheduler.pick(now, &asked) else {
            return Some(Verdict::Refused(Refusal::Unplaced));
        };
        self.gateway.requests.insert(request.id, dispatch.request_id);
        let replica = |endpoint| self.gateway.replica(endpoint).expect("known");
        let answers = replica(dispatch.endpoint_id);
        Some(match dispatch.prefill {
            None => Verdict::Goes(answers),
            Some(leg) => Verdict::Splits { prefill: replica(leg.endpoint_id), decode: answers },
        })
    }

    fn prefilled(&mut self, now: Instant, id: u32, usage: Finished) {
        let Some(request) = self.gateway.requests.get(&id) else { return };
        let usage = Usage::default().prompt_tokens(usage.prompt).cached_tokens(usage.cached);
        let ended = self.gateway.scheduler.complete_leg(now, *request, Stage::Prefill, usage);
        ended.expect("the leg is in flight until its prefill ends");
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
}
