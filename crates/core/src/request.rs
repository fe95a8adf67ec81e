//! A request: its prompt, its requirements, and the outcomes that a gateway reports.

use core::fmt;
use core::num::NonZeroU32;
use core::time::Duration;

use crate::endpoint::{EndpointId, Role};
use crate::prefix::hash::BlockHash;
use crate::subset::Subset;
use crate::time::Instant;

/// A request for a decision. It borrows all its parts, so a decision copies nothing.
///
/// ```
/// use slotwise::{Priority, Request};
///
/// let request = Request::new("llama-3.1-8b")
///     .text("You are a helpful assistant. What is a prefix cache?")
///     .priority(Priority(1))
///     .expected_output_tokens(200);
/// assert_eq!(request.model, "llama-3.1-8b");
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Request<'a> {
    /// The base model. Eligible endpoints serve it, or name no models.
    pub model: &'a str,
    /// The LoRA adapter on top of it.
    pub adapter: Option<&'a str>,
    /// Requests with different salts share no cache, even for equal prompts.
    pub cache_salt: Option<&'a str>,
    /// The prompt.
    pub prompt: Prompt<'a>,
    /// The other prompts of a batch.
    pub batch: Batch,
    /// How the engine uses its prefix cache for the request.
    pub cache_use: CacheUse,
    /// Higher priorities go first; negative ones may be shed under load.
    pub priority: Priority,
    /// The fairness id, usually a tenant: flows of one priority share its capacity. Only queued
    /// requests are ordered by flow; [`pick`](crate::Scheduler::pick) never queues.
    pub flow: &'a str,
    /// The answer that the request continues, if its prompt is incomplete without it. The request
    /// goes to the endpoint that gave the answer; an unknown answer is ignored.
    pub continues: Option<AnswerId>,
    /// The id of the conversation. Among endpoints of equal cost, its hash decides.
    pub session: Option<&'a str>,
    /// The latest useful time of the first token.
    pub deadline: Option<Instant>,
    /// The service level of the time to first token, from the arrival. A sheddable request needs an
    /// endpoint that is predicted to meet it; for others it is reported and orders the queue.
    pub slo_ttft: Option<Duration>,
    /// The service level of the time per output token. A sheddable request needs an endpoint that
    /// is predicted to meet it; for others it is reported.
    pub slo_tpot: Option<Duration>,
    /// The longest time in the queue, for submitted requests; `None` means
    /// [`FlowConfig::ttl`](crate::FlowConfig::ttl).
    pub ttl: Option<Duration>,
    /// The share of the request's flow relative to other flows of the same priority; 1 by default.
    pub weight: f64,
    /// The expected length of the answer in tokens; `max_tokens` is an upper bound.
    pub expected_output_tokens: u32,
    /// Whether the answer comes as a stream; true by default. A whole answer comes at its end, also
    /// its headers: see [`Dispatch::idle_limit`](crate::Dispatch::idle_limit).
    pub streams: bool,
    /// Which stages the endpoint must run.
    pub role: Role,
    /// Whether the request has media, such as images, which another endpoint may encode.
    pub multimodal: bool,
    /// Labels that the endpoint must carry.
    pub labels: &'a [(&'a str, &'a str)],
    /// Endpoints that must not get the request, such as those that a retry has tried.
    pub exclude: &'a [EndpointId],
    /// The only endpoints that may get the request; `None` allows all.
    pub subset: Option<Subset<'a>>,
    /// Headers that the plugins of a scheduling profile may read, with names in lower case.
    pub headers: &'a [(&'a str, &'a str)],
}

impl<'a> Request<'a> {
    /// A request for `model` with an empty prompt, priority 0 and defaults for the rest.
    pub const fn new(model: &'a str) -> Self {
        Self {
            model,
            adapter: None,
            cache_salt: None,
            prompt: Prompt::Text(b""),
            batch: Batch::NONE,
            cache_use: CacheUse::Read,
            priority: Priority(0),
            flow: "",
            continues: None,
            session: None,
            deadline: None,
            slo_ttft: None,
            slo_tpot: None,
            ttl: None,
            weight: 1.0,
            expected_output_tokens: 0,
            streams: true,
            role: Role::Unified,
            multimodal: false,
            labels: &[],
            exclude: &[],
            subset: None,
            headers: &[],
        }
    }

    /// The prompt as text, for gateways without a tokenizer.
    ///
    /// A token counts as 4 bytes until the ratio of the model has been learned from the [`Usage`]
    /// of completed requests.
    pub fn text(self, text: &'a (impl AsRef<[u8]> + ?Sized)) -> Self {
        Self { prompt: Prompt::Text(text.as_ref()), ..self }
    }

    /// The prompt as token ids. Lengths are exact, and the blocks match those of KV events.
    pub const fn tokens(self, ids: &'a [u32]) -> Self {
        Self { prompt: Prompt::Tokens(ids), ..self }
    }

    /// The prompt as the hashes of its full blocks of `block_size` tokens, and its length in
    /// tokens.
    pub const fn blocks(
        self,
        hashes: &'a [BlockHash],
        block_size: NonZeroU32,
        tokens: u32,
    ) -> Self {
        Self { prompt: Prompt::Blocks { hashes, block_size, tokens }, ..self }
    }

    /// The other prompts of a batch, and the number of sequences.
    pub const fn batch(self, batch: Batch) -> Self {
        Self { batch, ..self }
    }

    /// How the engine uses its prefix cache for the request.
    pub const fn cache_use(self, cache_use: CacheUse) -> Self {
        Self { cache_use, ..self }
    }

    /// The LoRA adapter.
    pub const fn adapter(self, adapter: &'a str) -> Self {
        Self { adapter: Some(adapter), ..self }
    }

    /// The cache salt.
    pub const fn cache_salt(self, salt: &'a str) -> Self {
        Self { cache_salt: Some(salt), ..self }
    }

    /// The priority.
    pub const fn priority(self, priority: Priority) -> Self {
        Self { priority, ..self }
    }

    /// The fairness id.
    pub const fn flow(self, flow: &'a str) -> Self {
        Self { flow, ..self }
    }

    /// The answer that the request continues.
    pub const fn continues(self, answer: AnswerId) -> Self {
        Self { continues: Some(answer), ..self }
    }

    /// The session.
    pub const fn session(self, session: &'a str) -> Self {
        Self { session: Some(session), ..self }
    }

    /// The service level of the time to first token.
    pub const fn slo_ttft(self, level: Duration) -> Self {
        Self { slo_ttft: Some(level), ..self }
    }

    /// The service level of the time per output token.
    pub const fn slo_tpot(self, level: Duration) -> Self {
        Self { slo_tpot: Some(level), ..self }
    }

    /// The latest useful time of the first token of a request that arrives now: its deadline, and
    /// its service level.
    pub(crate) fn first_token_due(&self, now: Instant) -> Option<Instant> {
        let level = self.slo_ttft.map(|level| now + level);
        self.deadline.into_iter().chain(level).min()
    }

    /// The time of the first token after which the request is rejected: the service level counts
    /// for sheddable requests only.
    pub(crate) fn must_start_by(&self, now: Instant) -> Option<Instant> {
        if self.priority.is_sheddable() { self.first_token_due(now) } else { self.deadline }
    }

    /// The time per output token above which an endpoint cannot have the request.
    pub(crate) fn tpot_limit(&self) -> Option<Duration> {
        self.slo_tpot.filter(|_| self.priority.is_sheddable())
    }

    /// The latest useful time of the first token.
    pub const fn deadline(self, deadline: Instant) -> Self {
        Self { deadline: Some(deadline), ..self }
    }

    /// The longest time in the queue.
    pub const fn ttl(self, ttl: Duration) -> Self {
        Self { ttl: Some(ttl), ..self }
    }

    /// The relative share of the flow.
    pub const fn weight(self, weight: f64) -> Self {
        Self { weight, ..self }
    }

    /// The expected answer, in tokens.
    pub const fn expected_output_tokens(self, tokens: u32) -> Self {
        Self { expected_output_tokens: tokens, ..self }
    }

    /// Whether the answer comes as a stream.
    pub const fn streams(self, streams: bool) -> Self {
        Self { streams, ..self }
    }

    /// The stages that the endpoint must run.
    pub const fn role(self, role: Role) -> Self {
        Self { role, ..self }
    }

    /// Whether the request has media.
    pub const fn multimodal(self, multimodal: bool) -> Self {
        Self { multimodal, ..self }
    }

    /// Labels that the endpoint must carry.
    pub const fn labels(self, labels: &'a [(&'a str, &'a str)]) -> Self {
        Self { labels, ..self }
    }

    /// Endpoints that must not get the request, even if no other can. Ids that have left the pool
    /// are ignored.
    ///
    /// ```
    /// use slotwise::{Endpoint, Instant, RejectReason, Request, Scheduler};
    ///
    /// let now = Instant::ORIGIN;
    /// let mut scheduler = Scheduler::default();
    /// scheduler.add_endpoint(now, Endpoint::new("a"))?;
    /// let first = scheduler.pick(now, &Request::new("llama").text("Hello"))?;
    /// let tried = [first.endpoint_id];
    /// let retry = Request::new("llama").text("Hello").exclude(&tried);
    /// assert_eq!(scheduler.pick(now, &retry).unwrap_err().reason, RejectReason::NoEndpoints);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub const fn exclude(self, endpoints: &'a [EndpointId]) -> Self {
        Self { exclude: endpoints, ..self }
    }

    /// The only endpoints that may get the request. Unlike [`exclude`](Self::exclude), it also
    /// covers endpoints that join later.
    pub const fn subset(self, subset: Subset<'a>) -> Self {
        Self { subset: Some(subset), ..self }
    }

    /// Headers that the plugins of a scheduling profile may read, with names in lower case.
    pub const fn headers(self, headers: &'a [(&'a str, &'a str)]) -> Self {
        Self { headers, ..self }
    }
}

impl Request<'_> {
    /// The longest name of a model or an adapter, in bytes. Requests with longer names are
    /// rejected, because clients choose names and the scheduler stores them with the request.
    pub const MAX_NAME_BYTES: usize = 1_024;

    /// Whether the name of the model or the adapter is too long.
    pub(crate) fn has_long_name(&self) -> bool {
        [Some(self.model), self.adapter]
            .into_iter()
            .flatten()
            .any(|name| name.len() > Self::MAX_NAME_BYTES)
    }

    /// The bytes that count against the limits of the queue: the prompt, and the names stored with
    /// it.
    pub(crate) fn bytes(&self) -> u64 {
        let prompt = match self.prompt {
            Prompt::Text(text) => text.len(),
            Prompt::Tokens(ids) => size_of_val(ids),
            Prompt::Blocks { hashes, .. } => size_of_val(hashes),
        };
        let pairs = self.labels.iter().chain(self.headers);
        let pairs: usize = pairs.map(|(key, value)| key.len() + value.len()).sum();
        let subset = self.subset.as_ref().map_or(0, Subset::bytes);
        (prompt + self.model.len() + self.adapter.map_or(0, str::len) + pairs + subset) as u64
    }
}

/// A prompt, in the form that the gateway has.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Prompt<'a> {
    /// Bytes of text in the order of the engine's prompt. They need not be UTF-8.
    Text(&'a [u8]),
    /// Token ids.
    Tokens(&'a [u32]),
    /// Chained hashes of the prompt's full blocks, used as given: their source must separate
    /// models, adapters and salts. Without hashes, only the length is known.
    #[non_exhaustive]
    Blocks {
        /// One hash for each full block, which covers the block and all before it.
        hashes: &'a [BlockHash],
        /// Tokens in a block.
        block_size: NonZeroU32,
        /// Tokens in the whole prompt.
        tokens: u32,
    },
}

/// The prompts of a request besides the first.
///
/// Each prompt is a sequence of its own in the engine. The sum of all prompts is booked, the first
/// one is looked up in caches, and the longest one must fit into an endpoint.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Batch {
    /// Bytes of the other text prompts.
    pub text_bytes: u64,
    /// Bytes of the longest other text prompt.
    pub longest_text: u64,
    /// Tokens of the other prompts whose length is known in tokens.
    pub tokens: u64,
    /// Tokens of the longest prompt among these.
    pub longest_tokens: u64,
    /// Sequences that share [`Request::expected_output_tokens`]: prompts times answers for each. 0
    /// counts as 1.
    pub sequences: u32,
}

impl Batch {
    /// One prompt, one answer.
    pub const NONE: Self =
        Self { text_bytes: 0, longest_text: 0, tokens: 0, longest_tokens: 0, sequences: 1 };

    /// Adds the prompts of another batch.
    pub fn add(&mut self, other: Self) {
        self.text_bytes = self.text_bytes.saturating_add(other.text_bytes);
        self.tokens = self.tokens.saturating_add(other.tokens);
        self.longest_text = self.longest_text.max(other.longest_text);
        self.longest_tokens = self.longest_tokens.max(other.longest_tokens);
    }

    /// Adds a text prompt of `bytes` bytes.
    pub fn add_text(&mut self, bytes: u64) {
        self.text_bytes = self.text_bytes.saturating_add(bytes);
        self.longest_text = self.longest_text.max(bytes);
    }

    /// Adds a prompt of `tokens` tokens.
    pub fn add_tokens(&mut self, tokens: u64) {
        self.tokens = self.tokens.saturating_add(tokens);
        self.longest_tokens = self.longest_tokens.max(tokens);
    }
}

/// How an engine uses its prefix cache for a request, and what [`Usage::cached_tokens`] means.
///
/// Fewer cached tokens than predicted are evidence of evictions only if the engine looks prompts up
/// and reports the tokens that it found.
///
/// ```
/// use slotwise::CacheUse;
///
/// assert_eq!(CacheUse::from_name("unread"), Some(CacheUse::Unread));
/// assert_eq!(CacheUse::default(), CacheUse::Read);
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum CacheUse {
    /// The engine looks the prompt up and reports the tokens that it found.
    #[default]
    Read,
    /// The engine looks the prompt up, but its report covers something else: one prompt of a batch,
    /// or several answers together.
    Unreported,
    /// The engine does not look the prompt up, or computes another prompt. No cached blocks are
    /// expected, and none are assumed afterwards.
    Unread,
}

impl CacheUse {
    /// All variants.
    pub const ALL: [Self; 3] = [Self::Read, Self::Unreported, Self::Unread];

    /// The name in other languages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Unreported => "unreported",
            Self::Unread => "unread",
        }
    }

    /// The variant of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|cache_use| cache_use.as_str() == name)
    }
}

/// The id that an engine gave to its answer, as a 64-bit hash.
///
/// ```
/// use slotwise::AnswerId;
///
/// assert_eq!(AnswerId::of("msg_1"), AnswerId::EMPTY.extend(b"msg").extend(b"_1"));
/// assert_ne!(AnswerId::of("msg_1"), AnswerId::of("msg_2"));
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct AnswerId(u64);

impl Default for AnswerId {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl AnswerId {
    /// The hash of no bytes.
    pub const EMPTY: Self = Self(0xcbf2_9ce4_8422_2325);

    /// The hash of an id.
    pub const fn of(id: &str) -> Self {
        Self::EMPTY.extend(id.as_bytes())
    }

    /// The hash of the id with these bytes appended (FNV-1a).
    pub const fn extend(self, bytes: &[u8]) -> Self {
        let (mut hash, mut rest) = (self.0, bytes);
        while let [byte, after @ ..] = rest {
            hash = (hash ^ *byte as u64).wrapping_mul(0x0100_0000_01b3);
            rest = after;
        }
        Self(hash)
    }

    pub(crate) const fn as_u64(self) -> u64 {
        self.0
    }
}

/// The id of an accepted request, unique for the lifetime of the scheduler.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(transparent))]
pub struct RequestId(pub(crate) u64);

impl RequestId {
    /// The id with this number, which [`as_u64`](Self::as_u64) returned.
    pub const fn from_u64(number: u64) -> Self {
        Self(number)
    }

    /// The id as a number below 2^53, for logs and other languages.
    pub const fn as_u64(self) -> u64 {
        self.0
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "request {}", self.0)
    }
}

/// The importance of a request: higher goes first. 0 is the default; negative priorities may be
/// shed under load.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(transparent))]
#[expect(clippy::exhaustive_structs, reason = "a number with a meaning, and it will never be more")]
pub struct Priority(pub i32);

impl Priority {
    /// Whether requests of this priority may be rejected only because the pool is busy.
    pub const fn is_sheddable(self) -> bool {
        self.0 < 0
    }
}

/// The usage that an engine reported for a request. Omit what the engine did not report.
///
/// ```
/// use slotwise::Usage;
///
/// let usage = Usage::default().prompt_tokens(1_200).cached_tokens(1_024).completion_tokens(80);
/// assert_eq!(usage.cached_tokens, Some(1_024));
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default))]
#[non_exhaustive]
pub struct Usage {
    /// Tokens in the prompt. The model's bytes per token are learned from it.
    pub prompt_tokens: Option<u32>,
    /// Prompt tokens found in the cache. They correct the estimate of the endpoint's cache.
    pub cached_tokens: Option<u32>,
    /// Tokens in the answer. The mean length of answers is learned from it.
    pub completion_tokens: Option<u32>,
}

impl Usage {
    /// Tokens in the prompt.
    pub const fn prompt_tokens(self, tokens: u32) -> Self {
        Self { prompt_tokens: Some(tokens), ..self }
    }

    /// Prompt tokens found in the cache.
    pub const fn cached_tokens(self, tokens: u32) -> Self {
        Self { cached_tokens: Some(tokens), ..self }
    }

    /// Tokens in the answer.
    pub const fn completion_tokens(self, tokens: u32) -> Self {
        Self { completion_tokens: Some(tokens), ..self }
    }
}

/// How a request failed.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum Failure {
    /// The endpoint never received the request: connection refused, name not resolved.
    Unreachable,
    /// The endpoint answered with an error, or its stream broke.
    Engine,
    /// The gateway timed out.
    Timeout,
}
