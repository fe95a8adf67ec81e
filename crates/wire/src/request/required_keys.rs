//! Checks that a body has a prompt of its API, and recognizes bodies of another API.

use super::api::Api;
use crate::error::{ErrorKind, WireError};

/// The keys of a body that distinguish APIs, one bit each.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct KeysSeen(u32);

const KEYS: [&str; 21] = [
    "messages",
    "prompt",
    "prompt_embeds",
    "input",
    "instructions",
    "previous_response_id",
    "conversation",
    "token_ids",
    "text",
    "input_ids",
    "input_embeds",
    "prompt_token_ids",
    "system",
    "stop_sequences",
    "anthropic_version",
    "encoding_format",
    "dimensions",
    "max_output_tokens",
    "query",
    "documents",
    "text_1",
];

impl KeysSeen {
    /// Records a key of the body.
    pub(super) fn key(&mut self, key: &str) {
        if let Some(place) = KEYS.iter().position(|known| *known == key) {
            self.0 |= 1 << place;
        }
    }

    /// Checks that the body has what its API accepts as a prompt.
    pub(super) fn check(self, api: Api) -> Result<(), WireError> {
        let (accepted, expected): (&[&str], &'static str) = match api {
            Api::ChatCompletions => (&["messages"], "\"messages\""),
            Api::Messages => (&["messages"], "\"messages\""),
            Api::Completions => (&["prompt", "prompt_embeds"], "\"prompt\" or \"prompt_embeds\""),
            Api::Responses => (
                &["input", "instructions", "prompt", "previous_response_id", "conversation"],
                "\"input\", \"prompt\" or \"previous_response_id\"",
            ),
            Api::Embeddings => (&["input", "messages"], "\"input\" or \"messages\""),
            Api::InferenceGenerate => {
                (&["token_ids", "prompt_token_ids"], "\"token_ids\" or \"prompt_token_ids\"")
            }
            Api::Generate => (
                &["text", "prompt", "input_ids", "input_embeds", "prompt_token_ids"],
                "\"text\", \"input_ids\", \"input_embeds\" or \"prompt\"",
            ),
            _ => return Ok(()),
        };
        if self.any(accepted) {
            return Ok(());
        }
        let looks_like = self.looks_like().filter(|other| *other != api).map(Api::as_str);
        Err(WireError::new(0, ErrorKind::NoPrompt { api: api.as_str(), expected, looks_like }))
    }

    /// The API whose prompt the body has.
    fn looks_like(self) -> Option<Api> {
        let anthropic = self.any(&["system", "stop_sequences", "anthropic_version"]);
        let embeddings = self.any(&["encoding_format", "dimensions"]);
        match () {
            () if self.any(&["messages"]) && anthropic => Some(Api::Messages),
            () if self.any(&["messages"]) => Some(Api::ChatCompletions),
            () if self.any(&["token_ids"]) => Some(Api::InferenceGenerate),
            () if self.any(&["input_ids", "input_embeds", "text"]) => Some(Api::Generate),
            () if self.any(&["input"]) && embeddings => Some(Api::Embeddings),
            () if self.any(&[
                "input",
                "instructions",
                "previous_response_id",
                "max_output_tokens",
            ]) =>
            {
                Some(Api::Responses)
            }
            () if self.any(&["prompt", "prompt_embeds"]) => Some(Api::Completions),
            () if self.any(&["query"]) && self.any(&["documents"]) => Some(Api::Rerank),
            () if self.any(&["text_1"]) => Some(Api::Score),
            () => None,
        }
    }

    fn any(self, keys: &[&str]) -> bool {
        keys.iter().any(|key| {
            KEYS.iter().position(|known| known == key).is_some_and(|at| self.0 >> at & 1 == 1)
        })
    }
}
