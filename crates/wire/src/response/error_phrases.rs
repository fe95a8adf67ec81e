//! Phrases in errors that are more specific than the status: a prompt that is too long, or a lost
//! worker.
//!
//! Some servers answer 500 to a prompt that exceeds the model's context, or 503 for a dead worker.
//! The first is a client error and does not count against the engine. The second is a failure, not
//! a full queue. The manual's chapter on wire formats names the source of each phrase.

/// Searches an error's text for known phrases, in pieces of any size. ASCII case does not matter.
#[derive(Clone, Copy, Debug)]
pub(super) struct ErrorPhrases {
    /// The last bytes in lower case.
    tail: [u8; LONGEST],
    /// The number of bytes searched.
    searched: u16,
    /// The prompt exceeds the context.
    pub(super) too_long: bool,
    /// The server lost the worker of the request, or has none.
    pub(super) worker_gone: bool,
}

impl ErrorPhrases {
    /// Searches a piece. Only the first 4 KiB of an error are searched, which bounds the cost.
    pub(super) fn feed(&mut self, piece: &[u8]) {
        let left = usize::from(MOST.saturating_sub(self.searched));
        for byte in piece.iter().take(left) {
            self.searched += 1;
            self.tail.copy_within(1.., 0);
            if let Some(last) = self.tail.last_mut() {
                *last = byte.to_ascii_lowercase();
            }
            let ends = |phrase: &&str| self.tail.ends_with(phrase.as_bytes());
            self.too_long |= TOO_LONG.iter().any(&ends);
            self.worker_gone |= WORKER_GONE.iter().any(ends);
        }
    }
}

impl Default for ErrorPhrases {
    fn default() -> Self {
        Self { tail: [0; LONGEST], searched: 0, too_long: false, worker_gone: false }
    }
}

/// Parts of codes, types and messages for a prompt that exceeds the context, in lower case.
const TOO_LONG: [&str; 22] = [
    // Codes and types: OpenAI, llama.cpp, LiteLLM, and OpenAI's limit of a field.
    "context_length_exceeded",
    "exceed_context_size",
    "contextwindowexceeded",
    "context_window_exceeded",
    "string_above_max_length",
    "prompt_too_long",
    // Messages: OpenAI, vLLM, SGLang, Mistral.
    "maximum context length",
    "reduce the length of the",
    "maximum model length",
    "model's context length",
    "maximum allowed length",
    // TensorRT-LLM.
    "maximum input length",
    "exceed max_num_tokens",
    "max_seq_len",
    "max_input_len",
    // llama.cpp.
    "available context size",
    "too large to process",
    // Anthropic.
    "prompt is too long",
    "exceed context limit",
    // Gemini, TGI, LMDeploy.
    "number of tokens allowed",
    "`inputs` must have less",
    "exceeds session_len",
];

/// Parts of messages of Dynamo's frontend for a dead or missing worker.
const WORKER_GONE: [&str; 5] = [
    "ended before generation",
    "no responders",
    "no instances",
    "instance not found",
    "worker disconnected",
];

/// The length of the longest phrase.
const LONGEST: usize = 24;
/// The maximum number of bytes searched.
const MOST: u16 = 4_096;

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, size: usize) -> ErrorPhrases {
        let mut phrases = ErrorPhrases::default();
        text.as_bytes().chunks(size).for_each(|piece| phrases.feed(piece));
        phrases
    }

    #[test]
    fn every_phrase_is_found_in_any_pieces() {
        for phrase in TOO_LONG.iter().chain(&WORKER_GONE) {
            assert!(phrase.len() <= LONGEST && phrase.is_ascii(), "{phrase}");
            assert_eq!(*phrase, phrase.to_ascii_lowercase());
            let text = std::format!("Error 5003: {}.", phrase.to_ascii_uppercase());
            for size in [1, 7, 100] {
                let phrases = read(&text, size);
                assert!(phrases.too_long || phrases.worker_gone, "{phrase} in pieces of {size}");
            }
        }
        let none = read("CUDA error: out of memory. Tried to allocate 20 MiB of the context", 5);
        assert!(!none.too_long && !none.worker_gone);
    }

    #[test]
    fn only_the_beginning_is_searched() {
        let text = "x".repeat(usize::from(MOST)) + "prompt is too long";
        assert!(!read(&text, 64).too_long);
        assert!(read(&text[100..], 64).too_long);
    }
}
