//! What is known of the fleet, tied together: the configuration and the clock, the endpoints and
//! what their caches hold, and what was learned from requests.
//!
//! Every decision is a function of this and of the request, so that `placement` takes it by
//! reference and returns a ranking.

mod kv_events;
mod threads;

use core::time::Duration;

pub(crate) use threads::Threads;

use crate::config::Config;
use crate::cost::{BytesPerToken, MovingMean, Reuse};
use crate::endpoint::EndpointId;
use crate::pool::{BackoffPeriods, Pool, Slot};
use crate::prefix::keyed_state::KeyedState;
use crate::prefix::{CacheSpec, PrefixIndex, PromptHasher};
use crate::profile::PredictedCost;
use crate::request::Request;
use crate::time::{Instant, Seconds};

/// The state that decisions depend on, without the requests.
#[derive(Debug)]
pub(crate) struct Fleet {
    pub(crate) config: Config,
    /// The latest time that an input carried.
    pub(crate) now: Instant,
    pub(crate) hasher: PromptHasher,
    pub(crate) pool: Pool,
    /// Which endpoint has which blocks cached.
    pub(crate) prefixes: PrefixIndex,
    /// Which endpoint gave which answer.
    pub(crate) threads: Threads,
    /// Probability that a cached token is read again.
    pub(crate) reuse: Reuse,
    pub(crate) bytes_per_token: BytesPerToken,
    /// Seconds of described prefill in a request.
    pub(crate) mean_work: MovingMean,
    /// Tokens in an answer.
    pub(crate) mean_output: MovingMean,
    /// Seconds from dispatch to completion.
    pub(crate) mean_residence: MovingMean,
    /// When the learned speeds settle next.
    next_settling: Instant,
}

/// Interval at which learned speeds settle.
const SETTLING: Duration = Duration::from_secs(1);

impl Fleet {
    /// A fleet without endpoints. `keyed` keys its tables.
    pub(crate) fn new(config: Config, hasher: PromptHasher, hash_state: KeyedState) -> Self {
        let mut limits = config.index.clone();
        limits.slots = config.max_endpoints;
        Self {
            now: Instant::ORIGIN,
            pool: Pool::new(config.max_endpoints),
            prefixes: PrefixIndex::new(hasher.name("prefixes"), limits),
            threads: Threads::new(config.max_threads, hash_state),
            reuse: Reuse::default(),
            bytes_per_token: BytesPerToken::new(config.max_models),
            mean_work: MovingMean::new(0.1, 64),
            mean_output: MovingMean::new(200.0, 64),
            mean_residence: MovingMean::new(5.0, 64),
            next_settling: Instant::ORIGIN,
            hasher,
            config,
        }
    }

    /// Moves the clock forward, never back, and applies what has come due: unconfirmed blocks expire
    /// and learned speeds settle.
    pub(crate) fn advance(&mut self, now: Instant) -> Instant {
        self.now = self.now.max(now);
        self.prefixes.expire(self.now);
        if self.config.learn_speed && self.now >= self.next_settling {
            self.pool.settle(self.now);
            self.next_settling = self.now + SETTLING;
        }
        self.now
    }

    /// How endpoints are weighed, unless the caller brings a cost of its own.
    pub(crate) fn profile(&self) -> PredictedCost<'_> {
        PredictedCost(&self.config.prices)
    }

    /// What an answer costs besides its prompt, in seconds: a token of it counts as two of the prompt.
    pub(crate) fn output_cost(&self, tokens: u32) -> Seconds {
        self.config.prefill.per_token * (2.0 * f64::from(tokens))
    }

    /// How long endpoints are backed off.
    pub(crate) fn backoff_periods(&self) -> BackoffPeriods {
        BackoffPeriods { first: self.config.backoff, longest: self.config.backoff_limit }
    }

    /// The key of the client behind a request, for weighing its outcomes: its flow, or else its
    /// session.
    pub(crate) fn suspect(&self, request: &Request<'_>) -> Option<u64> {
        match request.session {
            _ if !request.flow.is_empty() => Some(self.hasher.name(request.flow)),
            session => session.map(|session| self.hasher.name(session) ^ 1),
        }
    }

    /// Whether an endpoint still takes requests.
    pub(super) fn takes_requests(&self, endpoint: EndpointId) -> bool {
        self.pool.get(endpoint).is_ok_and(|slot| !slot.draining)
    }
}

/// How the endpoint's cache behaves.
pub(crate) fn cache(slot: &Slot) -> CacheSpec {
    CacheSpec { capacity: slot.kv_cache_tokens, order: slot.endpoint.cache_eviction }
}
