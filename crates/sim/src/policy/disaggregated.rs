//! The shipped scheduler in front of prefill and decode pools, with each of its deciders.

use ::slotwise::{Decider, Instant, PrefixBasedPdDecider, Stage, Usage};

use super::front::{Front, Fronted};
use super::slotwise::{Slotwise, Variant};
use super::{Finished, Fleet, Incoming, Policy, Refusal, Verdict};

/// Every request.
pub(super) const ALWAYS: Decider = Decider::AlwaysPd;
/// No request.
pub(super) const NEVER: Decider = Decider::Never;
/// Requests with 1,024 uncached tokens.
pub(super) const PREFIX_BASED: Decider =
    Decider::PrefixBasedPd(PrefixBasedPdDecider { non_cached_tokens: 1_024, prompt_tokens: 0 });
/// Requests that cost less on two replicas.
pub(super) const PREDICTED: Decider = Decider::PredictedPd;

/// A front that dispatches a request to a decode replica, and its prompt to a prefill replica where
/// the decider asks for one.
pub(super) struct Disaggregated;

impl Disaggregated {
    pub(super) fn build(decider: Decider, fleet: &Fleet) -> Box<dyn Policy> {
        let gateway = Slotwise::new(Variant::Disaggregated(decider), fleet);
        Box::new(Fronted { gateway, front: Self })
    }
}

impl Front for Disaggregated {
    fn submit(
        &mut self,
        gateway: &mut Slotwise,
        now: Instant,
        request: &Incoming<'_>,
    ) -> Option<Verdict> {
        let asked = gateway.ask(request);
        let Ok(dispatch) = gateway.scheduler.pick(now, &asked) else {
            return Some(Verdict::Refused(Refusal::Unplaced));
        };
        gateway.requests.insert(request.id, dispatch.request_id);
        let replica = |endpoint| gateway.replica(endpoint).expect("known");
        let answers = replica(dispatch.endpoint_id);
        Some(match dispatch.prefill {
            None => Verdict::Goes(answers),
            Some(leg) => Verdict::Splits { prefill: replica(leg.endpoint_id), decode: answers },
        })
    }

    fn prefilled(&mut self, gateway: &mut Slotwise, now: Instant, id: u32, usage: Finished) {
        let Some(request) = gateway.requests.get(&id) else { return };
        let usage = Usage::default().prompt_tokens(usage.prompt).cached_tokens(usage.cached);
        let ended = gateway.scheduler.complete_leg(now, *request, Stage::Prefill, usage);
        ended.expect("the leg is in flight until its prefill ends");
    }
}
