//! Finish reasons.

use core::fmt;

/// Why an engine stopped, in OpenAI's terms. Terms of Anthropic, engines and hosted APIs are
/// translated.
///
/// Terms for failures become `Error` or `Abort`; both are settled as a failure. An unknown term
/// becomes `Other`, which is settled as a completion. ASCII case does not matter.
///
/// ```
/// use slotwise_wire::response::FinishReason;
///
/// assert_eq!(FinishReason::from_word("max_tokens"), FinishReason::Length);
/// assert_eq!(FinishReason::from_word("end_turn").as_str(), "stop");
/// assert_eq!(FinishReason::from_word("insufficient_system_resource"), FinishReason::Error);
/// assert_eq!(FinishReason::from_word("error: out of memory"), FinishReason::Error);
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum FinishReason {
    /// The answer ended, or reached a stop word of the client.
    Stop,
    /// The answer reached its maximum length.
    Length,
    /// The client should call tools.
    ToolCalls,
    /// The rest was withheld by a content filter.
    ContentFilter,
    /// An unknown reason.
    Other,
    /// The engine stopped early with status 200: the request was aborted or ran out of time.
    Abort,
    /// The engine failed.
    Error,
}

impl FinishReason {
    /// Translates an engine's term.
    pub fn from_word(word: &str) -> Self {
        Self::from_bytes(word.as_bytes())
    }

    /// The reason's name in other languages and in logs.
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
        let is = |words: &[&str]| words.iter().any(|one| word.eq_ignore_ascii_case(one.as_bytes()));
        let begins = |start: &str| {
            word.get(..start.len())
                .is_some_and(|beginning| beginning.eq_ignore_ascii_case(start.as_bytes()))
        };
        if is(&STOP) {
            Self::Stop
        } else if is(&LENGTH) {
            Self::Length
        } else if is(&TOOL_CALLS) {
            Self::ToolCalls
        } else if is(&CONTENT_FILTER) {
            Self::ContentFilter
        } else if is(&ABORT) {
            Self::Abort
        } else if is(&ERROR) || begins("error") {
            Self::Error
        } else {
            Self::Other
        }
    }

    /// Joins the reasons of several choices: a failure, or else the later one.
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

const STOP: [&str; 8] =
    ["stop", "end_turn", "stop_sequence", "eos_token", "eos", "word", "complete", "pause_turn"];
const LENGTH: [&str; 8] = [
    "length",
    "max_tokens",
    "max_output_tokens",
    "model_length",
    "limit",
    "model_context_window_exceeded",
    "max_length",
    "error_limit",
];
const TOOL_CALLS: [&str; 4] = ["tool_calls", "tool_use", "function_call", "tool_call"];
const CONTENT_FILTER: [&str; 9] = [
    "content_filter",
    "refusal",
    "sensitive",
    "safety",
    "recitation",
    "blocklist",
    "prohibited_content",
    "spii",
    "error_toxic",
];
const ABORT: [&str; 13] = [
    "abort",
    "aborted",
    "cancelled",
    "canceled",
    "user_cancel",
    "timeout",
    "timed_out",
    "interrupted",
    "preempted",
    "shutdown",
    "disconnected",
    "connection_lost",
    "deadline_exceeded",
];
/// Every term that starts with `error` is one as well.
const ERROR: [&str; 21] = [
    "insufficient_system_resource",
    "insufficient_system_resources",
    "insufficient_resources",
    "network_error",
    "connection_error",
    "internal_error",
    "internal_server_error",
    "server_error",
    "system_error",
    "engine_error",
    "model_error",
    "backend_error",
    "upstream_error",
    "api_error",
    "out_of_memory",
    "oom",
    "failed",
    "failure",
    "overloaded",
    "engine_overloaded",
    "service_unavailable",
];
