//! One client request over several attempts, from its body to its reply.
//!
//! ```text
//!  dispatch ──► send ──► look ahead to the first token ──► reply: the client gets the rest
//!     ▲          │ unreachable, refuses, fails, breaks off or stays silent
//!     └──────────┘ another endpoint, while nothing has been sent to the client
//! ```
//!
//! | file | what it knows |
//! |---|---|
//! | here | the attempts: inputs, and the outputs that the host polls |
//! | `stages` | the calls of a disaggregated request: its prefill, and its answer |
//! | `call` | what an endpoint is sent: its headers, and its body |
//! | `output` | the outputs |
//! | `retry` | what follows an attempt that has ended before the reply |
//! | `rewrite` | what differs between an engine's answer and the client's |
//! | `reply` | what the client gets: a status, headers, and a body that may be held back |

mod call;
mod output;
mod reply;
mod retry;
mod rewrite;
mod stages;

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

use slotwise::{Decision, Dispatch, EndpointId, Failure, Instant, Rejected, RequestId};
use slotwise_wire::outcome::{BodyShape, Refusal};
use slotwise_wire::response::{CloseReason, Outcome, ResponseReader};

pub use call::{Call, KvConnector};
pub use output::{Output, Passing};
pub use reply::Reply;
use reply::{HeldReply, stream_error};
use rewrite::Rewrite;
use stages::PrefillCall;

use crate::gateway::Gateway;
use crate::lease::{IdleLimit, Lease};

/// One request of a client: chooses an endpoint, asks it, and asks another one while nothing has
/// been sent to the client.
///
/// A host calls [`poll`](Self::poll) until it returns `None`, does what each output names, and
/// reports what came of it:
///
/// | output | the host | then |
/// |---|---|---|
/// | `Dispatch` | picks the request, without [`excluded`](Self::excluded) | `handle_pick` |
/// | | or submits it | `handle_submit`, `handle_decision` |
/// | `Prefill` | sends the request to a prefilling endpoint | `handle_prefilled` |
/// | | which it may not reach | `handle_prefill_failure` |
/// | `Send` | sends the request to the endpoint | `handle_head`, or `handle_unreachable` |
/// | | reads the answer's body | `handle_chunk`, and `handle_close` at its end |
/// | `Abort` | closes the connections to the endpoints | |
/// | `Reply` | sends status and headers to the client | |
/// | `Body` | sends bytes to the client | |
/// | `End`, `Break` | ends the client's response, or breaks it off | |
///
/// **A client that leaves is an input, too**:
/// [`handle_client_disconnected`](Self::handle_client_disconnected), from destructors as well.
/// Otherwise the reservation leaks.
///
/// Every dispatch that an exchange receives is either taken or cancelled. A pick that ends after
/// the client has left therefore leaves no reservation behind.
///
/// An answer counts as whole once its last event or its last brace has come:
///
/// | after that, the connection | the client gets |
/// |---|---|
/// | breaks | the whole answer, and a clean end |
/// | stays open until the host's time-out | the same, and the connection is aborted |
///
/// A stream that is cut ends with an [error event](slotwise_wire::outcome::StreamError), and then
/// cleanly: most client libraries do not notice a cut, and all know an error. After a part of an
/// event nothing can be added, so the client's connection breaks, as for other bodies.
///
/// Before the first token at most [`LOOK_AHEAD`](Self::LOOK_AHEAD) bytes and one chunk are kept,
/// with as many of an earlier refusal. An example stands in the [crate's documentation](crate).
#[derive(Debug)]
#[must_use = "an exchange ends by its outputs, or by handle_client_disconnected"]
pub struct Exchange {
    shape: BodyShape,
    attempts: usize,
    excluded: Vec<EndpointId>,
    connector: KvConnector,
    primary_port: Option<u16>,
    idle_limit: IdleLimit,
    rewrite: Rewrite,
    state: State,
    /// The prefill that is awaited.
    prefill: Option<PrefillCall>,
    /// What the client gets if no endpoint answers: the latest whole refusal of an engine.
    refused: Option<(Box<Lease>, HeldReply)>,
    /// How the latest answer ended.
    outcome: Option<Outcome>,
    outputs: VecDeque<Output>,
}

/// A lease is large, and states move with each input.
#[derive(Debug)]
enum State {
    /// The host picks or submits.
    Dispatching,
    /// The scheduler decides.
    Queued(RequestId),
    /// The prompt is computed elsewhere. The answer's endpoint has not been asked.
    Prefilling(Box<Lease>),
    /// The endpoint is asked. No header has come.
    Sent(Box<Lease>),
    /// The answer has begun to come, and nothing of it has been sent to the client.
    Looking(Box<Lease>, HeldReply),
    /// The client gets the answer as it comes.
    Replying(Box<Lease>),
    /// It is over. The lease is that of the client's answer; a refusal of the gateway has none.
    Ended(Option<Box<Lease>>),
}

impl Exchange {
    /// Bytes of an answer that are held back at most until it is known whether another endpoint is
    /// asked.
    pub const LOOK_AHEAD: usize = 65_536;

    /// A request whose client reads errors of this shape. At most three endpoints are asked.
    pub fn new(shape: BodyShape) -> Self {
        Self {
            shape,
            attempts: 3,
            excluded: Vec::new(),
            connector: KvConnector::default(),
            primary_port: None,
            idle_limit: IdleLimit::default(),
            rewrite: Rewrite::default(),
            state: State::Dispatching,
            prefill: None,
            refused: None,
            outcome: None,
            outputs: VecDeque::from([Output::Dispatch]),
        }
    }

    /// Endpoints that are asked at most: at least one.
    pub fn attempts(self, attempts: usize) -> Self {
        Self { attempts: attempts.max(1), ..self }
    }

    /// Endpoints that are never asked.
    pub fn exclude(mut self, endpoints: &[EndpointId]) -> Self {
        self.excluded.extend_from_slice(endpoints);
        self
    }

    /// How the KV caches of disaggregated requests move; the default is a sidecar.
    pub fn connector(self, connector: KvConnector) -> Self {
        Self { connector, ..self }
    }

    /// The pool's endpoints are data-parallel ranks: requests go to this port of their hosts, and
    /// the header `x-data-parallel-host-port` names the rank. With 0, the default, the handler of
    /// [`Config::profiles`](slotwise::Config::profiles) decides.
    pub fn primary_port(self, port: u16) -> Self {
        Self { primary_port: Some(port).filter(|port| *port > 0), ..self }
    }

    /// How long each endpoint may send no token. The default is 30 s or ten times the prediction,
    /// and a prefill on a slow engine takes longer while its speed is not known yet.
    pub fn idle_limit(self, limit: IdleLimit) -> Self {
        Self { idle_limit: limit, ..self }
    }

    /// The name of the model that the client gets, in place of the engine's: see
    /// [`ModelFilter`](slotwise_wire::response::ModelFilter). The other bytes of the answer stay. A
    /// name of more than 1,024 bytes is not written.
    pub fn answers_as(mut self, model: &str) -> Self {
        self.rewrite.answer_as(model);
        self
    }

    /// Whether the client's stream loses what `stream_options.include_usage` adds: set it if only
    /// the host has requested usage ([`add_usage`](slotwise_wire::request::add_usage)). The lease
    /// reads the usage. At most 64 KiB of an event are held back until it is complete.
    pub fn drop_usage(mut self, dropped: bool) -> Self {
        self.rewrite.drop_usage(dropped);
        self
    }

    /// The next output. `None` until the next input.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// The request was picked, or was rejected. A dispatch that no longer matters is cancelled.
    pub fn handle_pick(
        &mut self,
        gateway: &mut Gateway,
        now: Instant,
        picked: Result<Dispatch, Rejected>,
    ) {
        match picked {
            Ok(dispatch) => self.handle_dispatch(gateway, now, dispatch),
            Err(rejected) => self.handle_refusal(gateway, now, &Refusal::from(&rejected)),
        }
    }

    /// The request was submitted, or was rejected. A submission that no longer matters is
    /// cancelled.
    pub fn handle_submit(
        &mut self,
        gateway: &mut Gateway,
        now: Instant,
        submitted: Result<RequestId, Rejected>,
    ) {
        match submitted {
            Ok(request) if matches!(self.state, State::Dispatching) => {
                self.state = State::Queued(request);
            }
            Ok(request) => self.cancel_other(gateway, now, request),
            Err(rejected) => self.handle_refusal(gateway, now, &Refusal::from(&rejected)),
        }
    }

    /// The scheduler decided about the submitted request. Each decision goes to one exchange: a
    /// dispatch that this one did not wait for is cancelled.
    pub fn handle_decision(&mut self, gateway: &mut Gateway, now: Instant, decision: Decision) {
        match decision {
            Decision::Dispatch(dispatch) => self.handle_dispatch(gateway, now, dispatch),
            Decision::Evict(evicted) if self.awaits(evicted.request_id) => {
                self.give_up(&Refusal::from(&evicted));
            }
            _ => {}
        }
    }

    /// The request is refused, by the scheduler or by the host, and no endpoint is asked. A queued
    /// request is withdrawn. The client gets this refusal, unless an endpoint has refused it
    /// before.
    pub fn handle_refusal(&mut self, gateway: &mut Gateway, now: Instant, refusal: &Refusal<'_>) {
        match self.state {
            State::Queued(request) => _ = gateway.scheduler_mut().cancel(now, request),
            State::Dispatching => {}
            _ => return,
        }
        self.give_up(refusal);
    }

    /// The endpoint could not be reached, or its connection ended before the headers came:
    /// `failure` says how.
    pub fn handle_unreachable(&mut self, gateway: &mut Gateway, now: Instant, failure: Failure) {
        match core::mem::replace(&mut self.state, State::Ended(None)) {
            State::Sent(mut lease) => {
                lease.fail(gateway, now, failure);
                self.abort_unless(true);
                self.ask_another(lease.dispatch().endpoint_id);
            }
            other => self.state = other,
        }
    }

    /// The endpoint responds with this status and these headers. Of the headers, only those of
    /// [`Reply::PASSED_ON`] reach the client.
    pub fn handle_head<N: AsRef<str>, V: AsRef<[u8]>>(
        &mut self,
        status: u16,
        headers: impl IntoIterator<Item = (N, V)>,
    ) {
        match core::mem::replace(&mut self.state, State::Ended(None)) {
            State::Sent(mut lease) => {
                let reply = Reply::of_engine(status, headers);
                lease.begin(status, reply.content_type());
                self.rewrite.begin(reply.content_type());
                self.state = State::Looking(lease, HeldReply::new(reply));
            }
            other => self.state = other,
        }
    }

    /// A chunk of the answer's body came, decoded and unchanged. Computes in **O(bytes)**.
    pub fn handle_chunk(&mut self, gateway: &mut Gateway, now: Instant, chunk: &[u8]) -> Passing {
        // Most chunks change no state.
        if let State::Replying(lease) = &mut self.state {
            lease.pass(gateway, now, chunk);
            if !self.rewrite.is_active() {
                return Passing::PassedOn;
            }
            let mut body = Vec::new();
            self.rewrite.feed(chunk, &mut body);
            self.pass_on(body);
            return Passing::Held;
        }
        match core::mem::replace(&mut self.state, State::Ended(None)) {
            State::Looking(mut lease, mut held) => {
                lease.pass(gateway, now, chunk);
                self.rewrite.feed(chunk, held.body_mut());
                if lease.has_begun() || held.len() >= Self::LOOK_AHEAD {
                    self.reply(held);
                    self.state = State::Replying(lease);
                } else {
                    self.state = State::Looking(lease, held);
                }
                Passing::Held
            }
            other => {
                self.state = other;
                Passing::Dropped
            }
        }
    }

    /// The connection to the endpoint ended, or the host gave up waiting for it
    /// ([`CloseReason::TimedOut`]): see [`wait`](Self::wait).
    ///
    /// [`CloseReason::Expired`] may come at any time: the host limits the time of whole requests,
    /// and that of this one is over. The request is cancelled. A reply that has begun ends as one
    /// that is cut does. Before that, only [`Output::Abort`] follows, and the host refuses the
    /// request.
    pub fn handle_close(&mut self, gateway: &mut Gateway, now: Instant, close: CloseReason) {
        match close {
            CloseReason::ClientDisconnected => return self.leave(gateway, now, close),
            CloseReason::Expired if !self.has_replied() => return self.leave(gateway, now, close),
            _ => {}
        }
        match core::mem::replace(&mut self.state, State::Ended(None)) {
            State::Sent(mut lease) => {
                let failure = if close == CloseReason::TimedOut {
                    Failure::Timeout
                } else {
                    Failure::Unreachable
                };
                lease.fail(gateway, now, failure);
                self.abort_unless(close == CloseReason::Clean);
                self.ask_another(lease.dispatch().endpoint_id);
            }
            State::Looking(mut lease, mut held) => {
                lease.close(gateway, now, close);
                self.rewrite.finish(held.body_mut());
                self.outcome = lease.outcome().copied();
                self.abort_unless(close == CloseReason::Clean);
                self.judge(lease, held, close);
            }
            State::Replying(mut lease) => {
                let may_add = lease.reader().is_some_and(ResponseReader::is_between_events);
                lease.close(gateway, now, close);
                self.outcome = lease.outcome().copied();
                self.abort_unless(close == CloseReason::Clean);
                let whole = close == CloseReason::Clean
                    || lease.outcome().is_some_and(Outcome::is_complete);
                let mut rest = Vec::new();
                self.rewrite.finish(&mut rest);
                self.pass_on(rest);
                let error = lease.outcome().and_then(stream_error).filter(|_| may_add);
                if let Some(error) = error {
                    self.pass_on(error.event(self.shape).into_bytes());
                }
                let ends = whole || error.is_some();
                self.outputs.push_back(if ends { Output::End } else { Output::Break });
                self.state = State::Ended(Some(lease));
            }
            other => self.state = other,
        }
    }

    /// The client left: cancels the request wherever it is. No output but [`Output::Abort`]
    /// follows.
    pub fn handle_client_disconnected(&mut self, gateway: &mut Gateway, now: Instant) {
        self.leave(gateway, now, CloseReason::ClientDisconnected);
    }

    /// No reply is read: the client has left, or gets a refusal of the host's.
    fn leave(&mut self, gateway: &mut Gateway, now: Instant, close: CloseReason) {
        self.outputs.retain(|output| matches!(output, Output::Abort));
        if self.has_ended() {
            return;
        }
        match core::mem::replace(&mut self.state, State::Ended(None)) {
            State::Queued(request) => _ = gateway.scheduler_mut().cancel(now, request),
            State::Prefilling(mut lease)
            | State::Sent(mut lease)
            | State::Looking(mut lease, _)
            | State::Replying(mut lease) => {
                self.drop_prefill();
                lease.close(gateway, now, close);
                self.outputs.push_back(Output::Abort);
                self.state = State::Ended(Some(lease));
            }
            State::Dispatching | State::Ended(_) => {}
        }
    }

    /// The host waits for the endpoint from `now` on. Returns when to call
    /// [`handle_close`](Self::handle_close) with [`CloseReason::TimedOut`] if nothing comes.
    pub fn wait(&mut self, now: Instant) -> Option<Instant> {
        if self.has_ended() {
            return None;
        }
        self.lease_mut()?.silence().wait(now)
    }

    /// The host no longer waits. Needed only if its timers run on another clock than its inputs:
    /// [`handle_chunk`](Self::handle_chunk) ends the wait otherwise.
    pub fn end_wait(&mut self, now: Instant) {
        if let Some(lease) = self.lease_mut() {
            lease.silence().end_wait(now);
        }
    }

    /// Endpoints that must not be asked: those that the host excluded, and those that were asked in
    /// vain.
    pub fn excluded(&self) -> &[EndpointId] {
        &self.excluded
    }

    /// The request in flight; after the end, the one whose answer the client gets. From the reply
    /// on, it is always the same. `None` while no endpoint is asked, and if the gateway itself has
    /// refused the request.
    pub const fn lease(&self) -> Option<&Lease> {
        match &self.state {
            State::Prefilling(lease)
            | State::Sent(lease)
            | State::Looking(lease, _)
            | State::Replying(lease)
            | State::Ended(Some(lease)) => Some(lease),
            State::Dispatching | State::Queued(_) | State::Ended(None) => None,
        }
    }

    /// The same, for hosts that keep the time of their waits in the lease: see [`Lease::silence`].
    pub const fn lease_mut(&mut self) -> Option<&mut Lease> {
        match &mut self.state {
            State::Prefilling(lease)
            | State::Sent(lease)
            | State::Looking(lease, _)
            | State::Replying(lease)
            | State::Ended(Some(lease)) => Some(lease),
            State::Dispatching | State::Queued(_) | State::Ended(None) => None,
        }
    }

    /// How the answer of the endpoint that was asked last ended; `None` before its end, and if no
    /// endpoint answered.
    pub const fn outcome(&self) -> Option<&Outcome> {
        self.outcome.as_ref()
    }

    /// Whether no input changes anything any more.
    pub const fn has_ended(&self) -> bool {
        matches!(self.state, State::Ended(_))
    }

    /// Whether the client gets a reply, or has got it.
    const fn has_replied(&self) -> bool {
        matches!(self.state, State::Replying(_) | State::Ended(_))
    }

    /// Takes the dispatch, or gives its reservation back.
    fn handle_dispatch(&mut self, gateway: &mut Gateway, now: Instant, dispatch: Dispatch) {
        if !self.awaits(dispatch.request_id) {
            return self.cancel_other(gateway, now, dispatch.request_id);
        }
        self.outcome = None;
        let mut lease = Box::new(Lease::new(gateway, dispatch));
        lease.silence().set_limit(self.idle_limit);
        self.begin(gateway, lease);
    }

    /// Whether the decision about this request is the next input.
    fn awaits(&self, request: RequestId) -> bool {
        match self.state {
            State::Dispatching => true,
            State::Queued(queued) => queued == request,
            _ => false,
        }
    }

    /// Cancels a request that came too late or twice, unless it is the one in flight.
    fn cancel_other(&self, gateway: &mut Gateway, now: Instant, request: RequestId) {
        let own = match &self.state {
            State::Queued(queued) => Some(*queued),
            _ => self.lease().map(Lease::request_id),
        };
        if own != Some(request) {
            gateway.scheduler_mut().cancel(now, request);
        }
    }
}
