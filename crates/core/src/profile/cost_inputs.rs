//! What a profile weighs: the state of one endpoint for one request.

use crate::time::Seconds;

/// The predicted effects of sending one request to one endpoint.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CostInputs {
    /// Booked prefill before the request's turn.
    pub(crate) wait: Seconds,
    /// Waiting for room in the KV cache.
    pub(crate) room: Seconds,
    /// The request's own prefill on the endpoint.
    pub(crate) work: Seconds,
    /// Prefill time of as many tokens as the request adds to the cache, on an average endpoint.
    pub(crate) recompute: Seconds,
    /// Probability that a cached token is read again.
    pub(crate) reuse: f64,
    /// Tokens that the request adds to the cache.
    pub(crate) miss: f64,
    /// Tokens of the prompt.
    pub(crate) tokens: f64,
    /// Tokens in the cache that were used recently.
    pub(crate) warm: f64,
    /// Tokens of requests in flight.
    pub(crate) kv_tokens: f64,
    /// Tokens that fit into the cache.
    pub(crate) capacity: f64,
    /// Running answers, weighted by the shortness of their model's answers.
    pub(crate) running: f64,
    /// Whether the request waits for its turn and none of lower priority does.
    pub(crate) yields: bool,
    /// Time to load the adapter, and to load back the one that it displaces.
    pub(crate) adapter: Seconds,
    /// Time for which loading the adapter stops the engine.
    pub(crate) adapter_load: Seconds,
    /// Time until the endpoint's backoff ends.
    pub(crate) backoff_remaining: Seconds,
}

/// Lower bounds of [`CostInputs`], for one endpoint or a group of endpoints.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LeastInputs {
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
    /// Running answers, weighted.
    pub(crate) running: f64,
}
