//! Why no cluster is chosen, and why a call is invalid.

use alloc::string::String;
use core::error::Error;
use core::fmt;

use crate::names::UnknownName;

/// No cluster can serve a request.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum NoCluster {
    /// No pool has this name; the error lists the pools.
    UnknownPool(UnknownName),
    /// Every export of the pool is withdrawn, excluded, or without ready endpoints.
    Unavailable {
        /// The name of the pool.
        pool: String,
    },
}

impl NoCluster {
    /// The status of the client's answer.
    pub const fn http_status(&self) -> u16 {
        match self {
            Self::UnknownPool(_) => 404,
            Self::Unavailable { .. } => 503,
        }
    }

    /// The condition, stable across versions and languages.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::UnknownPool(_) => "unknown_pool",
            Self::Unavailable { .. } => "no_cluster",
        }
    }
}

impl fmt::Display for NoCluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownPool(names) => write!(f, "the pool {names}"),
            Self::Unavailable { pool } => {
                write!(f, "no cluster that exports the pool {pool:?} has ready endpoints")
            }
        }
    }
}

impl Error for NoCluster {}

/// A call names an export that does not exist, or ends a request that never began.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ExportError {
    /// No pool has this name; the error lists the pools.
    UnknownPool(UnknownName),
    /// No cluster of this name exports the pool; the error lists those that do.
    UnknownCluster(UnknownName),
    /// The export has no request in flight.
    NotInFlight {
        /// The name of the pool.
        pool: String,
        /// The name of the cluster.
        cluster: String,
    },
}

impl ExportError {
    /// The condition, stable across versions and languages.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::UnknownPool(_) => "unknown_pool",
            Self::UnknownCluster(_) => "unknown_cluster",
            Self::NotInFlight { .. } => "not_in_flight",
        }
    }
}

impl fmt::Display for ExportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownPool(names) => write!(f, "the pool {names}"),
            Self::UnknownCluster(names) => write!(f, "the cluster {names}"),
            Self::NotInFlight { pool, cluster } => {
                write!(f, "the pool {pool:?} has no request in flight in the cluster {cluster:?}")
            }
        }
    }
}

impl Error for ExportError {}
