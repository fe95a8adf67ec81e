//! The contents of one payload of an answer.

use slotwise::AnswerId;

use super::error_phrases::ErrorPhrases;
use super::finish_reason::FinishReason;
use super::scan::Visitor;
use super::schema::{Place, Slot};

/// The contents of one payload so far. If a key occurs several times, the last value counts.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct PayloadFacts {
    pub(super) event: Event,
    /// Counted tokens: by their ids, or else one for each choice with content.
    pub(super) tokens: u32,
    /// Some tokens were not counted by their ids.
    pub(super) guessed: bool,
    pub(super) usage: Counts,
    pub(super) finish: Option<FinishReason>,
    /// One bit for each choice in the payload.
    pub(super) started: u64,
    /// One bit for each choice that finished.
    pub(super) finished: u64,
    content: bool,
    ids: u32,
    choice: u32,
    choice_finished: bool,
    finish_status: Option<u16>,
    error: bool,
    code: Option<u16>,
    own_code: Option<u16>,
    kind: Option<u16>,
    own_kind: Option<u16>,
    object: Object,
    status: Status,
    /// The payload has a key or an item.
    pub(super) filled: bool,
    /// llama.cpp's own `stop`.
    stop: Option<bool>,
    pub(super) phrases: ErrorPhrases,
    /// The id of the described answer, or else of the payload.
    id: AnswerId,
    id_of: IdOf,
    /// The payload is one of Anthropic's messages.
    own_message: bool,
    /// The sums over several payloads in one body.
    batch: Option<Counts>,
}

/// The numbers of a usage as written.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Counts {
    pub(super) prompt: Option<u32>,
    /// The prompt without its cached tokens, which are reported separately.
    pub(super) input: Option<u32>,
    pub(super) completion: Option<u32>,
    pub(super) cached: Option<u32>,
    pub(super) cache_read: Option<u32>,
    pub(super) cache_created: Option<u32>,
}

/// The kind of a payload, from its `type` or the event's name.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum Event {
    #[default]
    Unnamed,
    /// An event that does not affect the end of the answer.
    Other,
    /// Anthropic's last event.
    MessageStop,
    Completed,
    Incomplete,
    Failed,
    Error,
    /// The end of a part of an answer, repeating its whole content.
    Done,
}

/// The object whose id was read.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum IdOf {
    #[default]
    Nothing,
    Payload,
    Answer,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Object {
    #[default]
    Other,
    Error,
    Response,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Status {
    #[default]
    Other,
    Completed,
    Failed,
    Incomplete,
    Cancelled,
}

impl PayloadFacts {
    /// Ends the payload and derives what depends on all of it.
    pub(super) fn conclude(&mut self, name: Event) {
        // An event named as an error is one, whatever type of error its payload has.
        if self.event == Event::Unnamed || name == Event::Error {
            self.event = name;
        }
        self.count();
        if let Some(sums) = self.batch {
            self.usage = sums;
        }
        let of_response = self.object == Object::Response
            || matches!(self.event, Event::Completed | Event::Incomplete | Event::Failed);
        if of_response {
            self.finish = match (self.status, self.event) {
                (Status::Completed, _) | (Status::Other, Event::Completed) => {
                    Some(FinishReason::Stop)
                }
                (Status::Failed, _) | (Status::Other, Event::Failed) => Some(FinishReason::Error),
                (Status::Cancelled, _) => Some(FinishReason::Abort),
                (Status::Incomplete, _) => self.finish.or(Some(FinishReason::Other)),
                (Status::Other, _) => self.finish,
            };
        }
    }

    /// The HTTP status that matches the error in the payload, if there is one.
    pub(super) fn error(&self) -> Option<u16> {
        let own = self.event == Event::Error || self.object == Object::Error;
        if self.error || own {
            if self.phrases.too_long {
                return Some(400);
            }
            let (code, kind) =
                if self.error { (self.code, self.kind) } else { (self.own_code, self.own_kind) };
            let status = code.or(kind).unwrap_or(500);
            return Some(if status == 503 && self.phrases.worker_gone { 500 } else { status });
        }
        match self.finish {
            Some(FinishReason::Error) => Some(self.finish_status.unwrap_or(500)),
            Some(FinishReason::Abort) => self.finish_status,
            _ => None,
        }
    }

    /// llama.cpp's own answers have no choices; `stop` marks their end.
    fn stop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let bit = 1 << self.choice.min(63);
            self.started |= bit;
            if stop {
                self.finished |= bit;
                self.finish = self.finish.or(Some(FinishReason::Stop));
            } else {
                self.finish = None;
            }
        }
    }

    /// Counts the content of a choice, or content outside of choices.
    fn count(&mut self) {
        if self.ids > 0 {
            self.tokens = self.tokens.saturating_add(self.ids);
        } else if self.content && self.event != Event::Done {
            // Content that was streamed in pieces is not counted again as a whole.
            self.tokens = self.tokens.saturating_add(1);
            self.guessed = true;
        }
        self.ids = 0;
        self.content = false;
    }
}

impl Visitor for PayloadFacts {
    fn slot(place: Place, key: &[u8]) -> Slot {
        match (place, key) {
            (Place::Root, b"id") => Slot::RootId,
            (Place::StartMessage | Place::Response, b"id") => Slot::Id,
            (Place::Root, b"choices") => Slot::Choices,
            (Place::Root | Place::Response, b"usage") => Slot::Usage,
            (Place::Root, b"type") => Slot::Type,
            (Place::Root, b"delta") => Slot::EventDelta,
            (Place::Root, b"message") => Slot::StartMessage,
            (Place::Root, b"response") => Slot::Response,
            (Place::Root, b"text" | b"content") => Slot::Content,
            (Place::Root, b"tokens") => Slot::TokenIds,
            (Place::Root, b"stop") => Slot::Stop,
            (Place::Root, b"index") => Slot::ChoiceIndex,
            (Place::Root, b"timings") => Slot::Timings,
            (Place::Root, b"tokens_evaluated") => Slot::PromptTokens,
            (Place::Root, b"tokens_predicted") => Slot::CompletionTokens,
            (Place::Root, b"stop_type") => Slot::FinishReason,
            (Place::Timings, b"prompt_n") => Slot::InputTokens,
            (Place::Timings, b"cache_n") => Slot::CacheRead,
            (Place::Timings, b"predicted_n") => Slot::CompletionTokens,
            (Place::Root, b"detail") | (Place::Error, b"message") => Slot::Message,
            (Place::Root, b"meta_info") => Slot::MetaInfo,
            (Place::Root, b"code") => Slot::Code,
            (Place::Root | Place::Response, b"error") => Slot::Error,
            (Place::Root | Place::Response, b"object") => Slot::Object,
            (Place::Root | Place::Response, b"status") => Slot::Status,
            (Place::Root | Place::Response, b"incomplete_details") => Slot::Incomplete,
            (Place::Root | Place::EventDelta, b"stop_reason") => Slot::FinishReason,
            (Place::Choice, b"index") => Slot::ChoiceIndex,
            (Place::Choice, b"delta" | b"message") => Slot::Delta,
            (Place::Choice, b"text") => Slot::Content,
            (Place::Choice, b"token_ids") => Slot::TokenIds,
            (Place::Choice | Place::MetaInfo, b"finish_reason") => Slot::FinishReason,
            (
                Place::Delta,
                b"content" | b"reasoning_content" | b"reasoning" | b"refusal" | b"tool_calls",
            ) => Slot::Content,
            (Place::Delta, b"function_call") => Slot::Call,
            (Place::EventDelta, b"text" | b"thinking" | b"partial_json") => Slot::Content,
            (Place::StartMessage, b"usage") => Slot::StartUsage,
            (Place::Finish, b"type") | (Place::Incomplete, b"reason") => Slot::FinishReason,
            (Place::Finish, b"status_code") => Slot::FinishStatus,
            (Place::Error, b"code") => Slot::ErrorCode,
            (Place::Error, b"type") => Slot::ErrorType,
            (Place::Usage | Place::MetaInfo, b"prompt_tokens") => Slot::PromptTokens,
            (Place::Usage | Place::MetaInfo, b"completion_tokens") => Slot::CompletionTokens,
            (Place::Usage, b"output_tokens") => Slot::CompletionTokens,
            (Place::Usage | Place::StartUsage, b"input_tokens") => Slot::InputTokens,
            (Place::Usage | Place::StartUsage, b"cache_read_input_tokens") => Slot::CacheRead,
            (Place::Usage | Place::StartUsage, b"cache_creation_input_tokens") => {
                Slot::CacheCreated
            }
            (Place::Usage, b"prompt_tokens_details" | b"input_tokens_details") => {
                Slot::CachedDetails
            }
            (Place::CachedDetails | Place::MetaInfo, b"cached_tokens") => Slot::CachedTokens,
            _ => Slot::Ignored,
        }
    }

    fn key(&mut self, place: Place) {
        self.filled |= place == Place::Root;
    }

    fn item(&mut self, place: Place) {
        match place {
            Place::Batch => self.filled = true,
            Place::TokenIds => self.ids = self.ids.saturating_add(1),
            Place::Filled => self.content = true,
            _ => {}
        }
    }

    fn opened(&mut self, place: Place) {
        match place {
            Place::Batch => self.batch = Some(Counts::default()),
            Place::Choice => (self.choice, self.choice_finished) = (0, false),
            Place::Call => self.content = true,
            Place::Error => self.error = true,
            _ => {}
        }
    }

    fn closed(&mut self, place: Place) {
        match place {
            Place::Choice => {
                self.count();
                let bit = 1 << self.choice.min(63);
                self.started |= bit;
                self.finished |= if self.choice_finished { bit } else { 0 };
            }
            Place::Root => {
                self.count();
                self.stop();
                if let Some(sums) = &mut self.batch {
                    sums.add(core::mem::take(&mut self.usage));
                }
            }
            _ => {}
        }
    }

    fn word(&mut self, slot: Slot, word: &[u8]) {
        match slot {
            Slot::FinishReason if !word.is_empty() => {
                self.finish = Some(FinishReason::join(self.finish, FinishReason::from_bytes(word)));
                self.choice_finished = true;
            }
            Slot::Type => {
                self.event = Event::from_name(word);
                self.own_message = word == b"message";
                self.own_kind = status_of(word);
            }
            Slot::Object => {
                self.object = match word {
                    b"error" => Object::Error,
                    b"response" => Object::Response,
                    _ => Object::Other,
                };
            }
            Slot::Status => {
                self.status = match word {
                    b"completed" => Status::Completed,
                    b"failed" => Status::Failed,
                    b"incomplete" => Status::Incomplete,
                    b"cancelled" => Status::Cancelled,
                    _ => Status::Other,
                };
            }
            Slot::ErrorCode => {
                self.code = status(word).or_else(|| status_of(word));
                self.phrases.feed(word);
            }
            Slot::ErrorType => {
                self.kind = status_of(word);
                self.phrases.feed(word);
            }
            Slot::Code => self.own_code = status(word).or_else(|| status_of(word)),
            _ => {}
        }
    }

    fn content(&mut self, _slot: Slot) {
        self.content = true;
    }

    fn message(&mut self, slot: Slot, piece: &[u8]) {
        let of = match slot {
            Slot::Id => IdOf::Answer,
            Slot::RootId if self.id_of == IdOf::Answer => return,
            Slot::RootId => IdOf::Payload,
            _ => return self.phrase(slot, piece),
        };
        let before = if self.id_of == of { self.id } else { AnswerId::EMPTY };
        (self.id, self.id_of) = (before.extend(piece), of);
    }

    fn scalar(&mut self, slot: Slot, digits: &[u8]) {
        self.number(slot, digits);
    }
}

impl PayloadFacts {
    /// The id of the answer, if later requests can continue from it.
    pub(super) fn answer_id(&self) -> Option<AnswerId> {
        let is_answer = match self.id_of {
            IdOf::Nothing => false,
            IdOf::Payload => self.own_message || self.object == Object::Response,
            IdOf::Answer => true,
        };
        is_answer.then_some(self.id)
    }

    /// Searches the text of an error.
    fn phrase(&mut self, slot: Slot, piece: &[u8]) {
        self.error |= slot == Slot::Error;
        self.phrases.feed(piece);
    }

    fn number(&mut self, slot: Slot, digits: &[u8]) {
        if slot == Slot::Stop {
            self.stop = match digits {
                b"true" => Some(true),
                b"false" => Some(false),
                _ => None,
            };
        }
        let Some(number) = number(digits) else { return };
        let usage = &mut self.usage;
        match slot {
            Slot::ChoiceIndex => self.choice = number,
            Slot::PromptTokens => usage.prompt = Some(number),
            Slot::InputTokens => usage.input = Some(number),
            Slot::CompletionTokens => usage.completion = Some(number),
            Slot::CachedTokens => usage.cached = Some(number),
            Slot::CacheRead => usage.cache_read = Some(number),
            Slot::CacheCreated => usage.cache_created = Some(number),
            Slot::FinishStatus => self.finish_status = status(digits),
            Slot::ErrorCode => self.code = status(digits),
            Slot::Code => self.own_code = status(digits),
            _ => {}
        }
    }
}

impl Counts {
    fn add(&mut self, more: Self) {
        self.each(more, |sum, more| match (*sum, more) {
            (Some(sum), Some(more)) => Some(sum.saturating_add(more)),
            (sum, more) => sum.or(more),
        });
    }

    /// Drops a usage of zeros: no prompt is empty, so the engine did not count.
    pub(super) fn counted(self) -> Self {
        let zero = |number: Option<u32>| number.unwrap_or(0) == 0;
        let beside = zero(self.input) && zero(self.cache_read) && zero(self.cache_created);
        if self.prompt == Some(0) || self.prompt.is_none() && self.input.is_some() && beside {
            Self { completion: self.completion, ..Self::default() }
        } else {
            self
        }
    }

    /// Takes over later numbers except zeros, by which engines fill missing values.
    pub(super) fn update(&mut self, later: Self) {
        self.each(later, |earlier, later| {
            later.filter(|number| *number > 0).or(*earlier).or(later)
        });
    }

    fn each(&mut self, other: Self, join: impl Fn(&Option<u32>, Option<u32>) -> Option<u32>) {
        self.prompt = join(&self.prompt, other.prompt);
        self.input = join(&self.input, other.input);
        self.completion = join(&self.completion, other.completion);
        self.cached = join(&self.cached, other.cached);
        self.cache_read = join(&self.cache_read, other.cache_read);
        self.cache_created = join(&self.cache_created, other.cache_created);
    }
}

impl Event {
    pub(super) fn from_name(name: &[u8]) -> Self {
        match name {
            b"" => Self::Unnamed,
            b"message_stop" => Self::MessageStop,
            b"response.completed" => Self::Completed,
            b"response.incomplete" => Self::Incomplete,
            b"response.failed" => Self::Failed,
            b"error" => Self::Error,
            part if part.ends_with(b".done") => Self::Done,
            _ => Self::Other,
        }
    }
}

/// An HTTP status of an error.
fn status(digits: &[u8]) -> Option<u16> {
    number(digits)
        .and_then(|number| u16::try_from(number).ok())
        .filter(|status| (400..600).contains(status))
}

/// An integer below 2^32.
fn number(digits: &[u8]) -> Option<u32> {
    let digits = core::str::from_utf8(digits).ok()?;
    if let Ok(number) = digits.parse() {
        return Some(number);
    }
    // Some engines write 12.0.
    let number: f64 = digits.parse().ok()?;
    #[expect(clippy::float_cmp, reason = "whether it is whole is a matter of all its bits")]
    let whole = f64::from(number as u32) == number;
    whole.then_some(number as u32)
}

/// The HTTP status that matches an error type of Anthropic, OpenAI or an engine.
fn status_of(kind: &[u8]) -> Option<u16> {
    Some(match kind {
        b"invalid_request_error"
        | b"invalid_prompt"
        | b"context_length_exceeded"
        | b"BadRequestError"
        | b"Bad Request" => 400,
        b"authentication_error" => 401,
        b"permission_error" => 403,
        b"not_found_error" | b"NotFoundError" => 404,
        b"request_too_large" => 413,
        b"rate_limit_error" | b"rate_limit_exceeded" => 429,
        b"overloaded_error" | b"Service Unavailable" | b"ServiceUnavailableError" => 503,
        b"timeout_error" => 504,
        _ => return None,
    })
}
