//! Refusals: the status, headers and body for a client whose request is not served.
//!
//! | file | contents |
//! |---|---|
//! | `mod` | a refusal and its headers |
//! | `reason` | the names of each reason in every API |
//! | `status` | the reference's outcomes, with their HTTP status |
//! | `body` | the formats of error bodies |
//! | `stream_error` | the event that ends a stream before its answer |

mod body;
mod reason;
mod status;
mod stream_error;

use alloc::borrow::Cow;
use alloc::format;
use alloc::string::String;
use core::fmt;
use core::time::Duration;

use slotwise::{Evicted, Rejected};

pub use body::BodyShape;
use body::Names;
pub use reason::Reason;
pub use status::{Cause, Outcome, outcome_status};
pub use stream_error::StreamError;

use crate::headers::answer::DROPPED_REASON;

/// The response to a request that is not served.
///
/// ```
/// use slotwise::RejectReason;
/// use slotwise_wire::outcome::{BodyShape, Reason, Refusal};
///
/// let refusal = Refusal::new(Reason::Rejected(RejectReason::NoEndpoints));
/// assert_eq!(refusal.status(), 503);
/// let dropped = refusal.headers().find(|(name, _)| *name == "x-llm-d-request-dropped-reason");
/// assert_eq!(dropped.expect("a header").1, "rejected-no-endpoints");
/// assert_eq!(
///     refusal.body(BodyShape::OpenAi),
///     concat!(
///         r#"{"error":{"message":"no endpoint accepts requests","type":"server_error","#,
///         r#""param":null,"code":"no_endpoints"}}"#,
///     ),
/// );
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Refusal<'a> {
    /// The reason.
    pub reason: Reason,
    /// When to retry, if known.
    pub retry_after: Option<Duration>,
    /// Replaces the reason's message in the body.
    pub message: Option<&'a str>,
}

impl<'a> Refusal<'a> {
    /// Creates a refusal without a time to retry.
    pub const fn new(reason: Reason) -> Self {
        Self { reason, retry_after: None, message: None }
    }

    /// Sets the time after which a retry may succeed.
    pub const fn retry_after(self, after: Duration) -> Self {
        Self { retry_after: Some(after), ..self }
    }

    /// Replaces the reason's message in the body. Any text is valid.
    pub const fn message(self, message: &'a str) -> Self {
        Self { message: Some(message), ..self }
    }

    /// The HTTP status.
    pub const fn status(&self) -> u16 {
        self.reason.http_status()
    }

    /// Whole seconds for `Retry-After`, rounded up and clamped to `1..=59`, if a time is known.
    ///
    /// Client libraries do not wait longer. Those of OpenAI and Vercel ignore 60 s and more, and
    /// either retry at once or not at all. The [body](Self::body) has the exact time.
    pub fn retry_after_seconds(&self) -> Option<u64> {
        Some(self.retry_after_millis()?.div_ceil(1_000).min(LONGEST_SECONDS))
    }

    /// Milliseconds for `retry-after-ms`, rounded up and clamped to `1..=59_000`, if a time is
    /// known.
    pub fn retry_after_ms(&self) -> Option<u64> {
        Some(self.retry_after_millis()?.min(LONGEST_SECONDS * 1_000))
    }

    /// The exact time in milliseconds, rounded up.
    fn retry_after_millis(&self) -> Option<u64> {
        let after = self.retry_after?;
        let millis = after.as_nanos().div_ceil(1_000_000).max(1);
        Some(u64::try_from(millis).unwrap_or(u64::MAX))
    }

    /// The headers: `content-type`, the reference's reason if there is one, and `retry-after` and
    /// `retry-after-ms` if a time is known.
    pub fn headers(&self) -> impl Iterator<Item = (&'static str, Cow<'static, str>)> + use<> {
        let number = |number: u64| Cow::Owned(format!("{number}"));
        let seconds = self.retry_after_seconds().map(|seconds| ("retry-after", number(seconds)));
        let millis = self.retry_after_ms().map(|millis| ("retry-after-ms", number(millis)));
        let dropped =
            self.reason.dropped_reason().map(|reason| (DROPPED_REASON, Cow::Borrowed(reason)));
        let kind = Some(("content-type", Cow::Borrowed(BodyShape::CONTENT_TYPE)));
        [kind, seconds, millis, dropped].into_iter().flatten()
    }

    /// Returns the body. It is valid JSON for any message. If a header's limit truncates the time,
    /// the error has it as `retry_after_ms`.
    pub fn body(&self, shape: BodyShape) -> String {
        let mut body = String::new();
        // Writing to a `String` cannot fail.
        let _ = self.write_body(shape, &mut body);
        body
    }

    /// Writes the [body](Self::body) to `out`.
    ///
    /// # Errors
    ///
    /// Returns the errors of `out`.
    pub fn write_body(&self, shape: BodyShape, out: &mut impl fmt::Write) -> fmt::Result {
        let message = self.message.unwrap_or_else(|| self.reason.message());
        let whole = self.retry_after_millis().filter(|millis| *millis > LONGEST_SECONDS * 1_000);
        let names = Names {
            openai: self.reason.openai_type(),
            anthropic: self.reason.anthropic_type(),
            code: self.reason.code(),
        };
        shape.write(names, message, whole, out)
    }
}

impl From<&Rejected> for Refusal<'_> {
    fn from(rejected: &Rejected) -> Self {
        Self { retry_after: rejected.retry_after, ..Self::new(Reason::Rejected(rejected.reason)) }
    }
}

impl From<&Evicted> for Refusal<'_> {
    fn from(evicted: &Evicted) -> Self {
        Self { retry_after: evicted.retry_after, ..Self::new(Reason::Evicted(evicted.reason)) }
    }
}

/// The maximum time in a header.
const LONGEST_SECONDS: u64 = 59;
