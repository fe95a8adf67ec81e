//! What follows an attempt that has ended before the reply: another endpoint, or the reply.

use alloc::boxed::Box;
use core::time::Duration;

use slotwise::{EndpointId, RejectReason};
use slotwise_wire::outcome::{Reason, Refusal};
use slotwise_wire::response::{CloseReason, Outcome};

use super::output::Output;
use super::reply::HeldReply;
use super::{Exchange, State};
use crate::lease::Lease;

impl Exchange {
    /// The answer ended before anything of it was sent: the client gets it, or another endpoint is
    /// asked.
    pub(super) fn judge(&mut self, lease: Box<Lease>, held: HeldReply, close: CloseReason) {
        if !lease.outcome().is_some_and(|outcome| outcome.may_retry(false)) {
            return self.end_with(held, Some(lease));
        }
        let endpoint = lease.dispatch().endpoint_id;
        // A failed answer with a success status must not reach the client as an answer.
        if close == CloseReason::Clean && !held.is_success() {
            self.refused = Some((lease, held));
        }
        self.ask_another(endpoint);
    }

    /// The same for a refusal by a prefilling endpoint.
    pub(super) fn judge_refusal(
        &mut self,
        endpoint: EndpointId,
        lease: Box<Lease>,
        held: HeldReply,
        outcome: Outcome,
    ) {
        self.outcome = Some(outcome);
        if !outcome.may_retry(false) {
            return self.end_with(held, Some(lease));
        }
        self.refused = Some((lease, held));
        self.ask_another(endpoint);
    }

    pub(super) fn ask_another(&mut self, instead_of: EndpointId) {
        self.excluded.push(instead_of);
        self.attempts = self.attempts.saturating_sub(1);
        if self.attempts > 0 {
            self.state = State::Dispatching;
            self.outputs.push_back(Output::Dispatch);
        } else {
            let reason = Reason::Rejected(RejectReason::NoEndpoints);
            self.give_up(&Refusal::new(reason).retry_after(NO_ENDPOINT_RETRY));
        }
    }

    /// No further endpoint is asked.
    pub(super) fn give_up(&mut self, refusal: &Refusal<'_>) {
        match self.refused.take() {
            Some((lease, held)) => self.end_with(held, Some(lease)),
            None => self.end_with(HeldReply::of_refusal(refusal, self.shape), None),
        }
    }

    /// The client gets this response, which is whole.
    pub(super) fn end_with(&mut self, held: HeldReply, lease: Option<Box<Lease>>) {
        self.reply(held);
        self.outputs.push_back(Output::End);
        self.state = State::Ended(lease);
    }
}

/// When a client comes back after all endpoints that were asked have failed.
const NO_ENDPOINT_RETRY: Duration = Duration::from_secs(1);
