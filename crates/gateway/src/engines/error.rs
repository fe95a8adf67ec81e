//! Why a message of an engine was not taken.

use core::error::Error;
use core::fmt;

use slotwise::UnknownEndpoint;
use slotwise_wire::WireError;

/// A message of an engine changed nothing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum FeedError {
    /// There is no such endpoint.
    UnknownEndpoint(UnknownEndpoint),
    /// The message could not be read, or the endpoint has too many ranks.
    Wire(WireError),
}

impl From<UnknownEndpoint> for FeedError {
    fn from(error: UnknownEndpoint) -> Self {
        Self::UnknownEndpoint(error)
    }
}

impl From<WireError> for FeedError {
    fn from(error: WireError) -> Self {
        Self::Wire(error)
    }
}

impl fmt::Display for FeedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownEndpoint(error) => error.fmt(f),
            Self::Wire(error) => error.fmt(f),
        }
    }
}

impl Error for FeedError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::UnknownEndpoint(error) => Some(error),
            Self::Wire(error) => Some(error),
        }
    }
}
