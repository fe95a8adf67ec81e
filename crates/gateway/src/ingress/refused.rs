//! Why the ingress refuses a request.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::error::Error;
use core::fmt;

use slotwise_wire::outcome::{BodyShape, Reason, Refusal};

use crate::gates::GateRefusal;
use crate::routing::NoRoute;

/// A request is refused, with the status, headers and body for its client.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Refused {
    /// A gate refuses it: 401, 403, 413 or 429.
    Gate(GateRefusal),
    /// It has no route: 404, or 500 for a rule without weights.
    NoRoute(NoRoute),
}

impl Refused {
    /// The reason, with its status and its code.
    pub const fn reason(&self) -> Reason {
        match self {
            Self::Gate(refusal) => refusal.reason,
            Self::NoRoute(no_route) => no_route.reason(),
        }
    }

    /// The HTTP status.
    pub const fn status(&self) -> u16 {
        self.reason().http_status()
    }

    /// The stable code of the reason, such as `model_not_found`.
    pub const fn code(&self) -> &'static str {
        self.reason().code()
    }

    /// The headers for the client: those of [`Refusal::headers`], and what is left of its limits.
    pub fn headers(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::Gate(refusal) => refusal.headers(),
            Self::NoRoute(no_route) => {
                let headers = Refusal::new(no_route.reason()).headers();
                headers.map(|(name, value)| (name, value.into_owned())).collect()
            }
        }
    }

    /// The body for the client.
    pub fn body(&self, shape: BodyShape) -> String {
        match self {
            Self::Gate(refusal) => refusal.body(shape),
            Self::NoRoute(no_route) => {
                Refusal::new(no_route.reason()).message(&no_route.to_string()).body(shape)
            }
        }
    }
}

impl From<GateRefusal> for Refused {
    fn from(refusal: GateRefusal) -> Self {
        Self::Gate(refusal)
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gate(refusal) => refusal.fmt(f),
            Self::NoRoute(no_route) => no_route.fmt(f),
        }
    }
}

impl Error for Refused {}
