//! What engines answer, chunk by chunk.

use std::cell::RefCell;

use napi::bindgen_prelude::Uint8Array;
use napi_derive::napi;
use slotwise_wire::response::{
    AnswerFilter, Body, Disposition, FinishReason, ModelFilter, Progress, ResponseReader,
};

use crate::endpoint::name_of;
use crate::error::{Result, named};
use crate::headers::WireProblem;
use crate::number::status;
use crate::request::Bytes;

/// Usage that an engine reported; values that it did not report are missing.
#[napi(object, object_from_js = false)]
#[derive(Debug)]
pub struct ReportedUsage {
    /// Tokens in the prompt.
    pub prompt_tokens: Option<f64>,
    /// Prompt tokens that were found in the cache.
    pub cached_tokens: Option<f64>,
    /// Tokens in the answer.
    pub completion_tokens: Option<f64>,
}

/// How an answer ended.
#[napi(object, object_from_js = false, use_nullable = true)]
#[derive(Debug)]
pub struct Outcome {
    /// How it ended.
    #[napi(
        ts_type = "'complete' | 'aborted' | 'failed' | 'refused' | 'full' | 'timed_out' | 'client_disconnected' | 'expired' | 'cut' | 'unreadable' | 'unreachable'"
    )]
    pub end: &'static str,
    /// Whether another endpoint may be asked.
    #[napi(ts_type = "'never' | 'if_nothing_sent'")]
    pub retry: &'static str,
    /// Why the engine stopped, if it reported a reason.
    #[napi(
        ts_type = "'stop' | 'length' | 'tool_calls' | 'content_filter' | 'other' | 'abort' | 'error'"
    )]
    pub finish_reason: Option<&'static str>,
    /// Usage that the engine reported.
    pub usage: ReportedUsage,
    /// Tokens of the answer: exact if the engine reported them, else one per chunk and choice with
    /// content.
    pub tokens: f64,
    /// Whether they are exact.
    pub exact: bool,
    /// The HTTP status of the response, or of the error in it. 0 if there was no response.
    pub status: f64,
    /// Payloads that could not be read, and so count for nothing.
    pub unreadable: f64,
    /// What was wrong with the first of them; its offset counts from the start of the response
    /// body.
    pub problem: Option<WireProblem>,
    /// Whether the client has its final response, whether an answer or a refusal.
    pub complete: bool,
    /// The one call that ends the request, unless it is sent to another endpoint. A lease makes the
    /// call itself.
    #[napi(ts_type = "'complete' | 'fail' | 'cancel'")]
    pub settlement: &'static str,
    /// How it failed, if that call is `fail`.
    #[napi(ts_type = "'unreachable' | 'engine' | 'timeout'")]
    pub failure: Option<String>,
}

/// Reads a response as it comes.
#[napi]
#[derive(Debug)]
pub struct NativeResponseReader {
    reader: RefCell<ResponseReader>,
}

#[napi]
impl NativeResponseReader {
    /// Before the body of a response with this status and `Content-Type`.
    #[napi(constructor)]
    pub fn new(status: f64, content_type: String) -> Result<Self> {
        let reader = ResponseReader::new(self::status("status", status)?, &content_type);
        Ok(Self { reader: RefCell::new(reader) })
    }

    /// Reads a chunk. Returns one number: four times its tokens, plus 2 for the end, plus 1 for the
    /// first token.
    #[napi]
    pub fn feed(&self, #[napi(ts_arg_type = "Uint8Array")] chunk: Bytes<'_>) -> f64 {
        packed(self.reader.borrow_mut().feed(chunk))
    }

    /// Nothing more comes: how the answer ended. Changes nothing.
    #[napi]
    pub fn finish(&self, close: String) -> Result<Outcome> {
        let close = named("close", &close)?;
        Ok(self.reader.borrow().clone().finish(close).into())
    }

    /// Whether the body is read as a stream of events.
    #[napi(getter)]
    pub fn is_stream(&self) -> bool {
        self.reader.borrow().body() == Body::Stream
    }

    /// Whether a stream has brought any payload but an error.
    #[napi(getter)]
    pub fn begun(&self) -> bool {
        self.reader.borrow().has_begun()
    }

    /// Tokens of the answer so far.
    #[napi(getter)]
    pub fn tokens(&self) -> f64 {
        self.reader.borrow().tokens().0.into()
    }

    /// Whether they are exact.
    #[napi(getter)]
    pub fn exact(&self) -> bool {
        self.reader.borrow().tokens().1
    }

    /// Usage that the engine has reported so far.
    #[napi(getter)]
    pub fn usage(&self) -> ReportedUsage {
        self.reader.borrow().usage().into()
    }

    /// Why the engine stopped, if it has reported a reason.
    #[napi(getter, ts_return_type = "Outcome['finishReason']")]
    pub fn finish_reason(&self) -> Option<&'static str> {
        self.reader.borrow().finish_reason().map(FinishReason::as_str)
    }
}

/// Puts the client's name for the model back into a response.
#[napi]
#[derive(Debug)]
pub struct NativeModelFilter {
    filter: RefCell<ModelFilter>,
}

#[napi]
impl NativeModelFilter {
    /// Before a body of this `Content-Type`, for a client that asked for the model by this name.
    #[napi(constructor)]
    pub fn new(content_type: String, name: String) -> Self {
        Self { filter: RefCell::new(ModelFilter::new(Body::of(&content_type), &name)) }
    }

    /// What the client is to get of this chunk.
    #[napi]
    pub fn feed(&self, #[napi(ts_arg_type = "Uint8Array")] chunk: Bytes<'_>) -> Uint8Array {
        let mut output = Vec::new();
        self.filter.borrow_mut().feed(chunk, &mut output);
        output.into()
    }
}

/// Passes a response through as if the client's own request had been sent.
#[napi]
#[derive(Debug)]
pub struct NativeAnswerFilter {
    filter: RefCell<AnswerFilter>,
}

#[napi]
impl NativeAnswerFilter {
    /// Before a body of this `Content-Type`.
    #[napi(constructor)]
    pub fn new(content_type: String, model: Option<String>, drop_usage: bool) -> Self {
        let filter = AnswerFilter::new(Body::of(&content_type), model.as_deref(), drop_usage);
        Self { filter: RefCell::new(filter) }
    }

    /// What the client is to get by now.
    #[napi]
    pub fn feed(&self, #[napi(ts_arg_type = "Uint8Array")] chunk: Bytes<'_>) -> Uint8Array {
        let mut output = Vec::new();
        self.filter.borrow_mut().feed(chunk, &mut output);
        output.into()
    }

    /// Nothing more comes: what was held back.
    #[napi]
    pub fn finish(&self) -> Uint8Array {
        let mut output = Vec::new();
        self.filter.borrow_mut().finish(&mut output);
        output.into()
    }
}

/// The outcome of a response with this status, independent of its body.
#[napi]
pub fn outcome_of_status(status: f64) -> Result<Outcome> {
    Ok(slotwise_wire::response::Outcome::of_status(self::status("status", status)?).into())
}

/// A chunk's progress as one number.
pub(crate) fn packed(progress: Progress) -> f64 {
    let marks = u8::from(progress.ended) * 2 + u8::from(progress.first_token);
    f64::from(progress.tokens) * 4.0 + f64::from(marks)
}

impl From<slotwise::Usage> for ReportedUsage {
    fn from(usage: slotwise::Usage) -> Self {
        Self {
            prompt_tokens: usage.prompt_tokens.map(f64::from),
            cached_tokens: usage.cached_tokens.map(f64::from),
            completion_tokens: usage.completion_tokens.map(f64::from),
        }
    }
}

impl From<slotwise_wire::response::Outcome> for Outcome {
    fn from(outcome: slotwise_wire::response::Outcome) -> Self {
        let settlement = outcome.settlement();
        Self {
            end: outcome.end.as_str(),
            retry: outcome.retry.as_str(),
            finish_reason: outcome.finish_reason.map(FinishReason::as_str),
            usage: outcome.usage.into(),
            tokens: outcome.tokens.into(),
            exact: outcome.exact,
            status: outcome.status.into(),
            unreadable: outcome.unreadable.into(),
            problem: outcome.problem.map(WireProblem::from),
            complete: outcome.is_complete(),
            settlement: settlement.as_str(),
            failure: match settlement {
                Disposition::Fail(failure) => name_of(failure),
                _ => None,
            },
        }
    }
}
