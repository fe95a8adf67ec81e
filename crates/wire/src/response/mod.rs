//! Answers of model servers: streams and bodies, in chunks of any size.
//!
//! A [`ResponseReader`] reads the chunks that a gateway forwards. It reports the progress of the
//! answer and how it ended. An [`Outcome`] names the call that settles the request, and whether
//! another endpoint may be tried. An [`AnswerFilter`] restores the client's name for the model and
//! removes usage that only the gateway requested. [`ModelFilter`] does the first alone.
//!
//! ```text
//!  sse                      event framing, split anywhere
//!  scan  schema             JSON in pieces, and its wanted values
//!  payload  payload_facts   one payload, and its contents
//!  error_phrases            phrases more specific than a status
//!  shared_prefix            reuse of the scan that payloads share
//!  reader  outcome          the answer, and how it ended
//!  answer_filter            model_filter and usage_remover in one
//!
//!  reading:    sse -> payload -> scan -> payload_facts -> reader -> outcome
//!  filtering:  sse -> scan -> model_filter -> usage_remover -> answer_filter
//! ```
//!
//! # Example
//!
//! ```
//! use slotwise_wire::response::{CloseReason, Disposition, ResponseReader};
//!
//! let mut reader = ResponseReader::new(200, "text/event-stream");
//! let event = r#"{"choices":[{"index":0,"delta":{"content":"Hi"}}]}"#;
//! assert!(reader.feed(format!("data: {event}\n\n").as_bytes()).first_token);
//! let event = r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#;
//! reader.feed(format!("data: {event}\n\ndata: [DONE]\n\n").as_bytes());
//! let outcome = reader.finish(CloseReason::Clean);
//! assert!(matches!(outcome.settlement(), Disposition::Complete(_)));
//! ```

mod answer_filter;
mod error_phrases;
mod finish_reason;
mod model_filter;
mod outcome;
mod payload;
mod payload_facts;
mod reader;
mod scan;
mod schema;
mod shared_prefix;
mod sse;
mod usage_remover;

pub use answer_filter::AnswerFilter;
pub use finish_reason::FinishReason;
pub use model_filter::ModelFilter;
pub use outcome::{AnswerEnd, CloseReason, Disposition, Outcome, Retry};
pub use reader::{Body, Progress, ResponseReader};
