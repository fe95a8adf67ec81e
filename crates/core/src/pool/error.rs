//! Why an endpoint cannot be added, changed or found.

use core::fmt;

use crate::endpoint::EndpointId;

/// There is no such endpoint, or no longer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "an id is all there is to say")]
pub struct UnknownEndpoint(pub EndpointId);

impl UnknownEndpoint {
    /// Its name in other languages and in logs.
    pub const fn code(&self) -> &'static str {
        "unknown_endpoint"
    }
}

impl fmt::Display for UnknownEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unknown {}", self.0)
    }
}

impl core::error::Error for UnknownEndpoint {}

/// Why an endpoint was not added or changed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum EndpointError {
    /// There is no such endpoint, or no longer.
    UnknownEndpoint(EndpointId),
    /// Another endpoint has that name.
    DuplicateName(EndpointId),
    /// The pool has as many endpoints as the configuration allows.
    #[non_exhaustive]
    PoolFull {
        /// [`Config::max_endpoints`](crate::Config::max_endpoints).
        limit: usize,
    },
    /// A coefficient of its prefill cost does not lie between 0 and 1 s, or a token costs nothing.
    InvalidPrefillCost,
}

impl EndpointError {
    /// Its name in other languages and in logs; it stays the same when the message changes.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::UnknownEndpoint(_) => "unknown_endpoint",
            Self::DuplicateName(_) => "duplicate_name",
            Self::PoolFull { .. } => "pool_full",
            Self::InvalidPrefillCost => "invalid_prefill_cost",
        }
    }
}

impl From<UnknownEndpoint> for EndpointError {
    fn from(unknown: UnknownEndpoint) -> Self {
        Self::UnknownEndpoint(unknown.0)
    }
}

impl fmt::Display for EndpointError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownEndpoint(id) => write!(f, "unknown {id}"),
            Self::DuplicateName(id) => write!(f, "{id} already has that name"),
            Self::PoolFull { limit } => write!(f, "the pool is full: max_endpoints is {limit}"),
            Self::InvalidPrefillCost => f.write_str(
                "prefill cost must have coefficients between 0 and 1 s, and a cost per token",
            ),
        }
    }
}

impl core::error::Error for EndpointError {}
