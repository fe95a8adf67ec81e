//! The decisions about a request: [`Dispatch`], [`Rejected`] and [`Evicted`].

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use crate::endpoint::EndpointId;
use crate::request::RequestId;
use crate::time::Seconds;

/// The request is dispatched to an endpoint, whose account already includes it.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[must_use = "the request is reserved: complete, fail or cancel it"]
#[non_exhaustive]
pub struct Dispatch {
    /// The request's id.
    pub request_id: RequestId,
    /// The chosen endpoint.
    pub endpoint_id: EndpointId,
    /// Fallbacks, best first. See [`Scheduler::redirect`](crate::Scheduler::redirect).
    pub alternatives: Vec<EndpointId>,
    /// Tokens of the prompt: counted, or estimated from text.
    pub prompt_tokens: u32,
    /// Prompt tokens that the endpoint is expected to find in its cache.
    pub cached_tokens: u32,
    /// The most prompt tokens that any endpoint of the pool is expected to find.
    pub best_cached_tokens: u32,
    /// The cost of the endpoint for this request.
    pub cost: Seconds,
    /// The weighted sum of the endpoint's scores, if a scheduling profile chose it.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub score: Option<f64>,
    /// Predicted time to the first token: waiting, loading an adapter and the prompt's own prefill.
    /// An engine's response headers may come long before it: see [`idle_limit`](Self::idle_limit).
    #[cfg_attr(feature = "serde", serde(skip))]
    pub first_token_in: Seconds,
    /// Predicted time to first token (TTFT) from the dispatch on: as
    /// [`first_token_in`](Self::first_token_in), with the overheads of the engine's steps.
    #[cfg_attr(feature = "serde", serde(skip))]
    pub predicted_ttft: Seconds,
    /// Predicted mean time per output token (TPOT) after the first, learned from answers.
    #[cfg_attr(feature = "serde", serde(skip))]
    pub predicted_tpot: Seconds,
    /// The time that the request spent in the queue.
    #[cfg_attr(feature = "serde", serde(with = "crate::time::as_seconds"))]
    pub queue_time: Duration,
    /// Whether the answer comes as a stream: [`Request::streams`](crate::Request::streams).
    #[cfg_attr(feature = "serde", serde(skip))]
    pub streams: bool,
    /// The endpoint that computes the prompt first, if that pays. See
    /// [`Config::disaggregation`](crate::Config::disaggregation).
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub prefill: Option<Leg>,
    /// The endpoint that encodes the media first.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub encode: Option<Leg>,
}

impl Dispatch {
    /// A dispatch with its ids only; the other fields are zero.
    ///
    /// ```
    /// use slotwise::{Dispatch, EndpointId, RequestId};
    ///
    /// let dispatch = Dispatch::new(RequestId::from_u64(7), EndpointId::from_u64(0));
    /// assert_eq!((dispatch.prompt_tokens, dispatch.alternatives.len()), (0, 0));
    /// ```
    pub const fn new(request: RequestId, endpoint: EndpointId) -> Self {
        Self {
            request_id: request,
            endpoint_id: endpoint,
            alternatives: Vec::new(),
            prompt_tokens: 0,
            cached_tokens: 0,
            best_cached_tokens: 0,
            cost: Seconds::ZERO,
            score: None,
            first_token_in: Seconds::ZERO,
            predicted_ttft: Seconds::ZERO,
            predicted_tpot: Seconds::ZERO,
            queue_time: Duration::ZERO,
            streams: true,
            prefill: None,
            encode: None,
        }
    }

    /// The longest pause in the answer before a gateway should abandon it.
    ///
    /// | pause | limit |
    /// |---|---|
    /// | before the first token of a stream | 30 s, or ten times its prediction |
    /// | before a whole answer, which brings its headers | 600 s, or the same |
    /// | between tokens | 60 s |
    ///
    /// Of two limits, the longer one counts. The prediction is
    /// [`first_token_in`](Self::first_token_in).
    ///
    /// Some engines hang without closing their streams, and response headers may precede the
    /// prefill. So neither headers nor an open connection prove progress. End such a request with
    /// [`Failure::Timeout`](crate::Failure::Timeout), and retry it on another endpoint if its
    /// client has received nothing.
    ///
    /// ```
    /// use slotwise::{Dispatch, EndpointId, RequestId, Seconds};
    ///
    /// let mut dispatch = Dispatch::new(RequestId::from_u64(7), EndpointId::from_u64(0));
    /// assert_eq!(dispatch.idle_limit(false).as_secs(), 30);
    /// dispatch.first_token_in = Seconds::new(9.0);
    /// assert_eq!(dispatch.idle_limit(false).as_secs(), 90);
    /// assert_eq!(dispatch.idle_limit(true).as_secs(), 60);
    /// dispatch.streams = false;
    /// assert_eq!(dispatch.idle_limit(false).as_secs(), 600);
    /// ```
    pub fn idle_limit(&self, has_token: bool) -> Duration {
        if has_token {
            return BETWEEN_TOKENS;
        }
        let least = if self.streams { FIRST_TOKEN } else { WHOLE_ANSWER };
        (self.first_token_in * 10.0).to_duration().max(least)
    }
}

/// The shortest limits before the first token. Client libraries give up on a whole answer after
/// the same time by default.
const FIRST_TOKEN: Duration = Duration::from_secs(30);
const WHOLE_ANSWER: Duration = Duration::from_secs(600);
const BETWEEN_TOKENS: Duration = Duration::from_secs(60);

/// A stage of a request on an endpoint of its own, which is reserved for it.
///
/// The reservation ends with [`complete_leg`](crate::Scheduler::complete_leg) or
/// [`fail_leg`](crate::Scheduler::fail_leg), with the first token of the answer, or with the end of
/// the request.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Leg {
    /// The endpoint.
    pub endpoint_id: EndpointId,
    /// Prompt tokens that the endpoint is expected to find in its cache.
    pub cached_tokens: u32,
    /// The cost of the endpoint for this stage.
    pub cost: Seconds,
    /// Predicted time to the end of the stage.
    #[cfg_attr(feature = "serde", serde(skip))]
    pub done_in: Seconds,
}

/// A stage that can have an endpoint of its own.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum Stage {
    /// Encoding of images, sound and video.
    Encode,
    /// Computation of the prompt.
    Prefill,
}

impl Stage {
    /// All variants.
    pub const ALL: [Self; 2] = [Self::Encode, Self::Prefill];

    /// The name in other languages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Encode => "encode",
            Self::Prefill => "prefill",
        }
    }

    /// The variant of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|stage| stage.as_str() == name)
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The request was rejected, and nothing was reserved.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Rejected {
    /// Why.
    pub reason: RejectReason,
    /// When to retry, if a time is known. Rejections for lack of capacity get successive times, so
    /// that rejected requests do not return as one wave.
    #[cfg_attr(feature = "serde", serde(with = "crate::time::as_seconds::option"))]
    pub retry_after: Option<Duration>,
}

impl Rejected {
    /// The pool has no endpoint that accepts requests, for an unknown time.
    pub(crate) const NO_ENDPOINTS: Self =
        Self { reason: RejectReason::NoEndpoints, retry_after: Some(NO_ENDPOINTS_RETRY) };

    /// The recommended HTTP status.
    pub const fn http_status(&self) -> u16 {
        self.reason.http_status()
    }

    /// The message with another sentence in place of the reason, such as the one of
    /// [`Scheduler::rejection_message`](crate::Scheduler::rejection_message).
    ///
    /// ```
    /// use slotwise::{Instant, Request, Scheduler};
    ///
    /// let mut scheduler = Scheduler::default();
    /// let rejected = scheduler.pick(Instant::ORIGIN, &Request::new("m")).unwrap_err();
    /// let message = rejected.message("the pool is empty");
    /// assert_eq!(message, "rejected: the pool is empty; retry after 5.000 s");
    /// ```
    pub fn message(&self, sentence: impl fmt::Display) -> String {
        let retry =
            self.retry_after.map(|after| format!("; retry after {:.3} s", after.as_secs_f64()));
        format!("rejected: {sentence}{}", retry.unwrap_or_default())
    }
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message(self.reason))
    }
}

impl core::error::Error for Rejected {}

/// Why a request was rejected.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum RejectReason {
    /// No endpoint of the pool accepts requests.
    NoEndpoints,
    /// No endpoint serves the model, the role and the labels that the request asks for.
    NotServed,
    /// The prompt and the expected answer exceed every endpoint's KV cache.
    TooLarge,
    /// No endpoint could send the first token before the deadline.
    DeadlineUnreachable,
    /// Every endpoint is at its limit of requests in flight, or the scheduler is.
    Saturated,
    /// The request is sheddable and the pool is busy.
    Shed,
    /// The queue is full, and holds nothing of lower priority.
    QueueFull,
    /// The request continues an answer whose endpoint has left the pool or is draining. The client
    /// must send the whole conversation.
    ThreadNotFound,
    /// The name of the model or the adapter is longer than
    /// [`Request::MAX_NAME_BYTES`](crate::Request::MAX_NAME_BYTES).
    NameTooLong,
}

impl RejectReason {
    /// The recommended HTTP status: 503 without endpoints, 404 if not served, 413 if too large, 400
    /// for a name that is too long, and 429 if a retry may succeed.
    pub const fn http_status(self) -> u16 {
        match self {
            Self::NoEndpoints => 503,
            Self::NotServed | Self::ThreadNotFound => 404,
            Self::TooLarge => 413,
            Self::NameTooLong => 400,
            Self::DeadlineUnreachable | Self::Saturated | Self::Shed | Self::QueueFull => 429,
        }
    }

    /// The stable code, for logs and other languages; messages may change.
    pub const fn code(self) -> &'static str {
        match self {
            Self::NoEndpoints => "no_endpoints",
            Self::NotServed => "not_served",
            Self::TooLarge => "too_large",
            Self::DeadlineUnreachable => "deadline_unreachable",
            Self::Saturated => "saturated",
            Self::Shed => "shed",
            Self::QueueFull => "queue_full",
            Self::ThreadNotFound => "thread_not_found",
            Self::NameTooLong => "name_too_long",
        }
    }
}

impl fmt::Display for RejectReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoEndpoints => "no endpoint accepts requests",
            Self::NotServed => "no endpoint serves this model, role and labels",
            Self::TooLarge => "the prompt and the expected output exceed every endpoint's KV cache",
            Self::DeadlineUnreachable => {
                "no endpoint is expected to return the first token before the deadline"
            }
            Self::Saturated => "all endpoints are at their limit of requests in flight",
            Self::Shed => "the pool is saturated, and requests of negative priority are shed",
            Self::QueueFull => "the queue is full: its limit of waiting requests or bytes is reached",
            Self::ThreadNotFound => "the endpoint that holds the earlier turns no longer takes requests: send the whole conversation",
            Self::NameTooLong => "the name of the model or adapter exceeds 1,024 bytes",
        })
    }
}

/// The outcome of a request that was [submitted](crate::Scheduler::submit).
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Decision {
    /// The request was dispatched.
    Dispatch(Dispatch),
    /// The request was evicted from the queue.
    Evict(Evicted),
}

impl Decision {
    /// The id of the request.
    pub const fn request_id(&self) -> RequestId {
        match self {
            Self::Dispatch(dispatch) => dispatch.request_id,
            Self::Evict(evicted) => evicted.request_id,
        }
    }
}

/// A queued request was evicted, and nothing is reserved.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Evicted {
    /// The request.
    pub request_id: RequestId,
    /// Why.
    pub reason: EvictReason,
    /// When to retry, if a time is known: see [`Rejected::retry_after`].
    #[cfg_attr(feature = "serde", serde(with = "crate::time::as_seconds::option"))]
    pub retry_after: Option<Duration>,
    /// The time that the request spent in the queue.
    #[cfg_attr(feature = "serde", serde(with = "crate::time::as_seconds"))]
    pub queue_time: Duration,
}

/// Why a queued request was evicted.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum EvictReason {
    /// Its TTL expired in the queue.
    TtlExpired,
    /// Its time in an empty pool ran out: see `FlowConfig::no_endpoint_ttl`.
    NoEndpoints,
    /// No endpoint can return the first token before the deadline any more.
    DeadlineUnreachable,
    /// A request of higher priority, or of a flow that has received less, took its place.
    Displaced,
    /// The prompt and the expected answer exceed every endpoint's KV cache.
    TooLarge,
    /// The endpoint that gave the answer which the request continues has left the pool or is
    /// draining.
    ThreadNotFound,
}

impl EvictReason {
    /// The recommended HTTP status.
    pub const fn http_status(self) -> u16 {
        match self {
            Self::NoEndpoints => 503,
            Self::TooLarge => 413,
            Self::ThreadNotFound => 404,
            Self::TtlExpired | Self::DeadlineUnreachable | Self::Displaced => 429,
        }
    }

    /// The stable code, for logs and other languages; messages may change.
    pub const fn code(self) -> &'static str {
        match self {
            Self::TtlExpired => "ttl_expired",
            Self::NoEndpoints => "no_endpoints",
            Self::DeadlineUnreachable => "deadline_unreachable",
            Self::Displaced => "displaced",
            Self::TooLarge => "too_large",
            Self::ThreadNotFound => "thread_not_found",
        }
    }
}

impl fmt::Display for EvictReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TtlExpired => "the request's TTL expired while it waited",
            Self::NoEndpoints => "no endpoint accepted requests before the request's TTL expired",
            Self::DeadlineUnreachable => {
                "no endpoint is expected to return the first token before the deadline any more"
            }
            Self::Displaced => "the queue is full, and a request that goes first has displaced this one",
            Self::ThreadNotFound => "the endpoint that holds the earlier turns no longer takes requests: send the whole conversation",
            Self::TooLarge => "the prompt and the expected output exceed every endpoint's KV cache",
        })
    }
}

impl fmt::Display for Evicted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (queued, reason) = (self.queue_time.as_secs_f64(), self.reason);
        write!(f, "evicted after {queued:.3} s ({}): {reason}", reason.code())
    }
}

/// The retry time while the pool has no endpoint, if no better one is known.
pub(crate) const NO_ENDPOINTS_RETRY: Duration = Duration::from_secs(5);
