//! The class and the code of each error in languages with exceptions.

use core::error::Error;

use slotwise::{
    AdapterError, ConfigError, EndpointError, KvEventError, LegError, RedirectError, SnapshotError,
    UnknownEndpoint, UnknownRequest,
};
use slotwise_wire::WireError;

use crate::InvalidField;
use crate::lease::NotBegun;
use crate::peers::PeerError;

/// An error that has an exception class in other languages.
///
/// ```
/// use slotwise::{EndpointId, UnknownEndpoint};
/// use slotwise_gateway::Classified;
///
/// let error = UnknownEndpoint(EndpointId::from_u64(7));
/// assert_eq!((UnknownEndpoint::CLASS, error.code()), ("UnknownEndpointError", error.code()));
/// ```
pub trait Classified: Error {
    /// The name of the class.
    const CLASS: &'static str;

    /// The condition, stable across versions and languages.
    fn code(&self) -> &'static str;
}

macro_rules! classified {
    ($($error:ty => $class:literal, $code:expr;)+) => {
        $(impl Classified for $error {
            const CLASS: &'static str = $class;

            fn code(&self) -> &'static str {
                let code: fn(&Self) -> &'static str = $code;
                code(self)
            }
        })+
    };
}

classified! {
    ConfigError => "ConfigError", Self::code;
    EndpointError => "EndpointError", Self::code;
    AdapterError => "AdapterError", Self::code;
    UnknownEndpoint => "UnknownEndpointError", Self::code;
    UnknownRequest => "UnknownRequestError", Self::code;
    LegError => "LegError", Self::code;
    RedirectError => "RedirectError", Self::code;
    KvEventError => "KvEventError", Self::code;
    SnapshotError => "SnapshotError", Self::code;
    NotBegun => "NotBegunError", |_| "not_begun";
    InvalidField => "ConfigError", |_| "config";
    PeerError => "PeerError", Self::code;
    WireError => "WireError", |error| error.problem.code();
}

#[cfg(feature = "config")]
impl Classified for crate::config::Problem {
    const CLASS: &'static str = "ConfigError";

    fn code(&self) -> &'static str {
        "config"
    }
}
