//! Reads a response as it arrives.

use slotwise::{AnswerId, Usage};

use super::finish_reason::FinishReason;
use super::outcome::{AnswerEnd, CloseReason, Outcome, Retry};
use super::payload::{Payload, Whole};
use super::payload_facts::{Counts, Event};
use super::scan::Unexpected;
use super::sse::{EventStream, Events};
use crate::error::{ErrorKind, WireError};

/// Reads a response in chunks of any size and determines how it ended.
///
/// It supports streams and bodies of these APIs and detects which one it reads:
///
/// - OpenAI's completions, chat completions and responses
/// - Anthropic's messages
/// - SGLang's `generate`
/// - llama.cpp's `/completion` and `/infill`
///
/// Chunks are decoded bytes: the HTTP client handles transfer encoding and compression.
///
/// The reader stores none of the answer. It takes little more than a kilobyte, whatever the length
/// of lines and bodies, and never allocates. Feeding computes in **O(bytes)**.
///
/// # Example: a stream
///
/// ```
/// use slotwise_wire::response::{CloseReason, AnswerEnd, FinishReason, ResponseReader};
///
/// let mut reader = ResponseReader::new(200, "text/event-stream; charset=utf-8");
/// let progress = reader.feed(b"data: {\"choices\":[{\"index\":0,\"text\":\"Hel\"}]}\n\nda");
/// assert!(progress.first_token);
/// reader.feed(br#"ta: {"choices":[{"index":0,"text":"lo","finish_reason":"length"}],"usage":"#);
/// reader.feed(br#"{"prompt_tokens":9,"completion_tokens":2,"#);
/// reader.feed(b"\"prompt_tokens_details\":{\"cached_tokens\":8}}}\n\n");
/// let progress = reader.feed(b"data: [DONE]\n\n");
/// assert!(progress.ended);
///
/// let outcome = reader.finish(CloseReason::Clean);
/// assert_eq!(outcome.end, AnswerEnd::Complete);
/// assert_eq!(outcome.finish_reason, Some(FinishReason::Length));
/// assert_eq!(outcome.usage.cached_tokens, Some(8));
/// ```
///
/// # Example: an aborted request
///
/// ```
/// use slotwise_wire::response::{CloseReason, AnswerEnd, ResponseReader, Disposition};
///
/// let mut reader = ResponseReader::new(200, "application/json");
/// reader.feed(br#"{"choices":[{"index":0,"text":"Once upon","finish_reason":"abort"}]}"#);
/// let outcome = reader.finish(CloseReason::Clean);
/// assert_eq!(outcome.end, AnswerEnd::Aborted);
/// assert_eq!(outcome.settlement(), Disposition::Fail(slotwise::Failure::Engine));
/// ```
#[derive(Clone, Debug)]
pub struct ResponseReader {
    status: u16,
    body: Body,
    /// The body is an HTML page.
    page: bool,
    stream: EventStream,
    answer: Answer,
    /// The number of bytes before the chunk.
    offset: usize,
}

/// The kind of a response's body.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Body {
    /// Server-sent events.
    Stream,
    /// One JSON text.
    Json,
    /// Another format, which is not parsed.
    Opaque,
}

/// What one or more chunks contained. The sum over all chunks does not depend on the chunking.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Progress {
    /// The first token arrived. Never set for a body other than a stream, whose first and last
    /// tokens arrive together.
    pub first_token: bool,
    /// The number of tokens that arrived.
    pub tokens: u32,
    /// The answer ended; later bytes are ignored.
    pub ended: bool,
    /// The id of the answer, if later requests can continue from it: of Anthropic's messages and
    /// OpenAI's responses.
    #[cfg_attr(feature = "serde", serde(skip))]
    pub answer: Option<AnswerId>,
}

/// The answer so far.
#[derive(Clone, Debug)]
struct Answer {
    payload: Payload,
    name: [u8; LONGEST_NAME],
    name_length: usize,
    tokens: u32,
    exact: bool,
    /// Counted tokens: by their ids, or else at least one for each choice with content.
    seen: u32,
    usage: Counts,
    finish: Option<FinishReason>,
    started: u64,
    finished: u64,
    /// A payload other than an error arrived.
    begun: bool,
    /// The JSON has contents.
    filled: bool,
    first_token: bool,
    ended: bool,
    error: Option<u16>,
    unreadable: u32,
    problem: Option<WireError>,
    progress: Progress,
    id: Option<AnswerId>,
    offset: usize,
}

impl ResponseReader {
    /// Creates a reader for the body of a response with this status and `Content-Type`.
    ///
    /// For a 5xx status, only phrases that name another cause count: a prompt that is too long, or
    /// a lost worker.
    pub fn new(status: u16, content_type: &str) -> Self {
        let media = content_type.split(';').next().unwrap_or_default().trim();
        let page = ["text/html", "application/xhtml+xml"]
            .iter()
            .any(|kind| media.eq_ignore_ascii_case(kind));
        Self { page, ..Self::with_body(status, Body::of(content_type)) }
    }

    /// Creates a reader for a known kind of body.
    pub fn with_body(status: u16, body: Body) -> Self {
        let body = if matches!(status, 200..300) { body } else { Body::Opaque };
        let (stream, answer) = (EventStream::new(), Answer::new());
        Self { status, body, page: false, stream, answer, offset: 0 }
    }

    /// Reads a chunk and returns its contents.
    ///
    /// An event counts once it is complete. After the end of the answer, chunks are ignored.
    pub fn feed(&mut self, chunk: &[u8]) -> Progress {
        self.answer.progress = Progress::default();
        self.answer.offset = self.offset;
        match self.body {
            _ if self.answer.ended => {}
            Body::Stream => self.stream.feed(chunk, &mut self.answer),
            Body::Json => self.answer.data(chunk, 0),
            Body::Opaque if self.status >= 500 => self.answer.payload.facts.phrases.feed(chunk),
            Body::Opaque => {}
        }
        self.offset = self.offset.saturating_add(chunk.len());
        self.answer.progress
    }

    /// Ends the body and returns how the answer ended.
    ///
    /// A stream is complete after its last event, or after a finish reason for each choice. A body
    /// is complete when its JSON is. The last event of a stream counts without its empty line if
    /// its JSON is complete. `close` matters only for an answer that has not ended. An empty body
    /// with a status of success is not an answer: it is cut.
    pub fn finish(mut self, close: CloseReason) -> Outcome {
        let answer = &mut self.answer;
        let last = answer.payload.whole();
        let counts = matches!(last, Whole::Json | Whole::Mark)
            || self.body == Body::Json && last == Whole::Broken;
        if !answer.ended && counts {
            answer.conclude(self.body);
        }
        let end = match self.body {
            _ if !matches!(self.status, 200..300) => AnswerEnd::of_status(self.error_status()),
            Body::Opaque if self.page => AnswerEnd::Unreadable,
            Body::Opaque if close == CloseReason::Clean && self.offset > 0 => AnswerEnd::Complete,
            Body::Json if matches!(last, Whole::Broken | Whole::Mark) => AnswerEnd::Unreadable,
            Body::Json if last == Whole::Json && !answer.filled => AnswerEnd::Unreadable,
            Body::Json if last == Whole::Json => answer.end().unwrap_or(AnswerEnd::Complete),
            Body::Stream => answer.end().unwrap_or_else(|| close.end()),
            Body::Json | Body::Opaque => close.end(),
        };
        self.outcome(end)
    }

    /// The kind of the body.
    pub const fn body(&self) -> Body {
        self.body
    }

    /// Tokens of the answer so far, and whether the number is exact.
    pub const fn tokens(&self) -> (u32, bool) {
        (self.answer.tokens, self.answer.exact)
    }

    /// Whether a stream has delivered a payload other than an error, after which it is never
    /// retried.
    ///
    /// A gateway that forwards nothing until then can still try another endpoint after a leading
    /// error. Never set for a body other than a stream, where it matters only whether any byte was
    /// forwarded.
    pub const fn has_begun(&self) -> bool {
        self.answer.begun
    }

    /// Whether the next bytes of a stream would begin an event: another event may follow what came.
    ///
    /// False for a body other than a stream, and after the end of the answer.
    pub fn is_between_events(&self) -> bool {
        let Answer { payload, name_length, ended, .. } = &self.answer;
        self.body == Body::Stream
            && !ended
            && *name_length == 0
            && payload.whole() == Whole::Empty
            && self.stream.is_between_lines()
    }

    /// The finish reason so far.
    pub const fn finish_reason(&self) -> Option<FinishReason> {
        self.answer.finish
    }

    /// The reported usage so far.
    pub fn usage(&self) -> Usage {
        self.answer.usage()
    }

    /// The status of an error, or the one that its body identifies as the cause.
    const fn error_status(&self) -> u16 {
        let phrases = &self.answer.payload.facts.phrases;
        match self.status {
            500.. if phrases.too_long => 400,
            503 if phrases.worker_gone => 500,
            status => status,
        }
    }

    fn outcome(&self, end: AnswerEnd) -> Outcome {
        let answer = &self.answer;
        let success = matches!(self.status, 200..300);
        let status =
            if success { answer.error.unwrap_or(self.status) } else { self.error_status() };
        let mut outcome = Outcome::new(end, status);
        if answer.begun && self.body == Body::Stream {
            outcome.retry = Retry::Never;
        }
        if success {
            outcome.answer = answer.id;
            outcome.finish_reason = answer.finish;
            outcome.usage = answer.usage();
            outcome.tokens = answer.tokens;
            outcome.exact = answer.exact && answer.tokens > 0;
            outcome.unreadable = answer.unreadable;
            outcome.problem = answer.problem;
        }
        outcome
    }
}

impl Progress {
    /// Adds the contents of later chunks.
    pub const fn and(self, later: Self) -> Self {
        Self {
            first_token: self.first_token || later.first_token,
            tokens: self.tokens.saturating_add(later.tokens),
            ended: self.ended || later.ended,
            answer: if self.answer.is_some() { self.answer } else { later.answer },
        }
    }
}

impl Body {
    /// The kind of body of a `Content-Type`.
    pub fn of(content_type: &str) -> Self {
        let media = content_type.split(';').next().unwrap_or_default().trim();
        let ends_with = |suffix: &str| {
            let tail = media.len().checked_sub(suffix.len()).and_then(|at| media.get(at..));
            tail.is_some_and(|tail| tail.eq_ignore_ascii_case(suffix))
        };
        if media.eq_ignore_ascii_case("text/event-stream") {
            Self::Stream
        } else if media.eq_ignore_ascii_case("application/json") || ends_with("+json") {
            Self::Json
        } else {
            Self::Opaque
        }
    }

    /// The kind's name in other languages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stream => "stream",
            Self::Json => "json",
            Self::Opaque => "opaque",
        }
    }
}

impl CloseReason {
    /// How an incomplete answer ended.
    const fn end(self) -> AnswerEnd {
        match self {
            Self::Clean | Self::Broken => AnswerEnd::Cut,
            Self::TimedOut => AnswerEnd::TimedOut,
            Self::ClientDisconnected => AnswerEnd::ClientDisconnected,
            Self::Expired => AnswerEnd::Expired,
        }
    }
}

impl Answer {
    fn new() -> Self {
        Self {
            payload: Payload::new(),
            name: [0; LONGEST_NAME],
            name_length: 0,
            tokens: 0,
            exact: true,
            seen: 0,
            usage: Counts::default(),
            finish: None,
            started: 0,
            finished: 0,
            begun: false,
            filled: false,
            first_token: false,
            ended: false,
            error: None,
            unreadable: 0,
            problem: None,
            progress: Progress::default(),
            id: None,
            offset: 0,
        }
    }

    /// How the answer ended, if it has.
    fn end(&self) -> Option<AnswerEnd> {
        match (self.error, self.finish) {
            (Some(status), _) => Some(AnswerEnd::of_status(status)),
            (None, Some(FinishReason::Abort)) => Some(AnswerEnd::Aborted),
            (None, Some(FinishReason::Error)) => Some(AnswerEnd::Failed),
            (None, Some(_)) if self.started & !self.finished == 0 => Some(AnswerEnd::Complete),
            // The end mark alone is not an answer.
            (None, _) => {
                self.ended.then_some(if self.begun { AnswerEnd::Complete } else { AnswerEnd::Cut })
            }
        }
    }

    fn usage(&self) -> Usage {
        let counts = self.usage;
        let mut usage = Usage::default();
        // Cached tokens beside the input are not part of it.
        usage.prompt_tokens = counts.prompt.or_else(|| {
            let beside =
                counts.cache_read.unwrap_or(0).saturating_add(counts.cache_created.unwrap_or(0));
            counts.input.map(|input| input.saturating_add(beside))
        });
        let most = usage.prompt_tokens.unwrap_or(u32::MAX);
        usage.cached_tokens = counts.cached.or(counts.cache_read).filter(|cached| *cached <= most);
        usage.completion_tokens = counts
            .completion
            .filter(|reported| self.is_plausible(*reported))
            .or_else(|| Some(self.tokens).filter(|tokens| self.exact && *tokens > 0));
        usage
    }

    /// Whether a reported number of tokens is possible: at least the counted ones, and at most what
    /// a model can generate.
    fn is_plausible(&self, reported: u32) -> bool {
        let most = MOST_TOKENS.saturating_mul(self.started.count_ones().max(1));
        (self.seen..=most.max(self.seen)).contains(&reported)
    }

    /// Ends a payload and takes over its contents.
    fn conclude(&mut self, body: Body) {
        let name = self.name.get(..self.name_length).unwrap_or_default();
        let name = Event::from_name(name);
        match self.payload.whole() {
            Whole::Empty => {}
            Whole::Mark => self.end_here(),
            Whole::Json => self.take_over(name, body),
            // Some errors are plain text.
            Whole::Part | Whole::Broken if name == Event::Error => {
                self.error = self.error.or(Some(500));
                self.end_here();
            }
            Whole::Part | Whole::Broken => {
                self.begun = true;
                self.unreadable = self.unreadable.saturating_add(1);
            }
        }
        self.name_length = 0;
        self.payload.restart();
    }

    fn take_over(&mut self, name: Event, body: Body) {
        let facts = &mut self.payload.facts;
        facts.conclude(name);
        let error = facts.error();
        self.error = self.error.or(error);
        self.begun |= error.is_none();
        self.filled |= facts.filled;
        if self.id.is_none() && error.is_none() {
            self.id = facts.answer_id();
            self.progress.answer = self.id;
        }
        self.usage.update(facts.usage.counted());
        if let Some(finish) = facts.finish {
            self.finish = Some(FinishReason::join(self.finish, finish));
        }
        self.started |= facts.started;
        self.finished |= facts.finished;
        let (before, counted, guessed, event) =
            (self.tokens, facts.tokens, facts.guessed, facts.event);
        let reported = facts.usage.completion;
        self.seen = self.seen.saturating_add(counted);
        match reported {
            Some(reported) if self.is_plausible(reported) => {
                self.tokens = before.max(reported);
                self.exact = self.tokens == reported;
            }
            _ if body == Body::Stream => {
                self.tokens = before.saturating_add(counted);
                self.exact &= !guessed;
            }
            _ => {}
        }
        if body == Body::Stream {
            self.progress.tokens = self.progress.tokens.saturating_add(self.tokens - before);
            if self.tokens > 0 && !self.first_token {
                self.first_token = true;
                self.progress.first_token = true;
            }
        }
        let last = matches!(
            event,
            Event::MessageStop
                | Event::Completed
                | Event::Incomplete
                | Event::Failed
                | Event::Error
        );
        if last || body == Body::Json {
            self.end_here();
        }
    }

    fn end_here(&mut self) {
        self.ended = true;
        self.progress.ended = true;
    }

    fn note(&mut self, read: Result<(), Unexpected>) {
        if let (Err(Unexpected { at, expected }), None) = (read, self.problem) {
            let offset = self.offset.saturating_add(at);
            self.problem = Some(WireError::new(offset, ErrorKind::Expected(expected)));
        }
    }
}

impl Events for Answer {
    fn data_line(&mut self, at: usize) {
        if !self.ended {
            let read = self.payload.line(at);
            self.note(read);
        }
    }

    fn data(&mut self, piece: &[u8], at: usize) {
        if self.ended {
            return;
        }
        let read = self.payload.feed(piece, at);
        self.note(read);
    }

    fn data_ends(&mut self, _at: usize) {}

    fn name_line(&mut self) {
        self.name_length = 0;
    }

    fn name(&mut self, piece: &[u8]) {
        // A longer name fills the buffer and matches nothing.
        for byte in piece {
            if let Some(room) = self.name.get_mut(self.name_length) {
                *room = *byte;
                self.name_length += 1;
            }
        }
    }

    fn dispatch(&mut self) {
        if !self.ended {
            self.conclude(Body::Stream);
        }
    }
}

/// The maximum number of tokens in one choice.
const MOST_TOKENS: u32 = 1 << 20;
/// Longer than every known event name.
const LONGEST_NAME: usize = 24;
