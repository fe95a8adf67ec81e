//! What a request says that matters to who routes it.

use alloc::borrow::Cow;
use core::ops::Range;

use slotwise::{AnswerId, Batch, CacheUse, Priority, Prompt, Request};

use super::api::{Api, Form};
use super::model_splice::{ModelSplice, missing};
use crate::error::WireError;
use crate::headers::Allow;

/// What a request says. It borrows from the body, and from the reader that read it.
///
/// What the body does not say, or says as `null`, is `None`, `false` or 0; nothing is filled in for it.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct RequestView<'r> {
    /// The API that it speaks.
    pub api: Api,
    /// The model, or the adapter if that is served under a name of its own.
    pub model: Option<Cow<'r, str>>,
    /// Where the model stands in the body, with its quotation marks: what [`model_splice`](Self::model_splice) replaces.
    pub model_range: Option<Range<usize>>,
    /// What the engine will read, for hashing and counting. See [the module](super) for what stands in the text.
    #[cfg_attr(feature = "serde", serde(skip))]
    pub prompt: Prompt<'r>,
    /// Prompts in the request, of which [`prompt`](Self::prompt) is the first: 0 if there is none, more than 1 in a batch.
    pub prompts: usize,
    /// The prompts behind the first one, and how many sequences the engine makes of all.
    #[cfg_attr(feature = "serde", serde(skip))]
    pub batch: Batch,
    /// What the engine does with its cache for the request: whether the answer's cached tokens are evidence.
    pub cache_use: CacheUse,
    /// The id of the answer that the request goes on from, which its engine holds: `previous_response_id`, or
    /// `previous_message_id` of Anthropic's `thread`.
    pub continues: Option<Cow<'r, str>>,
    /// Whether the answer is to come as a stream.
    pub stream: bool,
    /// Whether the stream is to end with the usage: `stream_options.include_usage`.
    pub include_usage: bool,
    /// Tokens that each answer may have at the most.
    pub max_tokens: Option<u32>,
    /// Answers to each prompt: `n`.
    pub n: Option<u32>,
    /// As the body has it. Which way it goes is the engine's matter: see [`PriorityOrder`].
    pub priority: Option<i64>,
    /// What requests of one conversation share.
    pub session: Option<Cow<'r, str>>,
    /// Where the session stands in the body.
    pub session_field: Option<SessionField>,
    /// Requests with different salts share no cache. An empty salt is none.
    pub cache_salt: Option<Cow<'r, str>>,
    /// The adapter of SGLang's `lora_path`; of a batch, that of the first prompt.
    pub adapter: Option<Cow<'r, str>>,
    /// Whether blocks are to be fetched from another engine, or left for one: `kv_transfer_params`, or SGLang's `bootstrap_room`.
    pub kv_transfer: bool,
    /// The id that the client gave to the request: `request_id`, or SGLang's `rid`.
    pub request_id: Option<Cow<'r, str>>,
}

/// Where a session stands in a body, from the most to the least exact; the first that is there counts.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum SessionField {
    /// vLLM's and others' `session_id`.
    SessionId,
    /// `session_id` in vLLM's `vllm_xargs`.
    VllmXargs,
    /// `id` in SGLang's `session_params`.
    SessionParams,
    /// OpenAI's `prompt_cache_key`.
    PromptCacheKey,
    /// The `conversation` of the Responses API, by its id.
    Conversation,
    /// `previous_message_id` in Anthropic's `thread`: another one in every turn.
    Thread,
    /// `user_id` in Anthropic's `metadata`.
    MetadataUserId,
    /// OpenAI's `user`, who may have several conversations.
    User,
    /// `previous_message_id` in Anthropic's `diagnostics`, beside the whole conversation.
    Diagnostics,
    /// The `previous_response_id` of the Responses API. It is another one in every turn: whoever keeps a session by it must
    /// remember which turn belongs to which.
    PreviousResponseId,
}

impl SessionField {
    pub(super) const ALL: [Self; 10] = [
        Self::SessionId,
        Self::VllmXargs,
        Self::SessionParams,
        Self::PromptCacheKey,
        Self::Conversation,
        Self::Thread,
        Self::MetadataUserId,
        Self::User,
        Self::Diagnostics,
        Self::PreviousResponseId,
    ];

    /// Its name in other languages and in logs: the path to the field.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SessionId => "session_id",
            Self::VllmXargs => "vllm_xargs.session_id",
            Self::SessionParams => "session_params.id",
            Self::PromptCacheKey => "prompt_cache_key",
            Self::Conversation => "conversation",
            Self::Thread => "thread.previous_message_id",
            Self::MetadataUserId => "metadata.user_id",
            Self::User => "user",
            Self::Diagnostics => "diagnostics.previous_message_id",
            Self::PreviousResponseId => "previous_response_id",
        }
    }
}

/// Which way priorities in bodies go. In the core, higher goes first.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum PriorityOrder {
    /// Lower goes first, as in vLLM.
    LowFirst,
    /// Higher goes first, as in SGLang unless it runs with `--schedule-low-priority-values-first`.
    HighFirst,
}

impl PriorityOrder {
    /// Its name in other languages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::LowFirst => "low_first",
            Self::HighFirst => "high_first",
        }
    }

    /// The core's priority for one of a body. What does not fit counts as the nearest that does.
    pub fn priority(self, of_body: i64) -> Priority {
        let higher_first = match self {
            Self::LowFirst => of_body.saturating_neg(),
            Self::HighFirst => of_body,
        };
        Priority(higher_first.clamp(i32::MIN.into(), i32::MAX.into()) as i32)
    }
}

impl RequestView<'_> {
    /// Tokens that all answers together are expected to have: as many as they may have. 0 if the body does not say, but 16
    /// each for [completions](Api::Completions), where all engines take that for granted.
    pub fn expected_output_tokens(&self) -> u32 {
        let each = match self.api {
            Api::Embeddings => 0,
            api if api.form() != Form::Prompt => 0,
            Api::Completions => self.max_tokens.unwrap_or(16),
            _ => self.max_tokens.unwrap_or(0),
        };
        let prompts = u32::try_from(self.prompts.max(1)).unwrap_or(u32::MAX);
        each.saturating_mul(self.n.unwrap_or(1).max(1)).saturating_mul(prompts)
    }

    /// The request for the core: model, adapter, salt, prompt and expected answer. A request without a model is one for the
    /// model `""`. Priority and session of a body count only where the host allows them: see
    /// [`to_request_allowed`](Self::to_request_allowed).
    ///
    /// ```
    /// use slotwise::Priority;
    /// use slotwise_wire::headers::Allow;
    /// use slotwise_wire::request::{Api, PriorityOrder, RequestReader};
    ///
    /// let body = br#"{"model": "llama", "prompt": [1, 2, 3], "max_tokens": 8, "priority": -2}"#;
    /// let mut reader = RequestReader::new();
    /// let view = reader.read(Api::Completions, body)?;
    /// let request = view.to_request(PriorityOrder::LowFirst).flow("tenant a");
    /// assert_eq!((request.model, request.priority, request.expected_output_tokens), ("llama", Priority(0), 8));
    /// let request = view.to_request_allowed(PriorityOrder::LowFirst, &Allow::default().priority(-1..=1));
    /// assert_eq!(request.priority, Priority(1));
    /// # Ok::<(), slotwise_wire::WireError>(())
    /// ```
    pub fn to_request(&self, order: PriorityOrder) -> Request<'_> {
        self.to_request_allowed(order, &Allow::default())
    }

    /// The same, with what the host lets clients say of their requests: priority and session.
    pub fn to_request_allowed(&self, order: PriorityOrder, allow: &Allow) -> Request<'_> {
        let mut request = Request::new(self.model.as_deref().unwrap_or_default());
        request.adapter = self.adapter.as_deref();
        request.cache_salt = self.cache_salt.as_deref();
        request.prompt = self.prompt;
        request.batch = self.batch;
        request.cache_use = self.cache_use;
        request.continues = self.continues.as_deref().map(AnswerId::of);
        let priority = self.priority.map(|priority| order.priority(priority));
        let allowed = priority.and_then(|priority| allow.clamp_priority(priority));
        request.priority = allowed.unwrap_or(Priority(0));
        request.session = self.session.as_deref().filter(|_| allow.session);
        request.expected_output_tokens = self.expected_output_tokens();
        request
    }

    /// What to replace in the body so that it asks for another model.
    ///
    /// # Errors
    ///
    /// If the body names no model.
    pub fn model_splice(&self, model: &str) -> Result<ModelSplice, WireError> {
        self.model_range
            .clone()
            .map(|range| ModelSplice::new(range, model))
            .ok_or_else(|| missing(0))
    }
}
