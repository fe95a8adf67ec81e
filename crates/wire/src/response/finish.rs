//! Why an engine stopped.

use core::fmt;

/// Why an engine stopped, in OpenAI's words; those of Anthropic and of engines are translated.
///
/// ```
/// use slotwise_wire::response::FinishReason;
///
/// assert_eq!(FinishReason::from_word("max_tokens"), FinishReason::Length);
/// assert_eq!(FinishReason::from_word("end_turn").as_str(), "stop");
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum FinishReason {
    /// The answer is at its end, or at a word that the client said to stop at.
    Stop,
    /// The answer is as long as it may be.
    Length,
    /// The client is to call tools.
    ToolCalls,
    /// The rest may not be said.
    ContentFilter,
    /// One that is not known here.
    Other,
    /// The engine gave up, though it answers as if all were well: this is how it stops on SIGTERM.
    Abort,
    /// The engine failed.
    Error,
}

impl FinishReason {
    /// What an engine's word means.
    pub fn from_word(word: &str) -> Self {
        Self::from_bytes(word.as_bytes())
    }

    /// Its name in other languages and in logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
            Self::ToolCalls => "tool_calls",
            Self::ContentFilter => "content_filter",
            Self::Other => "other",
            Self::Abort => "abort",
            Self::Error => "error",
        }
    }

    pub(super) fn from_bytes(word: &[u8]) -> Self {
        match word {
            b"stop" | b"end_turn" | b"stop_sequence" => Self::Stop,
            b"length" | b"max_tokens" | b"max_output_tokens" | b"model_context_window_exceeded" => {
                Self::Length
            }
            b"tool_calls" | b"tool_use" | b"function_call" => Self::ToolCalls,
            b"content_filter" | b"refusal" => Self::ContentFilter,
            b"abort" | b"aborted" | b"cancelled" | b"timeout" => Self::Abort,
            b"error" => Self::Error,
            _ => Self::Other,
        }
    }

    /// Of several choices' reasons, the one that their answer is judged by: a failure, or else the later one.
    pub(super) fn join(earlier: Option<Self>, later: Self) -> Self {
        let rank = |reason| match reason {
            Self::Error => 2,
            Self::Abort => 1,
            _ => 0,
        };
        earlier.filter(|earlier| rank(*earlier) > rank(later)).unwrap_or(later)
    }
}

impl fmt::Display for FinishReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
