//! The fields of a request that routing needs.

use alloc::borrow::Cow;
use core::ops::Range;

use slotwise::{AnswerId, Batch, CacheUse, Priority, Prompt, Request};

use super::api::{Api, Form};
use super::model_splice::{ModelSplice, missing};
use crate::error::WireError;
use crate::headers::Allow;

/// The fields of a request. Borrows from the body and from its reader.
///
/// A field that is missing or `null` is `None`, `false` or 0. There are no other defaults.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct RequestView<'r> {
    /// The API of the body.
    pub api: Api,
    /// The model, or an adapter that is served under its own name.
    pub model: Option<Cow<'r, str>>,
    /// The range of the model in the body with its quotation marks, which
    /// [`model_splice`](Self::model_splice) replaces.
    pub model_range: Option<Range<usize>>,
    /// The prompt for hashing and counting. [The module](super) describes its text.
    #[cfg_attr(feature = "serde", serde(skip))]
    pub prompt: Prompt<'r>,
    /// The number of prompts, of which [`prompt`](Self::prompt) is the first; more than 1 in a
    /// batch.
    pub prompts: usize,
    /// The prompts after the first one, and the number of sequences that the engine creates.
    #[cfg_attr(feature = "serde", serde(skip))]
    pub batch: Batch,
    /// How the engine uses its cache: whether the cached tokens of the answer are evidence.
    pub cache_use: CacheUse,
    /// The id of the answer that the request continues, which its engine stores. It is
    /// `previous_response_id`, or `previous_message_id` of Anthropic's `thread`.
    pub continues: Option<Cow<'r, str>>,
    /// Whether the client asks for a stream.
    pub stream: bool,
    /// Whether the client asks for usage at the end of the stream: `stream_options.include_usage`.
    pub include_usage: bool,
    /// The maximum number of tokens of each answer.
    pub max_tokens: Option<u32>,
    /// The number of answers for each prompt.
    pub n: Option<u32>,
    /// The priority as written. Its direction depends on the engine: see [`PriorityOrder`].
    pub priority: Option<i64>,
    /// The session that the requests of one conversation share.
    pub session: Option<Cow<'r, str>>,
    /// The field of the session.
    pub session_field: Option<SessionField>,
    /// Requests with different salts share no cache. An empty salt is `None`.
    pub cache_salt: Option<Cow<'r, str>>,
    /// The adapter of SGLang's `lora_path`; of a batch, that of the first prompt.
    pub adapter: Option<Cow<'r, str>>,
    /// Whether the prompt has images, sounds or files.
    pub multimodal: bool,
    /// Whether blocks are transferred from or to another engine: `kv_transfer_params`, or SGLang's
    /// `bootstrap_room`.
    pub kv_transfer: bool,
    /// The client's id for the request: `request_id`, or SGLang's `rid`.
    pub request_id: Option<Cow<'r, str>>,
}

/// The field of a session, from the most to the least specific. The first that is present counts.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum SessionField {
    /// `session_id` of vLLM and others.
    SessionId,
    /// `session_id` in vLLM's `vllm_xargs`.
    VllmXargs,
    /// `id` in SGLang's `session_params`.
    SessionParams,
    /// OpenAI's `prompt_cache_key`.
    PromptCacheKey,
    /// The id of the `conversation` in the Responses API.
    Conversation,
    /// `previous_message_id` in Anthropic's `thread`. It changes with every turn.
    Thread,
    /// `user_id` in Anthropic's `metadata`.
    MetadataUserId,
    /// OpenAI's `user`, which may have several conversations.
    User,
    /// `previous_message_id` in Anthropic's `diagnostics`, sent with the whole conversation.
    Diagnostics,
    /// `previous_response_id` of the Responses API. It changes with every turn, so a session store
    /// must map each turn to its session.
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

    /// The path of the field, which is its name in other languages and in logs.
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

/// The direction of priorities in request bodies. In the core, higher goes first.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum PriorityOrder {
    /// Lower goes first, as in vLLM.
    LowFirst,
    /// Higher goes first, as in SGLang unless it runs with `--schedule-low-priority-values-first`.
    HighFirst,
}

impl PriorityOrder {
    /// The order's name in other languages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::LowFirst => "low_first",
            Self::HighFirst => "high_first",
        }
    }

    /// Converts the priority of a body into the core's. Values out of range are clamped.
    pub fn priority(self, of_body: i64) -> Priority {
        let higher_first = match self {
            Self::LowFirst => of_body.saturating_neg(),
            Self::HighFirst => of_body,
        };
        Priority(higher_first.clamp(i32::MIN.into(), i32::MAX.into()) as i32)
    }
}

impl RequestView<'_> {
    /// The expected number of output tokens of all answers: the maximum that they may have.
    ///
    /// It is 0 if the body has no maximum, except for [completions](Api::Completions), where all
    /// engines default to 16 per answer.
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

    /// Creates the core's request: model, adapter, salt, prompt, expected answer and its form.
    ///
    /// A request without a model has the model `""`. Priority and session of a body count only if
    /// the host permits them: see [`to_request_allowed`](Self::to_request_allowed).
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
    /// assert_eq!((request.model, request.expected_output_tokens), ("llama", 8));
    /// assert_eq!(request.priority, Priority(0));
    /// let allow = Allow::default().priority(-1..=1);
    /// let request = view.to_request_allowed(PriorityOrder::LowFirst, &allow);
    /// assert_eq!(request.priority, Priority(1));
    /// # Ok::<(), slotwise_wire::WireError>(())
    /// ```
    pub fn to_request(&self, order: PriorityOrder) -> Request<'_> {
        self.to_request_allowed(order, &Allow::default())
    }

    /// Creates the core's request, with the priority and session that `allow` permits.
    pub fn to_request_allowed(&self, order: PriorityOrder, allow: &Allow) -> Request<'_> {
        let mut request = Request::new(self.model.as_deref().unwrap_or_default());
        request.adapter = self.adapter.as_deref();
        request.cache_salt = self.cache_salt.as_deref();
        request.prompt = self.prompt;
        request.batch = self.batch;
        request.cache_use = self.cache_use;
        request.multimodal = self.multimodal;
        request.continues = self.continues.as_deref().map(AnswerId::of);
        let priority = self.priority.map(|priority| order.priority(priority));
        let allowed = priority.and_then(|priority| allow.clamp_priority(priority));
        request.priority = allowed.unwrap_or(Priority(0));
        request.session = self.session.as_deref().filter(|_| allow.session);
        request.expected_output_tokens = self.expected_output_tokens();
        request.streams = self.stream;
        request
    }

    /// Creates the replacement that sets another model.
    ///
    /// # Errors
    ///
    /// Returns an error if the body has no model.
    pub fn model_splice(&self, model: &str) -> Result<ModelSplice, WireError> {
        self.model_range
            .clone()
            .map(|range| ModelSplice::new(range, model))
            .ok_or_else(|| missing(0))
    }
}
