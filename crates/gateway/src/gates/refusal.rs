//! Why a gate refuses a request, for clients and for hosts.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::error::Error;
use core::fmt;
use core::time::Duration;

use slotwise_wire::outcome::{BodyShape, Reason, Refusal};

use super::Standing;
use super::rate_headers;

/// A gate refuses a request.
///
/// [`to_refusal`](Self::to_refusal) is what an [`Exchange`](crate::Exchange) takes.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct GateRefusal {
    /// The reason, with its status and its code.
    pub reason: Reason,
    /// One sentence for the client, without a full stop: the condition and the limit.
    pub message: String,
    /// The time after which the same request passes if nothing else is counted meanwhile. `None` if
    /// no time alone makes it pass.
    pub retry_after: Option<Duration>,
    /// The exceeded limit.
    pub exceeded: Option<Box<Standing>>,
    standings: Vec<Standing>,
}

impl GateRefusal {
    /// A refusal with this message, without limits.
    pub(in crate::gates) fn new(reason: Reason, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { reason, message, retry_after: None, exceeded: None, standings: Vec::new() }
    }

    pub(super) fn of_reason(reason: Reason) -> Self {
        Self::new(reason, reason.message())
    }

    /// A refusal because of this limit.
    pub(super) fn exceeded(
        exceeded: Standing,
        requested: u64,
        retry_after: Option<Duration>,
        standings: Vec<Standing>,
    ) -> Self {
        let reason = match exceeded.window {
            _ if requested > exceeded.limit => Reason::RequestExceedsLimit,
            None => Reason::ConcurrencyLimitExceeded,
            Some(_) => Reason::RateLimitExceeded,
        };
        let message = message(&exceeded, reason, requested);
        Self { reason, message, retry_after, exceeded: Some(Box::new(exceeded)), standings }
    }

    /// The HTTP status.
    pub const fn status(&self) -> u16 {
        self.reason.http_status()
    }

    /// The stable code of the reason, such as `rate_limit_exceeded`.
    pub const fn code(&self) -> &'static str {
        self.reason.code()
    }

    /// The refusal for the client.
    pub fn to_refusal(&self) -> Refusal<'_> {
        let refusal = Refusal::new(self.reason).message(&self.message);
        match self.retry_after {
            Some(after) => refusal.retry_after(after),
            None => refusal,
        }
    }

    /// The headers for the client: those of [`Refusal::headers`], and what is left of its limits.
    pub fn headers(&self) -> Vec<(&'static str, String)> {
        let refusal = self.to_refusal();
        let headers = refusal.headers().map(|(name, value)| (name, value.into_owned()));
        headers.chain(rate_headers::write(&self.standings)).collect()
    }

    /// The body for the client.
    pub fn body(&self, shape: BodyShape) -> String {
        self.to_refusal().body(shape)
    }
}

fn message(exceeded: &Standing, reason: Reason, requested: u64) -> String {
    let Standing { scope, measure, limit, used, .. } = exceeded;
    let (scope, what) = (scope.as_str(), measure.phrase());
    let span = exceeded.window.map_or_else(String::new, |window| match window.as_secs() {
        60 => " per minute".to_string(),
        3_600 => " per hour".to_string(),
        86_400 => " per day".to_string(),
        _ => format!(" in {} s", window.as_secs_f64()),
    });
    match reason {
        Reason::RequestExceedsLimit => {
            format!(
                "the request needs {requested} {what}, and the {scope}'s limit is {limit}{span}"
            )
        }
        Reason::ConcurrencyLimitExceeded => {
            format!("the {scope} has {used} requests in flight, and its limit is {limit}")
        }
        _ => format!(
            "the {scope}'s limit of {limit} {what}{span} is reached: {used} used, {requested} requested"
        ),
    }
}

impl fmt::Display for GateRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for GateRefusal {}
