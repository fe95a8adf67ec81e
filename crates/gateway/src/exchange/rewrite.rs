//! What differs between an engine's answer and the client's: the model's name, and usage that only
//! the gateway has requested.

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;

use slotwise_wire::response::{AnswerFilter, Body};

/// The changes of answers, and the filter that makes them in the answer that comes.
#[derive(Debug, Default)]
pub(super) struct Rewrite {
    model: Option<String>,
    drop_usage: bool,
    filter: Option<AnswerFilter>,
}

impl Rewrite {
    /// Answers have this name. A name of more than 1,024 bytes is not written.
    pub(super) fn answer_as(&mut self, model: &str) {
        self.model = (model.len() <= LONGEST_NAME).then(|| model.to_owned());
    }

    /// Streams lose what `stream_options.include_usage` adds to them.
    pub(super) const fn drop_usage(&mut self, dropped: bool) {
        self.drop_usage = dropped;
    }

    /// An answer with this `content-type` begins.
    pub(super) fn begin(&mut self, content_type: &str) {
        let needed = self.model.is_some() || self.drop_usage;
        let filter =
            || AnswerFilter::new(Body::of(content_type), self.model.as_deref(), self.drop_usage);
        self.filter = needed.then(filter);
    }

    /// Whether chunks may change.
    pub(super) const fn is_active(&self) -> bool {
        self.filter.is_some()
    }

    /// Appends what the client gets of a chunk.
    pub(super) fn feed(&mut self, chunk: &[u8], output: &mut Vec<u8>) {
        match &mut self.filter {
            Some(filter) => filter.feed(chunk, output),
            None => output.extend_from_slice(chunk),
        }
    }

    /// Ends the answer: appends what was held back of it.
    pub(super) fn finish(&mut self, output: &mut Vec<u8>) {
        if let Some(mut filter) = self.filter.take() {
            filter.finish(output);
        }
    }
}

/// Bytes of a model's name above which it is not written into answers, as in the core.
const LONGEST_NAME: usize = 1_024;
