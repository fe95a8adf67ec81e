//! Which API a request speaks.

use core::fmt;

/// An API that model servers speak, by the body of its requests.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum Api {
    /// OpenAI's `/v1/chat/completions`.
    ChatCompletions,
    /// OpenAI's `/v1/completions`.
    Completions,
    /// OpenAI's `/v1/responses`.
    Responses,
    /// OpenAI's `/v1/embeddings`.
    Embeddings,
    /// Anthropic's `/v1/messages`.
    Messages,
    /// vLLM's `/inference/v1/generate`, which takes token ids.
    InferenceGenerate,
    /// SGLang's `/generate`, and vLLM's of the same name.
    Generate,
}

impl Api {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::ChatCompletions,
        Self::Completions,
        Self::Responses,
        Self::Embeddings,
        Self::Messages,
        Self::InferenceGenerate,
        Self::Generate,
    ];

    /// The API whose path this is, or ends with: gateways mount APIs under prefixes of their own. A query, a fragment and
    /// a slash at the end do not count. `None` for any other path, also for what lies below one of these.
    ///
    /// ```
    /// use slotwise_wire::request::Api;
    ///
    /// assert_eq!(Api::of_path("/v1/chat/completions"), Some(Api::ChatCompletions));
    /// assert_eq!(Api::of_path("/tenant-a/v1/messages?beta=true"), Some(Api::Messages));
    /// assert_eq!(Api::of_path("/v1/messages/count_tokens"), None);
    /// ```
    pub fn of_path(path: &str) -> Option<Self> {
        let path = path.split(['?', '#']).next().unwrap_or_default();
        let path = path.strip_suffix('/').unwrap_or(path);
        let ends_with = |api: &Self| {
            // Only these two names say enough without a `/v1` before them.
            let tail = match api {
                Self::ChatCompletions => "/chat/completions",
                Self::Generate => return path == "/generate",
                other => other.path(),
            };
            path.ends_with(tail)
        };
        Self::ALL.iter().find(|api| ends_with(api)).copied()
    }

    /// The path that it is served under.
    pub const fn path(self) -> &'static str {
        match self {
            Self::ChatCompletions => "/v1/chat/completions",
            Self::Completions => "/v1/completions",
            Self::Responses => "/v1/responses",
            Self::Embeddings => "/v1/embeddings",
            Self::Messages => "/v1/messages",
            Self::InferenceGenerate => "/inference/v1/generate",
            Self::Generate => "/generate",
        }
    }

    /// Its name in other languages and in logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ChatCompletions => "chat_completions",
            Self::Completions => "completions",
            Self::Responses => "responses",
            Self::Embeddings => "embeddings",
            Self::Messages => "messages",
            Self::InferenceGenerate => "inference_generate",
            Self::Generate => "generate",
        }
    }

    /// The API of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|api| api.as_str() == name)
    }
}

impl fmt::Display for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_names_go_both_ways() {
        for api in Api::ALL {
            assert_eq!(Api::of_path(api.path()), Some(api));
            assert_eq!(Api::from_name(api.as_str()), Some(api));
        }
        assert_eq!(Api::of_path("/openai/deployments/x/chat/completions/?a=/b"), Some(Api::ChatCompletions));
        assert_eq!(Api::of_path("/v1/completions/"), Some(Api::Completions));
        let others = [
            "",
            "/",
            "/v1/none",
            "/v1/models",
            "/v1/threads/t/messages",
            "/v1/chat/completions/render",
            "generate",
            "/v1/images/generate",
            "/v1/load_lora_adapter",
            "/tokenize",
        ];
        for path in others {
            assert_eq!(Api::of_path(path), None, "{path}");
        }
    }
}
