//! Why an endpoint cannot have a request.

use core::fmt;

use crate::decision::RejectReason;

/// Why an endpoint cannot have a request, ordered from the reason least likely to clear to the most
/// likely.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum Exclusion {
    /// The request continues an answer of another endpoint, or of this one while it drains.
    Elsewhere,
    /// The endpoint serves another model or role, or lacks a label.
    NotServed,
    /// The request's [subset](crate::Request::subset) does not contain the endpoint.
    NotInSubset,
    /// The request excludes the endpoint: [`Request::exclude`](crate::Request::exclude).
    Excluded,
    /// The endpoint is draining.
    Draining,
    /// The engine sleeps, according to the last load report.
    Sleeping,
    /// The prompt and the expected answer exceed the endpoint's KV cache.
    TooLarge,
    /// The first token is predicted after the deadline.
    TooLate,
    /// The predicted time per output token exceeds the service level of a sheddable request.
    TooSlow,
    /// The endpoint is backed off after failures, or has a trial in flight. Waived if no other
    /// endpoint can have the request.
    BackedOff,
    /// The endpoint ramps up and is at its current limit. Waived if no other endpoint can have the
    /// request.
    Ramping,
    /// The KV cache has no room for the context of another session.
    SessionLimit,
    /// A filter of the [scheduling profile](crate::Config::profile) removed the endpoint.
    Filtered,
    /// The endpoint is at its limit of requests in flight.
    Full,
}

impl Exclusion {
    /// The stable code, for logs and other languages; messages may change.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Elsewhere => "elsewhere",
            Self::NotServed => "not_served",
            Self::NotInSubset => "not_in_subset",
            Self::Excluded => "excluded",
            Self::BackedOff => "backed_off",
            Self::Ramping => "ramping",
            Self::Draining => "draining",
            Self::Sleeping => "sleeping",
            Self::TooLarge => "too_large",
            Self::TooLate => "too_late",
            Self::TooSlow => "too_slow",
            Self::SessionLimit => "session_limit",
            Self::Filtered => "filtered",
            Self::Full => "full",
        }
    }
}

impl From<Exclusion> for RejectReason {
    fn from(why: Exclusion) -> Self {
        match why {
            Exclusion::Elsewhere => Self::ThreadNotFound,
            Exclusion::NotServed => Self::NotServed,
            Exclusion::NotInSubset | Exclusion::Excluded => Self::NoEndpoints,
            Exclusion::Draining | Exclusion::Sleeping => Self::NoEndpoints,
            Exclusion::BackedOff | Exclusion::Ramping => Self::NoEndpoints,
            Exclusion::TooLarge => Self::TooLarge,
            Exclusion::TooLate => Self::DeadlineUnreachable,
            Exclusion::TooSlow => Self::Shed,
            Exclusion::SessionLimit | Exclusion::Filtered | Exclusion::Full => Self::Saturated,
        }
    }
}

impl fmt::Display for Exclusion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Elsewhere => "another endpoint has the conversation",
            Self::NotServed => "serves another model, role or labels",
            Self::NotInSubset => "not in the subset of the request",
            Self::Excluded => "excluded by the request",
            Self::BackedOff => "backed off",
            Self::Ramping => "at the limit while ramping up",
            Self::Draining => "draining",
            Self::Sleeping => "sleeping",
            Self::TooLarge => "prompt and answer exceed the KV cache",
            Self::TooLate => "first token after the deadline",
            Self::TooSlow => "tokens slower than the service level",
            Self::SessionLimit => "no room for another session",
            Self::Filtered => "removed by a filter",
            Self::Full => "at the limit of requests in flight",
        })
    }
}
