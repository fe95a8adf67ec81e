//! The answers to a request: [`Dispatch`] or [`Rejected`].

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use crate::endpoint::EndpointId;
use crate::request::RequestId;
use crate::time::Seconds;

/// The request goes now, and to this endpoint. Its load is already counted there.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[must_use = "the request is reserved: complete, fail or cancel it"]
#[non_exhaustive]
pub struct Dispatch {
    /// The request's id.
    pub request_id: RequestId,
    /// Where it goes.
    pub endpoint_id: EndpointId,
    /// Where it could go instead, best first. See [`Scheduler::redirect`](crate::Scheduler::redirect).
    pub alternatives: Vec<EndpointId>,
    /// Tokens of the prompt: counted, or estimated from text.
    pub prompt_tokens: u32,
    /// Prompt tokens that the endpoint is expected to find in its cache.
    pub cached_tokens: u32,
    /// The most that any endpoint of the pool is expected to find.
    pub best_cached_tokens: u32,
    /// What the endpoint costs this request.
    pub cost: Seconds,
    /// Predicted time to the first token: waiting, loading an adapter and the prompt's own prefill. An
    /// engine's response headers may come long before it. See [`idle_limit`](crate::idle_limit).
    #[cfg_attr(feature = "serde", serde(skip))]
    pub first_token_in: Seconds,
    /// How long the request waited for the decision.
    #[cfg_attr(feature = "serde", serde(with = "crate::time::as_seconds"))]
    pub queue_time: Duration,
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
            first_token_in: Seconds::ZERO,
            queue_time: Duration::ZERO,
        }
    }
}

/// The request does not go. Nothing was reserved.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Rejected {
    /// Why.
    pub reason: RejectReason,
    /// When to retry, if that is known. Refusals for lack of room get successive times, so that a wave of
    /// refused requests does not come back as one.
    #[cfg_attr(feature = "serde", serde(with = "crate::time::as_seconds::option"))]
    pub retry_after: Option<Duration>,
}

impl Rejected {
    /// When the pool has no endpoint that takes requests, and nothing says when it will have one.
    pub(crate) const NO_ENDPOINTS: Self =
        Self { reason: RejectReason::NoEndpoints, retry_after: Some(NO_ENDPOINTS_RETRY) };

    /// The recommended HTTP status.
    pub const fn http_status(&self) -> u16 {
        self.reason.http_status()
    }

    /// Its message with another sentence in the place of the reason's own, such as that of
    /// [`Scheduler::rejection_message`](crate::Scheduler::rejection_message).
    ///
    /// ```
    /// use slotwise::{Instant, Request, Scheduler};
    ///
    /// let mut scheduler = Scheduler::default();
    /// let rejected = scheduler.pick(Instant::ORIGIN, &Request::new("m")).expect_err("no endpoints");
    /// assert_eq!(rejected.message("the pool is empty"), "rejected: the pool is empty; retry after 5.000 s");
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

/// Why a request does not go.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum RejectReason {
    /// The pool has no endpoint that takes requests.
    NoEndpoints,
    /// No endpoint serves the model, the role and the labels that the request asks for.
    NotServed,
    /// The prompt and the expected answer fit into no endpoint's KV cache.
    TooLarge,
    /// No endpoint could send the first token before the deadline.
    DeadlineUnreachable,
    /// Every endpoint is at its limit of requests in flight, or the scheduler is.
    Saturated,
    /// The request is sheddable and the pool is busy.
    Shed,
    /// The queue is full, and holds nothing that matters less.
    QueueFull,
    /// The request goes on from an answer whose endpoint has left the pool, or drains: the client sends the whole
    /// conversation.
    ThreadNotFound,
    /// The model or the adapter has a name of more than [`Request::MAX_NAME_BYTES`](crate::Request::MAX_NAME_BYTES).
    NameTooLong,
}

impl RejectReason {
    /// The recommended HTTP status: 503 without endpoints, 404 for what is not served, 413 for what never fits, 400 for a name that is too long, and
    /// 429 for what may fit later.
    pub const fn http_status(self) -> u16 {
        match self {
            Self::NoEndpoints => 503,
            Self::NotServed | Self::ThreadNotFound => 404,
            Self::TooLarge => 413,
            Self::NameTooLong => 400,
            Self::DeadlineUnreachable | Self::Saturated | Self::Shed | Self::QueueFull => 429,
        }
    }

    /// Its name in other languages and in logs; it stays the same when the message changes.
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

/// What became of a request that was [submitted](crate::Scheduler::submit).
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
    /// The request that it is about.
    pub const fn request(&self) -> RequestId {
        match self {
            Self::Dispatch(dispatch) => dispatch.request_id,
            Self::Evict(evicted) => evicted.request_id,
        }
    }
}

/// A request that waited does not go. Nothing is reserved.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Evicted {
    /// The request.
    pub request_id: RequestId,
    /// Why.
    pub reason: EvictReason,
    /// When to retry, if that is known: see [`Rejected::retry_after`].
    #[cfg_attr(feature = "serde", serde(with = "crate::time::as_seconds::option"))]
    pub retry_after: Option<Duration>,
    /// How long it waited.
    #[cfg_attr(feature = "serde", serde(with = "crate::time::as_seconds"))]
    pub queue_time: Duration,
}

/// Why a request that waited does not go.
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
    /// Its TTL expired in the queue, and the pool is empty.
    NoEndpoints,
    /// No endpoint could send the first token before the deadline any more.
    DeadlineUnreachable,
    /// Something more important, or of a flow that has had less, has its place.
    Displaced,
    /// The prompt and the expected answer fit into no endpoint's KV cache.
    TooLarge,
    /// The endpoint that holds the answer that it goes on from has left the pool, or drains.
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

    /// Its name in other languages and in logs; it stays the same when the message changes.
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

/// How long a client stays away while the pool has no endpoint, if nothing says when it will have one.
pub(crate) const NO_ENDPOINTS_RETRY: Duration = Duration::from_secs(5);

/// The longest time in which an endpoint may send nothing of an answer before the gateway gives it up:
/// until its first token, 30 s or ten times the [prediction](Dispatch::first_token_in), whichever is
/// longer; from then on, 60 s between tokens.
///
/// Some engines stop without closing their streams, and response headers may come before the prefill: so
/// neither the headers nor an open connection say that an answer comes. Settle such a request with
/// [`Failure::Timeout`](crate::Failure::Timeout), and send it elsewhere if its client has got nothing.
///
/// ```
/// use slotwise::{Seconds, idle_limit};
///
/// assert_eq!(idle_limit(Seconds::new(0.5), false).as_secs(), 30);
/// assert_eq!(idle_limit(Seconds::new(9.0), false).as_secs(), 90);
/// assert_eq!(idle_limit(Seconds::new(9.0), true).as_secs(), 60);
/// ```
pub fn idle_limit(first_token_in: Seconds, started: bool) -> Duration {
    if started { BETWEEN_TOKENS } else { (first_token_in * 10.0).to_duration().max(FIRST_TOKEN) }
}

const FIRST_TOKEN: Duration = Duration::from_secs(30);
const BETWEEN_TOKENS: Duration = Duration::from_secs(60);
