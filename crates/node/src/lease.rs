//! Leases: the gateway crate's state machine, one call each.

use std::cell::RefCell;

use napi_derive::napi;
use slotwise_gateway::Lease;
use slotwise_gateway::lease::IdleLimit;
use slotwise_wire::response::{FinishReason, Progress};

use crate::answer::read_dispatch;
use crate::error::{Result, camel_case, closed, named, thrown};
use crate::number::{count, instant, millis, status, to_endpoint_id};
use crate::request::Bytes;
use crate::response::{Outcome, ReportedUsage, packed};
use crate::scheduler::{NativeScheduler, Shared};

/// A dispatched request. After the scheduler's `close`, calls have no effect.
#[napi]
#[derive(Debug)]
pub struct NativeLease {
    scheduler: Shared,
    lease: RefCell<Lease>,
}

/// What `complete` did.
#[napi(object, object_from_js = false)]
#[derive(Debug)]
pub struct Completed {
    /// Whether this call ended the request.
    pub ended: bool,
    /// Fields of the usage that count no tokens, and their values in `values`.
    pub implausible: Vec<String>,
    /// The values of these fields.
    pub values: Vec<f64>,
}

#[napi]
impl NativeLease {
    /// The lease of a dispatched request.
    #[napi(constructor)]
    pub fn new(
        scheduler: &NativeScheduler,
        request_id: f64,
        endpoint_id: f64,
        first_token_in: f64,
        streams: bool,
    ) -> Result<Self> {
        let dispatch = read_dispatch(request_id, endpoint_id, first_token_in, streams)?;
        let scheduler = scheduler.shared();
        let lease =
            scheduler.gateway(|gateway| Lease::new(gateway, dispatch)).ok_or_else(closed)?;
        Ok(Self { scheduler, lease: RefCell::new(lease) })
    }

    /// Whether the request has ended.
    #[napi(getter)]
    pub fn ended(&self) -> bool {
        self.lease.borrow().has_ended()
    }

    /// Looks up the endpoint of the request.
    #[napi]
    pub fn locate(&self) -> f64 {
        let mut lease = self.lease.borrow_mut();
        self.scheduler.gateway(|gateway| lease.locate(gateway));
        lease.endpoint_id().as_u64() as f64
    }

    /// Looks up the endpoint of the request, and returns its name.
    #[napi]
    pub fn locate_name(&self) -> String {
        let mut lease = self.lease.borrow_mut();
        self.scheduler.gateway(|gateway| lease.locate(gateway));
        lease.endpoint_name().into()
    }

    /// The first token arrived.
    #[napi]
    pub fn first_token(&self, now: f64) -> Result<()> {
        let now = instant("now", now)?;
        let mut lease = self.lease.borrow_mut();
        self.scheduler.gateway(|gateway| lease.handle_first_token(gateway, now));
        Ok(())
    }

    /// The answer grew.
    #[napi]
    pub fn tokens(&self, now: f64, tokens: f64) -> Result<()> {
        let (now, tokens) = (instant("now", now)?, count("tokens", tokens)?);
        let mut lease = self.lease.borrow_mut();
        self.scheduler.gateway(|gateway| lease.handle_tokens(gateway, now, tokens));
        Ok(())
    }

    /// The endpoint responds with this status and `Content-Type`.
    #[napi]
    pub fn begin(&self, status: f64, content_type: String) -> Result<()> {
        self.lease.borrow_mut().begin(self::status("status", status)?, &content_type);
        Ok(())
    }

    /// Reads a chunk of the answer's body: its progress, packed.
    #[napi]
    pub fn feed(
        &self,
        now: f64,
        #[napi(ts_arg_type = "Uint8Array")] chunk: Bytes<'_>,
    ) -> Result<f64> {
        let now = instant("now", now)?;
        let mut lease = self.lease.borrow_mut();
        let progress = self.scheduler.gateway(|gateway| lease.feed(gateway, now, chunk));
        Ok(packed(progress.unwrap_or_else(|| Ok(Progress::default())).map_err(thrown)?))
    }

    /// A chunk passes on its way to the client. Before `begin`, the first one is the first token.
    #[napi]
    pub fn pass(
        &self,
        now: f64,
        #[napi(ts_arg_type = "Uint8Array")] chunk: Bytes<'_>,
    ) -> Result<()> {
        let now = instant("now", now)?;
        let mut lease = self.lease.borrow_mut();
        self.scheduler.gateway(|gateway| lease.pass(gateway, now, chunk));
        Ok(())
    }

    /// The answer's body has ended.
    #[napi]
    pub fn finish(&self, now: f64, close: String) -> Result<Outcome> {
        let (now, close) = (instant("now", now)?, named("close", &close)?);
        let mut lease = self.lease.borrow_mut();
        let outcome = self.scheduler.gateway(|gateway| lease.finish(gateway, now, close));
        let outcome = outcome.unwrap_or_else(|| lease.finish_without_gateway(close));
        outcome.map(Outcome::from).map_err(thrown)
    }

    /// The answer is complete.
    #[napi]
    pub fn complete(
        &self,
        now: f64,
        prompt_tokens: Option<f64>,
        cached_tokens: Option<f64>,
        completion_tokens: Option<f64>,
    ) -> Result<Completed> {
        let now = instant("now", now)?;
        let mut usage = slotwise_gateway::lease::ReportedUsage::default();
        usage.prompt_tokens = prompt_tokens;
        usage.cached_tokens = cached_tokens;
        usage.completion_tokens = completion_tokens;
        let mut lease = self.lease.borrow_mut();
        let completed = self.scheduler.gateway(|gateway| lease.complete(gateway, now, Some(usage)));
        let (ended, implausible) = completed.unwrap_or_default();
        let (fields, values) = implausible.iter().map(|(name, it)| (camel_case(name), it)).unzip();
        Ok(Completed { ended, implausible: fields, values })
    }

    /// The request failed.
    #[napi]
    pub fn fail(&self, now: f64, failure: String) -> Result<bool> {
        let (now, failure) = (instant("now", now)?, named("failure", &failure)?);
        let mut lease = self.lease.borrow_mut();
        Ok(self.scheduler.gateway(|gateway| lease.fail(gateway, now, failure)).unwrap_or_default())
    }

    /// The client disconnected.
    #[napi]
    pub fn cancel(&self, now: f64) -> Result<bool> {
        let now = instant("now", now)?;
        let mut lease = self.lease.borrow_mut();
        Ok(self.scheduler.gateway(|gateway| lease.cancel(gateway, now)).unwrap_or_default())
    }

    /// The connection ended: `finish` after `begin`, and the end that fits before it.
    #[napi]
    pub fn close(&self, now: f64, close: String) -> Result<()> {
        let (now, close) = (instant("now", now)?, named("close", &close)?);
        let mut lease = self.lease.borrow_mut();
        self.scheduler.gateway(|gateway| lease.close(gateway, now, close));
        Ok(())
    }

    /// The request went to another endpoint.
    #[napi]
    pub fn redirect(&self, now: f64, endpoint_id: f64, failure: String) -> Result<()> {
        let (now, to) = (instant("now", now)?, to_endpoint_id("endpointId", endpoint_id)?);
        let failure = named("failure", &failure)?;
        let mut lease = self.lease.borrow_mut();
        let redirected =
            self.scheduler.gateway(|gateway| lease.redirect(gateway, now, to, failure));
        redirected.ok_or_else(closed)?.map_err(thrown)
    }

    // The answer so far.

    /// Whether a stream has brought any payload but an error.
    #[napi(getter)]
    pub fn begun(&self) -> bool {
        self.lease.borrow().has_begun()
    }

    /// Tokens of the answer so far.
    #[napi(getter)]
    pub fn answer_tokens(&self) -> f64 {
        self.lease.borrow().answer_tokens().0.into()
    }

    /// Whether their number is exact.
    #[napi(getter)]
    pub fn exact(&self) -> bool {
        self.lease.borrow().answer_tokens().1
    }

    /// What the engine has reported so far that the request used.
    #[napi(getter)]
    pub fn usage(&self) -> ReportedUsage {
        self.lease.borrow().answer_usage().into()
    }

    /// Why the engine stopped, as far as it has reported that.
    #[napi(getter, ts_return_type = "Outcome['finishReason']")]
    pub fn finish_reason(&self) -> Option<&'static str> {
        self.lease.borrow().finish_reason().map(FinishReason::as_str)
    }

    /// How the answer ended, after `finish`.
    #[napi(getter)]
    pub fn outcome(&self) -> Option<Outcome> {
        self.lease.borrow().outcome().copied().map(Outcome::from)
    }

    // How long the endpoint may send nothing.

    /// Sets the limit, in milliseconds; Infinity for none.
    #[napi]
    pub fn set_idle_limit(&self, limit: f64) {
        self.lease.borrow_mut().silence().set_limit(IdleLimit::from_secs(limit / 1e3));
    }

    /// The host waits for the endpoint: the milliseconds that are left. None without a limit.
    #[napi]
    pub fn start_wait(&self, now: f64) -> Result<Option<f64>> {
        let now = instant("now", now)?;
        let until = self.lease.borrow_mut().silence().wait(now);
        Ok(until.map(|until| millis(until.saturating_since(now))))
    }

    /// The host no longer waits.
    #[napi]
    pub fn end_wait(&self, now: f64) -> Result<()> {
        self.lease.borrow_mut().silence().end_wait(instant("now", now)?);
        Ok(())
    }

    /// The whole time that is allowed now, in milliseconds.
    #[napi(getter)]
    pub fn idle_limit(&self) -> f64 {
        self.lease.borrow_mut().silence().allowed().map_or(f64::INFINITY, millis)
    }

    /// Whether the first token has come.
    #[napi(getter)]
    pub fn started(&self) -> bool {
        self.lease.borrow_mut().silence().has_started()
    }
}
