//! Request bodies: the fields that routing needs, in one pass and without a tree.
//!
//! A [`RequestReader`] parses the body of any [`Api`] into a [`RequestView`]. Its method
//! [`to_request`](RequestView::to_request) creates the core's request. [`ModelSplice`] replaces the
//! model in a body, and [`KvTransfer`] adds what engines need to move a KV cache.
//!
//! # The prompt
//!
//! Token ids are the prompt where the engine reads them: a `prompt` or `input` of numbers,
//! `input_ids` of SGLang's generate, and `token_ids` of vLLM's. A prompt that is one string is used
//! as it is. Of a batch, the first prompt is looked up in caches. [`RequestView::batch`] counts the
//! other prompts, and [`RequestView::prompts`] all of them.
//!
//! Templates differ between models, so a conversation becomes a canonical text: *template
//! arguments, tools, system, messages*. This order does not depend on the body. Each string (a
//! role, a text, the arguments of a call) follows a mark of two bytes, 0xFF and a letter. UTF-8 has
//! no 0xFF, so a string cannot imitate a mark.
//!
//! - Two conversations have equal texts exactly if they are equal.
//! - The text of a turn starts with the whole text of the turn before. This holds while arguments,
//!   tools and system stay the same and the template drops nothing that it included before.
//! - Reasoning of earlier turns is left out, as templates do: see `reasoning`.
//! - A string and an array of one part with that text are equal. Missing content, `null`, `""` and
//!   `[]` are equal too.
//! - Images, sounds and files are represented by a hash of their URL or content, or of the client's
//!   `uuid`.
//! - Fields that templates do not read are left out: cache breakpoints (`cache_control`),
//!   signatures, detail levels and others. So is the text by which Claude Code tags single
//!   requests, as in vLLM.
//! - JSON such as tool parameters is kept as written, with its white space.
//!
//! Bodies of scores, classes, token ids and audio have no prefix: only their size is used.

mod api;
mod cache_flags;
mod canonical_text;
mod fields;
mod kv_transfer;
mod lenient;
mod message;
mod model_splice;
mod part;
mod plain_message;
mod prompt_batch;
mod reader;
mod reasoning;
mod request_view;
mod required_keys;
mod sampling;
mod size_estimate;
mod template_args;
mod tool;
mod usage_splice;

pub use api::Api;
pub use kv_transfer::{KvTransfer, kv_transfer_params};
pub(crate) use model_splice::quoted;
pub use model_splice::{ModelSplice, rewrite_model};
pub use reader::RequestReader;
pub use request_view::{PriorityOrder, RequestView, SessionField};
pub use usage_splice::{UsageSplice, add_usage};

/// Tests the example of the manual's page.
#[cfg(doctest)]
#[doc = include_str!("../../../../docs/src/disaggregation.md")]
mod book {}
