//! The shipped scheduler behind its flow control: `submit` and `poll_decision`.

use std::collections::HashMap;

use ::slotwise::{Decision, EvictReason, Instant, RejectReason, RequestId};

use super::front::{Front, Fronted};
use super::slotwise::{Slotwise, Variant};
use super::{Fleet, Incoming, Policy, Refusal, Verdict};

/// A front whose requests wait in the scheduler.
#[derive(Default)]
pub(super) struct Flow {
    waiting: HashMap<RequestId, u32>,
}

impl Flow {
    pub(super) fn build(fleet: &Fleet) -> Box<dyn Policy> {
        let gateway = Slotwise::new(Variant::Flow, fleet);
        Box::new(Fronted { gateway, front: Self::default() })
    }
}

impl Front for Flow {
    fn submit(
        &mut self,
        gateway: &mut Slotwise,
        now: Instant,
        request: &Incoming<'_>,
    ) -> Option<Verdict> {
        let asked = gateway.ask(request);
        match gateway.scheduler.submit(now, &asked) {
            Ok(id) => {
                self.waiting.insert(id, request.id);
                None
            }
            Err(rejected) => Some(Verdict::Refused(match rejected.reason {
                RejectReason::NotServed | RejectReason::TooLarge => Refusal::Unplaced,
                _ => Refusal::Full,
            })),
        }
    }

    fn poll(&mut self, gateway: &mut Slotwise, now: Instant) -> Option<(u32, Verdict)> {
        let decision = gateway.scheduler.poll_decision(now)?;
        let id = self
            .waiting
            .remove(&decision.request_id())
            .expect("a decision is about a request that waits");
        let verdict = match decision {
            Decision::Dispatch(dispatch) => {
                gateway.requests.insert(id, dispatch.request_id);
                Verdict::Goes(gateway.replica(dispatch.endpoint_id).expect("known"))
            }
            Decision::Evict(evicted) => Verdict::Refused(match evicted.reason {
                EvictReason::TooLarge => Refusal::Unplaced,
                EvictReason::Displaced => Refusal::Displaced,
                _ => Refusal::Expired,
            }),
            _ => unreachable!("a request goes or does not go"),
        };
        Some((id, verdict))
    }

    fn next_timeout(&self, gateway: &Slotwise) -> Option<Instant> {
        gateway.scheduler.next_timeout()
    }
}
