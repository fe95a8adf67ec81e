//! Request bodies: what a router needs to know of them, in one pass and without a tree.
//!
//! A [`RequestReader`] reads the body of any [`Api`] into a [`RequestView`], from which
//! [`to_request`](RequestView::to_request) makes the core's request. [`ModelSplice`] puts another model into a body.
//!
//! # The prompt
//!
//! Token ids are the prompt where the engine reads them: a `prompt` or `input` of numbers, `input_ids` of SGLang's generate,
//! `token_ids` of vLLM's. A prompt that is one string is that string. Of a batch, the first prompt is looked up in caches;
//! [`RequestView::batch`] counts the others, and [`RequestView::prompts`] says how many there are.
//!
//! A conversation becomes a text of its own, since templates differ: *arguments of the template, tools, system, messages*, in
//! this order whatever the order in the body. Each string in it (a role, a text, the arguments of a call) follows a mark of two bytes, 0xFF and a
//! letter; as UTF-8 has no 0xFF, what a message says can never look like the beginning of another. So
//!
//! - equal texts are equal conversations, and other conversations have other texts;
//! - the text of a turn begins with the text of the turn before, all of it, as long as arguments, tools and system stay and the
//!   template leaves nothing out that it had put in;
//! - what the model thought in earlier turns is left out, as templates do: see `reasoning`;
//! - a string, and an array of one part with that text, are the same; no content, `null`, `""` and `[]` too;
//! - images, sounds and files are there by a hash of their URL or content, or of the `uuid` that the client gave them;
//! - where caches should end (`cache_control`), signatures, detail levels and other keys that no template reads are left
//!   out, and so is the text by which Claude Code marks single requests, as in vLLM;
//! - JSON in it, as the parameters of tools, is as it stands in the body, spaces and all.
//!
//! Bodies of scores, classes, token ids and audio have no prefix: only their size counts.

mod api;
mod cache_flags;
mod canonical_text;
mod lenient;
mod message;
mod model_splice;
mod part;
mod reader;
mod reasoning;
mod request_view;
mod required_keys;
mod size_estimate;
mod template_args;
mod tool;
mod usage_splice;

pub use api::Api;
pub use model_splice::{ModelSplice, rewrite_model};
pub use reader::RequestReader;
pub use request_view::{PriorityOrder, RequestView, SessionField};
pub use usage_splice::{UsageSplice, add_usage};
