//! Errors of adding, changing and finding endpoints.

use core::fmt;

use crate::endpoint::EndpointId;

/// No endpoint has this id, or it was removed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "the id is the whole error")]
pub struct UnknownEndpoint(pub EndpointId);

impl UnknownEndpoint {
    /// A stable code for logs and other languages.
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
    /// No endpoint has this id, or it was removed.
    UnknownEndpoint(EndpointId),
    /// Another endpoint has this name.
    DuplicateName(EndpointId),
    /// The pool has [`Config::max_endpoints`](crate::Config::max_endpoints) endpoints.
    #[non_exhaustive]
    PoolFull {
        /// [`Config::max_endpoints`](crate::Config::max_endpoints).
        limit: usize,
    },
    /// A coefficient of the prefill cost is outside 0 to 1 s, or the cost per token is zero.
    InvalidPrefillCost,
    /// A coefficient of the KV transfer cost is negative or not finite, or the bandwidth is zero.
    InvalidKvTransferCost,
}

impl EndpointError {
    /// A stable code for logs and other languages; it does not change with the message.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::UnknownEndpoint(_) => "unknown_endpoint",
            Self::DuplicateName(_) => "duplicate_name",
            Self::PoolFull { .. } => "pool_full",
            Self::InvalidPrefillCost => "invalid_prefill_cost",
            Self::InvalidKvTransferCost => "invalid_kv_transfer_cost",
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
            Self::InvalidKvTransferCost => f.write_str(
                "KV transfer cost must be finite and not negative, and its bandwidth positive",
            ),
        }
    }
}

impl core::error::Error for EndpointError {}
