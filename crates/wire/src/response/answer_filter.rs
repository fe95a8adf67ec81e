//! What a client gets of an answer that its gateway asked for in another way than the client did.

use alloc::vec::Vec;

use super::model_filter::ModelFilter;
use super::reader::Body;
use super::usage_remover::UsageRemover;

/// Passes a response through as if the client's own request had been sent: with the client's name for the
/// model, and without the usage that the gateway asked for.
///
/// With `drop_usage`, a stream loses what `stream_options.include_usage` adds to it: the chunk that has no
/// choices but a usage, and `"usage":null` in the others. Every other byte stays as it is, and any chunking
/// gives the same bytes. One event is held back until it is whole, of at most 64 KiB; a longer one is
/// passed on as it comes. Bodies, and APIs that always report usage (Anthropic's messages, OpenAI's
/// responses), lose nothing. Feed a [`ResponseReader`](super::ResponseReader) with the chunks before they
/// are filtered.
///
/// The length of the body changes: `Content-Length` must not be passed on. Feeding computes in **O(bytes)**.
///
/// ```
/// use slotwise_wire::response::{AnswerFilter, Body};
///
/// let mut filter = AnswerFilter::new(Body::Stream, Some("gpt-4o"), true);
/// let mut answer = Vec::new();
/// filter.feed(b"data: {\"model\":\"m\",\"choices\":[{\"text\":\"Hi\"}],\"usage\":null}\n\n", &mut answer);
/// filter.feed(b"data: {\"model\":\"m\",\"choices\":[],\"usage\":{\"prompt_tokens\":9}}\n\n", &mut answer);
/// filter.feed(b"data: [DONE]\n\n", &mut answer);
/// filter.finish(&mut answer);
/// assert_eq!(answer, b"data: {\"model\":\"gpt-4o\",\"choices\":[{\"text\":\"Hi\"}]}\n\ndata: [DONE]\n\n");
/// ```
#[derive(Clone, Debug)]
pub struct AnswerFilter {
    model: Option<ModelFilter>,
    usage: Option<UsageRemover>,
    /// What is left of a chunk without the usage.
    between: Vec<u8>,
}

impl AnswerFilter {
    /// Before a body of this kind. Without a model's name and with `drop_usage` false, nothing changes.
    pub fn new(body: Body, model: Option<&str>, drop_usage: bool) -> Self {
        Self {
            model: model.map(|name| ModelFilter::new(body, name)),
            usage: (drop_usage && body == Body::Stream).then(UsageRemover::default),
            between: Vec::new(),
        }
    }

    /// Appends what the client is to get by now.
    pub fn feed(&mut self, chunk: &[u8], output: &mut Vec<u8>) {
        self.between.clear();
        let left = match &mut self.usage {
            Some(usage) => {
                usage.feed(chunk, &mut self.between);
                &*self.between
            }
            None => chunk,
        };
        match &mut self.model {
            Some(model) => model.feed(left, output),
            None => output.extend_from_slice(left),
        }
    }

    /// Nothing more comes: appends what was held back.
    pub fn finish(&mut self, output: &mut Vec<u8>) {
        self.between.clear();
        if let Some(usage) = &mut self.usage {
            usage.finish(&mut self.between);
        }
        match &mut self.model {
            Some(model) => model.feed(&self.between, output),
            None => output.extend_from_slice(&self.between),
        }
    }
}
