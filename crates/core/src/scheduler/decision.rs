//! The answers to a request: [`Dispatch`] or [`Rejected`].

use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use crate::endpoint::EndpointId;
use crate::flow::Eviction;
use crate::request::RequestId;
use crate::time::Seconds;

/// The request goes now, and to this endpoint. Its load is already counted there.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[must_use = "the request is reserved: complete, fail or cancel it"]
#[non_exhaustive]
pub struct Dispatch {
    /// The name of the request from now on.
    pub request: RequestId,
    /// Where it goes.
    pub endpoint: EndpointId,
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
    /// How long the request waited for the decision.
    #[cfg_attr(feature = "serde", serde(with = "crate::time::as_seconds"))]
    pub queued: Duration,
}

impl Dispatch {
    /// One that says no more than which request goes where: whoever has the rest from elsewhere fills it in.
    ///
    /// ```
    /// use slotwise::{Dispatch, EndpointId, RequestId};
    ///
    /// let dispatch = Dispatch::new(RequestId::from_u64(7), EndpointId::from_u64(0));
    /// assert_eq!((dispatch.prompt_tokens, dispatch.alternatives.len()), (0, 0));
    /// ```
    pub const fn new(request: RequestId, endpoint: EndpointId) -> Self {
        Self {
            request,
            endpoint,
            alternatives: Vec::new(),
            prompt_tokens: 0,
            cached_tokens: 0,
            best_cached_tokens: 0,
            cost: Seconds::ZERO,
            queued: Duration::ZERO,
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
    /// When it may be worth another try, if that can be told.
    #[cfg_attr(feature = "serde", serde(with = "crate::time::as_seconds::option"))]
    pub retry_after: Option<Duration>,
}

impl Rejected {
    /// The HTTP status that says it best.
    pub const fn http_status(&self) -> u16 {
        self.reason.http_status()
    }
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rejected: {}", self.reason)?;
        match self.retry_after {
            Some(after) => write!(f, "; retry after {:.3} s", after.as_secs_f64()),
            None => Ok(()),
        }
    }
}

impl core::error::Error for Rejected {}

/// Why a request does not go.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
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
    /// Every endpoint has as many requests as it may, or the scheduler has.
    Saturated,
    /// The request is sheddable and the pool is busy.
    Shed,
    /// As much waits as may, and nothing of it matters less.
    QueueFull,
}

impl RejectReason {
    /// The HTTP status that says it best: 503 without endpoints, 404 for what is not served, 413 for what never fits, and
    /// 429 for what may fit later.
    pub const fn http_status(self) -> u16 {
        match self {
            Self::NoEndpoints => 503,
            Self::NotServed => 404,
            Self::TooLarge => 413,
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
        }
    }
}

impl fmt::Display for RejectReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoEndpoints => "no endpoint takes requests",
            Self::NotServed => "no endpoint serves this model, role and labels",
            Self::TooLarge => "the request fits into no endpoint's KV cache",
            Self::DeadlineUnreachable => "no endpoint could answer before the deadline",
            Self::Saturated => "all endpoints are at their limit",
            Self::Shed => "the pool is busy and the request is sheddable",
            Self::QueueFull => "as many requests wait as may",
        })
    }
}

/// What became of a request that was [submitted](crate::Scheduler::submit).
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Decision {
    /// It goes.
    Dispatch(Dispatch),
    /// It waits no longer, and does not go.
    Evict(Evicted),
}

impl Decision {
    /// The request that it is about.
    pub const fn request(&self) -> RequestId {
        match self {
            Self::Dispatch(dispatch) => dispatch.request,
            Self::Evict(evicted) => evicted.request,
        }
    }
}

/// A request that waited does not go. Nothing is reserved.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Evicted {
    /// The request.
    pub request: RequestId,
    /// Why.
    pub reason: EvictReason,
    /// When it may be worth another try, if that can be told.
    #[cfg_attr(feature = "serde", serde(with = "crate::time::as_seconds::option"))]
    pub retry_after: Option<Duration>,
    /// How long it waited.
    #[cfg_attr(feature = "serde", serde(with = "crate::time::as_seconds"))]
    pub queued: Duration,
}

/// Why a request that waited does not go.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum EvictReason {
    /// It has waited for as long as it may.
    TtlExpired,
    /// It has waited for as long as it may, and there is no endpoint.
    NoEndpoints,
    /// No endpoint could send the first token before the deadline any more.
    DeadlineUnreachable,
    /// Something more important, or of a flow that has had less, has its place.
    Displaced,
    /// The prompt and the expected answer fit into no endpoint's KV cache.
    TooLarge,
}

impl EvictReason {
    /// The HTTP status that says it best.
    pub const fn http_status(self) -> u16 {
        match self {
            Self::NoEndpoints => 503,
            Self::TooLarge => 413,
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
        }
    }
}

impl From<Eviction> for EvictReason {
    fn from(eviction: Eviction) -> Self {
        match eviction {
            Eviction::Displaced => Self::Displaced,
            Eviction::Expired => Self::TtlExpired,
        }
    }
}
