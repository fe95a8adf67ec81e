//! The check of one prompt or answer.
//!
//! ```text
//!  open ──verdict──► open ──last verdict──► passed
//!   │                 │ block, or a failure if failures block
//!   │                 └──────────────────────► blocked
//!   └ too long, or unreadable, if failures allow ──► unchecked: all else passes
//! ```

use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;

use slotwise::Instant;
use slotwise_wire::content::{EventSplitter, Payload, StreamEnding, event_data};
use slotwise_wire::outcome::{BodyShape, Reason};

use super::super::refusal::GateRefusal;
use super::held::Held;
use super::{OnFailure, Question, SafetyConfig, Stage, Verdict};

/// Checks one prompt or one answer: holds its bytes back, asks the host about its texts, and
/// releases what was judged.
///
/// After each input, poll [`poll_question`](Self::poll_question) and
/// [`poll_output`](Self::poll_output) until they return `None`, then wait for an input or for
/// [`next_timeout`](Self::next_timeout).
///
/// | input | call |
/// |---|---|
/// | bytes of the body | `feed`, while [`wants_input`](Self::wants_input) |
/// | their end | `finish` |
/// | the host's answer | `handle_verdict` |
/// | time passes | `handle_timeout` |
///
/// A blocked prompt has no output: send [`refusal`](Self::refusal). A blocked stream ends with the
/// events of its API for a content filter, and a blocked body has empty texts and that finish
/// reason; close the connection to the engine then.
///
/// At most [`max_held`](SafetyConfig::max_held) bytes and one chunk are held, in memory up to three
/// times as many with their texts. A host that feeds twice as many gets the [fallback](OnFailure).
/// The look-back gives way to this limit: if one part of a stream pauses while another one
/// continues, the oldest judged events are sent.
///
/// # Example
///
/// ```
/// use slotwise::Instant;
/// use slotwise_gateway::gates::safety::{SafetyCheck, SafetyConfig, Stage, Verdict};
/// use slotwise_wire::outcome::BodyShape;
///
/// let now = Instant::ORIGIN;
/// let mut check = SafetyCheck::new(SafetyConfig::default(), Stage::Prompt, BodyShape::OpenAi)?;
/// check.feed(now, br#"{"model":"m","prompt":"my number is 555-1234"}"#);
/// check.finish(now);
/// let question = check.poll_question().expect("a text");
/// assert_eq!(question.texts, ["my number is 555-1234"]);
/// let verdict = Verdict::Replace(vec!["my number is [number]".into()]);
/// assert!(check.handle_verdict(now, question.id, verdict));
/// let body = check.poll_output().expect("judged");
/// assert_eq!(body, br#"{"model":"m","prompt":"my number is [number]"}"#);
/// assert!(check.has_ended() && check.refusal().is_none());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct SafetyCheck {
    config: SafetyConfig,
    stage: Stage,
    shape: BodyShape,
    splitter: EventSplitter,
    /// The bytes of a body.
    body: Vec<u8>,
    held: Held,
    ending: StreamEnding,
    /// The question that has no verdict yet.
    asked: Option<Asked>,
    questions: u64,
    /// The question for the host.
    question: Option<Question>,
    /// When the oldest text came that was neither judged nor asked.
    waits_since: Option<Instant>,
    outputs: VecDeque<Vec<u8>>,
    input_ended: bool,
    state: State,
    failures: u64,
}

#[derive(Clone, Copy, Debug)]
struct Asked {
    id: u64,
    deadline: Instant,
    /// The pieces at the front whose texts were asked.
    pieces: usize,
}

#[derive(Clone, Debug)]
enum State {
    Open,
    Passed,
    /// The check was given up, and failures allow.
    Unchecked,
    Blocked(GateRefusal),
}

impl SafetyCheck {
    /// Creates the check of one prompt or answer. Errors have the shape that the client parses.
    ///
    /// # Errors
    ///
    /// Returns the first invalid field of the configuration.
    pub fn new(
        config: SafetyConfig,
        stage: Stage,
        shape: BodyShape,
    ) -> Result<Self, crate::InvalidField> {
        config.check()?;
        Ok(Self {
            config,
            stage,
            shape,
            splitter: EventSplitter::default(),
            body: Vec::new(),
            held: Held::default(),
            ending: StreamEnding::default(),
            asked: None,
            questions: 0,
            question: None,
            waits_since: None,
            outputs: VecDeque::new(),
            input_ended: false,
            state: State::Open,
            failures: 0,
        })
    }

    /// Bytes of the body came. Computes in **O(bytes)** and in the time of a release. What comes
    /// after the end is dropped.
    pub fn feed(&mut self, now: Instant, bytes: &[u8]) {
        match self.state {
            State::Unchecked if !self.input_ended => self.outputs.push_back(bytes.to_vec()),
            State::Open if !self.input_ended => match self.stage {
                Stage::Stream => self.feed_stream(now, bytes),
                Stage::Prompt | Stage::Answer => {
                    self.body.extend_from_slice(bytes);
                    if self.body.len() > self.config.max_held {
                        let body = core::mem::take(&mut self.body);
                        self.give_up("is too long", body);
                    }
                }
            },
            _ => {}
        }
    }

    /// The body has ended.
    pub fn finish(&mut self, now: Instant) {
        if core::mem::replace(&mut self.input_ended, true) || !matches!(self.state, State::Open) {
            return;
        }
        match self.stage {
            Stage::Stream => {
                let rest = self.splitter.finish();
                if !rest.is_empty() {
                    self.take_event(now, rest);
                }
            }
            Stage::Prompt => self.take_body(now, Payload::Request),
            Stage::Answer => self.take_body(now, Payload::Answer),
        }
        self.proceed(now);
    }

    /// The host's answer to a question. Returns whether it counts: a verdict about another question
    /// than the open one does not, nor one after the deadline has been [handled](
    /// Self::handle_timeout).
    pub fn handle_verdict(&mut self, now: Instant, question: u64, verdict: Verdict) -> bool {
        let Some(asked) = self.asked.filter(|asked| asked.id == question) else { return false };
        (self.asked, self.question) = (None, None);
        match verdict {
            Verdict::Allow => self.held.judge(asked.pieces),
            Verdict::Block(reason) => self.block(Reason::ContentFilter, &reason),
            Verdict::Replace(texts) => match self.held.replace(asked.pieces, texts) {
                true => self.held.judge(asked.pieces),
                false => self.fail(asked, "has returned another number of texts"),
            },
            Verdict::Failed => self.fail(asked, "has failed"),
        }
        self.proceed(now);
        true
    }

    /// The time of [`next_timeout`](Self::next_timeout) has come. Earlier calls do nothing.
    pub fn handle_timeout(&mut self, now: Instant) {
        if let Some(asked) = self.asked.filter(|asked| asked.deadline <= now) {
            (self.asked, self.question) = (None, None);
            self.fail(asked, "has not ended in time");
        }
        self.proceed(now);
    }

    /// When to call [`handle_timeout`](Self::handle_timeout).
    pub fn next_timeout(&self) -> Option<Instant> {
        match (self.asked, self.waits_since) {
            _ if !matches!(self.state, State::Open) => None,
            (Some(asked), _) => Some(asked.deadline),
            (None, Some(since)) => Some(since + self.config.question_delay),
            (None, None) => None,
        }
    }

    /// The next question for the host. There is at most one without a verdict.
    pub fn poll_question(&mut self) -> Option<Question> {
        self.question.take()
    }

    /// The next bytes for the client, or for the engine.
    pub fn poll_output(&mut self) -> Option<Vec<u8>> {
        self.outputs.pop_front()
    }

    /// Whether more of the body may be fed. While it is false, the host reads no more from the
    /// engine.
    pub fn wants_input(&self) -> bool {
        match self.state {
            State::Open => !self.input_ended && !self.is_full(),
            State::Unchecked => !self.input_ended,
            State::Passed | State::Blocked(_) => false,
        }
    }

    /// Whether no output follows those that can be polled.
    pub fn has_ended(&self) -> bool {
        match self.state {
            State::Open => false,
            State::Unchecked => self.input_ended,
            State::Passed | State::Blocked(_) => true,
        }
    }

    /// Why the prompt or the answer was blocked. For a prompt, it is the response to the client.
    pub const fn refusal(&self) -> Option<&GateRefusal> {
        match &self.state {
            State::Blocked(refusal) => Some(refusal),
            _ => None,
        }
    }

    /// Checks that failed.
    pub const fn failures(&self) -> u64 {
        self.failures
    }

    /// Bytes that are held back.
    pub fn held_bytes(&self) -> usize {
        self.body.len() + self.splitter.held() + self.held.bytes()
    }

    /// Whether the events that are held reach the limit.
    const fn is_full(&self) -> bool {
        self.held.bytes() >= self.config.max_held
    }

    fn feed_stream(&mut self, now: Instant, bytes: &[u8]) {
        let mut events = Vec::new();
        self.splitter.feed(bytes, |event| events.push(event));
        let mut events = events.into_iter();
        for event in events.by_ref() {
            self.take_event(now, event);
            if !matches!(self.state, State::Open) {
                break;
            }
        }
        if matches!(self.state, State::Unchecked) {
            self.outputs.extend(events);
            let rest = self.splitter.finish();
            self.pass(rest);
            return;
        }
        self.proceed(now);
        let most = self.config.max_held;
        let is_too_long = self.splitter.held() > most || self.held.bytes() > most.saturating_mul(2);
        if matches!(self.state, State::Open) && is_too_long {
            let rest = self.splitter.finish();
            self.give_up("is too long", rest);
        }
    }

    fn take_event(&mut self, now: Instant, event: Vec<u8>) {
        if let Ok(Some(data)) = event_data(&event) {
            self.ending.see(event.get(data).unwrap_or_default());
        }
        let before = self.held.unjudged_text();
        if let Err(event) = self.held.push_event(event) {
            self.give_up("cannot be read", event);
        } else if self.held.unjudged_text() > before {
            self.waits_since = self.waits_since.or(Some(now));
        }
    }

    fn take_body(&mut self, now: Instant, kind: Payload) {
        let body = core::mem::take(&mut self.body);
        match self.held.push_body(kind, body) {
            Ok(()) => self.waits_since = Some(now),
            Err(body) => self.give_up("cannot be read", body),
        }
    }

    /// Releases what was judged, asks about what was not, and ends.
    fn proceed(&mut self, now: Instant) {
        // Nothing is released while a question is open: its number of pieces counts from the front.
        if !matches!(self.state, State::Open) || self.asked.is_some() {
            return;
        }
        let unjudged = self.held.unjudged_text();
        let whole = self.input_ended && unjudged == 0;
        while self.release(if whole { 0 } else { self.config.look_back }) {}
        // The look-back gives way to the limit, oldest text first.
        while self.is_full() && self.release(0) {}
        if whole {
            self.state = State::Passed;
            return;
        }
        if unjudged == 0 {
            self.waits_since = None;
            return;
        }
        let since = *self.waits_since.get_or_insert(now);
        let due = self.input_ended
            || unjudged >= self.config.question_bytes
            || since + self.config.question_delay <= now
            || self.is_full();
        if due {
            self.ask(now);
        }
    }

    fn ask(&mut self, now: Instant) {
        let (id, deadline) = (self.questions, now + self.config.timeout);
        self.questions += 1;
        self.waits_since = None;
        self.asked = Some(Asked { id, deadline, pieces: self.held.len() });
        self.question = Some(Question { id, texts: self.held.texts(), deadline });
    }

    /// Releases the next piece, if the look-back allows it.
    fn release(&mut self, look_back: usize) -> bool {
        let Some(bytes) = self.held.release(look_back) else { return false };
        if self.stage == Stage::Stream {
            if let Ok(Some(data)) = event_data(&bytes) {
                self.ending.pass(bytes.get(data).unwrap_or_default());
            }
        }
        self.outputs.push_back(bytes);
        true
    }

    /// The check of these pieces failed.
    fn fail(&mut self, asked: Asked, how: &str) {
        self.failures += 1;
        match self.config.on_failure {
            OnFailure::Allow => self.held.judge(asked.pieces),
            OnFailure::Block => {
                self.block(Reason::SafetyUnavailable, &format!("the check {how}"));
            }
        }
    }

    /// These bytes and all behind them cannot be checked.
    fn give_up(&mut self, why: &str, bytes: Vec<u8>) {
        self.failures += 1;
        match self.config.on_failure {
            OnFailure::Allow => {
                self.state = State::Unchecked;
                (self.asked, self.question) = (None, None);
                self.outputs.extend(self.held.take());
                self.pass(bytes);
            }
            OnFailure::Block => {
                let why = format!("the {} {why}", self.stage.noun());
                self.block(Reason::SafetyUnavailable, &why);
            }
        }
    }

    fn pass(&mut self, bytes: Vec<u8>) {
        if !bytes.is_empty() {
            self.outputs.push_back(bytes);
        }
    }

    fn block(&mut self, reason: Reason, why: &str) {
        let condition = match (reason, self.stage) {
            (Reason::ContentFilter, Stage::Answer | Stage::Stream) => {
                "the content filter has blocked the answer".to_string()
            }
            _ => reason.message().to_string(),
        };
        let message = if why.is_empty() { condition } else { [&condition, ": ", why].concat() };
        let refusal = GateRefusal::new(reason, message);
        match self.stage {
            Stage::Prompt => {}
            Stage::Answer => {
                let body = self.held.blocked_body();
                let body = body.unwrap_or_else(|| refusal.body(self.shape).into_bytes());
                self.outputs.push_back(body);
            }
            Stage::Stream => self.outputs.push_back(self.ending.write()),
        }
        self.state = State::Blocked(refusal);
        (self.asked, self.question, self.waits_since) = (None, None, None);
        (self.held, self.body) = (Held::default(), Vec::new());
        self.splitter = EventSplitter::default();
    }
}

impl Stage {
    const fn noun(self) -> &'static str {
        match self {
            Self::Prompt => "prompt",
            Self::Answer | Self::Stream => "answer",
        }
    }
}
