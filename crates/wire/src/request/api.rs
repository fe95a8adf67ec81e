//! The API of a request.

use core::fmt;

/// An API of model servers, identified by its request body.
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
    /// Scores for pairs of texts: vLLM's `/v1/score`.
    Score,
    /// Documents ordered by relevance: `/v1/rerank`.
    Rerank,
    /// vLLM's `/pooling`.
    Pooling,
    /// Classification of texts: `/classify`.
    Classify,
    /// Token ids of a text: `/tokenize`.
    Tokenize,
    /// The text of token ids: `/detokenize`.
    Detokenize,
    /// OpenAI's `/v1/audio/transcriptions`, with a form as its body.
    Transcriptions,
    /// OpenAI's `/v1/audio/translations`, with a form as its body.
    Translations,
    /// OpenAI's `/v1/audio/speech`.
    Speech,
}

/// How the body of an API is parsed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Form {
    /// JSON with a prompt.
    Prompt,
    /// JSON without a prompt; only its size is used.
    Sized,
    /// A form with a file, or JSON; only the size is used.
    File,
}

impl Api {
    /// All APIs.
    pub const ALL: [Self; 16] = [
        Self::ChatCompletions,
        Self::Completions,
        Self::Responses,
        Self::Embeddings,
        Self::Messages,
        Self::InferenceGenerate,
        Self::Generate,
        Self::Score,
        Self::Rerank,
        Self::Pooling,
        Self::Classify,
        Self::Tokenize,
        Self::Detokenize,
        Self::Transcriptions,
        Self::Translations,
        Self::Speech,
    ];

    /// Returns the API of a path.
    ///
    /// The path may have a prefix, as gateways mount APIs under their own. A query, a fragment and
    /// a trailing slash are ignored. Other paths return `None`, including subpaths of an API.
    ///
    /// ```
    /// use slotwise_wire::request::Api;
    ///
    /// assert_eq!(Api::of_path("/v1/chat/completions"), Some(Api::ChatCompletions));
    /// assert_eq!(Api::of_path("/tenant-a/v1/messages?beta=true"), Some(Api::Messages));
    /// assert_eq!(Api::of_path("/v2/rerank"), Some(Api::Rerank));
    /// assert_eq!(Api::of_path("/v1/messages/count_tokens"), None);
    /// ```
    pub fn of_path(path: &str) -> Option<Self> {
        let path = path.split(['?', '#']).next().unwrap_or_default();
        let path = path.strip_suffix('/').unwrap_or(path);
        let ends_with = |api: &Self| {
            // Only these names are unambiguous without a version.
            let (tail, whole): (&str, &[&str]) = match api {
                Self::ChatCompletions => ("/chat/completions", &[]),
                Self::Completions => ("/v1/completions", &["/completions", "/completion"]),
                Self::Generate => return path == "/generate",
                Self::Score => ("/v1/score", &["/score"]),
                Self::Rerank => return version(path, "/rerank") || path == "/rerank",
                Self::Pooling => ("/v1/pooling", &["/pooling"]),
                Self::Classify => ("/v1/classify", &["/classify"]),
                Self::Tokenize => ("/v1/tokenize", &["/tokenize"]),
                Self::Detokenize => ("/v1/detokenize", &["/detokenize"]),
                Self::Transcriptions => ("/audio/transcriptions", &[]),
                Self::Translations => ("/audio/translations", &[]),
                Self::Speech => ("/audio/speech", &[]),
                other => (other.path(), &[]),
            };
            path.ends_with(tail) || whole.contains(&path)
        };
        Self::ALL.iter().find(|api| ends_with(api)).copied()
    }

    /// The path of the API.
    pub const fn path(self) -> &'static str {
        match self {
            Self::ChatCompletions => "/v1/chat/completions",
            Self::Completions => "/v1/completions",
            Self::Responses => "/v1/responses",
            Self::Embeddings => "/v1/embeddings",
            Self::Messages => "/v1/messages",
            Self::InferenceGenerate => "/inference/v1/generate",
            Self::Generate => "/generate",
            Self::Score => "/v1/score",
            Self::Rerank => "/v1/rerank",
            Self::Pooling => "/pooling",
            Self::Classify => "/classify",
            Self::Tokenize => "/tokenize",
            Self::Detokenize => "/detokenize",
            Self::Transcriptions => "/v1/audio/transcriptions",
            Self::Translations => "/v1/audio/translations",
            Self::Speech => "/v1/audio/speech",
        }
    }

    /// The API's name in other languages and in logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ChatCompletions => "chat_completions",
            Self::Completions => "completions",
            Self::Responses => "responses",
            Self::Embeddings => "embeddings",
            Self::Messages => "messages",
            Self::InferenceGenerate => "inference_generate",
            Self::Generate => "generate",
            Self::Score => "score",
            Self::Rerank => "rerank",
            Self::Pooling => "pooling",
            Self::Classify => "classify",
            Self::Tokenize => "tokenize",
            Self::Detokenize => "detokenize",
            Self::Transcriptions => "transcriptions",
            Self::Translations => "translations",
            Self::Speech => "speech",
        }
    }

    /// Finds an API by the name that [`as_str`](Self::as_str) returns.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|api| api.as_str() == name)
    }

    pub(super) const fn form(self) -> Form {
        match self {
            Self::ChatCompletions
            | Self::Completions
            | Self::Responses
            | Self::Embeddings
            | Self::Messages
            | Self::InferenceGenerate
            | Self::Generate => Form::Prompt,
            Self::Transcriptions | Self::Translations => Form::File,
            _ => Form::Sized,
        }
    }
}

/// Whether a path ends with a version and this name.
fn version(path: &str, name: &str) -> bool {
    let Some(before) = path.strip_suffix(name) else { return false };
    before.ends_with("/v1") || before.ends_with("/v2")
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
        assert_eq!(
            Api::of_path("/openai/deployments/x/chat/completions/?a=/b"),
            Some(Api::ChatCompletions)
        );
        assert_eq!(Api::of_path("/v1/completions/"), Some(Api::Completions));
        assert_eq!(Api::of_path("/tenant/v1/score"), Some(Api::Score));
        for path in ["/rerank", "/v1/rerank", "/v2/rerank", "/tenant/v2/rerank/"] {
            assert_eq!(Api::of_path(path), Some(Api::Rerank), "{path}");
        }
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
            "/my/score",
            "/rerank/v1",
            "/v1/audio",
        ];
        for path in others {
            assert_eq!(Api::of_path(path), None, "{path}");
        }
    }
}
