//! The calls of a disaggregated request: its prefill, and its answer.
//!
//! ```text
//!  Sidecar     Send
//!  Nixl        Prefill ──answer──► Send                 the prefill fails: Prefill elsewhere,
//!                                                       then Send without a transfer
//!  Bootstrap   Prefill and Send                         the prefill fails: Abort, Dispatch
//! ```

use alloc::boxed::Box;
use alloc::string::String;

use slotwise::{EndpointId, Failure, Instant, RequestId, Stage};
use slotwise_wire::request::kv_transfer_params;
use slotwise_wire::response::{CloseReason, Disposition, Outcome, ResponseReader};

use super::call::{Call, KvConnector, Transfer};
use super::output::Output;
use super::reply::{HeldReply, Reply};
use super::{Exchange, State};
use crate::gateway::Gateway;
use crate::lease::Lease;

/// A call to a prefilling endpoint that has not been answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct PrefillCall {
    request: RequestId,
    endpoint: EndpointId,
}

impl Exchange {
    /// Bytes of a prefilling endpoint's answer that a host reads at most. A longer answer is a
    /// [failure](Self::handle_prefill_failure).
    pub const PREFILL_ANSWER: usize = 4 << 20;

    /// The prefilling endpoint has answered [`Output::Prefill`] with this status and this whole
    /// body. Does nothing if that call is no longer awaited. Computes in **O(bytes)**.
    ///
    /// | answer | then |
    /// |---|---|
    /// | with the parameters of the transfer | the request is sent to the decoding endpoint |
    /// | a refusal of the request itself, such as `400` | it is the client's answer |
    /// | anything else | as [`handle_prefill_failure`](Self::handle_prefill_failure) |
    pub fn handle_prefilled(
        &mut self,
        gateway: &mut Gateway,
        now: Instant,
        request: RequestId,
        status: u16,
        body: &[u8],
    ) {
        let Some(call) = self.take_prefill(request) else { return };
        let outcome = read(status, body);
        let parameters = match self.connector {
            KvConnector::Nixl => kv_transfer_params(body).ok().flatten(),
            _ => Some(""),
        };
        match (outcome.settlement(), parameters) {
            (Disposition::Complete(usage), Some(parameters)) => {
                let scheduler = gateway.scheduler_mut();
                // The first token of the answer may have ended the stage before.
                _ = scheduler.complete_leg(now, request, Stage::Prefill, usage);
                self.send_prefilled(gateway, now, parameters);
            }
            (Disposition::Cancel, _) => self.refuse_as(gateway, now, call, status, body),
            (Disposition::Fail(failure), _) => self.retry_prefill(gateway, now, call, failure),
            _ => self.retry_prefill(gateway, now, call, Failure::Engine),
        }
    }

    /// The prefilling endpoint could not be reached, broke off its answer, or sent none within the
    /// time of [`wait`](Self::wait). Another one is asked, or the decoding endpoint computes the
    /// prompt itself. Does nothing if the call is no longer awaited.
    pub fn handle_prefill_failure(
        &mut self,
        gateway: &mut Gateway,
        now: Instant,
        request: RequestId,
        failure: Failure,
    ) {
        if let Some(call) = self.take_prefill(request) {
            self.retry_prefill(gateway, now, call, failure);
        }
    }

    /// The first call or calls for a dispatched request.
    pub(super) fn begin(&mut self, gateway: &Gateway, lease: Box<Lease>) {
        let request = lease.request_id();
        let prefiller = gateway.scheduler().leg_of(request, Stage::Prefill);
        match (self.connector, prefiller) {
            (KvConnector::Nixl, Some(prefiller)) => {
                self.prefill(gateway, request, prefiller, Transfer::NixlPrefill);
                self.state = State::Prefilling(lease);
            }
            (KvConnector::Bootstrap { port, salt }, Some(prefiller)) => {
                let named = gateway.scheduler().endpoint(prefiller);
                let name = named.map(|endpoint| endpoint.name.as_str()).unwrap_or_default();
                let transfer = Transfer::bootstrap(port, salt, request, name);
                self.prefill(gateway, request, prefiller, transfer.clone());
                self.send(gateway, lease, transfer);
            }
            _ => self.send(gateway, lease, Transfer::None),
        }
    }

    /// Gives up a call to a prefilling endpoint. Returns whether one was awaited.
    pub(super) const fn drop_prefill(&mut self) -> bool {
        self.prefill.take().is_some()
    }

    fn prefill(
        &mut self,
        gateway: &Gateway,
        request: RequestId,
        endpoint: EndpointId,
        transfer: Transfer,
    ) {
        let call = Call::new(gateway, request, endpoint, transfer);
        self.prefill = Some(PrefillCall { request, endpoint });
        self.outputs.push_back(Output::Prefill(call));
    }

    fn send(&mut self, gateway: &Gateway, lease: Box<Lease>, transfer: Transfer) {
        let mut call = Call::new(gateway, lease.request_id(), lease.endpoint_id(), transfer);
        if self.connector == KvConnector::Sidecar {
            call.name_legs(gateway);
        }
        let profiles = gateway.scheduler().config().profiles.as_ref();
        let of_handler = || profiles.and_then(|profiles| profiles.handler.primary_port());
        if let Some(port) = self.primary_port.or_else(of_handler) {
            call.redirect_to_port(port);
        }
        self.outputs.push_back(Output::Send(call));
        self.state = State::Sent(lease);
    }

    /// Sends the request on to the endpoint that decodes, unless it was sent there before.
    fn send_prefilled(&mut self, gateway: &Gateway, now: Instant, parameters: &str) {
        let transfer = match parameters {
            "" => Transfer::None,
            parameters => Transfer::NixlDecode(String::from(parameters)),
        };
        match core::mem::replace(&mut self.state, State::Ended(None)) {
            State::Prefilling(mut lease) => {
                lease.silence().end_wait(now);
                lease.silence().restart();
                self.send(gateway, lease, transfer);
            }
            other => self.state = other,
        }
    }

    /// The prefill failed: it is asked elsewhere, or the request goes on without it.
    fn retry_prefill(
        &mut self,
        gateway: &mut Gateway,
        now: Instant,
        call: PrefillCall,
        failure: Failure,
    ) {
        let PrefillCall { request, endpoint } = call;
        // The first token has ended the stage: the prompt was computed.
        let is_open = gateway.scheduler().leg_of(request, Stage::Prefill).is_some();
        if matches!(self.state, State::Prefilling(_)) {
            self.excluded.push(endpoint);
            let scheduler = gateway.scheduler_mut();
            let next = scheduler.redirect_leg(now, request, Stage::Prefill, failure);
            if let Ok(Some(next)) = next {
                self.end_wait(now);
                self.restart_wait();
                self.prefill(gateway, request, next, Transfer::NixlPrefill);
            } else {
                self.send_prefilled(gateway, now, "");
            }
        } else if is_open {
            // The other engine waits for a transfer that does not come.
            _ = gateway.scheduler_mut().fail_leg(now, request, Stage::Prefill, failure);
            self.withdraw(gateway, now);
            self.outputs.push_back(Output::Abort);
            self.ask_another(endpoint);
        }
    }

    /// The prefilling endpoint refused the request: the client gets that, or another endpoint is
    /// asked if only this one refuses.
    fn refuse_as(
        &mut self,
        gateway: &mut Gateway,
        now: Instant,
        call: PrefillCall,
        status: u16,
        body: &[u8],
    ) {
        let is_both = matches!(self.state, State::Sent(_) | State::Looking(..));
        if !is_both && !matches!(self.state, State::Prefilling(_)) {
            return;
        }
        let Some(mut lease) = self.withdraw(gateway, now) else { return };
        if is_both {
            self.outputs.push_back(Output::Abort);
        }
        let mut held = HeldReply::new(Reply::of_engine(status, [JSON]));
        let seen = body.get(..Self::LOOK_AHEAD.min(body.len())).unwrap_or_default();
        held.body_mut().extend_from_slice(seen);
        lease.begin(status, JSON.1);
        self.judge_refusal(call.endpoint, lease, held, read(status, body));
    }

    /// Cancels the request in flight, which no endpoint is to blame for.
    fn withdraw(&mut self, gateway: &mut Gateway, now: Instant) -> Option<Box<Lease>> {
        match core::mem::replace(&mut self.state, State::Ended(None)) {
            State::Prefilling(mut lease)
            | State::Sent(mut lease)
            | State::Looking(mut lease, _) => {
                lease.cancel(gateway, now);
                Some(lease)
            }
            other => {
                self.state = other;
                None
            }
        }
    }

    fn take_prefill(&mut self, request: RequestId) -> Option<PrefillCall> {
        self.prefill.take_if(|call| call.request == request)
    }

    fn restart_wait(&mut self) {
        if let Some(lease) = self.lease_mut() {
            lease.silence().restart();
        }
    }
}

/// How a whole answer ended.
fn read(status: u16, body: &[u8]) -> Outcome {
    let mut reader = ResponseReader::new(status, JSON.1);
    reader.feed(body);
    reader.finish(CloseReason::Clean)
}

/// The content type of an answer without a stream.
const JSON: (&str, &str) = ("content-type", "application/json");
