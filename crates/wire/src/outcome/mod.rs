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
/// use slotwise::{Request, Scheduler, Instant};
/// use slotwise_wire::outcome::{BodyShape, Refusal};
///
/// let mut scheduler = Scheduler::default();
/// let rejected = scheduler.pick(Instant::ORIGIN, &Request::new("llama")).expect_err("no endpoints");
/// let refusal = Refusal::from(&rejected);
/// assert_eq!(refusal.status(), 503);
/// assert!(refusal.headers().any(|(name, value)| name == "x-llm-d-request-dropped-reason" && value == "rejected-no-endpoints"));
/// assert_eq!(
///     refusal.body(BodyShape::OpenAi),
///     r#"{"error":{"message":"no endpoint takes requests","type":"server_error","param":null,"code":"no_endpoints"}}"#,
/// );
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Refusal<'a> {
    /// Why.
    pub reason: Reason,
    /// When it may be worth another try, if that can be told.
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

    /// Whole seconds for `Retry-After`, rounded up and at least 1, if a time is known.
    pub fn retry_after_seconds(&self) -> Option<u64> {
        let after = self.retry_after?;
        let whole = after.as_secs().saturating_add(u64::from(after.subsec_nanos() > 0));
        Some(whole.max(1))
    }

    /// The headers: `content-type`, `retry-after` if a time is known, and the reference's reason if it has one.
    pub fn headers(&self) -> impl Iterator<Item = (&'static str, Cow<'static, str>)> + use<> {
        let retry =
            self.retry_after_seconds().map(|seconds| ("retry-after", Cow::Owned(format!("{seconds}"))));
        let dropped = self.reason.dropped_reason().map(|reason| (DROPPED_REASON, Cow::Borrowed(reason)));
        [Some(("content-type", Cow::Borrowed(BodyShape::CONTENT_TYPE))), retry, dropped].into_iter().flatten()
    }

    /// The body. It is valid JSON, whatever the message is.
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
        shape.write(self.reason, self.message.unwrap_or_else(|| self.reason.message()), out)
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
