//! Why an endpoint cannot have a request.

use core::fmt;

use crate::decision::RejectReason;

/// Why an endpoint cannot have a request, from the least hopeful to the most.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum Exclusion {
    /// The request goes on from an answer that another endpoint gave, or this one drains.
    Elsewhere,
    /// It serves another model or role, or lacks a label.
    NotServed,
    /// The request excludes it: [`Request::exclude`](crate::Request::exclude).
    Excluded,
    /// It is about to leave.
    Draining,
    /// Its engine sleeps, as its last report says.
    Sleeping,
    /// Prompt and answer do not fit into its KV cache.
    TooLarge,
    /// Its first token would come after the deadline.
    TooLate,
    /// It is backed off after failures, or has a trial in flight. Considered after all if no other endpoint can
    /// have the request.
    BackedOff,
    /// It begins slowly and has as many requests as it may by now. Considered after all if no other endpoint can
    /// have the request.
    Ramping,
    /// Its cache has no room for the context of another session.
    SessionLimit,
    /// It has as many requests as it may.
    Full,
}

impl Exclusion {
    /// Its name in other languages and in logs; it stays the same when the message changes.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Elsewhere => "elsewhere",
            Self::NotServed => "not_served",
            Self::Excluded => "excluded",
            Self::BackedOff => "backed_off",
            Self::Ramping => "ramping",
            Self::Draining => "draining",
            Self::Sleeping => "sleeping",
            Self::TooLarge => "too_large",
            Self::TooLate => "too_late",
            Self::SessionLimit => "session_limit",
            Self::Full => "full",
        }
    }
}

impl From<Exclusion> for RejectReason {
    fn from(why: Exclusion) -> Self {
        match why {
            Exclusion::Elsewhere => Self::ThreadNotFound,
            Exclusion::NotServed => Self::NotServed,
            Exclusion::Excluded | Exclusion::Draining | Exclusion::Sleeping => Self::NoEndpoints,
            Exclusion::BackedOff | Exclusion::Ramping => Self::NoEndpoints,
            Exclusion::TooLarge => Self::TooLarge,
            Exclusion::TooLate => Self::DeadlineUnreachable,
            Exclusion::SessionLimit | Exclusion::Full => Self::Saturated,
        }
    }
}

impl fmt::Display for Exclusion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Elsewhere => "does not hold the earlier turns",
            Self::NotServed => "does not serve this",
            Self::Excluded => "excluded by the request",
            Self::BackedOff => "backed off",
            Self::Ramping => "ramping up",
            Self::Draining => "draining",
            Self::Sleeping => "sleeping",
            Self::TooLarge => "too large for its cache",
            Self::TooLate => "after the deadline",
            Self::SessionLimit => "session_limit",
            Self::Full => "full",
        })
    }
}
