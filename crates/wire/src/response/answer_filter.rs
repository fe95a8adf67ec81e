//! Converts an answer to the one that the client's own request would have received.

use alloc::vec::Vec;

use super::model_filter::ModelFilter;
use super::reader::Body;
use super::usage_remover::UsageRemover;

/// Passes a response through as if the client's own request had been sent. It restores the client's
/// name for the model and removes usage that only the gateway requested.
///
/// With `drop_usage`, the filter removes what `stream_options.include_usage` adds to a stream. That
/// is the chunk with a usage but no choices, and `"usage":null` in the others. Every other byte
/// stays the same, and the result does not depend on the chunking. The filter holds back one event
/// until it is complete, up to 64 KiB; a longer event passes unchanged. Bodies do not change, nor
/// do APIs that always report usage (Anthropic's messages, OpenAI's responses). Feed a
/// [`ResponseReader`](super::ResponseReader) with the chunks before they are filtered.
///
/// The length of the body changes, so `Content-Length` must be removed. Computes in **O(bytes)**.
///
/// ```
/// use slotwise_wire::response::{AnswerFilter, Body};
///
/// let mut filter = AnswerFilter::new(Body::Stream, Some("gpt-4o"), true);
/// let mut answer = Vec::new();
/// for event in [
///     r#"{"model":"m","choices":[{"text":"Hi"}],"usage":null}"#,
///     r#"{"model":"m","choices":[],"usage":{"prompt_tokens":9}}"#,
///     "[DONE]",
/// ] {
///     filter.feed(format!("data: {event}\n\n").as_bytes(), &mut answer);
/// }
/// filter.finish(&mut answer);
/// let event = r#"{"model":"gpt-4o","choices":[{"text":"Hi"}]}"#;
/// assert_eq!(answer, format!("data: {event}\n\ndata: [DONE]\n\n").as_bytes());
/// ```
#[derive(Clone, Debug)]
pub struct AnswerFilter {
    model: Option<ModelFilter>,
    usage: Option<UsageRemover>,
    /// A chunk without its usage.
    between: Vec<u8>,
}

impl AnswerFilter {
    /// Creates a filter for a body of this kind. Without a name and with `drop_usage` false,
    /// nothing changes.
    pub fn new(body: Body, model: Option<&str>, drop_usage: bool) -> Self {
        Self {
            model: model.map(|name| ModelFilter::new(body, name)),
            usage: (drop_usage && body == Body::Stream).then(UsageRemover::default),
            between: Vec::new(),
        }
    }

    /// Filters a chunk and appends the result to `output`.
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

    /// Ends the body: appends what was held back.
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
