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
//! # Example: a request's life
//!
//! ```
//! use std::time::Duration;
//! use slotwise::{Endpoint, Instant, Request, Scheduler};
//! use slotwise_wire::response::{CloseReason, ResponseReader};
//!
//! let mut scheduler = Scheduler::default();
//! let now = Instant::ORIGIN;
//! scheduler.add_endpoint(now, Endpoint::new("one"))?;
//! let dispatch = scheduler.pick(now, &Request::new("m").text("Hello"))?;
//!
//! let mut reader = ResponseReader::new(200, "text/event-stream");
//! let now = now + Duration::from_millis(50);
//! let progress = reader.feed(b"data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hi\"}}]}\n\n");
//! progress.tell(&mut scheduler, now, dispatch.request)?;
//!
//! reader.feed(b"data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n");
//! let outcome = reader.finish(CloseReason::Clean);
//! outcome.settle(&mut scheduler, now, dispatch.request)?;
//! assert_eq!(scheduler.stats().completed, 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
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
