//! One client request over several attempts: the gateway crate's exchange, one call each.
#![expect(clippy::too_many_arguments, reason = "the fields of a request")]

use std::cell::RefCell;

use napi::Either;
use napi::bindgen_prelude::Uint8Array;
use napi_derive::napi;
use slotwise::{EndpointId, Instant};
use slotwise_gateway::exchange::{Output, Reply};
use slotwise_gateway::lease::IdleLimit;
use slotwise_gateway::{Call, Exchange, Gateway, names};
use slotwise_wire::outcome::BodyShape;

use crate::answer::read_dispatch;
use crate::error::{Result, Unfit, closed, named, unreadable};
use crate::kv_connector::KvConnectorOptions;
use crate::number::{instant, millis, status, to_endpoint_id, to_request_id};
use crate::refusal::refused;
use crate::request::Bytes;
use crate::response::{Outcome, ReportedUsage};
use crate::scheduler::{NativeScheduler, Shared};

/// A request of a client.
#[napi]
#[derive(Debug)]
pub struct NativeExchange {
    scheduler: Shared,
    exchange: RefCell<Exchange>,
    /// The latest output that calls an endpoint.
    call: RefCell<Option<Call>>,
    /// An output that comes before those of the exchange.
    next: RefCell<Option<Output>>,
    /// The head of the latest answer, as the host has it: status, and names and values in turn.
    head: RefCell<(u16, Vec<String>)>,
}

/// What the host does next. The fields are those of its kind.
#[napi(object, object_from_js = false)]
#[expect(missing_debug_implementations, reason = "a typed array has none")]
pub struct ExchangeOutput {
    /// The kind.
    #[napi(
        ts_type = "'dispatch' | 'prefill' | 'send' | 'abort' | 'reply' | 'body' | 'end' | 'break'"
    )]
    pub kind: &'static str,
    /// Of `prefill` and `send`: the endpoint's name.
    pub url: Option<String>,
    /// Of `prefill`: the request.
    pub request_id: Option<f64>,
    /// Of `reply`: the HTTP status.
    pub status: Option<u16>,
    /// Of `reply`, `prefill` and `send`: names and values.
    #[napi(ts_type = "Array<[string, string]>")]
    pub headers: Option<Vec<Vec<String>>>,
    /// Of `reply`: whether an endpoint answers.
    pub is_answer: Option<bool>,
    /// Of `reply`: whether further outputs follow at once.
    pub more: Option<bool>,
    /// Of `body`, and of `reply` if some are known: bytes for the client.
    #[napi(ts_type = "ReturnType<Uint8Array['slice']>")]
    pub body: Option<Uint8Array>,
}

#[napi]
impl NativeExchange {
    /// Before the first decision, which is its first output: `poll` returns the later ones.
    /// Negative numbers of attempts count as one. The idle limit is in milliseconds, and Infinity
    /// for none.
    #[napi(constructor)]
    pub fn new(
        scheduler: &NativeScheduler,
        path: String,
        attempts: f64,
        exclude: Option<Vec<f64>>,
        #[napi(ts_arg_type = "KvConnectorOptions | null")] connector: Option<KvConnectorOptions>,
        answers_as: Option<String>,
        drop_usage: Option<bool>,
        idle_limit: Option<f64>,
    ) -> Result<Self> {
        let exclude = exclude.unwrap_or_default().into_iter();
        let exclude: std::result::Result<Vec<_>, _> =
            exclude.map(|endpoint| to_endpoint_id("exclude", endpoint)).collect();
        let exchange = Exchange::new(BodyShape::of_path(&path));
        // Beyond its range, the cast returns the nearest bound.
        let exchange = exchange.attempts(attempts as usize).exclude(&exclude?);
        let exchange = exchange.drop_usage(drop_usage.unwrap_or(false));
        let mut exchange = connector.unwrap_or_default().apply(exchange)?;
        if let Some(limit) = idle_limit {
            exchange = exchange.idle_limit(IdleLimit::from_secs(limit / 1e3));
        }
        if let Some(model) = answers_as {
            exchange = exchange.answers_as(&model);
        }
        let first = exchange.poll();
        debug_assert_eq!(first, Some(Output::Dispatch), "nothing precedes the decision");
        Ok(Self {
            scheduler: scheduler.shared(),
            exchange: RefCell::new(exchange),
            call: RefCell::default(),
            next: RefCell::default(),
            head: RefCell::default(),
        })
    }

    /// The next output.
    #[napi]
    pub fn poll(&self) -> Option<ExchangeOutput> {
        let output = self.next()?;
        if let Output::Prefill(call) | Output::Send(call) = &output {
            *self.call.borrow_mut() = Some(call.clone());
        }
        Some(match output {
            Output::Reply(reply) => {
                let (body, more) = self.after_reply();
                self.begin_reply(reply, body, more)
            }
            output => output.into(),
        })
    }

    /// The body for the endpoint of the latest `prefill` or `send`, from the client's.
    #[napi(ts_return_type = "ReturnType<Uint8Array['slice']>")]
    pub fn call_body(
        &self,
        path: String,
        #[napi(ts_arg_type = "Uint8Array")] body: Bytes<'_>,
    ) -> Result<Uint8Array> {
        let api = names::api_at(&path).map_err(|error| Unfit::unknown("path", error))?;
        let call = self.call.borrow();
        let body =
            call.as_ref().map(|call| call.body(api, body)).transpose().map_err(unreadable)?;
        Ok(body.unwrap_or_default().into())
    }

    /// The prefilling endpoint has answered.
    #[napi]
    pub fn handle_prefilled(
        &self,
        now: f64,
        request_id: f64,
        status: f64,
        #[napi(ts_arg_type = "Uint8Array")] body: Bytes<'_>,
    ) -> Result<()> {
        let (id, status) = (to_request_id(request_id)?, self::status("status", status)?);
        self.input(now, |exchange, gateway, now| {
            exchange.handle_prefilled(gateway, now, id, status, body);
        })
    }

    /// The prefilling endpoint returned no whole answer.
    #[napi]
    pub fn handle_prefill_failure(&self, now: f64, request_id: f64, failure: String) -> Result<()> {
        let (id, failure) = (to_request_id(request_id)?, named("failure", &failure)?);
        self.input(now, |exchange, gateway, now| {
            exchange.handle_prefill_failure(gateway, now, id, failure);
        })
    }

    /// The request was dispatched. Returns the next output, or true if the host sends what the
    /// client has sent to the endpoint of the dispatch: an object costs more.
    #[napi(ts_return_type = "boolean | ExchangeOutput")]
    pub fn handle_dispatch(
        &self,
        now: f64,
        request_id: f64,
        endpoint_id: f64,
        first_token_in: f64,
        streams: bool,
    ) -> Result<Either<bool, ExchangeOutput>> {
        let dispatch = read_dispatch(request_id, endpoint_id, first_token_in, streams)?;
        self.input(now, |exchange, gateway, now| {
            exchange.handle_pick(gateway, now, Ok(dispatch));
        })?;
        match self.next() {
            Some(Output::Send(call)) if self.is_plain(&call) => {
                *self.call.borrow_mut() = Some(call);
                return Ok(Either::A(true));
            }
            other => *self.next.borrow_mut() = other,
        }
        Ok(self.poll().map_or(Either::A(false), Either::B))
    }

    /// The request is refused for the reason of this code.
    #[napi]
    pub fn handle_refusal(
        &self,
        now: f64,
        reason: String,
        evicted: bool,
        retry_after: Option<f64>,
        message: Option<String>,
    ) -> Result<()> {
        let mut refusal = refused(&reason, evicted, retry_after)?;
        refusal.message = message.as_deref();
        self.input(now, |exchange, gateway, now| {
            exchange.handle_refusal(gateway, now, &refusal);
        })
    }

    /// The endpoint returned no headers.
    #[napi]
    pub fn handle_unreachable(&self, now: f64, failure: String) -> Result<()> {
        let failure = named("failure", &failure)?;
        self.input(now, |exchange, gateway, now| {
            exchange.handle_unreachable(gateway, now, failure);
        })
    }

    /// The endpoint responds with this status and these headers: names and values in turn. The host
    /// has waited for them since this time, unless it has called `startWait`.
    #[napi]
    pub fn handle_head(
        &self,
        since: Option<f64>,
        now: f64,
        status: f64,
        headers: Vec<String>,
    ) -> Result<()> {
        let since = since.map(|since| instant("since", since)).transpose()?;
        let (now, status) = (instant("now", now)?, self::status("status", status)?);
        let mut exchange = self.exchange.borrow_mut();
        if let Some(since) = since {
            exchange.wait(since);
            exchange.end_wait(now);
        }
        exchange.handle_head(status, headers.chunks_exact(2).map(|pair| (&pair[0], &pair[1])));
        *self.head.borrow_mut() = (status, headers);
        Ok(())
    }

    /// A chunk of the response's body, for which the host has waited since this time, unless it has
    /// called `startWait`. Returns the next output, or what costs less than an object:
    ///
    /// | number | the host |
    /// |---|---|
    /// | 0 | waits for the next chunk |
    /// | 1 | sends the chunk to the client itself |
    /// | 2 | begins the reply with the status and the headers that it passed in, and this chunk |
    #[napi(ts_return_type = "0 | 1 | 2 | ExchangeOutput")]
    pub fn handle_chunk(
        &self,
        since: Option<f64>,
        now: f64,
        #[napi(ts_arg_type = "Uint8Array")] chunk: Bytes<'_>,
    ) -> Result<Either<u32, ExchangeOutput>> {
        let since = since.map(|since| instant("since", since)).transpose()?;
        let is_passed_on = self.input(now, |exchange, gateway, now| {
            if let Some(since) = since {
                exchange.wait(since);
            }
            exchange.handle_chunk(gateway, now, chunk).is_passed_on()
        })?;
        if is_passed_on {
            return Ok(Either::A(1));
        }
        match self.next() {
            Some(Output::Reply(reply)) => {
                let (body, more) = self.after_reply();
                if !more && body.as_deref() == Some(chunk) && self.is_head(&reply) {
                    return Ok(Either::A(2));
                }
                return Ok(Either::B(self.begin_reply(reply, body, more)));
            }
            other => *self.next.borrow_mut() = other,
        }
        Ok(self.poll().map_or(Either::A(0), Either::B))
    }

    /// The connection to the endpoint ended. Returns whether its answer is whole and the reply ends
    /// with it: no output follows then.
    #[napi]
    pub fn handle_close(&self, now: f64, close: String) -> Result<bool> {
        let close = named("close", &close)?;
        self.input(now, |exchange, gateway, now| {
            exchange.handle_close(gateway, now, close);
        })?;
        if self.is_whole() {
            match self.next() {
                Some(Output::End) => return Ok(true),
                other => *self.next.borrow_mut() = other,
            }
        }
        Ok(false)
    }

    /// Whether the latest answer is whole.
    #[napi(getter)]
    pub fn is_whole(&self) -> bool {
        self.exchange.borrow().outcome().is_some_and(|outcome| outcome.is_complete())
    }

    /// The client disconnected.
    #[napi]
    pub fn handle_client_disconnected(&self, now: f64) -> Result<()> {
        self.next.take();
        self.input(now, Exchange::handle_client_disconnected)
    }

    /// Waits for the endpoint from now on: the longest time in milliseconds.
    #[napi]
    pub fn start_wait(&self, now: f64) -> Result<Option<f64>> {
        let now = instant("now", now)?;
        let until = self.exchange.borrow_mut().wait(now);
        Ok(until.map(|until| millis(until.saturating_since(now))))
    }

    /// Waits no longer.
    #[napi]
    pub fn end_wait(&self, now: f64) -> Result<()> {
        self.exchange.borrow_mut().end_wait(instant("now", now)?);
        Ok(())
    }

    /// The current idle limit in milliseconds.
    #[napi(getter)]
    pub fn idle_limit(&self) -> f64 {
        let mut exchange = self.exchange.borrow_mut();
        let limit = exchange.lease_mut().and_then(|lease| lease.silence().allowed());
        limit.map_or(f64::INFINITY, millis)
    }

    /// Whether the first token has come.
    #[napi(getter)]
    pub fn started(&self) -> bool {
        let mut exchange = self.exchange.borrow_mut();
        exchange.lease_mut().is_some_and(|lease| lease.silence().has_started())
    }

    /// Bytes of a prefilling endpoint's answer that are read at most.
    #[napi(getter)]
    pub fn prefill_answer(&self) -> f64 {
        Exchange::PREFILL_ANSWER as f64
    }

    /// Whether an endpoint is asked, or has answered.
    #[napi(getter)]
    pub fn has_lease(&self) -> bool {
        self.exchange.borrow().lease().is_some()
    }

    /// Endpoints to exclude from the next decision.
    #[napi(getter)]
    pub fn excluded(&self) -> Vec<f64> {
        let exchange = self.exchange.borrow();
        exchange.excluded().iter().copied().map(EndpointId::as_u64).map(|id| id as f64).collect()
    }

    /// Whether no input has an effect any more.
    #[napi(getter)]
    pub fn ended(&self) -> bool {
        self.exchange.borrow().has_ended()
    }

    /// The usage of the answer so far, with the counted tokens if the engine has reported none.
    /// Null without an answer of an engine.
    #[napi(getter)]
    pub fn usage(&self) -> Option<ReportedUsage> {
        let exchange = self.exchange.borrow();
        let lease = exchange.lease()?;
        let mut usage = lease.answer_usage();
        usage.completion_tokens.get_or_insert_with(|| lease.answer_tokens().0);
        Some(usage.into())
    }

    /// How the latest answer ended.
    #[napi(getter)]
    pub fn outcome(&self) -> Option<Outcome> {
        self.exchange.borrow().outcome().copied().map(Outcome::from)
    }
}

/// The names of the headers of an engine's answer that the client gets.
#[napi]
pub fn reply_header_names() -> Vec<&'static str> {
    Reply::PASSED_ON.to_vec()
}

fn pairs(headers: Vec<(&'static str, String)>) -> Vec<Vec<String>> {
    headers.into_iter().map(|(name, value)| vec![name.into(), value]).collect()
}

impl NativeExchange {
    /// Whether a call goes to the endpoint of the dispatch, without headers of its own.
    fn is_plain(&self, call: &Call) -> bool {
        let exchange = self.exchange.borrow();
        call.headers.is_empty() && exchange.lease().is_some_and(|it| it.endpoint_name() == call.url)
    }

    /// Whether a reply has the head of the latest answer, as the host passed it in.
    fn is_head(&self, reply: &Reply) -> bool {
        let (status, headers) = &*self.head.borrow();
        let headers = headers.chunks_exact(2).map(|pair| (&*pair[0], &*pair[1]));
        let same = |(name, value): &(&'static str, String), (given, of)| {
            name.eq_ignore_ascii_case(given) && value == of
        };
        reply.status == *status
            && reply.headers.len() == headers.len()
            && reply.headers.iter().zip(headers).all(|(ours, given)| same(ours, given))
    }

    /// The bytes that follow a reply at once, and whether further outputs do.
    fn after_reply(&self) -> (Option<Vec<u8>>, bool) {
        let mut next = self.next();
        let body = match next {
            Some(Output::Body(body)) => {
                next = self.next();
                Some(body)
            }
            _ => None,
        };
        let more = next.is_some();
        *self.next.borrow_mut() = next;
        (body, more)
    }

    fn begin_reply(&self, reply: Reply, body: Option<Vec<u8>>, more: bool) -> ExchangeOutput {
        ExchangeOutput {
            is_answer: Some(self.has_lease()),
            more: Some(more),
            body: body.map(Uint8Array::from),
            ..Output::Reply(reply).into()
        }
    }

    fn next(&self) -> Option<Output> {
        self.next.take().or_else(|| self.exchange.borrow_mut().poll())
    }

    fn input<T>(
        &self,
        now: f64,
        apply: impl FnOnce(&mut Exchange, &mut Gateway, Instant) -> T,
    ) -> Result<T> {
        let now = instant("now", now)?;
        let mut exchange = self.exchange.borrow_mut();
        self.scheduler.gateway(|gateway| apply(&mut exchange, gateway, now)).ok_or_else(closed)
    }
}

impl From<Output> for ExchangeOutput {
    fn from(output: Output) -> Self {
        let plain = |kind| Self {
            kind,
            url: None,
            request_id: None,
            status: None,
            headers: None,
            is_answer: None,
            more: None,
            body: None,
        };
        match output {
            Output::Dispatch => plain("dispatch"),
            Output::Prefill(call) => Self {
                request_id: Some(call.request_id.as_u64() as f64),
                url: Some(call.url),
                headers: Some(pairs(call.headers)),
                ..plain("prefill")
            },
            Output::Send(call) => {
                Self { url: Some(call.url), headers: Some(pairs(call.headers)), ..plain("send") }
            }
            Output::Abort => plain("abort"),
            Output::Reply(reply) => Self {
                status: Some(reply.status),
                headers: Some(pairs(reply.headers)),
                ..plain("reply")
            },
            Output::Body(body) => Self { body: Some(body.into()), ..plain("body") },
            Output::End => plain("end"),
            _ => plain("break"),
        }
    }
}
