//! The event that tells a client that its stream ends before the answer.

use alloc::string::String;

use super::body::{BodyShape, Names};

/// Why a stream that has begun ends before its answer.
///
/// Most client libraries take a stream that just ends for a whole answer. All of them raise their
/// own error for this event.
///
/// ```
/// use slotwise_wire::outcome::{BodyShape, StreamError};
///
/// let event = StreamError::Cut.event(BodyShape::Anthropic);
/// assert!(event.starts_with("event: error\ndata: {\"type\":\"error\",\"error\":{"));
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum StreamError {
    /// The engine's stream ended or broke off.
    Cut,
    /// The engine sent nothing within the time limit.
    TimedOut,
    /// The time of the whole request is over.
    Expired,
}

impl StreamError {
    /// The code in OpenAI's format.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Cut => "engine_failed",
            Self::TimedOut => "engine_timed_out",
            Self::Expired => "request_timeout",
        }
    }

    /// The message for people.
    pub const fn message(self) -> &'static str {
        match self {
            Self::Cut => "the engine failed before the end of the answer",
            Self::TimedOut => "the engine sent nothing for too long within the answer",
            Self::Expired => "the request took longer than its time limit",
        }
    }

    /// The whole event, with its empty line, for a client that reads errors of this shape.
    pub fn event(self, shape: BodyShape) -> String {
        let names = Names {
            openai: "server_error",
            anthropic: match self {
                Self::Cut => "api_error",
                Self::TimedOut | Self::Expired => "timeout_error",
            },
            code: self.code(),
        };
        let mut event = String::from(match shape {
            BodyShape::OpenAi => "data: ",
            BodyShape::Anthropic => "event: error\ndata: ",
        });
        // Writing to a `String` cannot fail.
        let _ = shape.write(names, self.message(), None, &mut event);
        event.push_str("\n\n");
        event
    }
}
