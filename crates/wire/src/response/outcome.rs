//! How an answer ended, and which call settles its request in the scheduler.

use core::fmt;

use slotwise::{AnswerId, Failure, Usage};

use super::finish_reason::FinishReason;
use crate::error::WireError;

/// How an answer ended, as returned by [`ResponseReader::finish`](super::ResponseReader::finish).
///
/// ```
/// use slotwise_wire::response::{AnswerEnd, Outcome, Retry, Disposition};
///
/// // vLLM's queue is full.
/// let outcome = Outcome::of_status(503);
/// assert_eq!(outcome.end, AnswerEnd::Full);
/// assert!(outcome.may_retry(false));
/// assert_eq!(outcome.settlement(), Disposition::Fail(slotwise::Failure::Engine));
///
/// // Another endpoint would say the same.
/// let outcome = Outcome::of_status(400);
/// assert_eq!(outcome.retry, Retry::Never);
/// assert_eq!(outcome.settlement(), Disposition::Cancel);
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Outcome {
    /// How the answer ended.
    pub end: AnswerEnd,
    /// Whether the request may be sent to another endpoint.
    pub retry: Retry,
    /// Why the engine stopped, if it reported a reason. Of several choices a failure, or else the
    /// last one.
    pub finish_reason: Option<FinishReason>,
    /// The usage that the engine reported.
    pub usage: Usage,
    /// Tokens of the answer. The number is exact if the engine reported it; otherwise each chunk
    /// counts one token per choice with content. For a body other than a stream, it is from the
    /// usage, or 0.
    pub tokens: u32,
    /// Whether `tokens` is exact.
    pub exact: bool,
    /// The HTTP status of the response, or of the error in it. 0 without a response.
    pub status: u16,
    /// The number of payloads that could not be parsed. They have no effect.
    pub unreadable: u32,
    /// The first parse error. Its offset counts from the start of the body.
    pub problem: Option<WireError>,
    /// The id of the answer, if later requests can continue from it.
    #[cfg_attr(feature = "serde", serde(skip))]
    pub answer: Option<AnswerId>,
}

/// How an answer ended.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum AnswerEnd {
    /// The client has its answer.
    Complete,
    /// The engine aborted the request with a status of success: the answer is incomplete.
    Aborted,
    /// The engine reported a failure.
    Failed,
    /// The endpoint rejected the request itself.
    Refused,
    /// The endpoint accepts no more requests now.
    Full,
    /// A timeout expired.
    TimedOut,
    /// The client disconnected.
    ClientDisconnected,
    /// The time of the whole request was over, through no fault of the endpoint.
    Expired,
    /// The response ended before the answer, or has none: an empty body with status 200.
    Cut,
    /// The response is not an answer: invalid or empty JSON, or an HTML page.
    Unreadable,
    /// No connection was established.
    Unreachable,
}

/// Whether a request may be sent to another endpoint.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Retry {
    /// No: the answer is complete, part of it was sent to the client, or all endpoints would answer
    /// the same.
    Never,
    /// Yes, unless a byte of this answer was sent to the client.
    IfNothingSent,
}

/// The call that ends a request in the scheduler.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Disposition {
    /// The request is complete, and used this much.
    Complete(Usage),
    /// The request failed in this way.
    Fail(Failure),
    /// The request is cancelled: the endpoint is not to blame.
    Cancel,
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum CloseReason {
    /// As HTTP requires.
    Clean,
    /// The connection broke.
    Broken,
    /// The gateway's timeout expired.
    TimedOut,
    /// The client disconnected, so the gateway closed the connection.
    ClientDisconnected,
    /// The time of the whole request was over, so the gateway closed the connection. `TimedOut` is
    /// for an endpoint that sends nothing.
    Expired,
}

impl Outcome {
    /// Returns the outcome of a response with this status, without its body. A 2xx is a complete
    /// answer, except 204 and 205, which have none. A [`ResponseReader`](super::ResponseReader)
    /// also reads the body.
    pub fn of_status(status: u16) -> Self {
        Self::new(AnswerEnd::of_status(status), status)
    }

    /// Returns the outcome of a request without a connection: connection refused, unknown host.
    pub fn unreachable() -> Self {
        Self::new(AnswerEnd::Unreachable, 0)
    }

    pub(super) fn new(end: AnswerEnd, status: u16) -> Self {
        // Models, paths, access and redirects differ between endpoints. Errors in the request
        // itself do not.
        let of_this_one =
            end == AnswerEnd::Refused && matches!(status, 300..=399 | 401..=404 | 407 | 410 | 421);
        Self {
            end,
            retry: if of_this_one { Retry::IfNothingSent } else { end.retry() },
            finish_reason: None,
            usage: Usage::default(),
            tokens: 0,
            exact: false,
            status,
            unreadable: 0,
            problem: None,
            answer: None,
        }
    }

    /// Whether the request is finished for the client, with an answer or a refusal.
    pub const fn is_complete(&self) -> bool {
        match self.end {
            AnswerEnd::Complete => true,
            AnswerEnd::Refused => matches!(self.retry, Retry::Never),
            _ => false,
        }
    }

    /// Whether the request may be sent to another endpoint; `sent` is whether the client received
    /// any of this answer.
    pub const fn may_retry(&self, sent: bool) -> bool {
        !sent && matches!(self.retry, Retry::IfNothingSent)
    }

    /// Returns the call that settles the request, if it is not sent to another endpoint.
    ///
    /// A refusal is cancelled: the engine computed nothing, so it has not cached the prompt. A full
    /// endpoint fails and backs off. A response that is not an answer fails as well. An endpoint
    /// that returned it at once would otherwise look idle and attract every request.
    pub fn settlement(&self) -> Disposition {
        match self.end {
            AnswerEnd::Complete => Disposition::Complete(self.usage),
            AnswerEnd::Aborted
            | AnswerEnd::Failed
            | AnswerEnd::Full
            | AnswerEnd::Cut
            | AnswerEnd::Unreadable => Disposition::Fail(Failure::Engine),
            AnswerEnd::TimedOut => Disposition::Fail(Failure::Timeout),
            AnswerEnd::Unreachable => Disposition::Fail(Failure::Unreachable),
            AnswerEnd::Refused | AnswerEnd::ClientDisconnected | AnswerEnd::Expired => {
                Disposition::Cancel
            }
        }
    }
}

impl AnswerEnd {
    /// Classifies an HTTP status.
    ///
    /// 429 and 529 come from the engine, as 503 does: the gateway's own never come from an
    /// endpoint. 501 means that the engine does not support the request, and 499 that the client
    /// disconnected. A redirect is a refusal, because engines do not redirect. 0 means that there
    /// was no response.
    pub const fn of_status(status: u16) -> Self {
        match status {
            0 => Self::Unreachable,
            1..200 => Self::Failed,
            204 | 205 => Self::Cut,
            200..300 => Self::Complete,
            429 | 503 | 529 => Self::Full,
            499 => Self::ClientDisconnected,
            408 | 504 => Self::TimedOut,
            501 => Self::Refused,
            500.. => Self::Failed,
            _ => Self::Refused,
        }
    }

    /// Its name in other languages and in logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Aborted => "aborted",
            Self::Failed => "failed",
            Self::Refused => "refused",
            Self::Full => "full",
            Self::TimedOut => "timed_out",
            Self::ClientDisconnected => "client_disconnected",
            Self::Expired => "expired",
            Self::Cut => "cut",
            Self::Unreadable => "unreadable",
            Self::Unreachable => "unreachable",
        }
    }

    /// Whether another endpoint may succeed.
    const fn retry(self) -> Retry {
        match self {
            Self::Complete | Self::Refused | Self::ClientDisconnected | Self::Expired => {
                Retry::Never
            }
            Self::Aborted
            | Self::Failed
            | Self::Full
            | Self::TimedOut
            | Self::Cut
            | Self::Unreadable
            | Self::Unreachable => Retry::IfNothingSent,
        }
    }
}

impl Retry {
    /// Its name in other languages and in logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Never => "never",
            Self::IfNothingSent => "if_nothing_sent",
        }
    }
}

impl Disposition {
    /// The name of the call.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Complete(_) => "complete",
            Self::Fail(_) => "fail",
            Self::Cancel => "cancel",
        }
    }
}

impl CloseReason {
    /// Its name in other languages and in logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Clean => "clean",
            Self::Broken => "broken",
            Self::TimedOut => "timed_out",
            Self::ClientDisconnected => "client_disconnected",
            Self::Expired => "expired",
        }
    }
}

impl fmt::Display for AnswerEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Default for Outcome {
    /// No response: the request was not sent.
    fn default() -> Self {
        Self::unreachable()
    }
}
