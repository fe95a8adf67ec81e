//! What a client is told when its request does not go: status, headers and a body in the shape that its library reads.
//!
//! | file | what it knows |
//! |---|---|
//! | here | a refusal, and its headers |
//! | `reason` | the table: what each reason is called by whom |
//! | `body` | the shapes of error bodies |

mod body;
mod reason;

use alloc::borrow::Cow;
use alloc::format;
use alloc::string::String;
use core::fmt;
use core::time::Duration;

use slotwise::{Evicted, Rejected};

pub use body::BodyShape;
pub use reason::Reason;

use crate::headers::answer::DROPPED_REASON;

/// A request that is not answered, as its client is told.
///
/// ```
/// use slotwise::RejectReason;
/// use slotwise_wire::outcome::{BodyShape, Reason, Refusal};
///
/// let refusal = Refusal::new(Reason::Rejected(RejectReason::NoEndpoints));
/// assert_eq!(refusal.status(), 503);
/// assert!(refusal.headers().any(|(name, value)| name == "x-llm-d-request-dropped-reason" && value == "rejected-no-endpoints"));
/// assert_eq!(
///     refusal.body(BodyShape::OpenAi),
///     r#"{"error":{"message":"no endpoint accepts requests","type":"server_error","param":null,"code":"no_endpoints"}}"#,
/// );
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Refusal<'a> {
    /// Why.
    pub reason: Reason,
    /// When to retry, if that is known.
    pub retry_after: Option<Duration>,
    /// What the body says instead of the reason's own message.
    pub message: Option<&'a str>,
}

impl<'a> Refusal<'a> {
    /// A refusal for this reason. When it may be worth another try is not known.
    pub const fn new(reason: Reason) -> Self {
        Self { reason, retry_after: None, message: None }
    }

    /// When it may be worth another try.
    pub const fn retry_after(self, after: Duration) -> Self {
        Self { retry_after: Some(after), ..self }
    }

    /// What the body says instead of the reason's own message. Any text will do.
    pub const fn message(self, message: &'a str) -> Self {
        Self { message: Some(message), ..self }
    }

    /// The HTTP status.
    pub const fn status(&self) -> u16 {
        self.reason.http_status()
    }

    /// Whole seconds for `Retry-After`, rounded up, if a time is known: from 1 to 59. Libraries of clients
    /// do not wait for longer: OpenAI's and Vercel's ignore 60 s and more and come back at once, or do not
    /// come back at all. The [body](Self::body) has the whole time.
    pub fn retry_after_seconds(&self) -> Option<u64> {
        Some(self.retry_after_millis()?.div_ceil(1_000).min(LONGEST_SECONDS))
    }

    /// Milliseconds for `retry-after-ms`, rounded up, if a time is known: from 1 to 59,000.
    pub fn retry_after_ms(&self) -> Option<u64> {
        Some(self.retry_after_millis()?.min(LONGEST_SECONDS * 1_000))
    }

    /// The whole time in milliseconds, rounded up.
    fn retry_after_millis(&self) -> Option<u64> {
        let after = self.retry_after?;
        let millis = after.as_nanos().div_ceil(1_000_000).max(1);
        Some(u64::try_from(millis).unwrap_or(u64::MAX))
    }

    /// The headers: `content-type`; `retry-after` and `retry-after-ms` if a time is known, never above 59 s;
    /// and the reference's reason if it has one.
    pub fn headers(&self) -> impl Iterator<Item = (&'static str, Cow<'static, str>)> + use<> {
        let number = |number: u64| Cow::Owned(format!("{number}"));
        let seconds = self.retry_after_seconds().map(|seconds| ("retry-after", number(seconds)));
        let millis = self.retry_after_ms().map(|millis| ("retry-after-ms", number(millis)));
        let dropped =
            self.reason.dropped_reason().map(|reason| (DROPPED_REASON, Cow::Borrowed(reason)));
        let kind = Some(("content-type", Cow::Borrowed(BodyShape::CONTENT_TYPE)));
        [kind, seconds, millis, dropped].into_iter().flatten()
    }

    /// The body. It is valid JSON, whatever the message is. Where the headers cannot say the whole time, the
    /// error has it as `retry_after_ms`.
    pub fn body(&self, shape: BodyShape) -> String {
        let mut body = String::new();
        // A String takes whatever it is given.
        let _ = self.write_body(shape, &mut body);
        body
    }

    /// Writes the [body](Self::body) to `out`.
    ///
    /// # Errors
    ///
    /// Those of `out`.
    pub fn write_body(&self, shape: BodyShape, out: &mut impl fmt::Write) -> fmt::Result {
        let message = self.message.unwrap_or_else(|| self.reason.message());
        let whole = self.retry_after_millis().filter(|millis| *millis > LONGEST_SECONDS * 1_000);
        shape.write(self.reason, message, whole, out)
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

/// No header asks for a longer wait.
const LONGEST_SECONDS: u64 = 59;
