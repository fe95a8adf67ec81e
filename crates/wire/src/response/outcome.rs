//! How an answer ended, and what the scheduler is to be told of it.

use core::fmt;

use slotwise::{AnswerId, Failure, Usage};

use super::finish_reason::FinishReason;
use crate::error::WireError;

/// How an answer ended, as [`ResponseReader::finish`](super::ResponseReader::finish) tells it.
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
    /// How it ended.
    pub end: AnswerEnd,
    /// Whether another endpoint may be asked.
    pub retry: Retry,
    /// Why the engine stopped, if it said so. Of several choices a failure, or else the last that was said.
    pub finish_reason: Option<FinishReason>,
    /// What the engine said that the request used.
    pub usage: Usage,
    /// Tokens of the answer: exact if the engine said so, or else one for each chunk and choice with content. Of a body that is
    /// no stream, what its usage says, or 0.
    pub tokens: u32,
    /// Whether they are exact.
    pub exact: bool,
    /// The status of HTTP that says how it ended: that of the response, or of the error in it. 0 if nothing came.
    pub status: u16,
    /// Payloads that could not be read, and so count for nothing.
    pub unreadable: u32,
    /// What was wrong with the first of them; its offset is counted from the beginning of the response's body.
    pub problem: Option<WireError>,
    /// The id of the answer, if later requests can go on from it.
    #[cfg_attr(feature = "serde", serde(skip))]
    pub answer: Option<AnswerId>,
}

/// How an answer ended.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum AnswerEnd {
    /// The client has its answer.
    Complete,
    /// The engine gave up, though it answered as if all were well: what was said is cut off.
    Aborted,
    /// The engine failed, and said so.
    Failed,
    /// The client asked for what it cannot have, at least not from this endpoint.
    Refused,
    /// The endpoint takes no more requests now.
    Full,
    /// It took too long.
    TimedOut,
    /// The client went away.
    ClientDisconnected,
    /// The response ended before the answer did, or had no answer in it: an empty body with status 200.
    Cut,
    /// What came is no answer: not the JSON that it claims to be, JSON with nothing in it, or an HTML page.
    Unreadable,
    /// There was no connection.
    Unreachable,
}

/// Whether a request may be sent to another endpoint.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Retry {
    /// It has its answer, or part of it has gone to the client, or any endpoint would answer the same.
    Never,
    /// It may, as long as not a byte of this answer has been sent to the client.
    IfNothingSent,
}

/// The one call that ends a request in the scheduler.
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

/// How a connection came to its end.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum CloseReason {
    /// As HTTP says that it should.
    Clean,
    /// It broke.
    Broken,
    /// The gateway gave up waiting for more.
    TimedOut,
    /// The client went away, so that the gateway closed it.
    ClientDisconnected,
}

impl Outcome {
    /// That of a response with this status, whatever its body says. A 2xx counts as a complete answer,
    /// but for 204 and 205, which have none. A [`ResponseReader`](super::ResponseReader) also reads the body.
    pub fn of_status(status: u16) -> Self {
        Self::new(AnswerEnd::of_status(status), status)
    }

    /// That of a request that no endpoint got: refused connection, unknown name.
    pub fn unreachable() -> Self {
        Self::new(AnswerEnd::Unreachable, 0)
    }

    pub(super) fn new(end: AnswerEnd, status: u16) -> Self {
        // Which models it has, which paths, whom it lets in and where it sends requests is a matter of
        // the single endpoint. What is wrong with the request itself is not.
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

    /// Whether the client has all that it will ever get for this request, be it an answer or a refusal.
    pub const fn is_complete(&self) -> bool {
        match self.end {
            AnswerEnd::Complete => true,
            AnswerEnd::Refused => matches!(self.retry, Retry::Never),
            _ => false,
        }
    }

    /// Whether another endpoint may be asked, when something or nothing of this answer has been `sent` to the client.
    pub const fn may_retry(&self, sent: bool) -> bool {
        !sent && matches!(self.retry, Retry::IfNothingSent)
    }

    /// What to tell the scheduler of this request, if it is not sent to another endpoint.
    ///
    /// A refusal is cancelled: nothing was computed, so that nothing of the prompt is assumed to be cached
    /// there. An endpoint that is full fails, so that it is held off. What is no answer fails as well: an
    /// endpoint that returned it at once would otherwise look idle and draw every request.
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
            AnswerEnd::Refused | AnswerEnd::ClientDisconnected => Disposition::Cancel,
        }
    }
}

impl AnswerEnd {
    /// What a status of HTTP says. 429 and 529 are an engine's, as 503 is: the gateway's own never come from an endpoint.
    /// 501 says that the engine cannot do what the client wants, 499 that the client went away. A redirection is a
    /// refusal: an engine's answer is not elsewhere. 0 says that there was no response.
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
            Self::Cut => "cut",
            Self::Unreadable => "unreadable",
            Self::Unreachable => "unreachable",
        }
    }

    /// Whether another endpoint may do better.
    const fn retry(self) -> Retry {
        match self {
            Self::Complete | Self::Refused | Self::ClientDisconnected => Retry::Never,
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
        }
    }
}

impl fmt::Display for AnswerEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Default for Outcome {
    /// Nothing came: the request was not even sent.
    fn default() -> Self {
        Self::unreachable()
    }
}
