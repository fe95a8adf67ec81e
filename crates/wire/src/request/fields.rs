//! The fields of a request body, collected key by key.

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
use super::prompt_batch::{self, First, PromptBatch};
use super::reasoning::KeptReasoning;
use super::request_view::{RequestView, SessionField};
use super::required_keys::KeysSeen;
use super::sampling::Sampling;
use super::template_args::TemplateArgs;
use super::tool;
use crate::error::WireError;
use crate::json::{Kind, Reader, Text};

type Result<T> = core::result::Result<T, WireError>;

/// The fields so far. A repeated key replaces its earlier value.
#[derive(Default)]
pub(super) struct Fields<'a> {
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
    ids: [Option<PromptBatch<'a>>; 3],
    plain: Option<PromptBatch<'a>>,
    /// Media beside a plain prompt.
    media: [Option<&'a str>; 3],
    /// The ranges of tools, system and messages in the canonical text.
    sections: [Range<usize>; 3],
    /// The messages in the `input` of embeddings.
    input_messages: Option<Range<usize>>,
}

const TOOLS: usize = 0;
const SYSTEM: usize = 1;
const MESSAGES: usize = 2;

impl<'a> Fields<'a> {
    /// Reads the value of a key.
    pub(super) fn read(
        &mut self,
        api: Api,
        key: &str,
        reader: &mut Reader<'a>,
        to: &mut Buffers,
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

    /// Checks that the body is one of this API.
    pub(super) fn check(&self, api: Api) -> Result<()> {
        self.seen.check(api)
    }

    /// Reads a field of the prompt.
    fn read_prompt(
        &mut self,
        api: Api,
        key: &str,
        reader: &mut Reader<'a>,
        to: &mut Buffers,
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
                self.plain = prompt_batch::any(reader, &mut to.tokens)?;
            }
            ("prompt_token_ids", Api::Generate | Api::InferenceGenerate) => {
                self.ids[0] = prompt_batch::ids(reader, &mut to.tokens)?;
            }
            ("input_ids", Api::Generate) => {
                self.ids[1] = prompt_batch::ids(reader, &mut to.tokens)?;
            }
            ("token_ids", Api::InferenceGenerate) => {
                self.ids[2] = prompt_batch::ids(reader, &mut to.tokens)?;
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
    fn embedded(&mut self, reader: &mut Reader<'a>, to: &mut Buffers) -> Result<()> {
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
            self.plain = prompt_batch::any(reader, &mut to.tokens)?;
        }
        Ok(())
    }

    /// The view of a body whose fields have all been read.
    pub(super) fn view<'r>(mut self, api: Api, of: &'r mut Buffers) -> RequestView<'r>
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
            Some(PromptBatch { first: First::Tokens(range), count, rest }) => {
                others.add(rest);
                let ids = of.tokens.get(range).unwrap_or_default();
                let read = self
                    .cache
                    .kept_tokens()
                    .map_or(ids, |most| &ids[ids.len().saturating_sub(most)..]);
                (Prompt::Tokens(read), count, is_shown, Some(ids.len()))
            }
            Some(PromptBatch { first: First::Text(text), count, rest }) => {
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
            Some(PromptBatch { first: First::None, .. }) | None => {
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
            multimodal: media,
            kv_transfer: self.kv_transfer_params || self.bootstrap_room,
            request_id: string(self.request_id).or_else(|| string(self.rid)),
        }
    }
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

/// The buffers that a body is read into; a reader uses them again for the next one.
#[derive(Clone, Debug, Default)]
pub(super) struct Buffers {
    canonical: CanonicalText,
    tokens: Vec<u32>,
    /// The pieces of the canonical text in their final order.
    pieces: Vec<Range<usize>>,
}

impl Buffers {
    pub(super) fn clear(&mut self) {
        self.canonical.clear();
        self.tokens.clear();
    }

    /// Shrinks each buffer to at most `bytes`.
    pub(super) fn shrink_to(&mut self, bytes: usize) {
        self.canonical.shrink_to(bytes);
        self.tokens.clear();
        self.tokens.shrink_to(bytes / size_of::<u32>());
        self.pieces.clear();
        self.pieces.shrink_to(bytes / size_of::<Range<usize>>());
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
