//! The answers to a request: [`Dispatch`] or [`Rejected`].

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
}

impl RejectReason {
    /// The HTTP status that says it best: 503 without endpoints, 404 for what is not served, 413 for what never fits, and
    /// 429 for what may fit later.
    pub const fn http_status(self) -> u16 {
        match self {
            Self::NoEndpoints => 503,
            Self::NotServed => 404,
            Self::TooLarge => 413,
            Self::DeadlineUnreachable | Self::Saturated | Self::Shed => 429,
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
        })
    }
}
