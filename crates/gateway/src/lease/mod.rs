//! One dispatched request, from its reservation to its one end.
//!
//! ```text
//!  dispatched ──first token──► running ──complete / fail / cancel / finish──► ended
//!     │ ▲                                                                       ▲
//!     │ └ redirect                                                              │
//!     └──────────────complete / fail / cancel / finish──────────────────────────┘
//! ```
//!
//! | file | what it knows |
//! |---|---|
//! | here | the states, and what each call does in each of them |
//! | `silence` | how long an endpoint may send nothing |
//! | `usage` | token counts as engines report them, and which of them are plausible |

mod silence;
mod usage;

use alloc::string::String;

use slotwise::{
    Dispatch, EndpointId, Failure, Instant, RedirectError, RequestId, Scheduler, UnknownRequest,
    Usage,
};
use slotwise_wire::response::{
    AnswerEnd, Body, CloseReason, Disposition, FinishReason, Outcome, Progress, ResponseReader,
};

pub use silence::{IdleLimit, Silence};
pub use usage::{ImplausibleUsage, ReportedUsage};

use crate::gateway::Gateway;

/// A request in flight. It ends once: only the first call to [`complete`](Self::complete),
/// [`fail`](Self::fail), [`cancel`](Self::cancel) or [`finish`](Self::finish) takes effect.
///
/// Every call that takes `now` is an input: [`Gateway::take_wakeup`] follows it. A lease that is
/// never ended leaks its reservation, so a host ends it in the destructor of what owns it, by
/// [`close`](Self::close) with [`CloseReason::ClientDisconnected`].
///
/// A request that was ended by its id, with [`Scheduler::cancel`] say, ends its lease at the next
/// call. That call then does nothing.
///
/// A lease has the size of a [`ResponseReader`], about 1.5 KB, and allocates only the endpoint's
/// name. Calls compute in **O(1)** apart from those of the scheduler; [`feed`](Self::feed) in
/// **O(bytes)**.
///
/// | call | in flight | ended |
/// |---|---|---|
/// | `handle_first_token`, `handle_tokens` | reported to the scheduler | nothing |
/// | `begin` | starts to read an answer, also another one | nothing |
/// | `feed` | reads on; [`NotBegun`] before `begin` | empty progress |
/// | `finish` | ends as the answer did; [`NotBegun`] before `begin` | the first outcome |
/// | `complete`, `fail`, `cancel` | ends; true | false |
/// | `redirect` | moves; an error after the first token | an error |
/// | `locate`, `endpoint_id`, `endpoint_name` | where it is, also after redirects | where it was |
///
/// # Example
///
/// ```
/// use slotwise::{Endpoint, Instant, Request, Scheduler};
/// use slotwise_gateway::{Gateway, Lease};
/// use slotwise_wire::response::{CloseReason, AnswerEnd};
///
/// let now = Instant::ORIGIN;
/// let mut gateway = Gateway::new(Scheduler::default());
/// gateway.scheduler_mut().add_endpoint(now, Endpoint::new("http://10.0.0.1:8000"))?;
/// let dispatch = gateway.scheduler_mut().pick(now, &Request::new("llama").text("Hi"))?;
///
/// let mut lease = Lease::new(&gateway, dispatch);
/// assert_eq!(lease.endpoint_name(), "http://10.0.0.1:8000"); // the host sends the request there
/// lease.begin(200, "text/event-stream");
/// let event = b"data: {\"choices\":[{\"text\":\"Hello\"}]}\n\n";
/// let progress = lease.feed(&mut gateway, now, event)?;
/// assert!(progress.first_token);
/// lease.feed(&mut gateway, now, b"data: [DONE]\n\n")?;
/// assert_eq!(lease.finish(&mut gateway, now, CloseReason::Clean)?.end, AnswerEnd::Complete);
///
/// assert!(!lease.cancel(&mut gateway, now), "it has ended");
/// assert_eq!(gateway.scheduler().stats().completed, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "the request is reserved: complete, fail, cancel or finish it"]
pub struct Lease {
    dispatch: Dispatch,
    /// Where the request is, or was last.
    endpoint_id: EndpointId,
    endpoint_name: String,
    reader: Option<ResponseReader>,
    outcome: Option<Outcome>,
    ended: bool,
    /// The scheduler has the first token: further ones are growth.
    started: bool,
    silence: Silence,
    /// What the host knows of the request's usage, for a [`complete`](Self::complete) without one.
    pub usage: ReportedUsage,
}

/// The answer has not begun: [`begin`](Lease::begin) comes first. Without any answer, a lease ends
/// by [`fail`](Lease::fail) or [`cancel`](Lease::cancel).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct NotBegun;

impl Lease {
    /// The lease of a dispatched request. Its endpoint is the one of the dispatch, also if that has
    /// left the pool meanwhile; its name is empty then.
    pub fn new(gateway: &Gateway, dispatch: Dispatch) -> Self {
        let endpoint = dispatch.endpoint_id;
        let name = gateway.scheduler().endpoint(endpoint).map(|endpoint| endpoint.name.clone());
        let silence = Silence::new(&dispatch);
        Self {
            dispatch,
            endpoint_id: endpoint,
            endpoint_name: name.unwrap_or_default(),
            reader: None,
            outcome: None,
            ended: false,
            started: false,
            silence,
            usage: ReportedUsage::default(),
        }
    }

    /// The endpoint responds with this status and `Content-Type`, which is empty if there is none.
    /// A second call starts anew, with the answer of the next endpoint.
    pub fn begin(&mut self, status: u16, content_type: &str) {
        if !self.ended {
            self.reader = Some(ResponseReader::new(status, content_type));
        }
    }

    /// Reads a chunk of the answer's body, decoded and unchanged, and reports its tokens to the
    /// scheduler.
    ///
    /// # Errors
    ///
    /// Before [`begin`](Self::begin).
    pub fn feed(
        &mut self,
        gateway: &mut Gateway,
        now: Instant,
        chunk: &[u8],
    ) -> Result<Progress, NotBegun> {
        let progress = self.read(chunk)?;
        Ok(self.report(gateway, now, progress))
    }

    /// The first half of [`feed`](Self::feed): reads the chunk.
    fn read(&mut self, chunk: &[u8]) -> Result<Progress, NotBegun> {
        if self.ended {
            return Ok(Progress::default());
        }
        let reader = self.reader.as_mut().ok_or(NotBegun)?;
        let progress = reader.feed(chunk);
        // Comments and empty events keep a connection open, but they are no tokens.
        if progress.first_token || progress.tokens > 0 || reader.body() != Body::Stream {
            self.silence.token();
        }
        Ok(progress)
    }

    /// The second half of [`feed`](Self::feed): reports what was read. Progress without content is
    /// no input. Returns the progress; it is empty if the request turns out to have ended.
    fn report(&mut self, gateway: &mut Gateway, now: Instant, progress: Progress) -> Progress {
        self.silence.end_wait(now);
        if progress != Progress::default() && !self.ended {
            let reported = self.report_progress(gateway, now, progress);
            self.check(reported);
        }
        if self.ended { Progress::default() } else { progress }
    }

    fn report_progress(
        &mut self,
        gateway: &mut Gateway,
        now: Instant,
        progress: Progress,
    ) -> Result<(), UnknownRequest> {
        let id = self.request_id();
        if let Some(answer) = progress.answer {
            gateway.scheduler_mut().handle_answer(now, id, answer)?;
        }
        match progress.tokens {
            0 if !progress.first_token => return Ok(()),
            0 => gateway.scheduler_mut().handle_first_token(now, id)?,
            tokens if self.started => gateway.grow(now, id, tokens)?,
            tokens => gateway.scheduler_mut().handle_tokens(now, id, tokens)?,
        }
        self.started = true;
        Ok(())
    }

    /// A chunk passes on its way to the client: [`feed`](Self::feed) after [`begin`](Self::begin).
    /// Without it, nothing is read, and the first chunk is the first token.
    pub fn pass(&mut self, gateway: &mut Gateway, now: Instant, chunk: &[u8]) -> Progress {
        if let Ok(progress) = self.feed(gateway, now, chunk) {
            return progress;
        }
        self.silence.end_wait(now);
        self.silence.token();
        self.handle_first_token(gateway, now);
        Progress::default()
    }

    /// The first token arrived. A second call changes nothing.
    pub fn handle_first_token(&mut self, gateway: &mut Gateway, now: Instant) {
        if !self.ended {
            let id = self.request_id();
            self.check(gateway.scheduler_mut().handle_first_token(now, id));
        }
    }

    /// The answer grew by `tokens`. Implies the first token.
    pub fn handle_tokens(&mut self, gateway: &mut Gateway, now: Instant, tokens: u32) {
        if !self.ended {
            let id = self.request_id();
            self.check(gateway.scheduler_mut().handle_tokens(now, id, tokens));
        }
    }

    /// The answer's body has ended: ends the request as the answer did, unless it has ended, and
    /// returns how the answer ended.
    ///
    /// # Errors
    ///
    /// Before [`begin`](Self::begin).
    pub fn finish(
        &mut self,
        gateway: &mut Gateway,
        now: Instant,
        close: CloseReason,
    ) -> Result<Outcome, NotBegun> {
        let is_first = self.outcome.is_none();
        let outcome = self.judge(close)?;
        if is_first {
            self.end(|id| settle(gateway.scheduler_mut(), now, id, &outcome).is_ok());
        }
        Ok(outcome)
    }

    /// [`finish`](Self::finish) after the host has dropped its gateway: nothing is settled.
    ///
    /// # Errors
    ///
    /// Before [`begin`](Self::begin).
    pub fn finish_without_gateway(&mut self, close: CloseReason) -> Result<Outcome, NotBegun> {
        let outcome = self.judge(close)?;
        self.ended = true;
        Ok(outcome)
    }

    /// The answer is complete. Without a `usage`, [`self.usage`](Self::usage) counts. Returns
    /// whether this call ended the request, and which numbers of the usage were dropped as
    /// implausible: they come from engines, so they never prevent the end of a request.
    pub fn complete(
        &mut self,
        gateway: &mut Gateway,
        now: Instant,
        usage: Option<ReportedUsage>,
    ) -> (bool, ImplausibleUsage) {
        if self.ended {
            return (false, ImplausibleUsage::default());
        }
        let (usage, implausible) = usage.unwrap_or(self.usage).split();
        let ended = self.end(|id| gateway.scheduler_mut().complete(now, id, usage).is_ok());
        (ended, implausible)
    }

    /// The request failed, through no fault of the client's. Returns whether this call ended it.
    pub fn fail(&mut self, gateway: &mut Gateway, now: Instant, failure: Failure) -> bool {
        self.end(|id| gateway.scheduler_mut().fail(now, id, failure).is_ok())
    }

    /// The client went away. Returns whether this call ended the request.
    pub fn cancel(&mut self, gateway: &mut Gateway, now: Instant) -> bool {
        self.end(|id| gateway.scheduler_mut().cancel(now, id))
    }

    /// The connection came to its end: [`finish`](Self::finish) after [`begin`](Self::begin).
    /// Without it, a clean end completes the request, a broken one or a timeout fails it, and a
    /// client that left cancels it. Does nothing after the end. For streams that are passed on, and
    /// for destructors.
    pub fn close(&mut self, gateway: &mut Gateway, now: Instant, close: CloseReason) {
        if self.ended || self.finish(gateway, now, close).is_ok() {
            return;
        }
        match close {
            CloseReason::Clean => _ = self.complete(gateway, now, None),
            CloseReason::Broken => _ = self.fail(gateway, now, Failure::Engine),
            CloseReason::TimedOut => _ = self.fail(gateway, now, Failure::Timeout),
            _ => _ = self.cancel(gateway, now),
        }
    }

    /// The request went to another endpoint, say to the first of [`Dispatch::alternatives`]. Counts
    /// as a failure of the first one.
    ///
    /// # Errors
    ///
    /// After the first token, after the end, and when there is no such endpoint.
    pub fn redirect(
        &mut self,
        gateway: &mut Gateway,
        now: Instant,
        endpoint: EndpointId,
        failure: Failure,
    ) -> Result<(), RedirectError> {
        let moved =
            gateway.scheduler_mut().redirect_after(now, self.request_id(), endpoint, failure);
        if let Err(error) = moved {
            self.ended |= matches!(error, RedirectError::UnknownRequest(_));
            return Err(error);
        }
        self.locate(gateway);
        Ok(())
    }

    /// Looks up where the request is, also after a [`Scheduler::redirect`] by its id. Returns the
    /// endpoint.
    pub fn locate(&mut self, gateway: &Gateway) -> EndpointId {
        let scheduler = gateway.scheduler();
        let found = if self.ended { None } else { scheduler.endpoint_of(self.request_id()) };
        if let Some(endpoint) = found.filter(|endpoint| *endpoint != self.endpoint_id) {
            self.endpoint_id = endpoint;
            let name = scheduler.endpoint(endpoint).map(|endpoint| endpoint.name.clone());
            self.endpoint_name = name.unwrap_or_default();
        }
        self.endpoint_id
    }

    /// How long the endpoint may send nothing.
    pub const fn silence(&mut self) -> &mut Silence {
        &mut self.silence
    }

    /// The decision that the lease comes from.
    pub const fn dispatch(&self) -> &Dispatch {
        &self.dispatch
    }

    /// The request's id.
    pub const fn request_id(&self) -> RequestId {
        self.dispatch.request_id
    }

    /// The endpoint as of the last [`locate`](Self::locate).
    pub const fn endpoint_id(&self) -> EndpointId {
        self.endpoint_id
    }

    /// The name of that endpoint.
    pub fn endpoint_name(&self) -> &str {
        &self.endpoint_name
    }

    /// Whether the request has ended, as of the lease's latest call.
    pub const fn has_ended(&self) -> bool {
        self.ended
    }

    /// How the answer ended, after [`finish`](Self::finish).
    pub const fn outcome(&self) -> Option<&Outcome> {
        self.outcome.as_ref()
    }

    /// Whether a stream has brought any payload but an error: from there on, the request is never
    /// retried. See [`ResponseReader::has_begun`].
    pub fn has_begun(&self) -> bool {
        self.reader.as_ref().is_some_and(ResponseReader::has_begun)
    }

    /// Whether the answer is read as a stream of events.
    pub fn is_stream(&self) -> bool {
        self.reader.as_ref().is_some_and(|reader| reader.body() == Body::Stream)
    }

    /// Tokens of the answer so far, and whether their number is exact.
    pub fn answer_tokens(&self) -> (u32, bool) {
        self.reader.as_ref().map_or((0, false), ResponseReader::tokens)
    }

    /// What the engine has reported so far that the request used.
    pub fn answer_usage(&self) -> Usage {
        self.reader.as_ref().map(ResponseReader::usage).unwrap_or_default()
    }

    /// Why the engine stopped, as far as it has reported that.
    pub fn finish_reason(&self) -> Option<FinishReason> {
        self.reader.as_ref().and_then(ResponseReader::finish_reason)
    }

    /// Whether [`feed`](Self::feed) and [`finish`](Self::finish) may follow.
    ///
    /// # Errors
    ///
    /// Before [`begin`](Self::begin).
    pub fn require_begun(&self) -> Result<(), NotBegun> {
        self.reader.as_ref().map(drop).ok_or(NotBegun)
    }

    /// The reader of the answer, after [`begin`](Self::begin).
    pub const fn reader(&self) -> Option<&ResponseReader> {
        self.reader.as_ref()
    }

    /// The outcome of the first end of the answer.
    fn judge(&mut self, close: CloseReason) -> Result<Outcome, NotBegun> {
        let reader = self.reader.as_ref().ok_or(NotBegun)?;
        Ok(*self.outcome.get_or_insert_with(|| reader.clone().finish(close)))
    }

    /// Ends the request unless it has ended. Returns whether this call did, which `end` returns.
    fn end(&mut self, end: impl FnOnce(RequestId) -> bool) -> bool {
        !core::mem::replace(&mut self.ended, true) && end(self.request_id())
    }

    /// Records that the request was ended by its id.
    fn check(&mut self, reported: Result<(), UnknownRequest>) {
        self.ended |= reported.is_err();
    }
}

/// Ends a request as its answer ended.
fn settle(
    scheduler: &mut Scheduler,
    now: Instant,
    id: RequestId,
    outcome: &Outcome,
) -> Result<(), UnknownRequest> {
    if let (AnswerEnd::Complete, Some(answer)) = (outcome.end, outcome.answer) {
        scheduler.handle_answer(now, id, answer)?;
    }
    match outcome.settlement() {
        Disposition::Complete(usage) => scheduler.complete(now, id, usage),
        Disposition::Fail(failure) => scheduler.fail(now, id, failure),
        _ if scheduler.cancel(now, id) => Ok(()),
        _ => Err(UnknownRequest(id)),
    }
}

impl core::fmt::Display for NotBegun {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("the answer has not begun: call begin first")
    }
}

impl core::error::Error for NotBegun {}
