//! Parses a request body into a view.

use alloc::vec::Vec;
use core::ops::Range;

use slotwise::{Batch as OtherPrompts, Prompt};

use super::api::{Api, Form};
use super::cache_flags::CacheFlags;
use super::canonical_text::{CanonicalText, Mark};
use super::lenient;
use super::message;
use super::model_splice;
use super::part::Omit;
use super::reasoning::KeptReasoning;
use super::request_view::{RequestView, SessionField};
use super::required_keys::KeysSeen;
use super::size_estimate;
use super::template_args::TemplateArgs;
use super::tool;
use crate::error::{ErrorKind, WireError};
use crate::json::{Kind, Reader, Text};

type Result<T> = core::result::Result<T, WireError>;

/// Parses request bodies. Its buffers are reused, so one reader per thread is enough.
///
/// ```
/// use slotwise::Prompt;
/// use slotwise_wire::request::{Api, RequestReader};
///
/// let mut reader = RequestReader::new();
/// let turn = |reader: &mut RequestReader, body: &str| {
///     let view = reader.read(Api::ChatCompletions, body.as_bytes()).expect("valid");
///     let Prompt::Text(text) = view.prompt else { panic!("no token ids in there") };
///     text.to_vec()
/// };
/// let first = turn(&mut reader, r#"{"model": "m", "messages": [
///     {"role": "user", "content": "Hi"}]}"#);
/// let second = turn(&mut reader, r#"{"model": "m", "messages": [
///     {"role": "user", "content": [{"type": "text", "text": "Hi"}]},
///     {"role": "assistant", "content": "Hello!"}, {"role": "user", "content": "Bye"}]}"#);
/// assert!(second.starts_with(&first));
/// ```
#[derive(Clone, Debug)]
pub struct RequestReader {
    limit: usize,
    canonical: CanonicalText,
    tokens: Vec<u32>,
    /// The pieces of the canonical text in their final order.
    pieces: Vec<Range<usize>>,
}

impl RequestReader {
    /// The default limit of a body in bytes: 100 MiB.
    pub const DEFAULT_LIMIT: usize = 100 << 20;

    /// Creates a reader for bodies of up to [100 MiB](Self::DEFAULT_LIMIT).
    pub fn new() -> Self {
        Self::with_limit(Self::DEFAULT_LIMIT)
    }

    /// Creates a reader for bodies of up to `bytes`. Its buffers grow to a small multiple of the
    /// largest body.
    pub fn with_limit(bytes: usize) -> Self {
        Self {
            limit: bytes,
            canonical: CanonicalText::default(),
            tokens: Vec::new(),
            pieces: Vec::new(),
        }
    }

    /// Shrinks each buffer to at most `bytes`.
    pub fn shrink_to(&mut self, bytes: usize) {
        self.canonical.shrink_to(bytes);
        self.tokens.clear();
        self.tokens.shrink_to(bytes / size_of::<u32>());
        self.pieces.clear();
        self.pieces.shrink_to(bytes / size_of::<Range<usize>>());
    }

    /// Parses a body. Computes in **O(bytes)**.
    ///
    /// Unknown keys are skipped. If a key occurs several times, the last value counts. Strings
    /// without escapes are borrowed from the body.
    ///
    /// # Errors
    ///
    /// Returns an error in these cases:
    ///
    /// - The body is longer than the limit, not UTF-8, not JSON, or not an object.
    /// - Arrays and objects are nested deeper than 128 levels.
    /// - A field has a type that engines reject, such as a number as the model or a token id beyond
    ///   32 bits.
    /// - The body has nothing that its API accepts as a prompt ([`ErrorKind::NoPrompt`]), as a body
    ///   of another API.
    pub fn read<'r>(&'r mut self, api: Api, body: &'r [u8]) -> Result<RequestView<'r>> {
        if body.len() > self.limit {
            return Err(WireError::new(self.limit, ErrorKind::TooLong(self.limit)));
        }
        self.canonical.clear();
        self.tokens.clear();
        if api.form() == Form::File && !body.trim_ascii_start().starts_with(b"{") {
            return Ok(size_estimate::of_form(api, body));
        }
        let mut reader = Reader::new(body)?;
        let mut fields = Fields::default();
        if reader.kind()? != Kind::Object {
            return Err(WireError::expected(reader.at(), "an object"));
        }
        reader.open_object()?;
        while let Some(key) = reader.next_key()? {
            fields.read(api, &key.read(), &mut reader, self)?;
        }
        reader.end()?;
        fields.seen.check(api)?;
        let mut view = fields.view(api, self);
        if api.form() != Form::Prompt {
            size_estimate::measure(&mut view, body);
        }
        Ok(view)
    }

    /// Converts a section of the conversation and returns its range.
    fn section(
        &mut self,
        write: impl FnOnce(&mut CanonicalText) -> Result<()>,
    ) -> Result<Range<usize>> {
        let start = self.canonical.len();
        write(&mut self.canonical)?;
        Ok(start..self.canonical.len())
    }
}

impl Default for RequestReader {
    fn default() -> Self {
        Self::new()
    }
}

/// The fields so far. A repeated key replaces its earlier value.
#[derive(Default)]
struct Fields<'a> {
    model: Option<(Text<'a>, Range<usize>)>,
    stream: bool,
    include_usage: bool,
    /// The first one that is set counts.
    max_tokens: [Option<u32>; 2],
    n: Option<u32>,
    sampling: Sampling,
    priority: Option<i64>,
    sessions: [Option<Text<'a>>; SessionField::ALL.len()],
    cache_salt: Option<Text<'a>>,
    /// SGLang's alias.
    extra_key: Option<Text<'a>>,
    adapter: Option<Text<'a>>,
    kv_transfer_params: bool,
    bootstrap_room: bool,
    seen: KeysSeen,
    arguments: TemplateArgs<'a>,
    cache: CacheFlags,
    /// The answer that the request continues, from `thread`.
    thread: Option<Text<'a>>,
    request_id: Option<Text<'a>>,
    rid: Option<Text<'a>>,
    /// Token ids, by the key that the engine reads.
    ids: [Option<Batch<'a>>; 3],
    plain: Option<Batch<'a>>,
    /// Media beside a plain prompt.
    media: [Option<&'a str>; 3],
    /// The ranges of tools, system and messages in the canonical text.
    sections: [Range<usize>; 3],
    /// The messages in the `input` of embeddings.
    input_messages: Option<Range<usize>>,
}

/// The fields of `sampling_params`.
#[derive(Default)]
struct Sampling {
    max_tokens: [Option<u32>; 2],
    n: Option<u32>,
}

/// One prompt or several.
struct Batch<'a> {
    first: First<'a>,
    count: usize,
    rest: OtherPrompts,
}

enum First<'a> {
    None,
    Text(Text<'a>),
    /// Their range among the token ids.
    Tokens(Range<usize>),
}

const TOOLS: usize = 0;
const SYSTEM: usize = 1;
const MESSAGES: usize = 2;

impl<'a> Fields<'a> {
    fn read(
        &mut self,
        api: Api,
        key: &str,
        reader: &mut Reader<'a>,
        to: &mut RequestReader,
    ) -> Result<()> {
        self.seen.key(key);
        match (key, api) {
            ("model", _) => self.model = model_splice::model(reader)?,
            _ if api.form() != Form::Prompt => {
                if !self.read_common(api, key, reader)? {
                    reader.skip()?;
                }
            }
            _ => self.read_prompt(api, key, reader, to)?,
        }
        Ok(())
    }

    /// Reads a field of the prompt.
    fn read_prompt(
        &mut self,
        api: Api,
        key: &str,
        reader: &mut Reader<'a>,
        to: &mut RequestReader,
    ) -> Result<()> {
        match (key, api) {
            // Messages in `input` have precedence.
            ("messages", Api::Embeddings) if self.input_messages.is_some() => _ = reader.skip()?,
            ("messages", Api::ChatCompletions | Api::Messages | Api::Embeddings) => {
                let omit = Omit { billing: api == Api::Messages, nested: false };
                self.sections[MESSAGES] =
                    to.section(|canonical| message::messages(reader, canonical, omit))?;
            }
            ("tools", Api::ChatCompletions | Api::Messages | Api::Responses) => {
                self.sections[TOOLS] = to.section(|canonical| tool::tools(reader, canonical))?;
            }
            ("system", Api::Messages) => {
                let omit = Omit { billing: true, nested: false };
                self.sections[SYSTEM] =
                    to.section(|canonical| message::system(reader, canonical, omit))?;
            }
            ("instructions", Api::Responses) => {
                self.sections[SYSTEM] =
                    to.section(|canonical| message::system(reader, canonical, Omit::default()))?;
            }
            ("input", Api::Responses) => {
                self.sections[MESSAGES] =
                    to.section(|canonical| message::input(reader, canonical))?;
            }
            ("input", Api::Embeddings) => self.embedded(reader, to)?,
            ("prompt", Api::Completions | Api::Generate) | ("text", Api::Generate) => {
                self.plain = batch(reader, &mut to.tokens)?;
            }
            ("prompt_token_ids", Api::Generate | Api::InferenceGenerate) => {
                self.ids[0] = id_batch(reader, &mut to.tokens)?;
            }
            ("input_ids", Api::Generate) => self.ids[1] = id_batch(reader, &mut to.tokens)?,
            ("token_ids", Api::InferenceGenerate) => {
                self.ids[2] = id_batch(reader, &mut to.tokens)?;
            }
            ("image_data", Api::Generate) => self.media[0] = shown(reader)?,
            ("video_data", Api::Generate) => self.media[1] = shown(reader)?,
            ("audio_data", Api::Generate) => self.media[2] = shown(reader)?,
            ("prompt_embeds", Api::Completions) => self.embeddings(0, shown(reader)?),
            ("input_embeds", Api::Generate) => self.embeddings(1, shown(reader)?),
            _ => {
                let known = self.cache.read(key, reader)?
                    || self.arguments.read(api, key, reader)?
                    || self.read_common(api, key, reader)?;
                if !known {
                    reader.skip()?;
                }
            }
        }
        Ok(())
    }

    /// Reads a field outside the prompt. Returns whether `key` is such a field and its value was
    /// read.
    fn read_common(&mut self, api: Api, key: &str, reader: &mut Reader<'a>) -> Result<bool> {
        match (key, api) {
            ("stream", _) => self.stream = lenient::flag(reader, "true or false")?,
            ("stream_options", _) => self.include_usage = include_usage(reader)?,
            ("max_completion_tokens", Api::ChatCompletions)
            | ("max_output_tokens", Api::Responses) => {
                self.max_tokens[0] = lenient::limit(reader, "max tokens")?;
            }
            (
                "max_tokens",
                Api::ChatCompletions | Api::Completions | Api::Messages | Api::Generate,
            ) => {
                self.max_tokens[1] = lenient::limit(reader, "max tokens")?;
            }
            ("n_predict", Api::ChatCompletions | Api::Completions) => {
                self.max_tokens[0] = lenient::limit(reader, "max tokens")?;
            }
            ("sampling_params", Api::Generate | Api::InferenceGenerate) => {
                self.sampling = Sampling::of_first(reader, &mut self.cache)?;
            }
            ("n", Api::ChatCompletions | Api::Completions | Api::Generate) => {
                self.n = lenient::count(reader, "the number of answers")?;
            }
            ("priority", _) => self.priority = lenient::whole(reader, "a priority")?,
            ("cache_salt", _) => self.cache_salt = lenient::first_string(reader, "a cache salt")?,
            ("extra_key", _) => self.extra_key = lenient::first_string(reader, "an extra key")?,
            ("lora_path", _) => self.adapter = lenient::first_string(reader, "an adapter")?,
            ("kv_transfer_params", _) => self.kv_transfer_params = reader.skip()? != "null",
            ("bootstrap_room", _) => self.bootstrap_room = reader.skip()? != "null",
            ("request_id", _) => self.request_id = lenient::string(reader, "a request id")?,
            ("rid", _) => self.rid = lenient::first_string(reader, "a request id")?,
            ("session_id", _) => {
                self.session(SessionField::SessionId, lenient::string(reader, "a session id")?);
            }
            ("prompt_cache_key", _) => {
                self.session(SessionField::PromptCacheKey, lenient::string(reader, "a cache key")?);
            }
            ("user", _) => self.session(SessionField::User, lenient::string(reader, "a user")?),
            ("previous_response_id", Api::Responses) => {
                self.session(
                    SessionField::PreviousResponseId,
                    lenient::string(reader, "a response id")?,
                );
            }
            ("conversation", Api::Responses) => {
                self.session(SessionField::Conversation, member(reader, "id")?);
            }
            ("metadata", Api::Messages) => {
                self.session(SessionField::MetadataUserId, member(reader, "user_id")?);
            }
            ("vllm_xargs", _) => {
                self.session(SessionField::VllmXargs, member(reader, "session_id")?);
            }
            ("session_params", _) => {
                self.session(SessionField::SessionParams, member(reader, "id")?);
            }
            ("diagnostics", Api::Messages) => {
                self.session(SessionField::Diagnostics, member(reader, "previous_message_id")?);
            }
            ("thread", Api::Messages) => {
                self.thread = member(reader, "previous_message_id")?;
                self.session(SessionField::Thread, self.thread);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Handles embeddings in place of a prompt, of which only the size is known.
    fn embeddings(&mut self, place: usize, shown: Option<&'a str>) {
        self.media[place] = shown;
        self.cache.embeds = shown.is_some();
    }

    fn session(&mut self, field: SessionField, id: Option<Text<'a>>) {
        self.sessions[field as usize] = not_empty(id);
    }

    /// Reads the input of embeddings: one prompt or several, as text or conversations.
    fn embedded(&mut self, reader: &mut Reader<'a>, to: &mut RequestReader) -> Result<()> {
        self.plain = None;
        self.input_messages = None;
        let mut inside = reader.clone();
        let is_chat = inside.kind()? == Kind::Array && {
            inside.open_array()?;
            inside.next_item()? && inside.kind()? == Kind::Object
        };
        if is_chat {
            self.input_messages = Some(
                to.section(|canonical| message::messages(reader, canonical, Omit::default()))?,
            );
        } else {
            self.plain = batch(reader, &mut to.tokens)?;
        }
        Ok(())
    }

    fn view<'r>(mut self, api: Api, of: &'r mut RequestReader) -> RequestView<'r>
    where
        'a: 'r,
    {
        let string = |text: Option<Text<'a>>| not_empty(text).map(Text::read);
        let (model, model_range) = self.model.map(|(text, range)| (text.read(), range)).unzip();
        if let Some(messages) = self.input_messages {
            self.sections[MESSAGES] = messages;
        }
        // Engines reject two prompts or read one of them. The longer one never underestimates.
        let longest =
            self.ids.into_iter().flatten().chain(self.plain).filter(|batch| batch.count > 0);
        let longest =
            longest.reduce(|best, next| if next.tokens() > best.tokens() { next } else { best });
        let mut others = OtherPrompts::default();
        let shown = self.media.iter().flatten();
        let is_shown = self.media.iter().any(Option::is_some);
        if self.cache.embeds {
            others.add_tokens(
                shown.clone().map(|embeds| embeds.len() as u64 / EMBEDDING_BYTES).sum(),
            );
        }
        let (prompt, prompts, media, length) = match longest {
            Some(Batch { first: First::Tokens(range), count, rest }) => {
                others.add(rest);
                let ids = of.tokens.get(range).unwrap_or_default();
                let read = self
                    .cache
                    .kept_tokens()
                    .map_or(ids, |most| &ids[ids.len().saturating_sub(most)..]);
                (Prompt::Tokens(read), count, is_shown, Some(ids.len()))
            }
            Some(Batch { first: First::Text(text), count, rest }) => {
                others.add(rest);
                if text.is_escaped() || is_shown {
                    of.canonical.clear();
                    of.canonical.plain(text);
                    shown.for_each(|media| of.canonical.hashed(Mark::Hash, media));
                    (Prompt::Text(of.canonical.as_bytes()), count, is_shown, None)
                } else {
                    (Prompt::Text(text.raw().as_bytes()), count, false, None)
                }
            }
            Some(Batch { first: First::None, .. }) | None => {
                let media = of.canonical.has_media();
                let prompts = usize::from(self.sections.iter().any(|section| !section.is_empty()));
                let start = of.canonical.len();
                let has_tools = !self.sections[TOOLS].is_empty();
                if prompts > 0 {
                    self.arguments.write(has_tools, &mut of.canonical);
                }
                let kept = if self.arguments.keeps_thoughts() {
                    KeptReasoning::All
                } else {
                    KeptReasoning::by(model.as_deref().unwrap_or_default())
                };
                let [tools, system, messages] = self.sections;
                of.pieces.clear();
                of.pieces.extend([start..of.canonical.len(), tools, system]);
                of.canonical.reasoning().split(messages, kept, &mut of.pieces);
                of.canonical.arrange(&of.pieces);
                (
                    Prompt::Text(of.canonical.as_bytes()),
                    prompts + usize::from(self.cache.embeds),
                    media,
                    None,
                )
            }
        };
        let n = self.sampling.n.or(self.n);
        let answers = n.unwrap_or(1).max(1);
        others.sequences =
            u32::try_from(prompts.max(1)).unwrap_or(u32::MAX).saturating_mul(answers);
        let response = self.sessions[SessionField::PreviousResponseId as usize];
        let continues = not_empty(self.thread).or(response);
        let conversation = self.sessions[SessionField::Conversation as usize];
        let elsewhere = media || others.sequences > 1 || continues.or(conversation).is_some();
        let cache_use = self.cache.cache_use(api, length, elsewhere);
        let field =
            SessionField::ALL.into_iter().find(|field| self.sessions[*field as usize].is_some());
        let [first, second] = self.max_tokens;
        let [inner_first, inner_second] = self.sampling.max_tokens;
        RequestView {
            api,
            model,
            model_range,
            prompt,
            prompts,
            batch: others,
            cache_use,
            continues: continues.map(Text::read),
            stream: self.stream,
            include_usage: self.include_usage,
            max_tokens: inner_first.or(inner_second).or(first).or(second),
            n,
            priority: self.priority,
            session: field.and_then(|field| self.sessions[field as usize]).map(Text::read),
            session_field: field,
            cache_salt: string(self.cache_salt).or_else(|| string(self.extra_key)),
            adapter: string(self.adapter),
            kv_transfer: self.kv_transfer_params || self.bootstrap_room,
            request_id: string(self.request_id).or_else(|| string(self.rid)),
        }
    }
}

impl Sampling {
    /// Reads the parameters of the first prompt, if there are parameters for each.
    fn of_first(reader: &mut Reader<'_>, cache: &mut CacheFlags) -> Result<Self> {
        if reader.kind()? != Kind::Array {
            return Self::of(reader, cache);
        }
        reader.open_array()?;
        let mut first = Self::default();
        if reader.next_item()? {
            first = Self::of(reader, cache)?;
            lenient::rest_of_array(reader)?;
        }
        Ok(first)
    }

    fn of(reader: &mut Reader<'_>, cache: &mut CacheFlags) -> Result<Self> {
        let mut sampling = Self::default();
        if lenient::object(reader, "sampling parameters")? {
            while let Some(key) = reader.next_key()? {
                match &*key.read() {
                    "max_new_tokens" => {
                        sampling.max_tokens[0] = lenient::limit(reader, "max tokens")?;
                    }
                    "max_tokens" => sampling.max_tokens[1] = lenient::limit(reader, "max tokens")?,
                    "n" => sampling.n = lenient::count(reader, "the number of answers")?,
                    key => {
                        if !cache.read(key, reader)? {
                            reader.skip()?;
                        }
                    }
                }
            }
        }
        Ok(sampling)
    }
}

impl Batch<'_> {
    /// A batch of one prompt.
    fn one(first: First<'_>) -> Batch<'_> {
        Batch { first, count: 1, rest: OtherPrompts::default() }
    }

    /// Tokens of all prompts, estimated for text.
    fn tokens(&self) -> u64 {
        let first = match &self.first {
            First::None => 0,
            First::Text(text) => text.decoded_len() as u64 / 4,
            First::Tokens(range) => range.len() as u64,
        };
        first.saturating_add(self.rest.tokens).saturating_add(self.rest.text_bytes / 4)
    }

    /// Counts the prompts after the first.
    fn read_rest(&mut self, reader: &mut Reader<'_>) -> Result<()> {
        while reader.next_item()? {
            self.count += 1;
            match reader.kind()? {
                Kind::Text => self.rest.add_text(reader.text()?.decoded_len() as u64),
                Kind::Array => {
                    reader.open_array()?;
                    self.rest.add_tokens(lenient::rest_of_array(reader)? as u64);
                }
                _ => _ = reader.skip()?,
            }
        }
        Ok(())
    }
}

/// Reads one prompt or several, as text or token ids.
fn batch<'a>(reader: &mut Reader<'a>, tokens: &mut Vec<u32>) -> Result<Option<Batch<'a>>> {
    const WHAT: &str = "a prompt: a string, token ids, or an array of either";
    match reader.kind()? {
        Kind::Text => Ok(Some(Batch::one(First::Text(reader.text()?)))),
        Kind::Array => {
            let mut inside = reader.clone();
            inside.open_array()?;
            if inside.next_item()? && inside.kind()? == Kind::Text {
                let mut batch = Batch::one(First::Text(inside.text()?));
                batch.read_rest(&mut inside)?;
                *reader = inside;
                return Ok(Some(batch));
            }
            id_batch(reader, tokens)
        }
        Kind::Null => reader.null().map(|_| None),
        _ => Err(WireError::expected(reader.at(), WHAT)),
    }
}

/// Reads the token ids of one prompt or several.
fn id_batch<'a>(reader: &mut Reader<'a>, tokens: &mut Vec<u32>) -> Result<Option<Batch<'a>>> {
    match reader.kind()? {
        Kind::Array => {}
        Kind::Null => return reader.null().map(|_| None),
        _ => return Err(WireError::expected(reader.at(), "an array of token ids")),
    }
    let mut inside = reader.clone();
    inside.open_array()?;
    if !inside.next_item()? {
        *reader = inside;
        return Ok(Some(Batch { count: 0, ..Batch::one(First::None) }));
    }
    if inside.kind()? != Kind::Array {
        return Ok(Some(Batch::one(First::Tokens(lenient::ids(reader, tokens)?))));
    }
    let mut batch = Batch::one(First::Tokens(lenient::ids(&mut inside, tokens)?));
    batch.read_rest(&mut inside)?;
    *reader = inside;
    Ok(Some(batch))
}

/// Base64 bytes of the embedding of one token: about 4,096 numbers of two bytes.
const EMBEDDING_BYTES: u64 = 10_923;

/// Reads the media beside a prompt, as written.
fn shown<'a>(reader: &mut Reader<'a>) -> Result<Option<&'a str>> {
    reader.kind()?;
    let json = reader.skip()?;
    Ok(Some(json).filter(|json| !matches!(*json, "null" | "[]")))
}

fn include_usage(reader: &mut Reader<'_>) -> Result<bool> {
    let mut include = false;
    if lenient::object(reader, "stream options")? {
        while let Some(key) = reader.next_key()? {
            if key.is("include_usage") {
                include = lenient::flag(reader, "true or false")?;
            } else {
                reader.skip()?;
            }
        }
    }
    Ok(include)
}

/// Reads a string, or the string of this name in an object; `None` for other types.
fn member<'a>(reader: &mut Reader<'a>, name: &str) -> Result<Option<Text<'a>>> {
    if reader.kind()? != Kind::Object {
        return lenient::any_string(reader);
    }
    let mut found = None;
    reader.open_object()?;
    while let Some(key) = reader.next_key()? {
        if key.is(name) {
            found = lenient::any_string(reader)?;
        } else {
            reader.skip()?;
        }
    }
    Ok(found)
}

fn not_empty(text: Option<Text<'_>>) -> Option<Text<'_>> {
    text.filter(|text| !text.raw().is_empty())
}
