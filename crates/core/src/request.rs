//! What a client asks for, and how it ended.

use core::fmt;
use core::num::NonZeroU32;
use core::time::Duration;

use crate::endpoint::{EndpointId, Role};
use crate::prefix::hash::BlockHash;
use crate::time::Instant;

/// One request for a decision. It borrows everything: nothing is copied to ask.
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
    /// The base model. Goes to endpoints that serve it, or that do not say what they serve.
    pub model: &'a str,
    /// The LoRA adapter on top of it.
    pub adapter: Option<&'a str>,
    /// Requests with different salts share no cache, even for equal prompts.
    pub cache_salt: Option<&'a str>,
    /// What the engine will read.
    pub prompt: Prompt<'a>,
    /// What is in the request beside that prompt: the other prompts of a batch.
    pub batch: Batch,
    /// Whether the engine looks into its cache for this request, and reports what it found.
    pub cache_use: CacheUse,
    /// Higher goes first; below zero may be shed under load.
    pub priority: Priority,
    /// Who asks: the unit of fairness in flow control. [`pick`](crate::Scheduler::pick) never queues, so it is fair to nobody.
    pub flow: &'a str,
    /// The answer that the request goes on from, without which its prompt is not whole: it goes to the endpoint that gave it.
    /// One that is not known goes anywhere.
    pub continues: Option<AnswerId>,
    /// Requests of one conversation share this. Equal costs fall to the endpoint that the session hashes to.
    pub session: Option<&'a str>,
    /// The first token is worthless after this point.
    pub deadline: Option<Instant>,
    /// How long it may wait for a decision, if it is submitted; none means [`FlowConfig::ttl`](crate::FlowConfig::ttl).
    pub ttl: Option<Duration>,
    /// What its flow may have, compared with others of the same priority; 1 unless told.
    pub weight: f64,
    /// Tokens that the answer is expected to have; `max_tokens` is a fair guess.
    pub expected_output_tokens: u32,
    /// Which stages the endpoint must run.
    pub role: Role,
    /// Labels that the endpoint must carry.
    pub labels: &'a [(&'a str, &'a str)],
    /// Endpoints that must not have it, since they have been tried.
    pub exclude: &'a [EndpointId],
}

impl<'a> Request<'a> {
    /// A request for `model` with an empty prompt, priority 0 and no wishes.
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
            ttl: None,
            weight: 1.0,
            expected_output_tokens: 0,
            role: Role::Unified,
            labels: &[],
            exclude: &[],
        }
    }

    /// The prompt as text, when there is no tokenizer at hand.
    ///
    /// A token counts as 4 bytes until the model's own ratio has been learned from the
    /// [`Usage`] of completed requests.
    pub fn text(self, text: &'a (impl AsRef<[u8]> + ?Sized)) -> Self {
        Self { prompt: Prompt::Text(text.as_ref()), ..self }
    }

    /// The prompt as token ids: exact lengths, and comparable with an engine's KV events.
    pub const fn tokens(self, ids: &'a [u32]) -> Self {
        Self { prompt: Prompt::Tokens(ids), ..self }
    }

    /// The prompt as ready hashes of its full blocks, `block_size` tokens each, and its length in tokens.
    pub const fn blocks(
        self,
        hashes: &'a [BlockHash],
        block_size: NonZeroU32,
        tokens: u32,
    ) -> Self {
        Self { prompt: Prompt::Blocks { hashes, block_size, tokens }, ..self }
    }

    /// The other prompts of a batch, and the sequences that the engine makes of all of them.
    pub const fn batch(self, batch: Batch) -> Self {
        Self { batch, ..self }
    }

    /// What the engine does with its cache for this request.
    pub const fn cache_use(self, cache_use: CacheUse) -> Self {
        Self { cache_use, ..self }
    }

    /// The LoRA adapter.
    pub const fn adapter(self, adapter: &'a str) -> Self {
        Self { adapter: Some(adapter), ..self }
    }

    /// The salt that keeps this request's cache apart.
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

    /// The answer that it goes on from.
    pub const fn continues(self, answer: AnswerId) -> Self {
        Self { continues: Some(answer), ..self }
    }

    /// The session.
    pub const fn session(self, session: &'a str) -> Self {
        Self { session: Some(session), ..self }
    }

    /// The latest useful time of the first token.
    pub const fn deadline(self, deadline: Instant) -> Self {
        Self { deadline: Some(deadline), ..self }
    }

    /// How long it may wait.
    pub const fn ttl(self, ttl: Duration) -> Self {
        Self { ttl: Some(ttl), ..self }
    }

    /// What its flow may have, compared with others.
    pub const fn weight(self, weight: f64) -> Self {
        Self { weight, ..self }
    }

    /// The expected answer, in tokens.
    pub const fn expected_output_tokens(self, tokens: u32) -> Self {
        Self { expected_output_tokens: tokens, ..self }
    }

    /// The stages that the endpoint must run.
    pub const fn role(self, role: Role) -> Self {
        Self { role, ..self }
    }

    /// Labels that the endpoint must carry.
    pub const fn labels(self, labels: &'a [(&'a str, &'a str)]) -> Self {
        Self { labels, ..self }
    }

    /// Endpoints that must not have it, even if no other can: those that a retry has tried. What has left the pool
    /// excludes nothing.
    ///
    /// ```
    /// use slotwise::{Endpoint, Instant, RejectReason, Request, Scheduler};
    ///
    /// let now = Instant::ORIGIN;
    /// let mut scheduler = Scheduler::default();
    /// scheduler.add_endpoint(now, Endpoint::new("a"))?;
    /// let first = scheduler.pick(now, &Request::new("llama").text("Hello"))?;
    /// let retry = scheduler.pick(now, &Request::new("llama").text("Hello").exclude(&[first.endpoint]));
    /// assert_eq!(retry.unwrap_err().reason, RejectReason::NoEndpoints);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub const fn exclude(self, endpoints: &'a [EndpointId]) -> Self {
        Self { exclude: endpoints, ..self }
    }
}

impl Request<'_> {
    /// The longest name of a model or an adapter, in bytes. A request with a longer one is rejected: it would be kept for as long as
    /// the request waits or is in flight, and clients choose it.
    pub const MAX_NAME_BYTES: usize = 1_024;

    /// Whether the model or the adapter has a name that is too long.
    pub(crate) fn has_long_name(&self) -> bool {
        [Some(self.model), self.adapter]
            .into_iter()
            .flatten()
            .any(|name| name.len() > Self::MAX_NAME_BYTES)
    }

    /// What counts of it against the limits of the queue: its prompt, and the names that are kept with it.
    pub(crate) fn bytes(&self) -> u64 {
        let prompt = match self.prompt {
            Prompt::Text(text) => text.len(),
            Prompt::Tokens(ids) => size_of_val(ids),
            Prompt::Blocks { hashes, .. } => size_of_val(hashes),
        };
        let labels: usize = self.labels.iter().map(|(key, value)| key.len() + value.len()).sum();
        (prompt + self.model.len() + self.adapter.map_or(0, str::len) + labels) as u64
    }
}

/// What the engine will read, in the form that the gateway has it.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Prompt<'a> {
    /// Bytes of text, in the order in which the engine sees them. Need not be UTF-8.
    Text(&'a [u8]),
    /// Token ids.
    Tokens(&'a [u32]),
    /// Chained hashes of the prompt's full blocks, used as they are: whoever made them has told models, adapters and
    /// salts apart. No hashes and a length is a prompt of which only the length is known.
    #[non_exhaustive]
    Blocks {
        /// One hash a full block, each standing for the block and everything before it.
        hashes: &'a [BlockHash],
        /// Tokens in a block.
        block_size: NonZeroU32,
        /// Tokens in the whole prompt.
        tokens: u32,
    },
}

/// What a request carries beside its first prompt.
///
/// Each prompt is a sequence of its own in the engine. The sum of all prompts is booked, the first one is looked up in
/// caches, and the longest one has to fit into an endpoint.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Batch {
    /// Bytes of the other prompts that are text.
    pub text_bytes: u64,
    /// Bytes of the longest of these.
    pub longest_text: u64,
    /// Tokens of the other prompts that are token ids, or whose length is known in tokens.
    pub tokens: u64,
    /// Tokens of the longest of these.
    pub longest_tokens: u64,
    /// Sequences that share [`Request::expected_output_tokens`]: prompts times answers to each. 0 is as good as 1.
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

    /// Adds a prompt of so many bytes of text.
    pub fn add_text(&mut self, bytes: u64) {
        self.text_bytes = self.text_bytes.saturating_add(bytes);
        self.longest_text = self.longest_text.max(bytes);
    }

    /// Adds a prompt of so many tokens.
    pub fn add_tokens(&mut self, tokens: u64) {
        self.tokens = self.tokens.saturating_add(tokens);
        self.longest_tokens = self.longest_tokens.max(tokens);
    }
}

/// What an engine does with its cache for a request, as far as the answer's [`Usage::cached_tokens`] can tell.
///
/// Fewer cached tokens than predicted are evidence that the engine has evicted blocks only if the engine looked for them and
/// reports what it found.
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
    /// It looks for the prompt's blocks and reports how many tokens it found.
    #[default]
    Read,
    /// It looks for them, and what it reports is about something else: one prompt of a batch, or several answers together.
    Unreported,
    /// It does not look for them, or reads another prompt than this: nothing is expected in the cache, and nothing is
    /// assumed to be there afterwards.
    Unread,
}

impl CacheUse {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Read, Self::Unreported, Self::Unread];

    /// Its name in other languages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Unreported => "unreported",
            Self::Unread => "unread",
        }
    }

    /// The one of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|cache_use| cache_use.as_str() == name)
    }
}

/// The id that an engine gave to its answer, as a hash of 64 bits. Another id of the same hash gains nothing: the
/// ids that a client may name are its own to name.
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
    /// Of no bytes.
    pub const EMPTY: Self = Self(0xcbf2_9ce4_8422_2325);

    /// The hash of an id.
    pub const fn of(id: &str) -> Self {
        Self::EMPTY.extend(id.as_bytes())
    }

    /// The hash of an id that goes on with these bytes (FNV-1a).
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

/// Names one accepted request for as long as the scheduler lives; never used again for another.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(transparent))]
pub struct RequestId(pub(crate) u64);

impl RequestId {
    /// The id with this number, as [`as_u64`](Self::as_u64) gave it out.
    pub const fn from_u64(number: u64) -> Self {
        Self(number)
    }

    /// A number that stands for this id in logs and other languages; below 2^53.
    pub const fn as_u64(self) -> u64 {
        self.0
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "request {}", self.0)
    }
}

/// Higher is more important; 0 is usual; below 0 may be shed when the pool is busy.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(transparent))]
#[expect(clippy::exhaustive_structs, reason = "a number with a meaning, and it will never be more")]
pub struct Priority(pub i32);

impl Priority {
    /// Whether work of this priority may be refused only because the pool is busy.
    pub const fn is_sheddable(self) -> bool {
        self.0 < 0
    }
}

/// What the engine said that a request used; leave out what it did not say.
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
    /// Tokens in the prompt. Teaches the model's bytes per token.
    pub prompt_tokens: Option<u32>,
    /// Prompt tokens that were found in the cache. Corrects what the endpoint is assumed to hold.
    pub cached_tokens: Option<u32>,
    /// Tokens in the answer. Teaches how long answers are.
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
    /// The endpoint never got it: connection refused, name not resolved.
    Unreachable,
    /// The endpoint answered with an error, or its stream broke.
    Engine,
    /// The gateway gave up waiting.
    Timeout,
}
