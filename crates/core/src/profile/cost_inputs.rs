//! What a profile weighs: the state of one endpoint, as one request meets it.

use crate::time::Seconds;

/// What is known about sending one request to one endpoint.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CostInputs {
    /// Booked prefill before its turn.
    pub(crate) wait: Seconds,
    /// Waiting for room in the KV cache.
    pub(crate) room: Seconds,
    /// Its own prefill there.
    pub(crate) work: Seconds,
    /// What as many tokens as it brings cost to compute elsewhere, on an average endpoint.
    pub(crate) recompute: Seconds,
    /// Probability that a cached token is wanted again.
    pub(crate) reuse: f64,
    /// Tokens that it brings into the cache.
    pub(crate) miss: f64,
    /// Tokens of its prompt.
    pub(crate) tokens: f64,
    /// Tokens in the cache that were used lately.
    pub(crate) warm: f64,
    /// Tokens of requests in flight.
    pub(crate) kv_tokens: f64,
    /// Tokens that fit into the cache.
    pub(crate) capacity: f64,
    /// Answers that are being written.
    pub(crate) running: f64,
    /// Loading its adapter, and loading back what that displaces.
    pub(crate) adapter: Seconds,
    /// Until it is trusted again.
    pub(crate) backoff_remaining: Seconds,
}

/// Lower bounds of [`CostInputs`], for one endpoint or a group of endpoints.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LeastFacts {
    /// Seconds of booked prefill before the request's turn.
    pub(crate) wait: f64,
    /// The request's own prefill.
    pub(crate) work: Seconds,
    /// Tokens of the request's prompt: exact.
    pub(crate) tokens: f64,
    /// Tokens of requests in flight.
    pub(crate) kv_tokens: f64,
    /// Tokens that fit into the KV cache: the largest of the group.
    pub(crate) capacity: f64,
    /// Running answers.
    pub(crate) running: f64,
}
