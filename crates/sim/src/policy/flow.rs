//! The shipped scheduler behind its flow control: `submit` and `poll_decision`.

use std::collections::HashMap;

use ::slotwise::{Decision, EvictReason, Instant, RejectReason, RequestId};

use super::slotwise::{Slotwise, Variant};
use super::{Finished, Fleet, Incoming, Needs, Policy, Refusal, Report, Verdict};
use crate::replica::KvChange;

/// A gateway whose requests wait in the scheduler.
pub(super) struct Flow {
    gateway: Slotwise,
    waiting: HashMap<RequestId, u32>,
}

impl Flow {
    pub(super) fn new(fleet: &Fleet) -> Self {
        Self { gateway: Slotwise::new(Variant::Flow, fleet), waiting: HashMap::new() }
    }
}

impl Policy for Flow {
    fn pick(&mut self, now: Instant, request: &Incoming<'_>) -> Option<usize> {
        self.gateway.pick(now, request)
    }

    fn submit(&mut self, now: Instant, request: &Incoming<'_>) -> Option<Verdict> {
        let asked = self.gateway.ask(request);
        match self.gateway.scheduler.submit(now, &asked) {
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

    fn poll(&mut self, now: Instant) -> Option<(u32, Verdict)> {
        let decision = self.gateway.scheduler.poll_decision(now)?;
        let id = self
            .waiting
            .remove(&decision.request_id())
            .expect("a decision is about a request that waits");
        let verdict = match decision {
            Decision::Dispatch(dispatch) => {
                self.gateway.requests.insert(id, dispatch.request_id);
                Verdict::Goes(self.gateway.replica(dispatch.endpoint_id).expect("known"))
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

    fn next_timeout(&self) -> Option<Instant> {
        self.gateway.scheduler.next_timeout()
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
