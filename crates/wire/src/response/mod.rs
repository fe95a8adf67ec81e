//! What engines answer: streams and bodies, fed in chunks of any size.
//!
//! A [`ResponseReader`] reads along with what a gateway passes on, and tells how the answer grows and how it ended; an [`Outcome`] says
//! which call the scheduler wants for that, and whether another endpoint may be asked. An [`AnswerFilter`] puts the client's name for
//! the model back, and takes out the usage that its client did not ask for; [`ModelFilter`] does the first alone.
//!
//! ```text
//!  sse              lines of events, split anywhere          sse -> payload -> scan -> said -> reader -> outcome
//!  scan  tree       JSON in pieces, and what matters in it     \
//!  payload  said    one payload, and what it says               +-> scan -> model
//!  phrases          what an error's text says beyond its status
//!  beginning        what a payload has in common with the last
//!  reader  outcome  the answer, and how it ended
//!  filter           model -> usage: what the client gets of it
//! ```
//!
//! # Example
//!
//! ```
//! use slotwise_wire::response::{CloseReason, Disposition, ResponseReader};
//!
//! let mut reader = ResponseReader::new(200, "text/event-stream");
//! let event = b"data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hi\"}}]}\n\n";
//! assert!(reader.feed(event).first_token);
//! reader.feed(b"data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n");
//! reader.feed(b"data: [DONE]\n\n");
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
